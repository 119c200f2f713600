"""PASCAL VOC 2012 segmentation: 1464 images to train, 1449 to validate.

The labels of its test part are not public, so that the published validation part is test here, opened once a
study, and validation is cut out of the published training part.
"""

from __future__ import annotations

from pathlib import Path
from typing import ClassVar

from softreg.data.archives import Archive
from softreg.data.base import IGNORE, Colour, Dataset, Options, Sample, lines_of, pair

_CLASSES = [
    "background",
    "aeroplane",
    "bicycle",
    "bird",
    "boat",
    "bottle",
    "bus",
    "car",
    "cat",
    "chair",
    "cow",
    "diningtable",
    "dog",
    "horse",
    "motorbike",
    "person",
    "pottedplant",
    "sheep",
    "sofa",
    "train",
    "tvmonitor",
]


def voc_colour(index: int) -> Colour:
    """The colour of a class in the publisher's mask files: the bits of its index, dealt to red, green and
    blue in turn.
    """
    channels = [0, 0, 0]
    for bit in range(8):
        channels[bit % 3] |= (index >> bit & 1) << (7 - bit // 3)
    return channels[0], channels[1], channels[2]


class Voc2012(Dataset):
    """Photographs of many sizes, 20 classes of objects and background."""

    title = "PASCAL VOC 2012"
    citation = (
        "M. Everingham, L. Van Gool, C. K. I. Williams, J. Winn and A. Zisserman, The PASCAL visual object "
        "classes (VOC) challenge, International Journal of Computer Vision 88(2), 2010"
    )
    licence = "the images are from flickr, under its terms of use"
    note = "Test is the published validation part, because the labels of the published test part are not public."
    archives = (
        Archive(
            filename="VOCtrainval_11-May-2012.tar",
            url="https://thor.robots.ox.ac.uk/pascal/VOC/voc2012/VOCtrainval_11-May-2012.tar",
            sha256="e14f763270cf193d0b5f74b169f44157a4b0c6efa708f4dd0ff78ee691763bcb",
            size=1999639040,
            members=(
                "VOCdevkit/VOC2012/JPEGImages/*.jpg",
                "VOCdevkit/VOC2012/SegmentationClass/*.png",
                "VOCdevkit/VOC2012/ImageSets/Segmentation/train.txt",
                "VOCdevkit/VOC2012/ImageSets/Segmentation/val.txt",
            ),
            max_bytes=2_000_000_000,
        ),
    )
    palette: ClassVar[dict[str, Colour]] = {name: voc_colour(index) for index, name in enumerate(_CLASSES)}

    def samples(self, options: Options, root: Path) -> list[Sample]:
        """The images of the two lists: those of train, then those of val, as test."""
        base = root / "VOCdevkit" / "VOC2012"
        codes = {index: index for index in range(len(_CLASSES))} | {IGNORE: IGNORE}
        found = []
        for part, listing in (("train", "train.txt"), ("test", "val.txt")):
            for name in lines_of(base / "ImageSets" / "Segmentation" / listing):
                image, mask = base / "JPEGImages" / f"{name}.jpg", base / "SegmentationClass" / f"{name}.png"
                found.append(pair(name, image, mask, codes, part))
        return found
