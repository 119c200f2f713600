"""The DAG of a study: its jobs, and the key of all that each is made from. Imports no torch.

A job's key is a digest of what the study says of it, of the code that does it, and of the keys of the jobs before it.
A job that has done its work leaves a mark beside what it has made: a small file whose name ends in the key, and which
lists the digests of all that was made. So whether a job is done is whether a file of that name is there, and what it
lists is as it was; times, and what an engine remembers, say nothing.
"""

from __future__ import annotations

import glob
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import AbstractContextManager, suppress
from dataclasses import dataclass
from functools import cache, cached_property
from itertools import groupby
from operator import itemgetter
from pathlib import Path

from softreg.data.datasets import ARRAYS, prepared_folder
from softreg.data.sources import source_state
from softreg.errors import UserError
from softreg.files import alone, altered, digest, seal, sealed
from softreg.running import places
from softreg.study import keys, matrix
from softreg.study.cells import choice_file, path_folder
from softreg.study.config import Study
from softreg.study.fingerprint import code_fingerprint, module_of, package_digest
from softreg.study.lambdas import trials_left, trials_of
from softreg.study.matrix import Group, TrainingPath

_LENGTH = 16
"""Hexadecimal digits of a key in a file's name."""
_VOID = ".void"
"""How the name of a mark ends that no longer counts."""
_OF_PATHS = {phase: ("path.json", *names) for phase, names in places.RECORDS.items()}
"""What a training path makes, by its phase."""


def is_small(file: Path) -> bool:
    """Whether a file is read whenever it is asked for; weights and arrays are where they are used."""
    return file.suffix not in (".safetensors", ".npy")


@dataclass(frozen=True, slots=True)
class Job:
    """One job: its command with its name, its key, what it makes in which folder, and where its mark's path begins.

    Texts, as there are thousands of jobs, and a path takes ten times the memory.
    """

    command: str
    name: str
    key: str
    folder: str
    files: tuple[str, ...]
    stem: str

    @property
    def makes(self) -> tuple[Path, ...]:
        """The files, and of the paper folders, that the job makes."""
        return tuple(Path(self.folder, name) for name in self.files)

    @property
    def mark(self) -> Path:
        """The file that says that the job is done."""
        return Path(f"{self.stem}made-{self.key}")

    def made(self) -> bool:
        """Whether what the job makes is there, as it was made under its key; `altered` reads little of it."""
        return self.mark.is_file() and not self.damage()

    def damage(self, reads: Callable[[Path], bool] = lambda file: False) -> list[Path]:
        """What of the job's files is not as it was made; ``reads`` is that of `softreg.files.altered`."""
        return altered(self.mark, reads, job=self._title)

    def damaged(self) -> bool:
        """Whether a file that it made under its key is there and is no longer what was made; that it is gone is not."""
        marks = filter(Path.is_file, (self.mark, self._void_mark))
        return any(file.exists() for mark in marks for file in altered(mark, job=self._title))

    def begin(self) -> None:
        """Take away every mark, before anything is changed, and what a killed job has left half-written.

        Of its own files, a job that goes on from what is there loses those that a mark says are damaged; one that
        scores networks, all that no mark says are whole. To be called by the process that holds the job's lock.
        """
        start = glob.escape(self._start)
        marks = [*filter(Path.is_file, self.mark.parent.glob(f"{start}*")), *self.mark.parent.glob(f".{start}*{_VOID}")]
        stale = {*marks, *self.mark.parent.glob(f".{start}*.tmp")}
        if self.command in ("train", "reveal", "gather"):
            damaged = {file for mark in marks for file in altered(mark, is_small, job=self._title)}
            whole = {file for mark in marks if mark not in damaged for file in _listed(mark)} - damaged
            stale |= {*self.makes} & damaged if self.command == "gather" else {*self.makes} - whole
        # A mark last: until then, what it lists is known.
        for file in sorted(stale, key=lambda file: file in marks):
            file.unlink(missing_ok=True)

    def void(self) -> None:
        """Have the job no longer count as done; what its mark says is kept for `begin`."""
        with suppress(FileNotFoundError):
            self.mark.replace(self._void_mark)

    def end(self, told: str = "", also: Iterable[Path] = ()) -> None:
        """Leave the mark, once all that the job makes is on disk, and ``also``; it may hold what is ``told``."""
        files = [*also]
        for place in self.makes:
            files += filter(Path.is_file, sorted(place.rglob("[!.]*"))) if place.is_dir() else [place]
        listed = [file for file in files if not file.name.startswith(self._start)]
        seal(self.mark, {"job": self._title, "told": told}, listed)

    def told(self) -> str:
        """What the mark holds."""
        return str((sealed(self.mark) or {}).get("told", ""))

    def demand(self, study: Study, reads: Callable[[Path], bool] = is_small) -> None:
        """Raise UserError where what the job makes is missing, or not what it made under its key.

        By default all is read but weights and arrays. What is damaged is no longer marked as made.
        """
        if not (bad := self.damage(reads)):
            return
        place = bad[0] if self.mark.is_file() else next((one for one in self.makes if not one.exists()), self.makes[0])
        if not place.exists():
            state = "is missing"
        elif self.mark.is_file():
            state = "is damaged: it is not what was written"
            self.void()
        else:
            state = "is not made to the end, or was made under another version of the study, its data or the code"
        words = {"prepare": self.name, "train": self.name.replace("/", " ", 1)}
        command = f"softreg {self.command} {study.file} {words.get(self.command, self.name)}".strip()
        raise UserError(f"{place} {state}; run `{command}` first, or `snakemake` for all")

    @property
    def _void_mark(self) -> Path:
        return self.mark.with_name(f".{self.mark.name}{_VOID}")

    @property
    def _title(self) -> str:
        return f"{self.command} {self.name}".strip()

    @property
    def _start(self) -> str:
        """How the names of all marks begin."""
        return Path(f"{self.stem}made-").name

    def alone(self) -> AbstractContextManager[None]:
        """Hold off other processes that do this job; see `softreg.files.alone`."""
        return alone(Path(self.stem.rstrip("/.")))


def _listed(mark: Path) -> list[Path]:
    return [mark.parent / name for name in (sealed(mark) or {"files": {}})["files"]]


class Graph:
    """The jobs of one study, each worked out when it is first asked for; its groups, and the paths of both phases."""

    def __init__(self, study: Study) -> None:
        self.study = study
        self.results = places.results_folder(study)
        self.groups = matrix.groups(study)
        self.sweep = matrix.sweep_paths(study)
        self.final = matrix.final_paths(study)
        # That the whole grid is trained is not told, as keys are older than the choice.
        self._selection = {key: each for key, each in study.selection.items() if (key, each) != ("search", "grid")}
        # As methods would, but kept for this object alone.
        self.prepare = cache(self._prepare)
        self.train = cache(self._train)
        self.select = cache(self._select)
        self.reveal = cache(self._reveal)
        self._group_key = cache(self._group_key_of)

    def _prepare(self, dataset: str) -> Job:
        """The job that prepares a data set."""
        options = self.study.datasets[dataset]
        code = code_fingerprint("softreg.data.prepare", module_of("data.datasets", options["kind"]))
        folder = prepared_folder(self.study, dataset)
        key = _key("prepare", options, code, source_state(options, folder.name))
        return Job("prepare", dataset, key, str(folder), ("dataset.json", *ARRAYS), f"{folder}/")

    def _train(self, path: TrainingPath) -> Job:
        """What trains and scores one path; several may be one job to a scheduler, see `batches`."""
        folder = path_folder(self.results, path)
        key = _key(self._group_key(path.phase, path.group), path.seed, path.fold, *self._race(path))
        return Job("train", f"{path.phase}/{path.name}", key, str(folder), _OF_PATHS[path.phase], f"{folder}/")

    def _race(self, path: TrainingPath) -> list[object]:
        """What decides which trials a path trains, where a race does."""
        before = [self.train(each).key for each in matrix.raced_before(self.study, path)]
        if not before:
            return []
        trials = len(trials_of(self.study.penalties[path.penalty]))
        left = trials_left(trials, self.study.seeds["tuning"].index(path.seed))
        return [before, left, code_fingerprint("softreg.scoring.race")]

    def _select(self, group: Group) -> Job:
        """The job that selects λ̂ of a group."""
        sweep = [self.train(path).key for path in matrix.sweep_paths(self.study, group)]
        key = _key("select", self._selection, sweep, code_fingerprint("softreg.scoring.select"))
        file = choice_file(self.results, group)
        return Job("select", "/".join(group), key, str(file.parent), (file.name,), f"{file.with_suffix('')}.")

    def _reveal(self, group: Group) -> Job:
        """The job that scores a group's sweep on test, once its λ̂ stands."""
        key = _key("reveal", self.select(group).key, keys.scoring_key(self.study, "sweep", group[1]))
        file = places.revealed(self.study, group)
        return Job("reveal", "/".join(group), key, str(file.parent), (file.name,), f"{file.parent}/")

    @cached_property
    def gather(self) -> Job:
        """The job that gathers all scores."""
        before = [job.key for job in (*map(self.train, self.final), *map(self.reveal, self.groups))]
        told = self.study.to_dict() | {"selection": self._selection}
        key = _key("gather", told, before, code_fingerprint("softreg.scoring.gather"))
        folder = self.results / "scores"
        return Job("gather", "", key, str(folder), places.scores_of(self.study), f"{folder}/")

    @cached_property
    def paper(self) -> Job:
        """The job that writes tables, figures and report."""
        return paper_of(self.results, self.gather.key)

    def jobs(self) -> Iterator[Job]:
        """All jobs, in an order in which they can be run."""
        yield from map(self.prepare, self.study.datasets)
        yield from map(self.train, self.sweep)
        yield from map(self.select, self.groups)
        yield from map(self.train, self.final)
        yield from map(self.reveal, self.groups)
        yield self.gather
        yield self.paper

    @cached_property
    def batches(self) -> dict[TrainingPath, tuple[TrainingPath, ...]]:
        """The paths that one process trains after each other, for each of them: seeds of one group, of one fold."""
        by_seed = sorted([*self.sweep, *self.final], key=_entry)
        size = self.study.resources["seeds_per_job"]
        found: dict[TrainingPath, tuple[TrainingPath, ...]] = {}
        for _, group in groupby(by_seed, _entry):
            paths = tuple(group)
            found |= {path: paths[place - place % size :][:size] for place, path in enumerate(paths)}
        return found

    def before(self, path: TrainingPath) -> list[Job]:
        """What the process that trains ``path`` waits for beside its data: λ̂, or in a race the seeds before."""
        if path.phase == "final":
            return [self.select(path.group)]
        # Those of its own batch it trains itself.
        first = self.batches[path][0]
        return list(dict.fromkeys(map(self.last, matrix.raced_before(self.study, first))))

    @cached_property
    def revealed(self) -> dict[Group, tuple[Group, ...]]:
        """The groups whose sweeps one process scores on test, for each of them: those of a data set × model."""
        each = (tuple(groups) for _, groups in groupby(self.groups, itemgetter(0, 1)))
        return {group: groups for groups in each for group in groups}

    def last(self, path: TrainingPath) -> Job:
        """What ends ``path``'s batch: the job of its last path that is not made yet, or else of its last."""
        return _last([self.train(each) for each in self.batches[path]])

    def last_revealed(self, group: Group) -> Job:
        """As `last`, of the scoring on test."""
        return _last([self.reveal(each) for each in self.revealed[group]])

    def outdate(self, path: TrainingPath) -> None:
        """Take away the marks of what was made from what a path's job had made before, under the same keys."""
        after = [self.select(path.group), self.reveal(path.group)] if path.phase == "sweep" else []
        later = matrix.sweep_paths(self.study, path.group)
        after += [self.train(each) for each in later if path in matrix.raced_before(self.study, each)]
        # Of scores and paper, those of other versions of the code too, which may come back.
        gathered = [*self.results.glob("scores/made-*"), *self.results.glob("tables/made-*")]
        for mark in (*(job.mark for job in after), *gathered):
            mark.unlink(missing_ok=True)

    def drop_void_marks(self) -> None:
        """Take away marks of jobs whose results are gone or damaged, so that who looks for marks makes them again.

        What scores were gathered from may be gone, to save disk; where it is damaged, they are gathered again.
        """
        for job in self.jobs():
            # In this order: results are there before their mark is.
            if not job.mark.is_file() or not (bad := job.damage()):
                continue
            job.void()
            if job not in (self.gather, self.paper) and any(file.exists() for file in bad):
                self.gather.void()
                self.paper.void()

    def _group_key_of(self, phase: str, group: Group) -> str:
        """What the paths of a group have in common: what they try, and how they are trained and scored."""
        trials = [trial.name for trial in trials_of(self.study.penalties[group[2]])]
        tried = trials if phase == "sweep" else self.select(group).key
        return _key(phase, tried, self._training(group), keys.scoring_key(self.study, phase, group[1]))

    def _training(self, group: Group) -> list[object]:
        """What the training of a group depends on, apart from λ and seed."""
        selection = self.study.selection
        folds = selection["folds"] if selection["scorer"] == "kfold" else None
        spec, code = keys.group_spec(self.study, group), keys.training_code(self.study, group)
        return [spec, code, folds, self.prepare(group[0]).key]


def paper_of(results: Path, gathered: str) -> Job:
    """The job that writes tables, figures and report into ``results``, of scores that were gathered under a key."""
    key = _key("paper", gathered, package_digest())
    return Job("paper", "", key, str(results), tuple(places.PAPER), f"{results / 'tables'}/")


def batch_name(paths: Sequence[TrainingPath]) -> str:
    """What a process that trains these paths is called."""
    return joint_name([f"{path.phase}/{path.name}" for path in paths])


def joint_name(names: Sequence[str]) -> str:
    """What a process that does the jobs of these names is called: as the first, with how many follow."""
    return names[0] + f"+{len(names) - 1}" * (len(names) > 1)


def _last(jobs: Sequence[Job]) -> Job:
    return next((job for job in reversed(jobs) if not job.made()), jobs[-1])


def _entry(path: TrainingPath) -> tuple[str, Group, int]:
    return path.phase, path.group, -1 if path.fold is None else path.fold


def _key(*parts: object) -> str:
    return digest(parts)[:_LENGTH]
