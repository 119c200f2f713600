import overlap
import pandas as pd
import pytest
import synthetic

from softreg.paper.figures import layout, reliability, style
from softreg.paper.figures.style import Absent
from softreg.paper.scores import Scores
from softreg.scoring import records
from softreg.scoring.gather import gather


def gathered(root, partial=False, **changes):
    study = synthetic.make_study(root, **changes)
    if not partial:
        synthetic.make_results(study, root, images=3)
    return Scores((synthetic.gather_part if partial else gather)(study, root / "results", root / "data"))


@pytest.fixture(scope="module")
def scores(tmp_path_factory):
    return gathered(tmp_path_factory.mktemp("study"))


def test_the_numbers_are_pixels_pooled_over_seeds(scores, tmp_path):
    (entry,) = reliability.draw(scores, tmp_path)
    assert entry.name == "reliability-brain"
    points = pd.read_csv(tmp_path / "reliability-brain.csv")
    columns = ["penalty", "bin_count", "bin_correct", "bin_confidence"]
    rows = records.read([scores.folder / "final-test.parquet"], columns=columns).to_pylist()
    for row in points[points["penalty"] == "l1"].to_dict("records"):
        mine = [each for each in rows if each["penalty"] == "l1"]  # of three seeds and three images each
        count, correct, confidence = (sum(each[name][row["bin"]] for each in mine) for name in columns[1:])
        assert row["accuracy"] == pytest.approx(100 * correct / count)
        assert row["confidence"] == pytest.approx(100 * confidence / count)
        assert row["share"] == pytest.approx(100 * count / sum(sum(each["bin_count"]) for each in mine))
    assert len(mine) == 9
    assert set(points["seeds"]) == {3}
    assert "n = 3" in entry.caption
    assert points["penalty"].drop_duplicates().tolist() == scores.penalties


def test_the_gap_over_all_pixels_is_told_to_those_who_do_not_see(scores, tmp_path):
    (entry,) = reliability.draw(scores, tmp_path)
    counts = scores.reliability.query("penalty == 'none'")[["count", "correct", "confidence"]].sum()
    gap = 100 * (counts["correct"] - counts["confidence"]) / counts["count"]
    assert f"convnet with none {gap:+.1f}" in entry.alt


def test_many_penalties_are_shared_out_with_the_unpenalised_in_each_panel(tmp_path):
    kinds = ["l1", "l2", "soft", "elastic_net", "smooth_l1", "berhu", "group_lasso", "l0"]
    penalties = {"none": {}, **{name: {"lambda": [1e-4]} for name in kinds}}
    models = {f"a-rather-long-name-{place}": {"kind": "convnet"} for place in range(2)}
    seeds = {"tuning": [0], "evaluation": [100]}
    scores = gathered(tmp_path, penalties=penalties, models=models, seeds=seeds)
    shares = layout.shares_of(scores, pd.DataFrame({"penalty": [*penalties]}))
    assert shares == [
        ["none", *kinds[:4]],
        ["none", *kinds[4:]],
    ]
    with overlap.drawn() as figures:
        (entry,) = reliability.draw(scores, tmp_path)
        assert [fault for figure in figures for fault in overlap.faults(figure)] == []
        assert all(figure.get_size_inches()[1] <= style.TALL for figure in figures)
    assert "A model with many penalties has several panels" in entry.caption


def test_a_model_has_no_panel_for_penalties_that_it_is_not_trained_with(tmp_path):
    kinds = ["l1", "l2", "soft", "elastic_net", "smooth_l1", "berhu", "group_lasso", "l0"]
    penalties = {"none": {}, **{name: {"lambda": [1e-4]} for name in kinds}}
    for name in kinds[4:]:
        penalties[name]["models"] = ["convnet"]
    scores = gathered(tmp_path, penalties=penalties, models={"convnet": {}, "other": {"kind": "convnet"}})
    with overlap.drawn() as figures:
        reliability.draw(scores, tmp_path)
        (figure,) = figures
        assert [axis.get_title() for axis in figure.axes if axis.get_title()] == [
            "convnet (1 of 2)",
            "convnet (2 of 2)",
            "other",
        ]


def test_a_data_set_without_a_tested_network_is_absent(tmp_path):
    (entry,) = reliability.draw(gathered(tmp_path, partial=True), tmp_path)
    assert isinstance(entry, Absent)
    assert "finish the study" in entry.reason
