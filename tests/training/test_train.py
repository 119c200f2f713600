"""Training a path: what is shared between cells and what is not, how cells end, and exact resumption."""

import csv
import os
import pty
import random
import signal
import sys
import termios
import time
from pathlib import Path

import numpy as np
import programs
import pytest
import torch
from projects import cell_folder, prepared_study, sweep_path
from safetensors.torch import load_file, save_file
from trainers import bench_of

from softreg import networks
from softreg.data.datasets import prepared_folder
from softreg.errors import UserError
from softreg.files import read_json, sha256_file, write_json
from softreg.running import stages
from softreg.running.graph import Graph
from softreg.study.matrix import parse_path
from softreg.training.device import open_device
from softreg.training.imageset import open_split, open_training
from softreg.training.objectives import IGNORE

#: λ so small that the prox moves no weight, while the whole machinery of the penalty runs.
NEGLIGIBLE = 1e-300


@pytest.fixture(autouse=True)
def _project(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)


def _weights(study, path, lambda_):
    return sha256_file(cell_folder(study, path, lambda_) / "weights.safetensors")


def _record(study, path, lambda_):
    return read_json(cell_folder(study, path, lambda_) / "cell.json")


def test_every_penalty_sees_the_same_random_numbers(tmp_path):
    study = prepared_study(tmp_path, penalties={"none": {}, "l1": {"lambda": [NEGLIGIBLE]}})
    stages.train(study, sweep_path("none"))
    stages.train(study, sweep_path("l1"))
    assert _weights(study, sweep_path("none"), "0") == _weights(study, sweep_path("l1"), "1e-300")


def test_another_seed_gives_other_weights(tmp_path):
    study = prepared_study(tmp_path, seeds={"tuning": [0, 1], "evaluation": [100]})
    for seed in (0, 1):
        stages.train(study, sweep_path("none", seed))
    assert _weights(study, sweep_path("none", 0), "0") != _weights(study, sweep_path("none", 1), "0")


@pytest.mark.parametrize("optimizer", ["sgd", "adam"])
def test_a_cell_does_not_feel_the_cells_before_it(tmp_path, optimizer):
    training = {"epochs": 2, "batch_size": 4, "optimizer": optimizer, "lr": 1e-3}
    grid = {"none": {}, "l1": {"lambda": [1e-4, 1e-3, 1e-2]}}
    whole = prepared_study(tmp_path, "whole", training=training, penalties=grid)
    alone = prepared_study(tmp_path, "alone", training=training, penalties={**grid, "l1": {"lambda": [1e-2]}})
    stages.train(whole, sweep_path())
    stages.train(alone, sweep_path())
    assert _weights(whole, sweep_path(), "1e-2") == _weights(alone, sweep_path(), "1e-2")


def test_an_added_lambda_is_all_that_trains(tmp_path):
    study = prepared_study(tmp_path)
    stages.train(study, sweep_path())
    before = {
        lambda_: (cell_folder(study, sweep_path(), lambda_) / "cell.json").stat().st_mtime_ns
        for lambda_ in ("1e-4", "1e-2")
    }
    study = prepared_study(tmp_path, penalties={"none": {}, "l1": {"lambda": [1e-4, 1e-3, 1e-2]}})
    stages.train(study, sweep_path())
    after = {
        lambda_: (cell_folder(study, sweep_path(), lambda_) / "cell.json").stat().st_mtime_ns for lambda_ in before
    }
    assert after == before
    listed = read_json(cell_folder(study, sweep_path(), "1e-3").parent / "path.json")["cells"]
    assert [(cell["lambda"], cell["status"]) for cell in listed] == [(x, "finished") for x in ("1e-4", "1e-3", "1e-2")]


def test_what_changes_the_weights_trains_them_again(tmp_path):
    study = prepared_study(tmp_path)
    stages.train(study, sweep_path())
    before = _record(study, sweep_path(), "1e-4")
    study = prepared_study(tmp_path, training={"epochs": 3, "batch_size": 4, "optimizer": "adam", "lr": 2e-3})
    stages.train(study, sweep_path())
    after = _record(study, sweep_path(), "1e-4")
    assert after["key"] != before["key"]
    assert after["weights_sha256"] != before["weights_sha256"]


def test_other_pretrained_weights_under_the_same_name_train_again(tmp_path):
    unet = {"kind": "smp", "architecture": "unet", "encoder": "resnet18", "weights": "encoder.safetensors"}
    keys = []
    for seed in (0, 1):
        torch.manual_seed(seed)
        state = networks.build({**unet, "weights": "none", "options": {}}, 4).network.encoder.state_dict()
        save_file(state, tmp_path / "encoder.safetensors")
        study = prepared_study(tmp_path, models={"unet": unet})
        keys.append(Graph(study).train(parse_path("sweep", "shapes/unet/l1/seed0")).key)
    assert keys[0] != keys[1]


def test_records_tell_the_truth_about_the_weights(tmp_path):
    study = prepared_study(tmp_path)
    stages.train(study, sweep_path())
    record = _record(study, sweep_path(), "1e-2")
    state = load_file(cell_folder(study, sweep_path(), "1e-2") / "weights.safetensors")
    penalised = torch.cat([tensor.flatten() for tensor in state.values() if tensor.ndim > 1]).double()
    assert record["penalised"] == len(penalised)
    assert record["parameters"] == sum(tensor.numel() for name, tensor in state.items() if name not in ("mean", "std"))
    assert record["exact_zeros"] == int((penalised == 0).sum()) > 0
    assert record["norm_l1"] == pytest.approx(float(penalised.abs().sum()), rel=1e-5)
    assert record["norm_l2"] == pytest.approx(float(penalised.norm()), rel=1e-5)
    assert record["steps"] == 3 * (12 // 4)
    with (cell_folder(study, sweep_path(), "1e-2") / "history.csv").open() as file:
        rows = list(csv.DictReader(file))
    assert [int(row["epoch"]) for row in rows] == [1, 2, 3]
    assert float(rows[-1]["penalty"]) == pytest.approx(0.01 * record["norm_l1"], rel=1e-6)
    assert int(rows[-1]["exact_zeros"]) == record["exact_zeros"]


def test_a_diverged_cell_is_a_result_and_the_path_goes_on(tmp_path):
    study = prepared_study(
        tmp_path,
        penalties={"none": {}, "l2": {"lambda": [1e-4, 1e-3], "realisation": "subgradient"}},
        training={"epochs": 2, "batch_size": 4, "optimizer": "sgd", "schedule": "constant"},
    )
    study.training["lr"] = 1e20  # more than a study may ask for
    stages.train(study, sweep_path("l2"))
    for lambda_ in ("1e-4", "1e-3"):
        record = _record(study, sweep_path("l2"), lambda_)
        assert record["status"] == "diverged"
        assert "not finite after epoch 1" in record["reason"]
        assert not (cell_folder(study, sweep_path("l2"), lambda_) / "weights.safetensors").exists()


def test_a_cell_that_needs_more_memory_than_there_is_says_so(tmp_path):
    study = prepared_study(tmp_path, training={"epochs": 1, "batch_size": 1, "lr": 1e-3})
    study.training["crop"] = [4_000_000, 4_000_000]  # more than a study may ask for, so that no machine has the memory
    stages.train(study, sweep_path())
    record = _record(study, sweep_path(), "1e-4")
    assert record["status"] == "out-of-memory"
    assert record["log_tail"]


def test_a_network_that_cannot_take_the_batch_fails_with_its_reason(tmp_path):
    deeplab = {"kind": "smp", "architecture": "deeplabv3plus", "encoder": "resnet18"}
    training = {"epochs": 1, "batch_size": 1, "crop": 32, "lr": 1e-3}
    study = prepared_study(tmp_path, models={"deeplab": deeplab}, training=training)
    stages.train(study, sweep_path(model="deeplab"))
    record = _record(study, sweep_path(model="deeplab"), "1e-4")
    assert record["status"] == "failed"
    assert "more than 1 value per channel" in record["reason"]


def test_layers_that_no_output_passes_through_are_not_penalised(tmp_path):
    unet = {
        "kind": "smp",
        "architecture": "unet",
        "encoder": "resnet18",
        "options": {"encoder_depth": 4, "decoder_channels": [64, 32, 16, 8]},
    }
    study = prepared_study(tmp_path, models={"unet": unet}, training={"crop": 32})
    bench = bench_of(study, sweep_path(model="unet"))
    last_stage = {id(weight) for weight in bench.model.network.encoder.layer4.parameters() if weight.ndim > 1}
    assert last_stage
    assert not last_stage & {id(weight) for weight in bench.regulariser.weights}
    assert len(bench.regulariser.weights) == len(bench.model.layers()) - len(last_stage)


def test_a_study_that_asks_for_a_gpu_is_not_trained_without_one(tmp_path):
    if torch.cuda.is_available():
        assert open_device(1, 1).type == "cuda"
        return
    study = prepared_study(tmp_path, resources={"gpu": 1})
    with pytest.raises(UserError, match=r"resources\.gpu is set but torch sees no GPU"):
        stages.train(study, sweep_path())


def test_folds_part_train_and_val_and_never_touch_test(tmp_path):
    study = prepared_study(tmp_path, selection={"scorer": "kfold", "folds": 3})
    folder = prepared_folder(study, "shapes")
    pool = {*open_split(folder, "train").ids, *open_split(folder, "val").ids}
    held = []
    for fold in range(3):
        train, val = open_training(folder, fold, study.selection)
        assert {*train.ids, *val.ids} == pool
        assert not {*train.ids} & {*val.ids}
        held += val.ids
    assert sorted(held) == sorted(pool)
    (image, mask), original = train.read([0]), open_split(folder, "train")
    row = original.ids.index(train.ids[0])
    assert (image[0] == original.parts[0][0][row]).all()
    assert (mask[0] == original.parts[0][1][row]).all()


def test_folds_keep_groups_together_and_fill_evenly(tmp_path):
    study = prepared_study(tmp_path, selection={"scorer": "kfold", "folds": 3})
    folder = prepared_folder(study, "shapes")
    about = read_json(folder / "dataset.json")
    patient = {name: f"patient{place // 2}" for place, name in enumerate(about["ids"]["train"] + about["ids"]["val"])}
    about["groups"] = {part: [patient.get(name) for name in names] for part, names in about["ids"].items()}
    write_json(folder / "dataset.json", about)
    for fold in range(3):
        train, val = open_training(folder, fold, study.selection)
        assert len(val) == 6
        assert not {patient[name] for name in train.ids} & {patient[name] for name in val.ids}
    with pytest.raises(UserError, match="belong to 9 groups, which stay together; give at most 9"):
        open_training(folder, 0, {"folds": 10})


def test_folds_take_class_weights_from_the_images_that_they_train_on(tmp_path):
    study = prepared_study(tmp_path, selection={"scorer": "kfold", "folds": 3})
    folder = prepared_folder(study, "shapes")
    classes = len(read_json(folder / "dataset.json")["classes"])
    for fold in range(3):
        bench = bench_of(study, sweep_path(fold=fold))
        masks = bench.train.source.read(range(len(bench.train.source)))[1]
        assert bench.class_shares == [np.mean(masks[masks != IGNORE] == index) for index in range(classes)]


def test_a_fold_without_a_class_is_refused(tmp_path):
    study = prepared_study(tmp_path, selection={"scorer": "kfold", "folds": 3})
    folder = prepared_folder(study, "shapes")
    held = open_training(folder, 1, study.selection)[1]
    for part, name in enumerate(("train", "val")):
        masks = np.load(folder / name / "masks.npy", mmap_mode="r+")
        others = [row for row in range(len(masks)) if (part, row) not in map(tuple, held.rows)]
        masks[others] = np.where(masks[others] == 2, 0, masks[others])
        masks.flush()
    classes = read_json(folder / "dataset.json")["classes"]
    bench_of(study, sweep_path(fold=0))
    words = rf"selection\.folds is 3, and fold 1 of shapes leaves no pixel of the class '{classes[2]}' to train on; "
    with pytest.raises(UserError, match=words):
        bench_of(study, sweep_path(fold=1))


OWN = """
import torch
from torch import nn


class Blown(nn.Module):
    \"""Its normalisation remembers a variance that is not finite; what it puts out in training is finite.\"""

    def __init__(self, classes):
        super().__init__()
        self.norm, self.head = nn.BatchNorm2d(3), nn.Conv2d(3, classes, 1)
        self.register_buffer("mask", torch.tensor([-torch.inf, 0.0]))

    def forward(self, images):
        logits = self.head(self.norm(images))
        if self.training:
            self.norm.running_var.data[1] = SPOILT
        return logits


class Tied(nn.Module):
    def __init__(self, classes):
        super().__init__()
        self.first, self.second, self.head = nn.Conv2d(3, 3, 1), nn.Conv2d(3, 3, 1), nn.Conv2d(3, classes, 1)
        self.second.weight = self.first.weight

    def forward(self, images):
        return self.head(self.second(self.first(images)))
"""


@pytest.mark.parametrize(
    ("spoilt", "status"), [("torch.inf", "diverged"), ("torch.nan", "diverged"), ("2.0", "finished")]
)
def test_running_statistics_that_are_not_finite_are_a_divergence(tmp_path, spoilt, status):
    Path("own.py").write_text(OWN.replace("SPOILT", spoilt))
    study = prepared_study(tmp_path, models={"blown": {"kind": "own.py:Blown"}})
    stages.train(study, sweep_path("none", model="blown"))
    assert _record(study, sweep_path("none", model="blown"), "0")["status"] == status


def test_a_weight_of_two_layers_is_refused(tmp_path):
    Path("own.py").write_text(OWN.replace("SPOILT", "2.0"))
    study = prepared_study(tmp_path, models={"tied": {"kind": "own.py:Tied"}})
    with pytest.raises(UserError, match="layers first and second share one weight; call the one layer twice instead"):
        stages.train(study, sweep_path(model="tied"))


def _start(study, path):
    """The command, and what it says on standard error."""
    pipe = Path(f"{study.name}.pipe")
    if not pipe.exists():
        os.mkfifo(pipe)
    files = os.devnull, str(pipe.resolve())
    process = programs.start(Path(), "softreg", "train", study.file, path.phase, path.name, files=files)
    return process, pipe.open()


LONG = {"epochs": 15, "batch_size": 2, "optimizer": "adam", "lr": 1e-3, "checkpoint_seconds": 0.01}


@pytest.fixture(scope="module")
def undisturbed(tmp_path_factory):
    """The records of a path by its λ."""
    folder = tmp_path_factory.mktemp("undisturbed")
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(folder)
        study = prepared_study(folder, training=LONG)
        stages.train(study, sweep_path())
        return {lambda_: _record(study, sweep_path(), lambda_) for lambda_ in ("1e-4", "1e-2")}


@pytest.mark.slow
def test_a_killed_path_ends_with_the_weights_of_an_undisturbed_one(tmp_path, undisturbed):
    """SIGKILL at five moments: after a random line of the log, and a random moment of the epoch that follows."""
    moments = random.Random(0)
    killed = prepared_study(tmp_path, "killed", training=LONG)
    for _ in range(5):
        process, said = _start(killed, sweep_path())
        with said:
            for _line in range(moments.randint(1, 2)):
                said.readline()
            deadline = time.perf_counter() + moments.uniform(0, 0.1)
            while time.perf_counter() < deadline:
                pass
            process.kill()
            process.join()
        assert process.exitcode == -signal.SIGKILL
    assert list((tmp_path / "results" / "killed").rglob("checkpoint.pt"))
    stages.train(killed, sweep_path())
    for lambda_, record in undisturbed.items():
        assert _weights(killed, sweep_path(), lambda_) == record["weights_sha256"]
        assert _record(killed, sweep_path(), lambda_)["steps"] == record["steps"]


@pytest.mark.slow
@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGHUP])
def test_a_signal_checkpoints_and_leaves_within_ten_seconds(tmp_path, undisturbed, number):
    stopped = prepared_study(tmp_path, "stopped", training={**LONG, "checkpoint_seconds": 600})
    process, stderr = _start(stopped, sweep_path())
    with stderr:
        stderr.readline()
        os.kill(process.pid, number)
        asked = time.monotonic()
        said = stderr.read()
        process.join()
    assert time.monotonic() - asked < 10
    assert process.exitcode == 143
    assert "run it again to go on" in said
    assert "Traceback" not in said
    assert (cell_folder(stopped, sweep_path(), "1e-4") / "checkpoint.pt").exists()
    stages.train(stopped, sweep_path())
    assert _weights(stopped, sweep_path(), "1e-2") == undisturbed["1e-2"]["weights_sha256"]


@pytest.mark.slow
def test_a_terminal_that_is_closed_stops_it_at_a_checkpoint(tmp_path):
    stopped = prepared_study(tmp_path, "stopped", training={**LONG, "checkpoint_seconds": 600})
    process, terminal = pty.fork()
    if not process:
        command = ["-m", "softreg.cli", "train", "stopped.yaml", "sweep", sweep_path().name]
        os.execv(sys.executable, [sys.executable, *command])
    termios.tcsetwinsize(terminal, (24, 200))
    said = b""
    # Until it trains: the bar tells of the first epoch.
    while b"epoch 1/15" not in said:
        said += os.read(terminal, 1000)
    os.close(terminal)
    assert os.waitstatus_to_exitcode(os.waitpid(process, 0)[1]) == 143
    assert (cell_folder(stopped, sweep_path(), "1e-4") / "checkpoint.pt").exists()


def test_a_damaged_checkpoint_is_not_trusted(tmp_path):
    undisturbed = prepared_study(tmp_path, "undisturbed")
    stages.train(undisturbed, sweep_path())
    damaged = prepared_study(tmp_path, "damaged")
    folder = cell_folder(damaged, sweep_path(), "1e-4")
    folder.mkdir(parents=True)
    (folder / "checkpoint.pt").write_bytes(b"half a file")
    stages.train(damaged, sweep_path())
    assert _weights(damaged, sweep_path(), "1e-4") == _weights(undisturbed, sweep_path(), "1e-4")


@pytest.mark.parametrize("array", ["train/images.npy", "val/masks.npy"])
def test_damaged_arrays_are_told_and_prepared_again(tmp_path, array):
    study = prepared_study(tmp_path, "damaged")
    file = prepared_folder(study, "shapes") / array
    whole = file.read_bytes()
    file.write_bytes(whole[:-4] + bytes(byte ^ 1 for byte in whole[-4:]))
    with pytest.raises(UserError, match=r"is damaged: .* run `softreg prepare .* shapes` first"):
        stages.train(study, sweep_path())
    stages.prepare(study, "shapes")
    assert file.read_bytes() == whole
    stages.train(study, sweep_path())
