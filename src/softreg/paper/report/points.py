"""The numbers behind the interactive charts: mIoU by λ on validation and test, and against the weights that are kept.

Columns of all: dataset, model, penalty, label, lambda, miou, se, low, high (points of mIoU, 0 to 100; se is nan for one
seed), seeds (how many), mark (``chosen`` at λ̂, else empty), and x where the chart has a place of its own for a point.
"""

from __future__ import annotations

import numpy as np
import pandas as pd

from softreg.paper.scores import Scores
from softreg.scoring.select import GROUP

_SPREAD = 0.012
"""By how much of the axis neighbouring penalties of one λ are set apart."""


def validation(scores: Scores) -> pd.DataFrame:
    """The sweep's scores on validation, means over tuning seeds."""
    rows = scores.curves.rename(columns={"val_miou": "miou", "val_se": "se"})
    return _finish(
        scores, rows[[*GROUP, "lambda", "miou", "se", "seeds"]].assign(miou=100 * rows["miou"], se=100 * rows["se"])
    )


def test(scores: Scores) -> pd.DataFrame:
    """The sweep's cells on test: what the choice of λ never saw."""
    return _finish(scores, _mean_over_seeds(_sweep_test(scores), ["miou"]))


def _sweep_test(scores: Scores) -> pd.DataFrame:
    """Test mIoU, in points, of each cell of the sweep."""
    sums = scores.sums
    rows = sums[(sums["phase"] == "sweep") & (sums["split"] == "test") & (sums["corruption"] == "")]
    return rows[[*GROUP, "lambda", "seed", "fold"]].assign(miou=100 * rows["miou"])


def _mean_over_seeds(cells: pd.DataFrame, measures: list[str]) -> pd.DataFrame:
    """Means of ``measures`` over seeds, each the mean over its folds, with the standard error of mIoU and n."""
    keys = [*GROUP, "lambda"]
    seeds = cells.groupby([*keys, "seed"], sort=False)[measures].mean().groupby(keys, sort=False)
    return seeds.mean().assign(se=seeds["miou"].sem(), seeds=seeds.size()).reset_index()


def _finish(scores: Scores, rows: pd.DataFrame) -> pd.DataFrame:
    """``rows`` in the order to show, with labels, ends of error bars and a mark at λ̂."""
    keys = [*GROUP, "lambda"]
    chosen = set(scores.selection[keys].itertuples(index=False, name=None))
    error = rows["se"].fillna(0)
    rows = rows.assign(
        label=rows["penalty"].map(scores.label),
        low=rows["miou"] - error,
        high=rows["miou"] + error,
        mark=["chosen" if key in chosen else "" for key in rows[keys].itertuples(index=False, name=None)],
    )
    places = [list(scores.study["datasets"]), list(scores.study["models"]), scores.penalties]
    order = [
        rows[key].map({name: at for at, name in enumerate(names)}) for key, names in zip(GROUP, places, strict=True)
    ]
    return rows.iloc[np.lexsort([rows["lambda"].astype(float), *order[::-1]])].reset_index(drop=True)


def placed(rows: pd.DataFrame, family: list[str], log: bool) -> pd.DataFrame:
    """``rows`` with x: λ, moved aside by its penalty's place in ``family`` so that error bars can be seen."""
    strength = rows["lambda"].astype(float)
    high, low = strength.max(), strength[strength > 0].min()
    steps = {name: at - (len(family) - 1) / 2 for at, name in enumerate(family)}
    aside = _SPREAD * rows["penalty"].map(steps).fillna(0)
    moved = strength * max(high / low, 10) ** aside if log else strength + aside
    return rows.assign(x=moved.where(strength > 0, 0.0))


def pareto(scores: Scores) -> pd.DataFrame:
    """Each λ of the sweep, and the final at λ̂ as ``mark``: x is the share of weights kept."""
    kept = _kept(scores)
    keys = [*GROUP, "lambda", "seed", "fold"]
    sweep = _sweep_test(scores).merge(kept[kept["phase"] == "sweep"], on=keys)
    final = scores.final_test.assign(miou=100 * scores.final_test["miou"]).merge(
        kept[kept["phase"] == "final"], on=keys
    )
    parts = [
        _mean_over_seeds(part, ["miou", "x"]).assign(phase=name) for part, name in ((sweep, "sweep"), (final, "final"))
    ]
    rows = _finish(scores, pd.concat(parts, ignore_index=True))
    return rows.assign(mark=np.where(rows["phase"] == "final", "chosen", "")).drop(columns="phase")


def _kept(scores: Scores) -> pd.DataFrame:
    """x of each finished cell: its weights that are not zero, in per cent of its model's largest network."""
    layers = scores.layers.assign(kept=scores.layers["weights"] - scores.layers["exact_zeros"])
    cells = (
        layers.groupby(["phase", *GROUP, "lambda", "seed", "fold"], sort=False)[["kept", "weights"]].sum().reset_index()
    )
    full = cells.groupby(["dataset", "model"])["weights"].transform("max")
    return cells.assign(x=100 * cells["kept"] / full).drop(columns=["kept", "weights"])
