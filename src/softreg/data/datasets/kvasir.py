"""Kvasir-SEG: polyps in colonoscopy images of many sizes.

The masks are JPEG files, whose grey levels stray from black and white: 128 and above is polyp. The publisher
gives no split, and no patient to group by.
"""

from __future__ import annotations

from functools import partial
from pathlib import Path
from typing import ClassVar

from softreg.data.archives import Archive
from softreg.data.base import Colour, Dataset, Options, Sample, image_size, read_painted


class Kvasir(Dataset):
    """1000 colonoscopy images: background and polyp."""

    title = "Kvasir-SEG"
    citation = (
        "D. Jha, P. H. Smedsrud, M. A. Riegler, P. Halvorsen, T. de Lange, D. Johansen and H. D. Johansen, "
        "Kvasir-SEG: a segmented polyp dataset, MultiMedia Modeling, 2020"
    )
    licence = "for research and education only"
    archives = (
        Archive(
            filename="kvasir-seg.zip",
            url="https://datasets.simula.no/downloads/kvasir-seg.zip",
            sha256="03b30e21d584e04facf49397a2576738fd626815771afbbf788f74a7153478f7",
            members=("Kvasir-SEG/images/*.jpg", "Kvasir-SEG/masks/*.jpg"),
            max_bytes=100_000_000,
        ),
    )
    palette: ClassVar[dict[str, Colour]] = {"background": (0, 0, 0), "polyp": (255, 255, 255)}

    def samples(self, options: Options, root: Path) -> list[Sample]:
        """All images, by file name."""
        base = root / "Kvasir-SEG"
        images = sorted((base / "images").glob("*.jpg"))
        return [
            Sample(image.stem, image_size(image), partial(read_painted, image, [base / "masks" / image.name]))
            for image in images
        ]
