"""IoU of each class on test: markers with intervals, or, for many classes and penalties, a map of differences."""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import pandas as pd
import seaborn as sns
from matplotlib import pyplot as plt
from matplotlib.axes import Axes
from matplotlib.cm import ScalarMappable
from matplotlib.colors import BoundaryNorm, ListedColormap
from matplotlib.figure import Figure
from matplotlib.lines import Line2D

from softreg.paper.figures import style
from softreg.paper.figures.style import Absent, Drawn
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


def draw(scores: Scores, folder: Path) -> list[Drawn | Absent]:
    """For each data set one figure, or several where its models do not fit on a page; see `softreg.paper.figures`."""
    return [entry for dataset in scores.study["datasets"] for entry in _draw_dataset(scores, dataset, folder)]


def _draw_dataset(scores: Scores, dataset: str, folder: Path) -> list[Drawn | Absent]:
    title = f"{TITLE}: {scores.label(dataset)}"
    plan = _plan(scores, dataset)
    if isinstance(plan, str):
        return [Absent(title, plan)]
    seen = set(plan.numbers["model"])
    models = [name for name in scores.study["models"] if name in seen]
    parts = style.pages(models, 3 * max(1, int((style.TALL - _below(scores, plan)) / _panel_height(scores, plan))))
    entries: list[Drawn | Absent] = []
    for place, part in enumerate(parts):
        name = style.numbered(f"class_iou-{dataset}", place, len(parts))
        numbers = plan.numbers[plan.numbers["model"].isin(part)]
        with style.paper(name):
            figure = _draw_panels(scores, plan, part)
            width = style.save(figure, folder, name, numbers)
        of = f" ({place + 1} of {len(parts)})" if len(parts) > 1 else ""
        texts = _caption(scores, plan, numbers, dataset), _alt(scores, plan, numbers, dataset)
        entries.append(Drawn(name, width, title + of, *texts))
    return entries


def _plan(scores: Scores, dataset: str) -> _Plan | str:
    """What to show of a data set, or the sentence that says why there is nothing."""
    points = scores.class_iou[scores.class_iou["dataset"] == dataset]
    if points["iou"].isna().all():
        return f"No final cell on {scores.label(dataset)} has a test score yet."
    classes = _sorted_classes(scores, points)
    penalties = [name for name in scores.penalties if name in set(points["penalty"])]
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
    keys = ["model", "class", "seed"]
    rows = []
    for penalty in scores.penalties:
        reference = scores.reference_of(penalty)
        if reference in (None, penalty):
            continue
        plain = points.loc[points["penalty"] == reference, [*keys, "iou"]]
        both = points[points["penalty"] == penalty].merge(plain, on=keys, suffixes=("", "_plain"))
        rows.append(both.assign(value=100 * (both["iou"] - both["iou_plain"])))
    return pd.concat(rows, ignore_index=True) if rows else pd.DataFrame(columns=[*keys, "penalty", "value"])


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


def _alike(scores: Scores, plan: _Plan) -> bool:
    """Whether all models have the same columns, which need naming once then."""
    return all(_columns_of(scores, plan, model) == plan.penalties for model in set(plan.numbers["model"]))


def _panel_height(scores: Scores, plan: _Plan) -> float:
    row = _LINE if plan.as_map else _STEP * len(plan.penalties) + 0.06
    titles = 1 + max(style.wrapped(scores.label(name), 26).count("\n") for name in set(plan.numbers["model"]))
    names = 0 if _alike(scores, plan) else _names_height(scores, plan)
    return max(0.6, row * len(plan.classes)) + 0.13 * titles + (0.1 + names if plan.as_map else 0.25)


def _names_height(scores: Scores, plan: _Plan) -> float:
    """Inches that the names of the penalties take where they stand upright."""
    return 0.065 * max(len(scores.label(name)) for name in plan.penalties)


def _below(scores: Scores, plan: _Plan) -> float:
    """Inches that stand once in a figure: the legend, and the names of the map's columns where all have the same."""
    if not plan.as_map:
        return 0.7
    return 0.45 + (_names_height(scores, plan) if _alike(scores, plan) else 0)


def _draw_panels(scores: Scores, plan: _Plan, models: list[str]) -> Figure:
    rows, columns = style.grid_of(len(models))
    width = style.PAGE if columns > 1 else style.COLUMN
    figure, axes = plt.subplots(
        rows,
        columns,
        figsize=(width, rows * _panel_height(scores, plan) + _below(scores, plan)),
        sharex=not plan.as_map or _alike(scores, plan),
        sharey=True,
        squeeze=False,
        layout="constrained",
        width_ratios=[_widest(scores, plan, models[place::columns]) for place in range(columns)],
    )
    steps = _steps(plan.numbers)
    for axis, model in zip(axes.flat, models, strict=False):
        axis.set_title(style.wrapped(scores.label(model), 26))
        mine = plan.numbers[plan.numbers["model"] == model]
        if plan.as_map:
            _draw_map(axis, scores, replace(plan, numbers=mine, penalties=_columns_of(scores, plan, model)), steps)
        else:
            _draw_markers(axis, scores, plan, mine)
    _, lowest = style.outer(axes)
    axes[0, 0].set_yticks(range(len(plan.classes)), plan.classes)
    if plan.as_map:
        _draw_scale(figure, steps)
    else:
        _draw_legend(figure, scores, plan, lowest)
    return figure


def _widest(scores: Scores, plan: _Plan, models: list[str]) -> int:
    """How wide a column of panels is against others: by the columns of its widest map."""
    return max(len(_columns_of(scores, plan, model)) for model in models) if plan.as_map else 1


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
    sns.despine(ax=axis, left=True)


def _draw_legend(figure: Figure, scores: Scores, plan: _Plan, lowest: list[Axes]) -> None:
    looks = style.looks_of(scores)
    handles = [
        Line2D([], [], color=looks[p].colour, lw=0.7, marker=looks[p].marker, ms=3.5, mew=0, label=scores.label(p))
        for p in plan.penalties
    ]
    columns = style.columns_for([scores.label(name) for name in plan.penalties], figure.get_figwidth())
    figure.legend(handles=handles, loc="outside lower center", ncols=columns, frameon=False)
    for axis in lowest:
        axis.set_xlabel("test IoU (points)")


def _steps(numbers: pd.DataFrame) -> list[float]:
    """Where the map's shades change: at round numbers, such that all but a twentieth of the cells lie between."""
    size = float(numbers["mean"].abs().quantile(0.95))
    unit = next((unit for unit in (0.05, 0.1, 0.2, 0.5, 1, 2, 5) if (_SHADES + 1) * unit >= size), 10)
    return [place * unit for place in range(-_SHADES, _SHADES + 1) if place]


def _shading(steps: list[float]) -> tuple[ListedColormap, BoundaryNorm]:
    """Red is worse, blue better; the colour-blind can tell these apart."""
    colours = ListedColormap(sns.color_palette("RdBu", len(steps) + 1).as_hex())
    return colours, BoundaryNorm(steps, colours.N, extend="both")


def _draw_map(axis: Axes, scores: Scores, plan: _Plan, steps: list[float]) -> None:
    """A cell for each class and penalty; a dot where the interval leaves out 0, a cross where there is no number."""
    colours, norm = _shading(steps)
    values, low, high = (
        plan.numbers.pivot(index="class", columns="penalty", values=column)
        .reindex(index=plan.classes, columns=plan.penalties)
        .to_numpy(float)
        for column in ("mean", "low", "high")
    )
    edges = [np.arange(len(names) + 1) - 0.5 for names in (plan.penalties, plan.classes)]
    axis.pcolormesh(*edges, np.ma.masked_invalid(values), cmap=colours, norm=norm, edgecolors="white", linewidth=0.5)
    for there, marker, edge in (((low > 0) | (high < 0), "o", "white"), (np.isnan(values), "x", "#888888")):
        y, x = np.nonzero(there)
        axis.plot(x, y, marker, ms=3, color="black", mec=edge, mew=0.5)
    axis.set_xticks(range(len(plan.penalties)), [scores.label(name) for name in plan.penalties], rotation=90)
    axis.set_ylim(len(plan.classes) - 0.5, -0.5)
    axis.tick_params(length=0)
    sns.despine(ax=axis, left=True, bottom=True)


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
    n = f"{counts.min()}" if counts.min() == counts.max() else f"{counts.min()} to {counts.max()}"
    tell = _map_caption if plan.as_map else _marker_caption
    text = tell(scores, plan, scores.label(dataset), n)
    if plan.as_map and len(numbers.dropna(subset="mean")) < _cells(scores, plan, set(numbers["model"])):
        text += " Crosses: no pair of finished cells, or no such class in the test images."
    order = "the mean of all penalties" if scores.reference is None else scores.label(scores.reference)
    text += f" Classes by their IoU with {order}."
    lacking = [scores.label(name) for name in scores.study["models"] if name not in set(plan.numbers["model"])]
    return text + (f" No finished cells yet, so not shown: {', '.join(lacking)}." if lacking else "")


def _cells(scores: Scores, plan: _Plan, models: Collection[str]) -> int:
    return len(plan.classes) * sum(len(_columns_of(scores, plan, model)) for model in models)


def _map_caption(scores: Scores, plan: _Plan, dataset: str, n: str) -> str:
    text = (
        f"Test IoU of each class on {dataset} minus that of {_reference(scores, plan)} at the same seed, by penalty at "
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


def _reference(scores: Scores, plan: _Plan) -> str:
    """The unpenalised entry that differences are taken from, or what chooses it where there are several."""
    found = {str(scores.reference_of(name)) for name in plan.penalties}
    return scores.label(found.pop()) if len(found) == 1 else "the unpenalised entry of the same update rule"


def _alt(scores: Scores, plan: _Plan, numbers: pd.DataFrame, dataset: str) -> str:
    means = numbers.groupby(["penalty", "class"], sort=False, as_index=False)["mean"].mean().dropna()
    form = "Map of differences in test IoU" if plan.as_map else "Dot plot of test IoU"
    low, high = means.loc[means["mean"].idxmin()], means.loc[means["mean"].idxmax()]
    ends = "; ".join(
        f"{word} {row['mean']:+.1f} ({row['class']}, {scores.label(str(row['penalty']))})"
        for word, row in (("lowest", low), ("highest", high))
    )
    return f"{form} by class and penalty on {scores.label(dataset)}, in points. Mean over models: {ends}."
