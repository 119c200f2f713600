"""What a choice of λ loses against its budget: one figure a data set, one panel a model, one line a strategy."""

from __future__ import annotations

from functools import partial

import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import SymmetricalLogLocator

from softreg.paper.figures import layout, style
from softreg.paper.figures.layout import Figures, Page, Pages
from softreg.paper.questions import regret
from softreg.paper.questions.estimates import number
from softreg.paper.scores import Scores

TITLE = "What a choice of λ loses, against its budget"
_MOST = 12
"""Panels that a page can hold."""
_LOOKS = style.looks(list(regret.STRATEGIES))


def figures(scores: Scores) -> Figures:
    """One figure for each data set; of many models, several."""
    if why := regret.unanswerable(scores):
        return [("regret", TITLE, why)]
    *_, table = regret.worked_out(scores)
    if table.empty:
        return [("regret", TITLE, regret.absence(scores))]
    return layout.of_datasets(scores, "regret", TITLE, partial(_pages, scores, table))


def _pages(scores: Scores, table: pd.DataFrame, dataset: str) -> Pages:
    points = table[table["dataset"] == dataset].drop(columns=["dataset", "p"])
    if points.empty:
        return f"No sweep on {scores.label(dataset)} has its test scores yet: {scores.finish('sweep')}"
    pages = []
    for models in style.pages(layout.models_of(scores, points), _MOST):
        shown = points[points["model"].isin(models)]
        texts = _caption(scores, shown, dataset), _alt(scores, shown, dataset)
        pages.append(Page(shown, partial(_draw_panels, scores, shown, models), *texts))
    return pages


def _draw_panels(scores: Scores, points: pd.DataFrame, models: list[str]) -> Figure:
    labels = "networks trained to choose λ", "mIoU lost (points)"
    height = 1.6 if len(models) > 3 else 1.9
    figure, stacks = layout.grid([*map(scores.label, models)], height, *labels, sharex=True, sharey=True)
    for (axis,), model in zip(stacks, models, strict=True):
        _draw_panel(axis, scores, points[points["model"] == model])
    seen = set(points["strategy"])
    layout.add_legend(figure, [layout.handle(look, name, lw=1.2) for name, look in _LOOKS.items() if name in seen])
    return figure


def _draw_panel(axis: Axes, scores: Scores, points: pd.DataFrame) -> None:
    layout.show_rope(axis, scores)
    for strategy, look in _LOOKS.items():
        mine = points[points["strategy"] == strategy]
        for _, part in mine[mine["penalty"] != ""].groupby("penalty", sort=False):
            axis.plot(part["budget"], part["mean"], color=look.colour, lw=0.4, alpha=0.4, zorder=2)
        over = mine[mine["penalty"] == ""]
        layout.draw_line(axis, look, over["budget"], over["mean"], layout.ends(over), ms=3.5, lw=1.2, zorder=4)
    axis.set_xscale("log", base=2)
    axis.xaxis.set_major_formatter("{x:g}")
    # Linear up to one point, which is what matters; a few networks may lose tens of points.
    axis.set_yscale("symlog", linthresh=1)
    axis.yaxis.set_major_locator(SymmetricalLogLocator(base=10, linthresh=1, subs=(1, 3)))
    axis.yaxis.set_major_formatter("{x:g}")


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
    listed = "; ".join(
        f"{scores.label(m)}, {strategy} {number(mean)} at {budget:.0f}" for m, strategy, budget, mean in last.to_numpy()
    )
    return f"Line plots of test mIoU lost against networks trained on {scores.label(dataset)}, in points. {listed}."
