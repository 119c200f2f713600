"""What a cell's record and its layers.csv say, against its stored weights and history."""

import json
import math

import numpy as np
import pandas as pd
import pytest
from projects import cell_folder, normed, prepared_study, sweep_path
from safetensors.numpy import load_file

from softreg.running import stages

UNET = {
    "kind": "smp",
    "architecture": "unet",
    "encoder": "resnet18",
    "options": {"decoder_channels": [32, 16, 16, 8, 8]},
}
SGD = {"batch_size": 4, "crop": 32, "optimizer": "sgd", "lr": 0.05}
LAMBDA = 0.01


def trained(folder, name, model, penalty=None, **training):
    """The records, layers, history and weights of the one cell of a really trained path."""
    penalty = {"l1": {"lambda": [LAMBDA]}} if penalty is None else penalty
    (kind,) = penalty
    study = prepared_study(folder, name, models={"net": model}, penalties=penalty, training=SGD | training)
    path = sweep_path(kind, model="net")
    stages.train(study, path)
    (strength,) = study.penalties[kind]["lambda"]
    cell = cell_folder(study, path, strength)
    layers = pd.read_csv(cell / "layers.csv").set_index("layer")
    history = pd.read_csv(cell / "history.csv")
    state = load_file(cell / "weights.safetensors")
    weights = {layer: state[f"network.{layer}.weight"].astype(np.float64) for layer in layers.index}
    record = json.loads((cell / "cell.json").read_text())
    assert record["status"] == "finished", record
    return record, layers, history, weights


@pytest.fixture(scope="module")
def unet(tmp_path_factory):
    """Three epochs on a cosine, the decoder penalised."""
    folder = tmp_path_factory.mktemp("unet")
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(folder)
        yield trained(folder, "cosine", UNET, {"l1": {"lambda": [LAMBDA], "weights": "decoder"}}, epochs=3)


@pytest.fixture(scope="module")
def convnet(tmp_path_factory):
    folder = tmp_path_factory.mktemp("convnet")
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(folder)
        group = {"group_lasso": {"lambda": [0.1]}}
        yield trained(folder, "groups", {"kind": "convnet"}, group, epochs=2, schedule="constant")


@pytest.fixture(params=["unet", "convnet"])
def cell(request):
    return request.getfixturevalue(request.param)


def test_every_layer_as_its_weights_are(cell):
    _, layers, _, weights = cell
    for name, row in layers.iterrows():
        weight = weights[name]
        assert row.weights == weight.size
        assert row.filters == len(weight)
        assert row.dead_filters == sum(not filter_.any() for filter_ in weight)
        assert row.exact_zeros == np.sum(weight == 0)
        # One weight may lie on the bound in one precision and below it in another.
        assert row.near_zeros == pytest.approx(np.sum((np.abs(weight) < 0.01 * weight.std()) | (weight == 0)), abs=1)
        assert row.norm_l1 == pytest.approx(np.abs(weight).sum(), rel=1e-4)
        assert row.norm_l2 == pytest.approx(np.sqrt((weight**2).sum()), rel=1e-4)
    assert layers.exact_zeros.sum() > 0
    assert layers.exact_zeros.sum() < layers.weights.sum()
    assert (layers.near_zeros >= layers.exact_zeros).all()


def test_the_penalty_of_each_layer(unet, convnet):
    _, layers, _, weights = unet
    for name, row in layers.iterrows():
        assert row.penalised == (not name.startswith("encoder."))
        expected = LAMBDA * np.abs(weights[name]).sum() if row.penalised else 0
        assert row.penalty_value == pytest.approx(expected, rel=1e-4)
    _, layers, _, weights = convnet
    assert layers.penalised.all()
    assert layers.dead_filters.sum() > 0
    for name, weight in weights.items():
        groups = weight.reshape(len(weight), -1)
        expected = 0.1 * np.sqrt(groups.shape[1]) * np.linalg.norm(groups, axis=1).sum()
        assert layers.penalty_value[name] == pytest.approx(expected, rel=1e-5)


def test_the_record_sums_the_penalised_layers(cell):
    record, layers, history, _ = cell
    counted = layers[layers.penalised]
    for key in ("exact_zeros", "near_zeros", "filters", "dead_filters"):
        assert record[key] == counted[key].sum(), key
    assert record["penalised"] == counted.weights.sum()
    assert record["norm_l1"] == pytest.approx(counted.norm_l1.sum(), rel=1e-5)
    assert record["norm_l2"] == pytest.approx(np.sqrt((counted.norm_l2**2).sum()), rel=1e-6)
    assert record["penalty_value"] == pytest.approx(counted.penalty_value.sum(), rel=1e-12)
    last = history.iloc[-1]
    assert last.penalty == pytest.approx(record["penalty_value"], rel=1e-6)
    assert (last.exact_zeros, last.norm_l1, last.norm_l2) == tuple(
        record[key] for key in ("exact_zeros", "norm_l1", "norm_l2")
    )


def test_multiply_adds_skip_the_zeros(cell):
    record, layers, _, weights = cell
    positions = layers.macs // layers.weights
    assert (positions * layers.weights == layers.macs).all()
    for name, weight in weights.items():
        assert layers.macs_nonzero[name] == positions[name] * np.count_nonzero(weight)
    # Over all layers: what the network costs does not depend on where the penalty acts.
    assert record["macs"] == layers.macs.sum()
    assert record["macs_nonzero"] == layers.macs_nonzero.sum() < record["macs"]


def test_multiply_adds_are_those_of_an_image_that_is_scored(convnet):
    """Images of 16 × 24; pooling halves them twice, and the classifier runs before the upsampling."""
    _, layers, _, _ = convnet
    expected = [16 * 24 * 32 * 3 * 25, 8 * 12 * 64 * 32 * 25, 4 * 6 * 512 * 64, 4 * 6 * 4 * 512]
    assert layers.macs.tolist() == expected


def test_the_effective_rate_is_told_where_a_layer_is_normalised(unet, convnet):
    record, layers, _, _ = unet
    alive = layers.normalised & (layers.norm_l2 > 0)
    assert layers.effective_lr.notna().tolist() == alive.tolist()
    assert layers.index[~layers.normalised].tolist() == ["segmentation_head.0"]
    assert record["effective_lr"] == pytest.approx(np.exp(np.log(layers.effective_lr[alive]).mean()), rel=1e-12)
    record, layers, _, _ = convnet
    assert record["effective_lr"] is None
    assert layers.effective_lr.isna().all()


def test_kappa_sums_the_learning_rate_of_every_step(unet, convnet):
    record, _, history, _ = unet
    steps = 3 * 3
    rates = [0.05 * (1 + math.cos(math.pi * step / steps)) / 2 for step in range(steps)]
    assert history.lr.tolist() == pytest.approx([rates[2], rates[5], rates[8]])
    assert record["kappa"] == pytest.approx(LAMBDA * sum(rates), rel=1e-12)
    record, _, history, _ = convnet
    assert history.lr.tolist() == [0.05, 0.05]
    assert history.step.tolist() == [3, 6]
    assert record["kappa"] == pytest.approx(0.1 * 0.05 * 6, rel=1e-12)


def test_the_effective_rate_is_the_mean_over_epochs(tmp_path, monkeypatch):
    """Runs of one, two and three epochs at a constant rate go through the same weights, as l2 sets none to zero."""
    monkeypatch.chdir(tmp_path)
    l2, constant = {"l2": {"lambda": [LAMBDA]}}, {"schedule": "constant", "warmup_epochs": 0}
    runs = [trained(tmp_path, f"run{n}", normed(tmp_path), l2, epochs=n, **constant) for n in (1, 2, 3)]
    rates = [{name: 0.05 / (weight**2).sum() for name, weight in run[3].items()} for run in runs]
    for count, (_, layers, _, _) in enumerate(runs, start=1):
        for name in layers.index[layers.normalised & (layers.norm_l2 > 0)]:
            expected = np.mean([each[name] for each in rates[:count]])
            assert layers.effective_lr[name] == pytest.approx(expected, rel=1e-4)
    # The norms do change: the last epoch alone is not the mean.
    assert not np.isclose(runs[2][1].effective_lr.iloc[0], rates[2][runs[2][1].index[0]], rtol=1e-3)


@pytest.mark.parametrize(("kind", "strength"), [("none", 0), ("dropout", 0.3), ("label_smoothing", 0.1)])
def test_no_penalty_no_kappa(tmp_path, monkeypatch, kind, strength):
    monkeypatch.chdir(tmp_path)
    entry = {kind: {"lambda": [strength]}}
    record, layers, history, _ = trained(tmp_path, "plain", {"kind": "convnet"}, entry, epochs=1)
    assert (record["kappa"], record["penalty_value"], history.penalty[0]) == (0, 0, 0)
    assert layers.penalty_value.tolist() == [0] * 4
    assert layers.penalised.all()
