"""Where the text of a figure lies, as it is drawn: for tests that no two texts overlap and that none is cut off."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import matplotlib
import numpy as np
from matplotlib.backends.backend_agg import RendererAgg
from matplotlib.figure import Figure

_KEPT: list[Figure] = []
DPI = 200
SLACK = 1.0
"""Pixels at `DPI` that boxes may have in common, as they are rounded up to whole pixels."""


@dataclass(frozen=True)
class Box:
    """One line of drawn text, with its box in pixels from left and top, and its size in points."""

    text: str
    x0: float
    y0: float
    x1: float
    y1: float
    size: float


def keep(figure: Figure) -> None:
    """Called by matplotlib for each figure that pyplot makes; see `drawn`."""
    _KEPT.append(figure)


@contextmanager
def drawn() -> Iterator[list[Figure]]:
    """The figures that are made within, saved and closed ones too."""
    _KEPT.clear()
    with matplotlib.rc_context({"figure.hooks": ["overlap:keep"]}):
        yield _KEPT


class _Recorder(RendererAgg):
    """Draws as Agg does, and notes each line of text."""

    def __init__(self, width: float, height: float) -> None:
        super().__init__(width, height, DPI)
        self.boxes: list[Box] = []

    def draw_text(self, gc: Any, x: float, y: float, s: str, prop: Any, angle: float, *rest: Any, **more: Any) -> None:
        super().draw_text(gc, x, y, s, prop, angle, *rest, **more)
        ismath = rest[0] if rest else more.get("ismath", False)
        width, height, descent = self.get_text_width_height_descent(s, prop, ismath)
        turn = np.deg2rad(angle)
        along, up = np.array([np.cos(turn), -np.sin(turn)]), np.array([-np.sin(turn), -np.cos(turn)])
        corners = [(x, y) + a * along + b * up for a in (0, width) for b in (-descent, height - descent)]
        (x0, y0), (x1, y1) = np.min(corners, axis=0), np.max(corners, axis=0)
        self.boxes.append(Box(s, x0, y0, x1, y1, prop.get_size_in_points()))


def boxes(figure: Figure) -> list[Box]:
    """Each line of text that is drawn in ``figure``."""
    figure.set_dpi(DPI)
    width, height = figure.get_size_inches() * DPI
    recorder = _Recorder(width, height)
    figure.draw(recorder)
    return [box for box in recorder.boxes if box.text.strip()]


def faults(figure: Figure, smallest: float = 7.5) -> list[str]:
    """What is wrong with the text of ``figure``: lines that overlap, leave the figure, or are too small."""
    lines = boxes(figure)
    width, height = figure.get_size_inches() * DPI
    found = []
    for place, a in enumerate(lines):
        if a.x0 < -SLACK or a.y0 < -SLACK or a.x1 > width + SLACK or a.y1 > height + SLACK:
            found.append(f"{a.text!r} leaves the figure")
        if a.size < smallest:
            found.append(f"{a.text!r} has {a.size} points")
        for b in lines[place + 1 :]:
            across = min(a.x1, b.x1) - max(a.x0, b.x0)
            down = min(a.y1, b.y1) - max(a.y0, b.y0)
            if across > SLACK and down > SLACK:
                found.append(f"{a.text!r} overlaps {b.text!r}")
    return found
