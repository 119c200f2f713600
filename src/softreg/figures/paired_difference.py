"""Test mIoU of each penalty minus that of no penalty, paired by seed: by data set and model."""

from __future__ import annotations

from pathlib import Path

import pandas as pd
import seaborn as sns
from matplotlib import pyplot as plt
from matplotlib.axes import Axes

from softreg import stats
from softreg.figures import style
from softreg.figures.style import Absent, Drawn
from softreg.scores import Scores

TITLE = "Difference to no penalty"
EQUIVALENT = 0.5
"""Half width, in points of mIoU, of the region of practical equivalence: fixed before any result was seen."""


def draw(scores: Scores, folder: Path) -> list[Drawn | Absent]:
    """One figure for each data set; see `softreg.figures`."""
    return [_draw_dataset(scores, dataset, folder) for dataset in scores.study["datasets"]]


def differences(scores: Scores, dataset: str) -> pd.DataFrame:
    """Columns model, penalty, seed, difference: test mIoU less the reference's at that seed, in points.

    The reference is the entry of kind none that is trained by the same update rule.
    """
    tests = scores.final_test[scores.final_test["dataset"] == dataset]
    rows = []
    for model in scores.study["models"]:
        by_seed = {
            str(penalty): 100 * part.set_index("seed")["miou"]
            for penalty, part in tests[tests["model"] == model].groupby("penalty")
        }
        for penalty in scores.study["penalties"]:
            reference = scores.reference_of(penalty)
            if penalty == reference or penalty not in by_seed or reference not in by_seed:
                continue
            paired = stats.paired_difference(by_seed[penalty], by_seed[reference])
            rows += [(model, penalty, seed, value) for seed, value in paired.items()]
    return pd.DataFrame(rows, columns=["model", "penalty", "seed", "difference"])


def _draw_dataset(scores: Scores, dataset: str, folder: Path) -> Drawn | Absent:
    title = f"{TITLE}: {dataset}"
    if scores.reference is None:
        return Absent(title, "The study has no penalty of kind none to compare with.")
    points = differences(scores, dataset)
    if points.empty:
        return Absent(title, f"On {dataset} no evaluation seed has a test score both with and without a penalty yet.")
    models = [name for name in scores.study["models"] if name in set(points["model"])]
    penalties = [name for name in scores.study["penalties"] if name in set(points["penalty"])]
    name = f"paired_difference-{dataset}"
    with style.paper(name):
        rows, columns = style.grid_of(len(models))
        size = (style.PAGE if columns > 1 else style.COLUMN, (0.21 * len(penalties) + 0.42) * rows + 0.35)
        figure, axes = plt.subplots(
            rows, columns, figsize=size, sharex=True, sharey=True, squeeze=False, layout="constrained"
        )
        for axis, model in zip(axes.flat, models, strict=False):
            _draw_panel(axis, points[points["model"] == model], penalties, model)
        for axis in style.outer(axes)[1]:
            axis.set_xlabel("difference to no penalty (points)")
        width = style.save(figure, folder, name, _summary(points))
    return Drawn(name, width, title, _caption(scores, points, dataset), _alt(points, dataset))


def _summary(points: pd.DataFrame) -> pd.DataFrame:
    """The points, each with the mean and interval of its model and penalty."""
    intervals = {
        key: stats.mean_interval(part["difference"].to_numpy())
        for key, part in points.groupby(["model", "penalty"], sort=False)
    }
    of = [intervals[key] for key in points[["model", "penalty"]].itertuples(index=False, name=None)]
    return points.assign(
        mean=[i.mean for i in of], low=[i.low for i in of], high=[i.high for i in of], n=[i.n for i in of]
    )


def _draw_panel(axis: Axes, points: pd.DataFrame, penalties: list[str], model: str) -> None:
    axis.set_title(style.wrapped(model, 26))
    axis.axvspan(-EQUIVALENT, EQUIVALENT, color="#dddddd", lw=0, zorder=0)
    axis.axvline(0, color=style.REFERENCE_COLOUR, lw=0.6, zorder=1)
    looks = style.looks(penalties)
    for place, penalty in enumerate(penalties):
        values = points.loc[points["penalty"] == penalty, "difference"].to_numpy()
        look = looks[penalty]
        above, below = place - 0.17, place + 0.2
        axis.plot(values, [above] * len(values), look.marker, ms=3.5, mew=0, alpha=0.6, color=look.colour)
        estimate = stats.mean_interval(values)
        if estimate.n > 1:
            axis.plot([estimate.low, estimate.high], [below, below], color="black", lw=0.9, zorder=4)
        if estimate.n:
            axis.plot([estimate.mean], [below], "|", ms=5, mew=1.2, color="black", zorder=5)
    axis.set_yticks(range(len(penalties)), penalties)
    axis.set_ylim(len(penalties) - 0.4, -0.6)
    axis.locator_params(axis="x", nbins=5)
    axis.tick_params(axis="y", length=0)
    sns.despine(ax=axis, left=True)


def _caption(scores: Scores, points: pd.DataFrame, dataset: str) -> str:
    counts = points.groupby(["model", "penalty"]).size()
    n = f"{counts.min()}" if counts.min() == counts.max() else f"{counts.min()} to {counts.max()}"
    text = (
        f"Test mIoU on {dataset} minus that of {_references(scores)} at the same seed, by penalty: each "
        f"coloured point is one evaluation seed (n = {n}), the black stroke below them their mean"
    )
    text += ", the line its 95 % t-interval over seeds." if counts.max() > 1 else "; one seed gives no interval."
    text += f" Grey: the region of practical equivalence, ±{EQUIVALENT} points, set in advance."
    kinds = {name: entry["kind"] for name, entry in scores.study["penalties"].items()}
    alone = sorted(name for name, kind in kinds.items() if kind != "none" and scores.reference_of(name) is None)
    if alone:
        text += f" Without an unpenalised entry of the same update rule, so not shown: {', '.join(alone)}."
    groups = {(m, p) for _, m, p in scores.groups if kinds[p] != "none" and scores.reference_of(p) is not None}
    lacking = sorted(f"{model} with {penalty}" for model, penalty in groups - set(counts.index))
    return text + (f" Without a pair of finished cells, so not shown: {', '.join(lacking)}." if lacking else "")


def _references(scores: Scores) -> str:
    """The unpenalised entry that differences are taken from, or what chooses it where there are several."""
    found = {scores.reference_of(name) for name in scores.study["penalties"]} - {None}
    return str(scores.reference) if len(found) == 1 else "the unpenalised entry of the same update rule"


def _alt(points: pd.DataFrame, dataset: str) -> str:
    means = points.groupby(["model", "penalty"], sort=False, as_index=False)["difference"].mean()
    rows = means.itertuples(index=False, name=None)
    listed = "; ".join(f"{model} with {penalty}: {value:+.2f}" for model, penalty, value in rows)
    return f"Dot plot of paired differences in test mIoU on {dataset}, means in points. {listed}."
