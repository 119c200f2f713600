import numpy as np
import pandas as pd
import pytest
import synthetic
from scipy.stats import friedmanchisquare, rankdata

from softreg.paper.figures import ranks
from softreg.paper.figures.style import Absent
from softreg.paper.scores import Scores
from softreg.scoring.gather import gather

MODELS = {name: {"kind": "convnet"} for name in ("convnet", "second", "the-third")}


def scores_of(root, statuses=None, **changes):
    study = synthetic.make_study(root, **changes)
    synthetic.make_results(study, root, statuses=statuses or {})
    return Scores(gather(study, root / "results", root / "data"))


def test_ranks_are_those_of_seeds_that_all_have(tmp_path):
    """l1 lacks seed 100: its other seeds are compared with the same seeds of the others."""
    scores = scores_of(tmp_path, {("l1", "1e-4", 100): "diverged"}, models=MODELS)
    (drawn,) = ranks.draw(scores, tmp_path)
    miou = scores.final_test[scores.final_test["seed"] > 100].groupby(["model", "penalty"])["miou"].mean()
    table = np.array([[miou[(model, penalty)] for penalty in ("none", "l1", "l2")] for model in MODELS])
    expected = rankdata(-table, axis=1)
    numbers = pd.read_csv(tmp_path / "ranks.csv").set_index(["model", "penalty"])
    for row, model in enumerate(MODELS):
        for column, penalty in enumerate(("none", "l1", "l2")):
            assert numbers.loc[(model, penalty), "rank"] == expected[row, column]
            assert numbers.loc[(model, penalty), "mean_rank"] == pytest.approx(expected[:, column].mean())
    # Demšar (2006), table 5: q = 2.343 for three; 2.343 · √(3 · 4 / (6 · 3)).
    assert numbers["critical_difference"].to_numpy() == pytest.approx(2.343 * (3 * 4 / (6 * 3)) ** 0.5, abs=1e-3)
    assert f"p = {friedmanchisquare(*table.T).pvalue:.3f}" in drawn.caption
    assert "over 3 pairs of data set and model" in drawn.caption


@pytest.mark.parametrize(
    ("changes", "told"),
    [
        ({}, "there are 3 on 1"),
        ({"models": MODELS, "penalties": {"none": {}, "l2": {"lambda": [1e-4]}}}, "there are 2 on 3"),
    ],
)
def test_too_few_to_rank_are_told(tmp_path, changes, told):
    (entry,) = ranks.draw(scores_of(tmp_path, **changes), tmp_path)
    assert isinstance(entry, Absent)
    assert told in entry.reason
    assert "add data sets, models or penalties to the study" in entry.reason


def test_a_hole_costs_as_little_as_it_can():
    whole = pd.DataFrame(np.arange(20.0).reshape(4, 5), columns=list("abcde"))
    one_block = whole.mask((whole.index.to_numpy()[:, None] == 0) & whole.columns.isin(["a", "b", "c"]))
    assert ranks._complete(one_block).shape == (3, 5)
    one_penalty = whole.mask((whole.index.to_numpy()[:, None] < 3) & (whole.columns == "a"))
    assert ranks._complete(one_penalty).shape == (4, 4)
    never = whole.assign(e=np.nan)
    assert ranks._complete(never).shape == (4, 4)
