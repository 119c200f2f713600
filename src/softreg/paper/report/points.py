"""The numbers behind the interactive charts: mIoU by λ on validation and test, and against the weights that are kept.

Columns of all: dataset, model, penalty, label, lambda, miou, se, low, high (points of mIoU, 0 to 100; se is nan for one
seed), seeds (how many), mark (``chosen`` at λ̂, else empty), and x where the chart has a place of its own for a point.
"""

from __future__ import annotations

import numpy as np
import pandas as pd

from softreg.paper.scores import Scores
from softreg.scoring import records
from softreg.scoring.select import GROUP

KEYS = [*GROUP, "lambda"]
_SPREAD = 0.012
"""By how much of the axis neighbouring penalties of one λ are set apart."""


def validation(scores: Scores) -> pd.DataFrame:
    """The sweep's scores on validation, means over tuning seeds."""
    rows = scores.curves.rename(columns={"val_miou": "miou", "val_se": "se"})[[*KEYS, "miou", "se", "seeds"]]
    return _finish(scores, rows.assign(miou=100 * rows["miou"], se=100 * rows["se"]))


def test(scores: Scores) -> pd.DataFrame:
    """The sweep's cells on test: what the choice of λ never saw."""
    return _finish(scores, _mean_over_seeds(scores.sweep_test, ["miou"]))


def pareto(scores: Scores) -> pd.DataFrame:
    """Each λ of the sweep, and the final at λ̂ as ``mark``: x is the share of weights kept."""
    full = scores.weights.groupby(["dataset", "model"])["weights"].transform("max")
    kept = scores.weights.assign(x=100 * scores.weights["nonzero"] / full)
    parts = []
    for phase, cells in (("sweep", scores.sweep_test), ("final", scores.final_test)):
        measured = cells[[*records.CELL, "miou"]].merge(kept[kept["phase"] == phase], on=[*records.CELL])
        parts.append(_mean_over_seeds(measured, ["miou", "x"]).assign(phase=phase))
    rows = _finish(scores, pd.concat(parts, ignore_index=True))
    return rows.assign(mark=np.where(rows["phase"] == "final", "chosen", "")).drop(columns="phase")


def placed(rows: pd.DataFrame, family: list[str], log: bool) -> pd.DataFrame:
    """``rows`` with x: λ, moved aside by its penalty's place in ``family`` so that error bars can be seen."""
    strength = rows["lambda"].astype(float)
    high, low = strength.max(), strength[strength > 0].min()
    steps = {name: at - (len(family) - 1) / 2 for at, name in enumerate(family)}
    aside = _SPREAD * rows["penalty"].map(steps).fillna(0)
    moved = strength * max(high / low, 10) ** aside if log else strength + aside
    return rows.assign(x=moved.where(strength > 0, 0.0))


def _mean_over_seeds(cells: pd.DataFrame, measures: list[str]) -> pd.DataFrame:
    """Means of ``measures`` over seeds, each the mean over its folds, with the standard error of mIoU and n."""
    by_seed = cells.assign(miou=100 * cells["miou"]).groupby([*KEYS, "seed"], sort=False)[measures].mean()
    seeds = by_seed.groupby(KEYS, sort=False)
    return seeds.mean().assign(se=seeds["miou"].sem(), seeds=seeds.size()).reset_index()


def _finish(scores: Scores, rows: pd.DataFrame) -> pd.DataFrame:
    """``rows`` in the order to show, with labels, ends of error bars and a mark at λ̂."""
    chosen = set(scores.selection[KEYS].itertuples(index=False, name=None))
    error = rows["se"].fillna(0)
    told = rows.assign(
        label=rows["penalty"].map(scores.label),
        low=rows["miou"] - error,
        high=rows["miou"] + error,
        mark=["chosen" if key in chosen else "" for key in rows[KEYS].itertuples(index=False, name=None)],
    )
    return scores.ordered(told, "lambda").reset_index(drop=True)
