"""Optimiser steps against independent solvers of the same problems, blocks against one piece, schedules by hand."""

from copy import deepcopy
from itertools import pairwise

import numpy as np
import pytest
import torch
from scipy.optimize import minimize
from sklearn.linear_model import ElasticNet, Lasso, LogisticRegression, Ridge

from softreg.networks.layers import Layer
from softreg.penalties import make
from softreg.training import regulariser
from softreg.training.adam_prox import FLOOR, AdamProx
from softreg.training.optim import RegularisedStep, learning_rate, make_optimizer
from softreg.training.regulariser import Regulariser

SAMPLES, FEATURES, GROUPS = 200, 50, 10
BLOCK = regulariser._BLOCK
SGD = {"optimizer": "sgd", "lr": 0.2, "momentum": 0.9}
ADAM = {"optimizer": "adam", "lr": 0.02, "betas": [0.9, 0.999]}
BOTH = pytest.mark.parametrize("training", [SGD, ADAM], ids=["sgd", "adam"])


def as_layer(weight):
    """A layer that has this tensor for its weights."""
    module = torch.nn.Linear(*weight.shape[::-1], bias=False)
    module.weight = weight
    return Layer("layer", module)


@pytest.fixture(scope="module")
def problem():
    """A regression in which 90 % of the true coefficients are zero."""
    random = np.random.default_rng(0)
    x = random.standard_normal((SAMPLES, FEATURES))
    truth = np.where(np.arange(FEATURES) < FEATURES // 10, random.standard_normal(FEATURES) * 2, 0)
    return x, x @ truth + 0.1 * random.standard_normal(SAMPLES)


def squared(x, y, w):
    """The gradient of ‖y − Xw‖²/2n: by hand, which is several times as fast as autograd here."""
    return x.T @ (x @ w - y) / SAMPLES


def logistic(x, y, w):
    """The gradient of the mean log(1 + exp(−y·Xw)), y = ±1."""
    return x.T @ (-y * torch.sigmoid(-y * (x @ w))) / SAMPLES


def _solve(problem, spec, lambda_, training, realisation="proximal", **how):
    """Minimise loss(w) + λP(w) by full-batch steps: under Adam more, with a learning rate that falls to 0.

    ``how`` may give the ``gradient`` of another loss than the squared one, ``filters`` that the weights are divided
    into, and the ``origin`` that training starts from and the penalty measures from.
    """
    origin = how.get("origin")
    start = torch.zeros(FEATURES, dtype=torch.float64) if origin is None else torch.from_numpy(origin)
    w = torch.nn.Parameter(start.view(how.get("filters", FEATURES), -1).clone())
    optimizer = make_optimizer([w], training)
    origins = None if origin is None else [w.detach().clone()]
    update = RegularisedStep(optimizer, Regulariser(make(spec), realisation, [as_layer(w)], origins), lambda_)
    schedule = {**training, "schedule": "cosine" if training["optimizer"] == "adam" else "constant", "warmup_epochs": 0}
    x, y = map(torch.from_numpy, problem)
    gradient, steps = how.get("gradient", squared), 2500 if training["optimizer"] == "adam" else 1500
    for step in range(steps):
        w.grad = gradient(x, y, w.detach().flatten()).view_as(w)
        update(learning_rate(schedule, step, steps, steps))
    return w.detach().flatten().numpy()


def distance(found, expected):
    return np.linalg.norm(found - expected) / np.linalg.norm(expected)


CASES = {
    "ridge": ({"kind": "l2"}, 0.1, lambda lambda_: Ridge(alpha=lambda_ * SAMPLES, fit_intercept=False)),
    "lasso": (
        {"kind": "l1"},
        0.1,
        lambda lambda_: Lasso(alpha=lambda_, fit_intercept=False, tol=1e-14, max_iter=10**6),
    ),
    "elastic net": (
        {"kind": "elastic_net", "alpha": 0.5},
        0.2,
        lambda lambda_: ElasticNet(alpha=lambda_, l1_ratio=0.5, fit_intercept=False, tol=1e-14, max_iter=10**6),
    ),
    "soft": (
        {"kind": "soft"},
        0.1,
        lambda lambda_: ElasticNet(alpha=2 * lambda_, l1_ratio=0.5, fit_intercept=False, tol=1e-14, max_iter=10**6),
    ),
}


@pytest.mark.parametrize("name", CASES)
@pytest.mark.parametrize(("training", "limit"), [(SGD, 1e-12), (ADAM, 1e-7)], ids=["sgd", "adam"])
def test_proximal_steps_reach_scikit_learns_solution(problem, name, training, limit):
    spec, lambda_, solver = CASES[name]
    expected = solver(lambda_).fit(*problem).coef_.ravel()
    found = _solve(problem, spec, lambda_, training)
    assert distance(found, expected) < limit


@BOTH
def test_proximal_steps_find_the_zeros_of_the_lasso(problem, training):
    expected = Lasso(alpha=0.1, fit_intercept=False, tol=1e-14, max_iter=10**6).fit(*problem).coef_
    found = _solve(problem, {"kind": "l1"}, 0.1, training)
    assert np.array_equal(found == 0, expected == 0)
    assert np.mean(found == 0) > 0.5


def test_the_subgradient_reaches_ridge_but_makes_no_exact_zeros(problem):
    expected = Ridge(alpha=0.1 * SAMPLES, fit_intercept=False).fit(*problem).coef_.ravel()
    found = _solve(problem, {"kind": "l2"}, 0.1, SGD, "subgradient")
    assert distance(found, expected) < 1e-10
    assert np.count_nonzero(_solve(problem, {"kind": "l1"}, 0.1, SGD, "subgradient") == 0) == 0


@BOTH
def test_logistic_regression_with_elastic_net_reaches_scikit_learns_solution(problem, training):
    x, scores = problem
    labels = np.sign(scores + np.random.default_rng(1).standard_normal(SAMPLES))
    # scikit-learn sums the losses and multiplies them by C: the same problem where C = 1/nλ.
    solver = LogisticRegression(
        solver="saga", l1_ratio=0.5, C=1 / (SAMPLES * 0.02), fit_intercept=False, tol=1e-12, max_iter=10**5
    )
    expected = solver.fit(x, labels).coef_.ravel()
    spec = {"kind": "elastic_net", "alpha": 0.5}
    found = _solve((x, labels), spec, 0.02, {**training, "lr": 2 * training["lr"]}, gradient=logistic)
    assert distance(found, expected) < 1e-7
    assert np.array_equal(found == 0, expected == 0)
    assert 0.1 < np.mean(found == 0) < 0.9


@pytest.fixture(scope="module")
def grouped():
    """A regression with noise as large as most coefficients, in ten groups of five, of which three matter."""
    random = np.random.default_rng(2)
    x = random.standard_normal((SAMPLES, FEATURES))
    truth = np.where(np.arange(FEATURES) < 15, random.standard_normal(FEATURES), 0)
    return x, x @ truth + random.standard_normal(SAMPLES)


def group_lasso_by_scipy(problem, lambda_):
    """The group lasso as a smooth problem: √p‖w_g‖ is the least √p(u_g² + ‖v_g‖²)/2 over all w_g = u_g·v_g."""
    x, y = problem
    root = np.sqrt(FEATURES / GROUPS)

    def objective(uv):
        u, v = uv[:GROUPS, None], uv[GROUPS:].reshape(GROUPS, -1)
        rest = x @ (u * v).ravel() - y
        slope = (x.T @ rest).reshape(GROUPS, -1) / SAMPLES
        value = rest @ rest / (2 * SAMPLES) + lambda_ * root * (uv @ uv) / 2
        return value, np.concatenate([(slope * v).sum(1), (slope * u).ravel()]) + lambda_ * root * uv

    start = np.random.default_rng(0).standard_normal(GROUPS + FEATURES)
    result = minimize(objective, start, jac=True, method="BFGS", options={"gtol": 1e-9, "maxiter": 10**4})
    return (result.x[:GROUPS, None] * result.x[GROUPS:].reshape(GROUPS, -1)).ravel()


@pytest.mark.slow
@BOTH
def test_group_lasso_reaches_the_solution_of_a_smooth_solver(grouped, training):
    lambda_ = 0.08
    expected = group_lasso_by_scipy(grouped, lambda_)
    found = _solve(grouped, {"kind": "group_lasso"}, lambda_, training, filters=GROUPS)
    assert distance(found, expected) < 1e-7
    norms = np.linalg.norm(found.reshape(GROUPS, -1), axis=1)
    assert np.array_equal(norms == 0, np.linalg.norm(expected.reshape(GROUPS, -1), axis=1) < 1e-6)
    assert 0 < np.count_nonzero(norms == 0) < GROUPS - 3


@pytest.mark.slow
@BOTH
def test_sparse_group_lasso_meets_its_optimality_conditions(grouped, training):
    x, y = grouped
    lambda_, alpha = 0.08, 0.4
    found = _solve(grouped, {"kind": "sparse_group_lasso", "alpha": alpha}, lambda_, training, filters=GROUPS)
    slope = (x.T @ (x @ found - y) / SAMPLES).reshape(GROUPS, -1)
    w, root = found.reshape(GROUPS, -1), np.sqrt(FEATURES / GROUPS)
    limit = 1e-7 * lambda_
    alive = np.linalg.norm(w, axis=1) > 0
    directions = w[alive] / np.linalg.norm(w[alive], axis=1, keepdims=True)
    rest = slope[alive] + lambda_ * (alpha * np.sign(w[alive]) + (1 - alpha) * root * directions)
    assert np.all(np.abs(rest)[w[alive] != 0] < limit)
    assert np.all(np.abs(rest)[w[alive] == 0] <= lambda_ * alpha + limit)
    beyond = np.maximum(np.abs(slope[~alive]) - lambda_ * alpha, 0)
    assert np.all(np.linalg.norm(beyond, axis=1) <= lambda_ * (1 - alpha) * root + limit)
    # Zero filters, and zeros in others.
    assert 0 < np.count_nonzero(alive) < GROUPS
    assert np.count_nonzero(w[alive] == 0) > 0


def mcp_by_coordinates(problem, lambda_, knot):
    """Coordinate descent from zero: each weight in turn goes to the minimum of its own, convex, problem."""
    x, y = problem
    w, curvatures = np.zeros(FEATURES), (x**2).mean(0)
    assert curvatures.min() > lambda_ / knot
    moved = np.inf
    while moved > 1e-13:
        before = w.copy()
        for j, curvature in enumerate(curvatures):
            z = x[:, j] @ (y - x @ w + x[:, j] * w[j]) / SAMPLES
            inside = np.sign(z) * max(abs(z) - lambda_, 0) / (curvature - lambda_ / knot)
            w[j] = inside if abs(z) <= curvature * knot else z / curvature
        moved = np.abs(w - before).max()
    return w


@pytest.mark.parametrize("knot", [1.0, 0.3])
@BOTH
def test_mcp_reaches_the_stationary_point_of_coordinate_descent(grouped, training, knot):
    """With the knot at 1 the problem is convex; at 0.3 it is not, and the minimum depends on the start."""
    x, y = grouped
    lambda_ = 0.1
    expected = mcp_by_coordinates(grouped, lambda_, knot)
    found = _solve(grouped, {"kind": "mcp", "knot": knot}, lambda_, training)
    slope = x.T @ (x @ found - y) / SAMPLES
    pull = lambda_ * np.sign(found) * np.maximum(1 - np.abs(found) / knot, 0)
    limit = 1e-7 * lambda_
    assert np.all(np.abs(slope + pull)[found != 0] < limit)
    assert np.all(np.abs(slope)[found == 0] <= lambda_ + limit)
    assert distance(found, expected) < 1e-7
    assert np.array_equal(found == 0, expected == 0)


@pytest.mark.slow
@BOTH
def test_l2_sp_is_ridge_about_its_origin(problem, training):
    x, y = problem
    origin = np.random.default_rng(3).standard_normal(FEATURES)
    for lambda_ in (0.1, 3.0):
        expected = np.linalg.solve(x.T @ x / SAMPLES + lambda_ * np.eye(FEATURES), x.T @ y / SAMPLES + lambda_ * origin)
        found = _solve(problem, {"kind": "l2_sp"}, lambda_, training, origin=origin)
        assert distance(found, expected) < 1e-7


@pytest.mark.parametrize("realisation", ["proximal", "subgradient", "decoupled"])
def test_a_strong_l2_sp_pulls_to_its_origin(problem, realisation):
    origin = np.random.default_rng(3).standard_normal(FEATURES)
    # All but a prox need steps below 2/λ.
    lambda_, lr = (1e6, 0.2) if realisation == "proximal" else (1e2, 5e-3)
    found = _solve(problem, {"kind": "l2_sp"}, lambda_, {**SGD, "lr": lr}, realisation, origin=origin)
    assert distance(found, origin) < 20 / lambda_
    assert distance(_solve(problem, {"kind": "l2_sp"}, 1e-8, SGD, origin=origin), origin) > 0.5


def _train(optimizer, weights, update):
    """Fifty steps on gradients that depend on the weights, with a learning rate that changes."""
    targets = [torch.randn(weight.shape, generator=torch.Generator().manual_seed(1)) for weight in weights]
    for step in range(50):
        for weight, target in zip(weights, targets, strict=True):
            weight.grad = (weight.detach() - target) * (1 + step % 3)
        update(1e-2 / (1 + step))
    return [weight.detach() for weight in weights]


def parameters(*shapes):
    generator = torch.Generator().manual_seed(0)
    return [torch.nn.Parameter(torch.randn(shape, generator=generator)) for shape in shapes]


@pytest.mark.parametrize("kind", ["decoupled_decay", "l2"])
def test_decoupled_decay_under_adam_is_adamw(kind):
    shapes = [(6, 5), (3, 4)]
    ours, theirs = parameters(*shapes), parameters(*shapes)
    adam = make_optimizer(ours, ADAM)
    step = RegularisedStep(adam, Regulariser(make({"kind": kind}), "decoupled", list(map(as_layer, ours))), 0.3)
    adamw = torch.optim.AdamW(theirs, weight_decay=0.3)

    def reference(lr):
        adamw.param_groups[0]["lr"] = lr
        adamw.step()

    pairs = zip(_train(adam, ours, step), _train(adamw, theirs, reference), strict=True)
    for one, other in pairs:
        torch.testing.assert_close(one, other, rtol=1e-6, atol=1e-7)
    # Without decay it would be elsewhere.
    plain = parameters(*shapes)
    torch_adam = torch.optim.Adam(plain)
    assert distance(_train(torch_adam, plain, lambda lr: torch_adam.step())[0], ours[0].detach()) > 1e-3


def test_decoupled_decay_under_sgd_shrinks_before_the_step():
    w = torch.nn.Parameter(torch.tensor([[2.0, -4.0]]))
    optimizer = make_optimizer([w], {**SGD, "momentum": 0.0})
    update = RegularisedStep(optimizer, Regulariser(make({"kind": "decoupled_decay"}), "decoupled", [as_layer(w)]), 0.5)
    w.grad = torch.tensor([[1.0, 2.0]])
    update(0.5)
    # w(1 − 0.25) − 0.5·grad; were it in the gradient, momentum and Adam would scale it too.
    assert w.tolist() == [[1.0, -4.0]]


def test_the_subgradient_of_hoyer_lowers_its_value():
    torch.manual_seed(0)
    modules = [torch.nn.Conv2d(3, 8, 3), torch.nn.Linear(8, 4)]
    weights = [module.weight for module in modules]
    layers = [Layer(str(index), module) for index, module in enumerate(modules)]
    optimizer = make_optimizer(weights, {**SGD, "momentum": 0.0})
    hoyer = Regulariser(make({"kind": "hoyer"}), "subgradient", layers)
    update = RegularisedStep(optimizer, hoyer, 1.0)
    values = [float(hoyer.value())]
    for _ in range(50):
        for weight in weights:
            weight.grad = torch.zeros_like(weight)
        update(1e-4)
        values.append(float(hoyer.value()))
    assert all(after < before for before, after in pairwise(values))
    assert values[-1] < 0.95 * values[0]


SPECS = {
    "l1": {"kind": "l1"},
    "berhu": {"kind": "berhu", "delta": 0.5},
    "mcp": {"kind": "mcp", "knot": 0.9},
    "l2_sp": {"kind": "l2_sp"},
    "group_lasso": {"kind": "group_lasso"},
    "sparse_group_lasso": {"kind": "sparse_group_lasso", "alpha": 0.4},
    "hoyer": {"kind": "hoyer"},
}


def _network():
    """Layers within a block, larger than one, with filters larger than one, and transposed in groups."""
    torch.manual_seed(0)
    return [
        torch.nn.Linear(301, 411),
        torch.nn.Conv2d(5, 7, 3),
        torch.nn.ConvTranspose2d(8, 6, 3, groups=2),
        torch.nn.Linear(BLOCK + 3, 3),
        torch.nn.ConvTranspose2d(40, 190, 3),
        torch.nn.Conv1d(4, 4, 1),
    ]


@BOTH
@pytest.mark.parametrize("kind", SPECS)
def test_blocks_change_no_bit(monkeypatch, kind, training):
    results = []
    for block in (BLOCK, 10**12):
        monkeypatch.setattr(regulariser, "_BLOCK", block)
        penalty = make(SPECS[kind])
        layers = [Layer(str(index), module) for index, module in enumerate(_network())]
        weights = [layer.weight for layer in layers]
        origin = [weight.detach().roll(1) for weight in weights] if penalty.origin == "pretrained" else None
        part = Regulariser(penalty, penalty.realisations[0], layers, origin)
        pieces = len(part.blocks(weights))
        assert pieces == 1 if block > BLOCK or kind == "hoyer" else pieces > 4
        optimizer = make_optimizer(weights, training)
        update = RegularisedStep(optimizer, part, 0.01)
        for _ in range(2):
            for weight in weights:
                weight.grad = (3 * weight.detach()).sin()
            update(0.05)
        results.append([weight.detach() for weight in weights])
    for one, other in zip(*results, strict=True):
        assert torch.equal(one, other)


@pytest.mark.parametrize("groups", [1, 2])
@BOTH
def test_filters_of_a_transposed_convolution_lie_along_its_second_axis(training, groups):
    """Per group of the convolution: of 4 inputs and 2 × ``groups`` outputs, one output's filter is made small."""
    module = torch.nn.ConvTranspose1d(4, 2 * groups, 1, groups=groups, bias=False)
    weight = module.weight
    inputs = 4 // groups
    with torch.no_grad():
        weight.fill_(1.0)
        # The second output of the last group of inputs.
        weight[-inputs:, 1] = 0.01
    optimizer = make_optimizer([weight], training)
    group_lasso = Regulariser(make({"kind": "group_lasso"}), "proximal", [Layer("up", module)])
    assert group_lasso.value().item() == pytest.approx((2 * groups - 1) * inputs + 0.01 * inputs, rel=1e-6)
    # No gradient to speak of; none at all would be a layer of which Adam knows no step.
    weight.grad = torch.full_like(weight, 1e-12)
    # A prox of s = 0.1 takes 0.1·√p off a filter's norm √p·w, so 0.1 off each weight; Adam, at rest, as SGD at ε = 1.
    if training is ADAM:
        optimizer.param_groups[0]["eps"] = 1.0
    RegularisedStep(optimizer, group_lasso, 1.0)(0.1)
    expected = torch.full_like(weight, 0.9)
    expected[-inputs:, 1] = 0.0
    torch.testing.assert_close(weight.detach(), expected)
    assert torch.count_nonzero(weight[-inputs:, 1]) == 0


def _rates(schedule, **changes):
    training = {"lr": 2.0, "schedule": schedule, "warmup_epochs": 0, **changes}
    return [learning_rate(training, step, 10, 2) for step in range(10)]


def test_schedules_by_hand():
    assert _rates("constant") == [2.0] * 10
    assert _rates("cosine")[0] == 2.0
    assert _rates("cosine")[5] == pytest.approx(1.0)
    assert _rates("polynomial")[5] == pytest.approx(2 * 0.5**0.9)
    assert _rates("polynomial", warmup_epochs=1)[:3] == pytest.approx([1.0, 2.0, 2.0])
    assert max(_rates("constant", warmup_epochs=0.25)) == 2.0
    assert all(rate > 0 for rate in _rates("cosine", warmup_epochs=2))


@pytest.mark.parametrize("kind", ["l1", "l2", "group_lasso", "l0"])
def test_weights_without_a_gradient_move_no_further_than_a_tenth_of_the_layers_gradient_lets_them(kind):
    """Of a unit that is silent, Adam knows no step: ηλ/ε, the step of its prox, is 10⁵ times the others' here."""
    gradient, lr, lambda_ = 1e-3, 1e-2, 1e-6
    weight = torch.nn.Parameter(torch.full((4, 5), 0.5))
    optimizer = make_optimizer([weight], ADAM)
    update = RegularisedStep(optimizer, Regulariser(make({"kind": kind}), "proximal", [as_layer(weight)]), lambda_)
    for step in range(40):
        weight.grad = torch.full_like(weight, gradient * (-1) ** step)
        weight.grad[0] = 0
        update(lr)
    # Half of the rows' mean square at most, and √p of the group lasso's filters of five.
    most = 40 * lr * lambda_ / (0.1 * gradient * 0.75**0.5) * (5**0.5 if kind == "group_lasso" else 1)
    assert 0 <= 0.5 - weight[0].min().item() <= most + 1e-6
    assert most < 0.02


def test_gentle_steps_are_to_the_bit_those_of_root_mean_squares_at_the_floor():
    """Blocks of one layer and of two, of which the second has weights above its floor alone."""
    random = torch.Generator().manual_seed(0)
    weights = [torch.nn.Parameter(torch.randn(shape, generator=random)) for shape in ((300, 250), (40, 9), (7, 3))]
    optimizer = make_optimizer(weights, ADAM)
    for weight in weights:
        weight.grad = torch.randn(weight.shape, generator=random) ** 3
    weights[2].grad = torch.ones(7, 3)
    optimizer.step()
    regulariser = Regulariser(make({"kind": "l1"}), "proximal", list(map(as_layer, weights)))
    steps = list(AdamProx(optimizer, regulariser).steps(1e-3))
    pairs = [pair for step in steps for pair in zip(step.exact, step.gentle or step.exact, strict=True)]
    squares = [optimizer.state[weight]["exp_avg_sq"] for weight in weights]
    correction = (1 - ADAM["betas"][1]) ** 0.5
    # The first layer is cut into blocks.
    found = [torch.cat([pair[which] for pair in pairs[:-2]]) for which in (0, 1)]
    for (exact, gentle), square in zip([found, *pairs[-2:]], squares, strict=True):
        root = square.sqrt() + 1e-8 * correction
        floor = FLOOR * square.mean().sqrt() + 1e-8 * correction
        assert torch.equal(exact, 1e-3 * correction / root)
        assert torch.equal(gentle, 1e-3 * correction / root.maximum(floor))
        assert bool((root < floor).any()) == (len(root) > 7)


def test_a_layer_that_has_had_no_gradient_yet_stays():
    """As below a layer that starts from zero, in its first step."""
    first, last = torch.nn.Parameter(torch.ones(3, 3)), torch.nn.Parameter(torch.ones(3, 3))
    optimizer = make_optimizer([first, last], ADAM)
    update = RegularisedStep(
        optimizer, Regulariser(make({"kind": "l1"}), "proximal", [as_layer(first), as_layer(last)]), 1e-3
    )
    first.grad, last.grad = torch.zeros(3, 3), torch.ones(3, 3)
    update(1e-2)
    assert torch.equal(first, torch.ones(3, 3))
    assert (last < 1).all()


@BOTH
def test_a_penalty_tends_to_none_with_lambda(training):
    """A network with silent units: what λ = 1e-12 does to its weights is rounding."""
    torch.manual_seed(0)
    start = torch.nn.Sequential(torch.nn.Linear(6, 40), torch.nn.ReLU(), torch.nn.Linear(40, 2))
    with torch.no_grad():
        start[0].bias[:20] = -10.0
    inputs, targets = torch.randn(32, 6), torch.randn(32, 2)
    ends = []
    for lambda_ in (0.0, 1e-12):
        network = deepcopy(start)
        optimizer = make_optimizer(list(network.parameters()), training)
        layers = [Layer(name, network[int(name)]) for name in ("0", "2")]
        update = RegularisedStep(optimizer, Regulariser(make({"kind": "l1"}), "proximal", layers), lambda_)
        for _ in range(100):
            optimizer.zero_grad()
            (network(inputs) - targets).square().mean().backward()
            update(5e-3)
        ends.append([parameter.detach() for parameter in network.parameters()])
    for one, other in zip(*ends, strict=True):
        torch.testing.assert_close(one, other, rtol=1e-5, atol=1e-6)


def test_only_the_penalised_weights_feel_the_penalty():
    penalised = torch.nn.Parameter(torch.ones(2, 2))
    free = torch.ones(2, requires_grad=True)
    optimizer = make_optimizer([penalised, free], {**SGD, "lr": 0.1})
    for parameter in (penalised, free):
        parameter.grad = torch.zeros_like(parameter)
    RegularisedStep(optimizer, Regulariser(make({"kind": "l1"}), "proximal", [as_layer(penalised)]), 5.0)(0.1)
    assert penalised.tolist() == [[0.5, 0.5], [0.5, 0.5]]
    assert free.tolist() == [1.0, 1.0]


@pytest.mark.parametrize(
    ("training", "theirs"),
    [
        # The averaged gradient at lr is heavy-ball momentum at lr·(1 − μ), from the first step on.
        (SGD, lambda weights: torch.optim.SGD(weights, SGD["lr"] * (1 - 0.9), 0.9)),
        (ADAM, lambda weights: torch.optim.Adam(weights, ADAM["lr"], betas=ADAM["betas"])),
    ],
    ids=["sgd", "adam"],
)
def test_optimisers_are_torchs_own_bit_by_bit(training, theirs):
    """Step for step, also when one goes on from the other's state."""
    ours, expected = (
        [torch.nn.Parameter(torch.linspace(-1, 1, 7)), torch.nn.Parameter(torch.ones(2, 3))] for _ in "ab"
    )
    optimizers = make_optimizer(ours, training), theirs(expected)
    for step in range(4):
        for optimizer, weights in zip(optimizers, (ours, expected), strict=True):
            optimizer.zero_grad()
            torch.autograd.backward(sum((weight**3).sum() for weight in weights) * (step - 1.5))
            optimizer.step()
        assert all(map(torch.equal, ours, expected))
        optimizers[0].load_state_dict(deepcopy(optimizers[1].state_dict()))
    assert torch.is_grad_enabled()


@pytest.mark.parametrize("momentum", [0.5, 0.9, 0.99])
def test_sgd_averages_its_gradients_from_zero(momentum):
    """By the recursion a ← μa + (1 − μ)g from a = 0: no batch weighs more than the others, the first one included."""
    w = torch.nn.Parameter(torch.zeros(1, 1, dtype=torch.float64))
    optimizer = make_optimizer([w], {**SGD, "momentum": momentum})
    update = RegularisedStep(optimizer, Regulariser(make({"kind": "none"}), "proximal", [as_layer(w)]), 0.0)
    average, expected = 0.0, 0.0
    for step in range(50):
        gradient, lr = 1.0 + step % 3, 0.3 / (1 + step)
        w.grad = torch.full((1, 1), gradient, dtype=torch.float64)
        update(lr)
        average = momentum * average + (1 - momentum) * gradient
        expected -= lr * average
        assert w.item() == pytest.approx(expected, rel=1e-12)
