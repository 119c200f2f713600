"""Published archives: what is used of one, whether it is the right one, and unpacking it safely.

Imports the standard library and `softreg.errors` only. An archive is read as a stream, so memory does not
grow with its size, and its headers are not trusted: bytes are counted while they are unpacked.
"""

from __future__ import annotations

import fnmatch
import hashlib
import lzma
import os
import stat
import tarfile
import zipfile
import zlib
from collections.abc import Iterator
from dataclasses import KW_ONLY, dataclass
from pathlib import Path
from typing import IO, NamedTuple, Self

from softreg.errors import UserError, first_line

BLOCK = 1 << 16  # bytes read at a time

# What the readers of zip and tar raise on damaged, truncated, encrypted or unknown contents.
_UNREADABLE = (
    tarfile.TarError,
    zipfile.BadZipFile,
    zlib.error,
    lzma.LZMAError,
    EOFError,
    NotImplementedError,
    RuntimeError,
    ValueError,
)


@dataclass(frozen=True)
class Archive:
    """One published file, and the members of it that are used.

    ``sha256``, ``md5`` and ``size`` (bytes) describe the file itself: give them where its publisher does, and
    leave them out where the same members may come packed in another way (a forge packs on request).
    ``members`` are patterns (`fnmatch`, so ``*`` also matches ``/``) over paths with ``/``, without the top
    folder if ``strip_top``. ``content_sha256`` is their digest, see `verify`, and ``max_bytes`` the most bytes
    that they may unpack to.
    """

    filename: str
    url: str
    _: KW_ONLY
    max_bytes: int
    sha256: str | None = None
    md5: str | None = None
    size: int | None = None
    members: tuple[str, ...] = ("*",)
    strip_top: bool = False
    content_sha256: str | None = None


class ArchiveError(UserError):
    """An archive that cannot be used. ``fault`` says why, without the file's name or a remedy."""

    def __init__(self, path: Path, fault: str):
        remedy = "delete it and fetch it again, or mend it if it is a mirror's copy"
        super().__init__(f"{path}: {fault}; {remedy}")
        self.fault = fault


class _FaultError(Exception):
    """Why an archive is refused, before its path is added."""


class _Member(NamedTuple):
    name: str
    stream: IO[bytes] | None  # None: a link or a device


def verify(path: Path, archive: Archive, folder: Path | None = None) -> str:
    """Check the archive at ``path`` as far as ``archive`` gives sums, and unpack the used members; the content digest.

    They go into ``folder``, unless it is None; contents alone are kept, no permissions, owners or times. The digest is
    the SHA-256 over the used members, whatever packs them and in whatever order: of a text that has one line
    ``<member path>\\0<sha256 of its bytes>\\n`` for each member, sorted by path.

    Raises:
        ArchiveError: if the archive is another one than is described or damaged, holds none of the members, a path is
            absolute or climbs, a used member is a link, a device or a duplicate, or the members unpack to more than
            ``archive.max_bytes``; what was unpacked before that stays.
        UserError: if the archive cannot be read, or ``folder`` not be written or holds one of the files.
    """
    try:
        _check_file(path, archive)
        found = _content_digest(path, archive, folder)
        _compare("content digest over the members used", found, archive.content_sha256)
        return found
    except _FaultError as fault:
        raise ArchiveError(path, str(fault)) from fault
    except _UNREADABLE as error:
        reason = first_line(error).rstrip(":")
        raise ArchiveError(path, f"it is truncated, damaged or not a zip or tar archive ({reason})") from error
    except OSError as error:
        if error.errno is None:  # the disk's errors have a number
            raise ArchiveError(path, f"its compressed data are damaged ({error})") from error
        raise UserError(f"{path}: cannot be read or unpacked ({error})") from error


def _check_file(path: Path, archive: Archive) -> None:
    _compare("size in bytes", path.stat().st_size, archive.size)
    for algorithm, expected in (("sha256", archive.sha256), ("md5", archive.md5)):
        if expected is not None:
            with path.open("rb") as file:
                _compare(algorithm, hashlib.file_digest(file, algorithm).hexdigest(), expected)


def _compare(what: str, found: str | int, expected: str | int | None) -> None:
    if expected is not None and found != expected:
        raise _FaultError(f"its {what} should be {expected} but is {found}")


def _content_digest(path: Path, archive: Archive, folder: Path | None) -> str:
    digests = {}
    for name, blocks in _contents(path, archive):
        digest = hashlib.sha256()
        with _created(folder, name) as file:
            for block in blocks:
                digest.update(block)
                file.write(block)
        digests[name] = digest.hexdigest()
    lines = "".join(f"{name}\0{digests[name]}\n" for name in sorted(digests))
    return hashlib.sha256(lines.encode(errors="surrogateescape")).hexdigest()


def _created(folder: Path | None, name: str) -> IO[bytes]:
    """The file of that name, new in ``folder``; without one, what is written goes nowhere."""
    if folder is None:
        return Path(os.devnull).open("wb")
    file = folder / name
    file.parent.mkdir(parents=True, exist_ok=True)
    return file.open("xb")


def _contents(path: Path, archive: Archive) -> Iterator[tuple[str, Iterator[bytes]]]:
    """Each used member's path and its blocks, which are to be read before the next member is asked for."""
    seen: set[str] = set()
    left = archive.max_bytes

    def blocks(stream: IO[bytes]) -> Iterator[bytes]:
        # Counted while they are unpacked, because the sizes in an archive's headers may lie.
        nonlocal left
        while block := stream.read(BLOCK):
            left -= len(block)
            if left < 0:
                raise _FaultError(f"its members unpack to more than the {archive.max_bytes} bytes the dataset declares")
            yield block

    for member in _members(path):
        name = _safe_name(member.name, archive.strip_top)
        if not name or not any(fnmatch.fnmatchcase(name, pattern) for pattern in archive.members):
            continue
        if member.stream is None:
            raise _FaultError(f"its member {name!r} is a link or a device, and only plain files are unpacked")
        if name in seen:
            raise _FaultError(f"it holds the member {name!r} twice")
        seen.add(name)
        yield name, blocks(member.stream)
    if not seen:
        raise _FaultError(f"it holds no member that matches {', '.join(archive.members)}")


def _safe_name(name: str, strip_top: bool) -> str:
    """The member's path in one spelling; every member is held to it, used or not."""
    parts = [part for part in name.split("/") if part not in ("", ".")]
    if name.startswith("/") or ".." in parts or "\\" in name or "\0" in name or name[1:2] == ":":
        raise _FaultError(f"its member {name!r} has an absolute path or one that leaves the folder")
    return "/".join(parts[1:] if strip_top else parts)


def _members(path: Path) -> Iterator[_Member]:
    """Every member but folders, in the order of the archive; a stream is open until the next member."""
    with path.open("rb") as file:
        zipped = file.read(2) == b"PK"
    return _zip_members(path) if zipped else _tar_members(path)


def _zip_members(path: Path) -> Iterator[_Member]:
    with zipfile.ZipFile(path) as archive:
        for info in archive.infolist():
            kind = stat.S_IFMT(info.external_attr >> 16)  # 0 where the archive was not packed on Unix
            if kind not in (0, stat.S_IFREG, stat.S_IFDIR):
                yield _Member(info.filename, None)
            elif not info.is_dir():
                with archive.open(info) as stream:
                    yield _Member(info.filename, stream)


def _tar_members(path: Path) -> Iterator[_Member]:
    with tarfile.open(path, tarinfo=_WholeTar) as archive:
        for info in archive:
            if not info.isdir():
                yield _Member(info.name, archive.extractfile(info) if info.isreg() else None)
        while archive.fileobj and archive.fileobj.read(BLOCK):
            pass  # the checksum of compressed data stands at their very end


class _WholeTar(tarfile.TarInfo):
    """A tar read to its end mark: `tarfile` takes a damaged or missing header for the end of the archive."""

    @classmethod
    def frombuf(cls, buf: bytes | bytearray, encoding: str, errors: str) -> Self:
        try:
            return super().frombuf(buf, encoding, errors)
        except tarfile.HeaderError as error:
            end_mark = buf and not any(buf)
            if end_mark:
                raise
            raise tarfile.ReadError(str(error)) from error
