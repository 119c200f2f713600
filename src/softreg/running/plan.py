"""What of a study is left to do and what it will take: jobs, hours, wall clock, disk. Imports no torch."""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from softreg.running import gpu, jobs
from softreg.running.costs import Costs, costs
from softreg.running.graph import Graph, batch_name, joint_name
from softreg.running.schedule import Task, makespan
from softreg.running.stages import SELECTING_PRIORITY, seed_priority
from softreg.running.survey import PathState, Survey, survey
from softreg.study.config import Study
from softreg.study.matrix import Group, TrainingPath, raced_before


@dataclass(frozen=True)
class Work:
    """A job that is left: of some paths, a group or the study, by its ``name`` within its command.

    ``cells`` are those that it trains, ``scored`` those that it scores; ``needs`` the places of the jobs that it waits
    for.
    """

    command: str
    name: str
    key: str
    group: Group = ("", "", "")
    phase: str = ""
    cells: int = 0
    scored: int = 0
    priority: int = 0
    needs: tuple[int, ...] = ()


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
        if not job.cells:
            return 0.0
        figure = self.costs.cell(job.group)
        return None if figure is None else job.cells * figure.value

    def rest(self, job: Work) -> float | None:
        """Seconds that a job takes beside training; None where nothing tells."""
        return self.costs.rest(job.command, job.phase, job.group, job.scored)

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
            priority = 2 * SELECTING_PRIORITY if running else job.priority
            tasks.append(Task(max(seconds, 0.0), priority, job.needs))
        return makespan(tasks, workers)


def plan(study: Study, records: Sequence[dict[str, Any]] | None = None) -> Plan:
    """Look at what a study has made, and plan the rest; ``records`` are those of its jobs, where they are at hand."""
    records = jobs.records(study.name) if records is None else records
    looked = survey(Graph(study))
    keys = {job.key for job in looked.graph.jobs()}
    # What a job with networks took under another version of the study says nothing.
    told = [record for record in records if record["key"] in keys or not record.get("cells")]
    return Plan(looked, costs(looked, told), left(looked))


def left(survey: Survey) -> list[Work]:
    """The jobs that Snakemake would run for the report, in an order in which they can be run."""
    work: list[Work] = []
    graph = survey.graph
    sweep = _add_batches(work, survey, "sweep", {})
    chosen = {}
    for group in graph.groups:
        if group not in survey.selected:
            scores = tuple(place for place in sweep if work[place].group == group)
            job = graph.select(group)
            chosen[group] = _add(
                work, Work("select", job.name, job.key, group, "sweep", priority=SELECTING_PRIORITY, needs=scores)
            )
    _add_batches(work, survey, "final", chosen)
    for groups in dict.fromkeys(graph.revealed.values()):
        if not survey.revealed.issuperset(groups):
            _add(work, _revealing(survey, groups, chosen))
    if not survey.gathered:
        _add(work, Work("gather", "", graph.gather.key, needs=tuple(range(len(work)))))
    if not survey.reported:
        _add(work, Work("paper", "", graph.paper.key, needs=tuple(range(len(work)))[-1:]))
    return work


def _add_batches(work: list[Work], survey: Survey, phase: str, chosen: Mapping[Group, int]) -> list[int]:
    """Add the jobs of a phase that have a path to train or score; their places."""
    states = {state.path: state for state in survey.paths if state.path.phase == phase}
    batches = dict.fromkeys(survey.graph.batches[path] for path in states)
    places: dict[TrainingPath, int] = {}
    for batch in batches:
        if not all(states[path].made for path in batch):
            before = [chosen.get(batch[0].group), *map(places.get, raced_before(survey.study, batch[0]))]
            needs = tuple(sorted({place for place in before if place is not None}))
            place = _add(work, _training(survey, [states[path] for path in batch], needs))
            places |= dict.fromkeys(batch, place)
    return list(dict.fromkeys(places.values()))


def _training(survey: Survey, batch: Sequence[PathState], needs: tuple[int, ...]) -> Work:
    path = batch[0].path
    waiting = [state for state in batch if not state.made]
    cells, scored = sum(len(state.open) for state in waiting), sum(state.cells for state in waiting)
    name, priority = batch_name([state.path for state in batch]), seed_priority(survey.study, path)
    key = survey.graph.last(path).key
    return Work("train", name, key, path.group, path.phase, cells, scored, priority, needs)


def _revealing(survey: Survey, groups: Sequence[Group], chosen: Mapping[Group, int]) -> Work:
    graph, waiting = survey.graph, [group for group in groups if group not in survey.revealed]
    scored = sum(state.cells for state in survey.paths if state.path.phase == "sweep" and state.path.group in waiting)
    needs = tuple(chosen[group] for group in groups if group in chosen)
    name, key = joint_name([graph.reveal(group).name for group in groups]), graph.last_revealed(groups[0]).key
    return Work("reveal", name, key, groups[0], "sweep", 0, scored, 0, needs)


def _add(work: list[Work], job: Work) -> int:
    """Add a job, and return its place."""
    work.append(job)
    return len(work) - 1


def allowed(study: Study, cores: int | None = None, gpu_jobs: int | None = None) -> int:
    """How many jobs run at a time here: as many as ``cores`` (None: all) have threads for, and there are GPUs for.

    With ``gpu_jobs``, so many share the GPUs; without, one has each.
    """
    by_cores = (cores or len(os.sched_getaffinity(0))) // int(study.resources["threads"])
    return max(1, min(by_cores, gpu_jobs or len(gpu.devices())) if study.resources["gpu"] else by_cores)
