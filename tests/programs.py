"""Programs as users run them, each in a process of its own, without the seconds that their imports would take.

Tests run Snakemake, DVC and ``softreg`` hundreds of times. A process that has imported them waits in the background and
forks for each run: its working folder, environment, arguments and output are those of the run, and it ends with it.
Of the programs that these start in turn, so do those that are told of `forks`. A file of Python is run in the same way.
"""

from __future__ import annotations

import atexit
import gc
import importlib
import json
import multiprocessing
import os
import runpy
import shutil
import socket
import subprocess
import sys
import tempfile
import threading
import traceback
from collections.abc import Mapping, Sequence
from contextlib import suppress
from functools import cache
from multiprocessing import forkserver
from multiprocessing.connection import wait
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
    "softreg.training.path",
    "softreg.scoring.evaluate",
    "softreg.scoring.gather",
    "softreg.paper.diff",
    "softreg.paper.figures.class_iou",
    "softreg.paper.report",
    "dvc.cli",
    "dvc.repo",
    "worked_out",
]
_CONTEXT = multiprocessing.get_context("forkserver")
_CONTEXT.set_forkserver_preload(_IMPORTED)

#: Who starts a process also reads the status of those that have ended, and a status can be read once: one at a time.
_ONE = threading.Lock()

#: The variable that holds the folder of programs that fork, for those who shall start them rather than the real ones.
FORKS = "SOFTREG_FORKS"
_CLIENT = """#!{python} -IS
import json, os, signal, socket, sys
link = socket.socket(socket.AF_UNIX)
link.connect({address!r})
asked = json.dumps([os.getcwd(), [{name!r}, *sys.argv[1:]], dict(os.environ)]).encode()
socket.send_fds(link, [len(asked).to_bytes(8, "big")], [0, 1, 2])
link.sendall(asked)
told = link.makefile()
process = int(told.readline())
for number in (signal.SIGTERM, signal.SIGINT):
    signal.signal(number, lambda number, frame: os.kill(process, number))
sys.exit(int(told.readline() or 128 + signal.SIGKILL))
"""


def run(
    folder: Path, *command: str | Path, environment: Mapping[str, str] | None = None
) -> subprocess.CompletedProcess[str]:
    """Run a program of this environment, or a file of Python, in ``folder``; its status and output."""
    with tempfile.TemporaryDirectory(prefix="softreg-run-") as scratch:
        files = (f"{scratch}/out", f"{scratch}/err")
        process = start(folder, *command, environment=environment, files=files)
        wait([process.sentinel])
        with _ONE:
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
    with _ONE:
        _begin_to_fork()
        arguments = (str(folder.resolve()), words, dict(environment or os.environ), files)
        process = _CONTEXT.Process(target=_begin, args=arguments)
        # Else a failed test would leave it behind, and pytest would wait for it.
        process.daemon = True
        process.start()
    return process


@cache
def _begin_to_fork() -> None:
    """Start the process that forks, with this folder on its path, for ``worked_out``; while `_ONE` is held."""
    path = os.environ.get("PYTHONPATH")
    os.environ["PYTHONPATH"] = os.pathsep.join([str(Path(__file__).parent), *([path] if path else [])])
    try:
        forkserver.ensure_running()
    finally:
        del os.environ["PYTHONPATH"]
        if path is not None:
            os.environ["PYTHONPATH"] = path


@cache
def forks() -> str:
    """A folder with Snakemake, DVC and ``softreg``, which pass on to a process that forks what they are asked for.

    In an environment as `FORKS`, programs that are started here start those of that folder in turn.
    """
    folder, server = tempfile.mkdtemp(prefix="softreg-forks-"), socket.socket(socket.AF_UNIX)
    atexit.register(shutil.rmtree, folder)
    address = f"{folder}/socket"
    server.bind(address)
    server.listen()
    # Whose folder is where Snakemake looks for programs.
    texts = {"python": f'#!/bin/sh\nexec {sys.executable} "$@"\n'}
    texts |= {name: _CLIENT.format(python=sys.executable, address=address, name=name) for name in MAIN}
    for name, text in texts.items():
        Path(folder, name).write_text(text, encoding="utf-8")
        Path(folder, name).chmod(0o755)
    with _ONE:
        _begin_to_fork()
        _CONTEXT.Process(target=_serve, args=(server,), daemon=True).start()
    return folder


def _serve(server: socket.socket) -> None:
    while True:
        link, _ = server.accept()
        with suppress(ChildProcessError):
            while os.waitpid(-1, os.WNOHANG)[0]:
                pass
        if os.fork() == 0:
            server.close()
            _answer(link)
        link.close()


def _answer(link: socket.socket) -> None:
    """Run what is asked for over ``link``, on which the number of the process goes back first, then its status."""
    size, streams, *_ = socket.recv_fds(link, 8, 3)
    with link.makefile("rb") as stream:
        asked = json.loads(stream.read(int.from_bytes(size, "big")))
    link.sendall(f"{os.getpid()}\n".encode())
    status = 1
    try:
        _run(*asked, streams)
    except SystemExit as ended:
        status = ended.code if isinstance(ended.code, int) else int(ended.code is not None)
    except BaseException:
        traceback.print_exc()
    finally:
        for printed in (sys.stdout, sys.stderr):
            printed.flush()
        link.sendall(f"{status}\n".encode())
        os._exit(status)


def _begin(folder: str, command: Sequence[str], environment: dict[str, str], files: Sequence[str]) -> None:
    flags = os.O_WRONLY | os.O_CREAT | os.O_APPEND
    streams = [os.open(os.devnull, os.O_RDONLY), *(os.open(file, flags, 0o666) for file in files)]
    _run(folder, command, environment, streams)


def _run(folder: str, command: Sequence[str], environment: dict[str, str], streams: Sequence[int]) -> None:
    """The program, with ``streams`` for its standard ones."""
    # What has been imported is not garbage, and to look through it would copy most pages of a fork's memory.
    gc.freeze()
    # This process was forked from a daemon, which may have no children; a program may.
    multiprocessing.current_process()._config["daemon"] = False
    os.chdir(folder)
    os.environ.clear()
    os.environ.update(environment)
    for stream, opened in enumerate(streams):
        os.dup2(opened, stream)
        os.close(opened)
    if FORKS in environment:
        sys.executable = f"{environment[FORKS]}/python"
    if command[0].endswith(".py"):
        sys.argv[:], sys.path[0] = command, str(Path(command[0]).parent)
        runpy.run_path(command[0], run_name="__main__")
        sys.exit()
    sys.argv = [str(Path(sys.executable).with_name(command[0])), *command[1:]]
    sys.exit(importlib.import_module(MAIN[command[0]]).main())
