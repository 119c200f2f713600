"""IoU of each class on test: markers with intervals, or, for many classes and penalties, a map of differences."""

from __future__ import annotations

from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import seaborn as sns
from matplotlib.axes import Axes
from matplotlib.cm import ScalarMappable
from matplotlib.colors import BoundaryNorm, ListedColormap
from matplotlib.figure import Figure

from softreg.paper.figures import layout, style
from softreg.paper.figures.layout import Page, Pages
from softreg.paper.figures.style import Entries
from softreg.paper.questions import estimates
from softreg.paper.scores import Scores
from softreg.scoring import stats

TITLE = "IoU of each class"
_MARKERS = 66
"""Up to so many markers in a panel, of no more penalties than there are colours, can be told apart."""
_STEP, _LINE = 0.05, 0.15
"""Inches that a marker takes of a class's row, and that a class takes in the map."""
_SHADES = 4
"""Shades on either side of no difference in the map."""
_COLUMNS = ["model", "penalty", "class", "mean", "low", "high", "n"]


@dataclass(frozen=True)
class _Plan:
    """What the panels of one data set show: ``numbers`` in points, with the columns `_COLUMNS`."""

    numbers: pd.DataFrame
    classes: list[str]
    penalties: list[str]
    as_map: bool


def draw(scores: Scores, folder: Path) -> Entries:
    """For each data set one figure, or several where its models do not fit on a page; see `softreg.paper.figures`."""
    return layout.write_datasets(scores, folder, "class_iou", TITLE, partial(_pages, scores))


def _pages(scores: Scores, dataset: str) -> Pages:
    plan = _plan(scores, dataset)
    if isinstance(plan, str):
        return plan
    pages = []
    below = 0.45 + _names_height(scores, plan) if plan.as_map else 0.7
    most = 3 * max(1, int((style.TALL - below) / _panel_height(scores, plan)))
    for models in style.pages(layout.models_of(scores, plan.numbers), most):
        numbers = plan.numbers[plan.numbers["model"].isin(models)]
        texts = _caption(scores, plan, numbers, dataset), _alt(scores, plan, numbers, dataset)
        draw_page = _draw_maps if plan.as_map else _draw_marker_panels
        pages.append(Page(numbers, partial(draw_page, scores, plan, models), *texts))
    return pages


def _plan(scores: Scores, dataset: str) -> _Plan | str:
    """What to show of a data set, or the sentence that says why there is nothing."""
    points = scores.class_iou[scores.class_iou["dataset"] == dataset]
    if points["iou"].isna().all():
        return f"No final cell on {scores.label(dataset)} has a test score yet."
    classes = _sorted_classes(scores, points)
    penalties = layout.penalties_of(scores, points)
    if len(penalties) <= style.DISTINCT and len(penalties) * len(classes) <= _MARKERS:
        return _Plan(_summary(points.assign(value=100 * points["iou"])), classes, penalties, False)
    differences = _differences(scores, points)
    if differences.empty:
        return (
            f"Classes and penalties on {scores.label(dataset)} are too many to show but as differences: add an entry "
            "of kind none to the study, or await its cells."
        )
    compared = [name for name in penalties if name in set(differences["penalty"])]
    return _Plan(_summary(differences), classes, compared, True)


def _sorted_classes(scores: Scores, points: pd.DataFrame) -> list[str]:
    """The classes by mean IoU without a penalty (over all penalties where the study has none), the highest first.

    Classes that no cell has on test come last.
    """
    plain = points[points["penalty"] == scores.reference]
    means = (points if plain.empty else plain).groupby("class", sort=False)["iou"].mean()
    return [str(name) for name in means.sort_values(ascending=False, kind="stable").index]


def _differences(scores: Scores, points: pd.DataFrame) -> pd.DataFrame:
    """``points`` with ``value``: IoU less that of the reference for the same model, class and seed, in points."""
    rows = layout.in_order(scores, estimates.relative(scores, points, ["iou"]), ["penalty"])
    return rows.assign(value=100 * rows["iou"])


def _summary(points: pd.DataFrame) -> pd.DataFrame:
    """Mean of ``value`` and its 95 % t-interval over seeds, with the columns `_COLUMNS`."""
    rows = []
    for (model, penalty, name), part in points.groupby(["model", "penalty", "class"], sort=False):
        interval = stats.mean_interval(part["value"].to_numpy())
        rows.append((model, penalty, name, interval.mean, interval.low, interval.high, interval.n))
    return pd.DataFrame(rows, columns=_COLUMNS)


def _columns_of(scores: Scores, plan: _Plan, model: str) -> list[str]:
    """The penalties of the plan that the study asks of a model."""
    asked = {penalty for _, name, penalty in scores.groups if name == model}
    return [name for name in plan.penalties if name in asked]


def _panel_height(scores: Scores, plan: _Plan) -> float:
    """Inches of a panel; a map has the names of its penalties below, where models do not all have the same."""
    row = _LINE if plan.as_map else _STEP * len(plan.penalties) + 0.06
    models = layout.models_of(scores, plan.numbers)
    alike = all(_columns_of(scores, plan, model) == plan.penalties for model in models)
    names = 0 if alike or not plan.as_map else _names_height(scores, plan)
    titles = 0.13 * layout.lines_in(map(scores.label, models))
    return max(0.6, row * len(plan.classes)) + titles + names + (0.1 if plan.as_map else 0.25)


def _names_height(scores: Scores, plan: _Plan) -> float:
    """Inches that the names of the penalties take where they stand upright."""
    return 0.065 * max(len(scores.label(name)) for name in plan.penalties)


def _draw_marker_panels(scores: Scores, plan: _Plan, models: list[str]) -> Figure:
    titles, height = [*map(scores.label, models)], _panel_height(scores, plan)
    figure, stacks = layout.grid(titles, height, "test IoU (points)", "", sharex=True, sharey=True)
    for (axis,), model in zip(stacks, models, strict=True):
        _draw_markers(axis, scores, plan, plan.numbers[plan.numbers["model"] == model])
    stacks[0][0].set_yticks(range(len(plan.classes)), plan.classes)
    layout.add_legend(figure, layout.handles_of(scores, plan.numbers, lw=0.7, ls="-"))
    return figure


def _draw_markers(axis: Axes, scores: Scores, plan: _Plan, numbers: pd.DataFrame) -> None:
    """A row for each class; in it a marker for each penalty, one below the other."""
    looks, size = style.looks_of(scores), len(plan.penalties)
    places = {name: place for place, name in enumerate(plan.classes)}
    step = _STEP / (_STEP * size + 0.06)
    for place, penalty in enumerate(plan.penalties):
        mine, look = numbers[numbers["penalty"] == penalty], looks[penalty]
        y = mine["class"].map(places).to_numpy(float) + (place - (size - 1) / 2) * step
        axis.hlines(y, mine["low"], mine["high"], color=look.colour, lw=0.7)
        axis.plot(mine["mean"], y, look.marker, ms=3, mew=0, color=look.colour)
    for place in range(1, len(plan.classes)):
        axis.axhline(place - 0.5, color="#dddddd", lw=0.5, zorder=0)
    axis.set_ylim(len(plan.classes) - 0.5, -0.5)
    axis.locator_params(axis="x", nbins=5)
    axis.tick_params(axis="y", length=0)
    axis.spines["left"].set_visible(False)


def _steps(numbers: pd.DataFrame) -> list[float]:
    """Where the map's shades change: at round numbers, such that all but a twentieth of the cells lie between."""
    size = float(numbers["mean"].abs().quantile(0.95))
    unit = next((unit for unit in (0.05, 0.1, 0.2, 0.5, 1, 2, 5) if (_SHADES + 1) * unit >= size), 10)
    return [place * unit for place in range(-_SHADES, _SHADES + 1) if place]


def _shading(steps: list[float]) -> tuple[ListedColormap, BoundaryNorm]:
    """Red is worse, blue better; the colour-blind can tell these apart."""
    colours = ListedColormap(sns.color_palette("RdBu", len(steps) + 1).as_hex())
    return colours, BoundaryNorm(steps, colours.N, extend="both")


def _draw_maps(scores: Scores, plan: _Plan, models: list[str]) -> Figure:
    """A map for each model, as wide against the others as it has columns, and the scale of all below."""
    steps = _steps(plan.numbers)
    of = {model: _columns_of(scores, plan, model) for model in models}
    columns = min(len(models), 3)
    alike = all(names == plan.penalties for names in of.values())
    below = 0.45 + (_names_height(scores, plan) if alike else 0)
    figure, stacks = layout.grid(
        [*map(scores.label, models)],
        _panel_height(scores, plan),
        "",
        width_ratios=[max(len(of[model]) for model in models[place::columns]) for place in range(columns)],
        sharex=alike,
        sharey=True,
    )
    figure.set_figheight(figure.get_figheight() + below)
    for (axis,), model in zip(stacks, models, strict=True):
        _draw_map(axis, scores, plan, model, of[model], steps)
    _draw_scale(figure, steps)
    return figure


def _draw_map(axis: Axes, scores: Scores, plan: _Plan, model: str, penalties: list[str], steps: list[float]) -> None:
    """A cell for each class and penalty; a dot where the interval leaves out 0, a cross where there is no number."""
    colours, norm = _shading(steps)
    mine = plan.numbers[plan.numbers["model"] == model]
    values, low, high = (
        mine.pivot(index="class", columns="penalty", values=part).reindex(index=plan.classes, columns=penalties)
        for part in ("mean", "low", "high")
    )
    values = values.set_axis([*map(scores.label, penalties)], axis=1)
    edges: dict[str, Any] = {"linewidths": 0.5, "linecolor": "white", "xticklabels": True, "yticklabels": True}
    sns.heatmap(values, ax=axis, cmap=colours, norm=norm, cbar=False, **edges)
    for there, marker, edge in (((low > 0) | (high < 0), "o", "white"), (values.isna(), "x", "#888888")):
        y, x = np.nonzero(there)
        axis.plot(x + 0.5, y + 0.5, marker, ms=3, color="black", mec=edge, mew=0.5)
    axis.set(xlabel="", ylabel="")
    axis.tick_params(length=0, rotation=0)
    axis.tick_params(axis="x", rotation=90)


def _draw_scale(figure: Figure, steps: list[float]) -> None:
    colours, norm = _shading(steps)
    bar = figure.colorbar(
        ScalarMappable(norm, colours), ax=figure.axes, location="bottom", aspect=45, shrink=0.8, pad=0.04, ticks=steps
    )
    bar.set_ticks(steps, labels=[f"{step:+g}".replace("-", "−") for step in steps])
    bar.set_label("difference in test IoU (points)")
    bar.outline.set_linewidth(0.4)


def _caption(scores: Scores, plan: _Plan, numbers: pd.DataFrame, dataset: str) -> str:
    counts = numbers.loc[numbers["n"] > 0, "n"]
    n = layout.span(counts)
    tell = _map_caption if plan.as_map else _marker_caption
    text = tell(scores, plan, scores.label(dataset), n)
    if plan.as_map and len(numbers.dropna(subset="mean")) < _cells(scores, plan, numbers):
        text += " Crosses: no pair of finished cells, or no such class in the test images."
    order = "the mean of all penalties" if scores.reference is None else scores.label(scores.reference)
    text += f" Classes by their IoU with {order}."
    return text + layout.lacking(scores, set(plan.numbers["model"]))


def _cells(scores: Scores, plan: _Plan, numbers: pd.DataFrame) -> int:
    """How many cells the maps have."""
    return len(plan.classes) * sum(len(_columns_of(scores, plan, name)) for name in set(numbers["model"]))


def _map_caption(scores: Scores, plan: _Plan, dataset: str, n: str) -> str:
    reference = layout.reference_told(scores, {scores.reference_of(name) for name in plan.penalties})
    text = (
        f"Test IoU of each class on {dataset} minus that of {reference} at the same seed, by penalty at "
        f"its λ̂ (mean over evaluation seeds, n = {n}): blue is better, red worse."
    )
    if n != "1":
        text += (
            " Dots: the 95 % t-interval over seeds leaves out 0, without adjustment for the number of cells shown, of "
            "which chance alone marks one in twenty."
        )
    return text


def _marker_caption(scores: Scores, plan: _Plan, dataset: str, n: str) -> str:
    error = f"mean and 95 % t-interval over evaluation seeds, n = {n}" if n != "1" else "one seed, hence no interval"
    return f"Test IoU (points, 0 to 100) of each class on {dataset}, by penalty at its λ̂ ({error})."


def _alt(scores: Scores, plan: _Plan, numbers: pd.DataFrame, dataset: str) -> str:
    means = numbers.groupby(["penalty", "class"], sort=False, as_index=False)["mean"].mean().dropna()
    form = "Map of differences in test IoU" if plan.as_map else "Dot plot of test IoU"
    low, high = means.loc[means["mean"].idxmin()], means.loc[means["mean"].idxmax()]
    ends = "; ".join(
        f"{word} {row['mean']:+.1f} ({row['class']}, {scores.label(str(row['penalty']))})"
        for word, row in (("lowest", low), ("highest", high))
    )
    return f"{form} by class and penalty on {scores.label(dataset)}, in points. Mean over models: {ends}."
