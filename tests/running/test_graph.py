"""What a job takes away before it begins."""

from pathlib import Path

import pytest
from projects import write_study

from softreg.files import whole_file
from softreg.running.graph import Graph
from softreg.study.config import load_study


def left_half_written(file: Path) -> Path:
    """What a process leaves that is killed while it writes ``file``."""
    with whole_file(file) as temporary:
        pass
    file.unlink()
    temporary.touch()
    return temporary


@pytest.mark.parametrize("command", ["prepare", "train", "select", "reveal", "gather", "paper", "pack"])
def test_what_a_killed_job_has_left_half_written_goes_and_its_neighbours_stay(command, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    graph = Graph(load_study(write_study(tmp_path)))
    mine, *others = (job for job in (*graph.jobs(), graph.pack) if job.command == command)
    left = left_half_written(mine.mark)
    kept = [left_half_written(job.mark) for job in others]
    mine.begin()
    assert not left.exists()
    assert [file for file in kept if not file.exists()] == []
