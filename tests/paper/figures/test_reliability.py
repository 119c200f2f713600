import overlap
import pandas as pd
import pytest
from measured import make_scores
from scipy.stats import ttest_rel

from softreg.paper.figures import reliability, style, write_module


@pytest.mark.parametrize(("name", "column", "factor"), [("ECE (points)", "ece", 100), ("NLL (nats)", "nll", 1)])
def test_the_numbers_are_paired_by_seed(tmp_path, name, column, factor):
    scores = make_scores(tmp_path)
    (entry,) = write_module(reliability, scores, tmp_path)
    assert entry.name == "reliability-brain"
    points = pd.read_csv(tmp_path / "reliability-brain.csv").set_index(["penalty", "quantity"])
    values = factor * scores.final_test.pivot(index="seed", columns="penalty", values=column)
    interval = ttest_rel(values["l1"], values["none"]).confidence_interval(0.95)
    row = points.loc[("l1", name)]
    assert (row["low"], row["high"]) == pytest.approx((interval.low, interval.high))
    assert (row["mean"], row["plain"]) == pytest.approx(((values["l1"] - values["none"]).mean(), values["none"].mean()))
    assert "n = 3" in entry.caption


def test_many_penalties_have_one_panel_a_measure_and_nothing_overlaps(tmp_path):
    kinds = ["l1", "l2", "soft", "elastic_net", "smooth_l1", "berhu", "group_lasso", "l0"]
    penalties = {"none": {}, **{name: {"lambda": [1e-4]} for name in kinds}}
    models = {f"a-rather-long-name-{place}": {"kind": "convnet"} for place in range(2)}
    seeds = {"tuning": [0], "evaluation": [100, 101]}
    scores = make_scores(tmp_path, images=3, penalties=penalties, models=models, seeds=seeds)
    with overlap.drawn() as figures:
        (entry,) = write_module(reliability, scores, tmp_path)
        assert [fault for figure in figures for fault in overlap.faults(figure)] == []
        assert all(figure.get_size_inches()[1] <= style.TALL for figure in figures)
        titles = [axis.get_title().split("\n")[0] for figure in figures for axis in figure.axes]
    assert titles == ["ECE (points)", "NLL (nats)"] * 2
    assert isinstance(entry, style.Drawn)
