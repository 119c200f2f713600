"""A sign of life of each job, and in the end what it took: one small file beside the job's log.

``logs/STUDY/COMMAND/NAME.json`` is written anew every few seconds while the command runs, so that its time tells, also
on another host, whether the job still lives; afterwards it says how the job ended, its seconds and its memory. It works
by hand, under Snakemake and on a cluster. Nothing that is computed depends on it, and a job whose file cannot be
written goes on without.
"""

from __future__ import annotations

import json
import os
import resource
import signal
import socket
import sys
import tempfile
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from softreg.errors import UserError
from softreg.files import whole_file
from softreg.training.stopping import Interrupted, handled_by

LOGS = Path("logs")
REFUSED = "SOFTREG_REFUSED"
"""The variable that names the folder in which the stages of a run of Snakemake say what they refuse."""
BEAT = 10.0
"""Seconds between two signs of life."""
LIVE = 60.0
"""Seconds without a sign after which a job counts as dead."""
_SHORTEST = 1.0


class _Sign:
    """The file of the job that this process runs."""

    def __init__(self, file: Path, facts: dict[str, Any]) -> None:
        self.file, self.facts = file, facts
        self.started = time.monotonic() if _begun is None else _begun
        self.written = -_SHORTEST
        self.lock, self.ended = threading.Lock(), threading.Event()
        self.thread = threading.Thread(target=self._beat, daemon=True)

    def update(self, facts: dict[str, Any]) -> None:
        """Note ``facts``; they are written at once unless something was, a moment ago."""
        with self.lock:
            self.facts |= facts
            if time.monotonic() - self.written >= _SHORTEST:
                self._write()

    def end(self, facts: dict[str, Any]) -> None:
        """The last word."""
        self.ended.set()
        if self.thread.is_alive():
            self.thread.join()
        self.facts |= facts | {"peak_memory": _peak_memory()}
        self._write()

    def seconds(self) -> float:
        return round(time.monotonic() - self.started, 3)

    def _beat(self) -> None:
        while not self.ended.wait(BEAT):
            with self.lock:
                self._write()

    def _write(self) -> None:
        # Not synced to disk: after a power cut there is no job to tell of.
        self.written = time.monotonic()
        with suppress(OSError), whole_file(self.file, sync=False) as temporary:
            text = json.dumps(self.facts | {"seconds": self.seconds()}, ensure_ascii=False)
            temporary.write_text(text, encoding="utf-8")


_current: _Sign | None = None
_begun: float | None = None


def begin() -> None:
    """A command begins now: its imports and the reading of its study count as its job's seconds."""
    global _begun
    _begun = time.monotonic()


@contextmanager
def job(study: str, command: str, name: str, key: str = "") -> Iterator[None]:
    """Run one command's work, with a sign of life in the file `file_of`; ``key`` says what the job was made under.

    SIGTERM and SIGHUP end the work as an exit does, so that the file can say so; training, which takes them over, stops
    at its next step instead.
    """
    global _current
    _current = _Sign(file_of(study, command, name), _first_facts(command, name, key))
    outcome = {"state": "finished"}
    try:
        with handled_by(lambda *_: sys.exit(128 + signal.SIGTERM), (signal.SIGTERM, signal.SIGHUP)):
            _current.update({})
            _current.thread.start()
            yield
    except (Interrupted, KeyboardInterrupt, SystemExit):
        outcome = {"state": "stopped"}
        raise
    except BaseException as error:
        told = str(error) if isinstance(error, UserError) else f"{type(error).__name__}: {error}"
        outcome = {"state": "failed", "reason": told.splitlines()[0]}
        raise
    finally:
        _current.end(outcome)
        _current = None


def tell(**facts: Any) -> None:
    """Note ``facts`` of the job that this process runs; of none, do nothing."""
    if _current is not None:
        _current.update(facts)


def tell_waited(seconds: float) -> None:
    """The job has waited so long for its turn: that is nothing that it takes."""
    if _current is not None:
        _current.started += seconds
        _current.update({"waits": False})


def tell_ready(cells: int) -> None:
    """The job has started up, with all libraries imported, and begins to work on ``cells``, or on so many more."""
    if _current is not None:
        facts = _current.facts
        startup, before = facts.get("startup", _current.seconds()), facts.get("cells", 0)
        _current.update({"startup": startup, "cells": before + cells, "before": before})


def file_of(study: str, command: str, name: str) -> Path:
    """Where the sign of life of a job lies; ``name`` is empty for a command that a study needs once."""
    place = LOGS / study / command
    return place.with_name(f"{command}.json") if not name else place / f"{name}.json"


def _first_facts(command: str, name: str, key: str) -> dict[str, Any]:
    return {
        "command": command,
        "name": name,
        "key": key,
        "state": "running",
        "host": socket.gethostname(),
        "pid": os.getpid(),
        "slurm_job": os.environ.get("SLURM_JOB_ID", ""),
        "started": datetime.now(UTC).isoformat(timespec="seconds"),
    }


def _peak_memory() -> int:
    """Bytes of resident memory at the peak."""
    # Linux counts in KiB, macOS in bytes.
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * (1 if sys.platform == "darwin" else 1024)


def records(study: str) -> list[dict[str, Any]]:
    """What the jobs of a study have left, those that run and those that have ended.

    Each has a ``title``, its command and name, its ``file``, when that was ``written``, and its ``age``: the seconds
    since the last sign, by the file system's own clock, as those of nodes may differ.
    """
    root = LOGS / study
    now = _file_time(root)
    found = []
    for folder, _, names in os.walk(root):
        for name in names:
            if name.endswith(".json") and (record := _read(Path(folder, name))) is not None:
                found.append(record | {"age": now - record["written"]})
    return found


def _read(file: Path) -> dict[str, Any] | None:
    try:
        record = json.loads(file.read_text(encoding="utf-8"))
        told = {"title": f"{record['command']}/{record['name']}", "file": file, "written": file.stat().st_mtime}
        return dict(record | told)
    except (OSError, ValueError, TypeError, KeyError):
        # Replaced this moment, or damaged; the next look will tell.
        return None


def _file_time(folder: Path) -> float:
    """The time now, by the clock that gives the files in ``folder`` their times."""
    try:
        with tempfile.NamedTemporaryFile(dir=folder, prefix=".clock.") as file:
            return os.fstat(file.fileno()).st_mtime
    except OSError:
        return time.time()


def lives(record: dict[str, Any]) -> bool:
    """Whether a job still runs: it gave a sign within `LIVE` seconds and, on this host, its process is there."""
    if record["state"] != "running" or record["age"] > LIVE:
        return False
    return record["host"] != socket.gethostname() or _exists(record["pid"])


def _exists(pid: int) -> bool:
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    except PermissionError:
        return True
    return not _zombie(pid)


def _zombie(pid: int) -> bool:
    """Whether a process is dead and only waits to be noticed by its parent; Linux alone tells."""
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] == "Z"
    except (OSError, IndexError):
        return False
