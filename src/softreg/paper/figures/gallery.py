"""Example test images, their truth, and each penalty's prediction with its errors: a figure a data set and model.

Predictions differ in few pixels, so that they are shown pale, and the errors in strong colours: those that the
unpenalised network makes too, those that it does not make, and those that only it makes.
"""

from __future__ import annotations

import io
import math
from functools import partial
from typing import Any

import numpy as np
import pandas as pd
from matplotlib import pyplot as plt
from matplotlib.figure import Figure
from matplotlib.layout_engine import ConstrainedLayoutEngine
from matplotlib.patches import Patch
from numpy.typing import NDArray
from PIL import Image

from softreg.paper.figures import layout, style
from softreg.paper.figures.layout import Figures, Page, Pages
from softreg.paper.scores import Scores

TITLE = "Predictions"
IGNORE = 255
_MOST = 9
"""How many tiles at most stand side by side."""
_GAP, _LINE = 0.04, 0.15
"""Inches between tiles, and for a line of text above or beside them."""

_PALE = 0.65
"""How much white is mixed into a prediction's colours, so that its errors stand out."""
_ERRORS = {
    "wrong": "#222222",
    "wrong only with the penalty": "#d9006c",
    "wrong only without it": "#0072ff",
}
"""Kinds of pixels and their colours: the first is wrong in both, or where there is nothing to compare with."""

Pixels = NDArray[np.uint8]
Tile = tuple[str, Pixels]
"""A heading, and what is below it."""


def figures(scores: Scores) -> Figures:
    """One figure for each data set and model; see `softreg.paper.figures`."""
    return layout.of_models(scores, "gallery", TITLE, partial(_pages, scores, scores.predictions()))


def _pages(scores: Scores, predictions: pd.DataFrame, dataset: str, model: str, of: str) -> Pages:
    mine = predictions[(predictions["dataset"] == dataset) & (predictions["model"] == model)]
    shown = _one_seed_each(scores, mine)
    # Merged studies have examples of their own for each model.
    predicted = set(shown["image"])
    examples = [row for row in scores.examples.to_pylist() if row["dataset"] == dataset and row["image"] in predicted]
    if shown.empty or not examples:
        return f"No final cell of {of} has stored predictions yet."
    examples.sort(key=lambda example: int(example["percentile"]))
    about, percentiles = scores.datasets[dataset], [int(example["percentile"]) for example in examples]
    rows = [_tiles(scores, example, shown, about["palette"]) for example in examples]
    names = [f"{percentile}th\npercentile" for percentile in percentiles]
    caption = _caption(scores, shown, percentiles, dataset, model) + _shortened(rows)
    at = shown["image"].map({example["image"]: example["percentile"] for example in examples})
    numbers = shown.drop(columns="prediction").assign(percentile=at)
    return [Page(numbers, partial(_draw_tiles, rows, names, about), caption, _alt(rows, percentiles, of))]


def _one_seed_each(scores: Scores, predictions: pd.DataFrame) -> pd.DataFrame:
    """The predictions of one seed of each penalty, in the order to show: the study's first evaluation seed.

    Of a penalty whose cell of that seed did not finish, those of its first seed that did.
    """
    later = predictions["seed"] != scores.study["seeds"]["evaluation"][0]
    rows = scores.ordered(predictions.assign(later=later), "later", "seed").drop(columns="later")
    return rows[rows["seed"] == rows.groupby("penalty")["seed"].transform("first")].reset_index(drop=True)


def _tiles(scores: Scores, example: dict[str, Any], shown: pd.DataFrame, palette: list[list[int]]) -> list[Tile]:
    """The image, its truth, what the unpenalised network predicts, and each prediction with its errors."""
    truth = _decode(example["truth_png"])
    of_image = shown[shown["image"] == example["image"]].set_index("penalty")["prediction"]
    predicted = {str(name): _decode(picture) for name, picture in of_image.items()}
    tiles = [("image", _decode(example["image_png"])), ("truth", _coloured(truth, palette))]
    if (plain := scores.reference) in predicted:
        tiles.append((scores.label(str(plain)), _coloured(predicted[str(plain)], palette)))
    for name, mask in predicted.items():
        reference = predicted.get(scores.references[name], mask)
        heading = f"{scores.label(name)}: errors" if name == plain else scores.label(name)
        tiles.append((heading, _with_errors(mask, truth, reference, palette)))
    return tiles


def _with_errors(mask: Pixels, truth: Pixels, reference: Pixels, palette: list[list[int]]) -> Pixels:
    """A prediction (H, W) in pale colours, with `_ERRORS` of it and of the ``reference``."""
    pixels = np.round(255 * _PALE + (1 - _PALE) * _coloured(mask, palette)).astype(np.uint8)
    pixels[truth == IGNORE] = _coloured(truth, palette)[truth == IGNORE]
    wrong, before = ((each != truth) & (truth != IGNORE) for each in (mask, reference))
    for kind, colour in zip((wrong & before, wrong & ~before, ~wrong & before), _ERRORS.values(), strict=True):
        pixels[kind] = tuple(bytes.fromhex(colour[1:]))
    return pixels


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


def _draw_tiles(rows: list[list[Tile]], names: list[str], about: dict[str, Any]) -> Figure:
    """The tiles of each example with its name beside them, and the classes' colours below them all."""
    columns, width = _columns(rows)
    lines = len(rows) * math.ceil(len(rows[0]) / columns)
    headings = [[_fitted(heading, width) for heading, _ in tiles] for tiles in rows]
    heading = _LINE * max(text.count("\n") + 1 for text in headings[0])
    high, wide = about["size"]
    height = min(width * high / wide + heading + _GAP, (style.TALL - 1) / lines)
    engine = ConstrainedLayoutEngine(w_pad=_GAP / 2, h_pad=_GAP / 2, wspace=0, hspace=0)
    figure, axes = plt.subplots(lines, columns, figsize=(style.PAGE, lines * height), squeeze=False, layout=engine)
    for axis in axes.flat:
        axis.set(xticks=[], yticks=[], frame_on=False)
    for mine, tiles, texts, name in zip(axes.reshape(len(rows), -1), rows, headings, names, strict=True):
        mine[0].set_ylabel(name, labelpad=2)
        for axis, (_, pixels), text in zip(mine, tiles, texts, strict=False):
            # What has more pixels than can be printed is averaged.
            axis.imshow(pixels, interpolation="auto" if pixels.shape[1] > width * style.DPI else "none")
            axis.set_title(text, pad=2, linespacing=1)
    layout.add_legend(figure, _legend(about), handlelength=1.2, borderaxespad=0.2)
    return figure


def _columns(rows: list[list[Tile]]) -> tuple[int, float]:
    """How many tiles stand side by side, and the inches of each, which are the room of its heading."""
    columns = math.ceil(len(rows[0]) / math.ceil(len(rows[0]) / _MOST))
    return columns, (style.PAGE - 2 * _LINE) / columns - _GAP


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
    return [*patches, ignored, *(Patch(facecolor=colour, label=kind) for kind, colour in _ERRORS.items())]


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
        f"{scores.label(model)} under each penalty at its λ̂ ({seed}), pale, with its errors: black where it is wrong "
        "(and without a penalty too), red where only it is wrong, blue where only the network without a penalty is."
    )
    asked = {penalty for d, m, penalty in scores.groups if (d, m) == (dataset, model)}
    lacking = [name for name in scores.penalties if name in asked - set(shown["penalty"])]
    return text + layout.left_out(scores, "Without a finished cell", lacking)


def _shortened(rows: list[list[Tile]]) -> str:
    """The names in full, where a heading is too narrow for one."""
    width, headings = _columns(rows)[1], [heading for heading, _ in rows[0]]
    if not any("…" in _fitted(heading, width) for heading in headings):
        return ""
    return f" In order: {', '.join(headings)}."


def _alt(rows: list[list[Tile]], percentiles: list[int], of: str) -> str:
    headings = ", ".join(heading for heading, _ in rows[0])
    at = ", ".join(map(str, percentiles))
    return f"{len(rows)} test images (percentiles {at}) and their predictions, {of}; in order: {headings}."
