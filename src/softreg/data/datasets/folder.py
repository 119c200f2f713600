"""Your own images and masks: two folders whose files pair by name, or a CSV table.

A mask holds class indices, in one channel or in a file with a palette (whose indices count, not its colours);
or, where the study gives a ``palette``, colours, also in a file with a palette of its own. The table has the columns
image and mask, and where the split rule needs them split (train, val or test) and a group; its paths are relative to
its own folder.
"""

from __future__ import annotations

import colorsys
from functools import partial
from pathlib import Path

from softreg.data.base import PARTS, Colour, Dataset, Options, Sample
from softreg.data.decoding import Decoding, Pair
from softreg.data.tables import Row, as_column, as_id, located, read_table, spelled
from softreg.errors import UserError, each, few, refuse

#: In these, masks are refused.
_IMAGES_ALONE = (".jpg", ".jpeg", ".webp")
SUFFIXES = (".png", ".jpg", ".jpeg", ".bmp", ".tif", ".tiff", ".gif", ".webp", ".npy")
_GOLDEN = 0.618034  # steps of this share of the colour circle keep any number of hues apart


class Folder(Dataset):
    """Images and masks of the user."""

    title = "Own images"
    citation = "not given"
    licence = "not given"

    def __init__(self) -> None:
        self.told: list[str] = []

    def labels(self, options: Options) -> dict[str, Colour]:
        """The study's class names, with the study's colours or with hues spread over the colour circle."""
        names = options["classes"]
        colours = options["palette"] or [_hue(index) for index in range(len(names))]
        return {name: (colour[0], colour[1], colour[2]) for name, colour in zip(names, colours, strict=True)}

    def samples(self, options: Options, root: Path) -> list[Sample]:
        """All images, sorted by name or in the order of the table.

        Raises :class:`UserError` naming the file that is missing, unreadable, doubled, or has no counterpart.
        """
        if options["table"]:
            pairs = _by_table(Path(options["table"]), options["split"])
        else:
            pairs = _by_name(Path(options["images"]), Path(options["masks"]))
        decoding = Decoding(options, pairs)
        self.told = decoding.told
        return each(decoding.sample, pairs, "images with their masks")

    def remarks(self, options: Options) -> list[str]:
        """How the masks of `samples` were taken, and what is left out of the two folders."""
        folders = [] if options["table"] else [Path(options["images"]), Path(options["masks"])]
        return [*self.told, *(remark for folder in folders for remark in _left_out(folder))]


def _by_name(images: Path, masks: Path) -> list[Pair]:
    image_of, mask_of = _files(images, "images"), _files(masks, "masks")
    if not image_of:
        raise UserError(f"{images} holds no images: accepted are {', '.join(SUFFIXES)}")
    wanted = f"with one of {', '.join(suffix for suffix in SUFFIXES if suffix not in _IMAGES_ALONE)}"
    bare = [f"{path} has no mask: expected {masks / name} {wanted}" for name, path in _beyond(image_of, mask_of)]
    loose = [f"{path} is a mask without an image in {images}" for _, path in _beyond(mask_of, image_of)]
    refuse(bare + loose, len(image_of | mask_of), "names")
    return [Pair(name, image, mask_of[name]) for name, image in sorted(image_of.items())]


def _beyond(files: dict[str, Path], others: dict[str, Path]) -> list[tuple[str, Path]]:
    """The files, by name, whose names are not among the others'."""
    return [(name, files[name]) for name in sorted(files.keys() - others.keys())]


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
    one = f"1 entry of {folder} is left out, as it is no file"
    count = one if len(names) == 1 else f"{len(names)} entries of {folder} are left out, as they are no files"
    return [f"{count} with one of {', '.join(SUFFIXES)}: {few(names)}"]


def _by_table(table: Path, split: Options) -> list[Pair]:
    rows = read_table(table)
    columns, needed = rows[0].cells, {"image": "", "mask": ""}
    if split["rule"] == "official":
        needed["split"] = ", which `split: {rule: official}` reads"
    # Without it, intervals would take each image for one observation.
    if split["rule"] == "group" or split["column"] != "group":
        needed[split["column"]] = ", which `split.column` names"
    for name, reason in needed.items():
        if as_column(name) not in columns:
            raise UserError(
                f"{table} has no column {name}{reason}: its first line names {', '.join(filter(None, columns))}"
            )
    lines: dict[str, int] = {}
    return each(partial(_row_pair, table, as_column(split["column"]), lines), rows, "lines")


def _row_pair(table: Path, group_column: str, lines: dict[str, int], row: Row) -> Pair:
    """What a line of the table names; ``lines`` are those of the images that it named before."""
    number, cells = row
    image, mask = cells["image"], cells["mask"]
    split, group = (spelled(cells.get(key, "")) or None for key in ("split", group_column))
    if not image or not mask:
        raise UserError(f"{table}, line {number}, lacks an image or a mask")
    if split not in (*PARTS, None):
        raise UserError(f"{table}, line {number}, has the split {split!r}: accepted are {', '.join(PARTS)}")
    if (first := lines.setdefault(as_id(image), number)) != number:
        raise UserError(
            f"{table}, line {number}, names the image {as_id(image)}, as line {first} does: name each image once"
        )
    return Pair(as_id(image), located(table.parent, image), located(table.parent, mask), split, group)


def _hue(index: int) -> Colour:
    """The display colour of class ``index``: black for the first, which is most often background."""
    if index == 0:
        return 0, 0, 0
    red, green, blue = colorsys.hsv_to_rgb(index * _GOLDEN % 1, 0.75, 0.95)
    return round(255 * red), round(255 * green), round(255 * blue)
