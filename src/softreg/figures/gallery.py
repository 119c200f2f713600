"""Example test images, their truth and what each penalty predicts: one figure for each data set and model."""

from __future__ import annotations

import io
import math
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from matplotlib import pyplot as plt
from matplotlib.figure import Figure
from matplotlib.patches import Patch
from numpy.typing import NDArray
from PIL import Image

from softreg.figures import style
from softreg.figures.style import Absent, Drawn
from softreg.scores import Scores

TITLE = "Predictions"
IGNORE = 255
_WIDEST = 7
"""Tiles side by side; more are set in further rows."""

_GAP, _HEADING = 0.04, 0.15
"""Inches between tiles, and for a line of headings."""

Pixels = NDArray[np.uint8]


@dataclass(frozen=True)
class _Tile:
    heading: str
    pixels: Pixels


def draw(scores: Scores, folder: Path) -> list[Drawn | Absent]:
    """One figure for each data set and model; see `softreg.figures`."""
    predictions = scores.predictions()
    entries: list[Drawn | Absent] = []
    for dataset in scores.study["datasets"]:
        for model in scores.study["models"]:
            mine = predictions[(predictions["dataset"] == dataset) & (predictions["model"] == model)]
            entries.append(_draw_block(scores, mine, dataset, model, folder))
    return entries


def _draw_block(scores: Scores, predictions: pd.DataFrame, dataset: str, model: str, folder: Path) -> Drawn | Absent:
    title = f"{TITLE}: {model} on {dataset}"
    shown = _one_seed_each(scores, predictions)
    examples = [row for row in scores.examples.to_pylist() if row["dataset"] == dataset]
    if shown.empty or not examples:
        return Absent(title, f"No final cell of {model} on {dataset} has stored predictions yet.")
    about = scores.datasets[dataset]
    rows = [_tiles(example, shown, about["palette"]) for example in examples]
    name = f"gallery-{dataset}-{model}"
    with style.paper(name):
        figure = _draw_tiles(rows, about)
        width = style.save(figure, folder, name, shown.drop(columns="prediction"))
    return Drawn(name, width, title, _caption(shown, dataset, model), _alt(rows, dataset, model))


def _one_seed_each(scores: Scores, predictions: pd.DataFrame) -> pd.DataFrame:
    """The predictions of the first seed of each penalty, in the order of the study."""
    parts = [predictions[predictions["penalty"] == name] for name in scores.study["penalties"]]
    firsts = [part[part["seed"] == part["seed"].min()] for part in parts if len(part)]
    return pd.concat(firsts, ignore_index=True) if firsts else predictions


def _tiles(example: dict[str, Any], shown: pd.DataFrame, palette: list[list[int]]) -> list[_Tile]:
    tiles = [
        _Tile("image", _decode(example["image_png"])),
        _Tile("truth", _coloured(_decode(example["truth_png"]), palette)),
    ]
    of_image = shown[shown["image"] == example["image"]]
    for penalty, picture in zip(of_image["penalty"], of_image["prediction"], strict=True):
        tiles.append(_Tile(penalty, _coloured(_decode(picture), palette)))
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


def _draw_tiles(rows: list[list[_Tile]], about: dict[str, Any]) -> Figure:
    labels = [*about["classes"], "ignored"]
    layout = _layout(rows, about["size"])
    columns = style.columns_for(labels, layout.page)
    height = layout.top(len(rows) - 1, layout.columns * (layout.lines - 1)) + layout.height + _GAP
    height += 0.17 * math.ceil(len(labels) / columns) + 0.08
    figure = plt.figure(figsize=(layout.page, height))
    axis = figure.add_axes((0, 0, 1, 1))
    axis.axis("off")
    canvas = Image.new("RGB", (round(layout.page * style.DPI), round(height * style.DPI)), "white")
    for row, index, tile in ((row, index, tile) for row, tiles in enumerate(rows) for index, tile in enumerate(tiles)):
        left, top = layout.left(index), layout.top(row, index)
        canvas.paste(_resized(tile.pixels, layout), (round(left * style.DPI), round(top * style.DPI)))
        if layout.lines > 1 or row == 0:
            heading = _fitted(tile.heading, layout.width)
            axis.text(left + layout.width / 2, top - 0.04, heading, ha="center", linespacing=1)
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

    def left(self, index: int) -> float:
        return (index % self.columns) * self.page / self.columns + _GAP / 2

    def top(self, row: int, index: int) -> float:
        line = row * self.lines + index // self.columns
        headings, between = (line + 1, row * 3 * _GAP) if self.lines > 1 else (1, 0.0)
        return line * (self.height + _GAP) + headings * self.heading + between


def _layout(rows: list[list[_Tile]], size: list[int]) -> _Layout:
    most = max(map(len, rows))
    lines = math.ceil(most / _WIDEST)
    columns = math.ceil(most / lines)
    page = style.PAGE if columns > 3 else style.COLUMN
    width = page / columns - _GAP
    tall = max(_fitted(tile.heading, width).count("\n") for tiles in rows for tile in tiles)
    return _Layout(lines, columns, page, width, width * size[0] / size[1], _HEADING * (1 + tall))


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


def _caption(shown: pd.DataFrame, dataset: str, model: str) -> str:
    seeds = sorted(set(shown["seed"]))
    seed = f"seed {seeds[0]}" if len(seeds) == 1 else "the first seed that finished"
    return (
        f"Test images of {dataset}, their truth, and the prediction of {model} under each penalty at its λ̂ "
        f"({seed}). The images stand at one sixth, a half and five sixths of the test set; none was picked by hand."
    )


def _alt(rows: list[list[_Tile]], dataset: str, model: str) -> str:
    headings = ", ".join(tile.heading for tile in rows[0])
    return f"{len(rows)} test images of {dataset}, one a row, predicted by {model}; in order: {headings}."
