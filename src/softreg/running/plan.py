"""What of a study is left to do and what it will take: jobs, hours, wall clock, disk. Imports no torch."""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import groupby
from typing import Any

from softreg.running import gpu, jobs, stages
from softreg.running.costs import Costs, costs
from softreg.running.schedule import Task, makespan
from softreg.running.survey import Group, PathState, Survey, survey
from softreg.study.config import Study


@dataclass(frozen=True)
class Work:
    """A job that is left: of a path, a group or the study, by its ``name`` within its command.

    ``cells`` are those that it works on; ``needs`` the places of the jobs that it waits for.
    """

    command: str
    name: str
    group: Group
    phase: str
    cells: int
    priority: int
    needs: tuple[int, ...]


@dataclass(frozen=True)
class Plan:
    """The jobs that are left, and what is known of their costs."""

    survey: Survey
    costs: Costs
    work: list[Work]

    @property
    def study(self) -> Study:
        """The study that is planned."""
        return self.survey.study

    def training(self, job: Work) -> float | None:
        """Seconds that a job trains; None where nothing tells."""
        if job.command != "train" or not job.cells:
            return 0.0
        figure = self.costs.cell(job.group)
        return None if figure is None else job.cells * figure.value

    def rest(self, job: Work) -> float | None:
        """Seconds that a job takes beside training; None where nothing tells."""
        return self.costs.rest(job.command, job.phase, job.group, job.cells)

    @property
    def complete(self) -> bool:
        """Whether the costs of all jobs are known."""
        return all(self.training(job) is not None and self.rest(job) is not None for job in self.work)

    def wall(self, workers: int, done: Mapping[str, float] | None = None) -> float | None:
        """Seconds until all is made, ``workers`` jobs at a time; None where the training of some job is unknown.

        What jobs take beside training counts as nothing where it is unknown. ``done`` are seconds that jobs which run
        now, by the names of their files, have behind them.
        """
        done = done or {}
        tasks = []
        for job in self.work:
            training = self.training(job)
            if training is None:
                return None
            running = f"{job.command}/{job.name}" in done
            seconds = training + (self.rest(job) or 0.0) - done.get(f"{job.command}/{job.name}", 0.0)
            priority = 2 * stages.SCORING_PRIORITY if running else job.priority
            tasks.append(Task(max(seconds, 0.0), priority, job.needs))
        return makespan(tasks, workers)


def plan(study: Study, records: Sequence[dict[str, Any]] | None = None) -> Plan:
    """Look at what a study has made, and plan the rest; ``records`` are those of its jobs, where they are at hand."""
    records = jobs.records(study.name) if records is None else records
    looked = survey(study, {(record["command"], record["name"]): record for record in records})
    work = left(looked)
    again = {(job.command, job.name) for job in work if job.cells}
    # What a job took whose work is to be done again, as the study has changed, says nothing.
    return Plan(looked, costs(looked, [each for each in records if (each["command"], each["name"]) not in again]), work)


def left(survey: Survey) -> list[Work]:
    """The jobs that Snakemake would run for the report, in an order in which they can be run."""
    work: list[Work] = []
    for group, states in groupby(survey.paths, key=lambda state: state.group):
        _add_group(work, survey, group, list(states))
    if not survey.gathered:
        _add(work, "gather", range(len(work)))
    if not survey.reported:
        _add(work, "paper", range(len(work))[-1:])
    return work


def _add_group(work: list[Work], survey: Survey, group: Group, states: Sequence[PathState]) -> None:
    """The jobs of one group: its sweep, the choice of λ̂, the final, and the sweep on test."""
    study, name = survey.study, "/".join(group)
    sweep = [state for state in states if state.path.phase == "sweep"]
    scores = [place for state in sweep for place in _add_path(work, study, state, ())]
    chosen = []
    if group not in survey.selected:
        chosen = [_add(work, "select", scores, name, group, "sweep", 0, stages.SCORING_PRIORITY)]
    for state in states:
        if state.path.phase == "final":
            _add_path(work, study, state, chosen)
    if group not in survey.revealed:
        _add(work, "reveal", chosen, name, group, "sweep", sum(map(_cells, sweep)))


def _add_path(work: list[Work], study: Study, state: PathState, needs: Sequence[int]) -> list[int]:
    """The jobs of one path; the place of its scoring, if that is left."""
    path, name = state.path, f"{state.path.phase}/{state.path.name}"
    if not state.trained:
        priority = stages.seed_priority(study, path.phase, path.name)
        needs = [_add(work, "train", needs, name, state.group, path.phase, len(state.open), priority)]
    if state.scored:
        return []
    return [_add(work, "evaluate", needs, name, state.group, path.phase, _cells(state), stages.SCORING_PRIORITY)]


def _cells(state: PathState) -> int:
    return len(state.open) + len(state.ended)


def _add(
    work: list[Work],
    command: str,
    needs: Sequence[int],
    name: str = "",
    group: Group = ("", "", ""),
    phase: str = "",
    cells: int = 0,
    priority: int = 0,
) -> int:
    """Add a job, and return its place."""
    work.append(Work(command, name, group, phase, cells, priority, tuple(needs)))
    return len(work) - 1


def allowed(study: Study, cores: int | None = None, gpu_jobs: int | None = None) -> int:
    """How many jobs run at a time here: as many as ``cores`` (None: all) have threads for, and there are GPUs for.

    With ``gpu_jobs``, so many share the GPUs; without, one has each.
    """
    by_cores = (cores or len(os.sched_getaffinity(0))) // int(study.resources["threads"])
    return max(1, min(by_cores, gpu_jobs or len(gpu.devices())) if study.resources["gpu"] else by_cores)
