import itertools

import numpy as np
import overlap
import pandas as pd
import pytest
from matplotlib import pyplot as plt
from matplotlib import rc_context
from matplotlib.colors import to_hex, to_rgb
from measured import make_scores

from softreg.files import read_json
from softreg.paper.figures import class_iou, gallery, lambda_curves, ranks, style, write_module

#: Machado, Oliveira & Fernandes (2009), IEEE TVCG 15, 1291-1298: how protanopes, deuteranopes and
#: tritanopes see linear RGB.
SEEN = {
    "protanopia": [[0.152286, 1.052583, -0.204868], [0.114503, 0.786281, 0.099216], [-0.003882, -0.048116, 1.051998]],
    "deuteranopia": [[0.367322, 0.860646, -0.227968], [0.280085, 0.672501, 0.047413], [-0.011820, 0.042940, 0.968881]],
    "tritanopia": [[1.255528, -0.076749, -0.178779], [-0.078411, 0.930809, 0.147602], [0.004733, 0.691367, 0.3039]],
    "normal": np.eye(3),
}
TO_XYZ = np.array(
    [[0.4124564, 0.3575761, 0.1804375], [0.2126729, 0.7151522, 0.0721750], [0.0193339, 0.1191920, 0.9503041]]
)


def lab(colour, seen):
    """CIELAB (D65) of an sRGB colour as it is seen."""
    rgb = np.array(to_rgb(colour))
    linear = np.where(rgb <= 0.04045, rgb / 12.92, ((rgb + 0.055) / 1.055) ** 2.4)
    xyz = TO_XYZ @ np.clip(np.array(seen) @ linear, 0, 1) / [0.95047, 1.0, 1.08883]
    f = np.where(xyz > 216 / 24389, np.cbrt(xyz), (24389 / 27 * xyz + 16) / 116)
    return np.array([116 * f[1] - 16, 500 * (f[0] - f[1]), 200 * (f[1] - f[2])])


@pytest.mark.parametrize("sight", SEEN)
def test_the_colour_blind_can_tell_twelve_colours_and_the_grey_apart(sight):
    looks = style.looks([f"p{place}" for place in range(12)])
    colours = [style.REFERENCE_COLOUR, *(look.colour for look in looks.values())]
    assert len(set(colours)) == 13
    seen = [lab(colour, SEEN[sight]) for colour in colours]
    assert min(np.linalg.norm(a - b) for a, b in itertools.combinations(seen, 2)) > 20  # 2.3 is just noticeable


def test_each_colour_stands_out_from_paper():
    """WCAG's contrast against white, from relative luminance."""
    for colour in style._COLOURS:
        light = (lab(colour, SEEN["normal"])[0] + 16) / 116
        assert 1.05 / (light**3 + 0.05) > 1.75


def test_twelve_entries_of_a_study_have_a_colour_and_a_marker_of_their_own(tmp_path):
    kinds = ["l1", "l2", "soft", "elastic_net", "smooth_l1", "berhu", "mcp", "group_lasso", "l0", "pruning"]
    penalties = {"none": {}, **{name: {"lambda": [0.1]} for name in kinds}, "l1_again": {"kind": "l1", "lambda": [0.1]}}
    looks = style.looks_of(make_scores(tmp_path, penalties=penalties))
    assert len({look.colour for look in looks.values()}) == len({look.marker for look in looks.values()}) == 12


@pytest.mark.parametrize("palette", [None, ["#000000"], ["#000000", "#ff0000"], ["#000000", "#ff0000", "#00ff00"]])
def test_no_two_of_many_penalties_have_one_look(palette):
    looks = style.looks([f"p{place}" for place in range(40)], palette)
    assert len(set(looks.values())) == 40


PALETTE = ["#112233", "#aa5500", "#00aa77"]
STYLE = {
    "palette": PALETTE,
    "names": {"none": "No penalty", "l1": "Lasso", "l2": "Ridge", "convnet": "ConvNet", "brain": "The brain"},
    "order": ["l2", "none"],
    "colours": {"sky": "#0102ff"},
}


@pytest.fixture(scope="module")
def styled(tmp_path_factory):
    root = tmp_path_factory.mktemp("styled")
    models = {"convnet": {}, "second": {"kind": "convnet"}}
    penalties = {name: {"lambda": [1e-4, 1e-3]} for name in ("l1", "l2")}
    scores = make_scores(
        root,
        {("l1", "1e-3", 0): "diverged"},
        models=models,
        penalties={"none": {}, **penalties},
        figures={"style": STYLE},
        seeds={"tuning": [0], "evaluation": [100, 101]},
    )
    return scores, root


@pytest.mark.parametrize("module", [lambda_curves, class_iou, ranks, gallery])
def test_a_studys_names_and_order_are_those_of_each_figure(styled, module, monkeypatch):
    monkeypatch.setattr(ranks, "_FEWEST_SETS", 1)
    scores, root = styled
    assert scores.penalties == ["l2", "none", "l1"]
    with overlap.drawn() as figures:
        entries = write_module(module, scores, root / "figures")
        shown = [box.text for figure in figures for box in overlap.boxes(figure)]
    differences = module is class_iou  # to no penalty, which has no column of its own
    assert {"Ridge", "Lasso", *["No penalty"] * (not differences)} <= set(shown)
    assert not {"l1", "l2", "none", "convnet", "brain"} & set(shown)
    if module is not ranks:  # whose order is that of the ranks, and whose models are strokes
        assert shown.index("Ridge") < shown.index("Lasso")
        told = " ".join(entry.title + entry.caption for entry in entries)
        assert "ConvNet" in shown + told.split()
    for entry in entries:
        for text in (entry.title, entry.caption, entry.alt):
            assert "brain" not in text.replace("The brain", "")
            assert "convnet" not in text


@pytest.mark.parametrize("module", [lambda_curves, ranks])
def test_a_studys_palette_is_that_of_each_figure(styled, module, monkeypatch):
    monkeypatch.setattr(ranks, "_FEWEST_SETS", 1)
    scores, root = styled
    expected = {"l2": PALETTE[0], "l1": PALETTE[1], "none": style.REFERENCE_COLOUR}
    assert {name: look.colour for name, look in style.looks_of(scores).items()} == expected
    with overlap.drawn() as figures:
        write_module(module, scores, root / "figures")
        lines = {to_hex(line.get_color()) for figure in figures for line in figure.findobj(plt.Line2D)}
    assert set(expected.values()) <= lines


@pytest.mark.usefixtures("saved")
def test_settings_of_the_users_own_matplotlib_change_no_byte(tmp_path):
    theirs = {"savefig.transparent": True, "savefig.facecolor": "red", "savefig.edgecolor": "red"}
    theirs |= {"savefig.bbox": "tight", "figure.constrained_layout.use": True}
    for folder, settings in (("plain", {}), ("theirs", theirs)):
        (tmp_path / folder).mkdir()
        with rc_context(settings), style.paper("same"):
            figure, axis = plt.subplots()
            axis.plot([0, 1])
            style.save(figure, tmp_path / folder, "line", pd.DataFrame({"x": [0, 1]}))
    written = [{file.name: file.read_bytes() for file in (tmp_path / each).iterdir()} for each in ("plain", "theirs")]
    assert len(written[0]) == 4
    assert written[0] == written[1]


def test_pages_are_even_and_lose_nothing():
    assert style.pages(list(range(7)), 6) == [[0, 1, 2, 3], [4, 5, 6]]
    assert style.pages(list(range(6)), 6) == [[0, 1, 2, 3, 4, 5]]
    assert style.pages([], 6) == []


def test_the_checker_finds_what_is_wrong(tmp_path):
    with overlap.drawn() as figures, style.paper("faults"):
        figure = plt.figure(figsize=(3.25, 1))
        figure.text(0.2, 0.5, "across the other")
        figure.text(0.3, 0.3, "upright", rotation=90)
        figure.text(0.9, 0.1, "cut off at the right")
        figure.text(0.05, 0.8, "tiny", fontsize=5)
        style.save(figure, tmp_path, "faults", pd.DataFrame())
    found = overlap.faults(*figures)
    assert found == [
        "'across the other' overlaps 'upright'",
        "'cut off at the right' leaves the figure",
        "'tiny' has 5.0 points",
    ]


def test_a_class_is_shown_in_the_colour_that_the_study_gives(styled):
    scores, _ = styled
    stored = read_json(scores.folder / "datasets.json")["brain"]
    shown = scores.datasets["brain"]
    assert shown["palette"] == [[1, 2, 255], *stored["palette"][1:]]
    assert {**shown, "palette": stored["palette"]} == stored
