"""What the benchmarks share: a project in a temporary folder, measured child processes, medians and tables.

Imports no torch: a child's peak memory is never counted below that of the process which starts it.
"""

from __future__ import annotations

import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from statistics import median
from typing import Any, TypeVar

import yaml

CHECKOUT = Path(__file__).resolve().parents[1]
BIN = Path(sys.executable).parent
T = TypeVar("T")


def _given(flag: str) -> bool:
    """Whether ``flag`` was given; it is taken away, so that no script need know it."""
    given = flag in sys.argv
    sys.argv = [argument for argument in sys.argv if argument != flag]
    return given


SMOKE = _given("--smoke")
"""Do the same work in the smallest size: to see that a script still runs, not what it measures."""

GPU = int(_given("--gpu"))
"""Measure on a GPU instead of on the CPU: the number of GPUs of a job."""


def sized(full: T, smoke: T) -> T:
    """A size of the work: ``smoke`` in the smoke form."""
    return smoke if SMOKE else full


@dataclass(frozen=True)
class Run:
    """A child process that has ended: wall clock and CPU time, seconds; peak memory of its largest process, MB."""

    seconds: float
    cpu_seconds: float
    peak_mb: float


@contextmanager
def temporary_project() -> Iterator[Path]:
    """An empty folder that is the working folder meanwhile."""
    before = Path.cwd()
    with tempfile.TemporaryDirectory(prefix="softreg-benchmark-") as folder:
        os.chdir(folder)
        try:
            yield Path(folder)
        finally:
            os.chdir(before)


def write_study(name: str, **sections: Any) -> Path:
    """Write a study into the working folder and return its file."""
    file = Path(f"{name}.yaml")
    file.write_text(yaml.safe_dump(sections, sort_keys=False))
    return file


def measure(*command: str | os.PathLike[str]) -> Run:
    """Run a program of this environment to its end. Exits with its output where it fails."""
    # The programs that it starts in turn are those of this environment too.
    environment = os.environ | {"PATH": f"{BIN}{os.pathsep}{os.environ['PATH']}"}
    with tempfile.TemporaryFile("w+") as output:
        started = time.perf_counter()
        child = subprocess.Popen([BIN / command[0], *command[1:]], stdout=output, stderr=output, env=environment)
        _, status, usage = os.wait4(child.pid, 0)
        seconds = time.perf_counter() - started
        child.returncode = os.waitstatus_to_exitcode(status)
        if child.returncode:
            output.seek(0)
            sys.exit(f"{' '.join(map(str, command))}\n{output.read()}")
    return Run(seconds, usage.ru_utime + usage.ru_stime, usage.ru_maxrss / 1024)


def seconds(action: Callable[[], None], cuda: bool) -> float:
    """What an action takes: the process's own CPU time, or on CUDA the wall clock around synchronised work."""
    if not cuda:
        started = time.process_time()
        action()
        return time.process_time() - started
    import torch

    torch.cuda.synchronize()
    started = time.perf_counter()
    action()
    torch.cuda.synchronize()
    return time.perf_counter() - started


def ratio(over: Sequence[float], under: Sequence[float]) -> float:
    """The median of ratios of paired measurements, so that what slows both of a pair cancels."""
    return median(a / b for a, b in zip(over, under, strict=True))


def print_table(header: Sequence[str], rows: Sequence[Sequence[str]]) -> None:
    """Columns as wide as they need to be: the first flush left, the others right."""
    widths = [max(map(len, column)) for column in zip(header, *rows, strict=True)]
    for row in (header, *rows):
        first, *others = (
            f"{text:{'<' if i == 0 else '>'}{width}}" for i, (text, width) in enumerate(zip(row, widths, strict=True))
        )
        print("  ".join((first, *others)))
