"""Processes that take leases of pretended devices, and what an observer reads in the log that they share.

A worker is this file, run with its options as JSON. It logs in lines of time, process, event, device and jobs, each by
one system call, so that none is torn by a kill: ``asks``, ``waits``, ``enters`` after it has entered, ``shared`` or
``unshared`` and ``leaves`` before it leaves, ``ends``. What overlaps in the log has overlapped.
"""

from __future__ import annotations

import json
import os
import random
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path

DEADLINE = 60.0
OPTIONS = {"devices": ["a"], "jobs": 1, "alone": False, "turns": 1, "hold": None, "memory": {}, "seed": 0, "user": None}


@dataclass(frozen=True)
class Event:
    """A line of the log; ``killed`` is written by the observer, when it sends the signal."""

    time: float
    process: int
    name: str
    device: str
    jobs: str


class Log:
    """The log of one folder, and the workers that write it."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.file = folder / "log"
        self.file.touch()
        self.workers: dict[int, subprocess.Popen[str]] = {}

    def start(self, **options: object) -> subprocess.Popen[str]:
        """Start a worker; one with ``hold`` of None leaves when its standard input is closed."""
        given = {**OPTIONS, **options, "folder": str(self.folder / "leases"), "log": str(self.file)}
        command = [sys.executable, __file__, json.dumps(given)]
        worker = subprocess.Popen(command, stdin=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
        self.workers[worker.pid] = worker
        return worker

    def events(self, worker: subprocess.Popen[str] | None = None) -> list[Event]:
        """All events so far in the order of their times, or those of one worker."""
        rows = (line.split() for line in self.file.read_text().splitlines())
        found = sorted((Event(float(row[0]), int(row[1]), *row[2:]) for row in rows), key=lambda event: event.time)
        return [event for event in found if worker is None or event.process == worker.pid]

    def wait(self, worker: subprocess.Popen[str], name: str) -> Event:
        """Wait for an event of a worker."""

        def last() -> Event | None:
            return next((event for event in reversed(self.events(worker)) if event.name == name), None)

        until(lambda: last() is not None)
        event = last()
        assert event
        return event

    def leave(self, worker: subprocess.Popen[str]) -> None:
        """Let a worker leave, and wait until it has ended."""
        worker.communicate(timeout=DEADLINE)
        assert worker.returncode == 0

    def kill(self, worker: subprocess.Popen[str]) -> None:
        """Kill a worker and note when."""
        with self.file.open("a") as file:
            file.write(f"{time.monotonic()!r} {worker.pid} killed - -\n")
            file.flush()
            worker.kill()
        worker.communicate()

    def stop(self) -> None:
        """Kill what is left."""
        for worker in self.workers.values():
            if worker.poll() is None:
                worker.kill()
                worker.communicate()


def until(condition: Callable[[], bool]) -> None:
    """Wait until a condition holds; fails past the deadline."""
    end = time.monotonic() + DEADLINE
    while not condition():
        assert time.monotonic() < end, "waited in vain"
        time.sleep(0.02)


@dataclass(frozen=True)
class Stay:
    """One holder's time on a device, as far as the log shows it."""

    process: int
    device: str
    begin: float
    end: float


def stays(events: list[Event]) -> list[Stay]:
    """All stays; one that a kill ended, or that lasts, ends there, or with the log."""
    found, there = [], {}
    for event in events:
        if event.name == "enters":
            there[event.process] = event
        elif event.name in ("leaves", "killed") and event.process in there:
            entered = there.pop(event.process)
            found.append(Stay(event.process, entered.device, entered.time, event.time))
    last = [Stay(entered.process, entered.device, entered.time, events[-1].time) for entered in there.values()]
    return found + last


def most(stays_: list[Stay]) -> int:
    """The most holders at a time."""
    steps = sorted([(stay.begin, 1) for stay in stays_] + [(stay.end, -1) for stay in stays_])
    now = highest = 0
    for _, step in steps:
        now += step
        highest = max(highest, now)
    return highest


def waits(events: list[Event]) -> list[float]:
    """Seconds from each request to its device, of those that got one."""
    found = []
    for process in {event.process for event in events}:
        own = [event for event in events if event.process == process and event.name in ("asks", "enters", "killed")]
        found += [after.time - before.time for before, after in pairwise(own) if after.name == "enters"]
    return found


def trial(
    log: Log, devices: list[str], jobs: int, workers: int, turns: int, kills: int, seed: int, hold: float = 0.2
) -> list[int]:
    """Run ``workers`` to their end but ``kills``, half of them holders and half waiters; the processes killed.

    Each takes ``turns`` turns of up to ``hold`` seconds. Whom to kill, and after how many turns of all, is drawn with
    ``seed``.
    """
    draws = random.Random(seed)
    started = [
        log.start(devices=devices, jobs=jobs, turns=turns, hold=hold, seed=seed * 1000 + i) for i in range(workers)
    ]
    killed: list[int] = []
    for number, turn in enumerate(sorted(draws.sample(range(workers, workers * turns // 2), kills))):
        until(lambda turn=turn: sum(event.name == "enters" for event in log.events()) >= turn)
        state = "enters" if number % 2 else "asks waits"
        until(lambda state=state: _kill_one(log, state, killed, draws))
    for worker in started:
        if worker.pid not in killed:
            log.leave(worker)
    return killed


def _kill_one(log: Log, names: str, killed: list[int], draws: random.Random) -> bool:
    """Kill one whose last event is one of ``names``; whether there was any, and it did nothing else meanwhile."""
    found = _in_state(log, names, killed)
    if not found:
        return False
    victim = draws.choice(found)
    victim.send_signal(signal.SIGSTOP)
    until(
        lambda: (
            victim.poll() is not None or Path(f"/proc/{victim.pid}/stat").read_text().rsplit(")")[-1].split()[0] == "T"
        )
    )
    if victim not in _in_state(log, names, killed):
        victim.send_signal(signal.SIGCONT)
        return False
    log.kill(victim)
    killed.append(victim.pid)
    return True


def _in_state(log: Log, names: str, killed: list[int]) -> list[subprocess.Popen[str]]:
    """Living workers whose last event is one of ``names``, in the order of their start."""
    last = {event.process: event.name for event in log.events()}
    return [worker for pid, worker in log.workers.items() if pid not in killed and last.get(pid) in names.split()]


def _work(options: dict) -> None:
    from softreg.running.lease import Request, acquire

    log = os.open(options["log"], os.O_WRONLY | os.O_APPEND)
    draws = random.Random(options["seed"])
    request = Request(options["devices"], options["jobs"], options["alone"])

    def tell(event: str, device: str = "-") -> None:
        kind = "alone" if request.alone else request.jobs
        os.write(log, f"{time.monotonic()!r} {os.getpid()} {event} {device} {kind}\n".encode())

    if options["user"] is not None:
        os.umask(0o077)
        os.setgid(options["user"])
        os.setuid(options["user"])
    for _ in range(options["turns"]):
        tell("asks")
        lease = acquire(request, Path(options["folder"]), lambda: options["memory"], lambda text: tell("waits"))
        tell("enters", lease.device)
        if options["hold"] is None:
            sys.stdin.read()
        else:
            time.sleep(draws.uniform(0, options["hold"]))
        tell("shared" if lease.shared() else "unshared", lease.device)
        tell("leaves", lease.device)
        lease.release()
    tell("ends")


if __name__ == "__main__":
    _work(json.loads(sys.argv[1]))
