"""How the files of one data set are read: masks by the values or the colours that a study declares."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from functools import partial
from pathlib import Path
from typing import NamedTuple

import numpy as np

from softreg.data.base import IGNORE, Array, Colour, Options, Sample, check_sizes, image_size, read_image, recode
from softreg.data.image_files import read_colours, read_values
from softreg.errors import UserError
from softreg.study.folder import ignored

WHITE = 255


class Pair(NamedTuple):
    """An image file and its mask file, and what a table says of them."""

    name: str
    image: Path
    mask: Path
    split: str | None = None
    group: str | None = None


class Decoding:
    """How the image and mask files of one data set are read.

    ``values`` and ``colours`` are tables of the masks', of which colours decide where there are any; ``levels`` are
    those of the images, or None; ``told`` says what else is to be known of the masks.
    """

    def __init__(self, options: Options, pairs: Sequence[Pair]) -> None:
        given, palette, ignore = options.get("values"), options["palette"], ignored(options)
        self.levels = options.get("range")
        self.told: list[str] = []
        self.values: dict[int, int] = {}
        self.colours: dict[Colour, int] = {}
        if palette is not None:
            self.colours = {_colour(colour): index for index, colour in enumerate(palette)}
            self.colours |= {_colour(colour): IGNORE for colour in ignore}
            return
        # What is given to a class is that class, though 255 is ignored by default.
        self.values = dict.fromkeys(ignore, IGNORE) | _table(given or range(len(options["classes"])))
        declared = given or ignore not in ([WHITE], [])
        if not declared and len(options["classes"]) == 2 and _are_white([pair.mask for pair in pairs]):
            # As programs paint a mask of two classes. Were 255 ignored here, one class would be left.
            self.values = {0: 0, WHITE: 1}
            name = options["classes"][1]
            self.told = [f"the masks hold 0 and {WHITE} alone: {WHITE} is read as {name}, and nothing is ignored"]

    def sample(self, named: Pair) -> Sample:
        """The sample of an image file and a mask file, both of which must exist and have one size by their headers."""
        name, image, mask, split, group = named
        size = image_size(image)
        check_sizes(size, image_size(mask, exact=True), image, mask)
        return Sample(name, size, partial(self._read, image, mask), split, group)

    def _read(self, image_path: Path, mask_path: Path) -> tuple[Array, Array]:
        """The image, and the mask decoded.

        What the study declares decides, not how the file is encoded: the order of a palette's colours differs from
        file to file.
        """
        image = read_image(image_path, self.levels)
        mask = _of_colours(mask_path, self.colours) if self.colours else _of_values(mask_path, self.values)
        check_sizes(image.shape, mask.shape, image_path, mask_path)
        return image, mask


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


def _of_values(path: Path, values: Mapping[int, int]) -> Array:
    stored = read_values(path)
    try:
        return recode(stored, values, path)
    except UserError as error:
        raise UserError(f"{error}; `values` gives each class other ones, and `ignore` leaves some out") from None


def _of_colours(path: Path, colours: Mapping[Colour, int]) -> Array:
    painted = read_colours(path)
    packed = _packed(painted)
    mask, known = np.full(packed.shape, IGNORE, np.uint8), np.zeros(packed.shape, bool)
    for colour, index in colours.items():
        here = packed == _packed(np.array(colour, np.uint8))
        mask[here] = index
        known |= here
    if not known.all():
        row, column = np.argwhere(~known)[0]
        raise UserError(
            f"{path} has the colour {painted[row, column].tolist()} at row {row}, column {column}, "
            "which is neither in `palette` nor `ignore`: declare it, or leave out `palette` where indices count"
        )
    return mask


def _packed(colours: Array) -> np.ndarray:
    """Colours (…, 3) as one integer each."""
    return colours.astype(np.uint32) @ np.array([1 << 16, 1 << 8, 1], np.uint32)
