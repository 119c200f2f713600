"""Which cells of the study's matrix finished, and why the others did not."""

from __future__ import annotations

from typing import Any

import pandas as pd

from softreg.paper.scores import Scores, others
from softreg.scoring.gather import NOT_RUN
from softreg.scoring.select import GROUP

PHASES = {"sweep": "sweep (λ by tuning seeds)", "final": "final (λ̂ by evaluation seeds)"}


def phases(scores: Scores) -> list[dict[str, Any]]:
    """For each phase its cells, counted, and ``rows``: one for each data set and model, an entry for each penalty.

    Counted: ``finished``, ``of`` and ``other`` (``1 diverged``). An entry is None where the study trains none such.
    """
    cells = scores.cells
    found = {key: _counted(part["status"]) for key, part in cells.groupby(["phase", *GROUP], sort=False)}
    places = list(dict.fromkeys(group[:2] for group in scores.groups))
    return [
        {
            "phase": phase,
            "name": name,
            **_counted(cells.loc[cells["phase"] == phase, "status"]),
            "rows": [
                (place, [(each, found.get((phase, *place, each))) for each in scores.penalties]) for place in places
            ],
        }
        for phase, name in PHASES.items()
    ]


def _counted(status: pd.Series[str]) -> dict[str, Any]:
    return {"finished": int((status == "finished").sum()), "of": len(status), "other": others(status)}


def holes(scores: Scores) -> str:
    """Of how many cells of which entries there is no network; empty where all finished."""
    left = scores.cells[scores.cells["status"] != "finished"]
    parts = left.groupby("penalty", sort=False)["status"]
    entries = [f"{scores.label(str(name))} ({others(status)})" for name, status in parts]
    return f"{len(left)} of {len(scores.cells)} cells did not finish: {', '.join(entries)}" if entries else ""


def missing(cells: pd.DataFrame) -> list[dict[str, Any]]:
    """The cells that did not finish, those of one group, λ, status and reason in one row, with their log.

    Of cells that have not run, all λ of a group are one row. ``cell`` is the place of the row's first among ``cells``.
    """
    left = cells[cells["status"] != "finished"].reset_index(names="cell")
    waiting = left["status"] == NOT_RUN
    reasons = left["reason"].fillna("").mask(waiting & (left["reason"].fillna("") == ""), "it has not been trained yet")
    shown = left["lambda"].mask(waiting, "any")
    keys = ["phase", *GROUP, "shown", "status", "reason"]
    rows = []
    for key, part in left.assign(reason=reasons, shown=shown).groupby(keys, sort=False):
        values = [value for value in dict.fromkeys(part["lambda"]) if value]
        told = {"lambda": "–" if not values else values[0] if len(values) == 1 else f"{len(values)} values"}
        told |= {"seeds": ", ".join(map(str, sorted(set(part["seed"]))))}
        told |= {"log": next((str(text) for text in part["log_tail"] if text), "")}
        rows.append(dict(zip(keys, key, strict=True)) | told | {"count": len(part), "cell": int(part["cell"].iloc[0])})
    return rows
