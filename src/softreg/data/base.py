"""What every data set states, and how images and masks are read from files."""

from __future__ import annotations

import inspect
from abc import ABC, abstractmethod
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any, ClassVar

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from softreg.data.archives import Archive
from softreg.errors import UserError

#: The mask value of pixels that count neither in training nor in a score.
IGNORE = 255
#: The parts of a prepared data set.
PARTS = ("train", "val", "test")

Array = NDArray[np.uint8]
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

    @abstractmethod
    def samples(self, options: Options, root: Path) -> list[Sample]:
        """All samples in a fixed order; ``root`` is the folder of the members extracted from ``archives``.

        Raises :class:`UserError` where a file is missing or not what its publisher describes.
        """


@contextmanager
def opened(path: Path) -> Iterator[Image.Image]:
    """An image file, with every way of failing to read it turned into a :class:`UserError`."""
    try:
        with Image.open(path) as image:
            yield image
    except FileNotFoundError:
        raise UserError(f"{path} is missing") from None
    # Pillow raises SyntaxError and ValueError for some broken files, and its bomb error derives from
    # Exception.
    except (OSError, SyntaxError, ValueError, Image.DecompressionBombError) as error:
        raise UserError(f"{path} cannot be read as an image ({error})") from None


def image_size(path: Path) -> tuple[int, int]:
    """(H, W) in pixels, from the file's header alone."""
    with opened(path) as image:
        return image.height, image.width


def read_image(path: Path) -> Array:
    """An image file as uint8 (H, W, 3): grey levels are replicated, transparency is dropped.

    Raises :class:`UserError` for more than 8 bits a channel, which a conversion would clip rather than scale.
    """
    with opened(path) as image:
        if image.mode.startswith(("I", "F")):
            raise UserError(f"{path} has more than 8 bits a channel (mode {image.mode}): convert it to 8 bits")
        return np.array(image.convert("RGB"))


def read_white(path: Path) -> Array:
    """Where an image file is nearer to white than to black, uint8 (H, W) of 0 and 1: a mask that was painted."""
    with opened(path) as image:
        return (np.array(image.convert("L")) >= 128).astype(np.uint8)


def read_values(path: Path) -> NDArray[np.integer[Any]]:
    """The stored values of a one-channel mask file (H, W): indices, not colours, where the file has a
    palette.

    Raises :class:`UserError` where the file has several channels.
    """
    with opened(path) as image:
        values = np.array(image)
    if values.ndim != 2 or values.dtype.kind not in "bui":
        raise UserError(f"{path} is not a mask of class indices: it has mode {image.mode}, not one integer channel")
    return values.astype(np.uint8) if values.dtype == np.bool_ else values


def recode(values: NDArray[np.integer[Any]], codes: Mapping[int, int], path: Path) -> Array:
    """Class indices (H, W) from stored mask values by the table ``codes`` (value → class index or 255).

    Raises :class:`UserError` naming file, value and pixel where a value is not in the table.
    """
    table = np.full(257, -1, np.int16)
    table[list(codes)] = list(codes.values())
    classes = table[np.where((values < 0) | (values > 255), 256, values)]
    if classes.min() < 0:
        row, column = np.argwhere(classes < 0)[0]
        accepted = ", ".join(map(str, sorted(codes)))
        raise UserError(
            f"{path} has the value {values[row, column]} at row {row}, column {column}: accepted are {accepted}"
        )
    return classes.astype(np.uint8)


def check_sizes(image: Array, mask: Array, image_path: Path, mask_path: Path) -> None:
    """Raise :class:`UserError` where image and mask differ in height or width."""
    if image.shape[:2] != mask.shape:
        raise UserError(
            f"{mask_path} is {mask.shape[0]} × {mask.shape[1]} pixels, but its image {image_path} is "
            f"{image.shape[0]} × {image.shape[1]} (height × width)"
        )


def read_pair(image_path: Path, mask_path: Path, codes: Mapping[int, int]) -> tuple[Array, Array]:
    """An image, uint8 (H, W, 3), and its mask of class indices, uint8 (H, W), decoded by ``codes``."""
    image = read_image(image_path)
    mask = recode(read_values(mask_path), codes, mask_path)
    check_sizes(image, mask, image_path, mask_path)
    return image, mask


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
    """The archive of a GitHub repository at one commit, under its published file name, without its top
    folder.
    """
    return Archive(
        filename=f"{repository}-{commit}.zip",
        url=f"https://github.com/{owner}/{repository}/archive/{commit}.zip",
        strip_top=True,
        **member_rules,
    )
