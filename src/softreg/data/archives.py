"""Published archives: what is used of one, whether it is the right one, and unpacking it safely.

Imports the standard library and `softreg.errors` only. An archive is read as a stream, so memory does not
grow with its size, and its headers are not trusted: bytes are counted while they are unpacked.
"""

from __future__ import annotations

import fnmatch
import hashlib
import lzma
import stat
import tarfile
import tempfile
import zipfile
import zlib
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import KW_ONLY, dataclass
from pathlib import Path
from typing import IO, NamedTuple, Self

from softreg.errors import UserError

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
    folder if ``strip_top``. ``content_sha256`` is their `content_digest`, and ``max_bytes`` the most bytes
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


def content_digest(path: Path, archive: Archive) -> str:
    """SHA-256 over the used members of the archive at ``path``, whatever packs them and in whatever order.

    The hashed text has one line ``<member path>\\0<sha256 of its bytes>\\n`` for each member, sorted by path.

    Raises:
        ArchiveError: if the archive is damaged, unsafe, too large, or holds none of the members.
    """
    with _faults_named(path):
        return _content_digest(path, archive)


def verify(path: Path, archive: Archive) -> str:
    """Check size, checksums and content digest, as far as ``archive`` gives them; the content digest.

    Raises:
        ArchiveError: naming the file, what was expected, what was found, and the remedy.
    """
    with _faults_named(path):
        _check_file(path, archive)
        found = _content_digest(path, archive)
        _compare("content digest over the members used", found, archive.content_sha256)
        return found


def extract(path: Path, archive: Archive, folder: Path) -> list[Path]:
    """Unpack the used members into ``folder``, which is absent or empty; the files' paths, sorted.

    They are unpacked beside ``folder``, which then appears whole or not at all. Only contents are kept: no
    permissions, owners or times.

    Raises:
        ArchiveError: if a path is absolute or climbs, a used member is a link, a device or a duplicate, the
            members unpack to more than ``archive.max_bytes``, or the archive is damaged.
        UserError: if ``folder`` holds something, or cannot be written.
    """
    with _faults_named(path):
        if folder.exists() and any(folder.iterdir()):
            raise UserError(f"{folder}: is not empty; give an absent or empty folder to unpack {path} into")
        folder.parent.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryDirectory(dir=folder.parent, prefix=f".{folder.name}.") as scratch:
            whole = Path(scratch) / "whole"
            whole.mkdir()
            names = _unpack(path, archive, whole)
            whole.replace(folder)
    return sorted(folder / name for name in names)


@contextmanager
def _faults_named(path: Path) -> Iterator[None]:
    try:
        yield
    except _FaultError as fault:
        raise ArchiveError(path, str(fault)) from fault
    except OSError as error:
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


def _content_digest(path: Path, archive: Archive) -> str:
    digests = {}
    for name, blocks in _contents(path, archive):
        digest = hashlib.sha256()
        for block in blocks:
            digest.update(block)
        digests[name] = digest.hexdigest()
    whole = hashlib.sha256()
    for name in sorted(digests):
        whole.update(f"{name}\0{digests[name]}\n".encode(errors="surrogateescape"))
    return whole.hexdigest()


def _unpack(path: Path, archive: Archive, folder: Path) -> list[str]:
    names = []
    for name, blocks in _contents(path, archive):
        file_path = folder / name
        file_path.parent.mkdir(parents=True, exist_ok=True)
        with file_path.open("xb") as file:
            file.writelines(blocks)
        names.append(name)
    return names


def _contents(path: Path, archive: Archive) -> Iterator[tuple[str, Iterator[bytes]]]:
    """Each used member's path and its blocks, which are to be read before the next member is asked for."""
    seen: set[str] = set()
    budget = _Budget(archive.max_bytes)
    for member in _members(path):
        name = _safe_name(member.name, archive.strip_top)
        if not name or not any(fnmatch.fnmatchcase(name, pattern) for pattern in archive.members):
            continue
        if member.stream is None:
            raise _FaultError(f"its member {name!r} is a link or a device, and only plain files are unpacked")
        if name in seen:
            raise _FaultError(f"it holds the member {name!r} twice")
        seen.add(name)
        yield name, budget.blocks(member.stream)
    if not seen:
        raise _FaultError(f"it holds no member that matches {', '.join(archive.members)}")


class _Budget:
    """Counts the bytes unpacked, because the sizes in an archive's headers may lie."""

    def __init__(self, most: int):
        self.most = most
        self.left = most

    def blocks(self, stream: IO[bytes]) -> Iterator[bytes]:
        with _damage_found():
            while block := stream.read(BLOCK):
                self.left -= len(block)
                if self.left < 0:
                    raise _FaultError(f"its members unpack to more than the {self.most} bytes the dataset declares")
                yield block


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
    with _damage_found():
        yield from _zip_members(path) if zipped else _tar_members(path)


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


@contextmanager
def _damage_found() -> Iterator[None]:
    """Turn what the readers of archives raise into a fault."""
    try:
        yield
    except _UNREADABLE as error:
        reason = (str(error) or type(error).__name__).splitlines()[0].rstrip(":")
        raise _FaultError(f"it is truncated, damaged or not a zip or tar archive ({reason})") from error
    except OSError as error:
        if error.errno is not None:  # a disk that fails must not pass for a damaged archive
            raise
        raise _FaultError(f"its compressed data are damaged ({error})") from error
