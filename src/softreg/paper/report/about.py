"""What the study asked for, the λ that was chosen, and what ran where: the report's parts without measurements."""

from __future__ import annotations

from typing import Any

from softreg.paper import tables
from softreg.paper.report.words import plain, training
from softreg.paper.scores import Scores


def study(scores: Scores) -> dict[str, Any]:
    """The study's entries and options in words."""
    return {
        "entries": {
            heading: [(scores.label(name), plain(entry)) for name, entry in scores.study[section].items()]
            for heading, section in (("Data sets", "datasets"), ("Models", "models"), ("Penalties", "penalties"))
        },
        "training": training(scores.study["training"]),
    }


def selection(scores: Scores) -> list[dict[str, Any]]:
    """λ̂ of each group, with a hint where it lies at an end of its grid or rests on too few cells."""
    rows = []
    for row in scores.selection.to_dict("records"):
        grid = scores.study["penalties"][row["penalty"]]["lambda"]
        rows.append(
            {
                **{str(name): value for name, value in row.items()},
                "score": _score(row),
                "hint": hint(row, grid),
                "grid": grid[0] if len(grid) == 1 else f"{grid[0]} to {grid[-1]}, {len(grid)} values",
            }
        )
    return rows


def hint(row: dict[Any, Any], grid: list[str]) -> str:
    """What to do about a doubtful λ̂, a row of the selection; empty where there is nothing to doubt."""
    if not row["lambda"]:
        return "no cell finished, so no λ could be chosen"
    hints = []
    if row["at_edge"]:
        end = "smallest" if row["lambda"] == grid[0] else "largest"
        hints.append(f"λ̂ is the {end} of the grid: extend the grid {'down' if end == 'smallest' else 'up'}")
    if row["n"] < row["expected"]:
        hints.append(f"rests on {row['n']} of {row['expected']} cells: every λ lacks some")
    return "; ".join(hints)


def provenance(recorded: dict[str, dict[str, int]]) -> list[tuple[str, str]]:
    """Each item and its values, with the number of cells where they differ."""
    rows = []
    for name, values in recorded.items():
        texts = [value if len(values) == 1 else f"{value} ({count} cells)" for value, count in values.items()]
        rows.append((name.removeprefix("versions."), "; ".join(texts)))
    return rows


def _score(row: dict[Any, Any]) -> str:
    mean, error = tables.number(100 * row["val_miou"], 2), tables.number(100 * row["val_se"], 2)
    return mean if error == "–" else f"{mean} ± {error}"
