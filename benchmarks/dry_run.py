"""How long does planning a large study take? `snakemake -n` in a copy of the workflow, nothing made yet.

Two studies of about 10,000 cells, both with eight λ a path: `wide` has many tuning seeds, so that most cells come eight
to a path; `deep` has three tuning and ten evaluation seeds, so that most paths are final ones, of one cell each.
`small` and `huge` have about 1,000 and 100,000 cells; with `/10`, a job takes the paths of up to ten seeds.
Timed is the wall clock of the whole process, with the CPU time beside it; the memory is the peak of its resident set.
"""

from __future__ import annotations

import re
import shutil
import subprocess
from pathlib import Path
from statistics import median

from common import BIN, CHECKOUT, measure, print_table, sized, temporary_project, write_study

from softreg.study.config import load_study
from softreg.study.matrix import count_cells, final_paths, sweep_paths

TURNS = sized(3, 1)
GRID = [1e-7, 3e-7, 1e-6, 3e-6, 1e-5, 3e-5, 1e-4, 3e-4]
#: Name → data sets, models, penalties beside none, tuning and evaluation seeds, seeds per job.
STUDIES = sized(
    {
        "small": (2, 2, 4, 6, 10, 1),
        "wide": (4, 5, 4, 14, 5, 1),
        "deep": (5, 6, 9, 3, 10, 1),
        "deep/10": (5, 6, 9, 3, 10, 10),
        "huge/10": (10, 15, 9, 8, 19, 10),
    },
    {"wide": (1, 1, 1, 1, 1, 1)},
)


def study(name: str) -> Path:
    datasets, models, penalties, tuning, evaluation, seeds_per_job = STUDIES[name]
    return write_study(
        name.replace("/", "-"),
        datasets={f"shapes{i}": {"kind": "shapes", "seed": i} for i in range(datasets)},
        models={f"convnet{i}": {"kind": "convnet", "dropout": i / 20} for i in range(models)},
        penalties={"none": {}, **{f"l1-{i}": {"kind": "l1", "lambda": GRID} for i in range(penalties)}},
        seeds={"tuning": list(range(tuning)), "evaluation": list(range(100, 100 + evaluation))},
        resources={"seeds_per_job": seeds_per_job},
    )


def jobs(file: Path) -> int:
    """Jobs that a dry run plans."""
    command = [BIN / "snakemake", "-n", "--quiet", "rules", "--config", f"study={file}"]
    done = subprocess.run(command, check=True, capture_output=True, text=True)
    match = re.search(r"^total\s+(\d+)$", done.stdout + done.stderr, re.MULTILINE)
    assert match, done.stdout + done.stderr
    return int(match[1])


def plan(name: str) -> list[str]:
    file = study(name)
    loaded = load_study(file)
    paths = len(sweep_paths(loaded)) + len(final_paths(loaded))
    runs = [measure("snakemake", "-n", "--quiet", "all", "--config", f"study={file}") for _ in range(TURNS)]
    seconds, cpu = (median(values) for values in zip(*((run.seconds, run.cpu_seconds) for run in runs), strict=True))
    counts = (str(count) for count in (count_cells(loaded), paths, jobs(file)))
    return [name, *counts, f"{seconds:.1f}", f"{cpu:.1f}", f"{max(run.peak_mb for run in runs):.0f}"]


def main() -> None:
    with temporary_project() as folder:
        shutil.copy(CHECKOUT / "Snakefile", folder)
        for part in ("workflow", "profiles"):
            shutil.copytree(CHECKOUT / part, folder / part)
        rows = [plan(name) for name in STUDIES]
    print_table(["study", "cells", "paths", "jobs", "s", "CPU s", "peak MB"], rows)


if __name__ == "__main__":
    main()
