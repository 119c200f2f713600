"""Packs: what goes in, what comes out, and what is never overwritten; on files written by hand."""

import json
import os
import zipfile
from base64 import urlsafe_b64encode
from pathlib import Path

import pytest
from projects import sweep_path, write_study

from softreg.cli import main
from softreg.errors import UserError
from softreg.files import read_json, write_json, write_text
from softreg.running import packs, stages
from softreg.study import matrix
from softreg.study.config import load_study

L1 = sweep_path("l1")
CELL = ("cell.json", "weights.safetensors", "history.csv", "layers.csv")


@pytest.fixture
def study(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    study = load_study(write_study(tmp_path))
    make(study, "first")
    return study


def paths(study):
    return [*matrix.sweep_paths(study), *matrix.final_paths(study)]


def folder_of(study, path):
    return stages.results_folder(study) / path.phase / path.name


def make(study, tag):
    """All that a finished study has, each file saying ``tag``."""
    for path in paths(study):
        folder = folder_of(study, path)
        lambdas = study.penalties[path.penalty]["lambda"] if path.phase == "sweep" else ["1e-2"]
        for lambda_, name in ((lambda_, name) for lambda_ in lambdas for name in CELL):
            write_text(folder / f"lambda-{lambda_}" / name, f"{tag} {lambda_} {name}")
        for name in ("val", "test", "sums") if path.phase == "final" else ("val",):
            write_text(folder / f"{name}.parquet", tag)
        write_json(folder / "path.json", {"cells": [{"lambda": one, "status": "finished"} for one in lambdas]})
    results = stages.results_folder(study)
    for group in map("/".join, matrix.groups(study)):
        write_text(results / f"sweep/{group}/sums.parquet", tag)
        write_text(results / f"selection/{group}.csv", tag)
    write_text(results / "selection.csv", tag)


def pack(study):
    """Without asking whether the files are those of the study as it is: they are of none."""
    packs.pack(study, stages.results_folder(study), [])


def note(*files):
    """As Snakemake notes that it has made them."""
    for file in files:
        name = urlsafe_b64encode(file.as_posix().encode()).decode()
        write_text(Path(".snakemake/metadata") / name, json.dumps({"rule": "select_lambda"}))


def content(study):
    """All but the packs and what is known of them."""
    results = stages.results_folder(study)
    files = [file for file in results.rglob("*") if file.is_file() and "packs" not in file.parts]
    return {file.relative_to(results).as_posix(): file.read_text() for file in files if file.name != "packed.json"}


def bring(study, tag):
    """Packs of another version, as `dvc checkout` brings them; what lies beside them stays."""
    results = stages.results_folder(study)
    kept = results.rename("kept")
    make(study, tag)
    pack(study)
    brought = (results / "packs").rename("brought")
    for file in sorted(results.rglob("*"), reverse=True):
        file.rmdir() if file.is_dir() else file.unlink()
    results.rmdir()
    kept.rename(results)
    for file in sorted((results / "packs").rglob("*"), reverse=True):
        file.rmdir() if file.is_dir() else file.unlink()
    (results / "packs").rmdir()
    brought.rename(results / "packs")
    # No notes here: such records differ by what they would hold.
    write_json(results / "packs" / "records.json", {"jobs": [], "version": tag})


def test_what_is_packed_comes_out_again(study):
    pack(study)
    before = content(study)
    bring(study, "second")
    assert "softreg unpack" in stages.waiting_packs(study)
    assert stages.unpack(study)
    assert stages.waiting_packs(study) == ""
    assert set(content(study)) == set(before)
    assert all(text.startswith(("second", "{")) for text in content(study).values())
    assert not stages.unpack(study)


def test_a_file_of_the_same_length_is_packed_again(study):
    """Whatever its time says."""
    pack(study)
    place = folder_of(study, paths(study)[0]) / "val.parquet"
    write_text(place, "other")
    os.utime(place, (0, 0))
    pack(study)
    with zipfile.ZipFile(stages.results_folder(study) / f"packs/sweep/{paths(study)[0].name}.zip") as archive:
        assert archive.read("val.parquet") == b"other"


@pytest.mark.parametrize("name", ["test.parquet", "lambda-1e-2/weights.safetensors", "path.json"])
def test_nothing_is_packed_with_a_part_missing(study, name):
    (folder_of(study, paths(study)[-1]) / name).unlink()
    with pytest.raises(UserError, match=rf"seed101/{name} is missing"):
        pack(study)


def test_a_path_in_training_is_left_alone(study):
    """Its list is deleted before it is trained again; some of its networks may be new already."""
    pack(study)
    folder = folder_of(study, L1)
    (folder / "path.json").unlink()
    write_text(folder / "lambda-1e-4/weights.safetensors", "new")
    assert not stages.unpack(study)
    assert (folder / "lambda-1e-4/weights.safetensors").read_text() == "new"


def test_a_folder_that_is_gone_comes_back(study):
    pack(study)
    before = content(study)
    folder = folder_of(study, L1)
    folder.rename("elsewhere")
    assert stages.unpack(study)
    assert content(study) == before


def test_lambda_comes_back_with_the_networks_that_led_to_it(study):
    """After an edit that was taken back; else a choice that others led to would pass for one made of the packs'."""
    results = stages.results_folder(study)
    chosen = [results / f"selection/shapes/convnet/{penalty}.csv" for penalty in ("none", "l1")]
    scores = folder_of(study, L1) / "val.parquet"
    note(*chosen, scores)
    pack(study)
    made = [file.stat().st_mtime_ns for file in chosen]
    write_text(chosen[1], "second")
    (results / "sweep").rename("elsewhere")
    assert stages.unpack(study)
    assert [file.read_text() for file in chosen] == ["first", "first"]
    assert [file.stat().st_mtime_ns for file in chosen] == made
    assert scores.stat().st_mtime_ns < made[1]


def test_packs_that_are_not_what_lies_there_are_told(study, capsys):
    assert stages.differing_packs(study) == 0
    pack(study)
    assert stages.differing_packs(study) == 0
    write_json(folder_of(study, L1) / "path.json", {"cells": [{"lambda": "1e-4", "status": "diverged"}]})
    (folder_of(study, paths(study)[-1]) / "path.json").unlink()
    assert stages.differing_packs(study) == 2
    assert main(["unpack", str(study.file)]) == 0
    assert "2 paths are not as in its packs" in capsys.readouterr().out


def test_the_remedy_for_what_lies_in_no_pack_is_one(study):
    pack(study)
    make(study, "own")
    bring(study, "second")
    with pytest.raises(UserError, match=r"move results/tiny/sweep and results/tiny/final elsewhere"):
        stages.unpack(study)
    for phase in ("sweep", "final"):
        (stages.results_folder(study) / phase).rename(f"my-{phase}")
    assert stages.unpack(study)
    assert all(text.startswith(("second", "{")) for text in content(study).values())


@pytest.mark.parametrize("listed", [True, False])
def test_what_lies_in_no_pack_is_not_overwritten(study, listed):
    pack(study)
    folder = folder_of(study, L1)
    write_text(folder / "lambda-1e-4/weights.safetensors", "new")
    if not listed:
        (folder / "path.json").unlink()
    bring(study, "second")
    before = content(study)
    with pytest.raises(UserError, match=r"l1/seed0/lambda-1e-4/weights\.safetensors has been made here"):
        stages.unpack(study)
    assert content(study) == before


def test_an_unpacking_that_fails_can_be_repeated(study):
    pack(study)
    bring(study, "second")
    file = stages.results_folder(study) / f"packs/final/{paths(study)[-1].name}.zip"
    whole = file.read_bytes()
    file.write_bytes(whole.replace(b"second 1e-2 weights", b"sec0nd 1e-2 weights"))
    before = content(study)
    with pytest.raises(UserError, match=r"seed101\.zip.*damaged"):
        stages.unpack(study)
    assert content(study) == before
    file.write_bytes(whole)
    # Cut short by something else: some packs are out already.
    with zipfile.ZipFile(stages.results_folder(study) / f"packs/sweep/{paths(study)[0].name}.zip") as archive:
        archive.extractall(folder_of(study, paths(study)[0]))
    assert stages.unpack(study)
    assert all(text.startswith(("second", "{")) for text in content(study).values())


def test_two_versions_can_be_gone_between(study):
    pack(study)
    bring(study, "second")
    stages.unpack(study)
    bring(study, "third")
    stages.unpack(study)
    bring(study, "first")
    stages.unpack(study)
    assert all(text.startswith(("first", "{")) for text in content(study).values())


@pytest.mark.parametrize("name", ["../../escaped", "/etc/hostname", "lambda-1/evil.py", "weights.safetensors"])
def test_a_pack_holds_nothing_but_what_packs_hold(study, name):
    pack(study)
    bring(study, "second")
    with zipfile.ZipFile(stages.results_folder(study) / f"packs/sweep/{paths(study)[0].name}.zip", "a") as archive:
        archive.writestr(name, "anything")
    before = content(study)
    with pytest.raises(UserError, match=r"seed0\.zip"):
        stages.unpack(study)
    assert content(study) == before
    assert not Path("escaped").exists()


@pytest.mark.parametrize("text", ["", "[]", '{"jobs": [{"outputs": {"a": {}}, "note": {}}]}'])
def test_damaged_records_get_one_sentence(study, text):
    pack(study)
    bring(study, "second")
    write_text(stages.results_folder(study) / "packs" / "records.json", text)
    with pytest.raises(UserError, match=r"records\.json is damaged"):
        stages.unpack(study)


def test_packs_of_what_is_no_more_in_the_study_go(study):
    pack(study)
    folder = stages.results_folder(study) / "packs/sweep/shapes/convnet/old"
    write_text(folder / "seed0.zip", "of a penalty that has been taken out")
    pack(study)
    assert not (folder / "seed0.zip").exists()
    assert read_json(stages.results_folder(study) / "packs" / "records.json") == {"jobs": []}
