"""Oxford-IIIT Pet: cats and dogs of 37 breeds, of many sizes, with trimaps.

A trimap has 1 for the pet, 2 for the background and 3 for a border that its publisher calls "not classified":
the border becomes ignore here. Counting it as pet, or as a class of its own, as others do, gives other
scores: compare with care.
"""

from __future__ import annotations

from pathlib import Path
from typing import ClassVar

from softreg.data.archives import Archive
from softreg.data.base import IGNORE, Colour, Dataset, Options, Sample, lines_of, pair

_ADDRESS = "https://thor.robots.ox.ac.uk/~vgg/data/pets"
_CODES = {1: 1, 2: 0, 3: IGNORE}


class OxfordPet(Dataset):
    """3680 images to train and validate, 3669 to test: background and pet."""

    title = "Oxford-IIIT Pet"
    citation = "O. M. Parkhi, A. Vedaldi, A. Zisserman and C. V. Jawahar, Cats and dogs, CVPR, 2012"
    licence = "CC BY-SA 4.0"
    note = "The border of each pet is not scored, so scores are higher than where it counts as pet."
    archives = (
        Archive(
            filename="images.tar.gz",
            url=f"{_ADDRESS}/images.tar.gz",
            sha256="67195c5e1c01f1ab5f9b6a5d22b8c27a580d896ece458917e61d459337fa318d",
            size=791918971,
            members=("images/*.jpg",),
            max_bytes=1_000_000_000,
        ),
        Archive(
            filename="annotations.tar.gz",
            url=f"{_ADDRESS}/annotations.tar.gz",
            sha256="52425fb6de5c424942b7626b428656fcbd798db970a937df61750c0f1d358e91",
            size=19173078,
            members=("annotations/trimaps/*.png", "annotations/trainval.txt", "annotations/test.txt"),
            max_bytes=100_000_000,
        ),
    )
    palette: ClassVar[dict[str, Colour]] = {"background": (0, 0, 0), "pet": (230, 159, 0)}

    def samples(self, options: Options, root: Path) -> list[Sample]:
        """The images that the two lists name: those of trainval, then those of test."""
        annotations, found = root / "annotations", []
        for part, listing in (("train", "trainval.txt"), ("test", "test.txt")):
            for line in lines_of(annotations / listing):
                name = line.split()[0]
                image, trimap = root / "images" / f"{name}.jpg", annotations / "trimaps" / f"{name}.png"
                found.append(pair(name, image, trimap, _CODES, part))
        return found
