"""How far a study is, told while real jobs of it run, are killed, are stopped and end."""

import os
import pty
import re
import signal
import subprocess
import sys
import time
from dataclasses import replace
from multiprocessing.process import BaseProcess
from pathlib import Path

import programs
import pytest
from projects import cell_folder, choose_by_hand, prepared_study, sweep_path

from softreg.cli import main
from softreg.files import read_json, write_json, write_text
from softreg.running import jobs, stages
from softreg.running.graph import Graph
from softreg.running.jobs import LIVE, file_of, records
from softreg.running.status import status, text
from softreg.study.config import load_study
from softreg.study.matrix import parse_path

COMMAND = Path(sys.executable).with_name("softreg")
NAME = "sweep/shapes/convnet/none/seed0"
LONG = {"epochs": 100_000, "batch_size": 4, "optimizer": "adam", "lr": 1e-3}
DEADLINE = 90.0


@pytest.fixture(autouse=True)
def _project(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)


@pytest.fixture
def start():
    """Start a path's training as its rule does, its log in place; killed at the end if it still runs."""
    started = []

    def begin() -> BaseProcess:
        log = log_of(load_study(Path("tiny.yaml")))
        log.parent.mkdir(parents=True, exist_ok=True)
        log.unlink(missing_ok=True)
        command = ("softreg", "train", "tiny.yaml", *NAME.split("/", 1))
        started.append(programs.start(Path(), *command, files=(os.devnull, str(log))))
        return started[-1]

    yield begin
    for process in started:
        process.kill()
        process.join()


def awaited(look, process=None):
    """What ``look`` finds, as soon as that is something."""
    ends = time.monotonic() + DEADLINE
    while time.monotonic() < ends:
        if found := look():
            return found
        assert process is None or process.is_alive(), "the job has ended"
        time.sleep(0.05)
    raise AssertionError(f"nothing to see within {DEADLINE} s")


def trained_epochs(study):
    """The job that runs, once it has said that epochs are done."""
    return [record for record in status(study).running if record.get("epoch", 0) > 0]


def test_nothing_begun_is_waiting(tmp_path):
    study = prepared_study(tmp_path)
    told = text(status(study))
    assert told.splitlines() == [
        "tiny: λ̂ chosen in 0 of 2 groups; the report waits",
        "sweep: 0 of 2 paths finished, 2 waiting; 0 of 3 cells finished",
        "final: 0 of 4 paths finished, 4 waiting; 0 of 4 cells finished",
        f"left: unknown, as nothing has been measured; softreg plan {study.file} --calibrate",
    ]
    assert main(["status", "tiny.yaml"]) == 0


@pytest.mark.slow
def test_a_job_runs_is_killed_goes_on_is_stopped(tmp_path, start, capsys):
    study = prepared_study(tmp_path, training=LONG, penalties={"none": {}})
    process = start()
    (record,) = awaited(lambda: trained_epochs(study), process)
    assert (record["pid"], record["command"], record["name"]) == (process.pid, "train", NAME)
    told = text(status(study))
    assert "sweep: 0 of 1 paths finished, 1 running; 0 of 1 cells finished" in told
    assert f"  train {NAME}  λ=0 (1 of 1)  epoch " in told
    assert "images/s" in told
    line = told.splitlines()[4]
    assert line.endswith(f":{process.pid}")
    assert len(line) <= 100

    process.kill()
    process.join()
    seen = status(study)
    assert (seen.running, [record["name"] for record in seen.failed]) == ([], [NAME])
    last = log_of(study).read_text().splitlines()[-1]
    assert "epoch" in last
    told = text(seen)
    assert "1 failed" in told
    assert f"train {NAME}: process {process.pid} on " in told
    assert f"last line of its log: {last}" in told
    assert main(["status", "tiny.yaml"]) == 1
    assert "died" in capsys.readouterr().out

    process = start()
    (record,) = awaited(lambda: trained_epochs(study), process)
    assert record["epoch"] > 1
    process.terminate()
    process.join()
    assert process.exitcode == 143
    seen = status(study)
    assert (seen.running, seen.failed) == ([], [])
    (record,) = (record for record in records("tiny") if record["command"] == "train")
    assert f"{NAME}  goes on after epoch {record['epoch']} of 100000 at λ=0" in text(seen)
    assert "sweep: 0 of 1 paths finished, 1 stopped; 0 of 1 cells finished" in text(seen)
    assert main(["status", "tiny.yaml"]) == 0


@pytest.mark.slow
def test_a_watch_ends_by_itself_once_nothing_runs(tmp_path, start):
    training = {**LONG, "epochs": 150}
    study = prepared_study(tmp_path, training=training, penalties={"none": {}})
    process = start()
    awaited(lambda: status(study).running, process)
    keyboard, screen = pty.openpty()
    watch = subprocess.Popen([COMMAND, "status", "tiny.yaml", "--watch"], stdout=screen, stderr=screen)
    os.close(screen)
    shown = b""
    try:
        while part := os.read(keyboard, 65536):
            shown += part
    except OSError:
        # What Linux says once the other side is closed.
        pass
    assert watch.wait() == 0
    process.join()
    assert process.exitcode == 0
    frames = shown.decode().split("\x1b[H\x1b[2J")[1:]
    assert len(frames) > 1
    assert "1 running" in frames[0]
    assert "running" not in frames[-1]
    assert "1 of 1 cells finished" in frames[-1]


@pytest.mark.slow
def test_a_finished_path_is_told_as_such(tmp_path):
    study = prepared_study(tmp_path)
    assert main(["train", "tiny.yaml", "sweep", "shapes/convnet/l1/seed0"]) == 0
    told = text(status(study))
    assert "sweep: 1 of 2 paths finished, 1 waiting; 2 of 3 cells finished" in told
    record = read_json(file_of("tiny", "train", "sweep/shapes/convnet/l1/seed0"))
    assert (record["state"], record["cells"], record["epoch"]) == ("finished", 2, 3)
    assert 0 < record["startup"] < record["seconds"]
    assert record["peak_memory"] > 50e6
    # What was measured now tells what the rest will take.
    assert "left: over " in told


def test_the_cells_of_another_version_of_the_study_wait(tmp_path):
    study = prepared_study(tmp_path)
    stages.train(study, sweep_path("l1"))
    assert "2 of 3 cells finished" in text(status(study))
    changed = prepared_study(tmp_path, training={"epochs": 2, "batch_size": 4})
    assert "sweep: 0 of 2 paths finished, 2 waiting; 0 of 3 cells finished" in text(status(changed))


@pytest.mark.slow
def test_failed_and_diverged_cells_are_told_apart(tmp_path):
    study = prepared_study(tmp_path)
    stages.train(study, sweep_path("l1"))
    job = Graph(study).train(sweep_path("l1"))
    file = job.makes[0]
    listed = read_json(file)
    listed["cells"][0] |= {"status": "diverged", "reason": "loss or weights are not finite after epoch 1"}
    write_json(file, listed)
    job.end()
    assert "1 of 3 cells finished, 1 diverged" in text(status(study))
    assert main(["status", "tiny.yaml"]) == 0
    listed["cells"][0] |= {"status": "out-of-memory", "reason": "cannot allocate"}
    write_json(file, listed)
    job.end()
    told = text(status(study))
    assert "1 of 3 cells finished, 1 out-of-memory" in told
    assert "  sweep/shapes/convnet/l1/seed0 λ=1e-4: out-of-memory: cannot allocate" in told
    assert main(["status", "tiny.yaml"]) == 1


def test_a_damaged_path_is_told_as_such_and_one_that_is_gone_waits(tmp_path):
    study = prepared_study(tmp_path)
    stages.train(study, sweep_path("l1"))
    (file,) = Graph(study).train(sweep_path("l1")).makes[1:]
    file.write_bytes(file.read_bytes() + b"0")
    told = "sweep: 0 of 2 paths finished, 1 damaged (the next run makes them again), 1 waiting; "
    assert told in text(status(study))
    # As Snakemake's start finds it.
    Graph(study).drop_void_marks()
    assert told in text(status(study))
    file.unlink()
    assert "sweep: 0 of 2 paths finished, 2 waiting; " in text(status(study))


def test_a_final_path_without_a_choice_has_not_finished(tmp_path):
    study = prepared_study(tmp_path)
    choose_by_hand(study, ("shapes", "convnet", "l1"), "")
    stages.train(study, final := replace(sweep_path("l1", 100), phase="final"))
    assert Graph(study).train(final).made()
    # The cells are those of penalty none, of two seeds.
    assert "final: 0 of 4 paths finished, 1 without a λ̂ to train, 3 waiting; 0 of 2 cells" in text(status(study))


def log_of(study):
    """Where the rule of a path's job puts its log."""
    key = Graph(study).train(parse_path(*NAME.split("/", 1))).key
    return file_of("tiny", "train", f"{NAME}-{key}").with_suffix(".log")


def sign(study, **facts):
    """A sign of life as a job of ``facts`` leaves it."""
    key = Graph(study).train(parse_path(*NAME.split("/", 1))).key
    record = {"command": "train", "name": NAME, "key": key, "state": "running", "host": "node7", "pid": 1}
    write_json(file_of("tiny", "train", NAME), record | {"slurm_job": "77", "seconds": 30.0} | facts)
    return file_of("tiny", "train", NAME)


def age(file, seconds):
    then = time.time() - seconds
    os.utime(file, (then, then))


def test_a_job_on_another_host_lives_as_long_as_its_file_is_touched(tmp_path):
    study = prepared_study(tmp_path)
    age(sign(study), LIVE - 10)
    told = text(status(study))
    assert "1 running" in told
    assert "SLURM 77 on node7" in told
    write_text(log_of(study), "first\nlast words\n\n")
    age(file_of("tiny", "train", NAME), LIVE + 10)
    told = text(status(study))
    assert re.search(
        r"process 1 on node7 \(SLURM job 77\) died, last sign 7\d s ago; last line of its log: last words", told
    )


def test_a_job_that_died_under_another_version_of_the_study_is_no_failure(tmp_path):
    study = prepared_study(tmp_path)
    age(sign(study, key="of another version"), 1000)
    assert status(study).failures == []


@pytest.mark.slow
def test_a_job_that_ended_in_an_error_says_which(tmp_path):
    study = prepared_study(tmp_path, resources={"gpu": 1, "threads": 1})
    if main(["train", "tiny.yaml", *NAME.split("/", 1)]) == 0:
        pytest.skip("this machine has the GPU that must be missing here")
    told = text(status(study))
    assert f"train {NAME}: resources.gpu is set but torch sees no GPU here" in told


def test_signs_of_life_go_on_while_a_job_works(tmp_path, monkeypatch):
    monkeypatch.setattr(jobs, "BEAT", 0.05)
    with jobs.job("tiny", "train", NAME):
        first = file_of("tiny", "train", NAME).stat().st_mtime_ns
        awaited(lambda: file_of("tiny", "train", NAME).stat().st_mtime_ns > first)
        (record,) = records("tiny")
        assert jobs.lives(record)
    (record,) = records("tiny")
    assert (record["state"], jobs.lives(record)) == ("finished", False)


def test_a_place_that_cannot_be_written_stops_no_job(tmp_path):
    write_text(Path("logs"), "a file where the folder should be")
    with jobs.job("tiny", "train", NAME):
        jobs.tell(epoch=1)


def test_scoring_that_is_terminated_counts_as_stopped(tmp_path):
    with pytest.raises(SystemExit, match="143"), jobs.job("tiny", "reveal", NAME):
        signal.raise_signal(signal.SIGTERM)
    (record,) = records("tiny")
    assert record["state"] == "stopped"
    assert signal.getsignal(signal.SIGTERM) is signal.SIG_DFL


@pytest.mark.slow
def test_status_imports_no_torch(tmp_path):
    prepared_study(tmp_path)
    script = (
        "import sys; from softreg.cli import main; main(['status', 'tiny.yaml']); "
        "slow = any(name in sys.modules for name in ('torch', 'pandas', 'snakemake')); main(['plan', 'tiny.yaml']); "
        "sys.exit(slow or any(name in sys.modules for name in ('torch', 'snakemake')))"
    )
    assert subprocess.run([sys.executable, "-c", script], capture_output=True, check=False).returncode == 0


def test_cells_that_were_trained_before_a_stop_count(tmp_path):
    study = prepared_study(tmp_path)
    stages.train(study, sweep_path("l1"))
    Graph(study).train(sweep_path("l1")).begin()
    (cell_folder(study, sweep_path("l1"), "1e-2") / "weights.safetensors").unlink()
    assert "0 of 2 paths finished, 2 waiting; 1 of 3 cells finished" in text(status(study))
