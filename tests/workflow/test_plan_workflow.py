"""A plan lists the jobs that Snakemake's dry run lists, at every stage of a study; and a run begins with a forecast."""

from collections import Counter
from pathlib import Path

from test_workflow import duplicate, make_project, planned, snakemake, write_study

from softreg.running.plan import plan
from softreg.running.status import status, text
from softreg.study.config import load_study

STUDY = Path("config/tiny.yaml")
#: The command of each rule that a plan counts.
RULES = {
    "train_paths": "train",
    "select_lambda": "select",
    "reveal_sweep": "reveal",
    "gather_scores": "gather",
    "write_paper": "paper",
}


def dry_run(folder) -> Counter:
    counts = Counter()
    for rule, count in planned(folder).items():
        if rule in RULES:
            counts[RULES[rule]] += count
    return counts


def commands_left() -> Counter:
    return Counter(job.command for job in plan(load_study(STUDY)).work)


def test_a_plan_lists_what_a_dry_run_lists_of_a_fresh_study(tmp_path, monkeypatch):
    folder = make_project(tmp_path)
    monkeypatch.chdir(folder)
    whole = dry_run(folder)
    assert whole == commands_left()
    assert whole["train"] == 8


def test_a_run_begins_with_a_forecast_and_a_plan_lists_what_the_sweep_has_left(swept, tmp_path, monkeypatch):
    folder = duplicate(swept, tmp_path)
    monkeypatch.chdir(folder)
    begun = (folder / "sweep.txt").read_text()
    assert "tiny: 9 of 9 cells and 8 of 8 paths are left to train, 8 paths to score, in 13 jobs" in begun
    assert dry_run(folder) == commands_left()
    assert commands_left()["train"] == 6
    assert "sweep: 2 of 2 paths finished; 3 of 3 cells finished" in text(status(load_study(STUDY)))


def test_of_a_finished_study_nothing_is_left(copy, monkeypatch):
    monkeypatch.chdir(copy)
    ended = (copy / "rest.txt").read_text()
    assert "tiny: 6 of 9 cells and 6 of 8 paths are left to train, 6 paths to score, in 11 jobs" in ended
    assert "measured here, 3 cells on CPU" in ended
    assert dry_run(copy) == commands_left() == Counter()
    assert text(status(load_study(STUDY))).endswith("nothing is left\n")


def test_a_plan_lists_what_a_dry_run_lists_after_an_edit(copy, monkeypatch):
    monkeypatch.chdir(copy)
    write_study(copy, title="Another title")
    assert dry_run(copy) == commands_left() == Counter(gather=1, paper=1)
    write_study(copy, selection={"folds": 3})
    assert dry_run(copy) == commands_left()
    assert commands_left()["select"] == 2

    write_study(copy, evaluation={"corruptions": ["noise"], "severities": [1]})
    assert dry_run(copy) == commands_left() == Counter(train=6, gather=1, paper=1)

    write_study(copy, penalties={"none": {}, "l1": {"lambda": [1e-4, 1e-3, 1e-2]}})
    assert dry_run(copy) == commands_left()
    assert commands_left()["train"] == 4
    assert sum(job.cells for job in plan(load_study(STUDY)).work if job.command == "train") == 4


def test_what_needs_no_training_begins_without_a_forecast(tmp_path):
    folder = make_project(tmp_path)
    done = snakemake(folder, "--cores", "1", "data")
    assert "left to train" not in done.stderr
