"""Your own images and masks: two folders whose files pair by name, or a CSV table.

A mask holds class indices, in one channel or in a file with a palette (whose indices count, not its colours);
or, where the study gives a ``palette``, colours, also in a file with a palette of its own. The table has the columns
image and mask, and where the split rule needs them split (train, val or test) and a group; its paths are relative to
its own folder.
"""

from __future__ import annotations

import colorsys
import csv
from functools import partial
from pathlib import Path

import numpy as np

from softreg.data.base import (
    IGNORE,
    PARTS,
    Array,
    Colour,
    Dataset,
    Options,
    Sample,
    as_id,
    check_sizes,
    image_size,
    pair,
    read_image,
    spelled,
)
from softreg.data.image_files import read_colours
from softreg.data.remarks import few
from softreg.errors import UserError

SUFFIXES = (".png", ".jpg", ".jpeg", ".bmp", ".tif", ".tiff")
_GOLDEN = 0.618034  # steps of this share of the colour circle keep any number of hues apart


class Folder(Dataset):
    """Images and masks of the user."""

    title = "Own images"
    citation = "not given"
    licence = "not given"

    def labels(self, options: Options) -> dict[str, Colour]:
        """The study's class names, with the study's colours or with hues spread over the colour circle."""
        names = options["classes"]
        colours = options["palette"] or [_hue(index) for index in range(len(names))]
        return {name: (colour[0], colour[1], colour[2]) for name, colour in zip(names, colours, strict=True)}

    def samples(self, options: Options, root: Path) -> list[Sample]:
        """All images, sorted by name or in the order of the table.

        Raises :class:`UserError` naming the file that is missing, unreadable, doubled, or has no counterpart.
        """
        decoding = self._decoding(options)
        if options["table"]:
            return _by_table(decoding, Path(options["table"]), options["split"]["column"])
        return _by_name(decoding, Path(options["images"]), Path(options["masks"]))

    def remarks(self, options: Options) -> list[str]:
        """What is left out of the two folders."""
        folders = [] if options["table"] else [Path(options["images"]), Path(options["masks"])]
        return [remark for folder in folders for remark in _left_out(folder)]

    def _decoding(self, options: Options) -> Decoding:
        colours = list(self.labels(options).values()) if options["palette"] else []
        return Decoding(len(options["classes"]), colours, options["ignore"])


class Decoding:
    """How the mask files of one data set become class indices."""

    def __init__(self, classes: int, colours: list[Colour], ignore: int | list[int] | None) -> None:
        self.values = {index: index for index in range(classes)}
        self.colours = {colour: index for index, colour in enumerate(colours)}
        if isinstance(ignore, int):
            self.values[ignore] = IGNORE
        elif ignore is not None:
            self.colours[(ignore[0], ignore[1], ignore[2])] = IGNORE

    def sample(self, name: str, image: Path, mask: Path, split: str | None = None, group: str | None = None) -> Sample:
        """The sample of an image file and a mask file, both of which must exist.

        What the study declares decides, not how the file is encoded: the order of a palette's colours differs from
        file to file.
        """
        image_size(mask)
        if not self.colours:
            return pair(name, image, mask, self.values, split, group)
        return Sample(name, image_size(image), partial(_read_colours, image, mask, self.colours), split, group)


def _read_colours(image_path: Path, mask_path: Path, colours: dict[Colour, int]) -> tuple[Array, Array]:
    """The image, and the mask decoded by the table of colours."""
    image, painted = read_image(image_path), read_colours(mask_path)
    check_sizes(image, painted[..., 0], image_path, mask_path)
    packed = _packed(painted)
    mask, known = np.full(packed.shape, IGNORE, np.uint8), np.zeros(packed.shape, bool)
    for colour, index in colours.items():
        here = packed == _packed(np.array(colour, np.uint8))
        mask[here] = index
        known |= here
    if not known.all():
        row, column = np.argwhere(~known)[0]
        raise UserError(
            f"{mask_path} has the colour {painted[row, column].tolist()} at row {row}, column {column}, "
            "which is neither in `palette` nor `ignore`: declare it, or leave out `palette` where indices count"
        )
    return image, mask


def _packed(colours: Array) -> np.ndarray:
    """Colours (…, 3) as one integer each."""
    return colours.astype(np.uint32) @ np.array([1 << 16, 1 << 8, 1], np.uint32)


def _by_name(decoding: Decoding, images: Path, masks: Path) -> list[Sample]:
    image_of, mask_of = _files(images, "images"), _files(masks, "masks")
    if not image_of:
        raise UserError(f"{images} holds no images: accepted are {', '.join(SUFFIXES)}")
    for name in sorted(image_of.keys() ^ mask_of.keys()):
        if name in image_of:
            raise UserError(f"{image_of[name]} has no mask: expected {masks / name} with one of {', '.join(SUFFIXES)}")
        raise UserError(f"{mask_of[name]} is a mask without an image in {images}")
    return [decoding.sample(name, image, mask_of[name]) for name, image in sorted(image_of.items())]


def _files(folder: Path, key: str) -> dict[str, Path]:
    """The image files of a folder by their name without suffix."""
    if not folder.is_dir():
        raise UserError(f"{folder}, which `{key}` of a folder data set names, is no folder")
    found: dict[str, Path] = {}
    for path in filter(_is_taken, sorted(folder.iterdir())):
        name = spelled(path.stem)
        if name in found:
            raise UserError(f"{path} and {found[name]} have the same name: images pair with masks by name")
        found[name] = path
    return found


def _is_taken(path: Path) -> bool:
    return path.suffix.lower() in SUFFIXES and not path.name.startswith(".") and path.is_file()


def _left_out(folder: Path) -> list[str]:
    """A sentence on what else a folder holds, if it holds anything."""
    names = sorted(path.name for path in folder.iterdir() if not _is_taken(path))
    if not names:
        return []
    told = (
        "1 entry of {} is left out, as it is no file"
        if len(names) == 1
        else (f"{len(names)} entries of {{}} are left out, as they are no files")
    )
    return [f"{told.format(folder)} with one of {', '.join(SUFFIXES)}: {few(names)}"]


def _by_table(decoding: Decoding, table: Path, group_column: str) -> list[Sample]:
    try:
        with table.open(encoding="utf-8-sig", newline="") as file:
            reader = csv.DictReader(file)
            rows, columns = list(reader), reader.fieldnames or []
    except (OSError, UnicodeDecodeError, csv.Error) as error:
        raise UserError(f"{table} cannot be read as a CSV file in UTF-8 ({error})") from None
    if missing := {"image", "mask"} - set(columns):
        raise UserError(f"{table} has no column {', '.join(sorted(missing))}: its first line must name image and mask")
    if not rows:
        raise UserError(f"{table} names no images")
    samples: dict[str, tuple[int, Sample]] = {}
    for number, row in enumerate(rows, start=2):
        sample = _row_sample(decoding, table, number, row, group_column)
        if sample.id in samples:
            before, _ = samples[sample.id]
            raise UserError(
                f"{table}, line {number}, names the image {sample.id}, as line {before} does: name each image once"
            )
        samples[sample.id] = number, sample
    return [sample for _, sample in samples.values()]


def _row_sample(decoding: Decoding, table: Path, number: int, row: dict[str, str | None], group_column: str) -> Sample:
    image, mask = ((row[key] or "").strip() for key in ("image", "mask"))
    split, group = (spelled(row.get(key) or "") or None for key in ("split", group_column))
    if not image or not mask:
        raise UserError(f"{table}, line {number}, lacks an image or a mask")
    if split not in (*PARTS, None):
        raise UserError(f"{table}, line {number}, has the split {split!r}: accepted are {', '.join(PARTS)}")
    return decoding.sample(as_id(image), table.parent / image, table.parent / mask, split, group)


def _hue(index: int) -> Colour:
    """The display colour of class ``index``: black for the first, which is most often background."""
    if index == 0:
        return 0, 0, 0
    red, green, blue = colorsys.hsv_to_rgb(index * _GOLDEN % 1, 0.75, 0.95)
    return round(255 * red), round(255 * green), round(255 * blue)
