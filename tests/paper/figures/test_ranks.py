import numpy as np
import pandas as pd
import pytest
from measured import make_scores
from scipy.stats import friedmanchisquare, rankdata

from softreg.paper.figures import ranks, write_module
from softreg.paper.figures.style import Absent

SHAPES = {"kind": "shapes", "size": [24, 32], "images": 30, "classes": 3, "split": {"val": 0.2, "test": 0.4}}
DATASETS = {name: {**SHAPES, "objects": place + 2} for place, name in enumerate(("a", "b", "c", "d", "the-fifth"))}


def test_ranks_are_those_of_seeds_that_all_have(tmp_path):
    """l1 lacks seed 100: its other seeds are compared with the same seeds of the others."""
    scores = make_scores(tmp_path, {("l1", "1e-4", 100): "diverged"}, datasets=DATASETS)
    (drawn,) = write_module(ranks, scores, tmp_path)
    miou = scores.final_test[scores.final_test["seed"] > 100].groupby(["dataset", "penalty"])["miou"].mean()
    table = np.array([[miou[(name, penalty)] for penalty in ("none", "l1", "l2")] for name in DATASETS])
    expected = rankdata(-table, axis=1)
    numbers = pd.read_csv(tmp_path / "ranks.csv").set_index(["dataset", "penalty"])
    for row, name in enumerate(DATASETS):
        for column, penalty in enumerate(("none", "l1", "l2")):
            assert numbers.loc[(name, penalty), "rank"] == expected[row, column]
            assert numbers.loc[(name, penalty), "mean_rank"] == pytest.approx(expected[:, column].mean())
    # Demšar (2006), table 5: q = 2.343 for three; 2.343 · √(3 · 4 / (6 · 5)).
    assert numbers["critical_difference"].to_numpy() == pytest.approx(2.343 * (3 * 4 / (6 * 5)) ** 0.5, abs=1e-3)
    assert f"p = {friedmanchisquare(*table.T).pvalue:.3f}" in drawn.caption
    assert "over 5 pairs of data set and model" in drawn.caption


@pytest.mark.parametrize(
    ("changes", "told"),
    [
        ({}, "there are 3 on 1"),
        ({"models": {name: {"kind": "convnet"} for name in "abcde"}}, "there are 3 on 1"),
        ({"datasets": DATASETS, "penalties": {"none": {}, "l2": {"lambda": [1e-4]}}}, "there are 2 on 5"),
    ],
)
def test_too_few_to_rank_are_told(tmp_path, changes, told):
    (entry,) = write_module(ranks, make_scores(tmp_path, **changes), tmp_path)
    assert isinstance(entry, Absent)
    assert told in entry.reason
    assert "add data sets or penalties, or wait for the cells" in entry.reason


def test_a_hole_costs_as_little_as_it_can():
    whole = pd.DataFrame(np.arange(30.0).reshape(6, 5), pd.RangeIndex(6, name="dataset"), list("abcde"))
    one_block = whole.mask((whole.index.to_numpy()[:, None] == 0) & whole.columns.isin(["a", "b", "c"]))
    assert ranks._complete(one_block).shape == (5, 5)
    one_penalty = whole.mask((whole.index.to_numpy()[:, None] < 5) & (whole.columns == "a"))
    assert ranks._complete(one_penalty).shape == (6, 4)
    never = whole.assign(e=np.nan)
    assert ranks._complete(never).shape == (6, 4)
