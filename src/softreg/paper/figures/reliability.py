"""Reliability diagrams: accuracy against confidence, one figure a data set, one panel a model, one line a penalty."""

from __future__ import annotations

import math
from functools import partial
from pathlib import Path

import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from softreg.paper.figures import layout, style
from softreg.paper.figures.layout import Page, Pages, Panel
from softreg.paper.figures.style import Entries
from softreg.paper.scores import Scores
from softreg.scoring.select import GROUP

TITLE = "Reliability of the networks' confidence"
_MOST = 12
"""Panels that a page can hold."""


def draw(scores: Scores, folder: Path) -> Entries:
    """One figure for each data set; of many models, several."""
    return layout.write_datasets(scores, folder, "reliability", TITLE, partial(_pages, scores))


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
    columns = ["model", "penalty", "bin", "share", "confidence", "accuracy", "gap", "seeds"]
    return scores.ordered(rows, "bin").reset_index(drop=True)[columns]


def _pages(scores: Scores, dataset: str) -> Pages:
    points = pooled(scores, dataset)
    if points.empty:
        return f"No network was tested on {scores.label(dataset)} yet: {scores.finish('final')}"
    panels = layout.panels_of(scores, points)
    pages = []
    for some in style.pages(panels, _MOST):
        shown = layout.shown_in(points, some)
        caption = _caption(scores, shown, dataset) + layout.shares_told(panels)
        pages.append(Page(shown, partial(_draw_panels, scores, shown, some), caption, _alt(scores, shown, dataset)))
    return pages


def _draw_panels(scores: Scores, points: pd.DataFrame, panels: list[Panel]) -> Figure:
    """For each panel accuracy, and below it the share of the pixels in each bin."""
    labels = "confidence (%)", "accuracy (%)", "pixels (%)"
    titles, height = [panel.title for panel in panels], 1.8 if len(panels) > 3 else 2.6
    figure, stacks = layout.grid(titles, height, *labels, parts=(3, 1), sharex=True, sharey="row")
    bottom = 10.0 ** math.floor(math.log10(points["share"].min()))
    for (above, below), panel in zip(stacks, panels, strict=True):
        _draw_panel(above, below, scores, points[panel.rows(points)])
        below.set(yscale="log", ylim=(bottom, 100))
        below.set_yticks([bottom, 100], [f"{bottom:g}", "100"])
        below.minorticks_off()
    layout.add_legend(figure, layout.handles_of(scores, points))
    return figure


def _draw_panel(above: Axes, below: Axes, scores: Scores, points: pd.DataFrame) -> None:
    above.plot([0, 100], [0, 100], color="#bbbbbb", lw=0.8, zorder=0)
    for penalty, mine in points.groupby("penalty", sort=False):
        look = style.looks_of(scores)[str(penalty)]
        layout.draw_line(above, look, mine["confidence"], mine["accuracy"], lw=0.9, alpha=0.85)
        layout.draw_line(below, look, mine["confidence"], mine["share"], lw=0.9, alpha=0.85, ms=2)
    above.set(xlim=(0, 102), ylim=(0, 102), xticks=range(0, 101, 25), yticks=range(0, 101, 25))


def _caption(scores: Scores, points: pd.DataFrame, dataset: str) -> str:
    seeds, bins = layout.span(points["seeds"]), scores.reliability["bin"].max() + 1
    return (
        f"Reliability on the test images of {scores.label(dataset)}: of the pixels whose largest softmax probability "
        f"(confidence) lies in one of {bins} equal bins, the share that is classified rightly (accuracy), against "
        "their mean confidence; below, the share of all pixels that the bin holds, on a logarithmic scale. Pixels of "
        f"the networks of all evaluation seeds (n = {seeds}) are pooled; no interval is shown. On the grey diagonal "
        "confidence is right, below it too high. Bins without a pixel are left out."
    )


def _alt(scores: Scores, points: pd.DataFrame, dataset: str) -> str:
    weighted = points.assign(gap=points["gap"] * points["share"] / 100)
    gaps = weighted.groupby(["model", "penalty"], sort=False)["gap"].sum().reset_index()
    listed = "; ".join(f"{scores.label(m)} with {scores.label(p)} {gap:+.1f}" for m, p, gap in gaps.to_numpy())
    return (
        f"Reliability diagrams on {scores.label(dataset)}. Accuracy minus mean confidence over all pixels, in points: "
        f"{listed}."
    )
