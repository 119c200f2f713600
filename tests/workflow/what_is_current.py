"""Whatever happens to the files of a finished study beside what they hold, the same edits lead to the same jobs.

``python tests/workflow/what_is_current.py`` runs a tiny study under Git and DVC, then plans each of the edits below in
each of the conditions below, asserts that it is the same everywhere, and runs one edit to its end in each.
"""

from __future__ import annotations

import os
import re
import shutil
import sys
import tempfile
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import yaml

sys.path.append(str(Path(__file__).parents[1]))
from test_workflow import ran
from versioned import STUDY, clone, commit, make_project, run, snakemake, write_study

BASE = {
    **STUDY,
    "penalties": {"none": {}, "l1": {"lambda": ["1e-4", "1e-2"]}},
    "seeds": {"tuning": [0, 1], "evaluation": [100, 101]},
}
SHAPES = STUDY["datasets"]["shapes"]


def _penalties(grid: list[str]) -> dict[str, object]:
    return {"penalties": {"none": {}, "l1": {"lambda": grid}}}


def _seeds(tuning: list[int], evaluation: list[int]) -> dict[str, object]:
    return {"seeds": {"tuning": tuning, "evaluation": evaluation}}


EDITS: dict[str, dict[str, object]] = {
    "nothing": {},
    "epochs": {"training": {**STUDY["training"], "epochs": 3}},
    "one λ more": _penalties(["1e-4", "1e-3", "1e-2"]),
    "one λ less": _penalties(["1e-4"]),
    "size": {"datasets": {"shapes": {**SHAPES, "size": [16, 24]}}},
    "images": {"datasets": {"shapes": {**SHAPES, "images": 20}}},
    "one tuning seed more": _seeds([0, 1, 2], [100, 101]),
    "one tuning seed less": _seeds([0], [100, 101]),
    "one evaluation seed more": _seeds([0, 1], [100, 101, 102]),
    "one evaluation seed less": _seeds([0, 1], [100]),
    "one penalty less": {"penalties": {"l1": {"lambda": ["1e-4", "1e-2"]}}},
    "dropout": {"penalties": {"none": {}, "l1": BASE["penalties"]["l1"], "dropout": {"lambda": ["0.3"]}}},
    "title": {"title": "Another title"},
}


def write(folder: Path, **changes: object) -> None:
    """The study with an edit."""
    write_study(folder, **{**BASE, **changes})


def nothing(folder: Path) -> None:
    """As the run has left it."""


def without_notes(folder: Path) -> None:
    """Snakemake's own folder is deleted."""
    shutil.rmtree(folder / ".snakemake", ignore_errors=True)


def touched(folder: Path) -> None:
    """Every file has the time of now, with inputs later than what is made from them."""
    for file in sorted(folder.rglob("*"), reverse=True):
        if file.is_file() and not {".git", ".dvc"} & set(file.relative_to(folder).parts):
            os.utime(file)


def told_to_touch(folder: Path) -> None:
    """``snakemake --touch``, which dates the outputs that are there, and complains of others."""
    command = ("snakemake", "--touch", "--cores", "1", "--config", "study=config/tiny.yaml")
    run(folder, "sh", "-c", '"$@" || true', "sh", *command)


CONDITIONS: dict[str, Callable[[Path], None]] = {
    "as it is": nothing,
    "no .snakemake": without_notes,
    "touched": touched,
    "--touch": told_to_touch,
}


def planned(folder: Path) -> Counter[str]:
    """The outputs that a dry run would make."""
    lines = re.findall(r"^    output: (.*)$", snakemake(folder, "--dry-run"), re.MULTILINE)
    return Counter(output for line in lines for output in line.split(", "))


@contextmanager
def edited(folder: Path, changes: dict[str, object]) -> Iterator[None]:
    """The study with an edit, which is taken back afterwards."""
    file = folder / "config" / "tiny.yaml"
    before = file.read_text(encoding="utf-8")
    write_study(folder, **yaml.safe_load(before) | changes)
    try:
        yield
    finally:
        file.write_text(before, encoding="utf-8")


def finished(folder: Path) -> Path:
    """The study, run to its end by DVC, committed and pushed to a store beside it."""
    project = make_project(folder / "project")
    write(project)
    run(project, "dvc", "repro")
    commit(project, "Results of the tiny study")
    run(project, "dvc", "push")
    return project


def copies(project: Path, folder: Path) -> Iterator[tuple[str, Path]]:
    """The finished study in every condition, each in a folder of its own."""
    for number, (name, change) in enumerate(CONDITIONS.items()):
        copy = folder / f"copy{number}"
        # Times and all, so that nothing has happened yet.
        shutil.copytree(project, copy, copy_function=shutil.copy2, symlinks=True)
        change(copy)
        yield name, copy
    plain = folder / "plain"
    # As `cp -r`: files come in any order, and have the time of their copy.
    shutil.copytree(project, plain, copy_function=shutil.copy, symlinks=True)
    yield "cp -r", plain
    yield "clone and pull", clone(project, folder / "pulled")


def compare(folders: dict[str, Path], edits: dict[str, dict[str, object]], told: Callable[[str], None]) -> None:
    """Assert that each edit leads to the same plan in all ``folders``, and that no edit but none leads to nothing."""
    for edit, changes in edits.items():
        plans = {}
        for condition, folder in folders.items():
            with edited(folder, changes):
                if condition == "--touch":
                    told_to_touch(folder)
                plans[condition] = planned(folder)
        (first, *others) = plans.values()
        assert all(other == first for other in others), (edit, plans)
        assert bool(first) == (edit != "nothing"), edit
        told(f"{edit:26} {len(first):3} outputs planned, the same in {len(plans)} conditions")


def refuses_to_mix(folder: Path) -> str:
    """What `softreg gather` says of a study whose epochs have been edited and whose networks have not been trained."""
    with edited(folder, EDITS["epochs"]):
        return run(folder, "softreg", "gather", "config/tiny.yaml", check=False)


def main() -> None:
    """Every edit in every condition; then one edit run to its end in each."""
    with tempfile.TemporaryDirectory(prefix="softreg-current-") as scratch:
        project = finished(Path(scratch))
        folders = dict(copies(project, Path(scratch)))
        compare(folders, EDITS, print)
        print(refuses_to_mix(project).strip().splitlines()[-1])
        for condition, folder in folders.items():
            write(folder, **EDITS["one λ more"])
            done = ran(snakemake(folder))
            print(f"one λ more, run, {condition:16}", dict(done))


if __name__ == "__main__":
    sys.exit(main())
