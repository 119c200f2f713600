"""A plan in words: what is left, what it takes with so many jobs at a time, and where each figure comes from."""

from __future__ import annotations

import sys
import textwrap
import traceback
from collections import Counter
from collections.abc import Sequence

from softreg.running.plan import Plan, Work, allowed, plan
from softreg.study.config import Study

_JOBS = (1, 2, 4, 8, 16)
_WIDTH = 100
#: Seconds from which a unit is used, its seconds, its name.
_UNITS = ((172_800, 86_400, "days"), (5_400, 3_600, "h"), (90, 60, "min"))


def forecast(planned: Plan, jobs: int | None) -> str:
    """All that a plan says, for ``jobs`` at a time; None takes what this machine allows."""
    if not planned.work:
        return f"{planned.study.name}: all is made, nothing is left\n"
    sources = [line for source in _sources(planned) for line in textwrap.wrap(source, _WIDTH, subsequent_indent="  ")]
    lines = [_left(planned), "", *_table(planned), "", *sources, "", *_walls(planned, jobs), _disk(planned)]
    return "".join(f"{line}\n" for line in lines)


def announce(study: Study, workers: int) -> None:
    """Say on standard error, in a few lines, what a run that begins has before it; whatever happens, let it run.

    It has ``workers`` jobs at a time.
    """
    try:
        planned = plan(study)
        if not planned.work:
            return
        training, rest = _hours(planned, planned.work)
        lines = [
            _left(planned),
            f"training {training}, the rest {rest} {_unit(planned)}; {at_a_time(workers)}: {_wall(planned, workers)}",
            *_sources(planned)[:1],
            f"More: softreg plan {study.file}; how far it is: softreg status {study.file}",
        ]
        print(*lines, sep="\n", file=sys.stderr, flush=True)
    except Exception:
        # Only a forecast: what is wrong with it must not stop the run.
        print(f"No forecast: {traceback.format_exc(limit=0).splitlines()[-1]}", file=sys.stderr)


def span(seconds: float) -> str:
    """A time as people say it, such as 40 s, 3.5 min, 2.7 h or 4.1 days."""
    for least, unit, name in _UNITS:
        if seconds >= least:
            return f"{seconds / unit:.1f} {name}"
    return f"{seconds:.0f} s"


def _left(planned: Plan) -> str:
    paths = planned.survey.paths
    cells = sum(state.cells for state in paths)
    waiting = [state for state in paths if not state.made]
    training = sum(bool(state.open) for state in waiting)
    left = sum(len(state.open) for state in waiting)
    return (
        f"{planned.study.name}: {left} of {cells} cells and {training} of {len(paths)} paths are left to train, "
        f"{len(waiting)} paths to score, in {len(planned.work)} jobs"
    )


def _table(planned: Plan) -> list[str]:
    """Paths, cells and hours of each phase; what neither phase holds is the report."""
    rows: list[tuple[str, ...]] = [("", "paths left", "cells left", f"training ({_unit(planned)})", "the rest")]
    for phase in ("sweep", "final"):
        states = [state for state in planned.survey.paths if state.path.phase == phase]
        waiting = [state for state in states if not state.made]
        cells, left = sum(state.cells for state in states), sum(len(state.open) for state in waiting)
        hours = _hours(planned, [job for job in planned.work if job.phase == phase])
        rows.append((phase, f"{len(waiting)} of {len(states)}", f"{left} of {cells}", *hours))
    _, report = _hours(planned, [job for job in planned.work if not job.phase])
    return _aligned([*rows, ("report", "", "", "", report), ("all", "", "", *_hours(planned, planned.work))])


def _hours(planned: Plan, work: Sequence[Work]) -> tuple[str, str]:
    """Of training, and of the rest, in the unit of `_unit`."""
    training, rest = ([seconds(job) for job in work] for seconds in (planned.training, planned.rest))
    return _sum(planned, training), _sum(planned, rest)


def _sum(planned: Plan, seconds: Sequence[float | None]) -> str:
    """Hours; "over" them where a part is not known, "unknown" where nothing is."""
    known = [value for value in seconds if value is not None]
    resources = planned.study.resources
    hours = sum(known) * (resources["gpu"] or resources["threads"]) / 3600
    if len(known) == len(seconds):
        return f"{hours:.2f}"
    return f"over {hours:.2f}" if sum(known) else "unknown"


def _unit(planned: Plan) -> str:
    return "GPU-hours" if planned.study.resources["gpu"] else "core-hours"


def _sources(planned: Plan) -> list[str]:
    """Where the figures come from, with the cells that each source tells."""
    counts: Counter[str] = Counter()
    for job in planned.work:
        if job.command == "train" and job.cells:
            figure = planned.costs.cell(job.group)
            counts[figure.source if figure else "unknown"] += job.cells
    told = [f"Training of {count} cells: {source}" for source, count in counts.items()]
    rest = planned.costs.beside_source
    told.append(f"The rest (start-up, validation, scoring, report): {rest}")
    if "unknown" in (*counts, rest):
        told.append(f"To measure what is unknown: softreg plan {planned.study.file} --calibrate")
    return told


def _walls(planned: Plan, jobs: int | None) -> list[str]:
    """The wall clock for some numbers of jobs at a time, those asked for marked."""
    here = allowed(planned.study)
    numbers = sorted({*_JOBS, jobs or here})
    rows = [("Jobs at a time", *map(str, numbers)), ("Wall clock", *(_wall(planned, number) for number in numbers))]
    told = f"{at_a_time(jobs or here)}: {_wall(planned, jobs or here)}"
    return [*_aligned(rows), told if jobs else f"{told}, as this machine allows"]


def _aligned(rows: Sequence[Sequence[str]]) -> list[str]:
    """The rows in columns, all but the first to the right."""
    first, *others = (max(map(len, column)) for column in zip(*rows, strict=True))
    form = "   ".join([f"{{:<{first}}}", *(f"{{:>{width}}}" for width in others)])
    return [form.format(*row) for row in rows]


def at_a_time(jobs: int) -> str:
    """So many jobs at a time, in words."""
    return f"{jobs} job{'s' * (jobs > 1)} at a time"


def _wall(planned: Plan, workers: int) -> str:
    seconds = planned.wall(workers)
    if seconds is None:
        return "unknown"
    return span(seconds) if planned.complete else f"over {span(seconds)}"


def _disk(planned: Plan) -> str:
    """What the cells that are left will take."""
    trained = [job for job in planned.work if job.command == "train" and job.cells]
    figures = [(job.cells, planned.costs.size.get(job.group[:2])) for job in trained]
    known = [(cells * figure.value, figure.source) for cells, figure in figures if figure is not None]
    if len(known) < len(figures):
        return "Disk: unknown"
    size = sum(value for value, _ in known)
    sources = " or ".join(dict.fromkeys(source for _, source in known))
    return f"Disk: {_bytes(size)} to come, as {sources}" if known else "Disk: little more"


def _bytes(size: float) -> str:
    for unit in ("B", "kB", "MB", "GB"):
        if size < 1000:
            return f"{size:.0f} {unit}"
        size /= 1000
    return f"{size:.1f} TB"
