"""The averaged weights against a sum written out, what becomes of zeros, and exact resumption."""

import numpy as np
import pytest
import torch
from projects import cell_folder, choose_by_hand, normed, prepared_study, sweep_path
from safetensors.torch import load_file
from torch import nn
from trainers import bench_of, same, state, trainer

from softreg.data.datasets import prepared_folder
from softreg.files import read_json
from softreg.networks.segmenter import LAST
from softreg.running import stages
from softreg.running.graph import Graph
from softreg.scoring import records
from softreg.scoring.evaluate import score
from softreg.study.matrix import TrainingPath
from softreg.training.average import Average
from softreg.training.imageset import Batches, open_split
from softreg.training.stopping import Interrupted, StopRequest

TRAINING = {"epochs": 2, "batch_size": 4, "crop": 32, "optimizer": "adam", "lr": 1e-3, "average": 0.7}


@pytest.fixture(autouse=True)
def _project(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)


def test_the_average_weighs_each_step_by_its_age_alone():
    decay, random = 0.8, np.random.default_rng(0)
    layer = nn.BatchNorm1d(4).double()
    average, seen = Average(layer, decay), []
    for step in range(30):
        with torch.no_grad():
            for tensor in (layer.weight, layer.running_var):
                tensor.copy_(torch.from_numpy(random.standard_normal(4)))
        seen.append([layer.weight.detach().numpy().copy(), layer.running_var.numpy().copy()])
        average.update(step + 1)
    shares = decay ** np.arange(29, -1, -1)
    expected = np.einsum("s,s...->...", shares / shares.sum(), np.array(seen))
    with average.applied():
        np.testing.assert_allclose(layer.weight.detach().numpy(), expected[0], rtol=1e-12)
        np.testing.assert_allclose(layer.running_var.numpy(), expected[1], rtol=1e-12)
    assert np.array_equal(layer.weight.detach().numpy(), seen[-1][0])


def test_what_is_zero_at_the_end_is_zero_in_the_average():
    layer = nn.Linear(3, 1)
    average = Average(layer, 0.9)
    for step, values in enumerate(([1.0, 2.0, 3.0], [0.0, 2.0, 0.0], [1.0, 2.0, 0.0])):
        with torch.no_grad():
            layer.weight.copy_(torch.tensor([values]))
        average.update(step + 1)
    with average.applied():
        assert (layer.weight != 0).tolist() == [[True, True, False]]


@pytest.mark.parametrize(("optimizer", "average"), [("sgd", None), ("adam", None), ("adam", 0.7)])
def test_an_interrupted_training_ends_with_the_same_weights_statistics_and_average(tmp_path, optimizer, average):
    training = {**TRAINING, "optimizer": optimizer, "average": average}
    study = prepared_study(tmp_path, models={"normed": normed(tmp_path)}, training=training)
    bench, late = bench_of(study, sweep_path(model="normed")), StopRequest()

    def ended(of):
        assert of.progress.epoch == (of.file.name == "halves.pt")
        of.run()
        with of.averaged():
            averaged = state(bench)
        return averaged, state(bench)

    whole = ended(trainer(bench, 1e-3, tmp_path / "whole.pt"))
    with pytest.raises(Interrupted):
        trainer(bench, 1e-3, tmp_path / "halves.pt", late, lambda row: setattr(late, "signal", 15)).run()
    assert all(map(same, ended(trainer(bench, 1e-3, tmp_path / "halves.pt")), whole))
    means = [each["network.1.running_mean"] for each in whole]
    assert torch.equal(*means) == (average is None)


def test_averaging_changes_no_step_and_both_are_kept_and_scored(tmp_path):
    """The last weights are those of a training without an average; on test both are scored, on val the average is."""
    training = {**TRAINING, "epochs": 3}
    plain = prepared_study(tmp_path, "plain", training={**training, "average": None}, penalties={"none": {}})
    study = prepared_study(tmp_path, "averaged", training=training, penalties={"none": {}})
    path = TrainingPath("final", "shapes", "convnet", "none", 100)
    for each in (plain, study):
        choose_by_hand(each, path.group, "0")
        stages.train(each, path)
    folder = cell_folder(study, path, "0")
    stored = load_file(folder / "weights.safetensors")
    last = {name.removeprefix(LAST): tensor for name, tensor in stored.items() if name.startswith(LAST)}
    without = load_file(cell_folder(plain, path, "0") / "weights.safetensors")
    assert same(last, without)
    bench = bench_of(study, path)
    rows = {
        row["split"]: row for row in records.read([folder.parent / "sums.parquet"], schema=records.SUMS).to_pylist()
    }
    for split, weights in ((records.LAST_TEST, last), ("test", {name: stored[name] for name in last})):
        bench.model.load_state_dict(weights)
        counted, _ = score(
            bench.model, Batches(open_split(prepared_folder(study, "shapes"), "test"), torch.device("cpu")), 8
        )
        assert rows[split]["tp"] == counted["tp"].sum(0).tolist()
        assert rows[split]["nll_sum"] == pytest.approx(counted["nll_sum"].sum())
    assert rows["test"]["nll_sum"] != rows[records.LAST_TEST]["nll_sum"]
    squares = sum(
        float(tensor.double().square().sum()) for name, tensor in stored.items() if tensor.ndim > 1 and name in last
    )
    assert read_json(folder / "cell.json")["norm_l2"] == pytest.approx(squares**0.5, rel=1e-6)


def test_a_study_without_an_average_is_as_before(tmp_path):
    study = prepared_study(tmp_path)
    stages.train(study, sweep_path("none"))
    names = load_file(cell_folder(study, sweep_path("none"), "0") / "weights.safetensors")
    assert not any(name.startswith(LAST) for name in names)
    averaged = prepared_study(tmp_path, training={**study.training, "average": 0.9})
    assert Graph(averaged).train(sweep_path("none")).key != Graph(study).train(sweep_path("none")).key
