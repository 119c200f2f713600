"""Proximal optimisers against scikit-learn's solutions of the same convex problems, and schedules by hand."""

import numpy as np
import pytest
import torch
from sklearn.linear_model import ElasticNet, Lasso, Ridge

from softreg.optim import RegularisedStep, learning_rate, make_optimizer
from softreg.penalties import make

SAMPLES, FEATURES = 200, 50
SGD = {"optimizer": "sgd", "lr": 0.2, "momentum": 0.9}
ADAM = {"optimizer": "adam", "lr": 0.02, "betas": [0.9, 0.999]}


@pytest.fixture(scope="module")
def problem():
    """A regression in which 90 % of the true coefficients are zero."""
    random = np.random.default_rng(0)
    x = random.standard_normal((SAMPLES, FEATURES))
    truth = np.where(np.arange(FEATURES) < FEATURES // 10, random.standard_normal(FEATURES) * 2, 0)
    return x, x @ truth + 0.1 * random.standard_normal(SAMPLES)


def _solve(problem, spec, lambda_, training, realisation="proximal", steps=4000):
    """Minimise ‖y − Xw‖²/2n + λP(w) by full-batch steps, the learning rate decaying to 0 on a cosine."""
    x, y = map(torch.from_numpy, problem)
    w = torch.zeros(FEATURES, 1, dtype=torch.float64, requires_grad=True)
    optimizer = make_optimizer([w], training)
    update = RegularisedStep(optimizer, [w], make(spec), lambda_, realisation)
    schedule = {**training, "schedule": "cosine" if training["optimizer"] == "adam" else "constant", "warmup_epochs": 0}
    for step in range(steps):
        optimizer.zero_grad()
        ((x @ w).squeeze(1) - y).square().mean().div(2).backward()
        update(learning_rate(schedule, step, steps, steps))
    return w.detach().squeeze(1).numpy()


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
@pytest.mark.parametrize(("training", "distance"), [(SGD, 1e-10), (ADAM, 1e-4)], ids=["sgd", "adam"])
def test_proximal_steps_reach_scikit_learns_solution(problem, name, training, distance):
    spec, lambda_, solver = CASES[name]
    expected = solver(lambda_).fit(*problem).coef_.ravel()
    found = _solve(problem, spec, lambda_, training)
    assert np.linalg.norm(found - expected) / np.linalg.norm(expected) < distance


@pytest.mark.parametrize("training", [SGD, ADAM], ids=["sgd", "adam"])
def test_proximal_steps_find_the_zeros_of_the_lasso(problem, training):
    expected = Lasso(alpha=0.1, fit_intercept=False, tol=1e-14, max_iter=10**6).fit(*problem).coef_
    found = _solve(problem, {"kind": "l1"}, 0.1, training)
    assert np.array_equal(found == 0, expected == 0)
    assert np.mean(found == 0) > 0.5


def test_the_subgradient_reaches_ridge_but_makes_no_exact_zeros(problem):
    expected = Ridge(alpha=0.1 * SAMPLES, fit_intercept=False).fit(*problem).coef_.ravel()
    found = _solve(problem, {"kind": "l2"}, 0.1, SGD, "subgradient")
    assert np.linalg.norm(found - expected) / np.linalg.norm(expected) < 1e-10
    assert np.count_nonzero(_solve(problem, {"kind": "l1"}, 0.1, SGD, "subgradient") == 0) == 0


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


def test_only_the_penalised_weights_feel_the_penalty():
    penalised = torch.ones(2, 2, requires_grad=True)
    free = torch.ones(2, requires_grad=True)
    optimizer = make_optimizer([penalised, free], {**SGD, "lr": 0.1})
    for parameter in (penalised, free):
        parameter.grad = torch.zeros_like(parameter)
    RegularisedStep(optimizer, [penalised], make({"kind": "l1"}), 5.0, "proximal")(0.1)
    assert penalised.tolist() == [[0.5, 0.5], [0.5, 0.5]]
    assert free.tolist() == [1.0, 1.0]
