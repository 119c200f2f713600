"""What has finished: cells of each data set, model and penalty, in the sweep and in the final."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass
from pathlib import Path

import pandas as pd
import seaborn as sns
from matplotlib import pyplot as plt
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.patches import Rectangle

from softreg.paper.figures import style
from softreg.paper.figures.style import Absent, Drawn
from softreg.paper.scores import Scores

TITLE = "Finished cells"
NAME = "coverage"
_PHASES = {"sweep": "sweep, tuning seeds", "final": "final, evaluation seeds"}
_FINISHED = "finished"
_CHARACTER, _LINE = 0.072, 0.165
"""Inches that a character of 8-point type takes, and a line of it."""
_MOST_REASONS = 4

Place = tuple[str, str]
"""A data set and a model."""


@dataclass(frozen=True)
class _Page:
    """What one figure shows, and whether a cell's two numbers stand one above the other."""

    places: list[Place]
    penalties: list[str]
    width: float
    stacked: bool


def draw(scores: Scores, folder: Path) -> list[Drawn | Absent]:
    """One figure for the study, or several where it does not fit on a page; see `softreg.paper.figures`."""
    counts = _counts(scores)
    if counts.empty:
        return [Absent(TITLE, "The study asks for no cell: add a data set, a model and a penalty to it.")]
    pages = _pages(scores, counts)
    entries: list[Drawn | Absent] = []
    for place, page in enumerate(pages):
        name = style.numbered(NAME, place, len(pages))
        of_page = pd.MultiIndex.from_frame(counts[["dataset", "model"]]).isin(page.places)
        shown = counts[counts["penalty"].isin(page.penalties) & of_page]
        with style.paper(name):
            width = style.save(_draw_page(scores, page, shown), folder, name, shown)
        of = f" ({place + 1} of {len(pages)})" if len(pages) > 1 else ""
        entries.append(Drawn(name, width, TITLE + of, _caption(scores, shown), _alt(scores, shown)))
    return entries


def _counts(scores: Scores) -> pd.DataFrame:
    """Columns phase, dataset, model, penalty, finished, expected: numbers of cells that the study asks for."""
    cells = scores.cells.assign(finished=scores.cells["status"] == _FINISHED)
    grouped = cells.groupby(["phase", "dataset", "model", "penalty"], sort=False)["finished"]
    return grouped.agg(finished="sum", expected="size").reset_index()


def _pages(scores: Scores, counts: pd.DataFrame) -> list[_Page]:
    """The matrix in parts that fit: as few columns as a page's width allows, then rows."""
    places = [(d, m) for d in scores.study["datasets"] for m in scores.study["models"]]
    asked = set(counts[["dataset", "model"]].itertuples(index=False, name=None))
    places = [place for place in places if place in asked]
    penalties = [name for name in scores.penalties if name in set(counts["penalty"])]
    room = style.PAGE - _labels_width(scores, places)
    digits = len(str(counts["expected"].max()))
    wide, narrow = (characters * _CHARACTER + 0.08 for characters in (2 * digits + 1, digits + 1))
    stacked = wide * len(penalties) > room
    small = not stacked and wide * len(penalties) <= room - style.PAGE + style.COLUMN
    columns = style.pages(penalties, max(1, int(room / (narrow if stacked else wide))))
    line = _LINE * (2 if stacked else 1)
    free = style.TALL - _names_height(scores, penalties) - 0.6
    rows = style.pages(places, max(1, int(free / (2 * line)) - len({dataset for dataset, _ in places})))
    width = style.COLUMN if small else style.PAGE
    return [_Page(some, names, width, stacked) for names in columns for some in rows]


def _labels_width(scores: Scores, places: list[Place]) -> float:
    return 0.15 + _CHARACTER * max(len(scores.label(name)) for place in places for name in place)


def _names_height(scores: Scores, penalties: list[str]) -> float:
    return 0.15 + 0.068 * max(len(scores.label(name)) for name in penalties)


def _draw_page(scores: Scores, page: _Page, counts: pd.DataFrame) -> Figure:
    """The sweep above, the final below."""
    lines = _lines(page.places)
    height = 2 * (len(lines) * _LINE * (2 if page.stacked else 1) + 0.3) + _names_height(scores, page.penalties)
    figure, axes = plt.subplots(2, 1, figsize=(page.width, height), sharex=True, layout="constrained")
    for axis, (phase, title) in zip(axes, _PHASES.items(), strict=True):
        axis.set_title(title)
        _draw_matrix(axis, page, lines, counts[counts["phase"] == phase])
        labels = [scores.label(dataset if model is None else model) for dataset, model in lines]
        axis.set_yticks(range(len(lines)), labels)
        for text, (_, model) in zip(axis.get_yticklabels(), lines, strict=True):
            text.set_fontweight("bold" if model is None else "normal")
    names = [scores.label(name) for name in page.penalties]
    cell = (page.width - _labels_width(scores, page.places)) / len(names)
    narrow = max(map(len, names)) * _CHARACTER + 0.1 > cell
    axes[-1].set_xticks(range(len(names)), names, rotation=90 if narrow else 0)
    return figure


def _lines(places: list[Place]) -> list[tuple[str, str | None]]:
    """The places, below the name of each data set, which stands alone; of one data set, no name."""
    several = len({dataset for dataset, _ in places}) > 1
    lines: list[tuple[str, str | None]] = []
    for dataset, model in places:
        if several and (not lines or lines[-1][0] != dataset):
            lines.append((dataset, None))
        lines.append((dataset, model))
    return lines


def _draw_matrix(axis: Axes, page: _Page, lines: list[tuple[str, str | None]], counts: pd.DataFrame) -> None:
    """Shade and numbers of each cell; a dash where the study asks for none."""
    shades = sns.blend_palette(["#ffffff", "#8ab6d8"], as_cmap=True)
    keyed = counts.set_index(["dataset", "model", "penalty"])
    of = dict(zip(keyed.index, keyed[["finished", "expected"]].itertuples(index=False, name=None), strict=True))
    for y, (dataset, model) in enumerate(lines):
        for x, penalty in enumerate(page.penalties if model else []):
            finished, expected = of.get((dataset, model, penalty), (0, 0))
            text = f"{finished}\n/{expected}" if page.stacked else f"{finished}/{expected}"
            if expected:
                # A step, so that one missing of many is seen.
                colour = shades(1.0 if finished == expected else 0.6 * finished / expected)
                axis.add_patch(Rectangle((x - 0.5, y - 0.5), 1, 1, facecolor=colour, edgecolor="#888888", lw=0.4))
            axis.text(x, y, text if expected else "–", ha="center", va="center", linespacing=1)
    axis.set_xlim(-0.5, len(page.penalties) - 0.5)
    axis.set_ylim(len(lines) - 0.5, -0.5)
    axis.tick_params(length=0)
    sns.despine(ax=axis, left=True, bottom=True)


def _caption(scores: Scores, counts: pd.DataFrame) -> str:
    one = counts["dataset"].unique()
    rows = f"model (rows) on {scores.label(one[0])}" if len(one) == 1 else "data set and model (rows)"
    cells = scores.cells
    text = (
        f"Finished cells of those that the study asks for, by {rows} and penalty (columns): above the sweep over λ "
        "with the tuning seeds, below the final at λ̂ with the evaluation seeds. The darker, the more have finished; a "
        f"dash: none asked for. In the whole study {(cells['status'] == _FINISHED).sum()} of {len(cells)} have finished"
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
