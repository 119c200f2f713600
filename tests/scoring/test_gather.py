import io
import json
import re
import shutil
from operator import itemgetter

import numpy as np
import pyarrow.parquet as pq
import pytest
import synthetic
from PIL import Image

from softreg.errors import UserError
from softreg.files import read_json, seal, sealed
from softreg.paper.design.widths import Design
from softreg.paper.scores import Scores
from softreg.running import places
from softreg.scoring import records
from softreg.scoring.gather import Mixed, gather
from softreg.scoring.merge import merge
from softreg.study.cells import final_file

MEASURED = {"timings.csv", "provenance.json"}


@pytest.fixture
def tiny(tmp_path):
    study = synthetic.make_study(tmp_path)
    synthetic.make_results(study, tmp_path, statuses={("l2", "1e-3", 0): "diverged"})
    return study, tmp_path / "results", tmp_path / "data"


def test_scores_hold_every_record_once(tiny):
    study, results, data = tiny
    folder = gather(study, results, data)
    assert folder == results / "tiny" / "scores"
    sums = ("sums.parquet", ["sweep/**/val.parquet", "**/sums.parquet"], records.CONDITION, records.SUMS)
    tests = ("final-test-brain.parquet", ["final/**/test.parquet"], (*records.CELL, "image"), records.SCHEMA)
    for name, patterns, keys, schema in (sums, tests):
        gathered = records.read([folder / name], schema=schema).to_pylist()
        files = {file for pattern in patterns for file in (results / "tiny").glob(pattern)} - {folder / name}
        parts = records.read(files, schema=schema).to_pylist()
        for row in (*gathered, *parts):
            row.pop("prediction", None)
        assert sorted(parts, key=itemgetter(*keys)) == gathered


def test_the_same_results_give_the_same_bytes(tiny, tmp_path):
    study, results, data = tiny
    first = gather(study, results, data).rename(tmp_path / "first")
    for file in (results / "tiny").glob("**/cell.json"):  # what differs from run to run
        text = json.dumps(sealed(file)).replace('"seconds": 1', '"seconds": 2')
        seal(file, json.loads(text.replace('"time": "2026', '"time": "2027')), [])
    second = gather(study, results, data)
    assert {file.name for file in first.iterdir()} == {file.name for file in second.iterdir()}
    for file in first.iterdir():
        assert (file.read_bytes() == (second / file.name).read_bytes()) == (file.name not in MEASURED), file.name


def test_what_was_gathered_before_of_other_data_sets_or_by_another_version_is_not_kept(tiny):
    study, results, data = tiny
    scores = results / "tiny" / "scores"
    scores.mkdir()
    for name in ("final-test.parquet", "sweep-val.parquet", "final-test-dropped.parquet"):
        (scores / name).touch()
    assert {file.name for file in gather(study, results, data).iterdir()} == {*places.scores_of(study)}


def test_each_cell_is_listed_with_its_status(tiny):
    study, results, data = tiny
    cells = pq.read_table(gather(study, results, data) / "cells.parquet").to_pandas()
    assert len(cells) == 2 * (1 + 3 + 3) + 9
    (lost,) = cells[cells["status"] != "finished"].to_dict("records")
    assert (lost["penalty"], lost["lambda"], lost["seed"], lost["status"]) == ("l2", "1e-3", 0, "diverged")
    assert "nan" in lost["reason"]
    assert lost["log_tail"] == "step 40"
    assert np.isnan(lost["exact_zeros"])


def test_examples_stand_at_percentiles_of_the_score_without_a_penalty(tiny):
    study, results, data = tiny
    folder = gather(study, results, data)
    by_image = {}
    for file in (results / "tiny").glob("final/brain/convnet/none/*/test.parquet"):
        for row in records.read([file]).to_pylist():
            tp, fp, fn = (np.array(row[name]) for name in ("tp", "fp", "fn"))
            by_image.setdefault(row["image"], []).append((tp / (tp + fp + fn)).mean())
    ranked = sorted(by_image, key=lambda image: np.mean(by_image[image]))
    rows = pq.read_table(folder / "examples.parquet").to_pylist()
    # Of six images: the places 0.5, 2.5 and 4.5 between 0 and 5, rounded to even.
    assert [(row["image"], row["percentile"]) for row in rows] == [(ranked[0], 10), (ranked[2], 50), (ranked[4], 90)]
    (prepared,) = (data / "prepared").iterdir()
    for row in rows:
        index = int(row["image"].removeprefix("test"))
        image = np.asarray(Image.open(io.BytesIO(row["image_png"])))
        truth = np.asarray(Image.open(io.BytesIO(row["truth_png"])))
        assert np.array_equal(image, np.load(prepared / "test" / "images.npy")[index])
        assert np.array_equal(truth, np.load(prepared / "test" / "masks.npy")[index])
    shown = records.read([final_file(folder, "brain")], columns=["image", "prediction"]).to_pylist()
    assert {row["image"] for row in shown if row["prediction"]} == {row["image"] for row in rows}


def test_sums_and_histories_are_of_every_finished_cell(tiny):
    study, results, data = tiny
    scores = Scores(gather(study, results, data))
    finished = scores.cells[scores.cells["status"] == "finished"]
    keys = ["phase", *records.CELL]
    for frame in (scores.histories, scores.sums):
        assert set(frame[keys].itertuples(index=False)) == set(finished[keys].itertuples(index=False))
    assert scores.histories.groupby(keys).size().eq(3).all()
    l1 = scores.sums[
        (scores.sums["phase"] == "final") & (scores.sums["penalty"] == "l1") & (scores.sums["seed"] == 100)
    ]
    assert len(l1) == 2 + len(synthetic.CORRUPTED)
    assert set(scores.sums.loc[scores.sums["phase"] == "sweep", "split"]) == {"val", "test"}


def test_what_was_run_is_told_without_ids_or_paths_of_the_machine(tiny, tmp_path):
    study, results, data = tiny
    folder = gather(study, results, data)
    about = read_json(folder / "datasets.json")["brain"]
    assert about["images"] == {"train": 6, "val": 6, "test": 6}
    assert about["groups"] == {"train": 0, "val": 0, "test": 0}
    assert "ids" not in about
    assert read_json(folder / "study.json") == study.to_dict()
    provenance = read_json(folder / "provenance.json")
    assert provenance["cells"]["versions.torch"] == {"2.15.0": 23}
    assert provenance["cells"]["trained from"] == {"2026-01-01T00:00:00+00:00": 23}
    assert not [file.name for file in folder.iterdir() if str(tmp_path).encode() in file.read_bytes()]


def test_timings_are_of_finished_cells(tiny):
    study, results, data = tiny
    timings = Scores(gather(study, results, data)).timings
    assert len(timings) == 22
    assert set(timings["images_per_second"]) == {100.0}
    assert set(timings["device"]) == {"CPU, 2 cores"}


@pytest.mark.parametrize(
    "lost",
    [
        "results/tiny/selection/brain/convnet/l1.csv",
        "results/tiny/final/brain/convnet/l1/seed101/test.parquet",
        "results/tiny/sweep/brain/convnet/l1/seed1/lambda-1e-4/cell.json",
    ],
)
def test_a_hole_is_named_or_told_as_not_run(tiny, tmp_path, lost):
    study, results, data = tiny
    (tmp_path / lost).unlink()
    with pytest.raises(UserError, match=rf"{re.escape(lost)}(: not there| is missing)"):
        gather(study, results, data)
    folder = synthetic.gather_part(study, results, data)
    assert folder == results / "tiny" / "partial" / "scores"
    assert read_json(folder / "provenance.json")["partial"] is True
    assert not (results / "tiny" / "scores").exists()


def _rows(scores):
    """How many networks have scores on validation, or on test: of the latter, there are records of 6 images."""
    sums = pq.read_table(scores / "sums.parquet", columns=["split"])["split"].to_pylist()
    return sums.count("val") + pq.read_metadata(final_file(scores, "brain")).num_rows // 6


def _other_key(file):
    seal(file, sealed(file) | {"key": "cd" * 32}, [])


def _other_scoring(file):
    origin = records.origin(file)
    records.write(records.read([file], schema=records.SUMS), file, records.SUMS, origin | {"scoring": "another"})


def _other_network(file):
    origin = records.origin(file)
    networks = {name: [key, "1" * 64] for name, (key, _) in origin["networks"].items()}
    records.write(records.read([file]), file, made_from=origin | {"networks": networks})


@pytest.mark.parametrize(
    ("file", "change", "networks"),
    [
        ("sweep/brain/convnet/l1/seed1/lambda-1e-4/cell.json", _other_key, 1),
        ("sweep/brain/convnet/l1/seed0/val.parquet", _other_scoring, 3),
        ("final/brain/convnet/none/seed101/test.parquet", _other_network, 1),
    ],
)
def test_a_mixture_of_versions_is_refused_and_no_part_of_a_partial_report(tiny, file, change, networks):
    study, results, data = tiny
    whole = _rows(gather(study, results, data))
    place = results / "tiny" / file
    change(place)
    with pytest.raises(Mixed, match=rf"{re.escape(file)} is missing, or of another version") as refused:
        gather(study, results, data)
    assert place in refused.value.places
    assert _rows(synthetic.gather_part(study, results, data)) == whole - networks


def test_partial_of_nothing_lists_every_cell_as_not_run(tmp_path):
    study = synthetic.make_study(tmp_path)
    scores = Scores(synthetic.gather_part(study, tmp_path / "results", tmp_path / "data"))
    assert set(scores.cells["status"]) == {"not run"}
    assert len(scores.cells) == 23
    assert scores.curves.empty
    assert scores.final_test.empty


def test_a_group_without_lambda_is_no_hole(tmp_path):
    study = synthetic.make_study(tmp_path)
    lost = {("l1", value, seed): "diverged" for value in synthetic.GRID for seed in (0, 1)}
    synthetic.make_results(study, tmp_path, statuses=lost)
    shutil.rmtree(tmp_path / "results" / "tiny" / "final" / "brain" / "convnet" / "l1")
    cells = Scores(gather(study, tmp_path / "results", tmp_path / "data")).cells
    final = cells[(cells["phase"] == "final") & (cells["penalty"] == "l1")]
    assert set(final["status"]) == {"not run"}
    assert set(final["reason"]) == {"no λ was chosen for it"}


def test_a_broken_cell_record_is_named(tiny):
    study, results, data = tiny
    (results / "tiny/final/brain/convnet/l1/seed100/lambda-1e-4/cell.json").write_text("{")
    with pytest.raises(Mixed, match=r"seed100/lambda-1e-4/cell\.json is missing, or of another version"):
        gather(study, results, data)


def test_a_folder_without_scores_is_named(tmp_path):
    with pytest.raises(UserError, match=r"holds no study\.json"):
        Scores(tmp_path)


def test_scores_that_an_earlier_version_gathered_are_refused_by_one_sentence(tiny, tmp_path):
    study, results, data = tiny
    folder = gather(study, results, data)
    final_file(folder, "brain").rename(folder / "final-test.parquet")
    sentence = r"final-test-brain\.parquet is missing: .*an earlier version.*`snakemake scores`"
    with pytest.raises(UserError, match=sentence):
        Scores(folder)
    with pytest.raises(UserError, match=sentence):
        merge([folder.parent], tmp_path / "merged")
    # Before they are gathered again, a design is checked as one without scores.
    assert Design.of(study, folder).scores is None
