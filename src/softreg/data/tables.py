"""Tables of a user's images and masks, as spreadsheets write them, and names in one spelling. Standard library only."""

from __future__ import annotations

import csv
import posixpath
import unicodedata
from pathlib import Path
from typing import NamedTuple

from softreg.errors import UserError

#: What stands between cells; a spreadsheet whose decimal sign is the comma writes semicolons.
_BETWEEN = ",;\t"


def spelled(text: str) -> str:
    """A name in one spelling: without spaces around it, an accented letter as one character."""
    return unicodedata.normalize("NFC", text.strip())


def as_id(path: str) -> str:
    """The id of an image that a path names, in one spelling: `./a//b` is `a/b`."""
    return posixpath.normpath(spelled(path))


def as_column(name: str) -> str:
    """The name of a column in one spelling, whatever its case."""
    return spelled(name).casefold()


class Row(NamedTuple):
    """A line of a table: its number in the file, and its cells by `as_column`, without spaces around them."""

    number: int
    cells: dict[str, str]


def read_table(table: Path) -> list[Row]:
    """The lines of a table that are not blank. Raises UserError where it has none, or cannot be read."""
    try:
        with table.open(encoding="utf-8-sig", newline="") as file:
            first = next((line for line in file if line.strip(_BETWEEN + " \r\n")), "")
            file.seek(0)
            reader = csv.reader(file, delimiter=max(_BETWEEN, key=first.count))
            read = [(reader.line_num, [cell.strip() for cell in cells]) for cells in reader]
    except (OSError, UnicodeDecodeError, csv.Error) as error:
        raise UserError(f"{table} cannot be read as a CSV file in UTF-8 ({error}); save it as one") from None
    lines = [(number, cells) for number, cells in read if any(cells)]
    if len(lines) < 2:
        raise UserError(f"{table} names no images: its first line names the columns, and each other line an image")
    (_, names), *others = lines
    columns = [as_column(name) for name in names]
    if twice := [name for name in columns if name and columns.count(name) > 1]:
        raise UserError(f"{table} has two columns {twice[0]}: give each a name of its own")
    if long := [number for number, cells in others if any(cells[len(columns) :])]:
        raise UserError(f"{table}, line {long[0]} has more cells than the first line names columns: correct it")
    # A line may be shorter than the first, whose last columns are then empty.
    return [Row(number, dict(zip(columns, [*cells, *[""] * len(columns)], strict=False))) for number, cells in others]


def located(folder: Path, name: str) -> Path:
    """The file in ``folder`` of that name, however accented letters are spelled; as named where there is none."""
    forms = [folder / name, *(folder / unicodedata.normalize(form, name) for form in ("NFC", "NFD"))]
    return next((path for path in forms if path.exists()), forms[0])
