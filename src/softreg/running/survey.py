"""What of a study has been made, told from its files alone: as Snakemake would see it, but without Snakemake or torch.

A result stands where it is there, is no older than what it is made from, and has the present key.
"""

from __future__ import annotations

import csv
from collections.abc import Iterable, Mapping
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from softreg.files import read_json
from softreg.running import stages
from softreg.study import matrix
from softreg.study.cells import make_cells, path_folder
from softreg.study.config import Study
from softreg.study.matrix import TrainingPath

Group = tuple[str, str, str]
#: Seconds from a job's own word that it has ended until Snakemake, which gives outputs their last time, learns of it.
_NOTICED = 600.0
_RECORDS = {"sweep": ("val.parquet",), "final": ("val.parquet", "test.parquet", "sums.parquet")}


@dataclass(frozen=True)
class PathState:
    """How far a path is: whether its two jobs have nothing left to do, and its cells.

    ``open`` are the λ left to train, "" for one that is not chosen yet; ``ended`` the other cells, with their status
    and reason.
    """

    path: TrainingPath
    trained: bool
    scored: bool
    open: tuple[str, ...]
    ended: dict[str, dict[str, Any]]

    @property
    def group(self) -> Group:
        """Data set, model and penalty."""
        return self.path.dataset, self.path.model, self.path.penalty


@dataclass(frozen=True)
class Survey:
    """All paths, the groups whose λ̂ stands, those whose sweep is revealed, and whether scores and report stand."""

    study: Study
    paths: list[PathState]
    selected: frozenset[Group]
    revealed: frozenset[Group]
    gathered: bool
    reported: bool


Signs = Mapping[tuple[str, str], Mapping[str, Any]]
"""What jobs have left of themselves (`softreg.running.jobs.records`), by their command and name."""


def survey(study: Study, signs: Signs) -> Survey:
    """Look at everything that a study has made; ``signs`` tell the keys that it was made under."""
    contents = {dataset: _content(study, dataset) for dataset in study.datasets}
    paths: list[PathState] = []
    selected, revealed = set(), set()
    for group in matrix.groups(study):
        grid = study.penalties[group[2]]["lambda"]
        sweep = [_state(study, path, grid, contents[group[0]], signs) for path in matrix.sweep_paths(study, group)]
        chosen = Path(f"{stages.selection_stem(study)}{'/'.join(group)}.csv")
        if all(state.scored for state in sweep) and _is_selected(study, group, chosen, signs):
            selected.add(group)
            if _is_revealed(study, group, chosen, signs):
                revealed.add(group)
        lambdas = _selected(chosen) if group in selected else None
        finals = [TrainingPath("final", *group, seed) for seed in study.seeds["evaluation"]]
        paths += [*sweep, *(_state(study, path, lambdas, contents[group[0]], signs) for path in finals)]
    return Survey(study, paths, frozenset(selected), frozenset(revealed), *_report(study, paths, revealed, signs))


def _state(
    study: Study,
    path: TrainingPath,
    lambdas: list[str] | None,
    content: str | None,
    signs: Signs,
) -> PathState:
    """The state of a path that holds ``lambdas``, None while they are not known; ``content`` as `_content` says."""
    if lambdas is None or content is None:
        return PathState(path, False, False, ("",) if lambdas is None else tuple(lambdas), {})
    folder = path_folder(stages.results_folder(study), path)
    cells = make_cells(study, path, lambdas, stages.results_folder(study), content)
    listed = _listed(folder / "path.json")
    current = {lambda_: facts["key"] for lambda_, facts in listed.items()} == {c.lambda_: c.key for c in cells}
    inputs = stages.training_inputs(study, path.phase, path.name).values()
    if current and _stands([folder / "path.json"], map(Path, inputs)):
        scored = _stands(_records(study, path), [folder / "path.json"])
        sign = signs.get(("evaluate", f"{path.phase}/{path.name}"))
        same = scored and _is_of(sign, stages.scoring_key(study, path.phase, path.name), _records(study, path)[0])
        return PathState(path, True, same, (), listed)
    ended = {cell.lambda_: cell.record() or {} for cell in cells if cell.settled()}
    return PathState(path, False, False, tuple(lambda_ for lambda_ in lambdas if lambda_ not in ended), ended)


def _is_selected(study: Study, group: Group, chosen: Path, signs: Signs) -> bool:
    stands = _stands([chosen], map(Path, stages.group_scores(study, *group)))
    return stands and _is_of(signs.get(("select", "/".join(group))), stages.selecting_key(study), chosen)


def _is_revealed(study: Study, group: Group, chosen: Path, signs: Signs) -> bool:
    file = _revealed(study, group)
    stands = _stands([file], [chosen, *map(Path, stages.group_paths(study, *group))])
    return stands and _is_of(signs.get(("reveal", "/".join(group))), stages.revealing_key(study, *group), file)


def _is_of(sign: Mapping[str, Any] | None, key: str, output: Path) -> bool:
    """Whether an output was made under this key, as far as the sign of the job that made it tells.

    The sign is that of another job where the output has been unpacked since, with the time that it had.
    """
    if sign is None or not sign["key"]:
        return True
    made = output.stat().st_mtime
    spoke = sign["written"] - sign["seconds"] <= made <= sign["written"] + _NOTICED
    return bool(not spoke or sign["key"] == key)


def _report(study: Study, paths: list[PathState], revealed: set[Group], signs: Signs) -> tuple[bool, bool]:
    """Whether the gathered scores stand, and whether the report does."""
    results = stages.results_folder(study)
    scores = results / "scores" / "provenance.json"
    if not all(state.scored for state in paths) or len(revealed) < len(matrix.groups(study)):
        return False, False
    files = [file for state in paths for file in _records(study, state.path)]
    gathered = _stands([scores], [*files, *(_revealed(study, group) for group in revealed)])
    gathered = gathered and _is_of(signs.get(("gather", "")), stages.gathering_key(study), scores)
    report = results / "report.html"
    reported = gathered and _stands([report], [scores])
    return gathered, reported and _is_of(signs.get(("paper", "")), stages.paper_code(), report)


def _records(study: Study, path: TrainingPath) -> list[Path]:
    """The score records of a path."""
    return [path_folder(stages.results_folder(study), path) / name for name in _RECORDS[path.phase]]


def _revealed(study: Study, group: Group) -> Path:
    return stages.results_folder(study).joinpath("sweep", *group) / "sums.parquet"


def _content(study: Study, dataset: str) -> str | None:
    """The digest of a data set's content; None where it is not prepared."""
    file = Path(stages.description(study, dataset))
    return str(read_json(file)["content_digest"]) if file.is_file() else None


def _selected(file: Path) -> list[str]:
    """λ̂ in a group's file, in a list; empty where none could be chosen."""
    with file.open(encoding="utf-8", newline="") as rows:
        lambda_ = next(csv.DictReader(rows))["lambda"]
    return [lambda_] if lambda_ else []


def _listed(file: Path) -> dict[str, dict[str, Any]]:
    """The cells that a ``path.json`` lists, by λ."""
    with suppress(FileNotFoundError):
        return {entry["lambda"]: entry for entry in read_json(file)["cells"]}
    return {}


def _stands(outputs: list[Path], inputs: Iterable[Path]) -> bool:
    """Whether all outputs are there, and none is older than an input."""
    try:
        oldest = min(file.stat().st_mtime_ns for file in outputs)
        return all(file.stat().st_mtime_ns <= oldest for file in inputs)
    except FileNotFoundError:
        return False
