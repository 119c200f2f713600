"""What a table from grey level to class scores: the least that a network on grey images should beat. No torch."""

from __future__ import annotations

from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from softreg.data.base import IGNORE

Counts = dict[str, NDArray[np.int64]]
"""TP, FP and FN, each (N, C), by these names in small letters."""

_LEVELS = 256


def counts_of(folder: Path, classes: int) -> Counts | None:
    """The counts on each test image of a prepared data set in ``folder``; None where its images have colours.

    The table gives each grey level the class that most of its training pixels are of; a level that does not occur
    there, the class that most training pixels are of.
    """
    train, test = (_open(folder / split) for split in ("train", "test"))
    if not (_grey(train[0]) and _grey(test[0])):
        return None
    table = _table(*train, classes)
    return _counted([_confusion(table[image[..., 0]], mask, classes) for image, mask in zip(*test, strict=True)])


def _open(folder: Path) -> tuple[NDArray[np.uint8], NDArray[np.uint8]]:
    """Images (N, H, W, 3) and masks (N, H, W), mapped."""
    return np.load(folder / "images.npy", mmap_mode="r"), np.load(folder / "masks.npy", mmap_mode="r")


def _grey(images: NDArray[np.uint8]) -> bool:
    return all(np.array_equal(image, np.broadcast_to(image[..., :1], image.shape)) for image in images)


def _table(images: NDArray[np.uint8], masks: NDArray[np.uint8], classes: int) -> NDArray[np.uint8]:
    """The class of each grey level, (256,)."""
    pixels = np.zeros((_LEVELS, classes), np.int64)
    for image, mask in zip(images, masks, strict=True):
        pixels += _confusion(image[..., 0], mask, classes, _LEVELS)
    table: NDArray[np.uint8] = np.where(pixels.any(1), pixels.argmax(1), pixels.sum(0).argmax()).astype(np.uint8)
    return table


def _confusion(
    given: NDArray[np.uint8], mask: NDArray[np.uint8], classes: int, levels: int | None = None
) -> NDArray[np.int64]:
    """How many valid pixels have which value of ``given`` and which class: (levels, classes), or square."""
    valid = mask != IGNORE
    rows = levels or classes
    flat = given[valid].astype(np.int64) * classes + mask[valid]
    return np.bincount(flat, minlength=rows * classes).reshape(rows, classes)


def _counted(confusions: list[NDArray[np.int64]]) -> Counts:
    both = np.stack(confusions)
    hits = np.einsum("nii->ni", both)
    return {"tp": hits, "fp": both.sum(2) - hits, "fn": both.sum(1) - hits}
