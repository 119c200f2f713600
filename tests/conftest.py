"""What all tests share."""

import os
import signal
import tempfile

import pytest

# Small tensors on several threads wait for each other longer than they compute; set before torch is imported.
os.environ["OMP_NUM_THREADS"] = "1"
# A process has its GPU for life, and the tests of several are one process: they would wait for each other for ever.
LEASES = tempfile.TemporaryDirectory(prefix="softreg-leases-")
os.environ["SOFTREG_LEASES"] = LEASES.name
# A script's background command has Ctrl-C ignored, and so would all that it starts, whatever the tests send.
if signal.getsignal(signal.SIGINT) == signal.SIG_IGN:
    signal.signal(signal.SIGINT, signal.default_int_handler)


def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    """Leave the GPU tests out where there is no GPU, and say so in the count of deselected tests."""
    on_gpu = [item for item in items if item.get_closest_marker("gpu")]
    if on_gpu and not _has_gpu():
        config.hook.pytest_deselected(items=on_gpu)
        items[:] = [item for item in items if item not in on_gpu]


def _has_gpu() -> bool:
    import torch

    return torch.cuda.is_available()
