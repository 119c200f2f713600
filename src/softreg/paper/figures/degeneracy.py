"""Penalties that are one at the size of a network's weights: soft and L1, smooth L1 and L2.

Drawn where a study trains them at matching strengths; the numbers are those of `softreg.paper.questions.degeneracy`.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any, cast

import numpy as np
import pandas as pd
import seaborn as sns
from matplotlib import pyplot as plt
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from softreg.paper.figures import style
from softreg.paper.figures.style import Absent, Drawn
from softreg.paper.questions import degeneracy, gain
from softreg.paper.questions.degeneracy import HUBER_L2, IDENTITY, SOFT_L1
from softreg.paper.scores import Scores
from softreg.scoring import stats

TITLE = "Penalties that are one at the size of the weights"


def draw(scores: Scores, folder: Path) -> list[Drawn | Absent]:
    """One figure for each data set and model that has such a pair; none where the study has none."""
    matches = degeneracy.matches(scores.study["penalties"])
    if matches.empty:
        return []
    points = degeneracy.points(scores)
    paired = set(matches["penalty_a"])
    groups = dict.fromkeys((dataset, model) for dataset, model, penalty in scores.groups if penalty in paired)
    return [_draw_group(scores, points, dataset, model, folder) for dataset, model in groups]


def _draw_group(scores: Scores, points: pd.DataFrame, dataset: str, model: str, folder: Path) -> Drawn | Absent:
    place = f"{scores.label(dataset)} with {scores.label(model)}"
    title = f"{TITLE}: {place}"
    points = points[(points["dataset"] == dataset) & (points["model"] == model)]
    if points[points["pair"] != IDENTITY].empty:
        reason = f"No pair of soft and L1, or smooth L1 and L2, at matching strengths has finished on {place} yet."
        return Absent(title, reason)
    estimates = degeneracy.estimates(scores, points)
    name = f"degeneracy-{dataset}-{model}"
    with style.paper(name):
        figure = _draw_panels(scores, points)
        kept = ["mean", "low", "high", "word"]
        told = estimates.rename(columns={"difference": "mean"})[["pair", *degeneracy.SIDES, *kept]]
        width = style.save(figure, folder, name, points.merge(told, on=["pair", *degeneracy.SIDES]))
    return Drawn(name, width, title, _caption(scores, points, place), _alt(scores, estimates))


def _draw_panels(scores: Scores, points: pd.DataFrame) -> Figure:
    """A column for each kind of pair; above the scores' difference, below that of the norms."""
    pairs = [pair for pair in (SOFT_L1, HUBER_L2) if pair in set(points["pair"])]
    width = style.PAGE if len(pairs) > 1 else style.COLUMN
    figure, axes = plt.subplots(
        2, len(pairs), figsize=(width, 3.9), sharex="col", sharey="row", squeeze=False, layout="constrained"
    )
    for column, pair in zip(axes.T, pairs, strict=True):
        mine = points[points["pair"] == pair]
        _draw_column(column, _lines(scores, mine), scores.rope)
        column[0].set_title(pair)
        column[1].set_xlabel(_axis_label(mine))
        handles, labels = column[0].get_legend_handles_labels()
        if labels:
            # Between the panels, so that it covers nothing.
            title = None if _over_lambda(mine) else "λ of L2"
            fits = style.columns_for(labels, width / len(pairs) - 0.6)
            column[1].legend(
                handles, labels, title=title, frameon=False, ncols=fits, loc="lower center", bbox_to_anchor=(0.5, 1)
            )
    axes[0, 0].set_ylabel("difference in\nvalidation mIoU (points)")
    axes[1, 0].set_ylabel("difference in ‖w‖₂ (%)")
    return figure


def _over_lambda(points: pd.DataFrame) -> bool:
    """Whether a pair is drawn over λ: soft is, and smooth L1 where it has one β only."""
    return points["pair"].iloc[0] == SOFT_L1 or points["beta"].nunique() == 1


def _axis_label(points: pd.DataFrame) -> str:
    if points["pair"].iloc[0] == SOFT_L1:
        return "λ of both"
    if _over_lambda(points):
        return f"λ of L2 (of smooth L1, β = {points['beta'].iloc[0]:g}: β · λ)"
    return "β of smooth L1 (λ = β · λ of L2)"


def _lines(scores: Scores, points: pd.DataFrame) -> dict[str, pd.DataFrame]:
    """The lines of a column by label, each with its ``x``: over λ, or over β for each λ of L2."""
    over_lambda = _over_lambda(points)
    x = points["strength" if over_lambda else "beta"].astype(float)
    entries = ["penalty_a", "penalty_b"] if over_lambda else ["penalty_b"]
    several = len(points[entries].drop_duplicates()) > 1
    lines: dict[str, pd.DataFrame] = {}
    for key, part in points.assign(x=x).groupby([*entries, *([] if over_lambda else ["strength"])], sort=False):
        *names, strength = [str(each) for each in (*cast(tuple[Any, ...], key), *([""] if over_lambda else []))]
        told = " − ".join(map(scores.label, names)) if several else ""
        lines[", ".join(filter(None, [told, strength]))] = part
    return lines


def _draw_column(column: Any, lines: dict[str, pd.DataFrame], rope: float) -> None:
    looks = style.looks([*lines])
    column[0].axhspan(-rope, rope, color="#dddddd", lw=0, zorder=0)
    for place, (label, part) in enumerate(lines.items()):
        # Set apart a little, where lines would cover each other.
        aside = 1.07 ** (place - (len(lines) - 1) / 2)
        for axis, value, factor in ((column[0], "difference", 1.0), (column[1], "norm", 100.0)):
            means = {x: stats.mean_interval(factor * each[value].to_numpy()) for x, each in part.groupby("x")}
            half = [0.0 if np.isnan(each.high) else each.high - each.mean for each in means.values()]
            look, x = looks[label], aside * np.array(list(means))
            means_of = [each.mean for each in means.values()]
            drawn = {"color": look.colour, "ls": look.line, "marker": look.marker, "ms": 3, "mew": 0, "label": label}
            axis.errorbar(x, means_of, half, elinewidth=0.7, **drawn)
    for axis in cast(list[Axes], list(column)):
        axis.set_xscale("log")
        axis.axhline(0, color=style.REFERENCE_COLOUR, lw=0.6, zorder=1)
        axis.locator_params(axis="y", nbins=5)
        sns.despine(ax=axis)


def _caption(scores: Scores, points: pd.DataFrame, place: str) -> str:
    counts = points.groupby(["pair", *degeneracy.SIDES])["seed"].nunique()
    n = f"{counts.min()}" if counts.min() == counts.max() else f"{counts.min()} to {counts.max()}"
    interval = f"95 % t-interval over tuning seeds, n = {n}" if counts.max() > 1 else "one tuning seed, so no interval"
    text = (
        f"Differences between penalties at matching strengths on {place}, paired by tuning seed (mean, {interval}): "
        "above in validation mIoU (points, 0 to 100; validation images held fixed), below in the norm of the penalised "
        f"weights. Grey: the region of practical equivalence, ±{scores.rope:g} points, set in advance."
    )
    if SOFT_L1 in set(points["pair"]):
        text += " Soft less L1: the article's |w| + w²/2 less |w| alone, at the same λ."
    if HUBER_L2 in set(points["pair"]):
        text += (
            " Smooth L1 with β less L2 of strength λ/β: the same penalty while no weight exceeds β, so that the "
            "difference opens where β reaches the size of the weights."
        )
    text += " Where there are several lines, they are set apart sideways a little."
    same = points.loc[points["pair"] == IDENTITY, "same"]
    if len(same):
        equal = f"{same.sum()} of {len(same)} pairs of networks are the same bits"
        text += f" soft(λ) and the elastic net (2λ, α ½) are one formula: {equal}."
    return text


def _alt(scores: Scores, estimates: pd.DataFrame) -> str:
    rows = gain.rows_of(estimates[estimates["pair"] != IDENTITY])
    listed = "; ".join(
        f"{scores.label(row.penalty_a)} less {scores.label(row.penalty_b)}, λ {row.strength}: "
        f"{row.difference:+.2f} points, norm {100 * row.norm:+.1f} %"
        for row in rows
    )
    return f"Line plots of differences between matching penalties. {listed}."
