"""Packing what a study has made into one archive a job, and unpacking it elsewhere. Imports no torch.

A study of 300 networks has 1,500 files, one of 10,000 has 50,000: too many to be versioned, sent or listed. ``packs/``
holds an archive for each path with its networks and scores, for each choice of λ̂, and for the scores of each sweep on
test, every one with the mark of the job that made it; and ``index.json``, their keys. An archive is a zip without
compression (weights do not shrink) and without times, so that the same results are the same bytes, whoever packs them.

``packed.json`` beside the folders tells which packs were last packed or unpacked here, and all keys that were ever in
one: what was made under another key lies in no pack, so that it is never overwritten.
"""

from __future__ import annotations

import re
import shutil
import tempfile
import zipfile
from pathlib import Path
from typing import Any

from softreg.data.archives import BLOCK, Archive, content_digest, extract
from softreg.errors import UserError
from softreg.files import altered, read_json, sha256_file, whole_file, write_json
from softreg.running.graph import Graph, Job

#: All that an archive may hold, below its folder, by the command of its job: packs may be anybody's.
_MEMBER = {
    "train": r"path\.json|(val|test|sums)\.parquet|lambda-[^/]+/(cell\.json|weights\.safetensors|\w+\.csv)|made-\w+",
    "select": r"[^/]+\.(csv|made-\w+)",
    "reveal": r"sums\.parquet|made-\w+",
}


def pack(graph: Graph) -> None:
    """Bring ``packs/`` of a finished study up to date; only what has been made under another key is written.

    Raises UserError where something is missing, or was made under another version of the study or the code.
    """
    packs = graph.results / "packs"
    jobs = {_name(job): job for job in graph.packed}
    for job in jobs.values():
        job.demand(graph.study, lambda file: True)
    archives = [packs / name for name in jobs]
    graph.pack.begin()
    for name, job in jobs.items():
        if not _is_packed(packs / name, graph.results, job):
            _write(packs / name, graph.results, job)
    for file in set(packs.rglob("*.zip")) - {*archives}:
        file.unlink()
    write_json(packs / "index.json", {name: job.key for name, job in jobs.items()})
    graph.pack.end(also=archives)
    _note(graph, {name: job.key for name, job in jobs.items()})


def unpack(graph: Graph) -> int:
    """Make again what ``packs/`` hold; how many archives were unpacked.

    Of packs that were packed here, or have been unpacked, only what is gone or damaged, or follows from it. Raises
    UserError, before anything is written, where an archive is damaged, or what it would overwrite lies in no pack.
    """
    index = _index(graph)
    wanted = {name: key for name, key in index.items() if not _stands(graph, name, key)}
    if not waiting(graph):
        current = {_name(job): job.key for job in graph.packed}
        # What is trained here stays; what follows from networks in seconds is as the study has it now.
        wanted = {
            name: key
            for name, key in wanted.items()
            if not _place(graph, name).exists()
            or _marks(graph, name).keys() == {key}
            or (not name.startswith("train/") and current.get(name) == key)
        }
    known = _noted(graph)["known"]
    for name, key in wanted.items():
        _check(graph, name, key)
        _refuse_unknown(graph, name, known.get(name, []))
    for name in wanted:
        _unpack(graph, name)
    if index:
        _note(graph, index)
    return len(wanted)


def waiting(graph: Graph) -> str:
    """A sentence where the packs are not those that were last packed or unpacked here; else ""."""
    file = graph.results / "packs" / "index.json"
    if not file.is_file() or _noted(graph)["index"] == sha256_file(file):
        return ""
    study = graph.study.file
    return (
        f"{file.parent} holds networks that are not unpacked; run `softreg unpack {study}` first, or "
        f"`softreg pack {study}` if the networks beside them shall take their place"
    )


def differing(graph: Graph) -> int:
    """How many paths lie there otherwise than in their packs: made under another key, or not to the end."""
    paths = [(name, key) for name, key in _index(graph).items() if name.startswith("train/")]
    return sum(_place(graph, name).exists() and _marks(graph, name).keys() != {key} for name, key in paths)


def _name(job: Job) -> str:
    return f"{job.command}/{job.name}.zip"


def _place(graph: Graph, name: str) -> Path:
    """What an archive makes again: the folder of a path, or one file."""
    command, _, rest = name.removesuffix(".zip").partition("/")
    places = {"train": rest, "select": f"selection/{rest}.csv", "reveal": f"sweep/{rest}/sums.parquet"}
    return graph.results / places[command]


def _marks(graph: Graph, name: str) -> dict[str, Path]:
    """The marks of what lies in an archive's place, by their keys: one, or none where it is not made to the end."""
    place = _place(graph, name)
    stem = {"train": place / "made-", "select": place.with_suffix(".made-"), "reveal": place.with_name("made-")}
    start = stem[name.partition("/")[0]]
    return {mark.name.removeprefix(start.name): mark for mark in start.parent.glob(f"{start.name}*")}


def _stands(graph: Graph, name: str, key: str) -> bool:
    """Whether what an archive holds lies in its place, as it was made."""
    marks = _marks(graph, name)
    return marks.keys() == {key} and not altered(marks[key])


def _index(graph: Graph) -> dict[str, str]:
    """The key of each archive. Raises UserError where the list is damaged."""
    file = graph.results / "packs" / "index.json"
    if not file.is_file():
        return {}
    try:
        return {str(name): str(key) for name, key in read_json(file).items() if _name_is_one(name)}
    except (ValueError, AttributeError):
        raise UserError(f"{file} is damaged; fetch it again from where it is kept") from None


def _name_is_one(name: str) -> bool:
    if ".." in name.split("/") or not re.fullmatch(r"train(/[^/]+){5}\.zip|(select|reveal)(/[^/]+){3}\.zip", name):
        raise ValueError
    return True


def _key_in(file: Path) -> str:
    """The key in the mark that an archive holds; "" where there is no such archive."""
    if not zipfile.is_zipfile(file):
        return ""
    with zipfile.ZipFile(file) as archive:
        return next((name.rpartition("made-")[2] for name in archive.namelist() if "made-" in name), "")


def _is_packed(file: Path, results: Path, job: Job) -> bool:
    """Whether an archive is whole and holds what a job has made: with its mark, which lists the digests of all."""
    try:
        with zipfile.ZipFile(file) as archive:
            held = archive.read(job.mark.relative_to(results).as_posix())
            return held == job.mark.read_bytes() and archive.testzip() is None
    except Exception:
        # Not there, or whichever of its many errors a damaged file meets.
        return False


def _write(target: Path, results: Path, job: Job) -> None:
    with whole_file(target) as temporary, zipfile.ZipFile(temporary, "w") as archive:
        for file in (*job.listed(), job.mark):
            _add(archive, file.relative_to(results).as_posix(), file)


def _add(archive: zipfile.ZipFile, name: str, file: Path) -> None:
    # Made from the name alone: no time, the same mode everywhere.
    entry = zipfile.ZipInfo(name)
    entry.external_attr = 0o644 << 16
    entry.file_size = file.stat().st_size
    with file.open("rb") as source, archive.open(entry, "w") as target:
        shutil.copyfileobj(source, target, BLOCK)


def _check(graph: Graph, name: str, key: str) -> None:
    """Raise UserError for an archive that is not there, is damaged, or holds what is in no pack."""
    file = graph.results / "packs" / name
    if not file.is_file():
        raise UserError(f"{file} is missing; fetch it from where it is kept")
    # Reads all of it, and says what is wrong with it.
    content_digest(file, _archive(file))
    command, place = name.partition("/")[0], _place(graph, name).relative_to(graph.results)
    folder = (place if command == "train" else place.parent).as_posix()
    allowed = re.compile(rf"{re.escape(folder)}/({_MEMBER[command]})")
    with zipfile.ZipFile(file) as archive:
        strange = [member for member in archive.namelist() if not allowed.fullmatch(member)]
    if strange:
        raise UserError(f"{file} holds {strange[0]!r}, which is in no pack; fetch it from where it is kept")
    if _key_in(file) != key:
        raise UserError(f"{file} is not the one that index.json names; fetch both from where they are kept")


def _archive(file: Path) -> Archive:
    """As `softreg.data.archives` reads it: without compression, nothing can unpack to more bytes than it has itself."""
    return Archive(file.name, "", max_bytes=file.stat().st_size)


def _refuse_unknown(graph: Graph, name: str, known: list[str]) -> None:
    """Stop where a path that would be overwritten was made here and lies in no pack; all else follows in seconds."""
    place, marked = _place(graph, name), _marks(graph, name).keys()
    if name.startswith("train/") and place.exists() and not (marked and marked <= set(known)):
        raise UserError(
            f"{place} has been made here and is in no pack, and unpacking would overwrite it; move "
            f"{graph.results / 'sweep'} and {graph.results / 'final'} elsewhere, or, to keep what is there, go back to "
            "the commit that it was made under"
        )


def _unpack(graph: Graph, name: str) -> None:
    """Put what an archive holds in its place; a path's folder as a whole, so that none is ever mixed."""
    file = graph.results / "packs" / name
    with tempfile.TemporaryDirectory(dir=graph.results, prefix=".unpack.") as scratch:
        whole = Path(scratch) / "whole"
        members = extract(file, _archive(file), whole)
        place = _place(graph, name)
        if name.startswith("train/"):
            if place.exists():
                place.replace(Path(scratch) / "replaced")
            members = [whole / place.relative_to(graph.results)]
        for mark in _marks(graph, name).values():
            mark.unlink()
        # The mark last: until then, the job counts as not done.
        for member in sorted(members, key=lambda member: "made-" in member.name):
            target = graph.results / member.relative_to(whole)
            target.parent.mkdir(parents=True, exist_ok=True)
            member.replace(target)


def _noted(graph: Graph) -> dict[str, Any]:
    """The digest of the index that was last packed or unpacked here, and the keys known of each archive."""
    file = graph.results / "packed.json"
    return read_json(file) if file.is_file() else {"index": "", "known": {}}


def _note(graph: Graph, keys: dict[str, str]) -> None:
    """Note that the packs with these ``keys`` are those whose content lies here."""
    known = _noted(graph)["known"]
    for name, key in keys.items():
        known[name] = sorted({*known.get(name, []), key})
    index = sha256_file(graph.results / "packs" / "index.json")
    write_json(graph.results / "packed.json", {"index": index, "known": known})
