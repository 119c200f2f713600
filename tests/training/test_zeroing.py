"""Zeros despite noise: against solvers of the same problems, by hand, and in training."""

from dataclasses import replace

import numpy as np
import pytest
import torch
from projects import cell_folder, prepared_study, sweep_path
from safetensors.torch import load_file
from sklearn.linear_model import Lasso
from trainers import bench_of, same, state, trainer

from softreg.files import read_json
from softreg.networks.layers import Layer
from softreg.penalties import make
from softreg.penalties.base import Penalty
from softreg.running import stages
from softreg.training.optim import RegularisedStep, learning_rate, make_optimizer
from softreg.training.regulariser import Regulariser
from softreg.training.stopping import Interrupted, StopRequest
from softreg.training.zeroing import Zeroing

SAMPLES, FEATURES, GROUPS, BATCH = 200, 50, 10, 4
SGD = {"optimizer": "sgd", "lr": 0.1, "momentum": 0.9}
ADAM = {"optimizer": "adam", "lr": 0.02, "betas": [0.9, 0.999]}
BOTH = pytest.mark.parametrize("training", [SGD, ADAM], ids=["sgd", "adam"])


@pytest.fixture
def project(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    return tmp_path


@pytest.fixture(scope="module")
def noisy():
    """A regression in which five of fifty coefficients matter, with noise of standard deviation 1."""
    random = np.random.default_rng(0)
    x = random.standard_normal((SAMPLES, FEATURES))
    truth = np.where(np.arange(FEATURES) < FEATURES // 10, random.standard_normal(FEATURES) * 2, 0)
    return x, x @ truth + random.standard_normal(SAMPLES)


def as_step(weight, training, spec, lambda_, realisation="proximal"):
    module = torch.nn.Linear(*weight.shape[::-1], bias=False)
    module.weight = weight
    regulariser = Regulariser(make(spec), realisation, [Layer("layer", module)])
    return RegularisedStep(make_optimizer([weight], training), regulariser, lambda_)


def solve(problem, training, spec, lambda_, batch, steps, filters=FEATURES):
    """Minimise ‖y − Xw‖²/2n + λP(w) by steps on batches; the weights after the last step, before and after zeroing."""
    x, y = map(torch.from_numpy, problem)
    w = torch.nn.Parameter(torch.zeros(filters, FEATURES // filters, dtype=torch.float64))
    update, epoch = as_step(w, training, spec, lambda_), SAMPLES // batch
    options = {**training, "schedule": "cosine", "warmup_epochs": 0}
    rates = [learning_rate(options, step, steps, epoch) for step in range(steps)]
    zero, random = Zeroing(update, rates.__getitem__, steps, epoch), torch.Generator().manual_seed(0)
    for step, rate in enumerate(rates):
        if step % epoch == 0:
            batches = torch.randperm(SAMPLES, generator=random).split(batch)
        part, wanted = x[batches[step % epoch]], y[batches[step % epoch]]
        w.grad = (part.T @ (part @ w.detach().flatten() - wanted) / batch).view_as(w)
        update(rate)
        before = w.detach().clone()
        zeroed = zero(step + 1)
        assert (zeroed is None) == (step + 1 < steps)
    assert zeroed == torch.count_nonzero(before) - torch.count_nonzero(w)
    return before.flatten().numpy(), w.detach().flatten().numpy()


@BOTH
@pytest.mark.slow
def test_at_batch_4_the_lassos_zeros_are_found(noisy, training):
    expected = Lasso(alpha=0.1, fit_intercept=False, tol=1e-14, max_iter=10**6).fit(*noisy).coef_
    before, after = solve(noisy, training, {"kind": "l1"}, 0.1, BATCH, 3000)
    wanted = np.count_nonzero(expected == 0)
    assert wanted > 30
    # What the steps alone find is chance.
    assert np.count_nonzero((before == 0) & (expected == 0)) < wanted / 2
    assert np.count_nonzero((after == 0) & (expected == 0)) >= wanted - 1
    # Of the others, only the smallest may go.
    assert np.abs(expected[after == 0]).max() < 0.01 * np.abs(expected).max()
    assert np.array_equal(after[after != 0], before[after != 0])


@BOTH
@pytest.mark.slow
def test_at_batch_4_the_group_lassos_zero_filters_are_found(noisy, training):
    """Those that full-batch steps find, which meet its optimality conditions: ‖g‖ ≤ λ√p of each."""
    x, y = noisy
    spec, lambda_ = {"kind": "group_lasso"}, 0.1
    expected, _ = solve(noisy, training, spec, lambda_, SAMPLES, 1000, GROUPS)
    slopes = np.linalg.norm((x.T @ (x @ expected - y) / SAMPLES).reshape(GROUPS, -1), axis=1)
    norms = np.linalg.norm(expected.reshape(GROUPS, -1), axis=1)
    assert np.all(slopes[norms == 0] <= lambda_ * (FEATURES / GROUPS) ** 0.5)
    before, after = (each.reshape(GROUPS, -1) for each in solve(noisy, training, spec, lambda_, BATCH, 1500, GROUPS))
    assert np.count_nonzero((before == 0).all(axis=1)) < np.count_nonzero(norms == 0)
    assert np.all(after[norms == 0] == 0)
    assert norms[(after == 0).all(axis=1)].max() < 0.01 * norms.max()


@pytest.mark.parametrize(
    "spec",
    [
        {"kind": "l1"},
        {"kind": "elastic_net", "alpha": 0.5},
        {"kind": "sparse_group_lasso", "alpha": 0.5},
        {"kind": "mcp", "knot": 0.3},
        {"kind": "berhu", "delta": 0.5},
        {"kind": "l0"},
    ],
    ids=lambda spec: spec["kind"],
)
@BOTH
def test_a_fixed_point_stays(noisy, training, spec):
    """That full-batch steps have come to by the middle of the training."""
    before, after = solve(noisy, training, spec, 0.005 if spec["kind"] == "l0" else 0.1, SAMPLES, 1500, GROUPS)
    assert np.array_equal(after, before)
    assert 0 < np.count_nonzero(after == 0) < FEATURES


def test_what_is_set_to_zero_by_hand():
    """Of L1 under SGD: what comes to zero within Σ lr = 1 at a speed of λ ± g, and stays there, as |g| ≤ λ."""
    cases = [  # weight, gradient, whether it is zero in the end
        (0.9, 0.0, True),
        (1.1, 0.0, False),
        (1.1, 0.5, True),
        (-1.1, -0.5, True),
        (0.9, -0.5, False),
        (0.1, 2.0, False),  # crosses zero and goes on
        (0.0, 2.0, True),  # none comes back
    ]
    weight = torch.nn.Parameter(torch.tensor([[w] for w, _, _ in cases], dtype=torch.float64))
    gradient = torch.tensor([[g] for _, g, _ in cases], dtype=torch.float64)
    as_step(weight, SGD, {"kind": "l1"}, 1.0).zero([gradient], 0.01, 100)
    assert weight.flatten().tolist() == [0.0 if zero else w for w, _, zero in cases]


def test_gradients_of_the_second_half_are_weighed_by_their_learning_rates():
    weight = torch.nn.Parameter(torch.ones(1, 1))
    update = as_step(weight, SGD, {"kind": "l1"}, 1e-9)
    zero, seen = Zeroing(update, [9.0, 9.0, 3.0, 1.0].__getitem__, 4, 2), []
    update.zero = lambda *given: seen.append(given)
    for step, gradient in enumerate((8.0, 8.0, 2.0, 6.0)):
        weight.grad = torch.full((1, 1), gradient)
        zero(step + 1)
    (((mean,), rate, steps),) = seen
    assert (mean.item(), rate, steps) == ((3 * 2 + 1 * 6) / 4, (3 + 1) / 2, 2)


@pytest.mark.parametrize(
    ("spec", "realisation", "lambda_", "expected"),
    [
        ({"kind": "l1"}, "proximal", 1e-300, True),
        ({"kind": "l1"}, "proximal", 0.0, False),
        ({"kind": "l1"}, "subgradient", 1.0, False),
        ({"kind": "soft"}, "proximal", 1.0, True),
        ({"kind": "berhu", "delta": 0.1}, "proximal", 1.0, True),
        ({"kind": "mcp", "knot": 0.1}, "proximal", 1.0, True),
        ({"kind": "l0"}, "proximal", 1.0, True),
        ({"kind": "group_lasso"}, "proximal", 1.0, True),
        ({"kind": "sparse_group_lasso", "alpha": 0.0}, "proximal", 1.0, True),
        ({"kind": "elastic_net", "alpha": 0.0}, "proximal", 1.0, False),
        ({"kind": "smooth_l1", "beta": 1e-6}, "proximal", 1.0, False),
        ({"kind": "l2"}, "proximal", 1.0, False),
        ({"kind": "none"}, "proximal", 0.0, False),
        ({"kind": "decoupled_decay"}, "decoupled", 1.0, False),
    ],
)
def test_only_steps_that_make_zeros_are_averaged(spec, realisation, lambda_, expected):
    update = as_step(torch.nn.Parameter(torch.ones(2, 2)), SGD, spec, lambda_, realisation)
    assert bool(Zeroing(update, lambda step: 1.0, 4, 2).sums) is expected


@BOTH
def test_training_ends_with_it_and_records_it(project, training):
    """The network that is kept is that of the last step but for what is now zero."""
    training = {**training, "epochs": 3, "batch_size": 2, "lr": 1e-3 if training is ADAM else 0.05}
    study = prepared_study(project, training=training, penalties={"none": {}, "l1": {"lambda": [1e-3]}})
    bench = bench_of(study, sweep_path())
    without = trainer(bench, 1e-3, project / "checkpoint.pt")
    without.zero.sums = []
    assert without.run().zeroed is None
    last = state(bench)
    stages.train(study, sweep_path())
    folder = cell_folder(study, sweep_path(), "1e-3")
    stored, record = load_file(folder / "weights.safetensors"), read_json(folder / "cell.json")
    changed = {name: stored[name] != last[name] for name in stored}
    assert record["zeroed"] == sum(int(each.sum()) for each in changed.values()) > 0
    assert all((stored[name][where] == 0).all() for name, where in changed.items())
    assert all(stored[name].ndim > 1 for name, where in changed.items() if where.any())


@pytest.mark.parametrize("stopped_at", [5, 13, 17, 18])
def test_an_interrupted_training_ends_with_the_same_zeros(project, stopped_at):
    """Before the window of 18 steps begins, within it, and as it ends."""
    study = prepared_study(project, training={"epochs": 3, "batch_size": 2, "optimizer": "adam", "lr": 1e-3})
    bench, file, stop = bench_of(study, sweep_path()), project / "checkpoint.pt", StopRequest()
    zeroed = trainer(bench, 1e-3, file).run().zeroed
    assert zeroed > 0
    expected = state(bench)
    assert not file.exists()
    first = trainer(bench, 1e-3, file, stop)
    update, done = first.step.update, []

    def counting(*numbers):
        update(*numbers)
        done.append(numbers)
        stop.signal = 15 if len(done) == stopped_at else None

    first.step.update = counting
    with pytest.raises(Interrupted):
        first.run()
    first.step.update = update
    assert trainer(bench, 1e-3, file).run().zeroed == zeroed
    assert same(state(bench), expected)


class ByDegrees(Penalty):
    """Σ √(p − 1)‖w‖ over filters of p weights, which leaves a filter of one weight alone."""

    structure = "filter"

    def value(self, weights):
        return sum(((w[0].numel() - 1) ** 0.5 * w.flatten(1).norm(dim=1)).sum() for w in weights).double()

    def prox_(self, weights, strength):
        for w in weights:
            norms = w.flatten(1).norm(dim=1).view(-1, *[1] * (w.ndim - 1))
            w.mul_((1 - strength * (w[0].numel() - 1) ** 0.5 / norms).clamp_min(0))


@pytest.mark.parametrize(("width", "zeros"), [(1, False), (2, True)])
def test_whether_zeros_are_made_is_told_by_filters_of_the_layers_own_size(width, zeros):
    step = as_step(torch.nn.Parameter(torch.ones(3, width)), SGD, {"kind": "l1"}, 0.1)
    step = RegularisedStep(step.optimizer, replace(step.regulariser, penalty=ByDegrees()), 0.1)
    assert step.makes_zeros == zeros
