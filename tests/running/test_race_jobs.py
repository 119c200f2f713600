"""The jobs of a race: their order, what they find again, and what a study in the middle of one tells of itself."""

import shutil

import pytest
from projects import prepared_study, sweep_path

from softreg.errors import UserError
from softreg.files import read_json
from softreg.paper.report import cells, coverage
from softreg.paper.scores import Scores
from softreg.running import places, stages
from softreg.running.graph import Graph
from softreg.running.plan import plan
from softreg.running.status import status, text
from softreg.scoring import records

RACE = {
    "penalties": {"none": {}, "l1": {"lambda": [1e-5, 1e-4, 1e-3, 1e-2, 1e-1]}},
    "seeds": {"tuning": [0, 1, 2], "evaluation": [100]},
    "selection": {"search": "halving"},
    "training": {"epochs": 1, "batch_size": 4, "optimizer": "adam", "lr": 1e-3},
}
SEEDS = [sweep_path(seed=seed) for seed in (0, 1, 2)]


@pytest.fixture
def study(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    return prepared_study(tmp_path, **RACE)


def listed(study, path):
    """The trials that a path says it has trained."""
    file = places.results_folder(study) / "sweep" / path.name / "path.json"
    return [entry["lambda"] for entry in read_json(file)["cells"]]


def best(study, paths, most):
    """The trials of the last path with the highest means over all, worked out from the counts in their records."""
    folder = places.results_folder(study) / "sweep"
    tables = [records.read([folder / path.name / "val.parquet"], schema=records.SUMS) for path in paths]
    by_seed = [records.of_sums(table, ["lambda"]).set_index("lambda")["miou"] for table in tables]
    means = sum(scores.reindex(by_seed[-1].index) for scores in by_seed)
    return sorted(means.nlargest(most).index)


def test_a_seed_waits_for_those_before_it_and_takes_their_better_half(study):
    with pytest.raises(
        UserError, match=r"l1/seed0/path.json is missing; run `softreg train .* sweep .*l1/seed0` first"
    ):
        stages.train(study, SEEDS[1])
    for path in SEEDS:
        stages.train(study, path)
    assert [len(listed(study, path)) for path in SEEDS] == [5, 3, 2]
    assert sorted(listed(study, SEEDS[1])) == best(study, SEEDS[:1], 3)
    assert sorted(listed(study, SEEDS[2])) == best(study, SEEDS[:2], 2)


def test_one_process_trains_all_seeds_in_order_and_what_was_cut_short_ends_alike(study):
    stages.train(study, *SEEDS)
    trained = [listed(study, path) for path in SEEDS]
    assert [len(names) for names in trained] == [5, 3, 2]
    # As after a kill in the middle of the second seed: no list, no records, no mark, and one network not there.
    folder = places.results_folder(study) / "sweep" / SEEDS[1].name
    for file in (folder / "path.json", folder / "val.parquet", Graph(study).train(SEEDS[1]).mark):
        file.unlink()
    kept, lost = (folder / f"lambda-{name}" for name in trained[1][:2])
    shutil.rmtree(lost)
    before = (kept / "cell.json").stat().st_mtime_ns
    stages.train(study, *SEEDS)
    assert [listed(study, path) for path in SEEDS] == trained
    assert (kept / "cell.json").stat().st_mtime_ns == before
    assert all(Graph(study).train(path).made() for path in SEEDS)


def test_a_seed_that_is_trained_anew_takes_the_marks_of_those_after_it(study):
    stages.train(study, *SEEDS)
    shutil.rmtree(places.results_folder(study) / "sweep" / SEEDS[0].name)
    stages.train(study, SEEDS[0])
    made = {path: Graph(study).train(path).made() for path in SEEDS}
    assert made == {SEEDS[0]: True, SEEDS[1]: False, SEEDS[2]: False}


def test_jobs_of_several_seeds_follow_each_other(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    study = prepared_study(tmp_path, **RACE, resources={"seeds_per_job": 2})
    graph = Graph(study)
    assert graph.before(SEEDS[0]) == graph.before(SEEDS[1]) == []
    assert graph.before(SEEDS[2]) == [graph.train(SEEDS[1])]
    assert graph.before(sweep_path("none", 2)) == []


def test_a_plan_counts_what_the_race_will_train_and_waits(study):
    work = plan(study).work
    found = {job.name: job for job in work if job.command == "train" and job.phase == "sweep"}
    jobs = [found[f"sweep/{path.name}"] for path in SEEDS]
    assert [job.cells for job in jobs] == [5, 3, 2]
    first, second, _ = (f"train/{job.name}" for job in jobs)
    assert [job.needs for job in jobs] == [(), (first,), (first, second)]
    assert found["sweep/shapes/convnet/none/seed2"].needs == ()
    stages.train(study, SEEDS[0])
    assert "sweep: 1 of 6 paths finished, 5 waiting; 5 of 13 cells finished" in text(status(study))


def test_a_report_in_the_middle_of_a_race_knows_how_many_networks_are_to_come(study):
    stages.train(study, SEEDS[0])
    stages.gather(study, partial=True)
    scores = Scores(places.results_folder(study) / "partial" / "scores")
    (sweep,) = (phase for phase in coverage.phases(scores) if phase["phase"] == "sweep")
    assert (sweep["finished"], sweep["of"]) == (5, 13)
    # Of the second seed, which trials are to come is known.
    seeds = scores.cells[(scores.cells["penalty"] == "l1") & (scores.cells["phase"] == "sweep")].groupby("seed")
    assert [sorted(rows["lambda"]) for _, rows in seeds][1:] == [best(study, SEEDS[:1], 3), ["", ""]]
    assert scores.cells["reason"].fillna("").value_counts()["the race has not come to it yet"] == 2
    assert len(cells.embedded(scores)["cells"]["lambda"]["codes"]) == len(scores.cells)
