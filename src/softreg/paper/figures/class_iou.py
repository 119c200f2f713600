"""IoU of each class on test, less that without a penalty: one figure a data set, a panel a class."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from softreg.paper.figures import forest, layout
from softreg.paper.figures.layout import Pages
from softreg.paper.figures.style import Absent, Entries
from softreg.paper.questions import estimates, gain
from softreg.paper.scores import Scores
from softreg.scoring import stats

TITLE = "IoU of each class, less that without a penalty"


def draw(scores: Scores, folder: Path) -> Entries:
    """For each data set one figure, or several where its models do not fit on a page; see `softreg.paper.figures`."""
    if scores.reference is None:
        return [Absent(TITLE, estimates.NO_REFERENCE)]
    return layout.write_datasets(scores, folder, "class_iou", TITLE, partial(_pages, scores))


def numbers(scores: Scores, dataset: str) -> pd.DataFrame:
    """Mean difference to no penalty in points with its 95 % interval over seeds and images, as H1 has it.

    Columns model, penalty, quantity (the class), mean, low, high, p, seeds, and plain, the IoU without a penalty.
    Classes by that over all models, the highest first; those that no network has on test come last.
    """
    points = scores.class_iou[scores.class_iou["dataset"] == dataset].rename(columns={"class": "quantity"})
    points = points.assign(value=100 * points["iou"])[["model", "penalty", "seed", "quantity", "value"]]
    rows = pd.DataFrame([row for model in scores.study["models"] for row in _of_model(scores, dataset, model)])
    if rows.empty:
        return rows
    places = points[points["penalty"] == scores.reference].groupby("quantity")["value"].mean()
    order = places.sort_values(ascending=False, kind="stable").index
    rows = forest.with_plain(scores, rows, points)
    return rows.sort_values("quantity", key=lambda names: names.map({name: at for at, name in enumerate(order)}))


def _of_model(scores: Scores, dataset: str, model: str) -> Iterator[dict[str, Any]]:
    counts = scores.test_counts(dataset, model)
    for penalty in (name for name in scores.penalties if name in counts):
        reference = scores.references[penalty]
        if reference == penalty or reference not in counts:
            continue
        both = counts[penalty], counts[reference]
        units = both[0].folds if scores.folds else scores.units(dataset, both[0].images)
        whole = stats.by_unit(gain.aligned(both)[1], units)
        shared = {*both[0].seeds} & {*both[1].seeds}
        for place, name in enumerate(scores.datasets[dataset]["classes"] if shared else ()):
            found = stats.crossed_jackknife(*whole[..., [place]])
            yield {"model": model, "penalty": penalty, "quantity": name, **_columns(found, bool(scores.folds))}


def _columns(found: stats.Crossed, folds: bool) -> dict[str, float]:
    """The difference between the first and the second row of ``found`` as columns, in points."""
    kept = np.isfinite(found.scores).all(axis=0)
    found = replace(found, scores=found.scores[:, kept], by_seed=found.by_seed[:, kept], folds=folds)
    if not kept.any():
        return estimates.columns_of(estimates.over_seeds([]))
    return estimates.columns_of(replace(stats.crossed_interval(found, 0, 1), limit=1.0).times(100))


def _pages(scores: Scores, dataset: str) -> Pages:
    return forest.pages(scores, dataset, numbers(scores, dataset), _texts)


def _texts(scores: Scores, dataset: str, rows: pd.DataFrame) -> tuple[str, str]:
    over = f"{scores.folds} outer folds" if scores.folds else "seeds and images, crossed"
    caption = (
        f"Test IoU of each class on {scores.label(dataset)} of each penalty at its λ̂ less that of "
        f"{layout.told_reference(scores, rows)} at the same seed, in points: mean over evaluation seeds (n = "
        f"{layout.span(rows.loc[rows['seeds'] > 0, 'seeds'])}) and 95 % interval over {over}, without adjustment for "
        "the number of rows, of which chance alone puts one in twenty beside 0. Above each panel the IoU without a "
        "penalty, by which the classes are sorted. An empty row has nothing to compare."
    ) + layout.lacking(scores, set(rows["model"]))
    means = rows.groupby(["penalty", "quantity"], sort=False, as_index=False)["mean"].mean().dropna()
    ends = "; ".join(
        f"{word} {row['mean']:+.1f} ({row['quantity']}, {scores.label(str(row['penalty']))})"
        for word, row in (("lowest", means.loc[means["mean"].idxmin()]), ("highest", means.loc[means["mean"].idxmax()]))
    )
    return caption, (
        f"Forest plots of differences in test IoU by class and penalty on {scores.label(dataset)}, in points. Mean "
        f"over models: {ends}."
    )
