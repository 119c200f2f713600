"""A plan lists the jobs that Snakemake's dry run lists, at every stage of a study; and a run begins with a forecast."""

from collections import Counter
from pathlib import Path

from test_workflow import make_project, planned, snakemake, write_study

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


def test_a_plan_lists_what_a_dry_run_lists(tmp_path, monkeypatch):
    folder = make_project(tmp_path)
    monkeypatch.chdir(folder)
    whole = dry_run(folder)
    assert whole == commands_left()
    assert whole["train"] == 4

    begun = snakemake(folder, "--cores", "2", "sweep")
    assert "tiny: 5 of 5 cells and 4 of 4 paths are left to train, 4 paths to score, in 9 jobs" in begun.stderr
    assert dry_run(folder) == commands_left()
    assert commands_left()["train"] == 2
    assert "sweep: 2 of 2 paths finished; 3 of 3 cells finished" in text(status(load_study(STUDY)))

    ended = snakemake(folder, "--cores", "2")
    assert "tiny: 2 of 5 cells and 2 of 4 paths are left to train, 2 paths to score, in 7 jobs" in ended.stderr
    assert "measured here, 3 cells on CPU" in ended.stderr
    assert dry_run(folder) == commands_left() == Counter()
    assert text(status(load_study(STUDY))).endswith("nothing is left\n")

    write_study(folder, title="Another title")
    assert dry_run(folder) == commands_left() == Counter(gather=1, paper=1)
    write_study(folder, selection={"rule": "one_se"})
    assert dry_run(folder) == commands_left()
    assert commands_left()["select"] == 2

    write_study(folder, evaluation={"corruptions": ["noise"], "severities": [1]})
    assert dry_run(folder) == commands_left() == Counter(train=2, gather=1, paper=1)

    write_study(folder, penalties={"none": {}, "l1": {"lambda": [1e-4, 1e-3, 1e-2]}})
    assert dry_run(folder) == commands_left()
    assert commands_left()["train"] == 2
    assert sum(job.cells for job in plan(load_study(STUDY)).work if job.command == "train") == 2


def test_what_needs_no_training_begins_without_a_forecast(tmp_path):
    folder = make_project(tmp_path)
    done = snakemake(folder, "--cores", "1", "data")
    assert "left to train" not in done.stderr
