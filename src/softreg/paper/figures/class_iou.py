"""IoU of each class on test, less that without a penalty: one figure a data set, a panel a class."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from typing import Any

import pandas as pd

from softreg.paper.figures import forest, layout
from softreg.paper.figures.layout import Figures
from softreg.paper.questions import estimates, gain
from softreg.paper.scores import Counts, Scores

TITLE = "IoU of each class, less that without a penalty"


def figures(scores: Scores) -> Figures:
    """For each data set one figure, or several where its models do not fit on a page; see `softreg.paper.figures`."""
    return forest.figures(scores, "class_iou", TITLE, numbers, _texts)


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
    classes = scores.datasets[dataset]["classes"] if counts else []
    samples = [gain.resample(scores, dataset, _of_class(counts, place)) for place in range(len(classes))]
    for penalty in (name for name in scores.penalties if name in counts):
        reference = scores.references[penalty]
        if reference == penalty or reference not in counts or not {*counts[penalty].seeds} & {*counts[reference].seeds}:
            continue
        for name, sample in zip(classes, samples, strict=True):
            found = estimates.columns_of(sample.estimate(penalty, reference))
            yield {"model": model, "penalty": penalty, "quantity": name, **found}


def _of_class(counts: dict[str, Counts], place: int) -> dict[str, Counts]:
    """``counts`` of one class alone, whose IoU the mean over classes is then."""
    return {name: replace(each, table=each.table[..., [place]]) for name, each in counts.items()}


def _texts(scores: Scores, dataset: str, rows: pd.DataFrame) -> tuple[str, str]:
    over = f"seeds and {f'{scores.folds} outer folds' if scores.folds else 'images'}, crossed"
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
