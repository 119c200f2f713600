"""The matrix of a study: its groups, its training paths, and how many cells they hold. Imports no torch."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from itertools import product
from typing import Any

from softreg.errors import UserError
from softreg.study.config import Study
from softreg.study.lambdas import trials_left, trials_of
from softreg.study.roles import compared

PHASES = ("sweep", "final")
Group = tuple[str, str, str]
"""Data set, model and penalty, by their names in the study: what one λ̂ is selected for."""
_NAME = re.compile(r"([^/]+)/([^/]+)/([^/]+)/seed(\d+)(?:-fold(\d+))?")


@dataclass(frozen=True, slots=True)
class TrainingPath:
    """All λ of one dataset × model × penalty × seed, trained in one process: the unit of scheduling."""

    phase: str
    dataset: str
    model: str
    penalty: str
    seed: int
    fold: int | None = None

    @property
    def group(self) -> Group:
        """Data set, model and penalty."""
        return self.dataset, self.model, self.penalty

    @property
    def name(self) -> str:
        """The path's folder below its phase, such as ``brain/convnet/l1/seed0`` or ``…/seed0-fold1``."""
        fold = "" if self.fold is None else f"-fold{self.fold}"
        return f"{self.dataset}/{self.model}/{self.penalty}/seed{self.seed}{fold}"


def groups(study: Study) -> list[Group]:
    """Each (dataset, model, penalty) of the study, in the order of its file; λ̂ is selected once for each."""
    return groups_of(vars(study))


def groups_of(study: Mapping[str, Any]) -> list[Group]:
    """`groups` of a study that is at hand as its JSON values only."""
    trained_on = {name: entry["models"] or study["models"] for name, entry in study["penalties"].items()}
    everything = product(study["datasets"], study["models"], study["penalties"])
    return [group for group in everything if group[1] in trained_on[group[2]]]


def sweep_paths(study: Study, group: Group | None = None) -> list[TrainingPath]:
    """The paths of phase 1, or of one group of it: every tuning seed, with every fold where folds score."""
    kfold = study.selection["scorer"] == "kfold"
    folds = range(study.selection["folds"]) if kfold else [None]
    runs = product(groups(study) if group is None else [group], study.seeds["tuning"], folds)
    return [TrainingPath("sweep", *names, seed, fold) for names, seed, fold in runs]


def raced_before(study: Study, path: TrainingPath) -> list[TrainingPath]:
    """The paths whose scores decide which trials ``path`` trains: those of its group's tuning seeds before its own.

    None where it trains all of them, and in the final.
    """
    seeds, trials = study.seeds["tuning"], len(trials_of(study.penalties[path.penalty]))
    if path.phase == "final" or not is_race(vars(study)) or trials_left(trials, 1) == trials:
        return []
    earlier = seeds[: seeds.index(path.seed)]
    return [each for each in sweep_paths(study, path.group) if each.seed in earlier]


def is_race(study: Mapping[str, Any]) -> bool:
    """Whether a study, by its JSON values, drops trials from one tuning seed to the next."""
    return bool(study["selection"]["search"] == "halving")


def networks_of(study: Study, path: TrainingPath) -> int:
    """How many networks a path trains, where none diverges."""
    if path.phase == "final":
        return 1
    seeds = {each.seed for each in raced_before(study, path)}
    return trials_left(len(trials_of(study.penalties[path.penalty])), len(seeds))


def race_told(study: Mapping[str, Any]) -> str:
    """How many networks a race trains of each entry, on one data set and model; empty where there is none."""
    if not is_race(study):
        return ""
    seeds, selection = len(study["seeds"]["tuning"]), study["selection"]
    folds = selection["folds"] if selection["scorer"] == "kfold" else 1
    trials = {name: len(trials_of(study["penalties"][name])) for name in compared(study["penalties"])}
    counts = {name: folds * sum(trials_left(n, each) for each in range(seeds)) for name, n in trials.items()}
    told = ", ".join(f"{name} {count} of {folds * seeds * trials[name]}" for name, count in counts.items())
    return f"Halving over {seeds} tuning seeds trains, of the grid's networks on each data set and model: {told}."


def final_paths(study: Study, group: Group | None = None) -> list[TrainingPath]:
    """The paths of phase 2, or of one group of it: every evaluation seed; each path holds one cell, at λ̂."""
    wanted = groups(study) if group is None else [group]
    return [TrainingPath("final", *names, seed) for names in wanted for seed in evaluation_seeds(study, names[2])]


def evaluation_seeds(study: Study, penalty: str) -> list[int]:
    """The evaluation seeds of an entry of penalties: all, or the first few."""
    seeds: list[int] = study.seeds["evaluation"]
    return seeds[: study.seeds["fewer"].get(penalty)]


def count_cells(study: Study) -> int:
    """Networks trained in both phases."""
    return sum(networks_of(study, path) for path in (*sweep_paths(study), *final_paths(study)))


def parse_path(phase: str, name: str) -> TrainingPath:
    """The path whose ``phase`` and ``name`` these are. Raises UserError where they are of no path."""
    match = _NAME.fullmatch(name)
    if phase not in PHASES or match is None:
        raise UserError(
            f"{phase}/{name} is not a training path; give {' or '.join(PHASES)} and "
            "DATASET/MODEL/PENALTY/seedN or DATASET/MODEL/PENALTY/seedN-foldK"
        )
    dataset, model, penalty, seed, fold = match.groups()
    return TrainingPath(phase, dataset, model, penalty, int(seed), None if fold is None else int(fold))


def find_path(study: Study, phase: str, name: str) -> TrainingPath:
    """The study's path of this ``phase`` and ``name``. Raises UserError where the study has none such."""
    path = parse_path(phase, name)
    paths = sweep_paths(study) if phase == "sweep" else final_paths(study)
    if path not in paths:
        raise UserError(f"{study.file} has no path {phase}/{name}; its first one is {phase}/{paths[0].name}")
    return path


def find_group(study: Study, name: str) -> Group:
    """The study's group of this name, DATASET/MODEL/PENALTY. Raises UserError where the study has none such."""
    by_name = {"/".join(group): group for group in groups(study)}
    if name not in by_name:
        raise UserError(f"{study.file} has no {name!r}; its first group is {next(iter(by_name))}")
    return by_name[name]
