from itertools import pairwise

import measured
import numpy as np
import pandas as pd
import pytest
from PIL import Image

from softreg.paper.figures import pareto, style, write_module
from softreg.paper.figures.style import Drawn
from softreg.paper.questions import sparsity

PENALTIES = {"none": {}, "l1": {"lambda": [1e-5, 1e-4, 1e-3]}, "pruning": {"lambda": [0.5, 0.9]}}


def layers(row):
    zeros = {"pruning": float(row["lambda"]), "l1": 2e3 * float(row["lambda"]) ** 1.2}.get(row["penalty"], 0.0)
    return [row | {"weights": 10_000, "exact_zeros": round(10_000 * zeros)}]


@pytest.fixture(scope="module")
def scores(tmp_path_factory):
    return measured.set_layers(measured.make_scores(tmp_path_factory.mktemp("study"), penalties=PENALTIES), layers)


def test_the_figure_holds_the_points_of_the_answer(scores, tmp_path, saved):
    (drawn,) = write_module(pareto, scores, tmp_path)
    assert isinstance(drawn, Drawn)
    assert drawn.name == "pareto-brain"
    assert {file.suffix for file in tmp_path.iterdir()} == {".pdf", ".svg", ".png", ".csv"}
    written = pd.read_csv(tmp_path / "pareto-brain.csv", dtype={"lambda": str}, keep_default_na=False)
    expected = sparsity.points(scores)
    assert written["lambda"].tolist() == expected["lambda"].tolist()
    assert written["share"].to_numpy() == pytest.approx(expected["share"].to_numpy())
    assert written["front"].tolist() == expected["front"].tolist()
    assert "2 tuning seeds" in drawn.caption
    with Image.open(tmp_path / "pareto-brain.png") as image:
        assert image.width / 300 == pytest.approx(style.COLUMN, abs=0.01)


def test_the_grey_steps_are_the_best_score_with_at_most_so_many_weights(scores):
    points = sparsity.points(scores)
    with style.paper("front"):
        (axis,) = pareto._draw_panels(scores, points).axes
        (steps,) = [line for line in axis.lines if line.get_drawstyle() == "steps-post"]
    x, y = map(np.asarray, steps.get_data())
    for share in np.geomspace(x[0], 1, 40):
        best = points.loc[points["share"] <= share, "test_miou"].max()
        assert y[np.searchsorted(x, share, side="right") - 1] == pytest.approx(best)


def test_ticks_are_shares_up_to_all_and_nothing_overlaps(scores):
    with style.paper("overlap"):
        figure = pareto._draw_panels(scores, sparsity.points(scores))
        style.lay_out(figure)
        (axis,), (legend,) = figure.axes, figure.legends
        assert 2 <= len(axis.get_xticks()) <= 6
        assert max(axis.get_xticks()) == 1
        boxes = [label.get_window_extent() for label in axis.get_xticklabels()]
        assert all(left.x1 < right.x0 for left, right in pairwise(boxes))
        assert legend.get_window_extent().y1 < axis.xaxis.label.get_window_extent().y0
        assert axis.bbox.height > 0.4 * figure.bbox.height


def test_ruined_networks_do_not_set_the_axis_and_are_counted(scores, tmp_path):
    points = sparsity.points(scores)
    points.loc[points["lambda"] == "1e-3", "test_miou"] = 1.0
    none = points.loc[points["penalty"] == "none", "test_miou"].item()
    assert pareto._limits(points)[0] > none - pareto.LOSS - 5
    assert "Left out: 1 points more than 15 points below no penalty." in pareto._caption(scores, points, "brain")
