"""Whether trainings had converged: training loss and validation over the last quarter of the schedule, by entry.

A learning rate that falls to 0 makes any training look settled at its end. So "converged" is of the schedule that was
run; only a longer one shows whether more would be learnt.
"""

from __future__ import annotations

import math
from functools import lru_cache
from typing import Any

import numpy as np
import pandas as pd

from softreg.paper.questions.estimates import rows_of
from softreg.paper.scores import Scores
from softreg.paper.stats import over_seeds
from softreg.scoring.select import GROUP

LAST = 0.75
"""Share of the epochs after which the last quarter begins."""

SMALL = 0.01
"""Training loss that falls by less than this share of itself over the last quarter has converged."""

IMPROVING = "improving"

COLUMNS = [*GROUP, "first", "last", "seeds"]
COLUMNS += [f"{name}{end}" for name in ("loss", "val") for end in ("", "_slope", "_low", "_high")]
COLUMNS += ["state", "told"]


@lru_cache(maxsize=1)
def table(scores: Scores) -> pd.DataFrame:
    """A row for each entry whose final has finished cells, in the order to show: columns `COLUMNS`.

    Epochs ``first`` to ``last`` are the last quarter, or the last two where it has fewer. ``loss`` is the training loss
    (the data term) of the last epoch and ``val`` the validation mIoU there, in points, means over seeds;
    ``…_slope`` is the least-squares slope per epoch within a seed, a mean with its 95 % t-interval over seeds. That of
    validation is nan with fewer than two validations in these epochs. ``state`` and ``told`` are by `_told`.
    """
    final = scores.histories[scores.histories["phase"] == "final"]
    rows = []
    for key, mine in scores.ordered(final).groupby(GROUP, sort=False):
        last = int(mine["epoch"].max())
        first = min(math.ceil(LAST * last), max(1, last - 1))
        # Of outer folds, a seed has a network in each.
        part = mine[mine["epoch"] >= first].groupby(["seed", "epoch"], as_index=False)[["data_term", "val_miou"]].mean()
        part = part.assign(loss=part["data_term"], val=100 * part["val_miou"])
        row: dict[str, Any] = {"first": first, "last": last, "seeds": part["seed"].nunique()}
        row |= _measured(part, "loss") | _measured(part, "val")
        rows.append(dict(zip(GROUP, key, strict=True)) | row | _told(row, scores.rope))
    return pd.DataFrame(rows, columns=COLUMNS)


def _measured(part: pd.DataFrame, name: str) -> dict[str, float]:
    """The mean of the last ``name`` of each seed, and the slope over epochs with its interval over seeds."""
    by_seed = [each for _, each in part.dropna(subset=name).groupby("seed")]
    slopes = [np.polyfit(each["epoch"], each[name], 1)[0] for each in by_seed if len(each) > 1]
    found = over_seeds(slopes).interval()
    ends = {f"{name}_slope": found.mean, f"{name}_low": found.low, f"{name}_high": found.high}
    return {name: float(np.mean([each[name].iloc[-1] for each in by_seed])) if by_seed else math.nan} | ends


def _told(row: dict[str, Any], rope: float) -> dict[str, Any]:
    """The state of an entry (improving, unclear or converged), and that in words.

    What counts is validation that rises by ``rope`` or more over these epochs, or training loss that falls by `SMALL`
    of itself or more. Where the interval of such a slope over seeds leaves out 0, the entry is improving, where it does
    not, that is unclear. With one seed there is no interval, and the slope counts.
    """
    epochs = row["last"] - row["first"]
    rises = row["val_slope"] * epochs >= rope
    falls = -row["loss_slope"] * epochs >= SMALL * row["loss"]
    parts = []
    if rises and not row["val_low"] <= 0:
        parts.append(f"{row['val_slope']:.2f} points of validation mIoU")
    if falls and not row["loss_high"] >= 0:
        parts.append(f"{-row['loss_slope']:.4f} of training loss")
    if parts:
        return {"state": IMPROVING, "told": f"still improving by {' and '.join(parts)} per epoch"}
    if rises or falls:
        return {"state": "unclear", "told": "unclear: the seeds disagree"}
    return {"state": "converged", "told": "converged"}


def summary(scores: Scores) -> str:
    """How many entries had not converged, in one sentence; empty where nothing has finished."""
    frame = table(scores)
    if frame.empty:
        return ""
    improving = frame[frame["state"] == IMPROVING]
    text = f"{len(improving)} of {len(frame)} entries were still improving in the last quarter of their schedule"
    labels = dict.fromkeys(scores.label(str(row.model)) for row in rows_of(improving))
    return f"{text} ({', '.join(labels)})." if labels else f"{text}."
