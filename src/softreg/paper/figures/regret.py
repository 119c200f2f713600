"""What a choice of λ loses against its budget: one figure a data set, one panel a model, one line a strategy."""

from __future__ import annotations

from pathlib import Path

import pandas as pd
import seaborn as sns
from matplotlib import pyplot as plt
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from matplotlib.ticker import SymmetricalLogLocator

from softreg.paper.figures import style
from softreg.paper.figures.reliability import add_legend
from softreg.paper.figures.style import Absent, Drawn
from softreg.paper.questions import regret
from softreg.paper.questions.estimates import number
from softreg.paper.scores import Scores

TITLE = "What a choice of λ loses, against its budget"
MOST_ROWS = 4
"""Rows of panels that a page can hold."""


def draw(scores: Scores, folder: Path) -> list[Drawn | Absent]:
    """One figure for each data set; of many models, several."""
    if len(scores.study["seeds"]["tuning"]) < 2:
        return [Absent(TITLE, regret.FEW_SEEDS)]
    found = regret.regrets(regret.sweeps(scores))
    if found.empty:
        return [Absent(TITLE, regret.absence(scores))]
    table = regret.means(scores, found)
    return [entry for dataset in scores.study["datasets"] for entry in _draw_dataset(scores, table, dataset, folder)]


def _draw_dataset(scores: Scores, table: pd.DataFrame, dataset: str, folder: Path) -> list[Drawn | Absent]:
    title = f"{TITLE}: {scores.label(dataset)}"
    points = table[table["dataset"] == dataset].drop(columns=["dataset", "p"])
    if points.empty:
        return [
            Absent(title, f"No sweep on {scores.label(dataset)} has its test scores yet: finish the study's sweep.")
        ]
    models = [name for name in scores.study["models"] if name in set(points["model"])]
    pages = style.pages(models, 3 * MOST_ROWS)
    entries: list[Drawn | Absent] = []
    for place, page in enumerate(pages):
        name = style.numbered(f"regret-{dataset}", place, len(pages))
        shown = points[points["model"].isin(page)]
        with style.paper(name):
            figure = _draw_panels(scores, shown, page)
            width = style.save(figure, folder, name, shown)
        entries.append(Drawn(name, width, title, _caption(scores, shown, dataset), _alt(scores, shown, dataset)))
    return entries


def _draw_panels(scores: Scores, points: pd.DataFrame, models: list[str]) -> Figure:
    rows, columns = style.grid_of(len(models))
    figure, axes = plt.subplots(
        rows,
        columns,
        figsize=(style.PAGE if columns > 1 else style.COLUMN, (1.6 if rows > 1 else 1.9) * rows + 0.25),
        sharex=True,
        sharey=True,
        squeeze=False,
        layout="constrained",
    )
    for axis, model in zip(axes.flat, models, strict=False):
        axis.set_title(style.wrapped(scores.label(model), 26))
        _draw_panel(axis, scores, points[points["model"] == model])
    left, lowest = style.outer(axes)
    for axis in left:
        axis.set_ylabel("mIoU lost (points)")
    for axis in lowest:
        axis.set_xlabel("networks trained to choose λ")
    add_legend(figure, _handles(points))
    return figure


def _draw_panel(axis: Axes, scores: Scores, points: pd.DataFrame) -> None:
    axis.axhspan(-scores.rope, scores.rope, color="#dddddd", lw=0, zorder=0)
    axis.axhline(0, color=style.REFERENCE_COLOUR, lw=0.6, zorder=1)
    for strategy, look in _LOOKS.items():
        mine = points[points["strategy"] == strategy]
        for _, part in mine[mine["penalty"] != ""].groupby("penalty", sort=False):
            axis.plot(part["budget"], part["mean"], color=look.colour, lw=0.4, alpha=0.4, zorder=2)
        over = mine[mine["penalty"] == ""]
        if len(over):
            axis.plot(over["budget"], over["mean"], color=look.colour, ls=look.line, lw=1.2, zorder=4)
            axis.errorbar(
                over["budget"],
                over["mean"],
                [over["mean"] - over["low"], over["high"] - over["mean"]],
                color=look.colour,
                ls="",
                marker=look.marker,
                ms=3.5,
                mew=0,
                elinewidth=0.6,
                zorder=5,
            )
    axis.set_xscale("log", base=2)
    axis.xaxis.set_major_formatter("{x:g}")
    # Linear up to one point, which is what matters; a few networks may lose tens of points.
    axis.set_yscale("symlog", linthresh=1)
    axis.yaxis.set_major_locator(SymmetricalLogLocator(base=10, linthresh=1, subs=(1, 3)))
    axis.yaxis.set_major_formatter("{x:g}")
    sns.despine(ax=axis)


_LOOKS = style.looks(list(regret.STRATEGIES))


def _handles(points: pd.DataFrame) -> list[Line2D]:
    seen = set(points["strategy"])
    return [
        Line2D([], [], color=look.colour, ls=look.line, marker=look.marker, ms=3.5, mew=0, lw=1.2, label=strategy)
        for strategy, look in _LOOKS.items()
        if strategy in seen
    ]


def _caption(scores: Scores, points: pd.DataFrame, dataset: str) -> str:
    pooled = points[points["penalty"] == ""]
    penalties, seeds = pooled["penalties"].max(), pooled["seeds"].max()
    means = (
        f"Thick lines: means over {seeds} held-out seeds and {penalties} penalties, with 95 % intervals (seeds and "
        "penalties crossed; test images held fixed); thin lines: single penalties. "
        if penalties > 1
        else f"Means over {seeds} held-out seeds, with 95 % intervals (over seeds; test images held fixed). "
    )
    text = (
        f"Loss of test mIoU on {scores.label(dataset)} by the way of choosing λ, against the number of networks "
        "trained for it: test mIoU of the λ that the test scores of the other tuning seeds choose, less that of the λ "
        f"chosen, both on a held-out seed. {means}"
        "The axis is linear up to one point and logarithmic beyond. "
        f"Grey: the region of practical equivalence, ±{scores.rope:g} points. Below 0 the λ chosen was the better one, "
        "for a choice by test scores of a few seeds is a noisy one too."
    )
    if regret.KFOLD not in set(points["strategy"]):
        text += " The study has no K-fold scores, so that is not shown."
    return text


def _alt(scores: Scores, points: pd.DataFrame, dataset: str) -> str:
    pooled = points[points["penalty"] == ""].sort_values("budget", kind="stable")
    last = pooled.groupby(["model", "strategy"], sort=False)[["budget", "mean"]].last().reset_index()
    rows = last[["model", "strategy", "budget", "mean"]].to_numpy()
    listed = "; ".join(
        f"{scores.label(m)}, {strategy} {number(mean)} at {budget:.0f}" for m, strategy, budget, mean in rows
    )
    return f"Line plots of test mIoU lost against networks trained on {scores.label(dataset)}, in points. {listed}."
