"""Test mIoU under corruptions, against their severity: one figure a data set, a row a model, a line a penalty."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import seaborn as sns
from matplotlib import pyplot as plt
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from softreg.paper.figures import style
from softreg.paper.figures.reliability import add_legend, handles_of, panels_of, shares_of, title_of
from softreg.paper.figures.style import Absent, Drawn
from softreg.paper.questions.robustness import NO_CORRUPTION, conditions
from softreg.paper.scores import Scores
from softreg.scoring import stats
from softreg.scoring.select import GROUP

TITLE = "Test mIoU on corrupted images"
MOST_ROWS = 6
"""Rows of panels that a page can hold."""
_ASIDE = 0.07
"""By how many severities neighbouring penalties are set apart, so that their error bars can be seen."""


def draw(scores: Scores, folder: Path) -> list[Drawn | Absent]:
    """One figure for each data set; of many models, several."""
    tested = conditions(scores)
    if tested.empty:
        return [Absent(TITLE, NO_CORRUPTION)]
    return [entry for dataset in scores.study["datasets"] for entry in _draw_dataset(scores, tested, dataset, folder)]


def points_of(scores: Scores, tested: pd.DataFrame, dataset: str) -> pd.DataFrame:
    """Mean test mIoU (points) over seeds: model, penalty, corruption, severity, miou, se, seeds.

    Severity 0 are the images as they are, told for each corruption anew.
    """
    mine = tested[tested["dataset"] == dataset]
    plain = mine.assign(severity=0, miou=mine["miou"] + mine["drop"])
    rows = pd.concat([plain.drop_duplicates([*GROUP, "seed", "corruption"]), mine])
    means = rows.groupby(["model", "penalty", "corruption", "severity"])["miou"]
    table = means.agg(miou="mean", se=stats.standard_error, seeds="size").reset_index()
    order = {name: place for place, name in enumerate(scores.penalties)}
    models = {name: place for place, name in enumerate(scores.study["models"])}
    by = [table["severity"], table["corruption"], table["penalty"].map(order), table["model"].map(models)]
    return table.iloc[np.lexsort(by)].reset_index(drop=True)


def _draw_dataset(scores: Scores, tested: pd.DataFrame, dataset: str, folder: Path) -> list[Drawn | Absent]:
    title = f"{TITLE}: {scores.label(dataset)}"
    points = points_of(scores, tested, dataset)
    if points.empty:
        return [Absent(title, f"No network was tested on {scores.label(dataset)} yet: finish the study's final.")]
    shares = shares_of(scores, set(points["penalty"]))
    models = [name for name in scores.study["models"] if name in set(points["model"])]
    pages = style.pages(models, max(1, MOST_ROWS // len(shares)))
    entries: list[Drawn | Absent] = []
    for place, page in enumerate(pages):
        name = style.numbered(f"robustness-{dataset}", place, len(pages))
        shown = points[points["model"].isin(page)]
        with style.paper(name):
            figure = _draw_panels(scores, shown, page, shares)
            width = style.save(figure, folder, name, shown)
        caption = _caption(scores, shown, dataset, len(shares))
        entries.append(Drawn(name, width, title, caption, _alt(scores, shown, dataset)))
    return entries


def _draw_panels(scores: Scores, points: pd.DataFrame, models: list[str], shares: list[list[str]]) -> Figure:
    corruptions = [name for name in scores.study["evaluation"]["corruptions"] if name in set(points["corruption"])]
    corruptions = corruptions or sorted(set(points["corruption"]))
    rows = panels_of(points, models, shares)
    columns = len(corruptions)
    figure, axes = plt.subplots(
        len(rows),
        columns,
        figsize=(style.PAGE if columns > 1 else style.COLUMN, (1.2 if len(rows) > 1 else 1.8) * len(rows) + 0.3),
        sharex=True,
        sharey="row",
        squeeze=False,
        layout="constrained",
    )
    for place, ((model, share), line) in enumerate(zip(rows, axes, strict=True)):
        for axis, corruption in zip(line, corruptions, strict=True):
            mine = points[(points["model"] == model) & (points["corruption"] == corruption)]
            _draw_panel(axis, scores, mine, share)
        line[0].set_ylabel(f"{style.wrapped(title_of(scores, rows, place), 14)}\nmIoU")
    for axis, corruption in zip(axes[0], corruptions, strict=True):
        axis.set_title(corruption)
    for axis in axes[-1]:
        axis.set_xlabel("severity")
    add_legend(figure, handles_of(scores, set(points["penalty"])))
    return figure


def _draw_panel(axis: Axes, scores: Scores, points: pd.DataFrame, penalties: list[str]) -> None:
    looks = style.looks_of(scores)
    shown = [name for name in penalties if name in set(points["penalty"])]
    for place, penalty in enumerate(shown):
        mine, look = points[points["penalty"] == penalty], looks[penalty]
        x = mine["severity"] + _ASIDE * (place - (len(shown) - 1) / 2)
        same: dict[str, Any] = {"color": look.colour, "ls": look.line, "marker": look.marker}
        axis.errorbar(x, mine["miou"], mine["se"].fillna(0), ms=3, mew=0, elinewidth=0.6, **same)
    axis.set_xticks(sorted(set(points["severity"])))
    axis.locator_params(axis="y", nbins=4)
    sns.despine(ax=axis)


def _caption(scores: Scores, points: pd.DataFrame, dataset: str, shares: int) -> str:
    low, high = points["seeds"].min(), points["seeds"].max()
    n = f"{low}" if low == high else f"{low} to {high}"
    error = (
        f"mean ± standard error over {n} evaluation seeds" if high > 1 else "one evaluation seed, hence no error bars"
    )
    text = (
        f"Test mIoU (points, 0 to 100) on {scores.label(dataset)} against the severity of a corruption of the test "
        f"images, 0 being the images as they are ({error}; the same images and the same corruption for every network). "
        "Points are set apart sideways a little where they would cover each other."
    )
    return text + (" A model with many penalties has several rows, each with a share of them." if shares > 1 else "")


def _alt(scores: Scores, points: pd.DataFrame, dataset: str) -> str:
    ends = points.groupby(["model", "penalty", "corruption"], sort=False)["miou"].agg(["first", "last"])
    drops = (ends["first"] - ends["last"]).groupby(["model", "penalty"], sort=False).mean().reset_index()
    listed = "; ".join(f"{scores.label(m)} with {scores.label(p)} {drop:.1f}" for m, p, drop in drops.to_numpy())
    return (
        f"Line plots of test mIoU against severity on {scores.label(dataset)}. Points lost at the highest severity, a "
        f"mean over corruptions: {listed}."
    )
