"""What all tests share."""

import os
import signal
import tempfile
from pathlib import Path

import pytest

ROOT = Path(__file__).parent
# Small tensors on several threads wait for each other longer than they compute; set before torch is imported.
os.environ["OMP_NUM_THREADS"] = "1"
# A process has its GPU for life, and the tests of several are one process: they would wait for each other for ever.
LEASES = tempfile.TemporaryDirectory(prefix="softreg-leases-")
os.environ["SOFTREG_LEASES"] = LEASES.name
# A script's background command has Ctrl-C ignored, and so would all that it starts, whatever the tests send.
if signal.getsignal(signal.SIGINT) == signal.SIG_IGN:
    signal.signal(signal.SIGINT, signal.default_int_handler)


#: Folders whose modules each share something dear, in the order of how long they take: each stays on one worker.
SHARING = ("slurm", "workflow", "paper")
#: Of these, all tests take long, or what they share does.
SLOW = ("slurm", "workflow", "paper/figures", "paper/report")


@pytest.hookimpl(tryfirst=True)
def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    """Order and group the tests for workers; leave out the GPU's where there is none, and count them as deselected."""
    for item in items:
        place = item.path.relative_to(ROOT).as_posix()
        if place.startswith(SHARING):
            item.add_marker(pytest.mark.xdist_group(place))
        if place.startswith(SLOW):
            item.add_marker(pytest.mark.slow)
    items.sort(key=lambda item: _turn(item.path.relative_to(ROOT).parts[0]))
    on_gpu = [item for item in items if item.get_closest_marker("gpu")]
    if on_gpu and not _has_gpu():
        config.hook.pytest_deselected(items=on_gpu)
        items[:] = [item for item in items if item not in on_gpu]


def _turn(folder: str) -> int:
    return SHARING.index(folder) if folder in SHARING else len(SHARING)


def _has_gpu() -> bool:
    import torch

    return torch.cuda.is_available()
