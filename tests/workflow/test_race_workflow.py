"""A study that races λ as its users run it: to its report, and on when a λ or a tuning seed is added."""

import re
from pathlib import Path

import pyarrow.parquet as pq
from test_workflow import STUDY, make_project, planned, snakemake, write_study

from softreg.files import read_json

GRID = [1e-5, 1e-4, 1e-3, 1e-2, 1e-1]
RACE = {
    "penalties": {"none": {}, "l1": {"lambda": GRID}},
    "seeds": {"tuning": [0, 1, 2], "evaluation": [100]},
    "selection": {"search": "halving"},
    "resources": {**STUDY["resources"], "seeds_per_job": 2},
}


def networks(folder: Path) -> dict[Path, int]:
    """All networks, with the time at which each was trained."""
    return {file.parent: file.stat().st_mtime_ns for file in (folder / "results/tiny").rglob("cell.json")}


def raced(folder: Path) -> dict[str, set[Path]]:
    """The networks that each tuning seed of l1 lists."""
    paths = sorted((folder / "results/tiny/sweep/shapes/convnet/l1").glob("seed*/path.json"))
    return {
        file.parent.name: {file.parent / f"lambda-{entry['lambda']}" for entry in read_json(file)["cells"]}
        for file in paths
    }


def test_a_race_ends_in_a_report_and_what_is_added_trains_what_it_must(tmp_path):
    make_project(tmp_path, **RACE)
    # Of each entry two jobs of the sweep, of two seeds and of one, and a final.
    assert planned(tmp_path)["train_paths"] == 2 * (2 + 1)
    snakemake(tmp_path, "--cores", "2")
    assert planned(tmp_path) == {}
    assert [len(cells) for cells in raced(tmp_path).values()] == [5, 3, 2]
    first = networks(tmp_path)
    assert len(first) == (5 + 3 + 2) + 3 + 2
    report = (tmp_path / "results/tiny/report.html").read_text()
    assert "l1 10 of 15, none 3 of 3" in report
    assert re.search(r"\d+ of \d+ cells did not finish", report) is None
    cells = pq.read_table(tmp_path / "results/tiny/scores/cells.parquet").to_pandas()
    assert cells["status"].tolist() == ["finished"] * len(first)

    # A tuning seed more: it trains the two that are left, and nothing else is trained but what follows from λ̂.
    seeds = {**RACE["seeds"], "tuning": [0, 1, 2, 3]}
    write_study(tmp_path, **RACE | {"seeds": seeds})
    snakemake(tmp_path, "--cores", "2", "sweep")
    second = networks(tmp_path)
    assert {place: second[place] for place in first} == first
    added = second.keys() - first.keys()
    assert sorted(place.parent.parent.name + place.parent.name for place in added) == ["l1seed3"] * 2 + ["noneseed3"]
    assert added & raced(tmp_path)["seed3"] == raced(tmp_path)["seed3"]

    # A λ more: with the first seed it alone is trained; with the others what the race has now left and was not there.
    write_study(tmp_path, **RACE | {"seeds": seeds, "penalties": {"none": {}, "l1": {"lambda": [*GRID, 1e-6]}}})
    snakemake(tmp_path, "--cores", "2", "sweep")
    third, now = networks(tmp_path), raced(tmp_path)
    assert {place: third[place] for place in second} == second
    assert [len(cells) for cells in now.values()] == [6, 3, 2, 2]
    assert third.keys() - second.keys() == set.union(*now.values()) - second.keys()
    assert tmp_path / "results/tiny/sweep/shapes/convnet/l1/seed0/lambda-1e-6" in third
    snakemake(tmp_path, "--cores", "2")
    assert planned(tmp_path) == {}
