"""CIFAR-10 made dense: mosaics of tiles of 32 × 32 pixels, whose mask is each tile's class. There is no
background.

This is how the data of the article, which classifies, can be segmented. Tiles of train come from data_batch_1
to 4, of val from data_batch_5, of test from test_batch, each pool in random order and used up before any tile
comes again.
"""

from __future__ import annotations

from collections.abc import Sequence
from functools import partial
from pathlib import Path
from typing import ClassVar

import numpy as np

from softreg.data.archives import Archive
from softreg.data.base import PARTS, Array, Colour, Dataset, Options, Sample
from softreg.data.split import shares
from softreg.errors import UserError

SIDE = 32
#: A record is the label, then the tile's red, green and blue planes, row by row.
RECORD = 1 + 3 * SIDE * SIDE
POOLS = {
    "train": tuple(f"data_batch_{number}.bin" for number in range(1, 5)),
    "val": ("data_batch_5.bin",),
    "test": ("test_batch.bin",),
}


class Cifar10(Dataset):
    """Mosaics of photographs of ten kinds of object."""

    title = "CIFAR-10 mosaics"
    citation = "A. Krizhevsky, Learning multiple layers of features from tiny images, University of Toronto, 2009"
    licence = "none stated by its publisher, who asks for the citation"
    note = "Mosaics of classified tiles: borders between classes are straight and known."
    archives = (
        Archive(
            filename="cifar-10-binary.tar.gz",
            url="https://www.cs.toronto.edu/~kriz/cifar-10-binary.tar.gz",
            md5="c32a1d4ab5d03f1284b67883e8d87530",
            members=("cifar-10-batches-bin/*.bin",),
            max_bytes=200_000_000,
        ),
    )
    palette: ClassVar[dict[str, Colour]] = {
        "airplane": (31, 119, 180),
        "automobile": (255, 127, 14),
        "bird": (44, 160, 44),
        "cat": (214, 39, 40),
        "deer": (148, 103, 189),
        "dog": (140, 86, 75),
        "frog": (227, 119, 194),
        "horse": (127, 127, 127),
        "ship": (188, 189, 34),
        "truck": (23, 190, 207),
    }

    def samples(self, options: Options, root: Path) -> list[Sample]:
        """``images`` mosaics to train, and as many for val and test as the shares of the split ask for."""
        val, test = shares(options["split"])
        per_image = options["images"] / (1 - val - test)
        counts = {"train": options["images"], "val": round(val * per_image), "test": round(test * per_image)}
        found = []
        for part, count in counts.items():
            pool = _pool(root / "cifar-10-batches-bin", POOLS[part])
            found += _mosaics(pool, part, count, options["grid"], options["split"]["seed"])
        return found


def _pool(folder: Path, names: tuple[str, ...]) -> list[tuple[Path, int]]:
    """(file, record) of every tile in the files. Raises :class:`UserError` where one is not whole records."""
    pool = []
    for path in (folder / name for name in names):
        length = path.stat().st_size if path.exists() else 0
        if length == 0 or length % RECORD:
            raise UserError(f"{path} has {length} bytes: expected one or more records of {RECORD} bytes")
        pool += [(path, number) for number in range(length // RECORD)]
    return pool


def _mosaics(pool: list[tuple[Path, int]], part: str, count: int, grid: int, seed: int) -> list[Sample]:
    draws = np.random.Generator(np.random.PCG64((seed, PARTS.index(part))))
    order: list[int] = []
    while len(order) < count * grid**2:
        order += np.argsort(draws.random(len(pool)), kind="stable").tolist()
    found = []
    for index in range(count):
        tiles = [pool[tile] for tile in order[index * grid**2 : (index + 1) * grid**2]]
        found.append(Sample(f"{part}{index:05d}", (grid * SIDE, grid * SIDE), partial(_mosaic, tiles), part))
    return found


def _mosaic(tiles: Sequence[tuple[Path, int]]) -> tuple[Array, Array]:
    """The mosaic of a square number of tiles (file, record) by rows, uint8 (H, W, 3), H = W = 32·√tiles; its mask."""
    grid = round(len(tiles) ** 0.5)
    records = np.stack([_record(path, number) for path, number in tiles])
    pixels = records[:, 1:].reshape(grid, grid, 3, SIDE, SIDE)
    image = pixels.transpose(0, 3, 1, 4, 2).reshape(grid * SIDE, grid * SIDE, 3)
    mask = np.kron(records[:, 0].reshape(grid, grid), np.ones((SIDE, SIDE), np.uint8))
    return image, mask.astype(np.uint8)


def _record(path: Path, number: int) -> Array:
    with path.open("rb") as file:
        file.seek(number * RECORD)
        return np.frombuffer(file.read(RECORD), np.uint8)
