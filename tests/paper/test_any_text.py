"""Names, titles and images that mean something to matplotlib, LaTeX, HTML, Markdown or a spreadsheet are texts."""

import csv
from html.parser import HTMLParser

import pytest
import synthetic

from softreg.paper.figures import layout, style, write_figures
from softreg.paper.report import write_report
from softreg.paper.scores import Scores
from softreg.paper.tables import write_tables

FORMULA = r"$\frac{b$"  # which stops matplotlib, as a formula
TITLE = rf"{FORMULA} <script>alert(1)</script> | & \ _ ^ ~ % # {{"
NAMES = {
    "none": f"={FORMULA}",
    "l1": "_x & 50 % #1 ~y {z} \\end",
    "l2": "<b onclick=\"x\">'q' &amp; | `c`</b>",
    "convnet": f"@net {FORMULA}",
    "brain": f"-brain {FORMULA} <i>",
}
CLASSES = [f"{FORMULA} sky", "=1+1|<i>x</i>", '-a_b & "q" \\']
IMAGES = [f"{FORMULA}<b>", "=cmd|x", "a&b\"c'd", "-x_y^", "@z`", "+q\\"]


@pytest.fixture(scope="module")
def paper(tmp_path_factory):
    """The paper of a study of such texts, with every figure that there is."""
    root = tmp_path_factory.mktemp("texts")
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(synthetic, "CLASSES", CLASSES)
        patch.setattr(synthetic, "image_names", lambda _, split, count: [f"{name}{split}" for name in IMAGES[:count]])
        study = synthetic.make_study(
            root,
            title=TITLE,
            figures={"style": {"names": NAMES}},
            evaluation={"corruptions": ["noise", "blur"]},
            seeds={"tuning": [0, 1], "evaluation": [100, 101]},
        )
        synthetic.make_results(study, root)
        scores = Scores(synthetic.gather_part(study, root / "results", root / "data"))
    for write in (write_tables, write_figures, write_report):
        write(scores, root / "out")
    return root / "out"


def test_all_figures_are_drawn(paper):
    drawn = {file.stem.partition("-")[0] for file in (paper / "figures").glob("*.png")}
    assert drawn >= {
        "lambda_curves",
        "paired_difference",
        "class_iou",
        "gallery",
        "pareto",
        "robustness",
        "layer_paths",
    }


def test_a_legend_has_all_names_as_they_are():
    with style.paper("x"):
        figure, _ = layout.grid([NAMES["convnet"]], 1.5, NAMES["brain"], NAMES["l1"])
        layout.add_legend(figure, [layout.handle(style.Look("k", "o", "-"), name) for name in NAMES.values()])
        (legend,) = figure.legends
        shown = [text.get_text().strip() for text in legend.get_texts()]
        style.lay_out(figure)
    assert shown == [*NAMES.values()]


def test_powers_of_ten_are_plain_characters():
    with style.paper("x"):
        _, ((axis,),) = layout.grid([""], 1.5, "λ", "y")
        axis.set(xscale="log", xlim=(1e-5, 1e12))
        layout.show_powers(axis.xaxis)
        labels = [axis.xaxis.get_major_formatter()(10.0**power) for power in (-5, 0, 12)]
    assert labels == ["10⁻⁵", "10⁰", "10¹²"]


class Tags(HTMLParser):
    """Every element and attribute of a page."""

    def __init__(self):
        super().__init__()
        self.tags, self.attributes = [], set()

    def handle_starttag(self, tag, attributes):
        self.tags.append(tag)
        self.attributes |= {name for name, _ in attributes}


def test_the_report_has_no_element_of_a_text(paper):
    page = Tags()
    page.feed((paper / "report.html").read_text(encoding="utf-8"))
    assert page.tags.count("script") == 3  # data, charts, and the page's own
    assert not [name for name in page.attributes if name.startswith("on")]
    assert not {"i", "frac"} & set(page.tags)


def test_no_cell_of_a_table_is_a_formula(paper):
    names = {name for name in (*CLASSES, *IMAGES, *NAMES.values()) if name[0] in "=+-@"}
    cells = [
        cell
        for file in paper.rglob("*.csv")
        for row in csv.reader(file.open(encoding="utf-8", newline=""))
        for cell in row
    ]
    assert [cell for cell in cells if cell.startswith(tuple(names))] == []
    assert {cell for cell in cells if cell.startswith("'")}  # which such a text has become
