"""Test mIoU against the share of non-zero weights, over the sweep: one figure a data set, one panel a model."""

from __future__ import annotations

import math
from functools import partial
from typing import Any

import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D

from softreg.paper.figures import layout, style
from softreg.paper.figures.layout import Figures, Page, Pages
from softreg.paper.figures.style import Look
from softreg.paper.questions import sparsity
from softreg.paper.scores import Scores
from softreg.study.treatment import CONTROLS

TITLE = "Test mIoU against non-zero weights"
LOSS = 15.0
"""How many points below no penalty the axis of mIoU ends, so that networks that a penalty has ruined do not set it."""

_FRONT: dict[str, Any] = {"color": "#999999", "lw": 2.2, "alpha": 0.6}
_BELOW: dict[str, Any] = {"color": style.REFERENCE_COLOUR, "lw": 0.7, "ls": (0, (5, 3))}


def figures(scores: Scores) -> Figures:
    """One figure for each data set; see `softreg.paper.figures`."""
    return layout.of_datasets(scores, "pareto", TITLE, partial(_pages, scores))


def _pages(scores: Scores, dataset: str) -> Pages:
    points, label = sparsity.points(scores), scores.label(dataset)
    points = points[points["dataset"] == dataset]
    if not (points["kind"] != "none").any():
        return f"No network of the sweep on {label} has been scored on test yet: {scores.finish('sweep')}"
    if points.groupby(["model", "penalty"]).size().max() < 2:
        return f"Each entry has one strength on {label}, which makes no front: add strengths to its lambda."
    texts = _caption(scores, points, label), _alt(scores, points, label)
    return [Page(points, partial(_draw_panels, scores, points), *texts)]


def _draw_panels(scores: Scores, points: pd.DataFrame) -> Figure:
    models = layout.models_of(scores, points)
    labels = "non-zero weights (share of all)", "test mIoU (points)"
    figure, stacks = layout.grid([*map(scores.label, models)], 1.95, *labels, most=2)
    for (axis,), model in zip(stacks, models, strict=True):
        _draw_panel(axis, scores, points[points["model"] == model])
    layout.add_legend(figure, _handles(scores, points))
    return figure


def _draw_panel(axis: Axes, scores: Scores, points: pd.DataFrame) -> None:
    axis.set_xscale("log")
    for penalty, mine in points.groupby("penalty", sort=False):
        _draw_penalty(axis, mine, style.looks_of(scores)[str(penalty)])
    front = points[points["front"]].sort_values("nonzero")
    limits = _limits(points)
    axis.set_ylim(limits)
    low = float(points.loc[points["test_miou"] >= limits[0], "share"].min())
    axis.set_xlim(low / max((1 / low) ** 0.06, 1.05), max((1 / low) ** 0.06, 1.05))
    # To the right edge: no more weights are needed for what the last point scores.
    ends = np.append(front["share"], axis.get_xlim()[1]), np.append(front["test_miou"], front["test_miou"].iloc[-1:])
    axis.step(*ends, where="post", zorder=1, **_FRONT)
    for value in _dense(points):
        axis.axhline(value - sparsity.MARGIN, zorder=1, **_BELOW)
    layout.round_ticks(axis.xaxis, 0.155, most=1)
    axis.xaxis.set_major_formatter(lambda share, _: f"{100 * share:.3g} %")
    axis.locator_params(axis="y", nbins=6)


def _draw_penalty(axis: Axes, points: pd.DataFrame, look: Look) -> None:
    """A line through one entry's strengths, from the weakest; open markers for a control, a ring about the chosen."""
    kind = points["kind"].iloc[0]
    control = kind in CONTROLS
    x, y = points["share"].to_numpy(), points["test_miou"].to_numpy()
    same = {"lw": 0.7, "elinewidth": 0.5, "ms": 3.8 if control else 3.2}
    layout.draw_line(axis, look, x, y, points["test_se"], zorder=7 if kind == "none" else 3 if control else 4, **same)
    chosen = points["chosen"].to_numpy()
    if chosen.any():
        fill, size = ("none", 6.5) if control else (look.colour, 5)
        axis.plot(x[chosen], y[chosen], look.marker, ms=size, mfc=fill, mec="black", mew=0.7, zorder=6)


def _dense(points: pd.DataFrame) -> list[float]:
    """Mean test mIoU of each unpenalised entry."""
    return [float(value) for value in points.loc[points["kind"] == "none", "test_miou"]]


def _limits(points: pd.DataFrame) -> tuple[float, float]:
    """The axis of mIoU: all points, but none further than `LOSS` below no penalty."""
    error = points["test_se"].fillna(0)
    low, high = float((points["test_miou"] - error).min()), float((points["test_miou"] + error).max())
    low = max(low, min(_dense(points), default=-math.inf) - LOSS)
    margin = max(0.05 * (high - low), 0.2)
    return low - margin, high + margin


def _handles(scores: Scores, points: pd.DataFrame) -> list[Line2D]:
    handles = layout.handles_of(scores, points, lw=0.7, ms=4)
    for each, name in zip(handles, layout.penalties_of(scores, points), strict=True):
        if scores.kinds[name] == "none":
            each.set_linestyle("")
    handles.append(Line2D([], [], label="Pareto front", **_FRONT))
    if _dense(points):
        handles.append(Line2D([], [], label=f"{sparsity.MARGIN:g} point below", **_BELOW))
    if points["chosen"].any():
        handles.append(Line2D([], [], ls="", marker="o", ms=5.5, mfc="none", mec="black", mew=0.7, label="chosen"))
    return handles


def _caption(scores: Scores, points: pd.DataFrame, label: str) -> str:
    error = layout.errors_told(points["seeds"], "tuning")
    text = (
        f"Test mIoU (points, 0 to 100) on {label} against the share of the dense network's weights that are not zero, "
        f"over all layers, on a log scale: each point is one strength of the sweep ({error}), the line of an entry "
        "joins its strengths in order, open markers are controls. Grey steps: the Pareto front, the best mean test "
        "mIoU with at most so many weights, which is descriptive as it is picked on test."
    )
    if points["chosen"].any():
        text += (
            f" Ringed in black: of each entry the sparsest strength within {sparsity.MARGIN:g} point of no penalty on "
            "validation."
        )
    if _dense(points):
        text += f" Dashed: the test mIoU without a penalty, less {sparsity.MARGIN:g} point."
    hidden = sum(int((part["test_miou"] < _limits(part)[0]).sum()) for _, part in points.groupby("model", sort=False))
    if hidden:
        text += f" Left out: {hidden} points more than {LOSS:g} points below no penalty."
    few = points[~points["complete"]]
    if len(few):
        why = "as the race dropped them" if scores.raced else "as cells of theirs did not finish"
        text += f" {len(few)} points have fewer seeds, {why}, and are neither on the front nor ringed."
    return text + layout.lacking(scores, set(points["model"]))


def _alt(scores: Scores, points: pd.DataFrame, label: str) -> str:
    fronts = []
    for model, part in points[points["front"]].groupby("model", sort=False):
        names = ", ".join(dict.fromkeys(map(scores.label, part["penalty"])))
        fronts.append(f"{scores.label(str(model))}: {names}")
    return f"Scatter of test mIoU against the share of non-zero weights on {label}. On the front: {'; '.join(fronts)}."
