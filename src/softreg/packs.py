"""Packing what a study has made into one archive a path, and unpacking it elsewhere. Imports no torch.

A study of 300 networks has 1,500 files, one of 10,000 has 50,000: too many to be versioned, sent or listed. ``packs/``
holds one archive for each path, with its networks and scores, and ``records.json``: what Snakemake noted of how each
file was made. Without these notes it could not tell, where the files are unpacked, what a changed study still needs.

An archive is a zip without compression (weights do not shrink) and without times, so that the same results are the same
bytes, whoever packs them.
"""

from __future__ import annotations

import functools
import os
import tempfile
import zipfile
import zlib
from base64 import urlsafe_b64decode, urlsafe_b64encode
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path
from typing import Any

from softreg.archives import BLOCK, Archive, extract
from softreg.config import Study
from softreg.errors import UserError
from softreg.files import digest, read_json, sha256_file, whole_file, write_json
from softreg.matrix import final_paths, groups, sweep_paths

_SCORES = ("val.parquet", "test.parquet", "sums.parquet")
_CELL = ("cell.json", "weights.safetensors", "history.csv", "layers.csv")
_METADATA = Path(".snakemake/metadata")
#: The longest name that Snakemake gives a file of its notes; a longer one is cut into folders that begin with "@".
_LONGEST = 254


def pack(study: Study, results: Path, data: Iterable[Path]) -> None:
    """Bring ``packs/`` of a finished study up to date; only archives whose content has changed are written.

    ``results`` is the study's own folder, ``data`` are the files that stand for its data. Raises UserError where a
    path has not been trained or scored.
    """
    packs = results / "packs"
    contents = dict(_contents(study, results))
    for name, (folder, members) in contents.items():
        _write(packs / name, folder, members)
    for file in packs.rglob("*.zip"):
        if file.relative_to(packs).as_posix() not in contents:
            file.unlink()
    write_json(packs / "records.json", _records(results, data))
    _mark(results)


def unpack(study: Study, results: Path) -> bool:
    """Make the files of ``packs/`` again, with times and notes by which Snakemake takes them for made here.

    Returns whether there was anything to unpack: there is not where no packs are, nor where they were packed here.
    Raises UserError where one is damaged, or what it would overwrite has not been packed.
    """
    packs = results / "packs"
    if not (packs / "records.json").is_file() or (_current(results) and all(map(Path.is_file, _lists(study, results)))):
        return False
    _refuse_newer(study, results)
    for file in sorted(packs.rglob("*.zip")):
        _unpack(file, results / file.relative_to(packs).with_suffix("") if file.parent != packs else results)
    _restore(read_json(packs / "records.json"))
    # What was noted of other packs that lay here before.
    _note_file((packs / "records.json").as_posix()).unlink(missing_ok=True)
    _mark(results)
    return True


def waiting(study: Study, results: Path) -> str:
    """A sentence where the packs are not those that were last packed or unpacked here; else ""."""
    if not (results / "packs" / "records.json").is_file() or _current(results):
        return ""
    return (
        f"{results / 'packs'} holds networks that are not unpacked; run `softreg unpack {study.file}` first, or "
        f"`softreg pack {study.file}` if the networks beside them shall take their place"
    )


def _contents(study: Study, results: Path) -> Iterator[tuple[str, tuple[Path, list[str]]]]:
    """Each archive's name, with the folder that its members lie in and their names there."""
    for path in (*sweep_paths(study), *final_paths(study)):
        folder = results / path.phase / path.name
        yield f"{path.phase}/{path.name}.zip", (folder, _members(folder))
    sums = [f"sweep/{'/'.join(group)}/sums.parquet" for group in groups(study)]
    choices = [f"selection/{'/'.join(group)}.csv" for group in groups(study)]
    yield "selection.zip", (results, ["selection.csv", *choices, *sums])


def _members(folder: Path) -> list[str]:
    """What is kept of a path: the cells that it lists, and its scores."""
    listing = folder / "path.json"
    if not listing.is_file():
        raise UserError(f"{listing} is missing; run `snakemake` to the end before you pack")
    cells = [f"lambda-{cell['lambda']}/{name}" for cell in read_json(listing)["cells"] for name in _CELL]
    return [name for name in ("path.json", *_SCORES, *cells) if (folder / name).is_file()]


def _write(file: Path, folder: Path, members: list[str]) -> None:
    if _holds(file, folder, members):
        return
    with whole_file(file) as temporary, zipfile.ZipFile(temporary, "w") as archive:
        for name in members:
            # Made from the name alone: no time, the same mode everywhere.
            entry = zipfile.ZipInfo(name)
            entry.external_attr = 0o644 << 16
            entry.file_size = _stat(folder / name).st_size
            with (folder / name).open("rb") as source, archive.open(entry, "w") as target:
                while block := source.read(BLOCK):
                    target.write(block)


def _holds(file: Path, folder: Path, members: list[str]) -> bool:
    """Whether an archive holds these members and none has been written since."""
    if not file.is_file():
        return False
    made = file.stat().st_mtime_ns
    states = [_stat(folder / name) for name in members]
    with zipfile.ZipFile(file) as archive:
        held = [(entry.filename, entry.file_size) for entry in archive.infolist()]
    wanted = [(name, state.st_size) for name, state in zip(members, states, strict=True)]
    return held == wanted and all(state.st_mtime_ns <= made for state in states)


def _stat(file: Path) -> os.stat_result:
    try:
        return file.stat()
    except FileNotFoundError as error:
        raise UserError(f"{file} is missing; run `snakemake` to the end before you pack") from error


def _unpack(file: Path, folder: Path) -> None:
    """Write what differs, a member at a time and whole; what else lies in the folder stays."""
    if _unpacked(file, folder):
        return
    # Without compression, nothing can unpack to more bytes than the archive has itself.
    archive = Archive(file.name, "", max_bytes=file.stat().st_size)
    folder.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(dir=folder, prefix=".unpack.") as scratch:
        source = Path(scratch) / "whole"
        for member in extract(file, archive, source):
            target = folder / member.relative_to(source)
            target.parent.mkdir(parents=True, exist_ok=True)
            member.replace(target)


def _unpacked(file: Path, folder: Path) -> bool:
    """Whether each member lies in the folder with the same bytes, by their length and CRC."""
    try:
        with zipfile.ZipFile(file) as archive:
            return all(
                (folder / entry.filename).is_file()
                and (folder / entry.filename).stat().st_size == entry.file_size
                and _crc(folder / entry.filename) == entry.CRC
                for entry in archive.infolist()
            )
    except zipfile.BadZipFile:
        return False


def _crc(file: Path) -> int:
    value = 0
    with file.open("rb") as stream:
        while block := stream.read(BLOCK):
            value = zlib.crc32(block, value)
    return value


def _records(results: Path, data: Iterable[Path]) -> dict[str, Any]:
    """Snakemake's notes on every output of the study, once for all outputs of a job, and the time of the latest."""
    places = {file.as_posix() for file in data}
    own, apart = f"{results.as_posix()}/", (f"{results.as_posix()}/packs/", f"{results.as_posix()}/partial/")
    notes = {
        output: read_json(file)
        for output, file in _notes()
        if (output in places or (output.startswith(own) and not output.startswith(apart))) and Path(output).exists()
    }
    latest = max((Path(output).stat().st_mtime_ns for output in notes), default=0)
    jobs: dict[str, dict[str, Any]] = {}
    for output, note in sorted(notes.items()):
        jobs.setdefault(digest(note), {"outputs": [], "note": note})["outputs"].append(output)
    return {"time_ns": latest, "jobs": list(jobs.values())}


def _notes() -> Iterator[tuple[str, Path]]:
    """Each output that Snakemake has notes on, with their file."""
    for file in _METADATA.rglob("*"):
        if file.is_file():
            name = "".join(part.removeprefix("@") for part in file.relative_to(_METADATA).parts)
            yield urlsafe_b64decode(name).decode(), file


def _restore(records: Mapping[str, Any]) -> None:
    """Lay the notes down, and give all outputs one time: none is newer than another that is made from it."""
    for job in records["jobs"]:
        for output in filter(_is_made_here, job["outputs"]):
            write_json(_note_file(output), job["note"])
            _date(Path(output), records["time_ns"])


def _is_made_here(output: str) -> bool:
    """Whether an output is there, and is where outputs are: packs may be anybody's."""
    parts = Path(output).parts
    return parts[:1] in (("results",), ("data",)) and ".." not in parts and Path(output).exists()


def _note_file(output: str) -> Path:
    name = urlsafe_b64encode(output.encode()).decode()
    parts = [name[start : start + _LONGEST] for start in range(0, len(name), _LONGEST)]
    return _METADATA.joinpath(*(f"@{part}" for part in parts[:-1]), parts[-1])


def _date(output: Path, time_ns: int) -> None:
    # Snakemake dates a folder by this file in it.
    for file in (output / ".snakemake_timestamp", output) if output.is_dir() else (output,):
        if file.exists():
            os.utime(file, ns=(time_ns, time_ns))


def _refuse_newer(study: Study, results: Path) -> None:
    """Stop where what lies here has been made since it was last packed or unpacked: it would be overwritten."""
    packed = _marked(results).get("time_ns", 0)
    for listing in _lists(study, results):
        if listing.is_file() and listing.stat().st_mtime_ns > packed:
            raise UserError(
                f"{listing} is newer than what was last packed; keep it by `softreg pack {study.file}`, or remove "
                f"{results / 'sweep'} and {results / 'final'}, before you unpack"
            )


def _lists(study: Study, results: Path) -> Iterator[Path]:
    """The list of each path's cells, whether it is there or not."""
    for path in (*sweep_paths(study), *final_paths(study)):
        yield results / path.phase / path.name / "path.json"


def _current(results: Path) -> bool:
    """Whether the packs are those that were last packed or unpacked here."""
    return _marked(results).get("records") == _digest_of(results / "packs" / "records.json")


def _marker(results: Path) -> Path:
    return results / "packed.json"


def _marked(results: Path) -> dict[str, Any]:
    """Which records were last packed or unpacked here; empty where none were."""
    return read_json(_marker(results)) if _marker(results).is_file() else {}


def _mark(results: Path) -> None:
    records = results / "packs" / "records.json"
    write_json(_marker(results), {"records": _digest_of(records), "time_ns": read_json(records)["time_ns"]})


def _digest_of(file: Path) -> str:
    state = file.stat()
    return _sha256_of(file, state.st_size, state.st_mtime_ns)


@functools.cache
def _sha256_of(file: Path, size: int, modified: int) -> str:
    """SHA-256 of a file in this state: Snakemake asks for it once a path."""
    return sha256_file(file)
