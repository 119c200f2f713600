"""What every data set states, and how the pairs of image and mask files become samples."""

from __future__ import annotations

import inspect
from abc import ABC, abstractmethod
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any, ClassVar

import numpy as np
from numpy.typing import NDArray

from softreg.data.archives import Archive

# By these names a user's own file imports them from here.
from softreg.data.image_files import Array as Array
from softreg.data.image_files import image_size as image_size
from softreg.data.image_files import read_image as read_image
from softreg.data.image_files import read_values as read_values
from softreg.data.image_files import read_white as read_white
from softreg.errors import UserError

#: The mask value of pixels that count neither in training nor in a score.
IGNORE = 255
#: The parts of a prepared data set.
PARTS = ("train", "val", "test")

Colour = tuple[int, int, int]
Options = Mapping[str, Any]


@dataclass(frozen=True)
class Sample:
    """One image with its mask, named but not yet read.

    ``split`` is the part that the publisher assigns (train, val, test) or None; ``group`` is what must not be
    torn apart (a sequence, a patient), and one observation to an interval, or None; ``size`` is (H, W). ``read`` is
    picklable and returns the image, uint8 (H, W, 3), and the mask, uint8 (H, W) of class indices with 255 = ignore.
    """

    id: str
    size: tuple[int, int]
    read: Callable[[], tuple[Array, Array]]
    split: str | None = None
    group: str | None = None


class Dataset(ABC):
    """A published, generated or user's own data set."""

    title: ClassVar[str]
    citation: ClassVar[str]
    licence: ClassVar[str]
    #: A caveat printed beside the results.
    note: ClassVar[str] = ""
    #: What all images show, where that is one thing, such as "one brain": nothing is then inferred to others.
    single_subject: ClassVar[str] = ""
    archives: ClassVar[tuple[Archive, ...]] = ()
    #: Class name → display colour, in the order of the class indices.
    palette: ClassVar[dict[str, Colour]]

    @property
    def kind(self) -> str:
        """The name of the file that defines the data set; of a user's own, with its class and without its folder."""
        module = type(self).__module__
        if module.startswith("softreg.data.datasets."):
            return module.rpartition(".")[2]
        return f"{Path(inspect.getfile(type(self))).name}:{type(self).__name__}"

    def labels(self, options: Options) -> dict[str, Colour]:
        """Class name → display colour, in the order of the class indices."""
        return self.palette

    def remarks(self, options: Options) -> list[str]:
        """Sentences that are told when the data are prepared, such as which files are left out."""
        return []

    @abstractmethod
    def samples(self, options: Options, root: Path) -> list[Sample]:
        """All samples in a fixed order; ``root`` is the folder of the members extracted from ``archives``.

        Raises :class:`UserError` where a file is missing or not what its publisher describes.
        """


def recode(values: NDArray[np.integer[Any]], codes: Mapping[int, int], path: Path) -> Array:
    """Class indices (H, W) from stored mask values by the table ``codes`` (value → class index or 255).

    Raises :class:`UserError` naming file, value and pixel where a value is not in the table.
    """
    beyond = max(codes) + 1
    table = np.full(beyond + 1, -1, np.int16)
    table[list(codes)] = list(codes.values())
    classes = table[np.where((values < 0) | (values > beyond), beyond, values)]
    if classes.min() < 0:
        row, column = np.argwhere(classes < 0)[0]
        accepted = ", ".join(map(str, sorted(codes)))
        raise UserError(
            f"{path} has the value {values[row, column]} at row {row}, column {column}: accepted are {accepted}"
        )
    return classes.astype(np.uint8)


def check_sizes(image: tuple[int, ...], mask: tuple[int, ...], image_path: Path, mask_path: Path) -> None:
    """Raise :class:`UserError` where the shapes of image and mask differ in height or width."""
    if image[:2] != mask:
        raise UserError(
            f"{mask_path} is {mask[0]} × {mask[1]} pixels, but its image {image_path} is "
            f"{image[0]} × {image[1]} (height × width, upright)"
        )


def read_pair(image_path: Path, mask_path: Path, codes: Mapping[int, int]) -> tuple[Array, Array]:
    """An image, uint8 (H, W, 3), and its mask of class indices, uint8 (H, W), decoded by ``codes``."""
    image = read_image(image_path)
    mask = recode(read_values(mask_path), codes, mask_path)
    check_sizes(image.shape, mask.shape, image_path, mask_path)
    return image, mask


def read_painted(image_path: Path, mask_paths: Sequence[Path]) -> tuple[Array, Array]:
    """An image, uint8 (H, W, 3), and where any of its masks is white, uint8 (H, W) of 0 and 1."""
    image = read_image(image_path)
    union = np.zeros(image.shape[:2], np.uint8)
    for path in mask_paths:
        white = read_white(path)
        check_sizes(image.shape, white.shape, image_path, path)
        union |= white
    return image, union


def pair(
    name: str,
    image: Path,
    mask: Path,
    codes: Mapping[int, int],
    split: str | None = None,
    group: str | None = None,
) -> Sample:
    """The sample of an image file and a file of mask values."""
    return Sample(name, image_size(image), partial(read_pair, image, mask, codes), split, group)


def lines_of(path: Path) -> list[str]:
    """The lines of a text file that are not blank, stripped.

    Raises :class:`UserError` where it cannot be read.
    """
    try:
        text = path.read_text(encoding="utf-8-sig")
    except (OSError, UnicodeDecodeError) as error:
        raise UserError(f"{path} cannot be read as a UTF-8 text file ({error})") from None
    return [line.strip() for line in text.splitlines() if line.strip()]


def at_github(owner: str, repository: str, commit: str, **member_rules: Any) -> Archive:
    """The archive of a GitHub repository at one commit, under its published file name, without its top folder."""
    return Archive(
        filename=f"{repository}-{commit}.zip",
        url=f"https://github.com/{owner}/{repository}/archive/{commit}.zip",
        strip_top=True,
        **member_rules,
    )
