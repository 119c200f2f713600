"""The figures as printed, of a study with long names, 12 penalties and 6 models."""

import shutil
import subprocess

import overlap
import pytest
from measured import make_scores

from softreg.paper.figures import class_iou, gallery, lambda_curves, ranks, style, write_figures, write_module
from softreg.paper.scores import Scores

pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif(shutil.which("pdffonts") is None, reason="needs poppler's pdffonts and pdfimages"),
]

GRID = [1e-4, 1e-3]
PENALTIES = {"none": {}} | {
    name: {"kind": kind, "lambda": GRID}
    for name, kind in {
        "l1": "l1",
        "l1_subgradient_of_everything": "l1",
        "l2": "l2",
        "elastic_net_alpha_half": "elastic_net",
        "soft": "soft",
        "smooth_l1-beta-twentieth": "smooth_l1",
        "berhu": "berhu",
        "group_lasso": "group_lasso",
        "sparse_group_lasso_encoder": "sparse_group_lasso",
        "mcp": "mcp",
    }.items()
}
PENALTIES["pruning"] = {"lambda": [0.5, 0.9]}
MODELS = {
    name: {"kind": "convnet"}
    for name in (
        "convnet",
        "unet-resnet34-imagenet",
        "deeplabv3plus-mobilenet_v2",
        "fpn",
        "segformer-mit_b0-pretrained",
        "linknet",
    )
}
MODULES = [lambda_curves, class_iou, ranks, gallery]


@pytest.fixture(scope="module")
def printed(tmp_path_factory):
    """The figures of each module as PDF, with what it drew, and their folder."""
    root = tmp_path_factory.mktemp("printed")
    lost, seeds = {("mcp", "1e-4", 100): "diverged"}, {"tuning": [0], "evaluation": [100, 101]}
    options = {"images": 3, "classes": 11, "size": (24, 44)}
    scores = make_scores(root, lost, penalties=PENALTIES, models=MODELS, seeds=seeds, **options)
    found = {}
    for module in MODULES:
        with overlap.drawn() as figures, pytest.MonkeyPatch.context() as patch:
            patch.setattr(ranks, "_FEWEST_SETS", 1)
            patch.setattr(style, "_FORMS", {"pdf": style._FORMS["pdf"]})
            found[module] = write_module(module, scores, root / "figures"), list(figures)
    return found, root / "figures"


@pytest.mark.parametrize("module", MODULES)
def test_texts_neither_overlap_nor_leave_the_figure_nor_are_small(printed, module):
    entries, figures = printed[0][module]
    assert len(entries) == len(figures) >= 1
    for entry, figure in zip(entries, figures, strict=True):
        assert overlap.faults(figure) == [], entry.name


@pytest.mark.parametrize("module", MODULES)
def test_figures_have_a_printed_width_and_fit_a_page(printed, module):
    for entry, figure in zip(*printed[0][module], strict=True):
        width, height = figure.get_size_inches()
        assert min(abs(width - style.COLUMN), abs(width - style.PAGE)) < 0.02
        assert entry.width == width
        assert height < 9


@pytest.mark.parametrize("module", MODULES)
def test_fonts_are_truetype_and_only_galleries_hold_rasters(printed, module):
    entries, folder = printed[0][module][0], printed[1]
    for entry in entries:
        file = str(folder / f"{entry.name}.pdf")
        fonts = run("pdffonts", file)
        assert fonts
        for line in fonts:
            assert "TrueType" in line
            assert line.split()[-5] == "yes"  # embedded
        assert bool(run("pdfimages", "-list", file)) == (module is gallery), entry.name


SHAPES = {"kind": "shapes", "size": [24, 44], "images": 30, "classes": 3, "split": {"val": 0.2, "test": 0.4}}
STEMS = [
    *("class_iou", "complexity", "control_curves", "cost", "degeneracy", "gallery", "lambda_curves"),
    *("layer_paths", "paired_difference", "pareto", "ranks", "regret", "reliability", "robustness"),
]


def test_every_figure_of_a_study_is_vectors_but_the_gallery_and_the_same_bytes_each_time(tmp_path, saved, monkeypatch):
    monkeypatch.setattr(ranks, "_FEWEST_SETS", 2)
    monkeypatch.setattr(style, "DPI", 20)
    scores = make_scores(
        tmp_path,
        {("l2", "1e-3", 0): "diverged"},
        images=6,
        size=(24, 44),
        datasets={"few": {**SHAPES, "objects": 2}, "many": {**SHAPES, "objects": 9}},
        models={name: {"kind": "convnet"} for name in ("convnet", "second")},
        penalties={name: PENALTIES[name] for name in ("none", "l1", "l2", "soft", "pruning")},
        seeds={"tuning": [0, 1, 2], "evaluation": [100, 101]},
    )
    for each, folder in ((scores, "first"), (Scores(scores.folder), "again")):
        write_figures(each, tmp_path / folder)
    for file in (tmp_path / "first" / "figures").iterdir():
        assert file.read_bytes() == (tmp_path / "again" / "figures" / file.name).read_bytes(), file.name
    files = sorted((tmp_path / "first" / "figures").glob("*.pdf"))
    assert sorted({file.stem.split("-")[0] for file in files}) == STEMS
    for file in files:
        fonts = run("pdffonts", str(file))
        assert all("TrueType" in line and line.split()[-5] == "yes" for line in fonts), file.name
        assert bool(run("pdfimages", "-list", str(file))) == file.stem.startswith("gallery"), file.name


def run(*command):
    """The rows of a table that a program of poppler prints, without its two lines of heading."""
    done = subprocess.run(command, capture_output=True, text=True, check=True)
    return done.stdout.splitlines()[2:]
