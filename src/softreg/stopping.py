"""Stopping when the scheduler asks: SIGTERM and SIGINT are noted, and obeyed at the next safe place."""

from __future__ import annotations

import signal
from types import FrameType


class Interrupted(Exception):
    """A signal asked the process to stop; what was done so far is in a checkpoint."""


class StopRequest:
    """Whether a stop has been asked for, from ``install`` on."""

    def __init__(self) -> None:
        self.signal: int | None = None

    def install(self) -> None:
        """Take over SIGTERM and SIGINT."""
        for number in (signal.SIGTERM, signal.SIGINT):
            signal.signal(number, self._note)

    def check(self) -> None:
        """Raise Interrupted if a stop has been asked for."""
        if self.signal is not None:
            raise Interrupted

    def _note(self, number: int, frame: FrameType | None) -> None:
        self.signal = number
