"""The stages of the DAG: what each reads and writes, in the working directory's ``data`` and ``results``.

Stages that need torch import it when they run, so that the others, and jobs with nothing to do, start at once.
"""

from __future__ import annotations

import csv
import os
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from softreg.data.datasets import archives_of, prepared_folder
from softreg.errors import UserError
from softreg.files import digest, read_json, sha256_file, write_json
from softreg.own.classes import describe
from softreg.own.sources import is_own, slug
from softreg.running import gpu, jobs, packs
from softreg.study.cells import Cell, make_cells, path_folder, path_spec, training_code
from softreg.study.config import Study
from softreg.study.fingerprint import code_fingerprint, module_of
from softreg.study.matrix import TrainingPath, final_paths, parse_path, sweep_paths
from softreg.training.stopping import StopRequest

if TYPE_CHECKING:
    from softreg.scoring.evaluate import Evaluator

DATA = Path("data")
RESULTS = Path("results")
Prepared = tuple[Path, dict[str, Any]]
"""A prepared data set: its folder, and what its ``dataset.json`` says."""
#: Of a job that needs no GPU, whatever a site's profile says of its GPUs.
NO_GPU = {"gpu": 0, "gpu_model": None, "gres": None}
SCORING_PRIORITY = 1_000_000
"""Of what scores and selects: above all training, so that a λ̂ is had as soon as it can be."""


def set_environment(study: Study) -> None:
    """Tell jobs, through the environment, which study they belong to and where this Python's ``softreg`` is.

    The study's file is no parameter of a job: the same data serve every study, and a file under another name is no
    reason to make anything again. The command is found whether or not its environment is activated.
    """
    os.environ["SOFTREG_STUDY"] = str(study.file)
    os.environ["PATH"] = f"{Path(sys.executable).parent}{os.pathsep}{os.environ.get('PATH', os.defpath)}"


def results_folder(study: Study) -> Path:
    """Where everything that a study makes lies."""
    return RESULTS / study.name


def paper_folder(study: Study) -> Path:
    """Where a paper is made from existing scores: the study's results, or published ones where it has none here."""
    published = RESULTS / "published" / study.name
    own = results_folder(study)
    return published if (published / "scores").is_dir() and not (own / "scores").is_dir() else own


def raw_folder(kind: str) -> Path:
    """Where the archives of a kind of data set lie, as published."""
    return DATA / "raw" / (slug(kind) if is_own(kind) else kind)


def description(study: Study, dataset: str) -> str:
    """The file whose presence says that a data set is prepared."""
    return (prepared_folder(study, dataset) / "dataset.json").as_posix()


def archive_files(study: Study, dataset: str) -> list[str]:
    """The archives that a data set is prepared from."""
    kind = study.datasets[dataset]["kind"]
    return [(raw_folder(kind) / archive.filename).as_posix() for archive in archives_of(kind)]


def training_inputs(study: Study, phase: str, name: str) -> dict[str, str]:
    """What a path's training reads: its data, and in the final its group's λ̂."""
    path = parse_path(phase, name)
    data = {"data": description(study, path.dataset)}
    if phase == "sweep":
        return data
    return {**data, "selection": f"{selection_stem(study)}{path.dataset}/{path.model}/{path.penalty}.csv"}


def selection_stem(study: Study) -> str:
    """What the names of all files begin with that hold one group's λ̂."""
    return f"{results_folder(study).as_posix()}/selection/"


def group_scores(study: Study, dataset: str, model: str, penalty: str) -> list[str]:
    """The validation scores that λ̂ of one group is chosen from."""
    sweep = f"{results_folder(study).as_posix()}/sweep"
    return [f"{sweep}/{path.name}/val.parquet" for path in sweep_paths(study, (dataset, model, penalty))]


def group_paths(study: Study, dataset: str, model: str, penalty: str) -> list[str]:
    """The lists of the cells of one group's sweep."""
    sweep = f"{results_folder(study).as_posix()}/sweep"
    return [f"{sweep}/{path.name}/path.json" for path in sweep_paths(study, (dataset, model, penalty))]


def path_key(study: Study, phase: str, name: str) -> str:
    """Changes when a path must be looked at again: its specification, its grid, or the code that trains it."""
    path = parse_path(phase, name)
    grid = study.penalties[path.penalty]["lambda"] if phase == "sweep" else None
    return digest([path_spec(study, path), grid, training_code(study, path)])


def seed_priority(study: Study, phase: str, name: str) -> int:
    """Higher for an earlier seed, the sweep's first, so that all entries are trained in turn, a seed after the other.

    What else the machine does at a time then falls on all entries, whose costs can be compared; and a study that is
    stopped has as many seeds of each. Less than `SCORING_PRIORITY`.
    """
    order = [("sweep", seed) for seed in study.seeds["tuning"]] + [
        ("final", seed) for seed in study.seeds["evaluation"]
    ]
    return len(order) - order.index((phase, parse_path(phase, name).seed))


def scoring_key(study: Study, phase: str, name: str) -> str:
    """Changes when a path's scores must be made again; the sweep knows no corruptions."""
    options = study.evaluation if phase == "final" else {"batch_size": study.evaluation["batch_size"]}
    return _scoring_key(study, parse_path(phase, name).model, options)


def revealing_key(study: Study, dataset: str, model: str, penalty: str) -> str:
    """Changes when the scores of a group's sweep on test must be made again."""
    grid = [path.name for path in sweep_paths(study, (dataset, model, penalty))]
    return digest([grid, _scoring_key(study, model, {"batch_size": study.evaluation["batch_size"]})])


def _scoring_key(study: Study, model: str, options: dict[str, Any]) -> str:
    kind = study.models[model]["kind"]
    return digest([options, study.resources["gpu"] > 0, code("softreg.scoring.evaluate", module_of("networks", kind))])


def preparing_code(study: Study, dataset: str) -> str:
    """The fingerprint of the code that prepares a data set."""
    return code("softreg.data.prepare", module_of("data.datasets", study.datasets[dataset]["kind"]))


def job_resources(study: Study) -> Mapping[str, int | None]:
    """What a job on a path's networks asks of a scheduler.

    Its processors are named a second time, as Snakemake cuts ``threads`` down to the cores of the machine it runs on,
    which on a cluster is not the one that trains.
    """
    resources = study.resources
    asked = {"cpus_per_task": resources["threads"], "mem_mb": resources["mem_mb"], "runtime": resources["runtime"]}
    return asked | ({"gpu": resources["gpu"]} if resources["gpu"] else NO_GPU)


def selecting_key(study: Study) -> str:
    """Changes when a group's λ̂ must be chosen again."""
    return digest([study.selection, code("softreg.scoring.select")])


def gathering_key(study: Study) -> str:
    """Changes when the scores must be gathered again."""
    return digest([study.to_dict(), code("softreg.scoring.gather")])


def code(*modules: str) -> str:
    """The fingerprint of a stage's code."""
    return code_fingerprint(*modules)


def source_state(study: Study, dataset: str) -> str:
    """Changes when a user's own files do: images, masks, table and split lists, by name, size and time.

    Of a user's own data set, whatever file or folder its options name.
    """
    options = study.datasets[dataset]
    keys = ["images", "masks", "table", "train_list", "val_list", "test_list"]
    if is_own(options["kind"]):
        keys += describe(options["kind"], "dataset").options
    named = [{**options["split"], **options}.get(key) for key in keys]
    places = [Path(place) for place in named if isinstance(place, str)]
    if isinstance(options.get("table"), str):
        places += _listed(Path(options["table"]))
    files = [file for place in places for file in (place.rglob("*") if place.is_dir() else [place]) if file.is_file()]
    states = [(file.as_posix(), file.stat().st_size, file.stat().st_mtime_ns) for file in sorted(files)]
    return digest(states)


def _listed(table: Path) -> list[Path]:
    """The images and masks that a table names; none where it cannot be read, which preparing will say."""
    try:
        with table.open(newline="", encoding="utf-8") as file:
            rows = list(csv.DictReader(file))
    except (OSError, UnicodeDecodeError, csv.Error):
        return []
    return [table.parent / row[key] for row in rows for key in ("image", "mask") if row.get(key)]


def paper_code() -> str:
    """The fingerprint of the code, templates, script and style that make tables, figures and report."""
    folder = Path(__file__).parents[1] / "paper" / "report"
    parts = sorted(file for file in folder.iterdir() if file.is_file() and file.suffix != ".py")
    return digest(
        [
            code("softreg.paper.tables", "softreg.paper.figures", "softreg.paper.report"),
            [sha256_file(file) for file in parts],
        ]
    )


def fetch(study: Study, kind: str, filename: str) -> None:
    """Fetch one archive of a kind of data set; of a user's own, ``kind`` may be the name of its folder of archives."""
    from softreg.data.fetch import fetch

    own = (entry["kind"] for entry in study.datasets.values() if is_own(entry["kind"]))
    kind = next((one for one in own if slug(one) == kind), kind)
    by_name = {archive.filename: archive for archive in archives_of(kind)}
    if filename not in by_name:
        raise UserError(f"{kind} has no archive {filename!r}; it has {', '.join(by_name) or 'none'}")
    fetch(by_name[filename], raw_folder(kind) / filename, study.mirrors)


def prepare(study: Study, dataset: str) -> None:
    """Prepare one data set of the study."""
    from softreg.data.prepare import prepare

    options = study.datasets[dataset]
    prepare(dataset, options, raw_folder(options["kind"]), prepared_folder(study, dataset))


def train(study: Study, path: TrainingPath) -> None:
    """Train the cells of a path that are not settled yet, and list them all in its ``path.json``."""
    data, description = _prepared(study, path.dataset)
    lambdas = _lambdas(study, path)
    with jobs.job(study.name, "train", f"{path.phase}/{path.name}", path_key(study, path.phase, path.name)):
        cells = make_cells(study, path, lambdas, results_folder(study), description["content_digest"])
        waiting = [cell for cell in cells if not cell.settled()]
        if waiting:
            _train_cells(study, path, waiting, data, len(description["classes"]))
        folder = path_folder(results_folder(study), path)
        write_json(folder / "path.json", {"cells": [_entry(cell) for cell in cells]})


def _train_cells(study: Study, path: TrainingPath, cells: list[Cell], data: Path, classes: int) -> None:
    """Train ``cells``; those that ran out of memory beside another job on their GPU, once more and alone."""
    stop = StopRequest()
    with gpu.turn(study.resources["gpu"], stop) as turn:
        from softreg.training.path import train_cells

        stop.install()
        jobs.tell_ready(len(cells))
        train_cells(study, path, cells, data, classes, stop)
        if any(_entry(cell)["status"] == "out-of-memory" for cell in cells):
            turn.out_of_memory()


def evaluate(study: Study, path: TrainingPath) -> None:
    """Score the finished cells of a path: in the sweep on val alone, in the final on train, val and test.

    Writes ``val.parquet``, and in the final ``test.parquet`` and ``sums.parquet``, into the path's folder.
    """
    prepared = _prepared(study, path.dataset)
    job = jobs.job(study.name, "evaluate", f"{path.phase}/{path.name}", scoring_key(study, path.phase, path.name))
    with job, gpu.turn(study.resources["gpu"]):
        _evaluate(study, path, prepared)


def _evaluate(study: Study, path: TrainingPath, prepared: Prepared) -> None:
    from softreg.scoring import records

    evaluator, cells = _evaluator(study, path, prepared)
    folder = path_folder(results_folder(study), path)
    if path.phase == "sweep":
        records.write(evaluator.validation(cells), folder / "val.parquet")
        return
    tables = zip(*map(evaluator.final, cells), strict=True) if cells else ([], [], [])
    for name, parts in zip(("val", "test", "sums"), tables, strict=True):
        schema = records.SUMS if name == "sums" else records.SCHEMA
        records.write(records.joined(parts, schema), folder / f"{name}.parquet", schema)


def reveal(study: Study, group: tuple[str, str, str]) -> None:
    """Score the networks of a group's sweep on test, into ``sums.parquet`` of the group's folder.

    For what is told once λ̂ has been selected: oracle gaps, regret, and λ curves on test. Nothing that selects reads it.
    Raises UserError where λ̂ of the group has not been selected yet.
    """
    from softreg.scoring.select import selected_lambda

    selected_lambda(results_folder(study), *group)
    prepared = _prepared(study, group[0])
    job = jobs.job(study.name, "reveal", "/".join(group), revealing_key(study, *group))
    with job, gpu.turn(study.resources["gpu"]):
        _reveal(study, group, prepared)


def _reveal(study: Study, group: tuple[str, str, str], prepared: Prepared) -> None:
    from softreg.scoring import records

    tables = []
    for path in sweep_paths(study, group):
        evaluator, cells = _evaluator(study, path, prepared)
        tables.append(evaluator.revealed(cells))
    place = results_folder(study).joinpath("sweep", *group) / "sums.parquet"
    records.write(records.joined(tables, records.SUMS), place, records.SUMS)


def pack(study: Study) -> None:
    """Bring the packs of a finished study up to date; see `softreg.running.packs`.

    Raises UserError where a path is missing, or was trained under another version of the study or the code.
    """
    for path in (*sweep_paths(study), *final_paths(study)):
        _demand_current(study, path)
    packs.pack(study, results_folder(study), _data_files(study))


def _demand_current(study: Study, path: TrainingPath) -> None:
    listing = path_folder(results_folder(study), path) / "path.json"
    if not listing.is_file():
        raise packs.missing(listing)
    _, description = _prepared(study, path.dataset)
    cells = make_cells(study, path, _lambdas(study, path), results_folder(study), description["content_digest"])
    if {entry["lambda"]: entry["key"] for entry in read_json(listing)["cells"]} != {c.lambda_: c.key for c in cells}:
        raise UserError(
            f"{listing} was made under another version of {study.file}, the data or the code; run `snakemake` to the "
            "end before you pack, or go back to the commit that it was made under"
        )


def unpack(study: Study) -> int:
    """Make again what a study's packs hold; how many of them were unpacked. See `softreg.running.packs`."""
    return packs.unpack(study, results_folder(study), _data_files(study))


def differing_packs(study: Study) -> int:
    """How many paths of a study lie there otherwise than in its packs; see `softreg.running.packs`."""
    return packs.differing(results_folder(study))


def waiting_packs(study: Study) -> str:
    """A sentence where a study's packs are not unpacked, so that Snakemake knows nothing of what they hold; else ""."""
    return packs.waiting(study, results_folder(study))


def _data_files(study: Study) -> list[Path]:
    """The files that stand for a study's data: its archives, and what says that each set is prepared."""
    archives = [file for dataset in study.datasets for file in archive_files(study, dataset)]
    return [Path(file) for file in (*archives, *(description(study, dataset) for dataset in study.datasets))]


def _evaluator(study: Study, path: TrainingPath, prepared: Prepared) -> tuple[Evaluator, list[Cell]]:
    """What scores a path on its ``prepared`` data, and its finished cells."""
    from softreg.scoring.evaluate import Evaluator

    data, description = prepared
    folder = path_folder(results_folder(study), path)
    listing = folder / "path.json"
    if not listing.is_file():
        raise UserError(f"{listing} is missing; run `softreg train {study.file} {path.phase} {path.name}` first")
    cells = [
        Cell(folder / f"lambda-{entry['lambda']}", entry["lambda"], entry["key"])
        for entry in read_json(listing)["cells"]
        if entry["status"] == "finished"
    ]
    jobs.tell_ready(len(cells))
    return Evaluator(study, path, data, len(description["classes"])), cells


def _prepared(study: Study, dataset: str) -> Prepared:
    folder = prepared_folder(study, dataset)
    file = folder / "dataset.json"
    if not file.is_file():
        raise UserError(f"{file} is missing; run `softreg prepare {study.file} {dataset}` first")
    return folder, read_json(file)


def _lambdas(study: Study, path: TrainingPath) -> list[str]:
    """The λ of a path: the grid in the sweep; in the final λ̂, or none where no cell of the sweep has finished."""
    if path.phase == "sweep":
        return list(study.penalties[path.penalty]["lambda"])
    from softreg.scoring.select import selected_lambda

    lambda_ = selected_lambda(results_folder(study), path.dataset, path.model, path.penalty)
    return [] if lambda_ is None else [lambda_]


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
