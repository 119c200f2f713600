"""What has finished of an incomplete study: cells of each data set, model and penalty, in sweep and final."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable
from functools import partial
from pathlib import Path

import pandas as pd
import seaborn as sns
from matplotlib import pyplot as plt
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from softreg.paper.figures import layout, style
from softreg.paper.figures.layout import Page
from softreg.paper.figures.style import Absent, Drawn
from softreg.paper.scores import Scores

TITLE = "Finished cells"
_PHASES = {"sweep": "sweep, tuning seeds", "final": "final, evaluation seeds"}
_FINISHED = "finished"
_CHARACTER, _LINE = 0.072, 0.165
"""Inches that a character of 8-point type takes, and a line of it."""
_MOST_REASONS = 4


def draw(scores: Scores, folder: Path) -> list[Drawn | Absent]:
    """One figure for the study, or several where it does not fit on a page; none where every cell has finished."""
    counts = _counts(scores)
    if counts.empty:
        return [Absent(TITLE, "The study asks for no cell: add a data set, a model and a penalty to it.")]
    if (counts["finished"] == counts["expected"]).all():
        return [Absent(TITLE, f"All {counts['expected'].sum()} cells of the study have finished.")]
    pages = [
        Page(shown, partial(_draw_page, scores, shown), _caption(scores, shown), _alt(scores, shown))
        for shown in _pages(scores, counts)
    ]
    return layout.write(folder, "coverage", TITLE, pages)


def _counts(scores: Scores) -> pd.DataFrame:
    """Columns phase, dataset, model, penalty, finished, expected: numbers of cells that the study asks for."""
    cells = scores.cells.assign(finished=scores.cells["status"] == _FINISHED)
    grouped = cells.groupby(["phase", "dataset", "model", "penalty"], sort=False)["finished"]
    return grouped.agg(finished="sum", expected="size").reset_index()


def _pages(scores: Scores, counts: pd.DataFrame) -> list[pd.DataFrame]:
    """The counts in parts that fit: as few columns as a page's width allows, then rows."""
    places, penalties = _places(scores, counts), layout.penalties_of(scores, counts)
    cell = _CHARACTER * (2 * len(str(counts["expected"].max())) + 1) + 0.08
    columns = int((style.PAGE - _labels_width(places.values())) / cell)
    rows = int((style.TALL - _labels_width(map(scores.label, penalties)) - 0.6) / (2 * _LINE))
    of = pd.MultiIndex.from_frame(counts[["dataset", "model"]])
    return [
        counts[counts["penalty"].isin(names) & of.isin(some)]
        for names in style.pages(penalties, max(1, columns))
        for some in style.pages([*places], max(1, rows))
    ]


def _places(scores: Scores, counts: pd.DataFrame) -> dict[tuple[str, str], str]:
    """What the rows of a matrix are called: by model, and where there are several data sets by these too."""
    asked = set(counts[["dataset", "model"]].itertuples(index=False, name=None))
    places = [(d, m) for d in scores.study["datasets"] for m in scores.study["models"] if (d, m) in asked]
    several = len(scores.study["datasets"]) > 1
    return {(d, m): f"{scores.label(d)}, {scores.label(m)}" if several else scores.label(m) for d, m in places}


def _labels_width(labels: Iterable[str]) -> float:
    return 0.15 + _CHARACTER * max(map(len, labels))


def _draw_page(scores: Scores, counts: pd.DataFrame) -> Figure:
    """The sweep above, the final below: shade and numbers of each cell, nothing where the study asks for none."""
    places, penalties = _places(scores, counts), layout.penalties_of(scores, counts)
    names = [*map(scores.label, penalties)]
    height = 2 * (len(places) * _LINE + 0.3) + _labels_width(names)
    width = style.COLUMN if 0.45 * len(names) + _labels_width(places.values()) < style.COLUMN else style.PAGE
    figure, axes = plt.subplots(2, 1, figsize=(width, height), sharex=True, layout="constrained")
    for axis, (phase, title) in zip(axes, _PHASES.items(), strict=True):
        mine = counts[counts["phase"] == phase]
        mine = mine.assign(text=mine["finished"].astype(str) + "/" + mine["expected"].astype(str))
        # A step, so that one missing of many is seen.
        shade = (0.6 * mine["finished"] / mine["expected"]).mask(mine["finished"] == mine["expected"], 1.0)
        shades, texts = (
            mine.assign(shade=shade)
            .pivot(index=["dataset", "model"], columns="penalty", values=part)
            .reindex(index=[*places], columns=penalties)
            for part in ("shade", "text")
        )
        _draw_matrix(axis, shades.set_axis([*places.values()]).set_axis(names, axis=1), texts)
        axis.set_title(title)
    axes[-1].tick_params(axis="x", rotation=90 if max(map(len, names)) > 6 else 0)
    return figure


def _draw_matrix(axis: Axes, shades: pd.DataFrame, texts: pd.DataFrame) -> None:
    colours = sns.blend_palette(["#ffffff", "#8ab6d8"], as_cmap=True)
    look = {"linewidths": 0.4, "linecolor": "#888888", "annot_kws": {"color": "black", "fontsize": 8}}
    sns.heatmap(shades, ax=axis, vmin=0, vmax=1, cmap=colours, annot=texts.to_numpy(), fmt="", cbar=False, **look)
    axis.set(xlabel="", ylabel="")
    axis.tick_params(length=0, rotation=0)


def _caption(scores: Scores, counts: pd.DataFrame) -> str:
    one = counts["dataset"].unique()
    rows = f"model (rows) on {scores.label(one[0])}" if len(one) == 1 else "data set and model (rows)"
    cells = scores.cells
    text = (
        f"Finished cells of those that the study asks for, by {rows} and penalty (columns): above the sweep over λ "
        "with the tuning seeds, below the final at λ̂ with the evaluation seeds. The darker, the more have finished; "
        "empty: none asked for. In the whole study "
        f"{(cells['status'] == _FINISHED).sum()} of {len(cells)} have finished"
    )
    others = cells[cells["status"] != _FINISHED]
    return f"{text}; {_reasons(others)}." if len(others) else f"{text}."


def _reasons(cells: pd.DataFrame) -> str:
    """How many cells ended otherwise, by status, and a reason of each, the most frequent first."""
    counted = Counter(cells["status"])
    told = []
    for status, count in sorted(counted.items(), key=lambda item: (-item[1], item[0]))[:_MOST_REASONS]:
        reasons = Counter(reason for reason in cells.loc[cells["status"] == status, "reason"] if reason)
        ranked = sorted(reasons, key=lambda reason: (-reasons[reason], reason))
        example = f" ({'such as: ' if len(ranked) > 1 else ''}{ranked[0].rstrip('.')})" if ranked else ""
        told.append(f"{count} {status}{example}")
    return ", ".join(told)


def _alt(scores: Scores, counts: pd.DataFrame) -> str:
    partial = counts[counts["finished"] < counts["expected"]]
    rows = partial[["phase", "dataset", "model", "penalty", "finished", "expected"]].itertuples(index=False, name=None)
    listed = "; ".join(
        f"{phase}, {scores.label(d)}, {scores.label(m)}, {scores.label(p)}: {finished} of {expected}"
        for phase, d, m, p, finished, expected in rows
    )
    return f"Matrix of finished cells. Incomplete: {listed or 'none'}."
