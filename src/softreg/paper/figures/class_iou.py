"""IoU of each class on test as a map of differences to no penalty: a panel a model, a cell a class and penalty."""

from __future__ import annotations

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
from softreg.paper.figures.style import Absent, Entries
from softreg.paper.questions import estimates
from softreg.paper.scores import Scores
from softreg.scoring import stats

TITLE = "IoU of each class, less that without a penalty"
_LINE = 0.15
"""Inches that a class takes."""
_SHADES = 4
"""Shades on either side of no difference."""


def draw(scores: Scores, folder: Path) -> Entries:
    """For each data set one figure, or several where its models do not fit on a page; see `softreg.paper.figures`."""
    if scores.reference is None:
        return [Absent(TITLE, estimates.NO_REFERENCE)]
    return layout.write_datasets(scores, folder, "class_iou", TITLE, partial(_pages, scores))


def _pages(scores: Scores, dataset: str) -> Pages:
    numbers = _numbers(scores, dataset)
    if numbers.empty:
        return f"No seed on {scores.label(dataset)} was tested both with and without a penalty yet."
    pages = []
    most = layout.most_panels(_panel_height(scores, numbers), _below(scores, numbers))
    for models in style.pages(layout.models_of(scores, numbers), most):
        shown = numbers[numbers["model"].isin(models)]
        draw_page = partial(_draw_maps, scores, shown, _steps(numbers))
        pages.append(Page(shown, draw_page, _caption(scores, shown, dataset), _alt(scores, shown, dataset)))
    return pages


def _numbers(scores: Scores, dataset: str) -> pd.DataFrame:
    """Mean difference to no penalty in points with its 95 % t-interval over seeds.

    Columns model, penalty, class, mean, low, high, n, and plain, the IoU without a penalty. Classes by that over all
    models, the highest first; those that no network has on test come last.
    """
    points = scores.class_iou[scores.class_iou["dataset"] == dataset]
    points = points.assign(iou=100 * points["iou"])
    plain = points[points["penalty"] == scores.reference].rename(columns={"iou": "plain"})
    places = plain.groupby("class")["plain"].mean().rank(ascending=False, method="first")
    points = points.assign(place=points["class"].map(places)).sort_values("place", kind="stable")
    rows = []
    differences = scores.ordered(estimates.relative(scores, points, ["iou"]))
    for key, part in differences.groupby(["model", "penalty", "class"], sort=False):
        interval = stats.mean_interval(part["iou"].to_numpy(), limit=100)
        rows.append((*key, interval.mean, interval.low, interval.high, interval.n))
    numbers = pd.DataFrame(rows, columns=["model", "penalty", "class", "mean", "low", "high", "n"])
    return numbers.merge(plain.groupby(["model", "class"])["plain"].mean().reset_index(), how="left")


def _below(scores: Scores, numbers: pd.DataFrame) -> float:
    """Inches below the panels: the penalties' names, upright, and the scale."""
    return 0.45 + 0.065 * max(len(scores.label(name)) for name in numbers["penalty"].unique())


def _panel_height(scores: Scores, numbers: pd.DataFrame) -> float:
    """Inches of a panel."""
    titles = 0.13 * layout.lines_in(map(scores.label, numbers["model"].unique()))
    return max(0.6, _LINE * numbers["class"].nunique()) + titles + 0.1


def _draw_maps(scores: Scores, numbers: pd.DataFrame, steps: list[float]) -> Figure:
    """A map for each model, and the scale of all below."""
    models = layout.models_of(scores, numbers)
    height = _panel_height(scores, numbers)
    figure, stacks = layout.grid([*map(scores.label, models)], height, "", sharex=True, sharey=True)
    figure.set_size_inches(style.PAGE, figure.get_figheight() + _below(scores, numbers))
    for (axis,), model in zip(stacks, models, strict=True):
        _draw_map(axis, scores, numbers, model, steps)
    _draw_scale(figure, steps)
    return figure


def _steps(numbers: pd.DataFrame) -> list[float]:
    """Where the map's shades change: at round numbers, such that all but a twentieth of the cells lie between."""
    size = float(numbers["mean"].abs().quantile(0.95))
    unit = next((unit for unit in (0.05, 0.1, 0.2, 0.5, 1, 2, 5) if (_SHADES + 1) * unit >= size), 10)
    return [place * unit for place in range(-_SHADES, _SHADES + 1) if place]


def _shading(steps: list[float]) -> tuple[ListedColormap, BoundaryNorm]:
    """Red is worse, blue better; the colour-blind can tell these apart."""
    colours = ListedColormap(sns.color_palette("RdBu", len(steps) + 1).as_hex())
    return colours, BoundaryNorm(steps, colours.N, extend="both")


def _draw_map(axis: Axes, scores: Scores, numbers: pd.DataFrame, model: str, steps: list[float]) -> None:
    """A cell for each class and penalty; a dot where the interval leaves out 0, a cross where there is no number."""
    colours, norm = _shading(steps)
    mine, classes = numbers[numbers["model"] == model], numbers["class"].unique()
    penalties = layout.penalties_of(scores, numbers)
    values, low, high = (
        mine.pivot(index="class", columns="penalty", values=part).reindex(index=classes, columns=penalties)
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


def _caption(scores: Scores, numbers: pd.DataFrame, dataset: str) -> str:
    reference = layout.reference_told(scores, {scores.reference_of(name) for name in numbers["penalty"].unique()})
    n = layout.span(numbers.loc[numbers["n"] > 0, "n"])
    text = (
        f"Test IoU of each class on {scores.label(dataset)} minus that of {reference} at the same seed, by penalty at "
        f"its λ̂ (mean over evaluation seeds, n = {n}): blue is better, red worse. Crosses: nothing to compare. "
        f"Classes by their IoU with {scores.label(str(scores.reference))}."
    )
    if n != "1":
        text += (
            " Dots: the 95 % t-interval over seeds leaves out 0, without adjustment for the number of cells shown, of "
            "which chance alone marks one in twenty."
        )
    return text + layout.lacking(scores, set(numbers["model"]))


def _alt(scores: Scores, numbers: pd.DataFrame, dataset: str) -> str:
    means = numbers.groupby(["penalty", "class"], sort=False, as_index=False)["mean"].mean().dropna()
    low, high = means.loc[means["mean"].idxmin()], means.loc[means["mean"].idxmax()]
    ends = "; ".join(
        f"{word} {row['mean']:+.1f} ({row['class']}, {scores.label(str(row['penalty']))})"
        for word, row in (("lowest", low), ("highest", high))
    )
    return (
        f"Map of differences in test IoU by class and penalty on {scores.label(dataset)}, in points. Mean over models: "
        f"{ends}."
    )
