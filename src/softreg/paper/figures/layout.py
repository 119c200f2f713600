"""What the figures share: their pages and panels, what stands around these, and lines with error bars."""

from __future__ import annotations

import math
from collections.abc import Callable, Collection, Iterable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import seaborn as sns
from matplotlib import pyplot as plt
from matplotlib.artist import Artist
from matplotlib.axes import Axes
from matplotlib.axis import Axis
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from matplotlib.ticker import FixedLocator, LogLocator, MaxNLocator, NullLocator

from softreg.paper.figures import style
from softreg.paper.figures.style import Absent, Drawn, Entries, Look
from softreg.paper.scores import Scores

ROPE_COLOUR = "#dddddd"
_STEPS = (range(1, 10), (1, 2, 4, 6, 8), (1, 2, 4, 7), (1, 2, 5), (1, 3), (1,))
"""Within a power of ten, the ticks of a logarithmic axis, from the finest on."""
_RAISED = str.maketrans("-0123456789", "⁻⁰¹²³⁴⁵⁶⁷⁸⁹")


# Pages: one figure, or several that show one thing between them.


@dataclass(frozen=True)
class Page:
    """One figure: the numbers that lie beside it, what draws it, and its texts."""

    numbers: pd.DataFrame
    draw: Callable[[], Figure]
    caption: str
    alt: str


Pages = list[Page] | str
"""The pages of a figure, or the sentence that says why there is none."""
Named = tuple[str, str, Pages]
"""A figure: the stem of its files, its title and its pages."""
Figures = Iterable[Named]


def write(folder: Path, stem: str, title: str, pages: Pages) -> Entries:
    """Draw each page into ``folder``: as ``stem``, or where there are several as ``stem``-1, ``stem``-2 and so on."""
    if isinstance(pages, str):
        return [Absent(title, pages)]
    entries: Entries = []
    for place, page in enumerate(pages, start=1):
        name, of = (f"{stem}-{place}", f" ({place} of {len(pages)})") if len(pages) > 1 else (stem, "")
        with style.paper(name):
            width = style.save(page.draw(), folder, name, page.numbers)
        entries.append(Drawn(name, width, title + of, page.caption, page.alt))
    return entries


def of_datasets(scores: Scores, stem: str, title: str, make: Callable[[str], Pages]) -> Iterator[Named]:
    """A figure of each data set of the study, whose pages ``make`` gives."""
    for dataset in scores.study["datasets"]:
        yield f"{stem}-{dataset}", f"{title}: {scores.label(dataset)}", make(dataset)


def of_models(
    scores: Scores,
    stem: str,
    title: str,
    make: Callable[[str, str, str], Pages],
    penalties: Collection[str] = (),
) -> Iterator[Named]:
    """A figure of each data set and model that the study trains, with one of ``penalties`` where these are given.

    ``make`` gives its pages, of a data set, a model, and what they are called together.
    """
    groups = [group for group in scores.groups if not penalties or group[2] in penalties]
    for dataset, model in dict.fromkeys(group[:2] for group in groups):
        of = f"{scores.label(model)} on {scores.label(dataset)}"
        yield f"{stem}-{dataset}-{model}", f"{title}: {of}", make(dataset, model, of)


# What is shown of a table.


def models_of(scores: Scores, points: pd.DataFrame) -> list[str]:
    """The models that ``points`` have, in the order of the study."""
    return [name for name in scores.study["models"] if name in set(points["model"])]


def penalties_of(scores: Scores, points: pd.DataFrame) -> list[str]:
    """The penalties that ``points`` have, in the order to show."""
    return [name for name in scores.penalties if name in set(points["penalty"])]


# Axes.


def grid(
    titles: Sequence[str],
    height: float,
    x: str,
    *y: str,
    most: int = 3,
    parts: Sequence[float] = (1.0,),
    **shared: Any,
) -> tuple[Figure, list[list[Axes]]]:
    """A figure with a panel for each of ``titles``, ``height`` inches each, at most ``most`` abreast.

    A panel has axes one above the other, as tall against each other as ``parts`` say. ``x`` stands below the lowest
    panel of each column, ``y`` (one for each part) beside the first of each row.
    """
    rows = math.ceil(len(titles) / most)
    columns = math.ceil(len(titles) / rows)
    figure, axes = plt.subplots(
        rows * len(parts),
        columns,
        figsize=(style.PAGE if columns > 1 else style.COLUMN, rows * height + 0.2),
        height_ratios=[*parts] * rows,
        squeeze=False,
        layout="constrained",
        **shared,
    )
    stacks = [[*axes[r * len(parts) : (r + 1) * len(parts), c]] for r in range(rows) for c in range(columns)]
    for place, stack in enumerate(stacks):
        for axis, label in zip(stack, y or [""], strict=True):
            sns.despine(ax=axis)
            axis.set_ylabel(label if place % columns == 0 else "")
            if place >= len(titles):
                axis.remove()
        if len(titles) - columns <= place < len(titles):
            stack[-1].set_xlabel(x)
            stack[-1].tick_params(axis="x", labelbottom=True)
    for stack, title in zip(stacks, titles, strict=False):
        stack[0].set_title(_titled(title))
    return figure, stacks[: len(titles)]


def most_panels(height: float) -> int:
    """Panels of a page: three abreast, as many rows ``height`` inches tall as it holds above the legend."""
    return 3 * max(1, int((style.TALL - 0.7) / height))


def _titled(title: str) -> str:
    return "\n".join(style.wrapped(line, 26) for line in title.split("\n"))


def lines_in(titles: Iterable[str]) -> int:
    """The most lines that one of the titles of panels takes."""
    return 1 + max(_titled(title).count("\n") for title in titles)


def show_rope(axis: Axes, scores: Scores, upright: bool = False) -> None:
    """The region of practical equivalence in grey, and a line at no difference."""
    span, line = (axis.axvspan, axis.axvline) if upright else (axis.axhspan, axis.axhline)
    span(-scores.rope, scores.rope, color=ROPE_COLOUR, lw=0, zorder=0)
    line(0, color=style.REFERENCE_COLOUR, lw=0.6, zorder=1)


def round_ticks(axis: Axis, label: float, most: float = math.inf) -> None:
    """Round numbers up to ``most`` on a logarithmic axis, each with room for a label, ``label`` of the axis long."""
    low, high = axis.get_view_interval()
    locators = [MaxNLocator(6, steps=[1, 2, 5, 10])] if high < 3 * low else []
    for locator in [*locators, *(LogLocator(subs=steps) for steps in _STEPS)]:
        ticks = [tick for tick in locator.tick_values(low, high) if low <= tick <= min(high, most)]
        if ticks and np.diff(np.log(ticks)).min(initial=np.inf) >= label * math.log(high / low):
            break
    axis.set_major_locator(FixedLocator(ticks))
    # Ticks between them take most of the time of drawing, and tell little.
    axis.set_minor_locator(NullLocator())


def show_powers(axis: Axis) -> None:
    """Powers of ten on a logarithmic axis, as 10⁻³ in plain characters."""
    axis.set_major_formatter(lambda value, _: "10" + str(round(math.log10(value))).translate(_RAISED))
    # Ticks between them take most of the time of drawing, and tell little.
    axis.set_minor_locator(NullLocator())


# Lines and legends.


def marks(look: Look) -> dict[str, Any]:
    """A look as matplotlib takes it."""
    face: dict[str, Any] = {"mfc": "white", "mew": 0.7} if look.hollow else {"mew": 0}
    return {"color": look.colour, "ls": look.line, "marker": look.marker} | face


def draw_line(axis: Axes, look: Look, x: Any, y: Any, error: Any = None, **other: Any) -> None:
    """A line with markers and, of ``error`` (half a bar, or both ends' distances), bars where there is a number."""
    bars = None if error is None else np.nan_to_num(np.asarray(error, float))
    axis.errorbar(x, y, bars, **marks(look) | {"ms": 3, "elinewidth": 0.6} | other)


def ends(points: pd.DataFrame) -> list[pd.Series[float]]:
    """How far ``low`` and ``high`` lie from ``mean``, as `draw_line` takes it."""
    return [points["mean"] - points["low"], points["high"] - points["mean"]]


def apart(place: Any, count: Any) -> Any:
    """By how many steps the line at ``place`` is set aside, so that error bars do not cover each other."""
    return place - (count - 1) / 2


def handle(look: Look, label: str, **other: Any) -> Line2D:
    """What a legend shows of a line; matplotlib would leave out a label that begins with an underscore."""
    label = f" {label}" if label.startswith("_") else label
    return Line2D([], [], label=label, **marks(look) | {"ms": 3.5} | other)


def handles_of(scores: Scores, points: pd.DataFrame, **other: Any) -> list[Line2D]:
    """What a legend shows of the penalties of ``points``, in the order to show."""
    looks = style.looks_of(scores)
    return [handle(looks[name], scores.label(name), **other) for name in penalties_of(scores, points)]


def add_legend(figure: Figure, handles: Sequence[Artist], room: float = 0.55, **other: Any) -> None:
    """A legend of ``handles``, each ``room`` inches wide, below the panels, for which the figure becomes taller."""
    width, height = figure.get_size_inches()
    columns = style.columns_for([str(each.get_label()) for each in handles], width, room)
    lines = math.ceil(len(handles) / columns) + ("title" in other)
    figure.set_size_inches(width, height + 0.185 * lines + 0.1)
    figure.legend(handles=handles, loc="outside lower center", ncols=columns, frameon=False, **other)


# Words.


def errors_told(seeds: pd.Series[Any], phase: str) -> str:
    """What the error bars of means over so many ``phase`` (tuning or evaluation) seeds are."""
    if seeds.max() > 1:
        return f"mean ± standard error over {span(seeds)} {phase} seeds"
    return f"one {phase} seed, hence no error bars"


def span(values: pd.Series[Any]) -> str:
    """The least and the greatest of ``values``, such as 2 to 3, or the one that all are."""
    low, high = values.min(), values.max()
    return f"{low}" if low == high else f"{low} to {high}"


def listed(scores: Scores, names: Iterable[str]) -> str:
    """The names as the study calls them, one after the other."""
    return ", ".join(map(scores.label, names))


def left_out(scores: Scores, why: str, names: Sequence[str]) -> str:
    """The sentence on ``names`` that a figure does not show, as they are ``why``; empty where there is none."""
    return f" {why}, so not shown: {listed(scores, names)}." if names else ""


def lacking(scores: Scores, models: Collection[str]) -> str:
    """The sentence on the study's models that are not among ``models``."""
    return left_out(scores, "No finished cells yet", [name for name in scores.study["models"] if name not in models])


def t_told(seeds: pd.Series[Any]) -> str:
    """What the t-intervals of means over so many evaluation seeds are."""
    if seeds.max() > 1:
        return f"95 % t-interval over evaluation seeds, n = {span(seeds)}; test images held fixed"
    return "one evaluation seed, which gives no interval"


def told_reference(scores: Scores, rows: pd.DataFrame) -> str:
    """The unpenalised entry that ``rows`` are compared with, or what chooses it where there are several."""
    references = {scores.references[name] for name in rows["penalty"]}
    return scores.label(*references) if len(references) == 1 else "the unpenalised entry of the same update rule"
