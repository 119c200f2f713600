"""What a study will take: costs from what was measured, wherever that is, and the jobs that are left."""

import json
import os
import random
import shutil
from pathlib import Path
from statistics import fmean

import pytest
from projects import cell_folder, prepared_study, sweep_path, write_study

from softreg.cli import main
from softreg.errors import UserError
from softreg.files import read_json, seal, write_json, write_text
from softreg.running import calibrate, places, stages
from softreg.running.forecast import announce, forecast, span
from softreg.running.graph import Graph
from softreg.running.jobs import file_of
from softreg.running.plan import allowed, plan
from softreg.running.status import status, text
from softreg.study import matrix
from softreg.study.cells import make_cells
from softreg.study.config import load_study
from softreg.study.matrix import parse_path

PENALTIES = {"none": {}, "l1": {"lambda": [1e-4, 1e-2]}, "l2": {"lambda": [1e-3]}}


@pytest.fixture(autouse=True)
def _project(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)


def write_cells(study, path, lambdas, seconds, device="CPU here"):
    """Finished cells of a path as training leaves them, so far as planning reads them, and the list of them."""
    content = read_json(_description(study, path.dataset))["content_digest"]
    cells = make_cells(study, path, lambdas, places.results_folder(study), content)
    for cell, value in zip(cells, seconds, strict=True):
        facts = {"key": cell.key, "status": "finished", "reason": "", "seconds": value}
        seal(cell.folder / "cell.json", facts | {"provenance": {"device": device}}, [])
        write_text(cell.folder / "weights.safetensors", "x" * 1000)
    entries = [{"lambda": cell.lambda_, "status": "finished", "reason": "", "key": cell.key} for cell in cells]
    write_json(cells[0].folder.parent / "path.json", {"cells": entries})


def write_job(study, command, name, **facts):
    """What a job that ran leaves; of one with networks, under the key that it has now."""
    keys = {(job.command, job.name): job.key for job in Graph(study).jobs()}
    record = {"command": command, "name": name, "key": keys.get((command, name.partition("+")[0]), "")}
    record |= {"state": "finished", "slurm_job": "", "host": "h", "pid": 1}
    write_json(file_of(study.name, command, name), record | facts)


def write_scores(study, folder, rows, **changes):
    """Scores as gathered: the timings, and the study as it was then."""
    head = "phase,dataset,model,penalty,lambda,seed,fold,seconds,images_per_second,peak_memory,device,commit,time\n"
    lines = [f"final,shapes,convnet,{penalty},1e-3,{seed},-1,{s},9,9,{device},c,t" for penalty, seed, s, device in rows]
    write_text(folder / "scores" / "timings.csv", head + "\n".join(lines) + "\n")
    write_json(folder / "scores" / "study.json", {**study.to_dict(), **changes})


def _description(study, dataset):
    return Path(places.description(study, dataset))


def known(study):
    return plan(study).costs


def group(penalty):
    return "shapes", "convnet", penalty


def test_a_fresh_study_is_left_as_a_whole_and_its_cost_unknown(tmp_path):
    study = prepared_study(tmp_path)
    planned = plan(study)
    assert sum(job.command == "train" for job in planned.work) == 2 + 4
    assert sum(job.cells for job in planned.work if job.command == "train") == matrix.count_cells(study)
    assert planned.wall(2) is None
    assert "unknown" in forecast(planned, None)
    assert "--calibrate" in forecast(planned, None)


def test_each_group_costs_the_mean_of_its_own_cells_and_others_borrow(tmp_path):
    study = prepared_study(tmp_path, penalties=PENALTIES)
    draw = random.Random(0)
    seconds = {"none": [draw.uniform(1, 9)], "l1": [draw.uniform(1, 9), draw.uniform(1, 9)]}
    for penalty, values in seconds.items():
        write_cells(study, sweep_path(penalty), study.penalties[penalty]["lambda"], values)
    found = known(study)
    for penalty, values in seconds.items():
        figure = found.cell(group(penalty))
        assert figure.value == pytest.approx(fmean(values))
        assert figure.source == "measured here, 3 cells on CPU here"
    borrowed = found.cell(group("l2"))
    assert borrowed.value == pytest.approx((seconds["none"][0] + fmean(seconds["l1"])) / 2)
    assert "of other penalties" in borrowed.source


def test_cells_of_another_key_measure_nothing(tmp_path):
    study = prepared_study(tmp_path)
    write_cells(study, sweep_path("none"), ["0"], [5.0])
    changed = load_study(write_study(tmp_path, training={"epochs": 30, "batch_size": 4}))
    assert known(study).cell(group("none")).value == 5.0
    assert known(changed).cell(group("none")) is None
    assert sum(job.cells for job in plan(changed).work if job.command == "train") == matrix.count_cells(changed)


def test_published_timings_are_of_their_device_and_of_the_same_training_only(tmp_path):
    study = prepared_study(tmp_path)
    published = places.RESULTS / "published" / "tiny"
    write_scores(study, published, [("l1", 100, 4.0, "GPU X"), ("l1", 101, 6.0, "GPU X")])
    assert known(study).cell(group("l1")).value == 5.0
    assert known(study).cell(group("l1")).source == "published timings, 2 cells on GPU X"
    write_scores(study, published, [("l1", 100, 4.0, "GPU X")], training={**study.training, "epochs": 30})
    assert known(study).cell(group("l1")) is None
    write_scores(study, published, [("l1", 100, 4.0, "GPU X")], unheard_of={})
    assert known(study).cell(group("l1")) is None


def test_published_timings_of_a_version_that_knew_fewer_keys_count(tmp_path):
    study = prepared_study(tmp_path)
    published = places.RESULTS / "published" / "tiny"
    write_scores(study, published, [("l1", 100, 4.0, "GPU X")])
    file = published / "scores" / "study.json"
    told = read_json(file)
    for place, key in (("evaluation", "folds"), ("selection", "search"), ("training", "average")):
        del told[place][key]
    del told["datasets"]["shapes"]["split"]["fold"], told["penalties"]["l1"]["check"]
    write_json(file, told)
    assert known(study).cell(group("l1")).value == 4.0


def test_what_was_measured_here_comes_before_what_was_published(tmp_path):
    study = prepared_study(tmp_path)
    write_scores(study, places.RESULTS / "published" / "tiny", [("none", 100, 4.0, "GPU X"), ("l1", 1, 4.0, "GPU X")])
    write_scores(study, places.RESULTS / "tiny", [("none", 100, 3.0, "CPU here")])
    assert known(study).cell(group("l1")).source == "scores gathered here, 1 cells on CPU here: of other penalties"
    write_cells(study, sweep_path("none"), ["0"], [2.0])
    assert known(study).cell(group("l1")).value == 2.0


def test_what_jobs_take_beside_training_is_told_from_their_own_seconds(tmp_path):
    study = prepared_study(tmp_path)
    write_cells(study, sweep_path("l1"), ["1e-4", "1e-2"], [10.0, 14.0])
    write_job(study, "train", "sweep/shapes/convnet/l1/seed0", startup=3.0, cells=2, seconds=3 + 24 + 8.0)
    write_job(study, "reveal", "shapes/convnet/l1+1", startup=2.5, cells=2, seconds=2.5 + 1.0)
    write_job(study, "select", "shapes/convnet/l1", seconds=1.25)
    graph = Graph(study)
    for job in (graph.train(sweep_path("l1")), graph.select(group("l1")), graph.reveal(group("l1"))):
        for file in job.makes:
            write_text(file, file.read_text() if file.exists() else "lambda,lr\n1e-4,\n")
        job.end()
    found = known(study)
    between = found.rest("select", "", group("l1"), 0) - 1.25
    assert 0 < between <= 1
    assert found.rest("train", "sweep", group("none"), 3) == pytest.approx(3 + 3 * 4 + between)
    assert found.rest("reveal", "sweep", group("none"), 3) == pytest.approx(2.5 + 3 * 0.5 + between)
    assert found.rest("train", "final", group("none"), 1) == pytest.approx(3 + 4 + between)
    # As long as something is unknown, what is known is the least that it takes.
    assert plan(study).wall(2) is not None

    # Scored in larger batches, all is to be done again, and what it took says nothing.
    changed = load_study(write_study(tmp_path, evaluation={"batch_size": 9}))
    assert known(changed).rest("reveal", "sweep", group("none"), 1) is None
    assert known(changed).rest("train", "sweep", group("none"), 3) is None
    (again,) = (job for job in plan(changed).work if job.name == "sweep/shapes/convnet/l1/seed0")
    assert (again.cells, again.scored) == (0, 2)


def test_a_job_that_went_on_from_another_s_cells_tells_nothing(tmp_path):
    study = prepared_study(tmp_path)
    write_cells(study, sweep_path("l1"), ["1e-4", "1e-2"], [10.0, 14.0])
    write_job(study, "train", "sweep/shapes/convnet/l1/seed0", startup=3.0, cells=1, seconds=40.0)
    assert known(study).rest("train", "sweep", group("l1"), 1) is None


@pytest.mark.slow
def test_a_calibration_times_the_real_training(tmp_path, monkeypatch):
    study = prepared_study(tmp_path, evaluation={"corruptions": ["noise"], "severities": [1, 3]})
    monkeypatch.setattr(os, "sched_getaffinity", lambda process: {0})
    # A plan may be for a cluster of a hundred nodes: no more processes run than this core allows.
    assert main(["plan", str(study.file), "--calibrate", "--jobs", "100"]) == 0
    found = read_json(calibrate.file_of(study))
    assert found["jobs"] == 1
    (part,) = found["parts"].values()
    assert set(part["steps"]) == {"none", "l1"}
    assert set(part["scoring"]) == {"plain", "pictures", "noise"}
    stages.train(study, sweep_path("none"))
    record = read_json(cell_folder(study, sweep_path("none"), "0") / "cell.json")
    assert part["weights_bytes"] == (cell_folder(study, sweep_path("none"), "0") / "weights.safetensors").stat().st_size
    assert found["device"] == record["provenance"]["device"]
    shutil.rmtree(places.results_folder(study) / "sweep")
    # 12 images in batches of 4, for 3 epochs.
    figure = known(study).cell(group("l1"))
    assert figure.value == pytest.approx(9 * part["steps"]["l1"])
    assert figure.source.startswith("calibration of ")
    # A final's cell is validated after each of three epochs, and scored on 12 images plain, on 6 with pictures, and
    # on 6 under each of two severities; one of the sweep is scored on 6 plain.
    rest = {phase: [known(study).rest("train", phase, group("l1"), n) for n in (1, 0)] for phase in ("final", "sweep")}
    one = {phase: with_one - without for phase, (with_one, without) in rest.items()}
    scoring = part["scoring"]
    trained = part["cell"] + 3 * part["epoch"] + 3 * 6 * part["validation"]
    assert one["sweep"] - trained == pytest.approx(6 * scoring["plain"])
    scored = 12 * scoring["plain"] + 6 * scoring["pictures"] + 12 * scoring["noise"]
    assert one["final"] - trained == pytest.approx(scored)
    assert plan(study).wall(1) > plan(study).wall(2) > 0
    assert "unknown" not in forecast(plan(study), 2)


def test_a_calibration_serves_more_epochs_but_no_other_batches(tmp_path):
    study = prepared_study(tmp_path)
    scoring = {"plain": 0.1, "pictures": 0.2}
    part = {"startup": 1.0, "steps": {"none": 2.0}, "cell": 1.0, "epoch": 1.0, "validation": 0.1, "scoring": scoring}
    part |= {"weights_bytes": 5000, "share": 0.5, "key": calibrate.key(study, "shapes", "convnet")}
    write_json(
        calibrate.file_of(study),
        {"time": "2026-01-01T00:00:00", "device": "D", "jobs": 2, "parts": {"shapes/convnet": part}},
    )
    assert known(study).cell(group("l1")).value == 3 * 3 * 2.0
    assert "slowed to 50% by other work" in known(study).cell(group("l1")).source
    more = load_study(write_study(tmp_path, training={**study.training, "epochs": 7}))
    assert known(more).cell(group("l1")).value == 7 * 3 * 2.0
    # A cell of the final: 3 validations of 6 images; then 12 images of train and 6 of test are scored, and none of val.
    one = [known(study).rest("train", "final", group("l1"), cells) for cells in (1, 0)]
    assert one[0] - one[1] == pytest.approx(1.0 + 3 * 1.0 + 3 * 6 * 0.1 + 12 * 0.1 + 6 * 0.2)
    others = load_study(write_study(tmp_path, training={**study.training, "batch_size": 2}))
    assert known(others).cell(group("l1")) is None


def known_costs(tmp_path):
    """A study of which a cell has been trained, for an hour, and all else takes next to nothing."""
    study = prepared_study(tmp_path)
    write_cells(study, sweep_path("none"), ["0"], [3600.0])
    write_job(study, "train", "sweep/shapes/convnet/none/seed0", startup=0.0, cells=1, seconds=3600.0)
    job = Graph(study).train(sweep_path("none"))
    write_text(job.makes[1], "")
    job.end()
    write_job(study, "reveal", "shapes/convnet/l1+1", startup=0.0, cells=1, seconds=0.0)
    return study


def test_a_forecast_of_known_costs_adds_up(tmp_path):
    told = forecast(plan(known_costs(tmp_path)), 1)
    # Left are 2 + 4 cells of an hour each; 1000 bytes of weights and little more a cell.
    assert "tiny: 6 of 7 cells and 5 of 6 paths are left to train, 5 paths to score" in told
    assert "6.00" in told
    assert "1 job at a time: 6." in told
    assert max(map(len, told.splitlines())) <= 100


@pytest.mark.parametrize(("waits", "left"), [(True, "6."), (False, "4.")])
def test_waiting_for_a_gpu_is_no_work_done(tmp_path, waits, left):
    study = known_costs(tmp_path)
    name = "sweep/shapes/convnet/l1/seed0"
    key = Graph(study).train(parse_path(*name.split("/", 1))).key
    write_job(study, "train", name, state="running", key=key, waits=waits, startup=0.0, seconds=7200.0)
    assert f"left: about {left}" in text(status(study))


@pytest.mark.parametrize(("command", "name"), [("prepare", "shapes"), ("gather", "")])
def test_a_job_that_neither_trains_nor_scores_says_nothing_of_how_many_will(tmp_path, monkeypatch, command, name):
    study = known_costs(tmp_path)
    monkeypatch.setattr(os, "sched_getaffinity", lambda process: set(range(2 * study.resources["threads"])))
    write_job(study, command, name, state="running", seconds=5.0)
    page = text(status(study))
    assert "with 2 jobs at a time" in page.splitlines()[-1]
    assert f"  {' '.join([command, *name.split()])}  5 s  h:1\n" in page


def test_jobs_at_a_time_are_bound_by_cores_and_by_gpus(tmp_path, monkeypatch):
    monkeypatch.setenv("SOFTREG_DEVICES", "0,1,2")
    study = load_study(write_study(tmp_path, resources={"gpu": 1, "threads": 4}))
    assert [allowed(study, cores) for cores in (3, 8, 16)] == [1, 2, 3]
    assert [allowed(study, cores, 6) for cores in (8, 40)] == [2, 6]
    on_cpu = load_study(write_study(tmp_path, resources={"gpu": 0, "threads": 4}))
    assert allowed(on_cpu, 40) == 10


@pytest.mark.slow
def test_a_study_that_is_all_there_has_nothing_left(tmp_path):
    study = prepared_study(tmp_path, penalties={"none": {}}, seeds={"tuning": [0], "evaluation": [100]})
    planned = plan(study)
    assert [job.command for job in planned.work] == ["train", "select", "train", "reveal", "gather", "paper"]
    stages.train(study, sweep_path("none"))
    assert [job.command for job in plan(study).work][:2] == ["select", "train"]
    assert main(["select", "tiny.yaml", "shapes/convnet/none"]) == 0
    assert [job.command for job in plan(study).work][:2] == ["train", "reveal"]
    assert main(["train", "tiny.yaml", "final", "shapes/convnet/none/seed100"]) == 0
    assert main(["reveal", "tiny.yaml", "shapes/convnet/none"]) == 0
    assert [job.command for job in plan(study).work] == ["gather", "paper"]
    assert main(["gather", "tiny.yaml"]) == 0
    assert [job.command for job in plan(study).work] == ["paper"]
    assert main(["paper", "results/tiny"]) == 0
    assert forecast(plan(study), None) == "tiny: all is made, nothing is left\n"


def test_a_forecast_never_stops_a_run(tmp_path, capsys):
    study = prepared_study(tmp_path)
    announce(study, 2)
    assert "tiny: 7 of 7 cells" in capsys.readouterr().err
    write_text(calibrate.file_of(study), json.dumps({"time": None}))
    announce(study, 2)
    assert capsys.readouterr().err.startswith("No forecast: ")


@pytest.mark.parametrize(
    ("seconds", "told"), [(0.4, "0 s"), (89, "89 s"), (90, "1.5 min"), (5400, "1.5 h"), (172_800, "2.0 days")]
)
def test_spans_are_told_in_their_unit(seconds, told):
    assert span(seconds) == told


def test_calibration_needs_prepared_data(tmp_path):
    study = load_study(write_study(tmp_path))
    with pytest.raises(UserError, match=r"dataset\.json is missing; run .*softreg prepare .*tiny\.yaml shapes"):
        calibrate.calibrate(study, 1)
    assert not places.RESULTS.exists()


def test_a_number_of_jobs_is_one_or_more(tmp_path, capsys):
    write_study(tmp_path)
    for wrong in ("0", "-1", "many"):
        with pytest.raises(SystemExit):
            main(["plan", "tiny.yaml", "--jobs", wrong])
        assert f"--jobs: {wrong} is no number of jobs; give 1 or more" in capsys.readouterr().err
