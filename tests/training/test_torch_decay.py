"""Weight decay against torch's own optimisers, over a hundred steps of the same training."""

import pytest
import torch
from projects import prepared_study, sweep_path
from torch import nn
from trainers import bench_of, state, trainer

pytestmark = pytest.mark.slow

#: A network with both kinds of normalisation, with and without biases, a gain, and a layer that no output depends on.
NETWORK = """
import torch
from torch import nn


class Gain(nn.Module):
    def __init__(self):
        super().__init__()
        self.gain = nn.Parameter(torch.tensor(1.5))

    def forward(self, values):
        return self.gain * values


class Net(nn.Sequential):
    def __init__(self, classes):
        idle = nn.Identity()
        idle.unused = nn.Conv2d(2, 2, 1)
        super().__init__(
            nn.Conv2d(3, 8, 3, padding=1, bias=False), nn.BatchNorm2d(8), nn.ReLU(),
            nn.ConvTranspose2d(8, 12, 3, padding=1, groups=2), nn.GroupNorm(3, 12), nn.ReLU(),
            nn.Conv2d(12, classes, 1), Gain(), idle,
        )
"""
STEPS = 100
DECAY = 0.02
RULES = {
    "sgd": {"optimizer": "sgd", "lr": 0.1, "momentum": 0.9},
    "adam": {"optimizer": "adam", "lr": 0.01},
}
#: How torch is called for each entry; SoftReg's rate is that of an averaged gradient, 1/(1 − μ) times torch's.
ASKED = {"weight_decay": DECAY, "fused": True}
TORCH = {
    ("weight_decay", "sgd"): lambda groups: torch.optim.SGD(groups, 0.1 * (1 - 0.9), 0.9, **ASKED),
    ("weight_decay", "adam"): lambda groups: torch.optim.Adam(groups, 0.01, **ASKED),
    ("adamw", "adam"): lambda groups: torch.optim.AdamW(groups, 0.01, **ASKED),
}


@pytest.fixture(autouse=True)
def _project(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "net.py").write_text(NETWORK)


def make_trainer(folder, kind, rule, part="everything", decay=DECAY):
    study = prepared_study(
        folder,
        models={"net": {"kind": "net.py:Net"}},
        penalties={"none": {}, kind: {"lambda": [DECAY], "weights": part}},
        training={"epochs": 25, "batch_size": 3, "schedule": "constant", "validate_every": 25, **RULES[rule]},
    )
    bench = bench_of(study, sweep_path(kind, model="net"))
    assert bench.steps == STEPS
    return trainer(bench, decay, folder / "checkpoint.pt")


def trained(made):
    assert made.progress.epoch == 0
    made.run()
    return state(made.bench)


def by_torch(folder, kind, rule, part):
    """The same training, with torch's optimiser in the place of SoftReg's step."""
    made = make_trainer(folder, kind, rule, part)
    model = made.bench.model
    groups = [{"params": list(model.parameters())}]
    if part == "all":
        weights = [parameter for parameter in model.parameters() if parameter.ndim > 1]
        rest = [parameter for parameter in model.parameters() if parameter.ndim <= 1]
        groups = [{"params": weights}, {"params": rest, "weight_decay": 0.0}]
    optimizer = TORCH[kind, rule](groups)
    made.step.update = lambda *numbers: optimizer.step()
    ended = trained(made)
    assert {int(kept["step"]) for kept in optimizer.state.values() if "step" in kept} <= {STEPS}
    assert optimizer.state
    return ended


def difference(one, other):
    return max(float((tensor.double() - other[name].double()).abs().max()) for name, tensor in one.items())


@pytest.mark.parametrize("part", ["everything", "all"])
@pytest.mark.parametrize(("kind", "rule"), TORCH)
def test_a_hundred_steps_are_torchs_own_bit_by_bit(tmp_path, kind, rule, part):
    ours, theirs = trained(make_trainer(tmp_path, kind, rule, part)), by_torch(tmp_path, kind, rule, part)
    assert difference(ours, theirs) == 0.0
    undecayed = trained(make_trainer(tmp_path, kind, rule, part, decay=0.0))
    assert difference(ours, undecayed) > 1e-3


def test_everything_is_all_that_training_moves_and_zeros_are_counted_among_weights(tmp_path):
    bench = make_trainer(tmp_path, "weight_decay", "sgd").bench
    network, regulariser = bench.model.network, bench.regulariser
    decayed = {id(parameter) for parameter in regulariser.parameters}
    moved = {id(parameter) for name, parameter in network.named_parameters() if "unused" not in name}
    assert decayed == moved
    assert len(regulariser.parameters) == len(decayed)
    assert {id(weight) for weight in regulariser.weights} == {id(network[place].weight) for place in (0, 3, 6)}
    squares = sum(float(p.detach().double().square().sum()) for p in network.parameters() if id(p) in moved)
    assert regulariser.value().item() == pytest.approx(squares / 2, rel=1e-6)


def test_weights_alone_leave_biases_and_normalisation_alone(tmp_path):
    regulariser = make_trainer(tmp_path, "adamw", "adam", "all").bench.regulariser
    assert all(parameter.ndim > 1 for parameter in regulariser.parameters)
    assert isinstance(regulariser.layers[1].module, nn.ConvTranspose2d)
