import subprocess
import sys
from html.parser import HTMLParser

import pytest
import synthetic

from softreg.figures import write_figures
from softreg.files import read_json
from softreg.gather import gather
from softreg.report import _hint, write_report
from softreg.scores import Scores
from softreg.tables import main_frame, shown_rows


class Page(HTMLParser):
    """The text of a page, its tags with their attributes, and whether each tag is closed."""

    def __init__(self, text):
        super().__init__()
        self.texts, self.tags, self.open = [], [], []
        self.feed(text)
        self.text = " ".join(" ".join(self.texts).split())

    def handle_starttag(self, tag, attributes):
        self.tags.append((tag, dict(attributes)))
        if tag not in ("meta", "img"):
            self.open.append(tag)

    def handle_endtag(self, tag):
        assert self.open.pop() == tag

    def handle_data(self, data):
        if not self.open or self.open[-1] != "style":
            self.texts.append(data)


def report(root, partial=False, statuses=None, **changes):
    study = synthetic.make_study(root, **changes)
    if statuses is not None:
        synthetic.make_results(study, root, statuses=statuses)
    scores = gather(study, root / "results", root / "data", partial)
    write_report(scores, root / "out")
    return scores, Page((root / "out" / "report.html").read_text())


@pytest.fixture(scope="module")
def made(tmp_path_factory):
    root = tmp_path_factory.mktemp("study")
    lost = {("l1", "1e-4", 101): "out-of-memory", ("l2", "1e-3", 0): "diverged", ("l2", "1e-5", 0): "diverged"}
    scores, page = report(root, statuses=lost, title="Penalties <on> brains")
    return root / "out", scores, page


def test_page_is_whole_and_needs_no_network(made):
    _, _, page = made
    assert page.open == []
    assert not [tag for tag, _ in page.tags if tag in ("script", "link", "iframe")]
    addresses = [value for _, attributes in page.tags for name, value in attributes.items() if name in ("src", "href")]
    assert addresses
    assert all(address.startswith(("#", "data:image/")) for address in addresses)
    anchors = {attributes["id"] for _, attributes in page.tags if "id" in attributes}
    assert {address[1:] for address in addresses if address.startswith("#")} <= anchors


def test_every_picture_has_words(made):
    _, _, page = made
    pictures = [attributes for tag, attributes in page.tags if tag == "img"]
    assert len(pictures) == 3
    assert all(len(picture["alt"]) > 30 for picture in pictures)


def test_text_of_the_study_is_escaped(made):
    _, _, page = made
    assert "Penalties <on> brains" in page.text
    assert "on" not in [tag for tag, _ in page.tags]


def test_main_table_is_the_table(made):
    _, scores, page = made
    for row in shown_rows(main_frame(Scores(scores))):
        assert " ".join(row[2:]) in page.text


def test_coverage_statuses_and_reasons_are_told(made):
    _, _, page = made
    assert "sweep (λ by tuning seeds): 12 of 14 cells finished, 2 diverged" in page.text
    assert "final (λ̂ by evaluation seeds): 8 of 9 cells finished, 1 out-of-memory" in page.text
    assert "the loss was nan at step 40" in page.text


def test_caveats_citation_and_versions_are_told(made):
    _, _, page = made
    assert page.text.count("a smoke test, never a ranking") == 2
    for part in ("A. Author (2018) & others", "CC0", "2.15.0", "CPU, 2 cores", "c" * 40, "snakemake paper"):
        assert part in page.text


@pytest.mark.parametrize(
    ("lambda_", "at_edge", "n", "hint"),
    [
        ("1e-4", False, 2, ""),
        ("1e-5", True, 2, "λ̂ is the smallest of the grid: extend the grid down"),
        (
            "1e-3",
            True,
            1,
            "λ̂ is the largest of the grid: extend the grid up; rests on 1 of 2 cells: every λ lacks some",
        ),
        ("", False, 0, "no cell finished, so no λ could be chosen"),
    ],
)
def test_a_doubtful_choice_of_lambda_gets_a_hint(lambda_, at_edge, n, hint):
    row = {"lambda": lambda_, "at_edge": at_edge, "n": n, "expected": 2}
    assert _hint(row, ["1e-5", "1e-4", "1e-3"]) == hint


def test_metrics_are_the_numbers_of_the_table(made):
    out, scores, _ = made
    metrics = read_json(out / "metrics.json")
    assert metrics["study"] == "tiny"
    assert metrics["partial"] is False
    for row in main_frame(Scores(scores)).to_dict("records"):
        entry = metrics["datasets"]["brain"]["convnet"][row["penalty"]]
        assert entry["test_miou"] == pytest.approx(row["test_miou"])
        assert (entry["finished"], entry["expected"]) == (row["finished"], row["expected"])


def test_a_partial_report_says_so_and_why_figures_are_missing(tmp_path):
    _, page = report(tmp_path, partial=True)
    assert "Partial report." in page.text
    assert "0 of 14 cells finished, 14 not run" in page.text
    assert "was not drawn. No sweep cell with a λ above 0 has a validation score on brain yet." in page.text
    assert read_json(tmp_path / "out" / "metrics.json")["datasets"]["brain"]["convnet"]["l1"]["test_miou"] is None


def test_the_same_scores_give_the_same_page(made, tmp_path):
    out, scores, _ = made
    write_figures(scores, tmp_path)
    write_report(scores, tmp_path)
    assert (tmp_path / "report.html").read_bytes() == (out / "report.html").read_bytes()


def test_nothing_from_gather_to_report_imports_torch():
    modules = "softreg.gather, softreg.select, softreg.tables, softreg.report"
    figures = "softreg.figures.gallery, softreg.figures.lambda_curves, softreg.figures.paired_difference"
    code = f"import sys, {modules}, {figures}; sys.exit('torch' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0
