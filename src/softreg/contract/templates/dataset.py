"""A data set of your own: a list of samples, and a function that reads one of them."""

from __future__ import annotations

from functools import partial
from pathlib import Path
from typing import ClassVar

import numpy as np

from softreg.data.base import Array, Colour, Dataset, Options, Sample


class Template(Dataset):
    """Bright squares on noise: put your images here."""

    title = "Squares"
    citation = "generated"
    licence = "none needed"
    # Name and display colour of each class, in the order of the masks' values.
    palette: ClassVar[dict[str, Colour]] = {"background": (0, 0, 0), "square": (230, 159, 0)}

    def __init__(self, images: int = 60) -> None:
        # Each keyword is a key of the study's entry, such as the folder that your images lie in.
        self.images = images

    def samples(self, options: Options, root: Path) -> list[Sample]:
        """All samples, in the same order each time; sort what a folder lists.

        A sample has an id, its height and width, and what reads it: a partial of a function of this file, as other
        processes call it. ``split="train"`` and ``group="patient-7"`` may be added.
        """
        return [Sample(f"{index:04d}", (32, 48), partial(read, index)) for index in range(self.images)]


def read(index: int) -> tuple[Array, Array]:
    """The image, uint8 (H, W, 3), and its mask, uint8 (H, W) of class indices, 255 where no class counts.

    For files, see read_image, read_values and read_pair of softreg.data.base.
    """
    draws = np.random.default_rng(index)
    mask = np.zeros((32, 48), np.uint8)
    row, column = draws.integers(0, 20), draws.integers(0, 36)
    mask[row : row + 12, column : column + 12] = 1
    image = draws.integers(0, 128, (32, 48, 3)) + 100 * mask[..., None]
    return image.astype(np.uint8), mask
