"""What a user's own data set is prepared from, told by the content of its files. Imports no torch."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from contextlib import suppress
from pathlib import Path
from typing import Any

from softreg.data.tables import located, read_table
from softreg.errors import UserError
from softreg.files import digest, read_json, sha256_file, write_json
from softreg.own.classes import describe
from softreg.own.sources import is_own

#: Where digests are kept, apart from the data: they hold times, which are this machine's.
_NOTED = Path("logs/data/sources")
#: Options of the kind ``folder`` that name files or folders.
_PLACES = ("images", "masks", "table", "train_list", "val_list", "test_list")


def source_state(options: Mapping[str, Any], name: str) -> str:
    """Changes when the content of a user's files does: images, masks, table and split lists; "" where there are none.

    Of a user's own data set, whatever file or folder its options name. Digests are kept under ``name``, so that a file
    is read again only where its size or time is another; what counts is its content alone.
    """
    files = sorted(set(_files(options)))
    return digest(_digests(files, _NOTED / f"{name}.json")) if files else ""


def _files(options: Mapping[str, Any]) -> Iterator[Path]:
    names = [*_PLACES, *(describe(options["kind"], "dataset").options if is_own(options["kind"]) else ())]
    named = [{**options["split"], **options}.get(name) for name in names]
    places = [Path(place) for place in named if isinstance(place, str)]
    if isinstance(options.get("table"), str):
        places += _listed(Path(options["table"]))
    for place in places:
        yield from (file for file in (place.rglob("*") if place.is_dir() else [place]) if file.is_file())


def _listed(table: Path) -> list[Path]:
    """The images and masks that a table names; none where it cannot be read, which preparing will say."""
    try:
        rows = read_table(table)
    except UserError:
        return []
    return [located(table.parent, cells[key]) for _, cells in rows for key in ("image", "mask") if cells.get(key)]


def _digests(files: Sequence[Path], kept: Path) -> list[tuple[str, str]]:
    """Each file with its SHA-256, from ``kept`` where its size and time are as noted there."""
    noted: dict[str, Any] = {}
    with suppress(OSError, ValueError):
        noted = read_json(kept)
    known: dict[str, Any] = {}
    for file in files:
        state = file.stat()
        sign = [state.st_size, state.st_mtime_ns]
        # A name need not be UTF-8, as what is written has to be; preparing refuses that of an image.
        name = file.as_posix().encode(errors="backslashreplace").decode()
        before = noted.get(name)
        known[name] = before if before and before[:2] == sign else [*sign, sha256_file(file)]
    if known != noted:
        # Only saves reading next time: where it cannot be written, all is read again.
        with suppress(OSError):
            write_json(kept, known)
    return [(name, entry[2]) for name, entry in known.items()]
