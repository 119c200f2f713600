import overlap
import pandas as pd
import pyarrow.compute as pc
import pyarrow.parquet as pq
import pytest
import synthetic

from softreg.paper.figures import robustness, style
from softreg.paper.figures.style import Absent
from softreg.paper.scores import Scores
from softreg.scoring import records
from softreg.scoring.gather import gather


def gathered(root, **changes):
    study = synthetic.make_study(root, **changes)
    synthetic.make_results(study, root, images=3)
    return gather(study, root / "results", root / "data")


@pytest.fixture(scope="module")
def scores(tmp_path_factory):
    return Scores(gathered(tmp_path_factory.mktemp("study")))


def test_the_numbers_are_means_over_seeds_of_the_sums(scores, tmp_path):
    (entry,) = robustness.draw(scores, tmp_path)
    points = pd.read_csv(tmp_path / f"{entry.name}.csv")
    assert points["severity"].tolist() == [0, 1, 3, 5] * 6  # two corruptions of three penalties
    final = scores.sums.query("phase == 'final' and split == 'test' and penalty == 'l1'")
    for row in points.query("penalty == 'l1'").to_dict("records"):
        condition = (row["corruption"] if row["severity"] else "", row["severity"])
        mine = [place == condition for place in zip(final["corruption"], final["severity"], strict=True)]
        values = 100 * final.loc[mine, "miou"]
        assert (row["miou"], row["se"]) == pytest.approx((values.mean(), values.std(ddof=1) / 3**0.5))
    assert "3 evaluation seeds" in entry.caption


def test_many_models_go_on_pages_and_nothing_overlaps(tmp_path):
    kinds = ["l1", "l2", "soft", "elastic_net", "smooth_l1", "berhu", "group_lasso"]
    penalties = {"none": {}, **{name: {"lambda": [1e-4]} for name in kinds}}
    models = {f"a-rather-long-name-{place}": {"kind": "convnet"} for place in range(4)}
    folder = gathered(tmp_path, penalties=penalties, models=models, seeds={"tuning": [0], "evaluation": [100]})
    with overlap.drawn() as figures:
        entries = robustness.draw(Scores(folder), tmp_path)
        assert [fault for figure in figures for fault in overlap.faults(figure)] == []
        assert all(figure.get_size_inches()[1] <= style.TALL for figure in figures)
    assert [entry.name for entry in entries] == ["robustness-brain-1", "robustness-brain-2"]
    assert "no error bars" in entries[0].caption
    assert "A model with many penalties has several rows" in entries[0].caption


def test_without_corruptions_the_key_to_add_is_named(tmp_path):
    folder = gathered(tmp_path)
    table = pq.read_table(folder / "sums.parquet")
    records.write(table.filter(pc.field("corruption") == ""), folder / "sums.parquet", records.SUMS)
    (entry,) = robustness.draw(Scores(folder), tmp_path)
    assert isinstance(entry, Absent)
    assert "corruptions: [noise, blur, contrast, jpeg]" in entry.reason
