"""Penalties that are one at the size of a network's weights: soft and L1, smooth L1 and L2.

Drawn where a study trains them at matching strengths; the numbers are those of `softreg.paper.questions.degeneracy`.
"""

from __future__ import annotations

from functools import partial
from typing import Any

import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from softreg.paper.figures import layout, style
from softreg.paper.figures.layout import Figures, Page, Pages
from softreg.paper.questions import degeneracy
from softreg.paper.questions.answer import RACED
from softreg.paper.questions.degeneracy import HUBER_L2, IDENTITY, SOFT_L1
from softreg.paper.questions.estimates import rows_of
from softreg.paper.scores import Scores
from softreg.paper.stats import over_seeds

TITLE = "Penalties that are one at the size of the weights"

_FEWEST_SEEDS = 3


def figures(scores: Scores) -> Figures:
    """One figure for each data set and model that has such a pair; none where the study has none."""
    matches = degeneracy.matches(scores.study["penalties"])
    if matches.empty:
        return []
    if scores.raced:
        return [("degeneracy", TITLE, RACED)]
    make = partial(_pages, scores, degeneracy.points(scores))
    return layout.of_models(scores, "degeneracy", TITLE, make, set(matches["penalty_a"]))


def _pages(scores: Scores, points: pd.DataFrame, dataset: str, model: str, place: str) -> Pages:
    points = points[(points["dataset"] == dataset) & (points["model"] == model)]
    if points[points["pair"] != IDENTITY].empty:
        return f"No pair of soft and L1, or smooth L1 and L2, at matching strengths has finished for {place} yet."
    seeds = points["seed"].nunique()
    if seeds < _FEWEST_SEEDS:
        return f"Differences paired by seed need at least {_FEWEST_SEEDS} tuning seeds; for {place} there are {seeds}."
    estimates = degeneracy.estimates(scores, points)
    keys = ["pair", *degeneracy.SIDES]
    told = estimates.rename(columns={"difference": "mean"})[[*keys, "mean", "low", "high", "word"]]
    texts = _caption(scores, points, place), _alt(scores, estimates)
    return [Page(points.merge(told, on=keys), partial(_draw_panels, scores, points), *texts)]


def _draw_panels(scores: Scores, points: pd.DataFrame) -> Figure:
    """A column for each kind of pair; above the scores' difference, below that of the norms."""
    pairs = [pair for pair in (SOFT_L1, HUBER_L2) if pair in set(points["pair"])]
    labels = "", "difference in\nvalidation mIoU (points)", "difference in ‖w‖₂ (%)"
    figure, stacks = layout.grid(pairs, 3.7, *labels, parts=(1, 1), sharex="col", sharey="row")
    for (above, below), pair in zip(stacks, pairs, strict=True):
        mine = points[points["pair"] == pair]
        _draw_column(above, below, _lines(scores, mine), scores)
        below.set_xlabel(_axis_label(mine))
        handles, labels_of = above.get_legend_handles_labels()
        if labels_of:
            # Between the panels, so that it covers nothing.
            title = None if _over_lambda(mine) else "λ of L2"
            fits = style.columns_for(labels_of, figure.get_figwidth() / len(pairs) - 0.6)
            place: dict[str, Any] = {"loc": "lower center", "bbox_to_anchor": (0.5, 1)}
            below.legend(handles, labels_of, title=title, frameon=False, ncols=fits, **place)
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
    entries = points[["penalty_a", "penalty_b"] if over_lambda else ["penalty_b"]]
    several = len(entries.drop_duplicates()) > 1
    told = [" − ".join(map(scores.label, names)) if several else "" for names in entries.to_numpy()]
    strengths = [""] * len(points) if over_lambda else points["strength"]
    labels = [", ".join(filter(None, each)) for each in zip(told, strengths, strict=True)]
    return {str(label): part for label, part in points.assign(x=x, label=labels).groupby("label", sort=False)}


def _draw_column(above: Axes, below: Axes, lines: dict[str, pd.DataFrame], scores: Scores) -> None:
    looks = style.looks([*lines])
    layout.show_rope(above, scores)
    below.axhline(0, color=style.REFERENCE_COLOUR, lw=0.6, zorder=1)
    for place, (label, part) in enumerate(lines.items()):
        for axis, value, factor in ((above, "difference", 1.0), (below, "norm", 100.0)):
            means = {x: over_seeds(factor * each[value].to_numpy()).interval() for x, each in part.groupby("x")}
            table = pd.DataFrame([vars(each) for each in means.values()])
            # Set apart a little, where lines would cover each other.
            x = np.array([*means]) * 1.07 ** layout.apart(place, len(lines))
            layout.draw_line(axis, looks[label], x, table["mean"], layout.ends(table), label=label)
    for axis in (above, below):
        axis.set_xscale("log")
        layout.show_powers(axis.xaxis)
        axis.locator_params(axis="y", nbins=5)


def _caption(scores: Scores, points: pd.DataFrame, place: str) -> str:
    counts = points.groupby(["pair", *degeneracy.SIDES])["seed"].nunique()
    interval = f"95 % t-interval over tuning seeds, n = {layout.span(counts)}"
    text = (
        f"Differences between penalties at matching strengths, {place}, paired by tuning seed (mean, {interval}): "
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
    rows = rows_of(estimates[estimates["pair"] != IDENTITY])
    listed = "; ".join(
        f"{scores.label(row.penalty_a)} less {scores.label(row.penalty_b)}, λ {row.strength}: "
        f"{row.difference:+.2f} points, norm {100 * row.norm:+.1f} %"
        for row in rows
    )
    return f"Line plots of differences between matching penalties. {listed}."
