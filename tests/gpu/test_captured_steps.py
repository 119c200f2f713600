"""A path whose steps are replayed from a CUDA graph: the bits are those of steps launched kernel by kernel."""

from dataclasses import replace
from pathlib import Path

import pytest
import torch
from projects import cell_folder, prepared_study, sweep_path
from small import STUDY, StopAfter

from softreg.data.datasets import prepared_folder
from softreg.files import read_json
from softreg.running import stages
from softreg.training import imageset
from softreg.training.cell import CellTrainer
from softreg.training.device import open_device
from softreg.training.path import make_bench
from softreg.training.stopping import Interrupted, StopRequest

pytestmark = pytest.mark.gpu

UNET = {"kind": "smp", "architecture": "unet", "encoder": "resnet18", "weights": "none"}


@pytest.fixture(autouse=True)
def _project(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)


def bench_of(study, path, eager=False, said=None):
    bench = make_bench(study, path, prepared_folder(study, "shapes"), 4, open_device(1, 1))
    return replace(bench, eager=eager, say=([] if said is None else said).append)


def trained(bench, strength, name="checkpoint.pt", stop=None):
    trainer = CellTrainer(bench, strength, Path(name), "key", stop or StopRequest(), lambda row: None)
    trainer.run()
    Path(name).unlink()
    return trainer, [tensor.clone() for tensor in bench.model.state_dict().values()]


def same(some, others):
    return all(torch.equal(*pair) for pair in zip(some, others, strict=True))


#: Kind, strengths, realisation, optimiser: every branch of an update.
CASES = [
    ("none", [0.0], None, "adam"),
    ("l1", [1e-4, 1e-3, 1e-2], "proximal", "adam"),
    ("l1", [1e-4, 1e-3, 1e-2], "proximal", "sgd"),
    ("soft", [1e-3, 1e-2], "proximal", "adam"),
    ("group_lasso", [1e-3, 1e-2], "proximal", "adam"),
    ("group_lasso", [1e-3, 1e-2], "proximal", "sgd"),
    ("l2", [1e-3, 1e-2], "subgradient", "adam"),
    ("decoupled_decay", [0.1, 1.0], None, "adam"),
    ("l2_sp", [1e-2], None, "sgd"),
    ("dropout", [0.2, 0.5], None, "adam"),
    ("label_smoothing", [0.1, 0.2], None, "sgd"),
    ("pruning", [0.3, 0.8], None, "adam"),
]


MODELS = [{"kind": "convnet"}] * len(CASES) + [UNET] * 4


@pytest.mark.parametrize(
    ("model", "kind", "strengths", "realisation", "optimizer"),
    [(model, *case) for model, case in zip(MODELS, CASES + CASES[:4], strict=True)],
)
def test_a_captured_path_has_the_bits_of_an_eager_one(tmp_path, model, kind, strengths, realisation, optimizer):
    """All cells of a path on one bench, against each on a bench of its own."""
    entry = {"lambda": strengths} | ({"realisation": realisation} if realisation else {})
    penalties = {"none": {}} | ({kind: entry} if kind != "none" else {})
    training = {**STUDY["training"], "optimizer": optimizer, "average": 0.9}
    changes = {"models": {"m": model}, "penalties": penalties, "training": training}
    study, path = prepared_study(tmp_path, **{**STUDY, **changes}), sweep_path(kind, model="m")
    said, graphs = [], set()
    bench = bench_of(study, path, said=said)
    for strength in strengths:
        trainer, found = trained(bench, strength)
        assert trainer.step.learn.graph is not None, said
        graphs.add(trainer.step.learn.graph)
        _, wanted = trained(bench_of(study, path, eager=True), strength)
        assert same(found, wanted)
    # Dropout and label smoothing are fixed when a step is captured; all else is read where it runs.
    assert len(graphs) == (len(strengths) if kind in ("dropout", "label_smoothing") else 1)
    assert said == []


def test_a_set_too_large_for_the_gpu_gives_the_same_bits(tmp_path, monkeypatch):
    study = prepared_study(tmp_path, **{**STUDY, "models": {"m": UNET}})
    _, resident = trained(bench_of(study, sweep_path(model="m")), 1e-3)
    monkeypatch.setattr(imageset, "_DEVICE_SHARE", 0.0)
    bench = bench_of(study, sweep_path(model="m"))
    assert bench.train.resident is None
    trainer, streamed = trained(bench, 1e-3)
    assert trainer.step.learn.graph is not None
    assert same(resident, streamed)


@pytest.mark.parametrize("steps", [0, 1, 4])
@pytest.mark.parametrize("optimizer", ["sgd", "adam"])
def test_a_captured_cell_goes_on_from_its_checkpoint_to_the_same_bits(tmp_path, steps, optimizer):
    """In a process that has its graph from another cell, and in one that has none yet."""
    training = {**STUDY["training"], "optimizer": optimizer}
    study = prepared_study(tmp_path, **{**STUDY, "models": {"m": UNET}, "training": training})
    path = sweep_path(model="m")
    bench = bench_of(study, path)
    _, whole = trained(bench, 1e-3)
    for later in (bench, bench_of(study, path)):
        with pytest.raises(Interrupted):
            trained(bench, 1e-3, "halves.pt", StopAfter(steps))
        trainer, halves = trained(later, 1e-3, "halves.pt")
        assert trainer.step.learn.graph is not None
        assert same(whole, halves)


OWN = """
import random
import torch
from torch import nn


class Net(nn.Module):
    def __init__(self, classes):
        super().__init__()
        self.first, self.head = nn.Conv2d(3, 8, 3, padding=1), nn.Conv2d(8, classes, 1)

    def forward(self, images):
        return self.head(self.first(images).relu() * self.factor(images))


class Asks(Net):
    def factor(self, images):
        return 2.0 if images.mean().item() > 0 else 1.0


class Waits(Net):
    def factor(self, images):
        torch.cuda.synchronize()
        return 2.0


class Draws(Net):
    def factor(self, images):
        # The host is far ahead when it finds that this is no step to capture.
        torch.cuda._sleep(50_000_000)
        return 2.0 if torch.rand(()) > 0.5 else 1.0


class Counts(Net):
    done = 0

    def factor(self, images):
        self.done += 1
        return 1.0 + self.done
"""


@pytest.mark.parametrize("name", ["Asks", "Waits", "Draws", "Counts"])
def test_a_network_that_cannot_be_captured_is_trained_all_the_same(tmp_path, capfd, name):
    """`Counts` is no network to study, as it depends on how often it is called; but no graph must hide that."""
    Path("own.py").write_text(OWN)
    study = prepared_study(tmp_path, **{**STUDY, "models": {"m": {"kind": f"own.py:{name}"}}})
    stages.train(study, sweep_path(model="m"))
    assert capfd.readouterr().err.count("steps are not captured in a CUDA graph") == 1
    records = [read_json(cell_folder(study, sweep_path(model="m"), x) / "cell.json") for x in ("1e-4", "1e-2")]
    assert [record["status"] for record in records] == ["finished", "finished"]
    if name == "Counts":
        return
    eager = prepared_study(tmp_path, "eager", **{**STUDY, "models": {"m": {"kind": f"own.py:{name}"}}})
    stages.train(eager, sweep_path(model="m"), eager=True)
    others = [read_json(cell_folder(eager, sweep_path(model="m"), x) / "cell.json") for x in ("1e-4", "1e-2")]
    assert [one["weights_sha256"] for one in records] == [other["weights_sha256"] for other in others]


def test_a_cell_that_runs_out_of_memory_says_so_and_the_next_path_trains(tmp_path):
    study = prepared_study(tmp_path, **{**STUDY, "models": {"m": UNET}})
    study.training["crop"] = [40_000, 40_000]  # more than a study may ask for
    stages.train(study, sweep_path(model="m"))
    assert read_json(cell_folder(study, sweep_path(model="m"), "1e-4") / "cell.json")["status"] == "out-of-memory"
    study = prepared_study(tmp_path, "again", **{**STUDY, "models": {"m": UNET}})
    stages.train(study, sweep_path(model="m"))
    assert read_json(cell_folder(study, sweep_path(model="m"), "1e-4") / "cell.json")["status"] == "finished"
