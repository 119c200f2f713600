"""Overfitting against the complexity of scenes: of drawn data sets, one figure a model; of images, one a data set."""

from __future__ import annotations

from functools import partial
from itertools import product

import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from softreg.paper import stats
from softreg.paper.figures import layout, style
from softreg.paper.figures.layout import Figures, Page, Pages
from softreg.paper.questions import complexity, estimates
from softreg.paper.scores import Scores

STEM = "complexity"
TITLE = "Overfitting against the complexity of drawn scenes"
TITLE_IMAGES = "Gain against the boundary density of an image"
MEASURES = {"gap": "train − test mIoU", "test": "test mIoU"}
MOST_PANELS = 15
"""Panels of single penalties that a page can hold."""
MOST_FEW = 2
"""Up to so many bins are too few for a curve."""
_ASIDE = 0.012
"""By how much of the axis neighbouring penalties are set apart, so that their error bars can be seen."""


def figures(scores: Scores) -> Figures:
    """For each model a figure of the drawn scenes, and for each data set one of its test images."""
    if scores.reference is None:
        yield from [(STEM, title, estimates.NO_REFERENCE) for title in (TITLE, TITLE_IMAGES)]
        return
    families = complexity.families(scores.study["datasets"])
    for place, family in enumerate(families, start=1):
        yield from _of_family(scores, family, f"{STEM}-{place}" if len(families) > 1 else STEM)
    if not families:
        yield STEM, TITLE, complexity.ONE_SET
    yield from layout.of_datasets(scores, "complexity_images", TITLE_IMAGES, partial(_image_pages, scores))


# Drawn scenes.


def points_of(scores: Scores, family: pd.Series[float]) -> pd.DataFrame:
    """Means over seeds with 95 % t-intervals: model, penalty, dataset, level, quantity, mean, low, high, p, seeds.

    ``quantity`` is gap or test, or that less the reference's, paired by seed: change of gap, change of test.
    """
    own = complexity.fits(scores)
    own = own.assign(level=own["dataset"].map(family)).dropna(subset="level")
    changes = estimates.relative(scores, own, [*MEASURES])
    rows = []
    for prefix, frame in (("", own), ("change of ", changes)):
        for model, penalty, mine in estimates.in_order(scores, frame):
            for ((level, dataset), part), measure in product(mine.groupby(["level", "dataset"]), MEASURES):
                limit = complexity.LIMITS[measure] / (1 if prefix or measure == "test" else 2)
                estimate = stats.over_seeds(part[measure].to_numpy(), limit)
                names = {"model": model, "penalty": penalty, "dataset": dataset}
                names |= {"level": level, "quantity": f"{prefix}{measure}"}
                row = names | estimates.columns_of(estimate)
                if measure == "test" and not prefix:
                    score = estimate.score_interval(100)
                    row |= {"low": score.low, "high": score.high}
                rows.append(row)
    return pd.DataFrame(rows)


def _of_family(scores: Scores, family: pd.Series[float], stem: str) -> Figures:
    points = points_of(scores, family)
    for model in scores.study["models"]:
        mine = points[points["model"] == model] if len(points) else points
        yield f"{stem}-{model}", f"{TITLE}: {scores.label(model)}", _scene_pages(scores, mine, family, model)


def _scene_pages(scores: Scores, points: pd.DataFrame, family: pd.Series[float], model: str) -> Pages:
    if points.empty or points["dataset"].nunique() < 2:
        return f"{scores.label(model)} has no scores on two drawn data sets yet: finish them."
    texts = _caption(scores, points, family), _alt(scores, points)
    return [Page(points, partial(_draw_scenes, scores, points), *texts)]


def _draw_scenes(scores: Scores, points: pd.DataFrame) -> Figure:
    """Two rows: the scores, and what they are relative to no penalty."""
    panels = [(prefix, measure) for prefix in ("", "change of ") for measure in MEASURES]
    figure, stacks = layout.grid([""] * len(panels), 1.5, "", most=2, sharex=True)
    levels = points.drop_duplicates("dataset")
    for (axis,), (prefix, measure) in zip(stacks, panels, strict=True):
        if prefix:
            layout.show_rope(axis, scores)
        _draw_scene_panel(axis, scores, points[points["quantity"] == f"{prefix}{measure}"])
        axis.set_ylabel(f"{MEASURES[measure]}\nless unpenalised" if prefix else MEASURES[measure])
        axis.set_xticks(levels["level"], [style.wrapped(scores.label(name), 12) for name in levels["dataset"]])
    layout.add_legend(figure, layout.handles_of(scores, points))
    return figure


def _draw_scene_panel(axis: Axes, scores: Scores, points: pd.DataFrame) -> None:
    step, parts = _ASIDE * np.ptp(points["level"].to_numpy()), points.groupby("penalty", sort=False)
    for place, (penalty, mine) in enumerate(parts):
        x = mine["level"] + step * layout.apart(place, parts.ngroups)
        layout.draw_line(axis, style.looks_of(scores)[str(penalty)], x, mine["mean"], layout.ends(mine))
    axis.locator_params(axis="y", nbins=4)


def _caption(scores: Scores, points: pd.DataFrame, family: pd.Series[float]) -> str:
    names = ", ".join(scores.label(str(name)) for name in family.index)
    model = scores.label(points["model"].iloc[0])
    bars = "Bars: 95 % t-intervals over" if points["seeds"].max() > 1 else "Without bars, for there is one of the"
    seeds = layout.span(points["seeds"])
    return (
        f"Gap between training and test mIoU (left) and test mIoU (right), in points, of {model} on drawn scenes of "
        f"growing complexity ({names}; no option that makes a scene complex falls from one to the next). "
        "Below each, the same less that of the unpenalised entry of the same update rule, paired by seed. "
        f"{bars} evaluation seeds (n = {seeds}); test images are held fixed. Grey: the region of practical "
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


def _image_pages(scores: Scores, dataset: str) -> Pages:
    points, label = complexity.binned(scores, dataset), scores.label(dataset)
    if points.empty:
        return f"On {label} no seed was tested both with and without a penalty yet."
    bins = points["bin"].max() + 1
    if bins <= MOST_FEW:
        few = f"are fewer than fifteen or of few boundary densities, for {bins} of the three bins that a curve needs"
        return f"The test images of {label} {few}: give it more, and more varied ones."
    pages = []
    for penalties in style.pages(layout.penalties_of(scores, points), MOST_PANELS):
        shown = points[points["penalty"].isin(penalties)]
        texts = _images_caption(scores, shown, dataset), _images_alt(scores, shown, dataset)
        pages.append(Page(shown, partial(_draw_gains, scores, shown, penalties), *texts))
    return pages


def _draw_gains(scores: Scores, points: pd.DataFrame, penalties: list[str]) -> Figure:
    """A panel a penalty, a line a model."""
    models, looks = layout.models_of(scores, points), style.looks(list(scores.study["models"]))
    labels, height = ("boundary density (%)", "gain (points)"), 1.35 if len(penalties) > 3 else 1.8
    figure, stacks = layout.grid([*map(scores.label, penalties)], height, *labels, sharex=True, sharey=True)
    for (axis,), penalty in zip(stacks, penalties, strict=True):
        layout.show_rope(axis, scores)
        mine = points[points["penalty"] == penalty]
        for place, model in enumerate(models):
            line = mine[mine["model"] == model]
            x = line["bin"] + 0.1 * layout.apart(place, len(models))
            layout.draw_line(axis, looks[model], x, line["mean"], layout.ends(line))
        density = points.groupby("bin")["boundary_density"].mean()
        axis.set_xticks(density.index, [f"{100 * value:.2g}" for value in density])
        axis.locator_params(axis="y", nbins=4)
    if len(models) > 1:
        layout.add_legend(figure, [layout.handle(looks[name], scores.label(name)) for name in models])
    return figure


def _images_caption(scores: Scores, points: pd.DataFrame, dataset: str) -> str:
    bars = "Bars: 95 % intervals over seeds and the images, or groups of images, of a bin, crossed."
    if points["low"].isna().all():
        bars = "One seed, or images of one group alone, give no interval."
    seeds, images = layout.span(points["seeds"]), layout.span(points["images"])
    if (points["groups"] < points["images"]).any():
        images += f", of {layout.span(points['groups'])} groups,"
    return (
        f"Gain of a penalty over the unpenalised entry of the same update rule in the mIoU of single test images of "
        f"{scores.label(dataset)}, in points, a mean over evaluation seeds (n = {seeds}), in bins of equally "
        f"many images ({images} each) by the boundary density of their true masks, whose mean is shown below. {bars} "
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
