"""Stopping when asked: SIGTERM, SIGINT and, where the terminal closes, SIGHUP are noted.

They are obeyed at the next safe place, or at once.
"""

from __future__ import annotations

import os
import signal
import stat
import sys
from collections.abc import Callable, Iterator, Sequence
from contextlib import AbstractContextManager, contextmanager
from types import FrameType

_SIGNALS = (signal.SIGTERM, signal.SIGINT, signal.SIGHUP)


class Interrupted(Exception):
    """A signal asked the process to stop; what was done so far is in a checkpoint, where the text says nothing else."""


class StopRequest:
    """Whether a stop has been asked for, while it is ``installed``."""

    def __init__(self) -> None:
        self.signal: int | None = None

    def installed(self) -> AbstractContextManager[None]:
        """Take over these signals meanwhile."""
        return handled_by(self._note)

    def check(self) -> None:
        """Raise Interrupted if a stop has been asked for."""
        if self.signal is not None:
            raise Interrupted

    def _note(self, number: int, frame: FrameType | None) -> None:
        self.signal = number
        if number == signal.SIGHUP:
            _leave_terminal()


def _leave_terminal() -> None:
    """Write nowhere from now on what would go to the terminal: it is closed, and writing to it fails."""
    for stream in (sys.stdout.fileno(), sys.stderr.fileno()):
        if stat.S_ISCHR(os.fstat(stream).st_mode):
            os.dup2(os.open(os.devnull, os.O_WRONLY), stream)


def stopping_at_once(text: str) -> AbstractContextManager[None]:
    """Raise Interrupted with ``text`` as soon as a stop is asked for, from whatever is being done meanwhile."""

    def stop(number: int, frame: FrameType | None) -> None:
        raise Interrupted(text)

    return handled_by(stop)


@contextmanager
def handled_by(handler: Callable[[int, FrameType | None], None], signals: Sequence[int] = _SIGNALS) -> Iterator[None]:
    """Have ``handler`` called for ``signals`` meanwhile."""
    # What `nohup` has started goes on when the terminal closes.
    taken = [one for one in signals if one != signal.SIGHUP or signal.getsignal(one) != signal.SIG_IGN]
    before = {number: signal.signal(number, handler) for number in taken}
    try:
        yield
    finally:
        for number, old in before.items():
            signal.signal(number, old)
