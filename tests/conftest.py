"""What all tests share."""

import gc
import os
import signal
import tempfile
from collections.abc import Generator
from pathlib import Path
from typing import Any

import pytest
from xdist.scheduler import LoadScopeScheduling

ROOT = Path(__file__).parent
# Small tensors on several threads wait for each other longer than they compute; set before torch is imported.
os.environ["OMP_NUM_THREADS"] = "1"
# A process has its GPU for life, and the tests of several are one process: they would wait for each other for ever.
LEASES = tempfile.TemporaryDirectory(prefix="softreg-leases-")
os.environ["SOFTREG_LEASES"] = LEASES.name
# Tests write thousands of files, and none that must outlast a power cut.
os.fsync = lambda handle: None
# A script's background command has Ctrl-C ignored, and so would all that it starts, whatever the tests send.
if signal.getsignal(signal.SIGINT) == signal.SIG_IGN:
    signal.signal(signal.SIGINT, signal.default_int_handler)


#: Folders and modules whose tests share something dear, so that one worker takes all tests of each.
TOGETHER = ("slurm", "workflow/test_site.py", "paper/report", "training/test_diagnostics.py")
#: Folders of which each module shares something dear.
SHARING = ("paper",)
#: What begins first, as it takes longest.
FIRST = ("slurm", "workflow", "paper")
#: Of these, all tests take long, or what they share does.
SLOW = ("slurm", "workflow", "paper/figures", "paper/report")


class Scheduling(LoadScopeScheduling):
    """Gives workers what shares something dear whole and all other tests one by one, in the order of the collection.

    By a hook, as `pytest.mark.xdist_group` has no effect: pytest 9.2 does not see the names that xdist 3.8 gives tests.
    """

    def __init__(self, config: pytest.Config, log: Any = None) -> None:
        super().__init__(config, log)
        config.option.loadscopereorder = False

    def _split_scope(self, nodeid: str) -> str:
        module = nodeid.split("::")[0]
        name = module.removeprefix(f"{ROOT.name}/")
        whole = next((scope for scope in TOGETHER if name.startswith(scope)), None)
        return whole or (module if name.startswith(SHARING) else nodeid)


@pytest.hookimpl(wrapper=True, optionalhook=True)
def pytest_xdist_auto_num_workers() -> Generator[None, int, int]:
    """One more than cores, as what begins first waits for a cluster most of its time."""
    return (yield) + 1


@pytest.hookimpl(optionalhook=True)
def pytest_xdist_make_scheduler(config: pytest.Config, log: Any) -> Scheduling:
    """Whatever is said with ``--dist``."""
    return Scheduling(config, log)


def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    """Order the tests for workers; leave out the GPU's where there is none, and count them as deselected."""
    for item in items:
        if item.path.relative_to(ROOT).as_posix().startswith(SLOW):
            item.add_marker(pytest.mark.slow)
    items.sort(key=lambda item: _turn(item.path.relative_to(ROOT).parts[0]))
    on_gpu = [item for item in items if item.get_closest_marker("gpu")]
    if on_gpu and not _has_gpu():
        config.hook.pytest_deselected(items=on_gpu)
        items[:] = [item for item in items if item not in on_gpu]


@pytest.hookimpl(wrapper=True)
def pytest_collection() -> Generator[None, object, object]:
    """Look for no garbage while tests are found and modules loaded, and leave these out later: they stay to the end.

    The first saves a seventh of that time, the second a quarter of a second whenever all garbage is looked for.
    """
    gc.disable()
    try:
        return (yield)
    finally:
        gc.collect()
        gc.freeze()
        gc.enable()


def pytest_sessionfinish() -> None:
    """Take back what `pytest_collection` froze: extension modules would report it as leaks."""
    gc.unfreeze()


def _turn(folder: str) -> int:
    return FIRST.index(folder) if folder in FIRST else len(FIRST)


def _has_gpu() -> bool:
    import torch

    return torch.cuda.is_available()
