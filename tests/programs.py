"""Programs as users run them, each in a process of its own, without the seconds that their imports would take.

Tests run Snakemake, DVC and ``softreg`` hundreds of times. A process that has imported them waits in the background and
forks for each run: its working folder, environment, arguments and output are those of the run, and it ends with it.
"""

from __future__ import annotations

import importlib
import multiprocessing
import os
import subprocess
import sys
import tempfile
from collections.abc import Mapping, Sequence
from multiprocessing.process import BaseProcess
from pathlib import Path

#: Where each program begins.
MAIN = {"snakemake": "snakemake.cli", "dvc": "dvc.cli", "softreg": "softreg.cli"}
_IMPORTED = [
    "snakemake.cli",
    "snakemake.report.html_reporter",
    "snakemake_executor_plugin_slurm",
    "softreg.cli",
    "softreg.running.forecast",
    "softreg.running.slurm",
    "softreg.running.stages",
    "softreg.running.packs",
    "softreg.training.path",
    "softreg.scoring.evaluate",
    "softreg.scoring.gather",
    "dvc.cli",
    "dvc.repo",
]
_CONTEXT = multiprocessing.get_context("forkserver")
_CONTEXT.set_forkserver_preload(_IMPORTED)


def run(
    folder: Path, *command: str | Path, environment: Mapping[str, str] | None = None
) -> subprocess.CompletedProcess[str]:
    """Run a program of this environment in ``folder``; its status and output."""
    with tempfile.TemporaryDirectory(prefix="softreg-run-") as scratch:
        files = (f"{scratch}/out", f"{scratch}/err")
        process = start(folder, *command, environment=environment, files=files)
        process.join()
        out, err = (Path(file).read_text(encoding="utf-8") for file in files)
    assert process.exitcode is not None
    return subprocess.CompletedProcess(command, process.exitcode, out, err)


def start(
    folder: Path,
    *command: str | Path,
    environment: Mapping[str, str] | None = None,
    files: tuple[str, str] = (os.devnull, os.devnull),
) -> BaseProcess:
    """Start one, whose standard output and standard error go to ``files``."""
    words = [str(word) for word in command]
    process = _CONTEXT.Process(target=_run, args=(str(folder.resolve()), words, dict(environment or os.environ), files))
    # Else a failed test would leave it behind, and pytest would wait for it.
    process.daemon = True
    process.start()
    return process


def _run(folder: str, command: Sequence[str], environment: dict[str, str], files: Sequence[str]) -> None:
    os.chdir(folder)
    os.environ.clear()
    os.environ.update(environment)
    for stream, file in enumerate((os.devnull, *files)):
        flags = os.O_RDONLY if stream == 0 else os.O_WRONLY | os.O_CREAT | os.O_APPEND
        opened = os.open(file, flags, 0o666)
        os.dup2(opened, stream)
        os.close(opened)
    sys.argv = [str(Path(sys.executable).with_name(command[0])), *command[1:]]
    sys.exit(importlib.import_module(MAIN[command[0]]).main())
