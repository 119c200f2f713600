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


@pytest.mark.parametrize("command", ["prepare", "train", "select", "reveal", "gather", "paper"])
def test_what_a_killed_job_has_left_half_written_goes_and_its_neighbours_stay(command, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    graph = Graph(load_study(write_study(tmp_path)))
    mine, *others = (job for job in graph.jobs() if job.command == command)
    left = left_half_written(mine.mark)
    kept = [left_half_written(job.mark) for job in others]
    mine.begin()
    assert not left.exists()
    assert [file for file in kept if not file.exists()] == []


@pytest.fixture
def graph(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    return Graph(load_study(write_study(tmp_path)))


def made(job, *also):
    """A job that counts as done, its files empty, with ``also`` in its mark."""
    for place in job.makes:
        file = place if place.suffix else place / "file"
        file.parent.mkdir(parents=True, exist_ok=True)
        file.touch()
    job.end(also=also)
    return job


@pytest.mark.parametrize("void", [False, True])
@pytest.mark.parametrize("command", ["train", "gather", "paper"])
def test_a_job_takes_away_no_file_but_its_own_whatever_a_mark_lists(graph, command, void):
    mine = Path("precious.txt")
    mine.write_text("mine")
    job = made(next(job for job in graph.jobs() if job.command == command), mine.resolve())
    mine.write_text("mine, changed")
    if void:
        job.void()
    job.begin()
    assert mine.read_text() == "mine, changed"
    assert not job.made()


def test_looking_for_damage_takes_away_marks_alone(graph):
    job = made(graph.paper)
    report = next(file for file in job.makes if file.suffix == ".html")
    report.write_text("with a remark")
    graph.drop_void_marks()
    assert not job.mark.exists()
    assert report.read_text() == "with a remark"


@pytest.mark.parametrize("damaged", [True, False])
def test_scores_are_gathered_again_where_a_network_is_damaged_and_stand_where_it_was_deleted(graph, damaged):
    path, scores, paper = made(graph.train(graph.final[0])), made(graph.gather), made(graph.paper)
    if damaged:
        path.makes[0].write_text("other")
    else:
        path.makes[0].unlink()
    graph.drop_void_marks()
    assert not path.mark.exists()
    assert scores.mark.exists() == paper.mark.exists() == (not damaged)


@pytest.mark.parametrize("void", [False, True])
def test_what_a_mark_says_is_damaged_is_not_gone_on_from(graph, void):
    job = made(graph.gather)
    damaged, *others = job.makes
    damaged.write_text("other")
    if void:
        job.void()
    job.begin()
    assert not damaged.exists()
    assert all(file.exists() for file in others)


@pytest.mark.parametrize("gathered", [True, False])
def test_what_is_trained_again_outdates_the_paper_also_where_its_scores_are_gone(graph, gathered):
    made(graph.paper)
    if gathered:
        made(graph.gather)
    others = [graph.results / part / "made-0123456789abcdef" for part in ("scores", "tables")]
    for mark in others if gathered else others[1:]:
        mark.touch()
    graph.outdate(graph.final[0])
    assert not any(mark.exists() for mark in (graph.paper.mark, graph.gather.mark, *others))
