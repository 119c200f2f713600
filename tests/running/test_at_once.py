"""Two processes that are to do one job at the same time: one does it, the other waits and finds it done."""

import time
from pathlib import Path

import programs
import pytest
from projects import prepared_study, sweep_path, write_study

from softreg.files import alone
from softreg.running.graph import Graph
from softreg.study.config import load_study


@pytest.fixture(autouse=True)
def _project(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)


def at_once(place: Path, *commands: list[str]) -> list[str]:
    """What commands say that begin while ``place`` is held by another process, and end once it is not."""
    files = [Path(f"said{number}") for number in range(len(commands))]
    with alone(place):
        running = [
            programs.start(Path(), "softreg", *command, files=(str(file), str(file)))
            for command, file in zip(commands, files, strict=True)
        ]
        until = time.monotonic() + 60
        while not all(file.exists() and "another process is making this" in file.read_text() for file in files):
            assert time.monotonic() < until
            time.sleep(0.01)
    for process in running:
        process.join()
        assert process.exitcode == 0
    return [file.read_text() for file in files]


def test_two_studies_need_the_same_data(tmp_path):
    first = load_study(write_study(tmp_path, "first"))
    write_study(tmp_path, "second")
    folder = Graph(first).prepare("shapes").mark.parent
    said = at_once(folder, ["prepare", "first.yaml", "shapes"], ["prepare", "second.yaml", "shapes"])
    assert sorted(text.count("background") for text in said) == [0, 1]
    assert Graph(first).prepare("shapes").made()


def test_two_processes_train_one_path(tmp_path):
    study = prepared_study(tmp_path)
    job = Graph(study).train(sweep_path())
    command = ["train", "tiny.yaml", "sweep", sweep_path().name]
    said = at_once(Path(job.folder), command, command)
    assert sorted(text.count("epoch 1/3") for text in said) == [0, 2]
    assert job.made()
    assert not list(Path("results").rglob(".*"))
