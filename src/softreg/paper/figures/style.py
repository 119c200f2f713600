"""One look for all figures: sizes as printed, 8-point type, colours and markers for the colour-blind too."""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, TypeVar

import matplotlib
import pandas as pd
import seaborn as sns
from fontTools import subset
from matplotlib import pyplot as plt
from matplotlib.figure import Figure

from softreg.files import whole_file, write_text
from softreg.paper import typeset
from softreg.paper.scores import Scores
from softreg.study.treatment import CONTROLS

T = TypeVar("T")

COLUMN, PAGE = 3.25, 6.75
"""Widths of a figure, in inches: one column of a two-column page, or the page."""

TALL = 8.6
"""The height, in inches, that a page has for a figure and leaves room for its caption."""

DPI = 300
"""Dots an inch of PNG files, and of photographs within the others."""

RC: dict[Any, Any] = {
    "font.family": "DejaVu Sans",
    "font.size": 8,
    # A $ in a name is a $, not the start of a formula, which would have to be a correct one.
    "text.parse_math": False,
    "axes.titlesize": 8,
    "axes.labelsize": 8,
    "xtick.labelsize": 8,
    "ytick.labelsize": 8,
    "legend.fontsize": 8,
    "axes.linewidth": 0.6,
    "xtick.major.width": 0.6,
    "ytick.major.width": 0.6,
    "xtick.minor.width": 0.4,
    "xtick.major.size": 3,
    "ytick.major.size": 3,
    "xtick.minor.size": 1.5,
    "lines.linewidth": 1.0,
    "pdf.fonttype": 42,
    "svg.fonttype": "path",
    "axes.unicode_minus": True,
    "hatch.linewidth": 0.6,
    # A figure is placed once, and then saved as it is; see `lay_out`.
    "savefig.bbox": "standard",
    "savefig.transparent": False,
    "savefig.facecolor": "auto",
    "savefig.edgecolor": "auto",
    "figure.autolayout": False,
    "figure.constrained_layout.use": False,
    "backend": "Agg",
}

_COLOURS = (
    *("#4433bb", "#ff9966", "#007744", "#ff2266", "#7799ff", "#772200"),
    *("#99cc00", "#662266", "#00ddaa", "#cc22aa", "#887700", "#ddaadd"),
)
"""Found by a search for the greatest least distance, in CIELAB, as all kinds of sight see them, and to the grey."""

_MARKERS = "osD^vPX*<>hd"
_LINES = ["-", "--", ":", "-."]
_FORMS = {"pdf": ("CreationDate", "ModDate", "Producer", "Creator"), "svg": ("Date", "Creator"), "png": ("Software",)}
"""What a figure is saved as, and what of the file's metadata is left out, as it differs each time."""
REFERENCE_COLOUR = "#333333"

# Matplotlib places each letter itself: a PDF needs none of a font's tables of layout, which take a fifth of the time.
subset.Options._drop_tables_default = [*subset.Options._drop_tables_default, "GDEF", "GPOS", "GSUB", "MATH", "kern"]


@dataclass(frozen=True)
class Drawn:
    """A figure that was drawn, ``width`` inches wide: the files ``name`` .pdf, .svg, .png and .csv."""

    name: str
    width: float
    title: str
    caption: str
    alt: str


@dataclass(frozen=True)
class Absent:
    """A figure that was not drawn, and why, in one sentence."""

    title: str
    reason: str


Entries = list[Drawn | Absent]


@dataclass(frozen=True)
class Look:
    """How one penalty is drawn, the same in every figure of a study; the markers of controls are hollow."""

    colour: str
    marker: str
    line: str
    hollow: bool = False


def looks(penalties: list[str], palette: Sequence[str] | None = None) -> dict[str, Look]:
    """A look for each penalty, by its place: twelve colours and markers, then again with other lines.

    Half of the colours have one line, and half another, for those who print in grey.
    """
    colours = palette or _COLOURS
    half = math.ceil(len(colours) / 2)
    # After so many, colour, line and marker would all be those of the first again: markers are moved on by one.
    period = math.lcm(len(colours), half * len(_LINES), len(_MARKERS))
    return {
        name: Look(
            colours[place % len(colours)],
            _MARKERS[(place + place // period) % len(_MARKERS)],
            _LINES[place // half % len(_LINES)],
        )
        for place, name in enumerate(penalties)
    }


def looks_of(scores: Scores) -> dict[str, Look]:
    """The look of each penalty of a study, the same in all its figures; without a penalty it is grey."""
    kinds, palette = scores.kinds, scores.study["figures"]["style"]["palette"]
    penalised = [name for name in scores.penalties if kinds[name] != "none"]
    plain = [name for name in scores.penalties if kinds[name] == "none"]
    grey = {
        name: Look(REFERENCE_COLOUR, _MARKERS[-1 - place % 12], _LINES[place % 4]) for place, name in enumerate(plain)
    }
    drawn = looks(penalised, palette)
    return grey | {name: replace(look, hollow=kinds[name] in CONTROLS) for name, look in drawn.items()}


@contextmanager
def paper(name: str) -> Iterator[None]:
    """Within it, matplotlib draws in this style, without a display, and gives the same bytes each time."""
    with sns.axes_style("ticks"), matplotlib.rc_context(RC | {"svg.hashsalt": name}):
        try:
            yield
        finally:
            plt.close("all")


def save(figure: Figure, folder: Path, name: str, numbers: pd.DataFrame) -> float:
    """Write ``figure`` as PDF, SVG and PNG (300 dpi) and ``numbers`` as CSV, without dates.

    Returns its width in inches.
    """
    lay_out(figure)
    for ending, left_out in _FORMS.items():
        with whole_file(folder / f"{name}.{ending}") as temporary:
            figure.savefig(temporary, format=ending, dpi=DPI, metadata=dict.fromkeys(left_out))
    write_text(folder / f"{name}.csv", typeset.csv(numbers))
    return float(figure.get_size_inches()[0])


def lay_out(figure: Figure) -> None:
    """Place everything, once and not once for each file; what has been placed by hand stays."""
    if (engine := figure.get_layout_engine()) is not None:
        engine.execute(figure)
        # With any engine, also the one called "none", savefig would draw the figure twice for each file.
        figure.set_layout_engine(None)


def pages(items: Sequence[T], most: int) -> list[list[T]]:
    """``items`` in as few parts of at most ``most`` as can be, all of one size; the last may be smaller."""
    size = math.ceil(len(items) / max(1, math.ceil(len(items) / most)))
    return [list(items[start : start + size]) for start in range(0, len(items), size or 1)]


def wrapped(text: str, width: int) -> str:
    """A long name as at most two lines, broken after a hyphen, an underscore or a space near its middle."""
    if len(text) <= width:
        return text
    breaks = [place + 1 for place, character in enumerate(text[:-1]) if character in "-_ "]
    if not breaks:
        return text
    at = min(breaks, key=lambda place: abs(place - len(text) / 2))
    return f"{text[:at]}\n{text[at:]}"


def columns_for(labels: list[str], width: float, handle: float = 0.55) -> int:
    """How many legend columns of the longest of ``labels`` fit into ``width`` inches of 8-point type."""
    widths = [0.068 * len(label) + handle for label in labels]
    if sum(widths) <= width:
        return len(labels)
    fit = max(1, int(width / max(widths)))
    return math.ceil(len(labels) / math.ceil(len(labels) / fit))
