"""How the mask files of one data set become class indices: by the values or the colours that a study declares."""

from __future__ import annotations

from collections.abc import Sequence
from functools import partial
from pathlib import Path
from typing import NamedTuple

import numpy as np

from softreg.data.base import (
    IGNORE,
    Array,
    Colour,
    Options,
    Sample,
    check_heights_and_widths,
    check_sizes,
    image_size,
    pair,
    read_image,
)
from softreg.data.image_files import mask_size, read_colours, read_values
from softreg.errors import UserError

WHITE = 255


class Pair(NamedTuple):
    """An image file and its mask file, and what a table says of them."""

    name: str
    image: Path
    mask: Path
    split: str | None = None
    group: str | None = None


class Decoding:
    """How the mask files of one data set become class indices.

    ``values`` and ``colours`` are the tables, of which colours decide where there are any; ``told`` says what else is
    to be known of them.
    """

    def __init__(self, options: Options, pairs: Sequence[Pair]) -> None:
        ignore, given = options["ignore"], options.get("values")
        self.values = _table(given or range(len(options["classes"])))
        self.colours = {_colour(colour): index for index, colour in enumerate(options["palette"] or [])}
        self.told: list[str] = []
        if isinstance(ignore, list):
            self.colours[_colour(ignore)] = IGNORE
        # What is given to a class is that class, though 255 is ignored by default.
        elif ignore is not None and not (given and ignore in self.values):
            self.values[ignore] = IGNORE
        declared = bool(given or self.colours or ignore not in (WHITE, None))
        if not declared and len(options["classes"]) == 2 and _are_white([pair.mask for pair in pairs]):
            # As programs paint a mask of two classes. Were 255 ignored here, one class would be left.
            self.values = {0: 0, WHITE: 1}
            name = options["classes"][1]
            self.told = [f"the masks hold 0 and {WHITE} alone: {WHITE} is read as {name}, and nothing is ignored"]

    def sample(self, named: Pair) -> Sample:
        """The sample of an image file and a mask file, both of which must exist and have one size by their headers.

        What the study declares decides, not how the file is encoded: the order of a palette's colours differs from
        file to file.
        """
        name, image, mask, split, group = named
        size = image_size(image)
        check_heights_and_widths(size, mask_size(mask), image, mask)
        if not self.colours:
            return pair(name, image, mask, self.values, split, group)
        return Sample(name, size, partial(_read_colours, image, mask, self.colours), split, group)


def _table(values: Sequence[int | list[int]]) -> dict[int, int]:
    """Class index by mask value, from the value of each class, or its values."""
    return {
        value: index for index, entry in enumerate(values) for value in (entry if isinstance(entry, list) else [entry])
    }


def _colour(levels: Sequence[int]) -> Colour:
    red, green, blue = levels
    return red, green, blue


def _are_white(masks: Sequence[Path]) -> bool:
    """Whether masks hold 0 and 255 alone, and some 255. One that cannot be read is told when its turn comes."""
    has_white = False
    for mask in masks:
        try:
            values = read_values(mask)
        except UserError:
            return False
        white = values == WHITE
        if not (white | (values == 0)).all():
            return False
        has_white |= bool(white.any())
    return has_white


def _read_colours(image_path: Path, mask_path: Path, colours: dict[Colour, int]) -> tuple[Array, Array]:
    """The image, and the mask decoded by the table of colours."""
    image, painted = read_image(image_path), read_colours(mask_path)
    check_sizes(image, painted[..., 0], image_path, mask_path)
    packed = _packed(painted)
    mask, known = np.full(packed.shape, IGNORE, np.uint8), np.zeros(packed.shape, bool)
    for colour, index in colours.items():
        here = packed == _packed(np.array(colour, np.uint8))
        mask[here] = index
        known |= here
    if not known.all():
        row, column = np.argwhere(~known)[0]
        raise UserError(
            f"{mask_path} has the colour {painted[row, column].tolist()} at row {row}, column {column}, "
            "which is neither in `palette` nor `ignore`: declare it, or leave out `palette` where indices count"
        )
    return image, mask


def _packed(colours: Array) -> np.ndarray:
    """Colours (…, 3) as one integer each."""
    return colours.astype(np.uint32) @ np.array([1 << 16, 1 << 8, 1], np.uint32)
