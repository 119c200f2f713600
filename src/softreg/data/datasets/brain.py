"""Axial slices of one averaged brain, which the package nilearn carries: real image content without a
download.

The ICBM 2009 template (MNI152, 1 mm) comes with maps of grey and white matter. A pixel is background where
the T1 image is 0, else grey matter where its map is at least ½ and at least the white one, else white matter
where that map is at least ½, else other. Left and right halves are exact mirrors of each other, so that only
the left one is used, cropped to 192 × 96.

Neighbouring slices are nearly the same image, so that the split goes by slabs: nine contiguous slabs from
bottom to top, train–val–train–test–train–val–train–test–train, with ``gap`` slices left out between them.
Spreading each part over the brain keeps its class shares comparable; the price is that val and test slabs lie
*between* train slabs. Scores therefore measure interpolation within one brain, and say nothing about another
one.
"""

from __future__ import annotations

from collections.abc import Sequence
from functools import partial
from pathlib import Path
from typing import ClassVar

import numpy as np
from numpy.typing import NDArray

from softreg.data.base import Array, Colour, Dataset, Options, Sample
from softreg.data.split import shares
from softreg.errors import UserError

#: Slices that hold enough of every class; 1 mm apart.
FIRST, LAST = 20, 139
#: Of the template's (197, 233, 189) voxels: the left half with the midline, and the rows that hold brain. 192
#: × 96 divides by 32, as encoders need.
COLUMNS, ROWS = slice(3, 99), slice(22, 214)
SLABS = ("train", "val", "train", "test", "train", "val", "train", "test", "train")


class Brain(Dataset):
    """Slices of the left half of the MNI152 template."""

    title = "Brain template slices"
    citation = (
        "V. Fonov et al., Unbiased average age-appropriate atlases for pediatric studies, NeuroImage 54(1), "
        "2011; as carried by nilearn"
    )
    licence = (
        "McConnell Brain Imaging Centre, McGill University: free to use, copy, modify and distribute with its notice"
    )
    note = (
        "One averaged brain, whose labels are thresholded tissue maps: a table from grey level to class has about "
        "96 % of the pixels right. A smoke test of the whole chain, never a ranking."
    )
    single_subject = "one averaged brain"
    palette: ClassVar[dict[str, Colour]] = {
        "background": (0, 0, 0),
        "other": (86, 180, 233),
        "grey matter": (230, 159, 0),
        "white matter": (240, 240, 240),
    }

    def samples(self, options: Options, root: Path) -> list[Sample]:
        """``slices`` slices, evenly spaced over the slabs, from bottom to top; the group is the slab.

        Raises :class:`UserError` where the slabs hold fewer slices than asked for.
        """
        val, test = shares(options["split"])
        places = slab_places(val, test, options["gap"])
        wanted = options["slices"]
        if wanted > len(places):
            raise UserError(
                f"`datasets` asks for {wanted} slices of the brain with gaps of {options['gap']}, "
                f"which leave {len(places)}: ask for fewer slices or a smaller gap"
            )
        chosen = [places[(2 * index + 1) * len(places) // (2 * wanted)] for index in range(wanted)]
        images, masks = _volumes()
        return [_sample(images, masks, height, slab) for height, slab in chosen]


def slab_places(val: float, test: float, gap: int) -> list[tuple[int, int]]:
    """(slice, slab) of every usable slice: the slabs' lengths follow the shares, the gaps belong to none."""
    usable = LAST - FIRST + 1 - gap * (len(SLABS) - 1)
    share = {"train": 1 - val - test, "val": val, "test": test}
    parts = [share[part] / SLABS.count(part) for part in SLABS]
    edges = [round(max(usable, 0) * sum(parts[:index])) for index in range(len(SLABS) + 1)]
    return [
        (FIRST + place + gap * slab, slab)
        for slab in range(len(SLABS))
        for place in range(edges[slab], edges[slab + 1])
    ]


def tissue_classes(
    t1: NDArray[np.floating], grey: NDArray[np.floating], white: NDArray[np.floating]
) -> NDArray[np.uint8]:
    """Class indices of voxels from the T1 image and the tissue maps, all in 0…1 and of one shape."""
    is_grey, is_white = (grey >= 0.5) & (grey >= white), white >= 0.5
    return np.select([t1 == 0, is_grey, is_white], [0, 2, 3], 1).astype(np.uint8)


def _sample(images: Array, masks: Array, height: int, slab: int) -> Sample:
    # In memory already, because loading the volumes takes longer than all the rest.
    image, mask = np.ascontiguousarray(images[..., height]), np.ascontiguousarray(masks[..., height])
    size = image.shape[0], image.shape[1]
    return Sample(f"z{height:03d}", size, partial(_coloured, image, mask), SLABS[slab], f"slab{slab}")


def _coloured(image: Array, mask: Array) -> tuple[Array, Array]:
    """The grey image in three channels, uint8 (H, W, 3), and the mask, uint8 (H, W)."""
    return np.repeat(image[..., None], 3, axis=2), mask


def _volumes() -> tuple[Array, Array]:
    """Grey levels and classes of the used half, uint8 (H, W, slices), front at the top and midline at the right."""
    # Here, because importing nilearn takes two seconds.
    from nilearn.datasets import load_mni152_gm_template, load_mni152_template, load_mni152_wm_template

    loaders = (load_mni152_template, load_mni152_gm_template, load_mni152_wm_template)
    t1, grey, white = (_half(load(resolution=1).dataobj) for load in loaders)
    # nilearn divides stored bytes by their maximum, 255, so that this gives back the bytes exactly.
    return np.rint(t1 * 255).astype(np.uint8), tissue_classes(t1, grey, white)


def _half(volume: Sequence[float]) -> NDArray[np.floating]:
    """The used half of a volume (x, y, z), turned to (row, column, slice) with the front at the top."""
    return np.asarray(volume)[COLUMNS, ROWS][:, ::-1].transpose(1, 0, 2)
