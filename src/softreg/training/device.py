"""The device that a process computes on, set up to give the same bits every time."""

from __future__ import annotations

import ctypes
import os
import platform
import resource
import sys

# cuBLAS reads this once, when it is first used.
os.environ.setdefault("CUBLAS_WORKSPACE_CONFIG", ":4096:8")
# For a network of the user's own that compiles itself; the compiler reads it when it is loaded.
os.environ.setdefault("TORCHINDUCTOR_DETERMINISTIC", "1")

import torch

from softreg.errors import UserError

#: Of the C library's `mallopt`: at what free memory the top of the heap is given back, and how many blocks may be
#: mapped by themselves, which are given back as soon as they are freed.
_M_TRIM_THRESHOLD, _M_MMAP_MAX = -1, -4


def open_device(gpus: int, threads: int) -> torch.device:
    """The first visible GPU if the study asks for one, else the CPU with ``threads`` threads.

    Raises UserError where a GPU is asked for and there is none: other arithmetic would give another experiment.
    The number of threads is the study's, never the machine's: sums depend on how they are split.
    """
    torch.set_num_threads(threads)
    # What `use_deterministic_algorithms` sets, which loads the compiler to tell it too: 2 s, and nothing is compiled.
    torch.set_deterministic_debug_mode("error")
    torch.backends.cudnn.benchmark = False
    if not gpus:
        _keep_freed_memory()
        return torch.device("cpu")
    if not torch.cuda.is_available():
        raise UserError("resources.gpu is set but torch sees no GPU here; set it to 0 to train on the CPU")
    return torch.device("cuda", 0)


def _keep_freed_memory() -> None:
    """Have the C library keep freed memory for the tensors to come.

    It gives large blocks back to the system, which clears each page before it hands it out again, in every step. Other
    C libraries than glibc have no such setting, and need none.
    """
    mallopt = getattr(ctypes.CDLL(None), "mallopt", None)
    if mallopt is not None:
        mallopt(_M_MMAP_MAX, 0)
        mallopt(_M_TRIM_THRESHOLD, -1)


def device_name(device: torch.device) -> str:
    """The GPU's name, or the processor's architecture."""
    return torch.cuda.get_device_name(device) if device.type == "cuda" else f"CPU {platform.machine()}"


def begin_memory_peak(device: torch.device) -> None:
    """Forget the GPU's peak so far, so that `peak_memory` is that of what follows."""
    if device.type == "cuda":
        torch.cuda.reset_peak_memory_stats(device)


def peak_memory(device: torch.device) -> int:
    """Bytes: on a GPU the most that torch held since `begin_memory_peak`, on the CPU the process's peak so far.

    What torch holds and no tensor uses counts on a GPU: the memory of a captured step is of that kind between replays.
    The CPU's figure is resident memory with the interpreter and libraries in it, and can only rise within a process.
    """
    if device.type == "cuda":
        return torch.cuda.max_memory_reserved(device)
    # Linux counts in KiB, macOS in bytes.
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * (1 if sys.platform == "darwin" else 1024)
