"""What of a study is left to do and what it will take: jobs, hours, wall clock, disk. Imports no torch."""

from __future__ import annotations

import os
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from softreg.running import gpu, jobs
from softreg.running.costs import Costs, costs
from softreg.running.graph import Graph, batch_name, joint_name
from softreg.running.schedule import Task, makespan
from softreg.running.stages import SELECTING_PRIORITY, seed_priority
from softreg.running.survey import Survey, survey
from softreg.study.config import Study
from softreg.study.matrix import Group, TrainingPath, raced_before


@dataclass(frozen=True)
class Work:
    """A job that is left: of some paths, a group or the study, by its ``name`` within its command.

    ``cells`` are those that it trains, ``scored`` those that it scores; ``needs`` the titles of the jobs that it waits
    for, if they are left.
    """

    command: str
    name: str
    key: str
    group: Group = ("", "", "")
    phase: str = ""
    cells: int = 0
    scored: int = 0
    priority: int = 0
    needs: tuple[str, ...] = ()

    @property
    def title(self) -> str:
        """What it is called among all jobs, as the file of its sign of life is."""
        return f"{self.command}/{self.name}"


@dataclass(frozen=True)
class Plan:
    """The jobs that are left, and what is known of their costs."""

    survey: Survey
    costs: Costs
    work: list[Work]

    @property
    def study(self) -> Study:
        """The study that is planned."""
        return self.survey.graph.study

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
        now, by their titles, have behind them.
        """
        done = done or {}
        places = {job.title: place for place, job in enumerate(self.work)}
        tasks = []
        for job in self.work:
            training = self.training(job)
            if training is None:
                return None
            seconds = training + (self.rest(job) or 0.0) - done.get(job.title, 0.0)
            priority = 2 * SELECTING_PRIORITY if job.title in done else job.priority
            needs = [places[title] for title in job.needs if title in places]
            tasks.append(Task(max(seconds, 0.0), priority, needs))
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
    graph, work = survey.graph, _training(survey, "sweep")
    for group in graph.groups:
        if group not in survey.selected:
            job, scores = graph.select(group), tuple(each.title for each in work if each.group == group)
            work.append(Work("select", job.name, job.key, group, "sweep", priority=SELECTING_PRIORITY, needs=scores))
    work += [*_training(survey, "final"), *_revealing(survey)]
    if not survey.gathered:
        work.append(Work("gather", "", graph.gather.key, needs=tuple(job.title for job in work)))
    if not survey.reported:
        work.append(Work("paper", "", graph.paper.key, needs=tuple(job.title for job in work[-1:])))
    return work


def _training(survey: Survey, phase: str) -> list[Work]:
    """The jobs of a phase that have a path to train or score."""
    graph, work = survey.graph, []
    states = {state.path: state for state in survey.paths if state.path.phase == phase}
    for batch in dict.fromkeys(graph.batches[path] for path in states):
        if waiting := [states[path] for path in batch if not states[path].made]:
            cells, scored = sum(len(state.open) for state in waiting), sum(state.cells for state in waiting)
            path, name, key = batch[0], batch_name(batch), graph.last(batch[0]).key
            priority, needs = seed_priority(graph.study, path), _needs(graph, path)
            work.append(Work("train", name, key, path.group, phase, cells, scored, priority, needs))
    return work


def _needs(graph: Graph, path: TrainingPath) -> tuple[str, ...]:
    """The titles of what a batch that begins with ``path`` waits for: λ̂, or in a race the seeds before."""
    if path.phase == "final":
        return (f"select/{'/'.join(path.group)}",)
    earlier = (graph.batches[each] for each in raced_before(graph.study, path))
    return tuple(f"train/{batch_name(batch)}" for batch in dict.fromkeys(earlier))


def _revealing(survey: Survey) -> Iterator[Work]:
    """The jobs that score on test the sweeps of a data set × model, where one is not scored yet."""
    graph = survey.graph
    for groups in dict.fromkeys(graph.revealed.values()):
        if waiting := [group for group in groups if group not in survey.revealed]:
            sweep = (state for state in survey.paths if state.path.phase == "sweep" and state.path.group in waiting)
            scored, needs = sum(state.cells for state in sweep), tuple(f"select/{'/'.join(group)}" for group in groups)
            name, key = joint_name([graph.reveal(group).name for group in groups]), graph.last_revealed(groups[0]).key
            yield Work("reveal", name, key, groups[0], "sweep", scored=scored, needs=needs)


def allowed(study: Study, cores: int | None = None, gpu_jobs: int | None = None) -> int:
    """How many jobs run at a time here: as many as ``cores`` (None: all) have threads for, and there are GPUs for.

    With ``gpu_jobs``, so many share the GPUs; without, one has each.
    """
    by_cores = (cores or len(os.sched_getaffinity(0))) // int(study.resources["threads"])
    return max(1, min(by_cores, gpu_jobs or len(gpu.devices())) if study.resources["gpu"] else by_cores)
