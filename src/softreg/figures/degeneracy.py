"""Penalties that are one at the size of a network's weights: soft and L1, smooth L1 and L2.

Drawn where a study trains them at matching strengths: soft and L1 at the same λ; smooth L1 of λ, β and L2 of λ/β,
which are the same function while no weight exceeds β. All else of the two entries must be the same.
"""

from __future__ import annotations

from collections.abc import Iterator
from decimal import Decimal
from pathlib import Path
from typing import Any, cast

import numpy as np
import pandas as pd
import seaborn as sns
from matplotlib import pyplot as plt
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from softreg import stats
from softreg.figures import style
from softreg.figures.style import Absent, Drawn
from softreg.scores import Scores

TITLE = "Penalties that are one at the size of the weights"
_SAME = ("realisation", "weights", "models", "training")
_KEYS = ["dataset", "model", "pair", "beta", "strength"]
#: The article's formula is this elastic net; told in the caption, as there is nothing to draw.
_IDENTITY = "soft(λ) − elastic net(2λ, α ½)"
_SOFT, _HUBER = "soft − L1", "smooth L1 − L2"


def draw(scores: Scores, folder: Path) -> list[Drawn | Absent]:
    """One figure for each data set and model that has such a pair; none where the study has none."""
    matches = pd.DataFrame(_matches(scores.study["penalties"]), columns=["pair", "beta", "strength", *_SIDES])
    if matches.empty:
        return []
    if scores.study["selection"]["scorer"] == "kfold":
        return [Absent(TITLE, "With folds, a cell's score and its weights are not of the same networks.")]
    points = _points(scores, matches)
    trained = {(dataset, model) for dataset, model, penalty in scores.groups if penalty in set(matches["penalty_a"])}
    groups = [(d, m) for d in scores.study["datasets"] for m in scores.study["models"] if (d, m) in trained]
    return [_draw_group(points, dataset, model, folder) for dataset, model in groups]


_SIDES = ["penalty_a", "lambda_a", "penalty_b", "lambda_b"]


def _matches(penalties: dict[str, dict[str, Any]]) -> Iterator[tuple[Any, ...]]:
    """Pairs of (entry, λ) that should be one: pair, β, the strength of the second, and the four names."""
    for first, a in penalties.items():
        for second, b in penalties.items():
            if any(a.get(key) != b.get(key) for key in _SAME):
                continue
            if (a["kind"], b["kind"]) == ("soft", "l1"):
                yield from ((_SOFT, np.nan, x, first, x, second, x) for x in a["lambda"] if x in b["lambda"])
            if (a["kind"], b["kind"]) == ("soft", "elastic_net") and b["alpha"] == 0.5:
                for x, y in ((x, y) for x in a["lambda"] for y in b["lambda"]):
                    if 2 * Decimal(x) == Decimal(y):
                        yield (_IDENTITY, np.nan, y, first, x, second, y)
            if (a["kind"], b["kind"]) == ("smooth_l1", "l2"):
                for x, y in ((x, y) for x in a["lambda"] for y in b["lambda"]):
                    # In decimals, as they are written: 3e-5/0.03 is 1e-3, but not so in binary fractions.
                    if Decimal(x) == Decimal(str(a["beta"])) * Decimal(y):
                        yield (_HUBER, a["beta"], y, first, x, second, y)


def _points(scores: Scores, matches: pd.DataFrame) -> pd.DataFrame:
    """For each pair, data set, model and tuning seed: what the two cells differ by.

    ``difference`` is in points of validation mIoU, ``norm`` the relative difference of ‖w‖₂, ``zeros`` that of the
    share of exact zeros in points, ``same`` whether the two networks' weights are the same bits.
    """
    cells = scores.cells[(scores.cells["phase"] == "sweep") & (scores.cells["status"] == "finished")]
    keys = ["dataset", "model", "penalty", "lambda", "seed"]
    measured = scores.sweep_seeds.merge(cells, on=keys)
    columns = [*keys, "miou", "norm_l2", "exact_zeros", "penalised", "weights_sha256"]
    a, b = (
        measured[columns].rename(columns={"penalty": f"penalty_{side}", "lambda": f"lambda_{side}"}) for side in "ab"
    )
    shared = ["dataset", "model", "seed"]
    both = matches.merge(a, on=["penalty_a", "lambda_a"]).merge(b, on=["penalty_b", "lambda_b", *shared])
    zeros = both["exact_zeros_x"] / both["penalised_x"] - both["exact_zeros_y"] / both["penalised_y"]
    return both.assign(
        difference=100 * (both["miou_x"] - both["miou_y"]),
        norm=(both["norm_l2_x"] / both["norm_l2_y"] - 1),
        zeros=100 * zeros,
        same=both["weights_sha256_x"] == both["weights_sha256_y"],
    )[[*_KEYS, *_SIDES, "seed", "difference", "norm", "zeros", "same"]]


def _draw_group(points: pd.DataFrame, dataset: str, model: str, folder: Path) -> Drawn | Absent:
    title = f"{TITLE}: {dataset}, {model}"
    points = points[(points["dataset"] == dataset) & (points["model"] == model)]
    if points[points["pair"] != _IDENTITY].empty:
        return Absent(title, f"No pair of matching cells has finished on {dataset} with {model} yet.")
    name = f"degeneracy-{dataset}-{model}"
    with style.paper(name):
        figure = _draw_panels(points)
        width = style.save(figure, folder, name, points)
    return Drawn(name, width, title, _caption(points), _alt(points))


def _draw_panels(points: pd.DataFrame) -> Figure:
    """A column for each kind of pair; above the scores' difference, below that of the norms."""
    pairs = [pair for pair in (_SOFT, _HUBER) if pair in set(points["pair"])]
    width = style.PAGE if len(pairs) > 1 else style.COLUMN
    figure, axes = plt.subplots(
        2, len(pairs), figsize=(width, 3.5), sharex="col", sharey="row", squeeze=False, layout="constrained"
    )
    for column, pair in zip(axes.T, pairs, strict=True):
        part = points[points["pair"] == pair]
        _draw_column(column, part, "strength" if pair == _SOFT else "beta")
        column[0].set_title(pair)
        column[1].set_xlabel("λ of both" if pair == _SOFT else "β of smooth L1 (λ = β · λ of L2)")
        if pair == _HUBER:
            column[0].legend(title="λ of L2", frameon=False, ncols=3, loc="best")
    axes[0, 0].set_ylabel("difference in\nvalidation mIoU (points)")
    axes[1, 0].set_ylabel("difference in ‖w‖₂ (%)")
    return figure


def _draw_column(column: Any, points: pd.DataFrame, x: str) -> None:
    lines = [("", points)] if x == "strength" else [(str(key), part) for key, part in points.groupby("strength")]
    looks = style.looks([label for label, _ in lines])
    for label, part in lines:
        for axis, value, factor in ((column[0], "difference", 1.0), (column[1], "norm", 100.0)):
            grouped = part.assign(x=part[x].astype(float)).groupby("x")[value]
            mean, error = factor * grouped.mean(), factor * grouped.agg(stats.standard_error).fillna(0)
            look = looks[label]
            axis.errorbar(
                mean.index, mean, error, color=look.colour, ls=look.line, marker=look.marker, ms=3, mew=0, label=label
            )
    for axis in cast(list[Axes], list(column)):
        axis.set_xscale("log")
        axis.axhline(0, color=style.REFERENCE_COLOUR, lw=0.6, zorder=1)
        axis.locator_params(axis="y", nbins=5)
        sns.despine(ax=axis)


def _caption(points: pd.DataFrame) -> str:
    n = points["seed"].nunique()
    text = (
        f"Differences between penalties at matching strengths, paired by tuning seed (mean ± standard error, n = {n}): "
        "above in validation mIoU (points, 0 to 100), below in the norm of the penalised weights."
    )
    if _SOFT in set(points["pair"]):
        text += " Left: the article's |w| + w²/2 less |w| alone, at the same λ."
    if _HUBER in set(points["pair"]):
        text += (
            " Smooth L1 with β less L2 of strength λ/β: the same penalty while no weight exceeds β, so that the "
            "difference opens where β reaches the size of the weights."
        )
    same = points.loc[points["pair"] == _IDENTITY, "same"]
    if len(same):
        equal = f"{same.sum()} of {len(same)} networks are the same bits"
        text += f" soft(λ) and the elastic net (2λ, α ½) are one formula: {equal}."
    return text


def _alt(points: pd.DataFrame) -> str:
    means = points.groupby(["pair", "beta", "strength"], dropna=False)[["difference", "norm"]].mean().reset_index()
    rows = means.itertuples(index=False, name=None)
    listed = "; ".join(
        f"{pair}{'' if np.isnan(beta) else f', β {beta:g}'}, λ {strength}: {difference:+.2f} points, "
        f"norm {100 * norm:+.1f} %"
        for pair, beta, strength, difference, norm in rows
    )
    return f"Line plots of differences between matching penalties. {listed}."
