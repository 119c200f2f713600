"""Packing what a study has made into one archive a path, and unpacking it elsewhere. Imports no torch.

A study of 300 networks has 1,500 files, one of 10,000 has 50,000: too many to be versioned, sent or listed. ``packs/``
holds one archive for each path, with its networks and scores, and ``records.json``: what Snakemake noted of how each
file was made, see `softreg.running.notes`. An archive is a zip without compression (weights do not shrink) and without times,
so that the same results are the same bytes, whoever packs them.

``packed.json`` beside the folders tells which packs were last packed or unpacked here, and the content of each file
then: what differs from it has been made since and lies in no pack, so that it is never overwritten.
"""

from __future__ import annotations

import re
import tempfile
import zipfile
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from softreg.data.archives import BLOCK, Archive, content_digest, extract
from softreg.errors import UserError
from softreg.files import crc32_file, read_json, sha256_file, whole_file, write_json
from softreg.running import notes
from softreg.study.config import Study
from softreg.study.matrix import TrainingPath, final_paths, groups, sweep_paths

_SCORES = {"sweep": ("val.parquet",), "final": ("val.parquet", "test.parquet", "sums.parquet")}
_CELL = ("cell.json", "weights.safetensors", "history.csv", "layers.csv")
_LIST = "path.json"
_OTHERS = "selection.zip"
#: All that an archive may hold: packs may be anybody's.
_MEMBERS = {
    False: re.compile(r"path\.json|(val|test|sums)\.parquet|lambda-[^/]+/(cell\.json|weights\.safetensors|\w+\.csv)"),
    True: re.compile(r"selection\.csv|selection/[^/]+/[^/]+/[^/]+\.csv|sweep/[^/]+/[^/]+/[^/]+/sums\.parquet"),
}


@dataclass(frozen=True)
class _Pack:
    """One archive, and the folder that its members lie in when they are unpacked; ``results`` is the study's own."""

    file: Path
    folder: Path
    results: Path

    def state(self, name: str) -> tuple[str, str]:
        """The path of a member below ``results``, and what its file there holds: length and CRC, or "" if it is not."""
        file = self.folder / name
        place = file.relative_to(self.results).as_posix()
        return place, f"{file.stat().st_size} {crc32_file(file)}" if file.is_file() else ""

    def held(self) -> dict[str, str]:
        """What the archive holds: each member's name, with its length and CRC."""
        with zipfile.ZipFile(self.file) as archive:
            return {entry.filename: f"{entry.file_size} {entry.CRC}" for entry in archive.infolist()}

    def differing(self) -> list[str]:
        """The members whose file is missing in the folder, or holds something else. Raises UserError for a bad one."""
        allowed = _MEMBERS[self.file.name == _OTHERS]
        try:
            held = self.held()
        except zipfile.BadZipFile:
            held = {}
        # Before anything outside the folder is looked at.
        if strange := [name for name in held if not allowed.fullmatch(name)]:
            raise UserError(f"{self.file} holds {strange[0]!r}, which is in no pack; fetch it from where it is kept")
        changed = [name for name, content in held.items() if self.state(name)[1] != content]
        if changed or not held:
            # Reads all of it, and says what is wrong with it.
            content_digest(self.file, self.archive())
        return changed

    def archive(self) -> Archive:
        """As `softreg.data.archives` reads it: without compression, nothing can unpack to more bytes than it has itself."""
        return Archive(self.file.name, "", max_bytes=self.file.stat().st_size)


def pack(study: Study, results: Path, data: Iterable[Path]) -> None:
    """Bring ``packs/`` of a finished study up to date; only archives whose content has changed are written.

    ``results`` is the study's own folder, ``data`` are the files that stand for its data. Raises UserError where a
    path has not been trained or scored.
    """
    packs = results / "packs"
    contents = dict(_contents(study, results))
    for one, members in contents.items():
        _write(one, members)
    for file in set(packs.rglob("*.zip")) - {one.file for one in contents}:
        file.unlink()
    write_json(packs / "records.json", notes.collect(_outputs(results, data)))
    _mark(results, contents)


def unpack(study: Study, results: Path, data: Iterable[Path]) -> int:
    """Make the files of ``packs/`` again, with times and notes by which Snakemake takes them for made here.

    Returns how many archives were unpacked. Those that were packed here, or have been unpacked, give back only folders
    that are gone, and with them the λ̂ that they led to. Raises UserError, before anything is written, where one is
    damaged, or what it would overwrite lies in no pack.
    """
    if not (results / "packs" / "records.json").is_file():
        return 0
    found = _found(results)
    current = _current(results)
    if current:
        gone = {one.folder for one in found if not one.folder.exists()}
        # With them what was chosen from them: Snakemake would not see that it came of others.
        found = [one for one in found if one.folder in gone or (gone and one.file.name == _OTHERS)]
    changed = {one: names for one in found if (names := one.differing())}
    if current and not changed:
        return 0
    _refuse_unknown(study, results, changed)
    entries = notes.read(results / "packs" / "records.json")
    # From here on, what the packs hold is known too, should unpacking be cut short.
    _know(results, found, "")
    for one in changed:
        _unpack(one)
    places = [*gone, *_chosen(results)] if current else [results, *data]
    notes.restore(entries, results, places)
    # What was noted of other packs that lay there before.
    notes.forget((results / "packs" / "records.json").as_posix())
    _mark(results, found)
    return len(changed)


def waiting(study: Study, results: Path) -> str:
    """A sentence where the packs are not those that were last packed or unpacked here; else ""."""
    if not (results / "packs" / "records.json").is_file() or _current(results):
        return ""
    return (
        f"{results / 'packs'} holds networks that are not unpacked; run `softreg unpack {study.file}` first, or "
        f"`softreg pack {study.file}` if the networks beside them shall take their place"
    )


def differing(results: Path) -> int:
    """How many paths lie there, whole or in part, otherwise than in their packs: by their lists, which hold keys."""
    paths = [one for one in _found(results) if one.file.name != _OTHERS and one.folder.exists()]
    return sum(one.state(_LIST)[1] != one.held().get(_LIST) for one in paths)


def _found(results: Path) -> list[_Pack]:
    packs = results / "packs"
    return [_Pack(file, _folder(results, file), results) for file in sorted(packs.rglob("*.zip"))]


def _folder(results: Path, file: Path) -> Path:
    packs = results / "packs"
    return results if file.parent == packs else results / file.relative_to(packs).with_suffix("")


def _chosen(results: Path) -> list[Path]:
    """What follows from networks and is no path's own: λ̂, and scores that are told once it is chosen."""
    return [results / name for name in _Pack(results / "packs" / _OTHERS, results, results).held()]


def _contents(study: Study, results: Path) -> Iterator[tuple[_Pack, list[str]]]:
    """Each archive, with the names of its members."""
    for path in (*sweep_paths(study), *final_paths(study)):
        folder = results / path.phase / path.name
        yield _Pack(results / "packs" / path.phase / f"{path.name}.zip", folder, results), _members(path, folder)
    sums = [f"sweep/{'/'.join(group)}/sums.parquet" for group in groups(study)]
    choices = [f"selection/{'/'.join(group)}.csv" for group in groups(study)]
    yield _Pack(results / "packs" / _OTHERS, results, results), ["selection.csv", *choices, *sums]


def _members(path: TrainingPath, folder: Path) -> list[str]:
    """What is kept of a path: the cells that it lists, those that have finished with their networks, and its scores."""
    listing = folder / _LIST
    if not listing.is_file():
        raise missing(listing)
    cells = [
        f"lambda-{cell['lambda']}/{name}"
        for cell in read_json(listing)["cells"]
        for name in (_CELL if cell["status"] == "finished" else _CELL[:1])
    ]
    return [_LIST, *_SCORES[path.phase], *cells]


def missing(file: Path) -> UserError:
    """What is told of a file without which a study is not finished, and is not packed."""
    return UserError(f"{file} is missing; run `snakemake` to the end before you pack")


def _write(one: _Pack, members: list[str]) -> None:
    wanted = {}
    for name in members:
        wanted[name] = one.state(name)[1]
        if not wanted[name]:
            raise missing(one.folder / name)
    if one.file.is_file() and zipfile.is_zipfile(one.file) and one.held() == wanted:
        return
    with whole_file(one.file) as temporary, zipfile.ZipFile(temporary, "w") as archive:
        for name in members:
            _add(archive, name, one.folder / name)


def _add(archive: zipfile.ZipFile, name: str, file: Path) -> None:
    # Made from the name alone: no time, the same mode everywhere.
    entry = zipfile.ZipInfo(name)
    entry.external_attr = 0o644 << 16
    entry.file_size = file.stat().st_size
    with file.open("rb") as source, archive.open(entry, "w") as target:
        while block := source.read(BLOCK):
            target.write(block)


def _unpack(one: _Pack) -> None:
    """Write the members one by one, each whole; what else lies in the folder stays."""
    one.folder.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(dir=one.folder, prefix=".unpack.") as scratch:
        source = Path(scratch) / "whole"
        for member in extract(one.file, one.archive(), source):
            target = one.folder / member.relative_to(source)
            target.parent.mkdir(parents=True, exist_ok=True)
            member.replace(target)


def _refuse_unknown(study: Study, results: Path, changed: dict[_Pack, list[str]]) -> None:
    """Stop where a file that would be overwritten is not as it was last packed or unpacked here."""
    known = _marked(results)["contents"]
    for one, names in changed.items():
        if one.file.name == _OTHERS:
            # Follows from the networks, in seconds.
            continue
        for place, content in map(one.state, names):
            if content and content not in known.get(place, ()):
                raise UserError(
                    f"{results / place} has been made here and lies in no pack, and unpacking would overwrite it; move "
                    f"{results / 'sweep'} and {results / 'final'} elsewhere, or, to keep what is there, go back to the "
                    "commit that it was made under"
                )


def _outputs(results: Path, data: Iterable[Path]) -> Iterator[str]:
    """Of all that Snakemake has notes on, what belongs to the study and is there."""
    places = {file.as_posix() for file in data}
    own, apart = f"{results.as_posix()}/", (f"{results.as_posix()}/packs/", f"{results.as_posix()}/partial/")
    for output in notes.noted():
        if (output in places or (output.startswith(own) and not output.startswith(apart))) and Path(output).exists():
            yield output


def _current(results: Path) -> bool:
    """Whether the packs are those that were last packed or unpacked here."""
    return bool(_marked(results)["records"] == sha256_file(results / "packs" / "records.json"))


def _marked(results: Path) -> dict[str, Any]:
    """The digest of the records that were last packed or unpacked here, and the known contents of each file."""
    file = results / "packed.json"
    return read_json(file) if file.is_file() else {"records": "", "contents": {}}


def _mark(results: Path, packs: Iterable[_Pack]) -> None:
    """Note that these packs are those whose content lies here. What others held of the same files is known no more."""
    contents = _marked(results)["contents"] | {place: [content] for place, content in _holdings(packs)}
    write_json(
        results / "packed.json", {"records": sha256_file(results / "packs" / "records.json"), "contents": contents}
    )


def _know(results: Path, packs: Iterable[_Pack], records: str) -> None:
    """Note what these packs hold beside what is known, before it is unpacked."""
    contents = _marked(results)["contents"]
    for place, content in _holdings(packs):
        contents.setdefault(place, []).append(content)
    write_json(results / "packed.json", {"records": records, "contents": contents})


def _holdings(packs: Iterable[_Pack]) -> Iterator[tuple[str, str]]:
    """The path below the results of each file that the packs hold, and its content."""
    for one in packs:
        for name, content in one.held().items():
            yield (one.folder / name).relative_to(one.results).as_posix(), content
