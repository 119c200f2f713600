"""Fetching published archives, whole and verified, from where they are published or from a mirror.

A download that stops is resumed, also by a later run: its beginning waits beside the target as
``<name>.part``, with its source and version in ``<name>.part.json``. The target appears only when it is
whole and verified.
"""

from __future__ import annotations

import email.utils
import http.client
import os
import re
import shutil
import time
import urllib.request
from collections.abc import Callable, Iterator, Sequence
from contextlib import suppress
from email.message import Message
from http import HTTPStatus
from pathlib import Path
from typing import Any
from urllib.error import HTTPError, URLError
from urllib.parse import quote

from tqdm import tqdm

from softreg.data.archives import Archive, ArchiveError, verify
from softreg.errors import UserError, say
from softreg.files import alone, read_json, whole_file, write_json

MIRRORS_VARIABLE = "SOFTREG_MIRRORS"

BLOCK = 1 << 18  # bytes asked of the connection at a time
TIMEOUT = 20.0  # seconds without a byte
TRIES = 4  # in a row that bring no new byte
REQUESTS = 100  # to one source, with those that bring new bytes
SLOW, WINDOW = 1 << 16, 60.0  # fewer bytes in so many seconds are no progress
PACKED = 3  # times what the members that are used unpack to: the most that an archive of unstated size may have
BACKOFF = 1.0  # seconds before the second try; doubled before each further one
LONGEST_WAIT = 120.0  # seconds; a server that asks for more is given up
pause: Callable[[float], None] = time.sleep

_COUNT = "[0-9]{1,18}"  # more digits are no number of bytes or seconds
TEMPORARY = {408, 425, 429, 500, 502, 503, 504}


def fetch(archive: Archive, target: Path, mirrors: Sequence[str] = ()) -> str:
    """Make ``target`` the published file ``archive``; the content digest of its used members.

    A target that exists is verified and left alone. Otherwise the sources are, in this order: mirrors that
    are folders, since they answer at once and a machine without network should not wait for time-outs; the
    official address; mirrors that are addresses. The order cannot change what is fetched, because every
    file is verified. Mirrors are those given and then those in the environment variable SOFTREG_MIRRORS,
    separated by ``;`` or new lines. A folder holds ``<filename>`` or ``<dataset>/<filename>``, where the
    dataset is the name of the target's folder; an address (http or https) is a base to which
    ``/<filename>`` is added.

    Progress is a bar on a terminal, otherwise a line for every tenth.

    Raises:
        ArchiveError: if the target exists and is not the published file.
        UserError: if every source fails (it names each with its reason), a mirror is neither folder nor
            address, or the target cannot be written.
    """
    try:
        if target.exists():
            return verify(target, archive)
        with alone(target):
            # Unless another process fetched it while this one waited.
            digest = verify(target, archive) if target.exists() else _obtain(archive, target, mirrors)
    except OSError as error:
        raise UserError(f"{target}: cannot be fetched because of the disk or folder ({error})") from error
    if not (archive.sha256 or archive.md5 or archive.content_sha256):
        say(f"{target.name}: not checked, as its Archive states no sum; state content_sha256={digest!r} in it")
    return digest


# -- Sources -------------------------------------------------------------------------------------------------


class _SourceError(Exception):
    """Why a source failed; ``temporary`` if another try may succeed, after ``wait`` s if the server said."""

    def __init__(self, reason: str, *, temporary: bool = False, wait: float | None = None):
        super().__init__(reason)
        self.temporary = temporary
        self.wait = wait


def _obtain(archive: Archive, target: Path, mirrors: Sequence[str]) -> str:
    failures = []
    for source in _sources(archive, target, mirrors):
        try:
            if isinstance(source, Path):
                return _copy(source, archive, target)
            return _download(source, archive, target)
        except _SourceError as error:
            failures.append(f"{source} {error}")
            say(f"{target.name}: {failures[-1]}")
    raise UserError(
        f"{target}: could not be fetched: {'; '.join(failures)}; put the file named {archive.filename} in a "
        f"folder and name the folder under `mirrors:` in the study or in {MIRRORS_VARIABLE}"
    )


def _sources(archive: Archive, target: Path, mirrors: Sequence[str]) -> list[Path | str]:
    """The files in folders, then the official address, then the addresses of mirrors."""
    named = [*mirrors, *re.split(r"[;\n]", os.environ.get(MIRRORS_VARIABLE, ""))]
    named = [mirror.strip() for mirror in named if mirror.strip()]
    addresses = [mirror for mirror in named if "://" in mirror]
    for address in addresses:
        if not address.startswith(("http://", "https://")):
            raise UserError(f"mirror {address}: is neither a folder nor an http or https address")
        if "@" in address:
            raise UserError(
                f"mirror {address}: carries a password, which logs would show; name an open address or a folder"
            )
    folders = [Path(mirror).expanduser() for mirror in named if "://" not in mirror]
    return [
        *(_file_in(folder, target.parent.name, archive.filename) for folder in folders),
        archive.url,
        *(f"{address.rstrip('/')}/{quote(archive.filename)}" for address in addresses),
    ]


def _file_in(folder: Path, dataset: str, filename: str) -> Path:
    below = folder / dataset / filename
    return below if below.is_file() else folder / filename


def _copy(source: Path, archive: Archive, target: Path) -> str:
    if not source.is_file():
        raise _SourceError("does not exist")
    try:
        with whole_file(target) as temporary:
            shutil.copyfile(source, temporary)
            return verify(temporary, archive)
    except PermissionError as error:
        if error.filename != str(source):
            raise
        raise _SourceError("cannot be read (permission denied)") from error
    except ArchiveError as error:
        raise _SourceError(f"is damaged or another file: {error.fault}") from error


# -- Downloads -----------------------------------------------------------------------------------------------


class _Part:
    """The beginning of a download, and the source and version it belongs to."""

    def __init__(self, target: Path):
        self.path = target.with_name(f"{target.name}.part")
        self.origin_path = target.with_name(f"{target.name}.part.json")

    def size(self) -> int:
        """Bytes received so far."""
        return self.path.stat().st_size if self.path.exists() else 0

    def version(self, url: str) -> str | None:
        """The version (ETag or date) of which ``url`` sent this part; None if that cannot be resumed."""
        try:
            origin = read_json(self.origin_path)
            version = origin["version"] if origin["url"] == url and self.size() else None
        except (OSError, ValueError, KeyError, TypeError):  # absent or damaged: the part is of no use
            return None
        return version if isinstance(version, str) else None

    def start(self, url: str, version: str | None) -> None:
        """Begin again; the old part goes first, so that it can never be taken for the new version's."""
        self.discard()
        write_json(self.origin_path, {"url": url, "version": version})

    def discard(self) -> None:
        """Remove the part."""
        self.path.unlink(missing_ok=True)
        self.origin_path.unlink(missing_ok=True)

    def place(self, target: Path) -> None:
        """Give the finished part its final name."""
        with self.path.open("rb") as file:
            os.fsync(file.fileno())
        self.path.replace(target)
        self.origin_path.unlink(missing_ok=True)


def _download(url: str, archive: Archive, target: Path) -> str:
    """Try until the file is whole and verified; a try that brought new bytes starts the count afresh."""
    part = _Part(target)
    furthest = part.size()
    failures = requests = 0
    while True:
        requests += 1
        try:
            digest = _try_download(url, archive, part)
            part.place(target)
            return digest
        except _SourceError as error:
            failures = 1 if part.size() > furthest else failures + 1
            furthest = max(furthest, part.size())
            _wait_to_retry(url, error, TRIES if requests == REQUESTS else failures)


def _wait_to_retry(url: str, error: _SourceError, failures: int) -> None:
    if not error.temporary or failures == TRIES:
        raise error
    wait = BACKOFF * 2 ** (failures - 1) if error.wait is None else error.wait
    if wait > LONGEST_WAIT:
        raise _SourceError(f"{error} and asks to wait {wait:.0f} s")
    say(f"{url} {error}; trying again in {wait:g} s")
    pause(wait)


def _try_download(url: str, archive: Archive, part: _Part) -> str:
    resumed = _receive(url, part, archive.size or PACKED * archive.max_bytes)
    try:
        return verify(part.path, archive)
    except ArchiveError as error:
        part.discard()
        # What was resumed may have been spoilt before this run, for instance by a loss of power: try again.
        raise _SourceError(f"sent a damaged or another file: {error.fault}", temporary=resumed) from error


def _receive(url: str, part: _Part, most: int) -> bool:
    """Receive what is missing of the file, of at most ``most`` bytes; whether some of it was there before.

    A range is asked for with If-Range (RFC 9110, section 13.1.5), so that a server whose file has changed, or
    that knows no ranges, sends the whole file.
    """
    version = part.version(url)
    offset = part.size() if version else 0
    with _open(url, {"Range": f"bytes={offset}-", "If-Range": version} if version else {}) as reply:
        if offset and reply.headers.get("Content-Range") == f"bytes */{offset}":
            return True  # every byte had come, and only the check was cut short
        if reply.status in (HTTPStatus.PARTIAL_CONTENT, HTTPStatus.REQUESTED_RANGE_NOT_SATISFIABLE):
            total = _check_range(reply.headers, offset, version, part)
        else:
            offset = 0
            length = reply.headers.get("Content-Length", "")
            total = int(length) if re.fullmatch(_COUNT, length) else None
            part.start(url, _version(reply.headers))
        _check_size(total or 0, most, part)
        _append(reply, part, total, most)
    if total is not None and part.size() < total:
        raise _SourceError(f"closed the connection after {part.size()} of {total} bytes", temporary=True)
    return offset > 0


def _open(url: str, headers: dict[str, str]) -> Any:
    # Without these, an archive may arrive compressed once more, and some servers refuse Python's own name.
    request = urllib.request.Request(url, headers={"Accept-Encoding": "identity", "User-Agent": "softreg", **headers})
    try:
        return urllib.request.urlopen(request, timeout=TIMEOUT)
    except HTTPError as error:
        if error.code == HTTPStatus.REQUESTED_RANGE_NOT_SATISFIABLE:
            return error
        error.close()
        wait = _retry_after(error.headers)
        raise _SourceError(
            f"answered {error.code} {str(error.reason)[:80]}", temporary=error.code in TEMPORARY, wait=wait
        ) from error
    except (OSError, http.client.HTTPException, ValueError) as error:
        raise _SourceError(f"could not be reached ({_cause(error)})", temporary=True) from error


def _retry_after(headers: Message) -> float | None:
    """Seconds to wait, given as seconds or as a date (RFC 9110, section 10.2.3)."""
    value = headers.get("Retry-After", "")
    if re.fullmatch(_COUNT, value):
        return float(value)
    with suppress(ValueError, OverflowError, OSError):
        return max(0.0, email.utils.parsedate_to_datetime(value).timestamp() - time.time())
    return None


def _cause(error: Exception) -> str:
    cause = error.reason if isinstance(error, URLError) else error
    if isinstance(cause, TimeoutError):
        return f"nothing came for {TIMEOUT:g} s"
    return str(getattr(cause, "strerror", None) or cause or type(cause).__name__)[:80]


def _version(headers: Message) -> str | None:
    """What If-Range accepts: a strong ETag, or else the date of the file."""
    etag = headers.get("ETag", "W/")
    version = headers.get("Last-Modified") if etag.startswith("W/") else etag
    return version if isinstance(version, str) else None


def _check_range(headers: Message, offset: int, version: str | None, part: _Part) -> int | None:
    """The length of the whole file, from an answer that must continue the part."""
    match = re.fullmatch(rf"bytes ({_COUNT})-{_COUNT}/({_COUNT}|\*)", headers.get("Content-Range", ""))
    if match is None or int(match[1]) != offset or _version(headers) not in (None, version):
        part.discard()
        raise _SourceError("sent another part of the file than was asked for", temporary=True)
    return None if match[2] == "*" else int(match[2])


def _check_size(size: int, most: int, part: _Part) -> None:
    if size > most:
        part.discard()
        raise _SourceError(f"sends more than the {most} bytes that the archive can have")


def _append(reply: Any, part: _Part, total: int | None, most: int) -> None:
    name, done = part.path.stem, part.size()
    with (
        part.path.open("ab") as file,
        tqdm(desc=name, initial=done, total=total, unit="B", unit_scale=True, disable=None) as bar,
    ):
        for block in _blocks(reply):
            _check_size(file.tell() + len(block), most, part)
            file.write(block)
            file.flush()  # a kill may lose nothing that was reported
            bar.update(len(block))
            if bar.disable:  # it is, but on a terminal
                _tell_tenth(name, file.tell(), len(block), total)


def _blocks(reply: Any) -> Iterator[bytes]:
    begun, came = time.monotonic(), 0
    try:
        while block := reply.read1(BLOCK):  # what has come so far, so that a lost connection loses none of it
            yield block
            came += len(block)
            if time.monotonic() - begun > WINDOW:
                if came < SLOW:
                    raise _SourceError(f"sent {came} bytes in {WINDOW:g} s, too few to go on", temporary=True)
                begun, came = time.monotonic(), 0
    except (OSError, http.client.HTTPException) as error:
        raise _SourceError(f"stopped in the middle ({_cause(error)})", temporary=True) from error


# -- Reporting -----------------------------------------------------------------------------------------------


def _tell_tenth(name: str, done: int, new: int, total: int | None) -> None:
    """Say how far it is where the ``new`` bytes begin a tenth, or 64 MiB of a file of unknown length."""
    step = max(1, total // 10) if total else 1 << 26
    if done // step > (done - new) // step:
        say(f"{name}: {f'{100 * done // total} % of {total} bytes' if total else f'{done} bytes'}")
