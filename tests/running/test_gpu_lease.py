"""Jobs on GPUs that they share: the command as users run it, on devices that are pretended.

No GPU is needed. Where training must go on behind the lease, `PRETENDED` has `open_device` give the CPU; all else is
real: processes, leases, signals, the command's second start, training and its records. `tests/gpu` has the real memory.
"""

import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest
from leases import DEADLINE, Log, until
from projects import cell_folder, choose_by_hand, prepared_study, sweep_path

from softreg.files import read_json, seal, write_json, write_text
from softreg.running import gpu, places
from softreg.running.graph import Graph
from softreg.scoring import records
from softreg.scoring.origin import origin_of
from softreg.study.cells import make_cells
from softreg.study.keys import scoring_key

SOFTREG = [Path(sys.executable).with_name("softreg")]
PATH = "shapes/convnet/l1/seed0"
#: The command, with a CPU for a GPU.
PRETENDED = """
import sys
import torch
import softreg.training.device
softreg.training.device.open_device = lambda gpus, threads: torch.device("cpu")
from softreg.cli import main
sys.exit(main())
"""
#: A network that runs out of memory once ARMED exists, in the company that the test announces.
CROWDED = """
import os, time
from pathlib import Path
import torch
from torch import nn

class Crowded(nn.Module):
    def __init__(self, classes: int):
        super().__init__()
        self.layer = nn.Conv2d(3, classes, 3, padding=1)

    def forward(self, images):
        if Path(os.environ["ARMED"]).exists() and not Path("met").exists():
            Path("ready").touch()
            while not Path("crowd").exists():
                time.sleep(0.01)
            Path("met").touch()
        if Path("crowd").exists() and self.training == (os.environ["WHEN"] == "training"):
            raise torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 2.00 GiB.")
        return self.layer(images)
"""
SMI = """#!/bin/sh
cat <<END
0, GPU-aa11, 900
1, GPU-bb22, 100
2, GPU-cc33, [N/A]
END
"""


@pytest.fixture
def log(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    log = Log(tmp_path)
    yield log
    log.stop()


class Command:
    """A running command, and what it has said on standard error."""

    def __init__(self, log, *arguments, program=SOFTREG, **environment):
        given = {"SOFTREG_LEASES": str(log.folder / "leases"), "SOFTREG_DEVICES": "a", **environment}
        self.said = log.folder / f"said-{len(list(log.folder.glob('said-*')))}"
        with self.said.open("w") as file:
            self.process = subprocess.Popen([*program, *arguments], env={**os.environ, **given}, stderr=file)
        log.workers[self.process.pid] = self.process

    def says(self, words):
        until(lambda: words in self.said.read_text())

    def ends(self):
        return self.process.wait(DEADLINE), self.said.read_text()


def pretended(log, *arguments, **environment):
    return Command(log, *arguments, program=[sys.executable, "-c", PRETENDED], **environment)


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_a_waiter_says_what_it_waits_for_and_stops_on_a_signal(log, tmp_path, number):
    prepared_study(tmp_path, resources={"gpu": 1})
    holder = log.start()
    log.wait(holder, "enters")
    command = Command(log, "train", "tiny.yaml", "sweep", PATH)
    command.says("waits")
    assert "torch" not in Path(f"/proc/{command.process.pid}/maps").read_text()
    command.process.send_signal(number)
    waited, stopped = command.ends()[1].splitlines()
    wish = "waits for one of 1 GPU(s), 1 job(s) on each"
    assert waited == f"softreg: {wish}; 0 process(es) before it, 1 process(es) {holder.pid} there"
    assert stopped == "softreg: stopped by a signal while it waited for a GPU"
    assert command.ends()[0] == 143


@pytest.mark.parametrize("command", ["train", "score", "reveal"])
def test_every_command_on_a_gpu_waits_for_it(log, tmp_path, command):
    study = prepared_study(tmp_path, resources={"gpu": 1})
    if command != "train":
        ended(study, "finished")
    if command == "reveal":
        with_records(study)
        choose_by_hand(study, sweep_path().group, "1e-2")
    holder = log.start()
    log.wait(holder, "enters")
    arguments = ["reveal", "tiny.yaml", "shapes/convnet/l1"]
    started = Command(log, *(arguments if command == "reveal" else ["train", "tiny.yaml", "sweep", PATH]))
    started.says("waits for one of 1 GPU(s)")
    log.leave(holder)
    started.says("runs on GPU a")


@pytest.mark.slow
@pytest.mark.parametrize("environment", [{"SLURM_JOB_ID": "7"}, {"SOFTREG_DEVICES": "", "CUDA_VISIBLE_DEVICES": ""}])
def test_no_lease_where_the_cluster_has_given_the_device_or_there_is_none(log, tmp_path, environment):
    prepared_study(tmp_path, resources={"gpu": 1})
    log.wait(log.start(), "enters")
    status, said = Command(log, "train", "tiny.yaml", "sweep", PATH, **environment).ends()
    assert (status, said.count("\n")) == (2, 1)
    assert "torch sees no GPU here" in said


def test_several_devices_of_a_cluster_s_job_are_shared_out(log, tmp_path):
    prepared_study(tmp_path, resources={"gpu": 1})
    log.wait(log.start(devices=["a"]), "enters")
    environment = {"SLURM_JOB_ID": "7", "SOFTREG_DEVICES": "", "CUDA_VISIBLE_DEVICES": "a,b"}
    Command(log, "train", "tiny.yaml", "sweep", PATH, **environment).says("runs on GPU b")


@pytest.mark.slow
def test_no_lease_on_the_cpu_nor_with_nothing_left_to_train(log, tmp_path):
    ended(prepared_study(tmp_path, resources={"gpu": 1}), "diverged")
    log.wait(log.start(), "enters")
    assert Command(log, "train", "tiny.yaml", "sweep", PATH).ends() == (0, "")
    prepared_study(tmp_path, "cpu")
    status, said = Command(log, "train", "cpu.yaml", "sweep", PATH).ends()
    assert status == 0
    assert "GPU" not in said


def ended(study, status):
    """The cells of a path that have ended so, as far as their records tell; they and what they are scored with."""
    (described,) = Path("data/prepared").glob("*/dataset.json")
    content = read_json(described)["content_digest"]
    cells = make_cells(study, sweep_path(), ["1e-4", "1e-2"], places.results_folder(study), content)
    for cell in cells:
        record = {"status": status, "reason": "", "key": cell.key, "weights_sha256": None}
        seal(cell.folder / "cell.json", record, [])
        write_text(cell.folder / "weights.safetensors", "never loaded")
    return cells


def with_records(study):
    """A path that counts as trained and scored."""
    job = Graph(study).train(sweep_path())
    cells = ended(study, "finished")
    origin = origin_of([(cell, cell.record()) for cell in cells], scoring_key(study, "sweep", "convnet"))
    records.write(records.SCHEMA.empty_table(), job.makes[1], made_from=origin)
    write_json(job.makes[0], {"cells": []})
    job.end()


def crowd(log, tmp_path, armed, when="training"):
    """The tiny study with a network that runs out of memory ``when`` it trains or scores, and its environment."""
    (tmp_path / "crowded.py").write_text(CROWDED)
    study = prepared_study(tmp_path, resources={"gpu": 1}, models={"convnet": {"kind": "crowded.py:Crowded"}})
    return study, {"ARMED": str(armed(study)), "WHEN": when, "SOFTREG_JOBS_PER_GPU": "2"}


def meet(log, command):
    """A neighbour comes while the command runs, and stays until it waits to be alone."""
    until(Path("ready").exists)
    neighbour = log.start(jobs=2)
    log.wait(neighbour, "enters")
    Path("crowd").touch()
    command.says("tries again alone")
    command.says("waits until a is empty")
    return neighbour


@pytest.mark.slow
@pytest.mark.parametrize("fits", [True, False])
def test_out_of_memory_beside_a_neighbour_is_tried_again_alone(log, tmp_path, fits):
    """The cells that had finished stay, and the list of them is written in the end."""
    study, environment = crowd(log, tmp_path, lambda study: cell_folder(study, sweep_path(), "1e-4") / "cell.json")
    first, second = (cell_folder(study, sweep_path(), lambda_) / "cell.json" for lambda_ in ("1e-4", "1e-2"))
    command = pretended(log, "train", "tiny.yaml", "sweep", PATH, **environment)
    process = command.process.pid
    neighbour = meet(log, command)
    before = first.read_bytes()
    assert read_json(second)["status"] == "out-of-memory"
    assert not (first.parents[1] / "path.json").exists()
    # It is not served beside the one that waits to be alone, though there is room for two.
    late = log.start(jobs=2)
    log.wait(late, "waits")
    if fits:
        Path("crowd").unlink()
    log.leave(neighbour)
    assert command.ends()[0] == 0
    assert command.said.read_text().count("tries again alone") == 1
    assert "runs on GPU a alone" in command.said.read_text()
    assert first.read_bytes() == before
    listed = {cell["lambda"]: cell["status"] for cell in read_json(first.parents[1] / "path.json")["cells"]}
    assert listed == {"1e-4": "finished", "1e-2": "finished" if fits else "out-of-memory"}
    log.wait(late, "enters")
    assert command.process.pid == process


@pytest.mark.slow
@pytest.mark.parametrize("fits", [True, False])
def test_so_is_scoring_which_fails_if_it_does_not_fit_alone(log, tmp_path, fits):
    listing = Path("results/tiny/sweep") / PATH / "path.json"
    _, environment = crowd(log, tmp_path, lambda study: listing, when="scoring")
    scores = Path(environment["ARMED"]).with_name("val.parquet")
    command = pretended(log, "train", "tiny.yaml", "sweep", PATH, **environment)
    neighbour = meet(log, command)
    assert not scores.exists()
    if fits:
        Path("crowd").unlink()
    log.leave(neighbour)
    status, said = command.ends()
    assert (status, scores.exists()) == ((0, True) if fits else (1, False))
    assert ("OutOfMemoryError" in said) == (not fits)


@pytest.mark.slow
def test_out_of_memory_without_a_neighbour_is_a_result_at_once(log, tmp_path):
    study, environment = crowd(log, tmp_path, lambda study: cell_folder(study, sweep_path(), "1e-4") / "cell.json")
    Path("crowd").touch()
    status, said = pretended(log, "train", "tiny.yaml", "sweep", PATH, **environment).ends()
    assert (status, "tries again" in said) == (0, False)
    listed = read_json(places.results_folder(study) / "sweep" / PATH / "path.json")["cells"]
    assert [cell["status"] for cell in listed] == ["out-of-memory"] * 2


@pytest.fixture
def smi(tmp_path, monkeypatch):
    """A machine whose nvidia-smi tells of three GPUs."""
    program = tmp_path / "bin" / "nvidia-smi"
    program.parent.mkdir()
    program.write_text(SMI)
    program.chmod(0o755)
    monkeypatch.setenv("PATH", str(program.parent), prepend=os.pathsep)
    for name in ("SOFTREG_DEVICES", "CUDA_VISIBLE_DEVICES"):
        monkeypatch.delenv(name, raising=False)
    return program


@pytest.mark.parametrize(
    ("named", "found"),
    [
        (None, "aa11 bb22 cc33"),
        ("", ""),
        ("-1", ""),
        ("2", "cc33"),
        ("2, 0,2", "cc33 aa11"),
        ("0,-1,1", "aa11"),
        ("GPU-bb", "bb22"),
    ],
)
def test_devices_are_those_that_cuda_would_see_by_uuid(smi, monkeypatch, named, found):
    if named is not None:
        monkeypatch.setenv("CUDA_VISIBLE_DEVICES", named)
    assert gpu.devices() == [f"GPU-{device}" for device in found.split()]


def test_lines_of_nvidia_smi_that_name_no_device_are_passed_over(smi):
    smi.write_text("#!/bin/sh\necho 'WARNING: infoROM is corrupted at gpu 0'\necho '0, GPU-aa11, 5'\necho\n")
    assert gpu.devices() == ["GPU-aa11"]


def test_softreg_devices_takes_the_place_of_cudas(smi, monkeypatch):
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "0")
    monkeypatch.setenv("SOFTREG_DEVICES", "1,elsewhere")
    assert gpu.devices() == ["GPU-bb22", "elsewhere"]


def test_the_least_memory_in_use_decides_between_empty_devices(smi, log, tmp_path):
    prepared_study(tmp_path, resources={"gpu": 1})
    log.wait(log.start(devices=["GPU-cc33"]), "enters")
    Command(log, "train", "tiny.yaml", "sweep", PATH, SOFTREG_DEVICES="").says("runs on GPU GPU-bb22")


@pytest.mark.parametrize(
    ("limit", "most", "jobs"), [(None, 3, 1), (1, 1, 1), (3, 3, 1), (4, 4, 2), (6, 6, 2), (7, 7, 3)]
)
def test_a_limit_of_jobs_becomes_jobs_on_each_gpu(smi, monkeypatch, limit, most, jobs):
    for name in ("SOFTREG_JOBS_PER_GPU", "SOFTREG_DEVICES"):
        monkeypatch.setenv(name, "")
    assert gpu.share_out(limit) == most
    assert os.environ["SOFTREG_JOBS_PER_GPU"] == str(jobs)


def test_jobs_know_the_devices_though_nvidia_smi_fails_later(smi, monkeypatch):
    monkeypatch.setenv("SOFTREG_JOBS_PER_GPU", "")
    monkeypatch.setenv("SOFTREG_DEVICES", "")
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "0,2")
    gpu.share_out(None)
    smi.write_text("#!/bin/sh\nexit 9\n")
    assert gpu.devices() == ["GPU-aa11", "GPU-cc33"]


def test_a_wrong_number_of_jobs_is_told_in_a_sentence(log, tmp_path):
    prepared_study(tmp_path, resources={"gpu": 1})
    status, said = Command(log, "train", "tiny.yaml", "sweep", PATH, SOFTREG_JOBS_PER_GPU="two").ends()
    assert (status, said) == (
        2,
        "softreg: SOFTREG_JOBS_PER_GPU is 'two'; give the number of jobs that may share a GPU, from 1 to 255\n",
    )
