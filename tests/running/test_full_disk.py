"""A disk that is full is told in one sentence in every stage, and the work goes on once there is room.

A limit on the size of files fails a write in the middle, as a full disk does, whatever library writes; it is the
kernel's, and a forked process alone has it.
"""

import errno
import importlib
import io
import multiprocessing
import os
import resource
import sys
from multiprocessing.connection import Connection
from pathlib import Path

import pytest
from projects import write_study

from softreg import cli
from softreg.files import sha256_file

# Once, and not in each process that is forked.
for module in ("training.path", "scoring.evaluate", "scoring.gather", "paper.tables", "data.prepare"):
    importlib.import_module(f"softreg.{module}")
FORK = multiprocessing.get_context("fork")
L1, FINAL = "shapes/convnet/l1", "shapes/convnet/l1/seed100"
STUDY = {"penalties": {"l1": {"lambda": [1e-4, 1e-2]}}, "seeds": {"tuning": [0], "evaluation": [100]}}
#: Each command, and limits in bytes that some of what it writes is above of.
COMMANDS = [
    ("prepare tiny.yaml shapes", [1000]),
    (f"train tiny.yaml sweep {L1}/seed0", [100_000, 500]),
    ("select tiny.yaml", [50]),
    (f"train tiny.yaml final {FINAL}", [5000]),
    (f"reveal tiny.yaml {L1}", [2000]),
    ("gather tiny.yaml", [7000, 2000]),
    ("tables results/tiny", [400]),
]


@pytest.fixture(autouse=True)
def _project(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)


def _run(command: str, limit: int | None, answer: Connection) -> None:
    sys.stderr = io.StringIO()
    if limit is not None:
        resource.setrlimit(resource.RLIMIT_FSIZE, (limit, resource.RLIM_INFINITY))
    status = cli.main(command.split())
    answer.send((status, sys.stderr.getvalue()))


def ran(command: str, limit: int | None = None) -> tuple[int, str]:
    """Its exit status, and the last line that it says on standard error."""
    here, there = FORK.Pipe(duplex=False)
    process = FORK.Process(target=_run, args=(command, limit, there))
    process.start()
    there.close()
    status, said = here.recv()
    process.join()
    return status, (said.splitlines() or [""])[-1]


def made() -> dict[str, str]:
    """The digests of weights and scores."""
    files = [file for file in Path("results").rglob("*") if file.suffix in (".safetensors", ".parquet")]
    return {file.as_posix(): sha256_file(file) for file in files}


@pytest.mark.slow
def test_every_stage_says_so_and_goes_on_to_the_same_bits(tmp_path):
    write_study(tmp_path, **STUDY)
    for command, _ in COMMANDS:
        assert ran(command)[0] == 0
    undisturbed = made()
    Path("results").rename("undisturbed")
    Path("data").rename("undisturbed-data")
    for command, limits in COMMANDS:
        for limit in limits:
            status, said = ran(command, limit)
            assert status == 2, (command, limit, said)
            assert said.startswith("softreg: ")
            assert "disk that is full" in said
            assert "make room and run the same command again" in said
            assert [*Path("results").rglob(".*.tmp"), *Path("data").rglob(".*")] == []
        assert ran(command)[0] == 0
    assert made() == undisturbed


@pytest.mark.parametrize("number", [errno.EACCES, errno.EROFS, errno.EDQUOT, errno.ENOSPC])
def test_what_a_folder_does_not_allow_is_one_sentence(tmp_path, monkeypatch, capsys, number):
    write_study(tmp_path, **STUDY)

    opened = os.open

    def refuse(path, *arguments, **options):
        if str(path).endswith(".tmp"):
            raise OSError(number, os.strerror(number))
        return opened(path, *arguments, **options)

    monkeypatch.setattr("os.open", refuse)
    assert cli.main(["prepare", "tiny.yaml", "shapes"]) == 2
    said = capsys.readouterr().err
    assert said.startswith("softreg: data/prepared")
    assert os.strerror(number) in said
    assert said.count("\n") == 1
