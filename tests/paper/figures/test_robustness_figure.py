import overlap
import pandas as pd
import pyarrow.compute as pc
import pyarrow.parquet as pq
import pytest
from measured import make_scores
from scipy.stats import ttest_rel

from softreg.paper.figures import robustness, style, write_module
from softreg.paper.figures.style import Absent
from softreg.paper.scores import Scores
from softreg.scoring import records


@pytest.fixture(scope="module")
def scores(tmp_path_factory):
    return make_scores(tmp_path_factory.mktemp("study"), images=3)


def test_the_numbers_are_paired_by_seed(scores, tmp_path):
    (entry,) = write_module(robustness, scores, tmp_path)
    points = pd.read_csv(tmp_path / f"{entry.name}.csv").set_index(["penalty", "quantity"])
    assert set(points.index) == {(p, q) for p in ("l1", "l2") for q in ("noise", "blur", "all")}
    final = scores.sums.query("phase == 'final' and split == 'test' and corruption != ''")
    means = 100 * final.groupby(["penalty", "corruption", "seed"])["miou"].mean()  # over severities
    every = means.groupby(["penalty", "seed"]).mean()
    for quantity, values in (("noise", means.xs("noise", level="corruption")), ("all", every)):
        paired = ttest_rel(values["l1"], values["none"])
        row, interval = points.loc[("l1", quantity)], paired.confidence_interval(0.95)
        assert (row["low"], row["high"]) == pytest.approx((interval.low, interval.high))
        assert row["mean"] == pytest.approx((values["l1"] - values["none"]).mean())
        assert row["plain"] == pytest.approx(values["none"].mean())
    assert "n = 3" in entry.caption


def test_many_models_and_penalties_of_one_seed_fit_without_overlap(tmp_path):
    kinds = ["l1", "l2", "soft", "elastic_net", "smooth_l1", "berhu", "group_lasso"]
    penalties = {"none": {}, **{name: {"lambda": [1e-4]} for name in kinds}}
    models = {f"a-rather-long-name-{place}": {"kind": "convnet"} for place in range(7)}
    seeds = {"tuning": [0], "evaluation": [100]}
    scores = make_scores(tmp_path, images=3, penalties=penalties, models=models, seeds=seeds)
    with overlap.drawn() as figures:
        entries = write_module(robustness, scores, tmp_path)
        assert [fault for figure in figures for fault in overlap.faults(figure)] == []
        assert all(figure.get_size_inches()[1] <= style.TALL for figure in figures)
    assert [entry.name for entry in entries] == ["robustness-brain-1", "robustness-brain-2"]
    assert "one evaluation seed, which gives no interval" in entries[0].caption


def test_without_corruptions_the_key_to_add_is_named(tmp_path):
    folder = make_scores(tmp_path, images=3).folder
    table = pq.read_table(folder / "sums.parquet")
    records.write(table.filter(pc.field("corruption") == ""), folder / "sums.parquet", records.SUMS)
    (entry,) = write_module(robustness, Scores(folder), tmp_path)
    assert isinstance(entry, Absent)
    assert "corruptions: [noise, blur, contrast, jpeg]" in entry.reason
