"""Prepared images and masks, as training and evaluation read them."""

from __future__ import annotations

from collections import Counter
from collections.abc import Hashable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from softreg.errors import UserError
from softreg.files import read_json

#: The splits that folds are made from.
_POOLED = ("train", "val")
#: A K-fold split must be the same for every penalty and seed.
_FOLD_SEED = 0
#: The share of a GPU's free memory that a split may fill.
_DEVICE_SHARE = 0.4


@dataclass(frozen=True)
class ImageSet:
    """Rows of memory-mapped arrays: ``parts`` of images (N, H, W, 3) and masks (N, H, W), uint8.

    ``rows`` (n, 2) name each image's part and its row there; ``ids`` are the images' names.
    """

    parts: tuple[tuple[np.ndarray, np.ndarray], ...]
    rows: np.ndarray
    ids: tuple[str, ...]

    def __len__(self) -> int:
        return len(self.rows)

    @property
    def size(self) -> tuple[int, int]:
        """Height and width of every image, pixels."""
        height, width = self.parts[0][1].shape[1:]
        return int(height), int(width)

    def room(self, count: int) -> tuple[np.ndarray, np.ndarray]:
        """Memory for images (count, H, W, 3) and masks (count, H, W), uint8."""
        return np.empty((count, *self.size, 3), np.uint8), np.empty((count, *self.size), np.uint8)

    def read(
        self, indices: Sequence[int], into: tuple[np.ndarray, np.ndarray] | None = None
    ) -> tuple[np.ndarray, np.ndarray]:
        """Images (n, H, W, 3) and masks (n, H, W), uint8, copied from the map to ``into``, else to new memory."""
        images, masks = into or self.room(len(indices))
        for place, (part, row) in enumerate(self.rows[list(indices)]):
            images[place], masks[place] = self.parts[part][0][row], self.parts[part][1][row]
        return images, masks

    def class_shares(self, classes: int) -> list[float]:
        """Each class's share of the valid pixels of all images; nan where there are none."""
        masks = (self.parts[part][1][row] for part, row in self.rows)
        counts = np.sum([np.bincount(mask.ravel(), minlength=256)[:classes] for mask in masks], axis=0)
        shares: list[float] = (counts / counts.sum()).tolist()
        return shares


class Batches:
    """Serves an ImageSet's images as (n, 3, H, W) float32 in 0…1 and masks as (n, H, W) uint8 on ``device``.

    A set that fits lives on the GPU as uint8; otherwise batches are copied there from the memory map. A training step
    takes a batch in two parts: the host names it, and the device looks it up.
    """

    def __init__(self, images: ImageSet, device: torch.device) -> None:
        self.source = images
        self.device = device
        self.resident = self._upload() if device.type == "cuda" and self._fits() else None

    def __call__(self, indices: Tensor) -> tuple[Tensor, Tensor]:
        """The batch of these positions, a CPU tensor of integers."""
        named = self.room(len(indices))
        self.name(indices, named)
        return self.look_up([tensor.to(self.device) for tensor in named])

    def room(self, count: int) -> list[Tensor]:
        """Memory of the host for what `name` says of a batch of ``count`` images."""
        if self.resident is not None:
            return [torch.empty(count, dtype=torch.int64)]
        return list(map(torch.from_numpy, self.source.room(count)))

    def name(self, indices: Tensor, room: Sequence[Tensor]) -> None:
        """Write into ``room`` what the device must be told of a batch: the positions, or the images and masks."""
        if self.resident is not None:
            room[0].copy_(indices)
        else:
            images, masks = (tensor.numpy() for tensor in room)
            self.source.read(indices.tolist(), (images, masks))

    def look_up(self, named: Sequence[Tensor]) -> tuple[Tensor, Tensor]:
        """The batch that `name` has named, once that is on the device."""
        images, masks = named if self.resident is None else (kept[named[0]] for kept in self.resident)
        return images.permute(0, 3, 1, 2).float() / 255, masks

    def _fits(self) -> bool:
        height, width = self.source.size
        return len(self.source) * height * width * 4 < _DEVICE_SHARE * torch.cuda.mem_get_info(self.device)[0]

    def _upload(self) -> tuple[Tensor, Tensor]:
        images, masks = self.source.read(range(len(self.source)))
        return torch.from_numpy(images).to(self.device), torch.from_numpy(masks).to(self.device)


def open_split(folder: Path, split: str) -> ImageSet:
    """The images of one split of the prepared data set in ``folder``."""
    ids = read_json(folder / "dataset.json")["ids"][split]
    rows = np.stack([np.zeros(len(ids), int), np.arange(len(ids))], axis=1)
    return ImageSet((_open(folder, split),), rows, tuple(ids))


def open_training(folder: Path, fold: int | None, selection: dict[str, Any]) -> tuple[ImageSet, ImageSet]:
    """The images to train on and those to validate on.

    Without a fold these are the splits ``train`` and ``val``. With one, both splits are pooled and dealt into
    ``selection["folds"]`` folds, the same for every penalty and seed; images of one group (a patient, a video) stay
    together. Fold ``fold`` validates. Test is never opened. Raises UserError where there are fewer groups than folds.
    """
    if fold is None:
        return open_split(folder, "train"), open_split(folder, "val")
    about = read_json(folder / "dataset.json")
    ids, groups = about["ids"], about["groups"]
    rows = np.array([(part, row) for part, split in enumerate(_POOLED) for row in range(len(ids[split]))])
    names = np.array([name for split in _POOLED for name in ids[split]], dtype=object)
    # An image without a group is a group of its own; the pair tells it from a group of that name.
    keys = [(group, None if group else name) for s in _POOLED for name, group in zip(ids[s], groups[s], strict=True)]
    folds = _deal(keys, selection["folds"], about["name"])
    parts = tuple(_open(folder, split) for split in _POOLED)
    kept, held = folds != fold, folds == fold
    return ImageSet(parts, rows[kept], tuple(names[kept])), ImageSet(parts, rows[held], tuple(names[held]))


def _deal(keys: Sequence[Hashable], folds: int, dataset: str) -> np.ndarray:
    """The fold of each image, (n,): whole groups, in random order, the largest first, each to the smallest fold."""
    sizes = Counter(keys)
    if len(sizes) < folds:
        raise UserError(
            f"`selection.folds` is {folds}, but the images of {dataset} for training and validation belong to "
            f"{len(sizes)} groups, which stay together; give at most {len(sizes)}"
        )
    groups = list(sizes)
    order = [groups[place] for place in np.random.default_rng(_FOLD_SEED).permutation(len(groups))]
    filled = [0] * folds
    fold_of = {}
    for group in sorted(order, key=lambda group: -sizes[group]):
        fold_of[group] = filled.index(min(filled))
        filled[fold_of[group]] += sizes[group]
    return np.array([fold_of[key] for key in keys])


def _open(folder: Path, split: str) -> tuple[np.ndarray, np.ndarray]:
    return (
        np.load(folder / split / "images.npy", mmap_mode="r"),
        np.load(folder / split / "masks.npy", mmap_mode="r"),
    )
