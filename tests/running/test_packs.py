"""Packs: what goes in, what comes out, and what is never overwritten; on files written by hand."""

import shutil
import zipfile
from pathlib import Path

import pytest
from projects import TINY, sweep_path, write_study

from softreg.cli import main
from softreg.errors import UserError
from softreg.files import write_json, write_text
from softreg.running import packs
from softreg.running.graph import Graph
from softreg.study.config import load_study

L1 = sweep_path("l1")
CELL = ("cell.json", "weights.safetensors", "history.csv", "layers.csv")
#: Versions of the study, by their learning rate.
RATES = {"first": 1e-3, "second": 2e-3, "third": 3e-3}


def version(tag) -> Graph:
    """The study as one of its versions has it, in the same file."""
    return Graph(load_study(write_study(Path(), training={**TINY["training"], "lr": RATES[tag]})))


@pytest.fixture
def first(tmp_path, monkeypatch) -> Graph:
    """A finished study."""
    monkeypatch.chdir(tmp_path)
    graph = version("first")
    make(graph, "first")
    return graph


def make(graph, tag):
    """All that a finished study has, each file saying ``tag``."""
    for path in graph.sweep + graph.final:
        job = graph.train(path)
        job.begin()
        lambdas = graph.study.penalties[path.penalty]["lambda"] if path.phase == "sweep" else ["1e-2"]
        cells = [job.makes[0].parent / f"lambda-{lambda_}" / name for lambda_ in lambdas for name in CELL]
        for file in cells:
            write_text(file, f"{tag} {file.parent.name.removeprefix('lambda-')} {file.name}")
        for file in job.makes[1:]:
            write_text(file, tag)
        write_json(job.makes[0], {"cells": [{"lambda": one, "status": "finished", "of": tag} for one in lambdas]})
        job.end(also=cells)
    for job in (*map(graph.select, graph.groups), *map(graph.reveal, graph.groups)):
        job.begin()
        write_text(job.makes[0], tag)
        job.end()


def folder_of(graph, path):
    return graph.train(path).makes[0].parent


def content(graph):
    """All but the packs and what is known of them."""
    files = [file for file in graph.results.rglob("*") if file.is_file() and "packs" not in file.parts]
    return {
        file.relative_to(graph.results).as_posix(): file.read_text() for file in files if file.name != "packed.json"
    }


def is_of(graph, tag):
    """Whether all that lies there says ``tag``, and counts as made under the version ``graph``."""
    texts = [text for name, text in content(graph).items() if "made-" not in name]
    jobs = [*map(graph.train, graph.sweep + graph.final), *map(graph.select, graph.groups)]
    return all(tag in text for text in texts) and all(job.made() for job in jobs)


def bring(tag):
    """The packs and the study of another version, as a checkout brings them; what lies beside them stays."""
    graph = version(tag)
    kept = graph.results.rename("kept")
    make(graph, tag)
    packs.pack(graph)
    brought = (graph.results / "packs").rename("brought")
    shutil.rmtree(graph.results)
    kept.rename(graph.results)
    shutil.rmtree(graph.results / "packs", ignore_errors=True)
    brought.rename(graph.results / "packs")
    return graph


def test_what_is_packed_comes_out_again(first):
    packs.pack(first)
    before = content(first)
    second = bring("second")
    assert "softreg unpack" in packs.waiting(second)
    assert packs.unpack(second)
    assert packs.waiting(second) == ""
    assert is_of(second, "second")
    assert len(content(second)) == len(before)
    assert not packs.unpack(second)


def test_a_clone_without_results_is_as_the_study_that_was_packed(first):
    packs.pack(first)
    before = content(first)
    for place in ("sweep", "final", "selection", "packed.json"):
        one = first.results / place
        one.unlink() if one.is_file() else shutil.rmtree(one)
    assert packs.unpack(first)
    assert content(first) == before


def test_only_what_was_made_under_another_key_is_packed_again(first):
    packs.pack(first)
    files = {file: file.stat().st_mtime_ns for file in (first.results / "packs").rglob("*.zip")}
    graph = Graph(load_study(write_study(Path(), penalties={"none": {}, "l1": {"lambda": [1e-3]}})))
    make(graph, "first")
    packs.pack(graph)
    changed = {file for file, time in files.items() if file.stat().st_mtime_ns != time}
    assert changed == {file for file in files if "/l1" in file.as_posix()}


def test_what_was_made_again_under_the_same_key_is_packed_again(first):
    packs.pack(first)
    make(first, "once more")
    first.pack.begin()
    packs.pack(first)
    shutil.rmtree(first.results / "sweep")
    packs.unpack(first)
    assert "once more" in (folder_of(first, L1) / "val.parquet").read_text()


def test_the_same_results_are_the_same_bytes(first):
    packs.pack(first)
    files = {file: file.read_bytes() for file in (first.results / "packs").rglob("*") if file.is_file()}
    shutil.rmtree(first.results / "packs")
    packs.pack(first)
    assert {file: file.read_bytes() for file in files} == files


@pytest.mark.parametrize("name", ["test.parquet", "lambda-1e-2/weights.safetensors", "path.json"])
def test_nothing_is_packed_with_a_part_missing(first, name):
    (folder_of(first, first.final[-1]) / name).unlink()
    with pytest.raises(UserError, match=rf"seed101/{name} is missing"):
        packs.pack(first)
    assert not (first.results / "packs/index.json").exists()


def test_another_version_is_not_packed(first):
    with pytest.raises(UserError, match=r"seed0/path\.json is not made to the end, or was made under another version"):
        packs.pack(version("second"))


def test_a_path_in_training_is_left_alone(first):
    """Its mark is taken away before it is trained again; some of its networks may be new already."""
    packs.pack(first)
    first.train(L1).begin()
    file = folder_of(first, L1) / "lambda-1e-4/weights.safetensors"
    write_text(file, "new")
    assert not packs.unpack(first)
    assert file.read_text() == "new"


def test_a_folder_that_is_gone_comes_back(first):
    packs.pack(first)
    before = content(first)
    folder_of(first, L1).rename("elsewhere")
    assert packs.unpack(first) == 1
    assert content(first) == before


@pytest.mark.parametrize("name", ["lambda-1e-4/weights.safetensors", "val.parquet", "path.json"])
def test_a_damaged_file_comes_back(first, name):
    packs.pack(first)
    before = content(first)
    file = folder_of(first, L1) / name
    file.write_text(file.read_text().replace("f", "g"))
    assert packs.unpack(first) == 1
    assert content(first) == before


def test_a_damaged_pack_is_packed_again(first):
    packs.pack(first)
    file = first.results / f"packs/train/sweep/{L1.name}.zip"
    whole = file.read_bytes()
    file.write_bytes(whole.replace(b"first", b"fjrst", 1))
    first.pack.begin()
    packs.pack(first)
    assert file.read_bytes() == whole


def test_what_others_led_to_is_not_taken_for_made(first):
    """After an edit that was taken back: λ̂ is selected again, whatever lies there."""
    packs.pack(first)
    second = version("second")
    make(second, "second")
    shutil.rmtree(first.results / "sweep")
    first = version("first")
    assert packs.unpack(first)
    assert all(job.made() for job in (first.train(L1), first.select(L1.group), first.reveal(L1.group)))
    assert first.select(L1.group).makes[0].read_text() == "first"


def test_packs_that_are_not_what_lies_there_are_told(first, capsys):
    packs.pack(first)
    assert packs.differing(first) == 0
    first.train(L1).begin()
    first.train(first.final[-1]).begin()
    assert packs.differing(first) == 2
    assert main(["unpack", str(first.study.file)]) == 0
    assert "2 paths are not as in its packs" in capsys.readouterr().out


def test_the_remedy_for_what_lies_in_no_pack_is_one(first):
    packs.pack(first)
    make(version("third"), "third")
    second = bring("second")
    with pytest.raises(UserError, match=r"move results/tiny/sweep and results/tiny/final elsewhere"):
        packs.unpack(second)
    for phase in ("sweep", "final"):
        (second.results / phase).rename(f"my-{phase}")
    assert packs.unpack(second)
    assert is_of(second, "second")


@pytest.mark.parametrize("marked", [True, False])
def test_what_lies_in_no_pack_is_not_overwritten(first, marked):
    packs.pack(first)
    job = version("third").train(L1)
    job.begin()
    write_text(folder_of(first, L1) / "lambda-1e-4/weights.safetensors", "new")
    if marked:
        job.end()
    second = bring("second")
    before = content(second)
    with pytest.raises(UserError, match=r"sweep/shapes/convnet/l1/seed0 has been made here"):
        packs.unpack(second)
    assert content(second) == before


def test_an_unpacking_that_fails_can_be_repeated(first):
    packs.pack(first)
    second = bring("second")
    file = second.results / f"packs/train/final/{second.final[-1].name}.zip"
    whole = file.read_bytes()
    file.write_bytes(whole.replace(b"second 1e-2 weights", b"sec0nd 1e-2 weights"))
    before = content(second)
    with pytest.raises(UserError, match=r"seed101\.zip.*damaged"):
        packs.unpack(second)
    assert content(second) == before
    file.write_bytes(whole)
    # Cut short by something else: some packs are out already, and one folder has been taken away for its successor.
    shutil.rmtree(folder_of(second, second.sweep[0]))
    with zipfile.ZipFile(second.results / f"packs/train/sweep/{second.sweep[0].name}.zip") as archive:
        archive.extractall(second.results)
    shutil.rmtree(folder_of(second, second.sweep[1]))
    assert packs.unpack(second)
    assert is_of(second, "second")


def test_versions_can_be_gone_between(first):
    packs.pack(first)
    for tag in ("second", "third", "first"):
        graph = bring(tag)
        packs.unpack(graph)
        assert is_of(graph, tag)


@pytest.mark.parametrize(
    "name",
    ["../../escaped", "/etc/hostname", "sweep/shapes/convnet/none/seed0/lambda-1/evil.py", "weights.safetensors"],
)
def test_a_pack_holds_nothing_but_what_packs_hold(first, name):
    packs.pack(first)
    second = bring("second")
    with zipfile.ZipFile(second.results / f"packs/train/sweep/{second.sweep[0].name}.zip", "a") as archive:
        archive.writestr(name, "anything")
    before = content(second)
    with pytest.raises(UserError, match=r"seed0\.zip"):
        packs.unpack(second)
    assert content(second) == before
    assert not Path("escaped").exists()


@pytest.mark.parametrize("text", ["", "[]", '{"train/../../../../x.zip": "a"}', '{"train/escaped.zip": "a"}'])
def test_a_damaged_index_gets_one_sentence(first, text):
    packs.pack(first)
    second = bring("second")
    write_text(second.results / "packs/index.json", text)
    with pytest.raises(UserError, match=r"index\.json is damaged"):
        packs.unpack(second)


def test_packs_of_what_is_no_more_in_the_study_go(first):
    packs.pack(first)
    file = first.results / "packs/train/sweep/shapes/convnet/old/seed0.zip"
    write_text(file, "of a penalty that has been taken out")
    packs.pack(first)
    assert not file.exists()
