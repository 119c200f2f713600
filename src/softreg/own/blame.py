"""Whose fault it is: what a user's code does that nothing can go on from, told with its file and line.

That is an exception, ``sys.exit``, and a change of what all that runs after it shares: the working folder, torch's
default type, torch's seed.
"""

from __future__ import annotations

import inspect
import os
import signal
import sys
import traceback
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, redirect_stdout
from pathlib import Path
from typing import Any

from softreg.errors import UserError

#: Signs in an error's text that the machine failed, not the code.
_TRANSIENT = ("CUDA error", "CUBLAS_STATUS", "CUDNN_STATUS", "NCCL", "No space left")
_CPU_MEMORY = "DefaultCPUAllocator"
#: How a stage leaves that a signal stops.
_TERMINATED = 128 + signal.SIGTERM


class OwnFault(UserError):
    """A fault in a user's code; its text names file and line. Other entries of a study can go on."""


def out_of_memory(error: BaseException) -> bool:
    """Whether memory has run out, a GPU's or the machine's; torch's error goes by its name, as torch may be absent."""
    return isinstance(error, MemoryError) or type(error).__name__ == "OutOfMemoryError" or _CPU_MEMORY in str(error)


def machine_failed(error: BaseException) -> bool:
    """Whether a device or a disk has failed, so that another try may go well."""
    return any(sign in str(error) for sign in _TRANSIENT)


@contextmanager
def blamed(file: Path, function: Callable[..., Any] | None = None, importing: bool = False) -> Iterator[None]:
    """Raise OwnFault for what a user's code must not do; ``function`` is what is called, whose line is told.

    What it prints goes to standard error. A file may seed torch where it is imported, as no result depends on that.
    """
    before = _shared()
    try:
        with redirect_stdout(sys.stderr):
            yield
    except UserError:
        raise
    except (Exception, SystemExit) as error:
        by_signal = isinstance(error, SystemExit) and error.code == _TERMINATED
        if by_signal or out_of_memory(error) or machine_failed(error):
            raise
        raise _fault(file, error) from error
    finally:
        # A new folder even where an error is on its way: what is told of it is written to a relative path.
        changed = _restored(before, importing)
    if changed:
        raise OwnFault(f"{line_of(file, function)}: it changes {changed}, which all that runs shares; leave that out")


def _shared() -> dict[str, Any]:
    found: dict[str, Any] = {"the working folder": Path.cwd()}
    if torch := sys.modules.get("torch"):
        found |= {"torch's default type": torch.get_default_dtype(), "torch's seed": torch.initial_seed()}
    return found


def _restored(before: dict[str, Any], importing: bool) -> str:
    """What is no longer as ``before``, by now set right; empty where nothing is."""
    torch, after = sys.modules.get("torch"), _shared()
    if torch:
        # A file that imports torch first finds it so.
        before.setdefault("torch's default type", torch.float32)
    changed = [name for name in before if before[name] != after[name] and not (importing and "seed" in name)]
    if changed:
        os.chdir(before["the working folder"])
        if torch:
            torch.set_default_dtype(before["torch's default type"])
    return " and ".join(changed)


def _fault(file: Path, error: BaseException) -> OwnFault:
    lines = [(frame.filename, frame.lineno) for frame in traceback.extract_tb(error.__traceback__)]
    text = str(error)
    if isinstance(error, SyntaxError):
        lines, text = [*lines, (error.filename or "", error.lineno)], error.msg
    message = (text.strip() or "no message").splitlines()[0]
    return OwnFault(f"{place_of(file, lines)}: {type(error).__name__}: {message}; correct it there")


def line_of(file: Path, function: Callable[..., Any] | None) -> str:
    """Where a function begins, if it lies in the folder of ``file``; else the file."""
    code = getattr(inspect.unwrap(function), "__code__", None) if function else None
    return place_of(file, [(code.co_filename, code.co_firstlineno)] if code else [])


def place_of(file: Path, lines: Sequence[tuple[str, int | None]]) -> str:
    """The last of the lines that lies in the folder of ``file``, as its user names it; without any, the file."""
    folder = file.resolve().parent
    near = [f"{file.parent / Path(name).name}, line {line}" for name, line in lines if Path(name).parent == folder]
    return near[-1] if near else str(file)
