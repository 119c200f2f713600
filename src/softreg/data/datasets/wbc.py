"""White blood cells, dataset 1 of Zheng et al.: one cell an image, about 120 × 120 pixels, stained, some in
30 other sizes.

The publisher gives no split, and no patient or slide to group by.
"""

from __future__ import annotations

from pathlib import Path
from typing import ClassVar

from softreg.data.base import Colour, Dataset, Options, Sample, at_github, pair


class WhiteBloodCells(Dataset):
    """300 images of white blood cells: background (with the red cells), cytoplasm, nucleus."""

    title = "White blood cells"
    citation = (
        "X. Zheng, Y. Wang, G. Wang and J. Liu, Fast and robust segmentation of white blood cell images by "
        "self-supervised learning, Micron 107, 2018; images from Jiangxi Tecom Science Corporation, China"
    )
    licence = "none stated by its publisher, who asks for the citation"
    archives = (
        at_github(
            "zxaoyou",
            "segmentation_WBC",
            "fa9c01622f52bccb9aeb8a6f2628f564e377767d",
            members=("Dataset 1/*",),
            content_sha256="129df1d1d4510749c128882ca6eb8e5919f6d8a0b1e02fa45bc0f1df4264b1b7",
            max_bytes=20_000_000,
        ),
    )
    palette: ClassVar[dict[str, Colour]] = {
        "background": (0, 0, 0),
        "cytoplasm": (128, 128, 128),
        "nucleus": (255, 255, 255),
    }

    def samples(self, options: Options, root: Path) -> list[Sample]:
        """All images, by number."""
        codes = {0: 0, 128: 1, 255: 2}
        images = sorted((root / "Dataset 1").glob("*.bmp"))
        return [pair(image.stem, image, image.with_suffix(".png"), codes) for image in images]
