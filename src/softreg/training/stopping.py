"""Stopping when the scheduler asks: SIGTERM and SIGINT are noted, and obeyed at the next safe place, or at once."""

from __future__ import annotations

import signal
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from types import FrameType

_SIGNALS = (signal.SIGTERM, signal.SIGINT)


class Interrupted(Exception):
    """A signal asked the process to stop; what was done so far is in a checkpoint, where the text says nothing else."""


class StopRequest:
    """Whether a stop has been asked for, while it is ``installed``."""

    def __init__(self) -> None:
        self.signal: int | None = None

    @contextmanager
    def installed(self) -> Iterator[None]:
        """Take over SIGTERM and SIGINT meanwhile."""
        with _handled_by(self._note):
            yield

    def check(self) -> None:
        """Raise Interrupted if a stop has been asked for."""
        if self.signal is not None:
            raise Interrupted

    def _note(self, number: int, frame: FrameType | None) -> None:
        self.signal = number


@contextmanager
def stopping_at_once(text: str) -> Iterator[None]:
    """Raise Interrupted with ``text`` as soon as a stop is asked for, from whatever is being done meanwhile."""

    def stop(number: int, frame: FrameType | None) -> None:
        raise Interrupted(text)

    with _handled_by(stop):
        yield


@contextmanager
def _handled_by(handler: Callable[[int, FrameType | None], None]) -> Iterator[None]:
    before = {number: signal.signal(number, handler) for number in _SIGNALS}
    try:
        yield
    finally:
        for number, old in before.items():
            signal.signal(number, old)
