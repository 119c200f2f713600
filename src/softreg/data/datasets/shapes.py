"""Drawn shapes, whose complexity is set by hand: the one data set where "complex" is a cause and not a label.

A class is a kind of shape; colour says nothing about it. A scene is a function of (seed, index): position,
size, angle, colour and grating of each shape are drawn first and in the same order, so that ``overlap``,
``texture``, ``noise`` and ``label_noise`` change only what they name and the same scene can be seen at two
levels of each.

- ``objects``: an image holds 1 to ``objects`` shapes, each in a cell of its own.
- ``overlap``: how far shapes move from their cells towards one point of the image: 0 keeps them apart, 1
  stacks them.
- ``texture``: contrast of a sinusoidal grating on each shape and on the background.
- ``noise``: standard deviation of Gaussian noise, of values in 0…1, before clipping.
- ``label_noise``: the share of shapes whose mask carries another label (a wrong class, or background as if
  overlooked). Train and val are annotated that badly; test is always right, because it measures the truth.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageDraw

from softreg.data.base import PARTS, Array, Colour, Dataset, Options, Sample
from softreg.data.split import shares
from softreg.errors import UserError

Floats = NDArray[np.float64]
Outline = list[tuple[float, float]]

_GRATING = 0.3  # amplitude at texture 1, of values in 0…1
_CANDIDATES = 8  # colours among which a shape takes the one farthest from the background
_GEOMETRY, _NOISE, _LABELS = range(3)  # random streams, apart so that none disturbs another


def _ring(corners: int, *radii: float, stretch: float = 1.0) -> Outline:
    """Corners at equal angles whose distances from the centre cycle through ``radii``; ``stretch`` flattens them."""
    angles = (2 * math.pi * corner / corners for corner in range(corners))
    return [
        (radii[corner % len(radii)] * math.cos(angle), stretch * radii[corner % len(radii)] * math.sin(angle))
        for corner, angle in enumerate(angles)
    ]


def _crescent() -> Outline:
    """The unit disc less a disc that meets its circle at ±45°, where the tips are."""
    tip, shift = math.sqrt(0.5), 0.45
    return _arc(0.0, tip, tip) + _arc(shift, tip - shift, tip)[::-1]


def _arc(centre: float, across: float, up: float) -> Outline:
    """The arc around (centre, 0) from (across, up) off that centre, by the left, to its mirror image."""
    radius, start = math.hypot(across, up), math.atan2(up, across)
    angles = np.linspace(start, 2 * math.pi - start, 33).tolist()
    return [(centre + radius * math.cos(angle), radius * math.sin(angle)) for angle in angles]


_ARM = 0.3
#: Outlines within the unit circle, in the order in which classes are added.
OUTLINES: dict[str, Outline] = {
    "ellipse": _ring(48, 1.0, stretch=0.65),
    "triangle": _ring(3, 1.0),
    "rectangle": [(0.89, 0.45), (-0.89, 0.45), (-0.89, -0.45), (0.89, -0.45)],
    "star": _ring(10, 1.0, 0.42),
    "cross": [
        (side * x, side * y)
        for side in (1, -1)
        for x, y in ((0.95, -_ARM), (0.95, _ARM), (_ARM, _ARM), (_ARM, 0.95), (-_ARM, 0.95), (-_ARM, _ARM))
    ],
    "crescent": _crescent(),
    "arrow": [(1.0, 0.0), (0.1, 0.8), (0.1, 0.28), (-0.95, 0.28), (-0.95, -0.28), (0.1, -0.28), (0.1, -0.8)],
}
_COLOURS: tuple[Colour, ...] = (
    (230, 159, 0),
    (86, 180, 233),
    (0, 158, 115),
    (240, 228, 66),
    (0, 114, 178),
    (213, 94, 0),
    (204, 121, 167),
)


@dataclass(frozen=True)
class Scene:
    """All that decides one image; calling it draws the image, uint8 (H, W, 3), and its mask, uint8 (H, W)."""

    seed: int
    index: int
    size: tuple[int, int]
    objects: int
    classes: int
    overlap: float
    texture: float
    noise: float
    label_noise: float

    def __call__(self) -> tuple[Array, Array]:
        """Draw the scene."""
        draws = self._random(_GEOMETRY)
        ground = 0.15 + 0.7 * draws.random(3)
        canvas = ground + self.texture * _grating(self.size, draws.random(3))
        mask = np.zeros(self.size, np.uint8)
        for label, inside, look in self._shapes(draws, ground):
            canvas[inside] = look[inside]
            mask[inside] = label
        canvas += self.noise * self._random(_NOISE).standard_normal(canvas.shape)
        return np.rint(255 * canvas.clip(0, 1)).astype(np.uint8), mask

    def _random(self, stream: int) -> np.random.Generator:
        return np.random.Generator(np.random.PCG64((self.seed, self.index, stream)))

    def _shapes(self, draws: np.random.Generator, ground: Floats) -> list[tuple[int, NDArray[np.bool_], Floats]]:
        """Label as annotated, stencil (H, W) and colours (H, W, 3) of each shape, bottom one first."""
        count = 1 + int(draws.random() * self.objects)
        labels, shapes = self._random(_LABELS), []
        focus = np.array(self.size) * (0.3 + 0.4 * draws.random(2))
        for centre, radius in self._places(draws)[:count]:
            kind = 1 + int(draws.random() * (self.classes - 1))
            where = centre + self.overlap * (focus - centre)
            outline = _placed(list(OUTLINES.values())[kind - 1], where, radius, 2 * math.pi * draws.random())
            colour = _far_colour(draws.random((_CANDIDATES, 3)), ground)
            look = colour + self.texture * _grating(self.size, draws.random(3))
            shapes.append((self._annotated(kind, labels), _stencil(self.size, outline), look))
        return shapes

    def _annotated(self, kind: int, labels: np.random.Generator) -> int:
        """The class itself, or with probability ``label_noise`` one of the other labels."""
        wrong, other = labels.random(2)
        return (kind + 1 + int(other * (self.classes - 1))) % self.classes if wrong < self.label_noise else kind

    def _places(self, draws: np.random.Generator) -> list[tuple[Floats, float]]:
        """Centre (row, column) and radius, pixels, of up to ``objects`` shapes that do not touch, in random order."""
        height, width = self.size
        columns = math.ceil(math.sqrt(self.objects * width / height))
        rows = math.ceil(self.objects / columns)
        cell = np.array([height / rows, width / columns])
        places = []
        for number in np.argsort(draws.random(rows * columns), kind="stable"):
            radius = float(cell.min() * (0.3 + 0.18 * draws.random()))
            corner = np.array(divmod(int(number), columns)) * cell
            places.append((corner + radius + draws.random(2) * (cell - 2 * radius), radius))
        return places


class Shapes(Dataset):
    """Drawn shapes of up to seven kinds on a plain or textured background."""

    title = "Drawn shapes"
    citation = "generated by SoftReg"
    licence = "none needed"

    def labels(self, options: Options) -> dict[str, Colour]:
        """Background and the first ``classes`` − 1 kinds of shape.

        Raises :class:`UserError` where there are fewer.
        """
        kinds = list(OUTLINES)
        if options["classes"] > len(kinds) + 1:
            raise UserError(
                f"`datasets` asks for shapes of {options['classes']} classes: with the background there are "
                f"at most {len(kinds) + 1}"
            )
        return {"background": (0, 0, 0)} | dict(zip(kinds[: options["classes"] - 1], _COLOURS, strict=False))

    def samples(self, options: Options, root: Path) -> list[Sample]:
        """``images`` scenes: train first, then val, then test, by the shares of the split."""
        val, test = shares(options["split"])
        ends = [round(options["images"] * share) for share in (1 - val - test, 1 - test, 1)]
        return [self._sample(options, index, ends) for index in range(options["images"])]

    def _sample(self, options: Options, index: int, ends: list[int]) -> Sample:
        part = next(part for part, end in zip(PARTS, ends, strict=True) if index < end)
        keys = ("seed", "objects", "classes", "overlap", "texture", "noise")
        wrong = 0.0 if part == "test" else options["label_noise"]
        size = (options["size"][0], options["size"][1])
        scene = Scene(index=index, size=size, label_noise=wrong, **{key: options[key] for key in keys})
        return Sample(f"{index:05d}", size, scene, part)


def _placed(outline: Outline, centre: Floats, radius: float, angle: float) -> Outline:
    """The outline turned by ``angle`` and scaled to ``radius`` around ``centre`` (row, column), as (x, y) in pixels."""
    cosine, sine = math.cos(angle), math.sin(angle)
    return [
        (centre[1] + radius * (cosine * x - sine * y), centre[0] + radius * (sine * x + cosine * y)) for x, y in outline
    ]


def _stencil(size: tuple[int, int], outline: Outline) -> NDArray[np.bool_]:
    image = Image.new("1", (size[1], size[0]))
    ImageDraw.Draw(image).polygon(outline, fill=1)
    return np.array(image)


def _far_colour(candidates: Floats, ground: Floats) -> Floats:
    """The candidate farthest from the background, so that a shape can be seen; values in 0.15…0.85."""
    colours = 0.15 + 0.7 * candidates
    farthest: Floats = colours[np.argmax(np.square(colours - ground).sum(axis=1))]
    return farthest


def _grating(size: tuple[int, int], draws: Floats) -> Floats:
    """A sinusoidal grating (H, W, 1) of random angle and phase and a period of 4 to 12 pixels."""
    angle, phase, period = math.pi * draws[0], 2 * math.pi * draws[1], 4 + 8 * draws[2]
    rows, columns = np.mgrid[: size[0], : size[1]]
    waves = np.sin(2 * math.pi / period * (math.cos(angle) * rows + math.sin(angle) * columns) + phase)
    grating: Floats = _GRATING * waves[..., None]
    return grating
