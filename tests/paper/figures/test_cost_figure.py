"""Of ``figures/cost.py``; a file ``test_cost.py`` tests the question, and pytest needs names that differ."""

import shutil

import measured
import numpy as np
import pandas as pd
import pytest

from softreg.paper.figures import cost, style, write_module
from softreg.paper.figures.style import Absent, Drawn
from softreg.paper.questions import cost as question
from softreg.paper.scores import Scores

SIZES = {"convnet": 80_000, "middle": 900_000, "large": 20_000_000}
PENALTIES = {"none": {}, "l1": {"lambda": [1e-4]}, "l2": {"lambda": [1e-4]}, "small_dense": {"lambda": [0.5]}}


def timing(row):
    slower = {"l1": 1.2, "l2": 1.1}.get(row["penalty"], 1.0)
    return {"seconds": slower * SIZES[row["model"]] / 1e4, "peak_memory": 10**9 + 16 * SIZES[row["model"]]}


@pytest.fixture(scope="module")
def scores(tmp_path_factory):
    models = {name: {"kind": "convnet"} for name in SIZES}
    made = measured.make_scores(tmp_path_factory.mktemp("study"), models=models, penalties=PENALTIES)
    return measured.set_timings(measured.set_cells(made, lambda row: {"penalised": SIZES[row["model"]]}), timing)


def rows_of(scores, models):
    rows = question.ratios(scores)
    return rows[(rows["kind"] != "small_dense") & rows["model"].isin(models)]


def test_the_figure_holds_ratios_and_names_models_and_device(scores, tmp_path):
    (drawn,) = write_module(cost, scores, tmp_path)
    assert isinstance(drawn, Drawn)
    assert drawn.name == "cost-brain"
    written = pd.read_csv(tmp_path / "cost-brain.csv")
    assert set(written["penalty"]) == {"none", "l1", "l2"}
    l1 = written[written["penalty"] == "l1"]
    assert l1["seconds_ratio"].to_numpy() == pytest.approx(1.2)
    assert l1["penalised"].tolist() == list(SIZES.values())
    assert "convnet (80,000), middle (900,000), large (20,000,000)" in drawn.caption
    assert "CPU, 2 cores" in drawn.caption
    assert "small dense network" in drawn.caption
    assert "in turn" not in drawn.caption


def test_ratios_of_cells_not_trained_in_turn_are_not_shown(scores, tmp_path):
    folder = tmp_path / "scores"
    shutil.copytree(scores.folder, folder)

    def later(row):
        return {"time": row["time"].replace("2026-01-01", "2026-01-02")} if row["penalty"] == "l2" else {}

    (drawn,) = write_module(cost, measured.set_timings(Scores(folder), later), tmp_path)
    assert isinstance(drawn, Drawn)
    assert "n = 3, with the sign test's interval, of 75 % or more)" in drawn.caption
    assert "were not trained in turn with the unpenalised ones are not shown" in drawn.caption
    rows = rows_of(Scores(folder), list(SIZES))
    with style.paper("bars"):
        ratio = cost._draw_panels(scores, rows).axes[1]
        bars = [len(bar.get_paths()) for bar in ratio.collections]
        finite = [np.isfinite(path.vertices).all() for bar in ratio.collections for path in bar.get_paths()]
    written = pd.read_csv(tmp_path / "cost-brain.csv").set_index("penalty")
    assert written.loc["l2", "seconds_low"].isna().all()
    assert written.loc["l1", "seconds_low"].notna().all()
    assert sum(bars) == 3
    assert all(finite)
    marked = [line for line in ratio.lines if line.get_marker() not in ("None", "")]
    assert len(marked) == 1  # L1's


def test_without_any_ratio_in_turn_there_is_no_figure(scores, tmp_path):
    folder = tmp_path / "scores"
    shutil.copytree(scores.folder, folder)
    (entry,) = write_module(cost, measured.set_timings(Scores(folder), lambda row: {"time": ""}), tmp_path)
    assert isinstance(entry, Absent)
    assert "trained in turn" in entry.reason


@pytest.mark.parametrize("models", [["convnet"], list(SIZES)])
def test_panels_have_ticks_and_nothing_overlaps(scores, models):
    with style.paper("overlap"):
        figure = cost._draw_panels(scores, rows_of(scores, models))
        style.lay_out(figure)
        assert [axis.get_ylabel() for axis in figure.axes] == ["seconds a step", "time / none's", "peak memory (GiB)"]
        for axis in figure.axes:
            low, high = axis.get_ylim()
            assert sum(low <= tick <= high for tick in axis.get_yticks()) >= 2
            label = axis.yaxis.label.get_window_extent()
            ticks = [text.get_window_extent() for text in axis.get_yticklabels() if text.get_text()]
            assert min(box.x0 for box in ticks) > label.x1
        (legend,) = figure.legends
        assert legend.get_window_extent().y1 < figure.axes[-1].xaxis.label.get_window_extent().y0


def test_entries_of_one_size_are_set_apart_so_that_all_are_seen(scores):
    with style.paper("apart"):
        first = cost._draw_panels(scores, rows_of(scores, ["convnet"])).axes[0]
        places = [float(line.get_xdata()[0]) for line in first.lines]
    assert len(places) == len(set(places)) == 3
    assert places[1] == pytest.approx(80_000)
