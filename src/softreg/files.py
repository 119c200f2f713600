"""Writing files whole, naming contents by their digest, and telling whether files are still what was written.

Imports the standard library only.
"""

from __future__ import annotations

import errno
import fcntl
import glob
import hashlib
import json
import os
import secrets
import stat
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

from softreg.errors import UserError, first_line, say


class Damaged(UserError, ValueError):
    """A file that does not hold what was written."""


@contextmanager
def whole_file(path: Path, sync: bool = True) -> Iterator[Path]:
    """Yield a temporary path in the folder of ``path``; on success it replaces ``path``, synced to disk if ``sync``.

    A reader sees the old file or the new one, never a part. On an error nothing is left behind, and temporary files of
    writers that were killed are removed.
    """
    with naming(path):
        path.parent.mkdir(parents=True, exist_ok=True)
        handle, temporary = _temporary(path)
        try:
            yield temporary
            if sync:
                with temporary.open("rb") as file:
                    os.fsync(file.fileno())
            temporary.replace(path)
        finally:
            temporary.unlink(missing_ok=True)
            os.close(handle)


@contextmanager
def naming(path: Path) -> Iterator[None]:
    """Give an error of the disk that does not say where it was, as of a write, the name of ``path``."""
    try:
        yield
    except OSError as error:
        if error.errno is None or error.filename is not None:
            raise
        raise OSError(error.errno, os.strerror(error.errno), str(path)) from error


def _temporary(path: Path) -> tuple[int, Path]:
    """An empty file beside ``path``, open and locked as long as its writer lives; the locks of dead ones are gone."""
    for left in path.parent.glob(f".{glob.escape(path.name)}.*.tmp"):
        with suppress(OSError), left.open("r+b") as file:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
            left.unlink()
    while True:
        temporary = path.with_name(f".{path.name}.{secrets.token_hex(4)}.tmp")
        handle = os.open(temporary, os.O_RDWR | os.O_CREAT | os.O_EXCL, 0o666)
        with suppress(OSError):
            fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
        # Unless another writer took it for a dead one's, before it was locked.
        if os.fstat(handle).st_nlink:
            return handle, temporary
        os.close(handle)


@contextmanager
def alone(place: Path) -> Iterator[None]:
    """Hold off other processes that make ``place``, as long as this one lives: who comes later waits, and says so.

    It is a lock of the kernel's on a file beside ``place``, which goes with its last holder. On a file system without
    locks there is none, and that is said.
    """
    file = place.with_name(f".{place.name}.lock")
    with naming(file):
        file.parent.mkdir(parents=True, exist_ok=True)
    handle = _lock(file, place)
    try:
        yield
    finally:
        file.unlink(missing_ok=True)
        os.close(handle)


def _lock(file: Path, place: Path) -> int:
    while True:
        handle = os.open(file, os.O_RDWR | os.O_CREAT, 0o666)
        _wait(handle, place)
        # Unless its last holder has taken it away meanwhile, of which NFS tells as it likes.
        try:
            if os.path.samestat(os.fstat(handle), file.stat()):
                return handle
        except OSError as error:
            if error.errno not in (errno.ENOENT, errno.ESTALE):
                raise
        os.close(handle)


def _wait(handle: int, place: Path) -> None:
    try:
        try:
            fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            say(f"{place}: another process is making this; waiting for it to finish")
            fcntl.flock(handle, fcntl.LOCK_EX)
    except OSError as error:
        say(f"{place}: made without a lock ({error.strerror}); let no other process make it now")


def write_text(path: Path, text: str) -> None:
    """Write ``text`` as UTF-8, whole or not at all."""
    with whole_file(path) as temporary:
        temporary.write_text(text, encoding="utf-8")


def write_json(path: Path, value: Any) -> None:
    """Write ``value`` as indented JSON in the order of its keys, whole or not at all."""
    write_text(path, json.dumps(value, indent=2, ensure_ascii=False) + "\n")


def read_json(path: Path) -> Any:
    """The value in a JSON file. Raises Damaged where it holds none."""
    with reading(path, "JSON"):
        return json.loads(path.read_bytes())


@contextmanager
def reading(path: Path, what: str) -> Iterator[None]:
    """Raise Damaged where ``path`` does not hold ``what``, whatever error a reader of that form meets."""
    try:
        yield
    except (ValueError, KeyError, TypeError, NotImplementedError, OSError) as error:
        # Those with a number are the disk's or the folder's.
        if isinstance(error, Damaged) or (isinstance(error, OSError) and error.errno is not None):
            raise
        reason = first_line(error)
        raise Damaged(
            f"{path} is damaged: it does not hold {what} ({reason}); delete it and run `snakemake`, or fetch it "
            "again from where it is kept"
        ) from error


def seal(path: Path, value: Mapping[str, Any], files: Iterable[Path]) -> None:
    """Write ``value`` as JSON, with the size and digest of each of ``files`` under ``files``, and one of all that.

    `sealed` and `altered` hold them to it.
    """
    listed = {os.path.relpath(file, path.parent): [file.stat().st_size, sha256_file(file)] for file in files}
    whole = {**value, "files": listed}
    write_json(path, whole | {"sha256": digest(whole)})


def sealed(path: Path) -> dict[str, Any] | None:
    """What `seal` has written to ``path``; None where it is no longer that, or not there."""
    try:
        value: dict[str, Any] = read_json(path)
        return value if value.pop("sha256") == digest(value) and isinstance(value["files"], dict) else None
    except (OSError, ValueError, AttributeError, TypeError, KeyError):
        return None


def altered(path: Path, reads: Callable[[Path], bool] = lambda file: False, **expected: Any) -> list[Path]:
    """The files that are not what they were when ``path`` was sealed, or ``path`` itself if that lacks ``expected``.

    Their sizes are compared, and all is read of those that ``reads`` is true for, or that have changed since ``path``
    did: by the time of the inode, which tells of writing, renaming and copying, and which nobody can set. So what is
    found to be right is read once, and ``path`` then counts as younger.
    """
    since, value = _changed(path), sealed(path)
    if not since or value is None or not expected.items() <= value.items():
        return [path]
    bad, younger = [], {}
    for name, (size, content) in value["files"].items():
        file = path.parent / name
        changed = _changed(file)
        right = bool(changed) and file.stat().st_size == size
        if right and (changed >= since or reads(file)):
            right = sha256_file(file) == content
        if not right:
            bad.append(file)
        elif changed >= since:
            younger[file] = changed
    # What has changed while it was read will be read again.
    if younger and not bad and all(_changed(file) == then for file, then in younger.items()):
        with suppress(OSError):
            os.utime(path)
    return bad


def _changed(file: Path) -> int:
    """When a regular file was last changed, written or moved, nanoseconds; 0 where there is none."""
    try:
        state = file.stat()
    except (FileNotFoundError, NotADirectoryError):
        return 0
    return state.st_ctime_ns if stat.S_ISREG(state.st_mode) else 0


def project() -> Path:
    """The folder of Snakefile, ``workflow/`` and ``profiles/``: the checkout, or what an installed package carries."""
    package = Path(__file__).parent
    checkout = package.parents[1]
    return checkout if (checkout / "workflow").is_dir() else package / "project"


def sha256_file(path: Path) -> str:
    """Hexadecimal SHA-256 of a file's bytes."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def digest(value: Any) -> str:
    """Hexadecimal SHA-256 of a JSON value, whatever the order of its keys."""
    text = json.dumps(value, sort_keys=True, separators=(",", ":"), ensure_ascii=False)
    return hashlib.sha256(text.encode("utf-8")).hexdigest()
