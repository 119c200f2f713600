"""How far a study is: what runs, waits and has failed, and when it will be done. From files alone; imports no torch.

It works while the study runs, here or on other hosts that share the file system.
"""

from __future__ import annotations

import sys
import time
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from softreg.running import jobs
from softreg.running.forecast import at_a_time, span
from softreg.running.graph import batch_name
from softreg.running.plan import Plan, allowed, plan
from softreg.running.survey import PathState
from softreg.study.cells import path_folder
from softreg.study.config import Study
from softreg.study.matrix import TrainingPath

_SHOWN = 20
"""Lines at most of what runs, of what was stopped, and of what failed."""
_TAIL = 4096
_REDRAW = 2.0
_REPEAT = 30.0
_CLEAR = "\x1b[H\x1b[2J"
_LOCKS = Path(".snakemake/locks")
"""Holds files while Snakemake runs in this folder."""


@dataclass(frozen=True)
class Status:
    """A study at one moment: its plan, the jobs that run, those that died or failed, and paths stopped on their way."""

    planned: Plan
    running: list[dict[str, Any]]
    failed: list[dict[str, Any]]
    stopped: list[tuple[PathState, dict[str, Any]]]

    @property
    def failures(self) -> list[str]:
        """A line for each job and each cell that failed."""
        told = [f"{record['command']} {record['name']}".strip() + f": {reason(record)}" for record in self.failed]
        for state in self.planned.survey.paths:
            for lambda_, ended in state.ended.items():
                if ended["status"] in ("failed", "out-of-memory"):
                    name = f"{state.path.phase}/{state.path.name} λ={lambda_}"
                    told.append(f"{name}: {ended['status']}: {ended['reason']}")
        return told


def status(study: Study) -> Status:
    """Look at a study's results and at the signs of life of its jobs."""
    records = jobs.records(study.name)
    # Before the results are looked at: a job that ends meanwhile has then made what it was to make.
    running = [record for record in records if jobs.lives(record)]
    planned = plan(study, records)
    left = {work.title: work.key for work in planned.work}
    busy = {record["title"] for record in running}
    others = [record for record in records if record["title"] not in busy]
    # A job of another version of the study says nothing of this one.
    open_ = [record for record in others if record["key"] == left.get(record["title"])]
    failed = [record for record in open_ if record["state"] in ("failed", "running")]
    trained = {record["name"]: record for record in open_ if record["command"] == "train"}
    return Status(planned, running, failed, list(_stopped(planned, trained, busy)))


def _stopped(
    planned: Plan, records: Mapping[str, dict[str, Any]], busy: set[str]
) -> Iterator[tuple[PathState, dict[str, Any]]]:
    """Paths in the middle of a cell, with what their job said last; its end, or a kill, has left a checkpoint."""
    graph = planned.survey.graph
    for state in planned.survey.paths:
        name = batch_name(graph.batches[state.path])
        if state.made or f"train/{name}" in busy:
            continue
        folder = path_folder(graph.results, state.path)
        if any((folder / f"lambda-{lambda_}" / "checkpoint.pt").is_file() for lambda_ in state.open):
            yield state, records.get(name, {})


def reason(record: dict[str, Any]) -> str:
    """Why a job that is no more did not finish its work."""
    if record["state"] == "failed":
        return str(record["reason"])
    where = f"process {record['pid']} on {record['host']}"
    if record["slurm_job"]:
        where += f" (SLURM job {record['slurm_job']})"
    last = _last_line(record)
    return f"{where} died, last sign {span(record['age'])} ago" + (f"; last line of its log: {last}" if last else "")


def _last_line(record: dict[str, Any]) -> str:
    """The last line of the log that Snakemake has kept of a job, "" where there is none."""
    folder: Path = record["file"].parent
    try:
        file = next(folder.glob(f"*-{record['key']}.log"))
        with file.open("rb") as log:
            log.seek(max(0, file.stat().st_size - _TAIL))
            lines = log.read().decode("utf-8", "replace").split("\n")
    except (OSError, StopIteration):
        return ""
    return next((line.strip() for line in reversed(lines) if line.strip()), "")


def text(seen: Status) -> str:
    """The status, a line for each phase and for each job that runs or failed."""
    lines = [f"{seen.planned.study.name}: {_summary(seen)}", *(_phase(seen, phase) for phase in ("sweep", "final"))]
    lines += _listed("running", [_run_line(record) for record in seen.running])
    lines += _listed("stopped", [_stop_line(state, record) for state, record in seen.stopped])
    lines += _listed("failed", seen.failures)
    return "".join(f"{line}\n" for line in [*lines, _eta(seen)])


def _summary(seen: Status) -> str:
    survey = seen.planned.survey
    if survey.reported:
        return "finished, the report stands"
    groups = {state.path.group for state in survey.paths}
    return f"λ̂ chosen in {len(survey.selected)} of {len(groups)} groups; the report waits"


def _phase(seen: Status, phase: str) -> str:
    """How many paths and cells of a phase are in which state."""
    states = [state for state in seen.planned.survey.paths if state.path.phase == phase]
    ended = Counter(ended["status"] for state in states for ended in state.ended.values())
    cells = sum(state.cells for state in states)
    finished = sum(state.made and bool(state.ended) for state in states)
    paths = [f"{len(part)} {name}" for name, part in _parts(seen, states).items() if part]
    others = [f"{ended.pop('finished', 0)} of {cells} cells finished"]
    others += [f"{count} {name}" for name, count in sorted(ended.items())]
    return f"{phase}: {', '.join([f'{finished} of {len(states)} paths finished', *paths])}; {', '.join(others)}"


def _parts(seen: Status, states: Sequence[PathState]) -> dict[str, set[TrainingPath]]:
    """The paths of a phase that have not finished, by what has become of them."""
    batches = seen.planned.survey.graph.batches
    open_ = {state.path: batch_name(batches[state.path]) for state in states if not state.made}
    running, failed = ({record["name"] for record in records} for records in (seen.running, seen.failed))
    parts = {
        "running": {path for path, job in open_.items() if job in running},
        "failed": {path for path, job in open_.items() if job in failed},
        "damaged (the next run makes them again)": {state.path for state in states if state.damaged},
        "stopped": {state.path for state, _ in seen.stopped},
        "waiting": set(open_),
    }
    left = set(open_)
    for name, part in parts.items():
        parts[name] = part & left
        left -= part
    # A group whose every network of the sweep came to nothing.
    return {"without a λ̂ to train": {state.path for state in states if state.made and not state.ended}, **parts}


def _listed(head: str, lines: Sequence[str]) -> list[str]:
    """The lines under a head, the first of them where they are many; nothing where there are none."""
    if not lines:
        return []
    more = [f"  and {len(lines) - _SHOWN} more"] if len(lines) > _SHOWN else []
    return [f"{head}:", *(f"  {line}" for line in lines[:_SHOWN]), *more]


def _run_line(record: dict[str, Any]) -> str:
    """A running job: what it works on, how far and how fast, where."""
    parts = [f"{record['command']} {record['name']}".strip()]
    if record.get("waits"):
        parts.append("waits for a GPU")
    if "strength" in record:
        parts.append(f"λ={record['strength']} ({record.get('before', 0) + record['cell']} of {record['cells']})")
        parts.append(f"epoch {record['epoch']}/{record['epochs']}")
    if "images_per_second" in record:
        parts.append(f"{record['images_per_second']:.0f} images/s")
    place = f"{record['host']}:{record['pid']}"
    if record["slurm_job"]:
        place = f"SLURM {record['slurm_job']} on {record['host']}"
    return "  ".join([*parts, span(record["seconds"] + record["age"]), place])


def _stop_line(state: PathState, record: dict[str, Any]) -> str:
    name = f"{state.path.phase}/{state.path.name}"
    if "strength" not in record:
        return f"{name}  goes on from its checkpoint"
    return f"{name}  goes on after epoch {record['epoch']} of {record['epochs']} at λ={record['strength']}"


def _eta(seen: Status) -> str:
    """When all is done, with as many jobs at a time as train or score now, or else as this machine allows."""
    if not seen.planned.work:
        return "nothing is left"
    # Others run alone, on all cores, or for a moment.
    workers = sum(record["command"] in ("train", "reveal") for record in seen.running) or allowed(seen.planned.study)
    done = {record["title"]: _done(seen.planned, record) for record in seen.running}
    seconds = seen.planned.wall(workers, done)
    if seconds is None:
        return f"left: unknown, as nothing has been measured; softreg plan {seen.planned.study.file} --calibrate"
    about = "about" if seen.planned.complete else "over"
    return f"left: {about} {span(seconds)} with {at_a_time(workers)}" + ("" if seen.running else ", but none runs now")


def _done(planned: Plan, record: dict[str, Any]) -> float:
    """Seconds that a running job has behind it, of those that its plan counts."""
    elapsed = float(record["seconds"] + record["age"])
    if record.get("waits"):
        return 0.0
    if record["command"] != "train" or not record.get("epochs"):
        return elapsed
    _, dataset, model, penalty, _ = record["name"].split("/")
    figure = planned.costs.cell((dataset, model, penalty))
    part = figure.value * record["epoch"] / record["epochs"] if figure else 0.0
    return float(record["startup"]) + part


def watch(study: Study) -> Status:
    """Show the status anew every few seconds until all is done or nothing runs any more; return the last."""
    terminal = sys.stdout.isatty()
    while True:
        seen = status(study)
        print(_CLEAR + text(seen) if terminal else text(seen), end="", flush=True)
        # Between two jobs, and while all wait in a cluster's queue, Snakemake's lock tells that it goes on.
        if not seen.planned.work or not (seen.running or any(_LOCKS.glob("*"))):
            return seen
        time.sleep(_REDRAW if terminal else _REPEAT)
