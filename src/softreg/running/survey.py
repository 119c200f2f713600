"""What of a study has been made, told from its marks and records alone. Imports no torch."""

from __future__ import annotations

from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from softreg.errors import UserError
from softreg.files import read_json
from softreg.running import places
from softreg.running.graph import Graph
from softreg.scoring.race import lambdas_of
from softreg.study.cells import make_cells
from softreg.study.matrix import Group, TrainingPath, networks_of, raced_before


@dataclass(frozen=True)
class PathState:
    """How far a path is: whether it is made, with its scores, or was and is damaged, and its cells.

    ``open`` are the λ left to train, "" for one that is not chosen yet; ``ended`` the other cells, with their status
    and reason.
    """

    path: TrainingPath
    made: bool
    open: tuple[str, ...]
    ended: dict[str, dict[str, Any]]
    damaged: bool = False

    @property
    def cells(self) -> int:
        """How many cells it has."""
        return len(self.open) + len(self.ended)


@dataclass(frozen=True)
class Survey:
    """All paths, the groups whose λ̂ stands, those whose sweep is revealed, and whether scores and report stand."""

    graph: Graph
    paths: list[PathState]
    selected: frozenset[Group]
    revealed: frozenset[Group]
    gathered: bool
    reported: bool


def survey(graph: Graph) -> Survey:
    """Look at everything that a study has made."""
    content = {dataset: _content(graph, dataset) for dataset in graph.study.datasets}
    selected = frozenset(group for group in graph.groups if graph.select(group).made())
    revealed = frozenset(group for group in graph.groups if graph.reveal(group).made())
    paths = [_state(graph, path, content[path.dataset], selected) for path in graph.sweep + graph.final]
    return Survey(graph, paths, selected, revealed, graph.gather.made(), graph.paper.made())


def _state(graph: Graph, path: TrainingPath, content: str, selected: frozenset[Group]) -> PathState:
    """The state of a path, on data whose content has this digest."""
    if path.phase == "final" and path.group not in selected:
        return PathState(path, False, ("",), {})
    job = graph.train(path)
    if job.made():
        return PathState(path, True, (), _listed(job.makes[0]))
    if not all(graph.train(earlier).made() for earlier in raced_before(graph.study, path)):
        return PathState(path, False, ("",) * networks_of(graph.study, path), {})
    lambdas = lambdas_of(graph.study, path, graph.results)
    ended = {}
    if job.makes[0].parent.is_dir():
        cells = make_cells(graph.study, path, lambdas, graph.results, content)
        ended = {cell.lambda_: record for cell in cells if cell.settled() and (record := cell.record())}
    left = tuple(lambda_ for lambda_ in lambdas if lambda_ not in ended)
    return PathState(path, False, left, ended, job.damaged())


def _listed(file: Path) -> dict[str, dict[str, Any]]:
    """The cells that a ``path.json`` lists, by λ. Raises UserError where it is damaged."""
    try:
        return {entry["lambda"]: entry for entry in read_json(file)["cells"]}
    except (ValueError, KeyError, TypeError):
        raise UserError(f"{file} is damaged; delete it and run `snakemake sweep scores` again") from None


def _content(graph: Graph, dataset: str) -> str:
    """The digest of a data set's content, "" where it is not prepared."""
    with suppress(FileNotFoundError):
        return str(read_json(places.description(graph.study, dataset))["content_digest"])
    return ""
