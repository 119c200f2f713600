"""Differences to no penalty as forests: a row of panels a model, a panel a quantity, a line a penalty.

What no penalty has itself stands in the title of each panel, so that a difference can be read against it.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from functools import partial
from typing import Any, cast

import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.gridspec import GridSpec

from softreg.paper import stats
from softreg.paper.figures import layout, style
from softreg.paper.figures.layout import Figures, Page, Pages
from softreg.paper.questions import estimates
from softreg.paper.scores import Scores

Texts = Callable[[Scores, str, pd.DataFrame], tuple[str, str]]

LINE = 0.12
"""Inches of a line of 8-point type."""
MOST = 5
"""Panels that stand side by side."""
_NOISE = 1e-9
"""Differences that rounding makes."""


def paired(scores: Scores, values: pd.DataFrame, limits: dict[str, float] | None = None) -> pd.DataFrame:
    """Mean difference to no penalty with its 95 % t-interval over seeds: model, penalty, quantity, mean, low, high, …

    ``values`` has columns model, penalty, seed, quantity and value; ``limits`` are the most that a difference in a
    quantity can be, either way. The last column, plain, is the mean of the entry that it is compared with.
    """
    differences = scores.ordered(estimates.relative(scores, values, ["value"]))
    rows = [
        dict(zip(("model", "penalty", "quantity"), key, strict=True))
        | estimates.columns_of(stats.over_seeds(part.to_numpy(), (limits or {}).get(str(key[-1]), math.inf)))
        for key, part in differences.groupby(["model", "penalty", "quantity"], sort=False)["value"]
    ]
    return with_plain(scores, pd.DataFrame(rows), values)


def with_plain(scores: Scores, rows: pd.DataFrame, values: pd.DataFrame) -> pd.DataFrame:
    """``rows`` with plain, the mean of ``values`` over seeds of the unpenalised entry that each is compared with."""
    if rows.empty:
        return rows
    renamed = values.rename(columns={"penalty": "reference", "value": "plain"})
    own = renamed.groupby(["model", "reference", "quantity"])["plain"].mean().reset_index()
    return (
        rows.assign(reference=rows["penalty"].map(scores.references)).merge(own, how="left").drop(columns="reference")
    )


def figures(
    scores: Scores,
    stem: str,
    title: str,
    numbers: Callable[[Scores, str], pd.DataFrame],
    texts: Texts,
    rope: bool = False,
    unit: bool = True,
) -> Figures:
    """Figures of the ``numbers`` of each data set, rows as `paired` gives them; of many models, on several pages.

    ``texts`` are a page's caption and its text for those who do not see. With ``rope``, panels show the region of
    practical equivalence; with one ``unit``, which is points, those of a model one scale.
    """
    if scores.reference is None:
        return [(stem, title, estimates.NO_REFERENCE)]
    return layout.of_datasets(
        scores, stem, title, lambda name: pages(scores, name, numbers(scores, name), texts, rope, unit)
    )


def pages(
    scores: Scores, dataset: str, rows: pd.DataFrame, texts: Texts, rope: bool = False, unit: bool = True
) -> Pages:
    """The pages of one data set that show ``rows``, in their order; see `figures`."""
    if rows.empty:
        return f"No seed on {scores.label(dataset)} was tested both with and without a penalty yet."
    quantities = list(dict.fromkeys(rows["quantity"]))
    parts = style.pages(quantities, MOST)
    panels = [(model, part) for model in layout.models_of(scores, rows) for part in parts]
    found = []
    for some in style.pages(panels, max(1, int((style.TALL - 0.6) / _height(scores, rows)))):
        shown = pd.concat([rows[(rows["model"] == m) & rows["quantity"].isin(part)] for m, part in some])
        found.append(Page(shown, partial(_draw, scores, shown, some, rope, unit), *texts(scores, dataset, shown)))
    return found


def _height(scores: Scores, rows: pd.DataFrame) -> float:
    """Inches of a row of panels, with its titles and ticks."""
    return row_height(_labels(scores, rows)) * rows["penalty"].nunique() + 0.5


def row_height(labels: Sequence[str]) -> float:
    """Inches of a line of a forest with these labels."""
    return LINE * (1 + max(label.count("\n") for label in labels)) + 0.03


def _labels(scores: Scores, rows: pd.DataFrame) -> list[str]:
    return [style.wrapped(scores.label(name), 20) for name in layout.penalties_of(scores, rows)]


def _draw(scores: Scores, rows: pd.DataFrame, panels: list[tuple[str, list[str]]], rope: bool, unit: bool) -> Figure:
    columns = max(len(part) for _, part in panels)
    cells = [(model, part[place : place + 1]) for model, part in panels for place in range(columns)]
    titles = [_title(scores, rows, model, each) for model, each in cells]
    figure, stacks = layout.grid(titles, 1, "", most=columns, sharex="row" if unit else False, sharey="row")
    of_models = {model: rows[rows["model"] == model] for model, _ in panels}
    heights = [_height(scores, of_models[model]) for model, _ in panels]
    figure.set_size_inches(style.PAGE, sum(heights) + 0.2)
    cast(GridSpec, figure.axes[0].get_gridspec()).set_height_ratios(heights)
    for place, ((axis,), (model, each)) in enumerate(zip(stacks, cells, strict=True)):
        mine = of_models[model]
        axis.set_visible(bool(each))
        set_lines(axis, np.arange(mine["penalty"].nunique()), _labels(scores, mine))
        _draw_panel(axis, scores, mine, each, rope)
        if place % columns == 0:
            axis.set_ylabel(style.wrapped(scores.label(model), 14))
    points = " (points)" if unit else ""
    figure.supxlabel(f"difference to {layout.told_reference(scores, rows)}{points}", fontsize="medium")
    return figure


def _title(scores: Scores, rows: pd.DataFrame, model: str, quantity: list[str]) -> str:
    mine = rows[(rows["model"] == model) & rows["quantity"].isin(quantity)].dropna(subset="plain")
    own = dict(zip(mine["penalty"].map(scores.references), mine["plain"], strict=True))
    digits = 3 if 0 < max(own.values(), default=0) < 1 else 1
    told = [f"{scores.label(name)}: {value:.{digits}f}" for name, value in own.items()]
    return "\n".join([style.wrapped("".join(quantity), 14), *told])


def _draw_panel(axis: Axes, scores: Scores, rows: pd.DataFrame, quantity: list[str], rope: bool) -> None:
    """The lines of one quantity among ``rows``, all those of a model."""
    if rope:
        layout.show_rope(axis, scores, upright=True)
    axis.axvline(0, color=style.REFERENCE_COLOUR, lw=0.6, zorder=1)
    lines = {name: place for place, name in enumerate(layout.penalties_of(scores, rows))}
    for row in estimates.rows_of(rows[rows["quantity"].isin(quantity)]):
        look = style.looks_of(scores)[row.penalty]
        axis.hlines(lines[row.penalty], row.low, row.high, color=look.colour, lw=1)
        axis.plot([row.mean], [lines[row.penalty]], **layout.marks(look) | {"ms": 4})
    if not (rows[["mean", "low", "high"]].abs() > _NOISE).any(axis=None):
        axis.set_xlim(-1, 1)  # networks that all predict the same
    axis.locator_params(axis="x", nbins=3)


def set_lines(axis: Axes, places: Any, labels: Sequence[str]) -> None:
    """The labels of a forest's lines, at their places from the top."""
    axis.set_yticks(places, labels, linespacing=1)
    axis.set_ylim(max(places) + 0.6, -0.6)
    axis.tick_params(axis="y", length=0)
    axis.spines["left"].set_visible(False)
