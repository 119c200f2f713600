"""Leases of a machine's devices: at most k holders on each, first come, first served, among all users and runs.

All that counts is a lock of the kernel's on a byte of a file, so that nothing of a process that dies, in whatever way,
stays behind. They are record locks (fcntl), not flock: a forked child does not inherit them. A folder holds a file for
each device, and one more to draw tickets under. In a device's file

- byte 0 is locked by who has the device alone, or waits for it to be empty; nobody else is admitted;
- a byte of `_SLOTS` by each holder: k · 256 + i, where k is the most holders that it puts up with;
- a byte of `_TICKETS` by each process that waits for it, in the order of their coming;

and the content counts the leases that there have been, so that a holder knows whether it had a neighbour. Only who has
the lowest ticket of a device writes to it or enters. Linux only; one lease at a time in a process.
"""

from __future__ import annotations

import fcntl
import os
import struct
import time
from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from contextlib import closing, contextmanager, suppress
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from urllib.parse import quote

from softreg.errors import UserError

MOST = 255
"""The most jobs that may share a device."""

_CLAIM = range(1)
_SLOTS = range(1 << 8, 1 << 16)
_TICKETS = range(1 << 16, 1 << 62)
_POLL = 0.1
#: struct flock: type, whence, start, length, process; filled up to its alignment.
_RECORD = "hhqqi0q"


@dataclass(frozen=True)
class Request:
    """One of ``devices``, with at most ``jobs`` holders on it, this one among them; or ``alone``."""

    devices: Sequence[str]
    jobs: int = 1
    alone: bool = False


@dataclass(frozen=True)
class Lease:
    """A device that this process may use, until it gives it back or ends."""

    device: str
    alone: bool
    _file: _File
    _entries: int
    _met: bool

    def shared(self) -> bool:
        """Whether anybody else has held the device since this lease began, or still did when it began."""
        return not self.alone and (self._met or self._file.entries() != self._entries)

    def release(self) -> None:
        """Give the device back."""
        self._file.close()


def acquire(
    request: Request,
    folder: Path,
    memory: Callable[[], Mapping[str, int]],
    say: Callable[[str], None],
) -> Lease:
    """Wait for a device, the emptiest first: fewest holders, then least ``memory`` in use (any unit, by device).

    What it waits for is said once. ``folder`` is made for all users where it is missing; raises UserError where it
    cannot be used.
    """
    guard, *files = _open_all(request.devices, folder)
    lease = None
    try:
        lease = _wait(request, files, _draw_ticket(guard, files), memory, say)
        return lease
    finally:
        for file in files:
            if lease is None or file is not lease._file:
                file.close()


def _wait(
    request: Request,
    files: Sequence[_File],
    ticket: int,
    memory: Callable[[], Mapping[str, int]],
    say: Callable[[str], None],
) -> Lease:
    said = False

    def wait(for_what: Callable[[], str]) -> None:
        nonlocal said
        if not said:
            say(for_what())
        said = True
        time.sleep(_POLL)

    while not (open_ := [file for file in files if _admits(file, request, ticket)]):
        wait(lambda: _told(request, files, ticket))
    file = _emptiest(open_, memory)
    lease = _enter(file, request)
    for other in files:
        other.free(ticket)
    while lease.alone and (there := file.locked(_SLOTS)):
        wait(lambda: f"waits until {file.device} is empty; {_processes({pid for _, pid in there})} there")
    return lease


def _admits(file: _File, request: Request, ticket: int) -> bool:
    """Whether it is the ticket's turn at a device, and the device can take the request in."""
    if file.locked(range(_TICKETS.start, ticket)) or file.locked(_CLAIM):
        return False
    tolerated = [byte // 256 for byte, _ in file.locked(_SLOTS)]
    return request.alone or len(tolerated) < min([request.jobs, *tolerated])


def _emptiest(files: Sequence[_File], memory: Callable[[], Mapping[str, int]]) -> _File:
    holders = {file: len(file.locked(_SLOTS)) for file in files}
    fewest = [file for file in files if holders[file] == min(holders.values())]
    if len(fewest) == 1:
        return fewest[0]
    used = memory()
    return min(fewest, key=lambda file: used.get(file.device, 0))


def _enter(file: _File, request: Request) -> Lease:
    """Take a device whose turn it is, before the ticket is given up: nobody else enters meanwhile."""
    if request.alone:
        file.hold(_CLAIM.start)
        return Lease(file.device, True, file, file.entries(), False)
    neighbours = [byte for byte, _ in file.locked(_SLOTS)]
    own = range(request.jobs << 8, (request.jobs << 8) + request.jobs)
    file.hold(next(byte for byte in own if byte not in neighbours))
    return Lease(file.device, False, file, file.count_entry(), bool(neighbours))


def _told(request: Request, files: Sequence[_File], ticket: int) -> str:
    """What a waiter waits for, and who keeps it waiting."""
    first = {pid for file in files for _, pid in file.locked(range(_TICKETS.start, ticket))}
    there = {pid for file in files for _, pid in (*file.locked(_CLAIM), *file.locked(_SLOTS))}
    wish = "alone" if request.alone else f"{request.jobs} job(s) on each"
    return f"waits for one of {len(files)} GPU(s), {wish}; {_processes(first)} before it, {_processes(there)} there"


def _processes(numbers: Collection[int]) -> str:
    return f"{len(numbers)} process(es){''.join(f' {number}' for number in sorted(numbers))}"


def _draw_ticket(guard: _File, files: Sequence[_File]) -> int:
    """A number above those of all that wait for any of the devices, locked in each of their files."""
    with closing(guard):
        guard.wait_for(0)
        ticket = max([_TICKETS.start, *(byte + 1 for file in files for byte, _ in file.locked(_TICKETS))])
        for file in files:
            file.hold(ticket)
        return ticket


class _File:
    """An open file whose bytes can be locked; it is closed by exec, and closing it frees all."""

    def __init__(self, device: str, path: Path) -> None:
        self.device = device
        self._handle = _open(path)

    def close(self) -> None:
        os.close(self._handle)

    def hold(self, byte: int) -> None:
        fcntl.lockf(self._handle, fcntl.LOCK_EX | fcntl.LOCK_NB, 1, byte)

    def wait_for(self, byte: int) -> None:
        fcntl.lockf(self._handle, fcntl.LOCK_EX, 1, byte)

    def free(self, byte: int) -> None:
        fcntl.lockf(self._handle, fcntl.LOCK_UN, 1, byte)

    def locked(self, area: range) -> list[tuple[int, int]]:
        """The bytes in ``area`` that other processes have locked, and which process each."""
        found, areas = [], [area]
        while areas:
            part = areas.pop()
            lock = self._any_lock(part) if part else None
            if lock is not None:
                found.append(lock)
                areas += [range(part.start, lock[0]), range(lock[0] + 1, part.stop)]
        return found

    def _any_lock(self, area: range) -> tuple[int, int] | None:
        """One of the locks in ``area``, whichever the kernel names."""
        asked = struct.pack(_RECORD, fcntl.F_WRLCK, os.SEEK_SET, area.start, len(area), 0)
        kind, _, byte, _, process = struct.unpack(_RECORD, fcntl.fcntl(self._handle, fcntl.F_GETLK, asked))
        return None if kind == fcntl.F_UNLCK else (byte, process)

    def entries(self) -> int:
        return int.from_bytes(os.pread(self._handle, 8, 0), "little")

    def count_entry(self) -> int:
        entries = self.entries() + 1
        os.pwrite(self._handle, entries.to_bytes(8, "little"), 0)
        return entries


def _open_all(devices: Sequence[str], folder: Path) -> list[_File]:
    """The file that tickets are drawn under, and those of ``devices``."""
    try:
        with _for_all_users(), suppress(FileExistsError):
            folder.mkdir(0o1777)
        _keep(folder)
        names = [f"device-{quote(device, safe='')}" for device in devices]
        return [_File(device, folder / name) for device, name in zip(("", *devices), ("tickets", *names), strict=True)]
    except OSError as error:
        raise UserError(
            f"{folder} keeps the leases of the GPUs and cannot be used ({error.strerror}: {error.filename}); have it "
            "removed, or name a folder that all users of this machine can write to in SOFTREG_LEASES"
        ) from None


@cache
def _keep(folder: Path) -> None:
    """Keep programs that clean temporary folders from it as long as the process lives: they respect such a lock."""
    fcntl.flock(os.open(folder, os.O_RDONLY), fcntl.LOCK_SH)


def _open(path: Path) -> int:
    """The file at ``path``, made for all users where it is missing.

    What is there is opened without O_CREAT, which a sticky folder refuses for another user's file.
    """
    while True:
        with suppress(FileNotFoundError):
            return os.open(path, os.O_RDWR | os.O_NOFOLLOW)
        with _for_all_users(), suppress(FileExistsError):
            os.close(os.open(path, os.O_CREAT | os.O_EXCL, 0o666))


@contextmanager
def _for_all_users() -> Iterator[None]:
    before = os.umask(0)
    try:
        yield
    finally:
        os.umask(before)
