"""Which cells of the study's matrix finished, and why the others did not."""

from __future__ import annotations

from typing import Any

import pandas as pd

from softreg.paper.scores import Scores
from softreg.scoring.gather import NOT_RUN
from softreg.scoring.select import GROUP

PHASES = {"sweep": "sweep (λ by tuning seeds)", "final": "final (λ̂ by evaluation seeds)"}


def phases(cells: pd.DataFrame) -> list[dict[str, Any]]:
    """For each phase, how many of its cells have which status."""
    rows = []
    for phase, name in PHASES.items():
        status = cells.loc[cells["phase"] == phase, "status"]
        rows.append({"name": name, "finished": int((status == "finished").sum()), "of": len(status)})
        rows[-1]["other"] = _others(status)
    return rows


def matrices(scores: Scores) -> list[dict[str, Any]]:
    """For each phase, one row for each data set and model, one entry for each penalty.

    An entry is None where the study trains none such, else has ``finished``, ``of`` and ``other`` (``1 diverged``).
    """
    found = {key: part["status"] for key, part in scores.cells.groupby(["phase", *GROUP], sort=False)}
    places = [(dataset, model) for dataset in scores.study["datasets"] for model in scores.study["models"]]
    return [
        {
            "phase": phase,
            "name": name,
            "rows": [
                (place, [(penalty, _entry(found.get((phase, *place, penalty)))) for penalty in scores.penalties])
                for place in places
            ],
        }
        for phase, name in PHASES.items()
    ]


def missing(cells: pd.DataFrame) -> list[dict[str, Any]]:
    """The cells that did not finish, those of one group, λ, status and reason in one row, with their log.

    Of cells that have not run, all λ of a group are one row. ``cell`` is the place of the row's first among ``cells``.
    """
    left = cells[cells["status"] != "finished"].reset_index(names="cell")
    waiting = left["status"] == NOT_RUN
    reasons = left["reason"].fillna("").mask(waiting & (left["reason"].fillna("") == ""), "it has not been trained yet")
    shown = left["lambda"].mask(waiting, "any")
    keys = ["phase", *GROUP, "shown", "status", "reason"]
    grouped = left.assign(reason=reasons, shown=shown).groupby(keys, sort=False)
    return [_missing_row(dict(zip(keys, key, strict=True)), part) for key, part in grouped]


def _missing_row(names: dict[str, Any], part: pd.DataFrame) -> dict[str, Any]:
    values = [value for value in dict.fromkeys(part["lambda"]) if value]
    strength = "–" if not values else values[0] if len(values) == 1 else f"{len(values)} values"
    return names | {
        "lambda": strength,
        "seeds": ", ".join(map(str, sorted(set(part["seed"])))),
        "count": len(part),
        "log": next((str(text) for text in part["log_tail"] if text), ""),
        "cell": int(part["cell"].iloc[0]),
    }


def _entry(status: pd.Series[str] | None) -> dict[str, Any] | None:
    if status is None:
        return None
    return {"finished": int((status == "finished").sum()), "of": len(status), "other": _others(status)}


def _others(status: pd.Series[str]) -> str:
    others = status[status != "finished"].value_counts()
    return ", ".join(f"{count} {name}" for name, count in sorted(others.items()))
