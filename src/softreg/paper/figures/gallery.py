"""Example test images, their truth and what each penalty predicts: one figure for each data set and model."""

from __future__ import annotations

import io
import math
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from matplotlib import pyplot as plt
from matplotlib.figure import Figure
from matplotlib.patches import Patch
from numpy.typing import NDArray
from PIL import Image

from softreg.paper.figures import style
from softreg.paper.figures.style import Absent, Drawn
from softreg.paper.scores import Scores

TITLE = "Predictions"
IGNORE = 255
_WIDTH, _NARROWEST = 0.85, 9
"""Inches that a tile should have at least, and how many at most stand side by side."""

_GAP, _HEADING = 0.04, 0.15
"""Inches between tiles, and for a line of text above them."""

Pixels = NDArray[np.uint8]


@dataclass(frozen=True)
class _Tile:
    heading: str
    pixels: Pixels


def draw(scores: Scores, folder: Path) -> list[Drawn | Absent]:
    """One figure for each data set and model; see `softreg.paper.figures`."""
    predictions = scores.predictions()
    entries: list[Drawn | Absent] = []
    for dataset in scores.study["datasets"]:
        for model in scores.study["models"]:
            mine = predictions[(predictions["dataset"] == dataset) & (predictions["model"] == model)]
            entries.append(_draw_block(scores, mine, dataset, model, folder))
    return entries


def _draw_block(scores: Scores, predictions: pd.DataFrame, dataset: str, model: str, folder: Path) -> Drawn | Absent:
    of = f"{scores.label(model)} on {scores.label(dataset)}"
    shown = _one_seed_each(scores, predictions)
    examples = [row for row in scores.examples.to_pylist() if row["dataset"] == dataset]
    if shown.empty or not examples:
        return Absent(f"{TITLE}: {of}", f"No final cell of {of} has stored predictions yet.")
    examples.sort(key=lambda example: int(example["percentile"]))
    about, percentiles = scores.datasets[dataset], [int(example["percentile"]) for example in examples]
    rows = [_tiles(scores, example, shown, about["palette"]) for example in examples]
    name = f"gallery-{dataset}-{model}"
    with style.paper(name):
        figure = _draw_tiles(rows, [_ordinal(percentile) for percentile in percentiles], about)
        width = style.save(figure, folder, name, _numbers(shown, examples))
    caption = _caption(scores, shown, percentiles, dataset, model) + _shortened(rows, about)
    return Drawn(name, width, f"{TITLE}: {of}", caption, _alt(rows, percentiles, of))


def _one_seed_each(scores: Scores, predictions: pd.DataFrame) -> pd.DataFrame:
    """The predictions of one seed of each penalty, in the order to show: the study's first evaluation seed.

    Of a penalty whose cell of that seed did not finish, those of its first seed that did.
    """
    first = scores.study["seeds"]["evaluation"][0]
    shown = []
    for name in scores.penalties:
        mine = predictions[predictions["penalty"] == name]
        seed = first if first in set(mine["seed"]) else mine["seed"].min()
        shown.append(mine[mine["seed"] == seed])
    joined: pd.DataFrame = pd.concat(shown, ignore_index=True)
    return joined


def _numbers(shown: pd.DataFrame, examples: list[dict[str, Any]]) -> pd.DataFrame:
    """Whose prediction each tile is, with the percentile at which its image stands."""
    percentiles = {example["image"]: example["percentile"] for example in examples}
    return shown.drop(columns="prediction").assign(percentile=shown["image"].map(percentiles))


def _ordinal(percentile: int) -> str:
    return f"{percentile}th percentile"


def _tiles(scores: Scores, example: dict[str, Any], shown: pd.DataFrame, palette: list[list[int]]) -> list[_Tile]:
    """The image, its truth, and what each penalty predicts."""
    tiles = [
        _Tile("image", _decode(example["image_png"])),
        _Tile("truth", _coloured(_decode(example["truth_png"]), palette)),
    ]
    of_image = shown[shown["image"] == example["image"]]
    for penalty, picture in zip(of_image["penalty"], of_image["prediction"], strict=True):
        tiles.append(_Tile(scores.label(penalty), _coloured(_decode(picture), palette)))
    return tiles


def _decode(png: bytes) -> Pixels:
    return np.asarray(Image.open(io.BytesIO(png)))


def _coloured(mask: Pixels, palette: list[list[int]]) -> Pixels:
    """A mask (H, W) of class indices in the palette's colours; ignored pixels grey with darker stripes."""
    table = np.full((256, 3), 200, np.uint8)
    table[: len(palette)] = palette
    pixels = table[mask]
    y, x = np.indices(mask.shape)
    period = max(4, mask.shape[0] // 16)
    pixels[(mask == IGNORE) & ((x + y) % period < period // 3)] = 110
    return pixels


def _draw_tiles(rows: list[list[_Tile]], names: list[str], about: dict[str, Any]) -> Figure:
    """The tiles of each example below its name, and the classes' colours below them all."""
    labels = [*about["classes"], "ignored"]
    layout = _layout(rows, about)
    columns = style.columns_for(labels, layout.page)
    height = _height(layout, len(rows), about)
    figure = plt.figure(figsize=(layout.page, height))
    axis = figure.add_axes((0, 0, 1, 1))
    axis.axis("off")
    canvas = Image.new("RGB", (round(layout.page * style.DPI), round(height * style.DPI)), "white")
    for row, index, tile in ((row, index, tile) for row, tiles in enumerate(rows) for index, tile in enumerate(tiles)):
        left, top = layout.left(index), layout.top(row, index)
        canvas.paste(_resized(tile.pixels, layout), (round(left * style.DPI), round(top * style.DPI)))
        if layout.headed(row):
            heading = _fitted(tile.heading, layout.pitch)
            axis.text(left + layout.width / 2, top - 0.04, heading, ha="center", linespacing=1)
    for row, name in enumerate(names):
        above = layout.top(row, 0) - (layout.heading if layout.headed(row) else 0)
        axis.text(_GAP / 2, above - 0.04, name, fontweight="bold")
    axis.imshow(np.asarray(canvas), extent=(0, layout.page, height, 0), aspect="auto", interpolation="none")
    figure.legend(
        handles=_legend(about),
        loc="lower center",
        borderaxespad=0.2,
        ncols=columns,
        frameon=False,
        handlelength=1.2,
    )
    return figure


@dataclass(frozen=True)
class _Layout:
    """Where tiles stand, in inches from left and top; an example takes ``lines`` lines of tiles."""

    lines: int
    columns: int
    page: float
    width: float
    height: float
    heading: float

    @property
    def pitch(self) -> float:
        """From one tile to the next: the room that a heading has."""
        return self.page / self.columns - _GAP

    def left(self, index: int) -> float:
        return (index % self.columns + 0.5) * self.page / self.columns - self.width / 2

    def top(self, row: int, index: int) -> float:
        line = row * self.lines + index // self.columns
        headings = line + 1 if self.lines > 1 else 1
        return line * (self.height + _GAP) + headings * self.heading + (row + 1) * (_HEADING + _GAP)

    def headed(self, row: int) -> bool:
        """Whether the tiles of an example have headings: all, unless those of the first stand above the others'."""
        return self.lines > 1 or row == 0


def _layout(rows: list[list[_Tile]], about: dict[str, Any]) -> _Layout:
    """The fewest lines for which tiles are large enough and headings fit, or else the largest tiles."""
    most = max(map(len, rows))
    fewest = math.ceil(most / _NARROWEST)
    layouts = [_of_lines(rows, lines, about) for lines in range(fewest, max(fewest, math.ceil(most / 3)) + 1)]
    headings = [tile.heading for tiles in rows for tile in tiles]
    fit = [each for each in layouts if not any("…" in _fitted(heading, each.pitch) for heading in headings)]
    large = [each for each in fit if each.width >= _WIDTH]
    return large[0] if large else max(fit or layouts, key=lambda each: each.width)


def _of_lines(rows: list[list[_Tile]], lines: int, about: dict[str, Any]) -> _Layout:
    """Tiles as wide as the page allows, and its height."""
    columns = math.ceil(max(map(len, rows)) / lines)
    page = style.PAGE if columns > 3 else style.COLUMN
    pitch, (high, wide) = page / columns - _GAP, about["size"]
    tall = max(_fitted(tile.heading, pitch).count("\n") for tiles in rows for tile in tiles)
    flat = _Layout(lines, columns, page, pitch, 0.0, _HEADING * (1 + tall))
    height = min(pitch * high / wide, (style.TALL - _height(flat, len(rows), about)) / (len(rows) * lines))
    return replace(flat, width=height * wide / high, height=height)


def _height(layout: _Layout, rows: int, about: dict[str, Any]) -> float:
    """Inches of the whole figure, with the legend of the classes."""
    labels = [*about["classes"], "ignored"]
    below = 0.17 * math.ceil(len(labels) / style.columns_for(labels, layout.page)) + 0.08
    return layout.top(rows - 1, layout.columns * (layout.lines - 1)) + layout.height + _GAP + below


def _resized(pixels: Pixels, layout: _Layout) -> Image.Image:
    """A tile at the size it is printed: made smaller by averaging, larger by repeating pixels."""
    size = round(layout.width * style.DPI), round(layout.height * style.DPI)
    smaller = size[0] < pixels.shape[1]
    return Image.fromarray(pixels).resize(size, Image.Resampling.LANCZOS if smaller else Image.Resampling.NEAREST)


def _fitted(heading: str, width: float) -> str:
    """A heading no wider than ``width`` inches of 8-point type, on two lines if need be."""
    room = int(width / 0.066)
    lines = style.wrapped(heading, room).split("\n")
    return "\n".join(line if len(line) <= room else line[: room - 1] + "…" for line in lines)


def _legend(about: dict[str, Any]) -> list[Patch]:
    patches = [
        Patch(facecolor="#" + bytes(colour).hex(), edgecolor="black", linewidth=0.4, label=name)
        for name, colour in zip(about["classes"], about["palette"], strict=True)
    ]
    ignored = Patch(facecolor="#c8c8c8", edgecolor="#6e6e6e", hatch="/////", linewidth=0.4, label="ignored")
    return [*patches, ignored]


def _caption(scores: Scores, shown: pd.DataFrame, percentiles: list[int], dataset: str, model: str) -> str:
    first = scores.study["seeds"]["evaluation"][0]
    seeds = shown.groupby("penalty", sort=False)["seed"].first()
    others = [f"{scores.label(str(name))} seed {seed}" for name, seed in seeds.items() if seed != first]
    seed = f"evaluation seed {first}" + (f"; as that did not finish, {', '.join(others)}" if others else "")
    at = f"{', '.join(f'{p}th' for p in percentiles[:-1])} and {percentiles[-1]}th" if percentiles[1:] else "only"
    whose = "without a penalty" if scores.reference else "under all penalties"
    text = (
        f"Test images of {scores.label(dataset)} at the {at} percentile of the image's own mIoU {whose} (mean over "
        "models and evaluation seeds), so none was picked by hand; their truth; and the prediction of "
        f"{scores.label(model)} under each penalty at its λ̂ ({seed})."
    )
    asked = {penalty for d, m, penalty in scores.groups if (d, m) == (dataset, model)}
    lacking = [scores.label(name) for name in scores.penalties if name in asked - set(shown["penalty"])]
    return text + (f" Without a finished cell, so not shown: {', '.join(lacking)}." if lacking else "")


def _shortened(rows: list[list[_Tile]], about: dict[str, Any]) -> str:
    """The names in full, where a heading is too narrow for one."""
    width, headings = _layout(rows, about).pitch, [tile.heading for tile in rows[0]]
    if not any("…" in _fitted(heading, width) for heading in headings):
        return ""
    return f" In order: {', '.join(headings)}."


def _alt(rows: list[list[_Tile]], percentiles: list[int], of: str) -> str:
    headings = ", ".join(tile.heading for tile in rows[0])
    at = ", ".join(map(str, percentiles))
    return f"{len(rows)} test images (percentiles {at}) and their predictions, {of}; in order: {headings}."
