"""The stages of the DAG: each makes what is missing or was made under another key, and returns at once otherwise.

Stages that need torch import it when they run, so that the others, and jobs with nothing to do, start at once.
"""

from __future__ import annotations

import os
import shutil
import sys
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from itertools import product
from pathlib import Path
from typing import TYPE_CHECKING, Any

from softreg.data.datasets import archives_of, prepared_folder
from softreg.errors import UserError
from softreg.files import digest, read_json, write_json
from softreg.own.sources import is_own, slug
from softreg.running import gpu, jobs, places
from softreg.running.graph import Graph, Job, is_small, joint_name
from softreg.scoring.race import lambdas_of
from softreg.study.cells import Cell, make_cells
from softreg.study.config import Study
from softreg.study.fingerprint import demand_unchanged
from softreg.study.keys import scoring_key
from softreg.study.matrix import Group, TrainingPath, raced_before, sweep_paths
from softreg.training.stopping import StopRequest

Sweep = dict[TrainingPath, list[Cell]]
"""The paths of a group's sweep, each with its cells."""

if TYPE_CHECKING:
    import pyarrow as pa

    from softreg.scoring.evaluate import Evaluator
    from softreg.scoring.origin import Origin

#: Of a job that needs no GPU, whatever a site's profile says of its GPUs.
NO_GPU = {"gpu": 0, "gpu_model": None, "gres": None}
SELECTING_PRIORITY = 1_000_000
"""Of what selects: above all training, so that a λ̂ is had as soon as it can be."""


def set_environment(study: Study) -> None:
    """Tell jobs, through the environment, which study they belong to and where this Python's ``softreg`` is.

    The command is found whether or not its environment is activated.
    """
    os.environ["SOFTREG_STUDY"] = str(study.file)
    os.environ[jobs.REFUSED] = str(jobs.LOGS / study.name / ".refused")
    os.environ["PATH"] = f"{Path(sys.executable).parent}{os.pathsep}{os.environ.get('PATH', os.defpath)}"


def forget_refusals() -> None:
    """What an earlier run has refused may be mended."""
    shutil.rmtree(os.environ[jobs.REFUSED], ignore_errors=True)


def seed_priority(study: Study, path: TrainingPath) -> int:
    """Higher for an earlier seed, the sweep's first, so that all entries are trained in turn, a seed after the other.

    What else the machine does at a time then falls on all entries, whose costs can be compared; and a study that is
    stopped has as many seeds of each. Less than `SELECTING_PRIORITY`.
    """
    order = [*product(["sweep"], study.seeds["tuning"]), *product(["final"], study.seeds["evaluation"])]
    return len(order) - order.index((path.phase, path.seed))


def job_resources(study: Study) -> Mapping[str, int | None]:
    """What a job on a path's networks asks of a scheduler.

    Its processors are named a second time, as Snakemake cuts ``threads`` down to the cores of the machine it runs on,
    which on a cluster is not the one that trains.
    """
    resources = study.resources
    asked = {"cpus_per_task": resources["threads"], "mem_mb": resources["mem_mb"], "runtime": resources["runtime"]}
    return asked | ({"gpu": resources["gpu"]} if resources["gpu"] else NO_GPU)


def fetch(study: Study, kind: str, filename: str) -> None:
    """Fetch one archive of a kind of data set; of a user's own, ``kind`` may be the name of its folder of archives."""
    from softreg.data.fetch import fetch

    own = (entry["kind"] for entry in study.datasets.values() if is_own(entry["kind"]))
    kind = next((one for one in own if slug(one) == kind), kind)
    by_name = {archive.filename: archive for archive in archives_of(kind)}
    if filename not in by_name:
        raise UserError(f"{kind} has no archive {filename!r}; it has {', '.join(by_name) or 'none'}")
    fetch(by_name[filename], places.raw_folder(kind) / filename, study.mirrors)


def prepare(study: Study, dataset: str, key: str = "") -> None:
    """Prepare one data set of the study."""
    with _making(study, [Graph(study).prepare(dataset)], key) as open_:
        for job in open_:
            from softreg.data.prepare import prepare

            job.begin()
            options = study.datasets[dataset]
            prepare(dataset, options, places.raw_folder(options["kind"]), prepared_folder(study, dataset))
            job.end()


def train(study: Study, *paths: TrainingPath, key: str = "", eager: bool = False) -> None:
    """Train the cells of ``paths`` that are not settled yet, list them in each ``path.json``, and score them.

    In the sweep on val alone, in the final on train and test. ``paths`` are of one group and one phase. With
    ``eager``, a GPU is given each step kernel by kernel, with the same result. Raises UserError where data, or in the
    final λ̂, or in a race the seeds before, are missing or of another version of the study.
    """
    graph = Graph(study)

    def check() -> None:
        _demand_data(graph, paths[0].dataset)
        if paths[0].phase == "final":
            graph.select(paths[0].group).demand(study)

    with _making(study, [graph.train(path) for path in paths], key, check) as open_:
        for path in paths if open_ else ():
            # Others too, where a seed before it in a race has just been trained anew.
            if not graph.train(path).made():
                _train_path(graph, path, eager)


def _demand_data(graph: Graph, dataset: str) -> None:
    """Raise UserError where a data set is not prepared, or its arrays have changed since: it is then prepared again."""
    graph.prepare(dataset).demand(graph.study, lambda file: True)


def _train_path(graph: Graph, path: TrainingPath, eager: bool) -> None:
    study, job = graph.study, graph.train(path)
    for earlier in raced_before(study, path):
        graph.train(earlier).demand(study)
    job.begin()
    graph.outdate(path)
    cells = _cells(study, path)
    if waiting := [cell for cell in cells if not cell.settled(lambda file: True)]:
        _train_cells(study, path, waiting, eager)
    write_json(job.makes[0], {"cells": [_entry(cell) for cell in cells]})
    _score(study, job, {path: cells})
    job.end(also=[file for cell in cells for file in cell.files()])


def _train_cells(study: Study, path: TrainingPath, cells: list[Cell], eager: bool) -> None:
    """Train ``cells``; those that ran out of memory beside another job on their GPU, once more and alone."""
    data, classes = _data(study, path)
    stop = StopRequest()
    with gpu.turn(study.resources["gpu"], stop) as turn:
        from softreg.training.path import train_cells

        # While it waited for a GPU, perhaps.
        demand_unchanged()
        with stop.installed():
            jobs.tell_ready(len(cells))
            train_cells(study, path, cells, data, classes, stop, jobs.tell, eager)
        if any(_entry(cell)["status"] == "out-of-memory" for cell in cells):
            turn.out_of_memory()


def _score(study: Study, job: Job, cells: Sweep) -> None:
    """Write a job's records of finished ``cells``, of one model and phase; those of unchanged networks are kept."""
    from softreg.scoring import records
    from softreg.scoring.origin import current, held_by_all, name_of, networks_of

    made = [file for file in job.makes if file.suffix == ".parquet"]
    files = {file: records.SCHEMA if file.name == "test.parquet" else records.SUMS for file in made}
    origin = _origin(study, next(iter(cells)), [cell for mine in cells.values() for cell in mine])
    if all(current(file, origin) for file in files):
        return
    tables = [held_by_all(files, origin)]
    scored = set(networks_of(tables[0][0]))
    finished = {path: [cell for cell in mine if _entry(cell)["status"] == "finished"] for path, mine in cells.items()}
    new = {path: [cell for cell in mine if name_of(cell) not in scored] for path, mine in finished.items()}
    if any(new.values()):
        with gpu.turn(study.resources["gpu"]):
            from softreg.scoring.evaluate import Evaluator

            evaluators = {path: Evaluator(study, path, *_data(study, path)) for path, mine in new.items() if mine}
            demand_unchanged()
            tables += [_scored(job, evaluator, new[path]) for path, evaluator in evaluators.items()]
    for parts, (file, schema) in zip(zip(*tables, strict=True), files.items(), strict=True):
        records.write(records.joined(parts, schema), file, schema, origin)


def _scored(job: Job, evaluator: Evaluator, cells: list[Cell]) -> list[pa.Table]:
    """The rows of each file: of the sweep on val, or once it is revealed on test; of the final on train and test."""
    if job.command == "reveal":
        jobs.tell_ready(len(cells))
        return [evaluator.revealed(cells)]
    return [evaluator.validation(cells)] if evaluator.path.phase == "sweep" else evaluator.final(cells)


def select(study: Study, group: Group, key: str = "") -> None:
    """Choose λ̂ of one group from the validation scores of its sweep."""
    graph = Graph(study)
    with _making(study, [graph.select(group)], key, lambda: _verified_sweep(graph, group)) as open_:
        for job in open_:
            from softreg.scoring.select import select_group

            sweep = _verified_sweep(graph, group)
            job.begin()
            select_group(study, graph.results, group)
            job.end(_digest_of(study, sweep))


def reveal(study: Study, *groups: Group, key: str = "") -> None:
    """Score the networks of the sweeps of ``groups`` on test, into ``sums.parquet`` of each group's folder.

    For what is told once λ̂ has been selected: oracle gaps, regret, and λ curves on test. Nothing that selects reads it.
    Raises UserError where λ̂ of a group has not been selected yet.
    """
    graph = Graph(study)

    def check() -> None:
        for group in groups:
            graph.select(group).demand(study)
        for dataset in dict.fromkeys(group[0] for group in groups):
            _demand_data(graph, dataset)

    with _making(study, [graph.reveal(group) for group in groups], key, check) as open_:
        for group in groups:
            if (job := graph.reveal(group)) in open_:
                cells = _verified_choice(graph, group, lambda file: True)
                job.begin()
                _score(study, job, cells)
                job.end()


def _verified_sweep(graph: Graph, group: Group, reads: Callable[[Path], bool] = is_small) -> Sweep:
    """The cells of a group's sweep, whose networks and scores are those of the study as it is now.

    ``reads`` is that of `softreg.files.altered`.

    Raises UserError where one is not; its path is then no longer marked as made.
    """
    from softreg.scoring.origin import current

    study, found = graph.study, {}
    for path in sweep_paths(study, group):
        job = graph.train(path)
        job.demand(study, reads)
        graph.prepare(path.dataset).demand(study)
        cells = _cells(study, path)
        if any(cell.record() is None for cell in cells) or not current(job.makes[1], _origin(study, path, cells)):
            job.void()
            job.demand(study)
        found[path] = cells
    return found


def _verified_choice(graph: Graph, group: Group, reads: Callable[[Path], bool] = is_small) -> Sweep:
    """As `_verified_sweep`, of which a group's λ̂ must have been chosen; else it is no longer marked as made."""
    job = graph.select(group)
    job.demand(graph.study)
    sweep = _verified_sweep(graph, group, reads)
    if job.told() != _digest_of(graph.study, sweep):
        job.void()
        job.demand(graph.study)
    return sweep


def _digest_of(study: Study, sweep: Sweep) -> str:
    """Changes when a network of a sweep does, or how it was scored."""
    return digest([_origin(study, path, cells) for path, cells in sweep.items()])


def gather(study: Study, partial: bool = False, key: str = "") -> str:
    """Gather all scores of a study; a sentence on cells that did not finish, or "".

    Raises UserError where something is missing or of another version of the study, which is then no longer marked as
    made; with ``partial``, gathers what there is, whatever is missing.
    """
    from softreg.scoring.gather import Mixed, gather, unfinished

    graph = Graph(study)
    if partial:
        selected = [group for group in graph.groups if graph.select(group).made()]
        return unfinished(gather(study, places.RESULTS, places.DATA, selected))
    try:
        with _making(study, [graph.gather], key, lambda: _demand_all(graph)) as open_:
            for job in open_:
                job.begin()
                gather(study, places.RESULTS, places.DATA)
                job.end()
    except Mixed as mixed:
        for job in graph.jobs():
            if any(place.is_relative_to(job.makes[0].parent) for place in mixed.places):
                job.void()
        raise
    graph.gather.demand(study)
    return unfinished(graph.results / "scores")


def _demand_all(graph: Graph) -> None:
    """Raise UserError unless all that is gathered is what was made of the study as it is now."""
    for dataset in graph.study.datasets:
        _demand_data(graph, dataset)
    for path in graph.final:
        graph.train(path).demand(graph.study)
    for group in graph.groups:
        # The sweep's with it.
        _verified_choice(graph, group)
        graph.reveal(group).demand(graph.study)


@contextmanager
def _making(
    study: Study, wanted: Sequence[Job], key: str, check: Callable[[], object] = lambda: None
) -> Iterator[list[Job]]:
    """Those of ``wanted`` that are not made yet, once no other process is at any of all; none comes meanwhile.

    If there are any, ``check`` is called before anything is written; it raises what stands against making them.
    All before the first GPU is waited for: who has a GPU waits for no other process. Raises UserError where the work
    was asked for under a ``key`` that none of it has.
    """
    if key and key not in {job.key for job in wanted}:
        raise UserError(
            f"{study.file}, its data or the code has changed since this run began; run the same command again"
        )
    if all(job.made() for job in wanted):
        yield []
        return
    check()
    with ExitStack() as held:
        for job in sorted({*wanted}, key=lambda job: job.stem):
            held.enter_context(job.alone())
        if open_ := [job for job in wanted if not job.made()]:
            name = joint_name([job.name for job in wanted])
            held.enter_context(jobs.job(study.name, open_[0].command, name, open_[-1].key))
        yield open_


def _cells(study: Study, path: TrainingPath) -> list[Cell]:
    """The cells of a path, on the data that are prepared."""
    results = places.results_folder(study)
    content = read_json(places.description(study, path.dataset))["content_digest"]
    return make_cells(study, path, lambdas_of(study, path, results), results, content)


def _origin(study: Study, path: TrainingPath, cells: Sequence[Cell]) -> Origin:
    """What the records of ``cells``, which are of the model and phase of ``path``, are made from."""
    from softreg.scoring.origin import origin_of

    return origin_of([(cell, cell.record()) for cell in cells], scoring_key(study, path.phase, path.model))


def _data(study: Study, path: TrainingPath) -> tuple[Path, int]:
    """The folder of a path's prepared data, and how many classes they have."""
    return prepared_folder(study, path.dataset), len(read_json(places.description(study, path.dataset))["classes"])


def _entry(cell: Cell) -> dict[str, Any]:
    record = cell.record()
    assert record is not None, cell.folder
    return {
        "lambda": cell.lambda_,
        "status": record["status"],
        "reason": record["reason"],
        "key": cell.key,
        "weights_sha256": record["weights_sha256"],
    }
