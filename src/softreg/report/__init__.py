"""The report of a study: one HTML file without need of a network, and metrics.json; from scores alone."""

from __future__ import annotations

import base64
import math
from pathlib import Path
from typing import Any

import pandas as pd
from jinja2 import Environment, PackageLoader, StrictUndefined

from softreg import tables
from softreg.figures import write_figures
from softreg.files import read_json, write_json, write_text
from softreg.gather import NOT_RUN
from softreg.scores import Scores
from softreg.select import GROUP

_SECONDARY = {
    "miou_per_image": ("mIoU per image", 100, 2),
    "dice": ("Dice", 100, 2),
    "pixel_accuracy": ("Pixel accuracy", 100, 2),
    "ece": ("ECE", 100, 2),
    "nll": ("NLL (nats)", 1, 3),
}
"""Heading, factor and decimals of each secondary measure."""

_WORDS = {"lr": "learning rate", "lambda": "λ"}


def write_report(scores: Path, out: Path) -> None:
    """Write ``out/report.html`` and ``out/metrics.json`` from the folder ``scores``.

    The figures are those of ``out/figures/``; where there are none yet, they are drawn first.
    Raises `UserError` where ``scores`` holds no gathered study.
    """
    loaded, figures = Scores(scores), out / "figures"
    if not (figures / "figures.json").exists():
        write_figures(scores, out)
    frame = tables.main_frame(loaded)
    write_json(out / "metrics.json", metrics(loaded, frame))
    environment = Environment(
        loader=PackageLoader("softreg.report", "."),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
    )
    write_text(
        out / "report.html",
        environment.get_template("template.html").render(_context(loaded, frame, figures)),
    )


def metrics(scores: Scores, frame: pd.DataFrame) -> dict[str, Any]:
    """The numbers of the main table by data set, model and penalty; null where undefined.

    ``test_miou``, ``low`` and ``high`` are in points (0 to 100).
    """
    names = [
        "lambda",
        "test_miou",
        "low",
        "high",
        "seeds",
        *tables.MEASURES,
        "exact_zeros",
        "nonzero_weights",
        "macs_nonzero",
        "finished",
        "expected",
    ]
    nested: dict[str, Any] = {}
    for row in frame.to_dict("records"):
        of_model = nested.setdefault(row["dataset"], {}).setdefault(row["model"], {})
        of_model[row["penalty"]] = {name: _json(row[name]) for name in names}
    return {"study": scores.study["name"], "partial": scores.provenance["partial"], "datasets": nested}


def _json(value: Any) -> Any:
    return None if isinstance(value, float) and math.isnan(value) else value


def _context(scores: Scores, frame: pd.DataFrame, figures: Path) -> dict[str, Any]:
    return {
        "study": scores.study,
        "partial": scores.provenance["partial"],
        "coverage": _coverage(scores.cells),
        "problems": _problems(scores.cells),
        "caption": tables.caption(scores, frame),
        "headings": tables.HEADINGS,
        "main": {name: list(tables.shown_rows(frame[frame["dataset"] == name])) for name in scores.study["datasets"]},
        "secondary_headings": ["Model", "Penalty", *(heading for heading, _, _ in _SECONDARY.values())],
        "secondary": {name: _secondary(frame[frame["dataset"] == name]) for name in scores.study["datasets"]},
        "datasets": scores.datasets,
        "figures": [_figure(entry, figures) for entry in read_json(figures / "figures.json")],
        "selection": _selection(scores),
        "provenance": _provenance(scores.provenance["cells"]),
        "version": scores.provenance["softreg"],
        "training": _training(scores.study),
        "models": _entries(scores.study["models"]),
        "penalties": _entries(scores.study["penalties"]),
    }


def _coverage(cells: pd.DataFrame) -> list[dict[str, Any]]:
    """For each phase, how many of its cells have which status."""
    words = {"sweep": "sweep (λ by tuning seeds)", "final": "final (λ̂ by evaluation seeds)"}
    phases = []
    for phase, name in words.items():
        status = cells.loc[cells["phase"] == phase, "status"]
        others = status[status != "finished"].value_counts()
        other = ", ".join(f"{count} {status}" for status, count in sorted(others.items()))
        phases.append({"name": name, "finished": int((status == "finished").sum()), "of": len(status), "other": other})
    return phases


def _problems(cells: pd.DataFrame) -> list[dict[str, Any]]:
    """The cells that ended otherwise than finished, those of one group, λ and reason in one row."""
    ended = cells[~cells["status"].isin(["finished", NOT_RUN])].assign(reason=cells["reason"].fillna(""))
    keys = ["phase", *GROUP, "lambda", "status", "reason"]
    return [
        {
            **dict(zip(keys, key, strict=True)),
            "seeds": ", ".join(map(str, sorted(set(part["seed"])))),
            "log": _log(part),
        }
        for key, part in ended.groupby(keys, sort=False)
    ]


def _log(cells: pd.DataFrame) -> str:
    return next((str(text) for text in cells["log_tail"] if text), "")


def _secondary(frame: pd.DataFrame) -> list[list[str]]:
    return [
        [
            row["model"],
            row["penalty"],
            *(tables.number(row[name] * factor, digits) for name, (_, factor, digits) in _SECONDARY.items()),
        ]
        for row in frame.to_dict("records")
    ]


def _figure(entry: dict[str, Any], folder: Path) -> dict[str, Any]:
    """A figure's texts, with its picture as a data address: PNG for photographs, SVG for everything drawn."""
    if "name" not in entry:
        return entry
    kind, ending = ("png", "png") if entry["name"].startswith("gallery-") else ("svg+xml", "svg")
    picture = base64.b64encode((folder / f"{entry['name']}.{ending}").read_bytes()).decode("ascii")
    return entry | {"source": f"data:image/{kind};base64,{picture}"}


def _selection(scores: Scores) -> list[dict[str, Any]]:
    """λ̂ of each group, with a hint where it lies at an end of its grid or rests on too few cells."""
    rows = []
    for row in scores.selection.to_dict("records"):
        grid = scores.study["penalties"][row["penalty"]]["lambda"]
        rows.append(
            {
                **{str(name): value for name, value in row.items()},
                "score": _score(row),
                "hint": _hint(row, grid),
                "grid": _grid(grid),
            }
        )
    return rows


def _score(row: dict[Any, Any]) -> str:
    mean, error = tables.number(100 * row["val_miou"], 2), tables.number(100 * row["val_se"], 2)
    return mean if error == "–" else f"{mean} ± {error}"


def _grid(grid: list[str]) -> str:
    return grid[0] if len(grid) == 1 else f"{grid[0]} to {grid[-1]}, {len(grid)} values"


def _hint(row: dict[Any, Any], grid: list[str]) -> str:
    if not row["lambda"]:
        return "no cell finished, so no λ could be chosen"
    hints = []
    if row["at_edge"]:
        end = "smallest" if row["lambda"] == grid[0] else "largest"
        hints.append(f"λ̂ is the {end} of the grid: extend the grid {'down' if end == 'smallest' else 'up'}")
    if row["n"] < row["expected"]:
        hints.append(f"rests on {row['n']} of {row['expected']} cells: every λ lacks some")
    return "; ".join(hints)


def _provenance(recorded: dict[str, dict[str, int]]) -> list[tuple[str, str]]:
    """Each item and its values, with the number of cells where they differ."""
    rows = []
    for name, values in recorded.items():
        texts = [value if len(values) == 1 else f"{value} ({count} cells)" for value, count in values.items()]
        rows.append((name.removeprefix("versions."), "; ".join(texts)))
    return rows


def _training(study: dict[str, Any]) -> list[tuple[str, str]]:
    shown = {name: value for name, value in study["training"].items() if name != "checkpoint_seconds"}
    return [(_WORDS.get(name, name.replace("_", " ")), _plain(value)) for name, value in shown.items()]


def _entries(section: dict[str, dict[str, Any]]) -> list[tuple[str, str]]:
    """The entries of a section with what the study says of each, in words; what has no value is left out."""
    return [(name, _plain(entry)) for name, entry in section.items()]


def _plain(value: Any) -> str:
    if isinstance(value, dict):
        said = {name: inner for name, inner in value.items() if inner not in (None, {}, "")}
        return "; ".join(f"{_WORDS.get(name, name.replace('_', ' '))} {_plain(inner)}" for name, inner in said.items())
    if isinstance(value, list):
        return ", ".join(map(_plain, value))
    if value is None:
        return "–"
    return ("yes" if value else "no") if isinstance(value, bool) else str(value)
