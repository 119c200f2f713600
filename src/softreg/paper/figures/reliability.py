"""Reliability diagrams: accuracy against confidence, one figure a data set, one panel a model, one line a penalty."""

from __future__ import annotations

import math
from collections.abc import Collection
from pathlib import Path
from typing import Any

import pandas as pd
import seaborn as sns
from matplotlib import pyplot as plt
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D

from softreg.paper.figures import style
from softreg.paper.figures.style import Absent, Drawn
from softreg.paper.scores import Scores
from softreg.scoring.select import GROUP

TITLE = "Reliability of the networks' confidence"
MOST_ROWS = 4
"""Rows of panels that a page can hold."""


def draw(scores: Scores, folder: Path) -> list[Drawn | Absent]:
    """One figure for each data set; of many models, several."""
    return [entry for dataset in scores.study["datasets"] for entry in _draw_dataset(scores, dataset, folder)]


def shares_of(scores: Scores, penalties: Collection[str]) -> list[list[str]]:
    """``penalties`` in the order to show and in shares that one panel can hold, each with what is unpenalised."""
    shown = [name for name in scores.penalties if name in penalties]
    plain = [name for name in shown if scores.study["penalties"][name]["kind"] == "none"]
    shares = style.pages([name for name in shown if name not in plain], style.DISTINCT)
    return [[*plain, *share] for share in shares] or [plain]


def panels_of(points: pd.DataFrame, models: list[str], shares: list[list[str]]) -> list[tuple[str, list[str]]]:
    """(model, share) of each panel: a model's first, and those in which it has more than the first shows."""
    trained = {model: set(points.loc[points["model"] == model, "penalty"]) for model in models}
    return [
        (model, share)
        for model in models
        for share in shares
        if share is shares[0] or trained[model] & (set(share) - set(shares[0]))
    ]


def title_of(scores: Scores, panels: list[tuple[str, list[str]]], place: int) -> str:
    """The model of the panel at ``place``, and which of its panels it is where it has several."""
    model = panels[place][0]
    mine = [at for at, (name, _) in enumerate(panels) if name == model]
    which = f" ({mine.index(place) + 1} of {len(mine)})" if len(mine) > 1 else ""
    return scores.label(model) + which


def handles_of(scores: Scores, penalties: Collection[str]) -> list[Line2D]:
    """What a legend shows of ``penalties``, in the order to show."""
    looks = style.looks_of(scores)
    return [
        Line2D([], [], color=look.colour, ls=look.line, marker=look.marker, ms=3.5, mew=0, label=scores.label(name))
        for name, look in ((name, looks[name]) for name in scores.penalties if name in penalties)
    ]


def add_legend(figure: Figure, handles: list[Line2D]) -> None:
    """A legend of ``handles`` below the panels, for which the figure becomes taller."""
    width, height = figure.get_size_inches()
    columns = style.columns_for([str(handle.get_label()) for handle in handles], width)
    figure.set_size_inches(width, height + 0.17 * math.ceil(len(handles) / columns) + 0.1)
    figure.legend(handles=handles, loc="outside lower center", ncols=columns, frameon=False)


def pooled(scores: Scores, dataset: str) -> pd.DataFrame:
    """Pixels of all seeds together: model, penalty, bin, share (of the pixels), confidence, accuracy, gap.

    Confidence is the mean of the largest softmax probability in the bin, and gap is accuracy − confidence; all are
    in percent. Bins without a pixel are left out. ``seeds`` is the number of networks.
    """
    table = scores.reliability[scores.reliability["dataset"] == dataset]
    groups = table.groupby([*GROUP, "bin"], sort=False)
    sums = groups[["count", "correct", "confidence"]].sum().assign(seeds=groups["seed"].nunique()).reset_index()
    share = sums["count"] / sums.groupby(GROUP)["count"].transform("sum")
    sums = sums.assign(share=100 * share)[sums["count"] > 0]
    confidence, accuracy = (100 * sums[name] / sums["count"] for name in ("confidence", "correct"))
    rows = sums.assign(confidence=confidence, accuracy=accuracy, gap=accuracy - confidence)
    order = {name: place for place, name in enumerate(scores.penalties)}
    rows = rows.assign(order=rows["penalty"].map(order)).sort_values(["model", "order", "bin"])
    return rows[["model", "penalty", "bin", "share", "confidence", "accuracy", "gap", "seeds"]].reset_index(drop=True)


def _draw_dataset(scores: Scores, dataset: str, folder: Path) -> list[Drawn | Absent]:
    title = f"{TITLE}: {scores.label(dataset)}"
    points = pooled(scores, dataset)
    if points.empty:
        return [Absent(title, f"No network was tested on {scores.label(dataset)} yet: finish the study's final.")]
    shares = shares_of(scores, set(points["penalty"]))
    models = [name for name in scores.study["models"] if name in set(points["model"])]
    pages = style.pages(models, 3 * max(1, MOST_ROWS // len(shares)))
    entries: list[Drawn | Absent] = []
    for place, page in enumerate(pages):
        name = style.numbered(f"reliability-{dataset}", place, len(pages))
        shown = points[points["model"].isin(page)]
        with style.paper(name):
            figure = _draw_panels(scores, shown, page, shares)
            width = style.save(figure, folder, name, shown)
        caption = _caption(scores, shown, dataset, len(shares))
        entries.append(Drawn(name, width, title, caption, _alt(scores, shown, dataset)))
    return entries


def _draw_panels(scores: Scores, points: pd.DataFrame, models: list[str], shares: list[list[str]]) -> Figure:
    """For each model, and each share of the penalties, a panel and below it the share of the pixels in each bin."""
    panels = panels_of(points, models, shares)
    blocks, columns = style.grid_of(len(panels))
    figure, axes = plt.subplots(
        2 * blocks,
        columns,
        figsize=(style.PAGE if columns > 1 else style.COLUMN, (1.8 if blocks > 1 else 2.6) * blocks + 0.2),
        sharex=True,
        sharey="row",
        squeeze=False,
        layout="constrained",
        height_ratios=[3, 1] * blocks,
    )
    for place, (above, below, (model, share)) in enumerate(zip(axes[::2].flat, axes[1::2].flat, panels, strict=False)):
        above.set_title(style.wrapped(title_of(scores, panels, place), 26))
        _draw_panel(above, below, scores, points[points["model"] == model], share)
    bottom = 10.0 ** math.floor(math.log10(points["share"].min()))
    for axis in axes[1::2].flat:
        axis.set(yscale="log", ylim=(bottom, 100))
        axis.set_yticks([bottom, 100], [f"{bottom:g}", "100"])
        axis.minorticks_off()
    left, lowest = style.outer(axes)
    for place, axis in enumerate(left):
        axis.set_ylabel("pixels (%)" if place % 2 else "accuracy (%)")
    for axis in lowest:
        axis.set_xlabel("confidence (%)")
    add_legend(figure, handles_of(scores, set(points["penalty"])))
    return figure


def _draw_panel(above: Axes, below: Axes, scores: Scores, points: pd.DataFrame, penalties: list[str]) -> None:
    looks = style.looks_of(scores)
    above.plot([0, 100], [0, 100], color="#bbbbbb", lw=0.8, zorder=0)
    for penalty in penalties:
        mine = points[points["penalty"] == penalty]
        if mine.empty:
            continue
        look = looks[penalty]
        same: dict[str, Any] = {"color": look.colour, "ls": look.line, "marker": look.marker, "mew": 0, "lw": 0.9}
        above.plot(mine["confidence"], mine["accuracy"], ms=3, alpha=0.85, **same)
        below.plot(mine["confidence"], mine["share"], ms=2, alpha=0.85, **same)
    above.set(xlim=(0, 102), ylim=(0, 102), xticks=range(0, 101, 25), yticks=range(0, 101, 25))
    for axis in (above, below):
        sns.despine(ax=axis)


def _caption(scores: Scores, points: pd.DataFrame, dataset: str, shares: int) -> str:
    seeds = f"{points['seeds'].min()}"
    if points["seeds"].min() < points["seeds"].max():
        seeds += f" to {points['seeds'].max()}"
    bins = scores.reliability["bin"].max() + 1
    text = (
        f"Reliability on the test images of {scores.label(dataset)}: of the pixels whose largest softmax probability "
        f"(confidence) lies in one of {bins} equal bins, the share that is classified rightly (accuracy), against "
        "their mean confidence; below, the share of all pixels that the bin holds, on a logarithmic scale. Pixels of "
        f"the networks of all evaluation seeds (n = {seeds}) are pooled; no interval is shown. On the grey diagonal "
        "confidence is right, below it too high. Bins without a pixel are left out."
    )
    return text + (" A model with many penalties has several panels, each with a share of them." if shares > 1 else "")


def _alt(scores: Scores, points: pd.DataFrame, dataset: str) -> str:
    weighted = points.assign(gap=points["gap"] * points["share"] / 100)
    gaps = weighted.groupby(["model", "penalty"], sort=False)["gap"].sum().reset_index()
    listed = "; ".join(f"{scores.label(m)} with {scores.label(p)} {gap:+.1f}" for m, p, gap in gaps.to_numpy())
    return (
        f"Reliability diagrams on {scores.label(dataset)}. Accuracy minus mean confidence over all pixels, in points: "
        f"{listed}."
    )
