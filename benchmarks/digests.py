"""What do digests cost? The share of a study's run that is spent on them, and of a status over 10,000 cells.

The run is of generated scenes on the CPU, all stages but the paper in one process. Timed are SHA-256 of files, and all
looks at whether files are as they were made; the share is of their sum, which counts what looks read twice. The status
is of a finished sweep whose files are small, as its time does not depend on their sizes; "by existence" asks only
whether the marks are there.
"""

from __future__ import annotations

import contextlib
import hashlib
import io
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from statistics import median
from typing import Any

from common import print_table, sized, temporary_project, write_study

from softreg.files import write_json, write_text
from softreg.running import graph as graphs
from softreg.running import places, stages
from softreg.running.graph import Graph
from softreg.running.status import status
from softreg.study.cells import PARTS, make_cells
from softreg.study.config import load_study

TURNS = sized(3, 1)
#: Images, epochs, and penalties, tuning seeds of 8 λ.
RUN, STATUS = sized(((240, 10), (25, 50)), ((24, 1), (1, 2)))
GRID = [1e-7, 3e-7, 1e-6, 3e-6, 1e-5, 3e-5, 1e-4, 3e-4]


@contextlib.contextmanager
def timing(module: Any, name: str) -> Iterator[list[float]]:
    """The seconds of each call of a function meanwhile."""
    original: Callable[..., Any] = getattr(module, name)
    seconds: list[float] = []

    def timed(*arguments: Any, **options: Any) -> Any:
        began = time.perf_counter()
        try:
            return original(*arguments, **options)
        finally:
            seconds.append(time.perf_counter() - began)

    setattr(module, name, timed)
    try:
        yield seconds
    finally:
        setattr(module, name, original)


def run() -> list[str]:
    """A study from its data to its scores."""
    images, epochs = RUN
    file = write_study(
        "run",
        datasets={"shapes": {"images": images}},
        models={"convnet": {}},
        penalties={"none": {}, "l1": {"lambda": [1e-5, 1e-4, 1e-3]}},
        training={"epochs": epochs},
        seeds={"tuning": [0], "evaluation": [100, 101]},
    )
    study = load_study(file)
    made = Graph(study)
    began = time.perf_counter()
    with timing(hashlib, "file_digest") as hashed, timing(graphs, "altered") as looked:
        stages.prepare(study, "shapes")
        stages.train(study, *made.sweep[:1])
        stages.train(study, *made.sweep[1:])
        for group in made.groups:
            stages.select(study, group)
        for path in made.final:
            stages.train(study, path)
        stages.reveal(study, *made.groups)
        stages.gather(study)
    whole = time.perf_counter() - began
    told = [f"{whole:.2f}", f"{sum(hashed):.3f}", f"{sum(looked):.3f}"]
    return ["run", *told, f"{100 * (sum(hashed) + sum(looked)) / whole:.2f} %"]


def fill(made: Graph) -> int:
    """All that a finished sweep leaves, in small files; how many cells that is."""
    study, count = made.study, 0
    write_json(places.description(study, "shapes"), {"content_digest": "of nothing"})
    for path in made.sweep:
        job = made.train(path)
        lambdas = study.penalties[path.penalty]["lambda"]
        cells = make_cells(study, path, lambdas, made.results, "of nothing")
        for cell in cells:
            cell.folder.mkdir(parents=True)
            for name in PARTS:
                cell.folder.joinpath(name).write_text(name)
            cell.end(
                {"key": cell.key, "status": "finished", "reason": "", "seconds": 1.0, "provenance": {"device": ""}}
            )
        entries = [{"lambda": cell.lambda_, "status": "finished", "reason": "", "key": cell.key} for cell in cells]
        write_json(job.makes[0], {"cells": entries})
        for place in job.makes[1:]:
            write_text(place, "records")
        job.end(also=[file for cell in cells for file in cell.files()])
        count += len(cells)
    return count


def looks() -> Iterator[list[str]]:
    """A status that asks for sizes and times, and one that asks for existence alone."""
    penalties, seeds = STATUS
    file = write_study(
        "wide",
        datasets={"shapes": {}},
        models={"convnet": {}},
        penalties={f"l1-{i}": {"kind": "l1", "lambda": GRID} for i in range(penalties)},
        seeds={"tuning": list(range(seeds)), "evaluation": [100]},
    )
    study = load_study(file)
    cells = fill(Graph(study))
    status(study)
    by_sizes, by_existence = [], []
    for _ in range(TURNS):
        began = time.perf_counter()
        status(study)
        by_sizes.append(time.perf_counter() - began)
        with timing(graphs, "altered"):
            graphs.altered = lambda path, reads=None, **told: [] if path.is_file() else [path]
            began = time.perf_counter()
            status(study)
            by_existence.append(time.perf_counter() - began)
    sizes, existence = median(by_sizes), median(by_existence)
    yield [f"status, {cells} cells", f"{sizes:.2f}", f"{existence:.2f}", f"{100 * (1 - existence / sizes):.0f} %"]


def main() -> None:
    with temporary_project(), contextlib.redirect_stderr(io.StringIO()), contextlib.redirect_stdout(io.StringIO()):
        made = run()
        found = list(looks())
    print_table(["", "s", "digests, s", "looks, s", "share"], [made])
    print_table(["", "s", "by existence, s", "share"], found)
    assert not Path("results").exists()


if __name__ == "__main__":
    main()
