"""Test mIoU under corruptions, against their severity: one figure a data set, a row a model, a line a penalty."""

from __future__ import annotations

from functools import partial
from pathlib import Path

import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from softreg.paper.figures import layout, style
from softreg.paper.figures.layout import Page, Pages, Panel
from softreg.paper.figures.style import Absent, Entries
from softreg.paper.questions.robustness import NO_CORRUPTION, conditions
from softreg.paper.scores import Scores
from softreg.scoring import stats
from softreg.scoring.select import GROUP

TITLE = "Test mIoU on corrupted images"
MOST_ROWS = 6
"""Rows of panels that a page can hold."""
_ASIDE = 0.07
"""By how many severities neighbouring penalties are set apart, so that their error bars can be seen."""


def draw(scores: Scores, folder: Path) -> Entries:
    """One figure for each data set; of many models, several."""
    tested = conditions(scores)
    if tested.empty:
        return [Absent(TITLE, NO_CORRUPTION)]
    return layout.write_datasets(scores, folder, "robustness", TITLE, partial(_pages, scores, tested))


def points_of(scores: Scores, tested: pd.DataFrame, dataset: str) -> pd.DataFrame:
    """Mean test mIoU (points) over seeds: model, penalty, corruption, severity, miou, se, seeds.

    Severity 0 are the images as they are, told for each corruption anew.
    """
    mine = tested[tested["dataset"] == dataset]
    plain = mine.assign(severity=0, miou=mine["miou"] + mine["drop"])
    rows = pd.concat([plain.drop_duplicates([*GROUP, "seed", "corruption"]), mine])
    means = rows.groupby(["model", "penalty", "corruption", "severity"])["miou"]
    table = means.agg(miou="mean", se=stats.standard_error, seeds="size").reset_index()
    return scores.ordered(table).reset_index(drop=True)


def _pages(scores: Scores, tested: pd.DataFrame, dataset: str) -> Pages:
    points = points_of(scores, tested, dataset)
    if points.empty:
        return f"No network was tested on {scores.label(dataset)} yet: {scores.finish('final')}"
    panels = layout.panels_of(scores, points)
    pages = []
    for some in style.pages(panels, MOST_ROWS):
        shown = layout.shown_in(points, some)
        caption = _caption(scores, shown, dataset) + layout.shares_told(panels, "rows")
        pages.append(Page(shown, partial(_draw_panels, scores, shown, some), caption, _alt(scores, shown, dataset)))
    return pages


def _draw_panels(scores: Scores, points: pd.DataFrame, panels: list[Panel]) -> Figure:
    """A row for each panel, a column for each corruption."""
    seen = set(points["corruption"])
    corruptions = [name for name in scores.study["evaluation"]["corruptions"] if name in seen] or sorted(seen)
    titles = corruptions + [""] * len(corruptions) * (len(panels) - 1)
    height, columns = 1.2 if len(panels) > 1 else 1.8, len(corruptions)
    figure, stacks = layout.grid(titles, height, "severity", "", most=columns, sharex=True, sharey="row")
    for place, (axis,) in enumerate(stacks):
        panel, corruption = panels[place // columns], corruptions[place % columns]
        mine = points[panel.rows(points) & (points["corruption"] == corruption)]
        _draw_panel(axis, scores, mine)
        if corruption == corruptions[0]:
            axis.set_ylabel(f"{style.wrapped(panel.title, 14)}\nmIoU")
    layout.add_legend(figure, layout.handles_of(scores, points))
    return figure


def _draw_panel(axis: Axes, scores: Scores, points: pd.DataFrame) -> None:
    groups = points.groupby("penalty", sort=False)
    for place, (penalty, mine) in enumerate(groups):
        x = mine["severity"] + _ASIDE * layout.apart(place, len(groups))
        layout.draw_line(axis, style.looks_of(scores)[str(penalty)], x, mine["miou"], mine["se"])
    axis.set_xticks(sorted(set(points["severity"])))
    axis.locator_params(axis="y", nbins=4)


def _caption(scores: Scores, points: pd.DataFrame, dataset: str) -> str:
    error = layout.errors_told(points["seeds"], "evaluation")
    return (
        f"Test mIoU (points, 0 to 100) on {scores.label(dataset)} against the severity of a corruption of the test "
        f"images, 0 being the images as they are ({error}; the same images and the same corruption for every network)."
        f"{layout.APART_TOLD}"
    )


def _alt(scores: Scores, points: pd.DataFrame, dataset: str) -> str:
    ends = points.groupby(["model", "penalty", "corruption"], sort=False)["miou"].agg(["first", "last"])
    drops = (ends["first"] - ends["last"]).groupby(["model", "penalty"], sort=False).mean().reset_index()
    listed = "; ".join(f"{scores.label(m)} with {scores.label(p)} {drop:.1f}" for m, p, drop in drops.to_numpy())
    return (
        f"Line plots of test mIoU against severity on {scores.label(dataset)}. Points lost at the highest severity, a "
        f"mean over corruptions: {listed}."
    )
