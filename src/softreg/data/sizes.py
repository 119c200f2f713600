"""The one size of all prepared images, and what it costs: told, and refused where it cannot be meant."""

from __future__ import annotations

import shutil
from collections.abc import Sequence
from pathlib import Path

from softreg.data.base import Options, Sample
from softreg.errors import UserError

#: Bytes of a pixel: three channels and the mask.
_BYTES = 4
#: Times the images' own pixels from which padding is told, and up to which it is done without being asked for.
_TOLD, _UNASKED = 2, 10


def common_size(name: str, samples: Sequence[Sample], options: Options) -> tuple[int, int]:
    """The size (H, W) of all prepared images: as the study says, else the largest height and width.

    Raises UserError where images do not fit, or where padding all to the largest would multiply the data.
    """
    largest = max(sample.size[0] for sample in samples), max(sample.size[1] for sample in samples)
    if options["size"] is None:
        if options["fit"] == "resize" and len({sample.size for sample in samples}) > 1:
            raise UserError(f"`datasets.{name}` resizes images of several sizes: give `size`, as [height, width]")
        if _times(samples, largest) > _UNASKED:
            widest = max(samples, key=lambda sample: sample.size[0] * sample.size[1])
            raise UserError(
                f"`datasets.{name}` has no `size`, and {_padding(samples, largest)}; the largest is {widest.id}: "
                f"give a smaller `size`, as [height, width], with `fit: resize`, leave out or cut what is so large, or "
                f"give `size: {list(largest)}` if you mean it"
            )
        return largest
    height, width = options["size"]
    if options["fit"] == "pad" and (largest[0] > height or largest[1] > width):
        raise UserError(
            f"`datasets.{name}.size` is [{height}, {width}], smaller than images of up to "
            f"{largest[0]} × {largest[1]}: enlarge it or set `fit: resize`"
        )
    return height, width


def padding_told(samples: Sequence[Sample], size: tuple[int, int], fit: str) -> list[str]:
    """A sentence on what padding costs, where it at least doubles the data."""
    much = fit == "pad" and _times(samples, size) >= _TOLD
    return [f"{_padding(samples, size)}; `size` with `fit: resize` takes less"] if much else []


def check_space(name: str, folder: Path, images: int, size: tuple[int, int]) -> None:
    """Refuse at once what would fill the disk."""
    needed, free = images * size[0] * size[1] * _BYTES, shutil.disk_usage(folder).free
    if needed > free:
        raise UserError(
            f"`datasets.{name}` needs {needed / 1e9:.1f} GB for {images} images of {size[0]} × {size[1]}, "
            f"and {folder} has {free / 1e9:.1f} GB free: give a smaller `size`, and `fit: resize`"
        )


def _times(samples: Sequence[Sample], size: tuple[int, int]) -> float:
    return len(samples) * size[0] * size[1] / sum(sample.size[0] * sample.size[1] for sample in samples)


def _padding(samples: Sequence[Sample], size: tuple[int, int]) -> str:
    gigabytes = len(samples) * size[0] * size[1] * _BYTES / 1e9
    return (
        f"padding all {len(samples)} images to {size[0]} × {size[1]} makes {gigabytes:.2g} GB on disk, "
        f"{_times(samples, size):.3g} times what their own pixels take"
    )
