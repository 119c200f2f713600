"""Overfitting against the complexity of scenes: of drawn data sets, one figure a model; of images, one a data set."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import seaborn as sns
from matplotlib import pyplot as plt
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D

from softreg.paper.figures import style
from softreg.paper.figures.reliability import add_legend, handles_of, shares_of
from softreg.paper.figures.style import Absent, Drawn, Look
from softreg.paper.questions import complexity, estimates
from softreg.paper.scores import Scores

TITLE = "Overfitting against the complexity of drawn scenes"
TITLE_IMAGES = "Gain against the boundary density of an image"
MEASURES = {"gap": "train − test mIoU", "test": "test mIoU"}
MOST_SHARES = 3
"""Shares of the penalties that a page can hold, each of two rows."""
MOST_PANELS = 15
"""Panels of single penalties that a page can hold."""
_ASIDE = 0.012
"""By how much of the axis neighbouring penalties are set apart, so that their error bars can be seen."""


def draw(scores: Scores, folder: Path) -> list[Drawn | Absent]:
    """For each model a figure of the drawn scenes, and for each data set one of its test images."""
    if scores.reference is None:
        return [Absent(title, estimates.NO_REFERENCE) for title in (TITLE, TITLE_IMAGES)]
    families = complexity.families(scores)
    drawn = [
        entry
        for place, family in enumerate(families)
        for entry in _draw_family(scores, family, style.numbered("complexity", place, len(families)), folder)
    ]
    images = [entry for dataset in scores.study["datasets"] for entry in _draw_images(scores, dataset, folder)]
    return [*(drawn or [Absent(TITLE, complexity.ONE_SET)]), *images]


# Drawn scenes.


def points_of(scores: Scores, family: pd.Series[float]) -> pd.DataFrame:
    """Means over seeds with 95 % t-intervals: model, penalty, dataset, level, quantity, mean, low, high, p, seeds.

    ``quantity`` is gap or test, or that less the reference's, paired by seed: change of gap, change of test.
    """
    own = complexity.fits(scores)
    own = own[own["dataset"].isin(family.index)].drop(columns="lambda", errors="ignore")
    changes = estimates.relative(scores, own, [*MEASURES])
    rows = []
    for prefix, frame in (("", own), ("change of ", changes)):
        for model, penalty, mine in estimates.in_order(scores, frame):
            by_dataset = dict(list(mine.groupby("dataset")))
            for dataset in (name for name in family.index if name in by_dataset):
                for measure in MEASURES:
                    estimate = estimates.over_seeds(by_dataset[dataset][measure].to_numpy())
                    names = {"model": model, "penalty": penalty, "dataset": dataset}
                    names |= {"level": family[dataset], "quantity": f"{prefix}{measure}"}
                    rows.append(names | estimates.columns_of(estimate))
    return pd.DataFrame(rows)


def _draw_family(scores: Scores, family: pd.Series[float], stem: str, folder: Path) -> list[Drawn | Absent]:
    points = points_of(scores, family)
    entries: list[Drawn | Absent] = []
    for model in scores.study["models"]:
        title = f"{TITLE}: {scores.label(model)}"
        mine = points[points["model"] == model] if len(points) else points
        if mine.empty or mine["dataset"].nunique() < 2:
            entries.append(
                Absent(title, f"{scores.label(model)} has no scores on two drawn data sets yet: finish them.")
            )
            continue
        pages = style.pages(shares_of(scores, set(mine["penalty"])), MOST_SHARES)
        for place, shares in enumerate(pages):
            name = style.numbered(f"{stem}-{model}", place, len(pages))
            shown = mine[mine["penalty"].isin([penalty for share in shares for penalty in share])]
            with style.paper(name):
                figure = _draw_scenes(scores, shown, shares)
                width = style.save(figure, folder, name, shown)
            entries.append(Drawn(name, width, title, _caption(scores, shown, family), _alt(scores, shown)))
    return entries


def _draw_scenes(scores: Scores, points: pd.DataFrame, shares: list[list[str]]) -> Figure:
    """Of each share of the penalties two rows: the scores, and what they are relative to no penalty."""
    rows = [(prefix, share) for share in shares for prefix in ("", "change of ")]
    figure, axes = plt.subplots(
        len(rows),
        2,
        figsize=(style.PAGE, (1.15 if len(rows) > 4 else 1.4) * len(rows) + 0.2),
        sharex=True,
        squeeze=False,
        layout="constrained",
    )
    for (prefix, share), line in zip(rows, axes, strict=True):
        for axis, (measure, label) in zip(line, MEASURES.items(), strict=True):
            mine = points[points["quantity"] == f"{prefix}{measure}"]
            _draw_scene_panel(axis, scores, mine, share, band=bool(prefix))
            axis.set_ylabel(f"{label}\nless unpenalised" if prefix else label)
    levels = points.drop_duplicates("dataset")
    for axis in axes[-1]:
        axis.set_xticks(levels["level"], [style.wrapped(scores.label(name), 12) for name in levels["dataset"]])
    add_legend(figure, handles_of(scores, set(points["penalty"])))
    return figure


def _draw_scene_panel(axis: Axes, scores: Scores, points: pd.DataFrame, penalties: list[str], band: bool) -> None:
    looks = style.looks_of(scores)
    if band:
        axis.axhspan(-scores.rope, scores.rope, color="#dddddd", lw=0, zorder=0)
        axis.axhline(0, color=style.REFERENCE_COLOUR, lw=0.6, zorder=1)
    shown = [name for name in penalties if name in set(points["penalty"])]
    width = np.ptp(points["level"].to_numpy())
    for place, penalty in enumerate(shown):
        mine = points[points["penalty"] == penalty]
        aside = _ASIDE * width * (place - (len(shown) - 1) / 2)
        _errorbar(axis, mine["level"] + aside, mine, looks[penalty])
    axis.locator_params(axis="y", nbins=4)
    sns.despine(ax=axis)


def _errorbar(axis: Axes, x: pd.Series[float], points: pd.DataFrame, look: Look) -> None:
    """Means with their intervals, where they have one."""
    error = [(points["mean"] - points["low"]).fillna(0), (points["high"] - points["mean"]).fillna(0)]
    same: dict[str, Any] = {"color": look.colour, "ls": look.line, "marker": look.marker}
    axis.errorbar(x, points["mean"], error, ms=3, mew=0, elinewidth=0.6, **same)


def _seeds(points: pd.DataFrame) -> str:
    low, high = points["seeds"].min(), points["seeds"].max()
    return f"{low}" if low == high else f"{low} to {high}"


def _caption(scores: Scores, points: pd.DataFrame, family: pd.Series[float]) -> str:
    names = ", ".join(scores.label(str(name)) for name in family.index)
    model = scores.label(points["model"].iloc[0])
    bars = "Bars: 95 % t-intervals over" if points["seeds"].max() > 1 else "Without bars, for there is one of the"
    return (
        f"Gap between training and test mIoU (left) and test mIoU (right), in points, of {model} on drawn scenes of "
        f"growing complexity ({names}; no option that makes a scene complex falls from one to the next). "
        "Below each, the same less that of the unpenalised entry of the same update rule, paired by seed. "
        f"{bars} evaluation seeds (n = {_seeds(points)}); test images are held fixed. Grey: the region of practical "
        f"equivalence, ±{scores.rope:g} points. Points are set apart sideways a little."
    )


def _alt(scores: Scores, points: pd.DataFrame) -> str:
    gaps = points[points["quantity"] == "change of gap"]
    ends = gaps.groupby("penalty", sort=False)["mean"].agg(["first", "last"]).reset_index()
    listed = "; ".join(f"{scores.label(p)} {first:+.2f} to {last:+.2f}" for p, first, last in ends.to_numpy())
    return (
        f"Line plots against the complexity of scenes for {scores.label(points['model'].iloc[0])}. Change of the "
        f"gap between training and test mIoU, in points, from the simplest to the most complex scenes: {listed}."
    )


# Test images.


def _draw_images(scores: Scores, dataset: str, folder: Path) -> list[Drawn | Absent]:
    title = f"{TITLE_IMAGES}: {scores.label(dataset)}"
    points = complexity.binned(scores, dataset)
    if points.empty:
        return [Absent(title, f"On {scores.label(dataset)} no seed was tested both with and without a penalty yet.")]
    if points["bin"].max() == 0:
        reason = "are fewer than ten or all of one boundary density: give it more, and more varied ones"
        return [Absent(title, f"The test images of {scores.label(dataset)} {reason}.")]
    pages = style.pages([name for name in scores.penalties if name in set(points["penalty"])], MOST_PANELS)
    entries: list[Drawn | Absent] = []
    for place, page in enumerate(pages):
        name = style.numbered(f"complexity_images-{dataset}", place, len(pages))
        shown = points[points["penalty"].isin(page)]
        with style.paper(name):
            figure = _draw_gains(scores, shown, page)
            width = style.save(figure, folder, name, shown)
        entries.append(
            Drawn(name, width, title, _images_caption(scores, shown, dataset), _images_alt(scores, shown, dataset))
        )
    return entries


def _draw_gains(scores: Scores, points: pd.DataFrame, penalties: list[str]) -> Figure:
    """A panel a penalty, a line a model."""
    rows, columns = style.grid_of(len(penalties))
    models = [name for name in scores.study["models"] if name in set(points["model"])]
    looks = style.looks(list(scores.study["models"]))
    figure, axes = plt.subplots(
        rows,
        columns,
        figsize=(style.PAGE if columns > 1 else style.COLUMN, (1.35 if rows > 1 else 1.8) * rows + 0.2),
        sharex=True,
        sharey=True,
        squeeze=False,
        layout="constrained",
    )
    for axis, penalty in zip(axes.flat, penalties, strict=False):
        axis.set_title(style.wrapped(scores.label(penalty), 26))
        _draw_gain_panel(axis, scores, points[points["penalty"] == penalty], {name: looks[name] for name in models})
    left, lowest = style.outer(axes)
    for axis in left:
        axis.set_ylabel("gain (points)")
    for axis in lowest:
        axis.set_xlabel("boundary density (%)")
    if len(models) > 1:
        add_legend(figure, [_handle(scores, name, looks[name]) for name in models])
    return figure


def _draw_gain_panel(axis: Axes, scores: Scores, points: pd.DataFrame, looks: dict[str, Look]) -> None:
    axis.axhspan(-scores.rope, scores.rope, color="#dddddd", lw=0, zorder=0)
    axis.axhline(0, color=style.REFERENCE_COLOUR, lw=0.6, zorder=1)
    for place, (model, look) in enumerate(looks.items()):
        mine = points[points["model"] == model]
        _errorbar(axis, mine["bin"] + 0.1 * (place - (len(looks) - 1) / 2), mine, look)
    density = points.groupby("bin")["boundary_density"].mean()
    axis.set_xticks(density.index, [f"{100 * value:.2g}" for value in density])
    axis.locator_params(axis="y", nbins=4)
    sns.despine(ax=axis)


def _handle(scores: Scores, model: str, look: Look) -> Line2D:
    marks: dict[str, Any] = {"color": look.colour, "ls": look.line, "marker": look.marker}
    return Line2D([], [], ms=3.5, mew=0, label=scores.label(model), **marks)


def _images_caption(scores: Scores, points: pd.DataFrame, dataset: str) -> str:
    low, high = points["images"].min(), points["images"].max()
    images = f"{low}" if low == high else f"{low} to {high}"
    bars = "Bars: 95 % intervals over seeds and the images of a bin, crossed."
    if points["low"].isna().all():
        bars = "One seed gives no interval."
    return (
        f"Gain of a penalty over the unpenalised entry of the same update rule in the mIoU of single test images of "
        f"{scores.label(dataset)}, in points, a mean over evaluation seeds (n = {_seeds(points)}), in bins of equally "
        f"many images ({images} each) by the boundary density of their true masks, whose mean is told below. {bars} "
        f"Grey: the region of practical equivalence, ±{scores.rope:g} points. This is an association: images differ in "
        "more than complexity."
    )


def _images_alt(scores: Scores, points: pd.DataFrame, dataset: str) -> str:
    ends = points.groupby(["penalty", "model"], sort=False)["mean"].agg(["first", "last"]).reset_index()
    named = ends.assign(**{name: ends[name].map(scores.label) for name in ("penalty", "model")})
    listed = "; ".join(f"{p}, {m} {first:+.2f} to {last:+.2f}" for p, m, first, last in named.to_numpy())
    return (
        f"Plots of the gain in image mIoU against boundary density on {scores.label(dataset)}. From the lowest to the "
        f"highest bin, in points: {listed}."
    )
