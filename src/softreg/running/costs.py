"""What cells and jobs of a study cost, from what has been measured, and where each figure comes from.

Training, in this order: the cells of this study that have finished here; those whose scores were gathered; a
calibration of this machine; timings published with the scores of the same study, of another machine perhaps. A group
(dataset × model × penalty) that a source does not know borrows the mean of its other penalties, before the next source
is asked. What training leaves out (start-up, validation, scoring) comes from the jobs that have run here, or else from
the calibration.
"""

from __future__ import annotations

import csv
from collections import defaultdict
from collections.abc import Iterator, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from statistics import fmean, mode
from typing import Any

from softreg.errors import UserError
from softreg.files import read_json
from softreg.running import calibrate, places
from softreg.running.graph import batch_name
from softreg.running.survey import PathState, Survey
from softreg.study.cells import path_folder
from softreg.study.config import Study, study_of
from softreg.study.folds import name_of
from softreg.study.keys import group_spec
from softreg.study.matrix import Group, groups
from softreg.study.schema import Violation

#: Seconds of the short commands where none has run here: mostly what their libraries take to load.
_ASSUMED = {"select": 3.0, "gather": 5.0, "paper": 20.0}
#: Seconds between two jobs: Snakemake, and a process that starts, before the job counts its own.
_BETWEEN = 1.0
#: Below this share of its core, a calibration says that other work slowed it.
_SHARED = 0.8
#: Paths of a dataset × model whose files are looked at for their sizes.
_SIZED = 3


Job = tuple[str, str, str, str]
"""Command, phase, data set and model."""


@dataclass(frozen=True)
class Figure:
    """A number, and where it comes from."""

    value: float
    source: str


Source = tuple[str, Mapping[Group, Sequence[float]]]
"""Where it was measured, and seconds that cells of some groups have trained."""


@dataclass(frozen=True)
class Costs:
    """What is known of a study: seconds of training, by the ``sources`` to ask in turn, and what jobs take beside.

    ``beside`` holds, by command, phase, data set and model, the seconds of a job's start-up and of each of its cells;
    ``short`` those of commands that score no cells; ``size`` the bytes that a cell takes, by data set and model.
    """

    sources: Sequence[Source]
    beside: Mapping[Job, tuple[float, float]]
    beside_source: str
    short: Mapping[str, float]
    size: Mapping[tuple[str, str], Figure]

    def cell(self, group: Group) -> Figure | None:
        """Seconds of training of a group's cell; None where nothing tells."""
        for label, seconds in self.sources:
            if group in seconds:
                return Figure(fmean(seconds[group]), label)
            if others := [fmean(values) for other, values in seconds.items() if other[:2] == group[:2]]:
                return Figure(fmean(others), f"{label}: of other penalties")
        return None

    def rest(self, command: str, phase: str, group: Group, cells: int) -> float | None:
        """Seconds of a job with ``cells`` cells, without training them; None where nothing tells."""
        if command in self.short:
            return self.short[command] + _BETWEEN
        known = self.beside.get((command, phase, *group[:2]))
        if command == "train" and known is None:
            # Validation and checkpoints are those of the other phase.
            other = "final" if phase == "sweep" else "sweep"
            known = self.beside.get((command, other, *group[:2]))
        return None if known is None else known[0] + cells * known[1] + _BETWEEN


def costs(survey: Survey, records: Sequence[dict[str, Any]]) -> Costs:
    """What is known of a study's costs; ``records`` are those of its jobs."""
    study = survey.graph.study
    cells: dict[str, list[_Row]] = defaultdict(list)
    for state in survey.paths:
        cells[batch_name(survey.graph.batches[state.path])] += _finished(study, state)
    calibrated = _calibrated(study)
    ended = [record for record in records if record["state"] == "finished"]
    ran = _ran(ended, cells)
    told = [f"{len(ended)} jobs here"] * bool(ran) + [calibrated.beside_source] * bool(calibrated.beside)
    seen = {command: [record["seconds"] for record in ended if record["command"] == command] for command in _ASSUMED}
    published = places.RESULTS / "published" / study.name
    return Costs(
        sources=[
            *_measured("measured here", [row for rows in cells.values() for row in rows]),
            *_timings("scores gathered here", study, places.results_folder(study)),
            *calibrated.sources,
            *_timings("published timings", study, published),
        ],
        beside={**calibrated.beside, **ran},
        beside_source=" or ".join(told) or "unknown",
        short={command: fmean(seconds) if seconds else _ASSUMED[command] for command, seconds in seen.items()},
        size={**calibrated.size, **_sizes(survey)},
    )


_Row = tuple[Group, float, str]
"""A finished cell: its group, seconds of training, device."""


def _finished(study: Study, state: PathState) -> Iterator[_Row]:
    folder = path_folder(places.results_folder(study), state.path)
    for lambda_, ended in state.ended.items():
        if ended["status"] == "finished":
            with suppress(FileNotFoundError):
                # Deleted by hand, or replaced this moment.
                record = read_json(folder / f"lambda-{lambda_}" / "cell.json")
                yield state.path.group, record["seconds"], record["provenance"]["device"]


def _measured(label: str, rows: Sequence[_Row]) -> list[Source]:
    """The one source that these cells make; none where there are none."""
    if not rows:
        return []
    seconds: dict[Group, list[float]] = defaultdict(list)
    for group, value, _ in rows:
        seconds[group].append(value)
    return [(f"{label}, {len(rows)} cells on {mode(device for _, _, device in rows)}", seconds)]


def _timings(label: str, study: Study, results: Path) -> list[Source]:
    """The source that gathered scores in ``results`` make, of the groups that were trained as the study says now."""
    timings, described = results / "scores" / "timings.csv", results / "scores" / "study.json"
    if not (timings.is_file() and described.is_file()):
        return []
    told = read_json(described)
    same, rows = _same_groups(study, told), []
    # Outer folds are data sets of their own.
    outer = told["evaluation"].get("folds") is not None
    with timings.open(encoding="utf-8", newline="") as file:
        for row in csv.DictReader(file):
            dataset = name_of(row["dataset"], int(row["fold"])) if outer else row["dataset"]
            if (group := (dataset, row["model"], row["penalty"])) in same:
                rows.append((group, float(row["seconds"]), row["device"]))
    return _measured(label, rows)


def _same_groups(study: Study, described: dict[str, Any]) -> set[Group]:
    """The groups whose training a study has in common with another version of it, ``described`` by its JSON values."""
    try:
        other = study_of(described, study.file)
    except (Violation, UserError):
        # Of a version of SoftReg that knew other keys.
        return set()
    known = set(groups(other))
    return {group for group in groups(study) if group in known and group_spec(study, group) == group_spec(other, group)}


def _ran(records: Sequence[dict[str, Any]], cells: Mapping[str, Sequence[_Row]]) -> dict[Job, tuple[float, float]]:
    """`Costs.beside`, from jobs that have ended."""
    found: dict[Job, list[tuple[float, float, int]]] = defaultdict(list)
    for record in records:
        if not record.get("cells"):
            continue
        seconds = record["seconds"] - record["startup"]
        if record["command"] == "train":
            trained = cells.get(record["name"], [])
            seconds -= sum(row[1] for row in trained)
            if len(trained) != record["cells"] or seconds < 0:
                # Some of its cells did not finish, or were trained by another job in part.
                continue
        found[_job(record)].append((record["startup"], seconds, record["cells"]))
    return {
        job: (fmean(startup for startup, _, _ in rows), sum(row[1] for row in rows) / sum(row[2] for row in rows))
        for job, rows in found.items()
    }


def _job(record: dict[str, Any]) -> Job:
    names = record["name"].split("/")
    phase, dataset, model = ("sweep", *names[:2]) if record["command"] == "reveal" else names[:3]
    return record["command"], phase, dataset, model


def _sizes(survey: Survey) -> dict[tuple[str, str], Figure]:
    """Bytes a cell, with its share of its path's records, from a few finished paths of each dataset × model."""
    found = {}
    for pair in calibrate.pairs(survey.graph.study):
        states = [state for state in survey.paths if state.made and state.ended and state.path.group[:2] == pair]
        if few := states[:_SIZED] + states[-_SIZED:]:
            folders = (path_folder(survey.graph.results, state.path) for state in few)
            size = sum(_bytes(file) for folder in folders for file in folder.rglob("*"))
            found[pair] = Figure(size / sum(len(state.ended) for state in few), "finished cells")
    return found


def _bytes(file: Path) -> int:
    """The size of a file, which may have been temporary; of a folder none."""
    try:
        return 0 if file.is_dir() else file.stat().st_size
    except FileNotFoundError:
        return 0


def _calibrated(study: Study) -> Costs:
    """What a calibration says, of those dataset × model that are still as they were timed."""
    read = calibrate.read(study)
    parts = {
        pair: part
        for pair in calibrate.pairs(study)
        if (part := read["parts"].get("/".join(pair)))
        and part["key"] == calibrate.key(study, *pair)
        and places.description(study, pair[0]).is_file()
    }
    if not parts:
        return Costs([], {}, "", {}, {})
    share = fmean(part["share"] for part in parts.values())
    label = f"calibration of {read['time'][:10]} on {read['device']}, {read['jobs']} at a time"
    if share < _SHARED and not study.resources["gpu"]:
        label += f", slowed to {share:.0%} by other work"
    seconds: dict[Group, list[float]] = {}
    beside: dict[Job, tuple[float, float]] = {}
    for pair, part in parts.items():
        images = {phase: _images(study, pair[0], phase) for phase in ("sweep", "final")}
        for penalty in part["steps"].keys() & study.penalties.keys():
            step = part["steps"][penalty]
            training = study.training_of(pair[1], penalty)
            steps = images["final"]["train"] // min(training["batch_size"], images["final"]["train"])
            seconds[*pair, penalty] = [training["epochs"] * steps * step]
        beside |= _calibrated_jobs(study, pair, part, images)
    size = {pair: Figure(part["weights_bytes"], "weights alone") for pair, part in parts.items()}
    return Costs([(label, seconds)], beside, label, {}, size)


def _calibrated_jobs(
    study: Study, pair: tuple[str, str], part: dict[str, Any], images: dict[str, dict[str, int]]
) -> dict[Job, tuple[float, float]]:
    """`Costs.beside` of one dataset × model, from what was timed of it; ``images`` counts them by phase and split."""
    training, scoring, startup = study.training_of(pair[1]), part["scoring"], part["startup"]
    validations = -(-training["epochs"] // training["validate_every"])
    found = {("reveal", "sweep", *pair): (startup, images["final"]["test"] * scoring["plain"])}
    for phase, count in images.items():
        validation = validations * count["val"] * part["validation"]
        trained = part["cell"] + training["epochs"] * part["epoch"] + validation
        # Scoring comes with the training, in the same job.
        found["train", phase, *pair] = startup, trained + _scoring(study, phase, count, scoring)
    return found


def _scoring(study: Study, phase: str, images: dict[str, int], scoring: dict[str, float]) -> float:
    """Seconds to score one cell on the ``images`` of each split; ``scoring`` are those of one image."""
    if phase == "sweep":
        return images["val"] * scoring["plain"]
    kinds = sum(scoring[kind] for kind in study.evaluation["corruptions"])
    corrupted = kinds * len(study.evaluation["severities"])
    return images["train"] * scoring["plain"] + images["test"] * (scoring["pictures"] + corrupted)


def _images(study: Study, dataset: str, phase: str) -> dict[str, int]:
    """Images of each split; of a fold's training in the sweep, those that it trains on and is validated on."""
    ids = read_json(places.description(study, dataset))["ids"]
    counts = {split: len(names) for split, names in ids.items()}
    if phase == "sweep" and study.selection["scorer"] == "kfold":
        pool = counts["train"] + counts["val"]
        held = pool // study.selection["folds"]
        counts |= {"train": pool - held, "val": held}
    return counts
