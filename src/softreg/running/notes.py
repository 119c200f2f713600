"""Snakemake's notes of how each output was made, taken along with results, so that it knows them elsewhere.

Without its notes, Snakemake could not tell, where results are unpacked, what a changed study still needs: it would take
all that is there for current. A note is laid down only where the output still is what the note speaks of, and the
output is given the time that it had, so that what was newer than what stays so.
"""

from __future__ import annotations

import binascii
import json
import os
from base64 import urlsafe_b64decode, urlsafe_b64encode
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from softreg.errors import UserError
from softreg.files import crc32_file, digest

_METADATA = Path(".snakemake/metadata")
#: The longest name that Snakemake gives a file of its notes; a longer one is cut into folders that begin with "@".
_LONGEST = 254
#: Older than anything: what is dated so is made again.
_LONG_AGO = 1
#: Snakemake dates a folder by this file in it.
_TIMESTAMP = ".snakemake_timestamp"


def noted() -> Iterator[str]:
    """Every output that Snakemake has notes on, whether it is there or not."""
    for file in _METADATA.rglob("*"):
        if file.is_file():
            name = "".join(part.removeprefix("@") for part in file.relative_to(_METADATA).parts)
            try:
                yield urlsafe_b64decode(name).decode()
            except (binascii.Error, ValueError):
                # No note: Snakemake would not find it either.
                continue


def collect(outputs: Iterable[str]) -> dict[str, Any]:
    """The notes on ``outputs``, once for all outputs of a job, with the time and content of each output."""
    jobs: dict[str, dict[str, Any]] = {}
    for output in sorted(outputs):
        note = _read(output)
        if note is not None:
            job = jobs.setdefault(digest(note), {"outputs": {}, "note": note})
            job["outputs"][output] = {"time_ns": _time(Path(output)), "content": _content(Path(output))}
    return {"jobs": list(jobs.values())}


@dataclass(frozen=True)
class Entry:
    """A note that travels: its output, when that was made (nanoseconds), what it held, and the note."""

    output: Path
    time_ns: int
    content: str
    note: dict[str, Any]


def read(file: Path) -> list[Entry]:
    """What `collect` gave, from a JSON file. Raises UserError where it is damaged."""
    try:
        return [
            Entry(Path(output), int(state["time_ns"]), str(state["content"]), dict(job["note"]))
            for job in json.loads(file.read_text(encoding="utf-8"))["jobs"]
            for output, state in job["outputs"].items()
        ]
    except (KeyError, TypeError, ValueError, AttributeError) as error:
        raise UserError(f"{file} is damaged; fetch it again from where it is kept") from error


def restore(entries: Iterable[Entry], results: Path, places: Sequence[Path]) -> None:
    """Lay down the notes on what lies in ``places``, and date it.

    An output in a study's ``results`` that is not what its note speaks of is dated so that it is made again; one
    elsewhere, which are its data, so that all that uses them is.
    """
    for entry in entries:
        output = entry.output
        if ".." in output.parts or not output.exists() or not any(map(output.is_relative_to, places)):
            continue
        if entry.content == _content(output):
            _write(output, entry.note)
            _date(output, entry.time_ns)
        elif output.is_relative_to(results):
            _date(output, _LONG_AGO)
        else:
            output.touch()


def forget(output: str) -> None:
    """Remove the note on an output, if there is one."""
    _place(output).unlink(missing_ok=True)


def _content(output: Path) -> str:
    """What tells an output from another: length and CRC of its files."""
    if output.is_file():
        return f"{output.stat().st_size} {crc32_file(output)}"
    files = sorted(file for file in output.rglob("*") if file.is_file() and file.name != _TIMESTAMP)
    return digest([(file.relative_to(output).as_posix(), file.stat().st_size, crc32_file(file)) for file in files])


def _time(output: Path) -> int:
    stamp = output / _TIMESTAMP
    return (stamp if stamp.is_file() else output).stat().st_mtime_ns


def _date(output: Path, time_ns: int) -> None:
    for file in (output / _TIMESTAMP, output) if output.is_dir() else (output,):
        if file.exists():
            os.utime(file, ns=(time_ns, time_ns))


def _read(output: str) -> dict[str, Any] | None:
    """The note on an output; None where there is none that can be read."""
    try:
        note = json.loads(_place(output).read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return None
    return note if isinstance(note, dict) else None


def _write(output: Path, note: dict[str, Any]) -> None:
    # In place, as Snakemake writes it: beside it, a longer name would not fit.
    place = _place(output.as_posix())
    place.parent.mkdir(parents=True, exist_ok=True)
    place.write_text(json.dumps(note), encoding="utf-8")


def _place(output: str) -> Path:
    name = urlsafe_b64encode(output.encode()).decode()
    parts = [name[start : start + _LONGEST] for start in range(0, len(name), _LONGEST)]
    return _METADATA.joinpath(*(f"@{part}" for part in parts[:-1]), parts[-1])
