"""Jobs that are killed again and again, each time a little later, end with what undisturbed ones do."""

import shutil
import signal
from pathlib import Path

import programs
import pytest
from projects import prepared_study, sweep_path

from softreg.running import places, stages
from softreg.running.graph import Graph

PATH = "shapes/convnet/l1/seed0"
TRAINING = {"epochs": 12, "batch_size": 4, "optimizer": "adam", "lr": 1e-3, "checkpoint_seconds": 0.01}

pytestmark = pytest.mark.slow


@pytest.fixture(autouse=True)
def _project(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)


def state(folder: Path) -> set[tuple[str, int]]:
    """What can be seen to change in a folder while a job writes to it."""
    found = set()
    for file in folder.rglob("*"):
        try:
            found.add((file.as_posix(), file.stat().st_mtime_ns))
        except FileNotFoundError:
            # Renamed this moment.
            continue
    return found


def killed(folder: Path, changes: int, *arguments: str) -> bool:
    """Run a command and kill it once ``folder`` has changed so often; whether that came before its end."""
    process = programs.start(Path(), "softreg", *arguments)
    before, seen = state(folder), 0
    while process.is_alive() and seen < changes:
        now = state(folder)
        seen += now != before
        before = now
    process.kill()
    process.join()
    # Whatever the last look was, a job that ended by itself says so.
    assert process.exitcode in (0, -signal.SIGKILL)
    return process.exitcode != 0


def kill_often(folder: Path, step: int, *arguments: str) -> int:
    """Kill a command after two changes, ``step`` more, and so on, until it gets through; how often that was."""
    kills = 0
    while killed(folder, 2 + step * kills, *arguments):
        kills += 1
    return kills


def contents(folder: Path) -> dict[str, bytes]:
    """All that a path leaves but what is measured: seconds, memory, images a second."""
    files = [file for file in folder.rglob("*") if file.is_file()]
    kept = [file for file in files if file.suffix in (".safetensors", ".parquet") or "made-" in file.name]
    # A mark lists digests of what is measured too.
    return {
        file.relative_to(folder).as_posix(): b"" if "made-" in file.name else file.read_bytes()
        for file in [*kept, folder / "path.json"]
    }


def test_training_and_scoring(tmp_path):
    study = prepared_study(tmp_path, training=TRAINING)
    folder = places.results_folder(study) / "sweep" / PATH
    stages.train(study, sweep_path())
    undisturbed = contents(folder)
    shutil.rmtree(places.results_folder(study))
    folder.mkdir(parents=True)
    assert kill_often(folder, 2, "train", "tiny.yaml", "sweep", PATH) >= 10
    assert contents(folder) == undisturbed
    assert not [*folder.rglob("checkpoint.pt"), *folder.rglob("*.tmp")]


def test_gathering(tmp_path):
    study = prepared_study(tmp_path, training={**TRAINING, "epochs": 1})
    graph = Graph(study)
    for path in graph.sweep:
        stages.train(study, path)
    for group in graph.groups:
        stages.select(study, group)
        stages.reveal(study, group)
    for path in graph.final:
        stages.train(study, path)
    stages.gather(study)
    folder = places.results_folder(study) / "scores"
    undisturbed = {file.name: file.read_bytes() for file in folder.iterdir()}
    shutil.rmtree(folder)
    folder.mkdir()
    assert kill_often(folder, 1, "gather", "tiny.yaml") >= 10
    assert {file.name: file.read_bytes() for file in folder.iterdir()} == undisturbed
