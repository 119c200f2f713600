import overlap
import pandas as pd
import pytest
from measured import make_scores

from softreg.paper.figures import regret as figure
from softreg.paper.figures import style, write_module
from softreg.paper.figures.style import Absent
from softreg.paper.questions import regret


def test_the_numbers_are_those_of_the_answer(tmp_path):
    scores = make_scores(tmp_path, images=3, seeds={"tuning": [0, 1, 2], "evaluation": [100]})
    (entry,) = write_module(figure, scores, tmp_path)
    points = pd.read_csv(tmp_path / "regret-brain.csv", keep_default_na=False, na_values={"mean": [""]})
    answer = regret.answer(scores).numbers
    behind = answer[(answer["strategy"] != regret.AT_CHOSEN) & answer["against"].isna()]
    assert points["mean"].tolist() == pytest.approx(behind["mean"].tolist())
    assert points["penalty"].tolist() == behind["penalty"].tolist()
    assert "3 held-out seeds and 2 penalties" in entry.caption
    assert "no K-fold" in entry.caption


def test_grids_of_several_sizes_and_folds_fit_without_overlap(tmp_path):
    penalties = {"none": {}, "l1": {"lambda": [1e-5, 1e-4, 1e-3]}, "l2": {"lambda": [1e-5, 1e-4]}}
    models = {f"a-rather-long-name-{place}": {"kind": "convnet"} for place in range(4)}
    selection = {"scorer": "kfold", "folds": 2}
    scores = make_scores(tmp_path, images=3, penalties=penalties, models=models, selection=selection)
    with overlap.drawn() as figures:
        (entry,) = write_module(figure, scores, tmp_path)
        assert [fault for each in figures for fault in overlap.faults(each)] == []
        assert all(each.get_size_inches()[1] <= style.TALL for each in figures)
    points = pd.read_csv(tmp_path / "regret-brain.csv", keep_default_na=False)
    pooled = points[(points["penalty"] == "") & (points["model"] == "a-rather-long-name-0")]
    assert pooled.query("strategy == @regret.GRID")["budget"].tolist() == [2.5]
    assert pooled.query("strategy == @regret.RANDOM_ONE")["budget"].tolist() == [1, 2]  # l2 has no third
    assert "no K-fold" not in entry.caption


def test_one_penalty_is_told_as_one(tmp_path):
    scores = make_scores(tmp_path, images=3, penalties={"none": {}, "l1": {"lambda": [1e-5, 1e-4, 1e-3]}})
    (entry,) = write_module(figure, scores, tmp_path)
    assert "2 held-out seeds, with 95 % intervals (over seeds; test images held fixed)" in entry.caption
    assert "single penalties" not in entry.caption


def test_one_tuning_seed_is_too_few(tmp_path):
    (entry,) = write_module(
        figure, make_scores(tmp_path, images=3, seeds={"tuning": [0], "evaluation": [100]}), tmp_path
    )
    assert isinstance(entry, Absent)
    assert "tuning: [0, 1]" in entry.reason
