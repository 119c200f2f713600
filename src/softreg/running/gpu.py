"""The GPU of a job on a machine that several jobs, runs and users share. Imports no torch.

A process has one device for life: CUDA cannot change it later, and frees its memory only when the process ends. So the
lease is taken before torch opens a device, and the kernel takes it back.
"""

from __future__ import annotations

import math
import os
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from functools import cache
from itertools import takewhile
from pathlib import Path

from softreg.errors import UserError, say
from softreg.running import jobs
from softreg.running.lease import MOST, Lease, Request, acquire
from softreg.training.stopping import StopRequest, stopping_at_once

_JOBS = "SOFTREG_JOBS_PER_GPU"
_ALONE = "SOFTREG_ALONE"
_FOLDER = Path("/tmp/softreg-gpu")
#: Of NVIDIA's, AMD's and Windows' drivers.
_DRIVERS = ("/dev/nvidiactl", "/dev/kfd", "/dev/dxg")
#: Signs in an error's text that a GPU's memory was full.
_MEMORY = ("out of memory", "ALLOC_FAILED", "CUBLAS_STATUS_NOT_INITIALIZED")


@dataclass(frozen=True)
class Turn:
    """A command's turn on a GPU; without a lease where nothing is shared out."""

    lease: Lease | None
    environment: dict[str, str]
    stop: StopRequest

    def out_of_memory(self) -> None:
        """Start the command again, alone on a device, if there was anybody else on this one; return if not.

        Raises Interrupted where a stop has been asked for: the command that starts would not know.
        """
        if self.lease is None or not self.lease.shared():
            return
        self.stop.check()
        _say(f"ran out of memory beside another job on {self.lease.device}; tries again alone")
        os.execve(sys.executable, [sys.executable, *sys.orig_argv[1:]], {**self.environment, _ALONE: "1"})


@contextmanager
def turn(gpus: int, stop: StopRequest | None = None) -> Iterator[Turn]:
    """Wait for a device, if any of ``gpus`` is asked for, and show CUDA no other. First come, first served.

    What runs out of memory beside another job is run again, from the start of the command, alone on a device, unless
    ``stop`` asks for none of it. Raises Interrupted where a signal comes while it waits.
    """
    lease, environment = _take() if gpus else (None, {})
    taken = Turn(lease, environment, stop or StopRequest())
    try:
        yield taken
    except Exception as error:
        if any(sign in str(error) for sign in _MEMORY):
            taken.out_of_memory()
        raise


@cache
def _take() -> tuple[Lease | None, dict[str, str]]:
    """This process's lease, for life, if there is anything to share out; and the environment before."""
    before = dict(os.environ)
    names = devices()
    # A cluster's job has been given its device; its processes share only several, or where they are told to.
    if not names or ("SLURM_JOB_ID" in before and len(names) == _jobs() == 1):
        return None, before
    request = Request(names, _jobs(), before.get(_ALONE) == "1")
    jobs.tell(waits=True)
    began = time.monotonic()
    with stopping_at_once("stopped by a signal while it waited for a GPU"):
        lease = acquire(request, Path(before.get("SOFTREG_LEASES") or _FOLDER), _memory, _say)
    jobs.tell_waited(time.monotonic() - began)
    _say(f"runs on GPU {lease.device}{' alone' if lease.alone else ''}")
    os.environ["CUDA_VISIBLE_DEVICES"] = lease.device
    return lease, before


def share_out(limit: int | None) -> int:
    """The most GPU jobs at a time on this machine: ``limit``, or without one as many as it has devices, or 1.

    Tells jobs, through the environment, which devices there are and how many jobs share one.
    """
    names = devices()
    if names:
        # A job for which `nvidia-smi` does not answer in time would find none, and take the first without a lease.
        os.environ["SOFTREG_DEVICES"] = ",".join(names)
    found = max(1, len(names))
    most = found if limit is None else limit
    os.environ[_JOBS] = str(math.ceil(most / found))
    return most


def absent() -> bool:
    """Whether this machine surely has no GPU: no driver that torch knows how to use has left a trace."""
    return not (os.environ.get("SOFTREG_DEVICES") or _query() or any(map(os.path.exists, _DRIVERS)))


def devices() -> list[str]:
    """The GPUs that may be used, by UUID where ``nvidia-smi`` tells.

    SOFTREG_DEVICES names them, else CUDA_VISIBLE_DEVICES, both as numbers of ``nvidia-smi`` or UUIDs; else all.
    """
    named = os.environ.get("SOFTREG_DEVICES") or os.environ.get("CUDA_VISIBLE_DEVICES")
    if named == "":
        return []
    found = _query()
    if named is None:
        return [uuid for _, uuid, _ in found]
    # CUDA reads no further than a negative number.
    names = takewhile(lambda name: not name.startswith("-"), (name.strip() for name in named.split(",")))
    return list(dict.fromkeys(_uuid(name, found) for name in names if name))


def _uuid(name: str, found: list[tuple[str, str, int]]) -> str:
    """The UUID that a number or the beginning of a UUID stands for; the name itself where there is none such."""
    return next((uuid for index, uuid, _ in found if name == index or uuid.startswith(name)), name)


def _memory() -> dict[str, int]:
    """MiB in use on each device."""
    return {uuid: used for _, uuid, used in _query()}


def _query() -> list[tuple[str, str, int]]:
    """Number, UUID and MiB in use of each GPU; none where there is no ``nvidia-smi`` or it does not answer."""
    command = ["nvidia-smi", "--query-gpu=index,uuid,memory.used", "--format=csv,noheader,nounits"]
    try:
        done = subprocess.run(command, capture_output=True, text=True, timeout=30, check=True)
    except (OSError, subprocess.SubprocessError):
        return []
    # Other lines are warnings, or of a device that does not answer.
    rows = [row for line in done.stdout.splitlines() if len(row := line.split(", ")) == 3]
    return [(index, uuid, int(used) if used.isdecimal() else 0) for index, uuid, used in rows]


def _jobs() -> int:
    given = os.environ.get(_JOBS, "1")
    if not given.isdecimal() or not 1 <= int(given) <= MOST:
        raise UserError(f"{_JOBS} is {given!r}; give the number of jobs that may share a GPU, from 1 to {MOST}")
    return int(given)


def _say(text: str) -> None:
    say(f"softreg: {text}")
