"""Each penalty against formulas written again in numpy, and each proximal operator against minimisation by scipy."""

import inspect
import math

import numpy as np
import pytest
import torch
from scipy.optimize import minimize, minimize_scalar

from softreg.contract.penalty import check_penalty
from softreg.penalties import make
from softreg.study.schema import filled, study_schema
from softreg.study.treatment import CONTROLS

DEFINITIONS = {
    name.removeprefix("penalty_"): definition
    for name, definition in study_schema()["$defs"].items()
    if name.startswith("penalty_") and name.removeprefix("penalty_") not in CONTROLS
}
# Knees amid the weights of these tests, which are of the order of 1.
SPECS = {
    "none": {},
    "l2": {},
    "l1": {},
    "elastic_net": {"alpha": 0.3},
    "soft": {},
    "smooth_l1": {"beta": 0.6},
    "berhu": {"delta": 0.6},
    "group_lasso": {},
    "sparse_group_lasso": {"alpha": 0.3},
    "l0": {},
    "mcp": {"knot": 0.9},
    "hoyer": {},
    "weight_decay": {},
    "adamw": {},
    "decoupled_decay": {},
    "l2_sp": {},
}
PROXIMAL = [kind for kind in SPECS if kind not in ("hoyer", "weight_decay", "adamw", "decoupled_decay")]
GROUPED = ["group_lasso", "sparse_group_lasso"]
SEPARABLE = [kind for kind in PROXIMAL if kind not in GROUPED]
SPARSE = ["l1", "elastic_net", "soft", "berhu", "group_lasso", "sparse_group_lasso", "l0", "mcp"]


def build(kind):
    return make({"kind": kind, **SPECS[kind]})


def test_every_kind_of_the_schema_is_here():
    assert SPECS.keys() == DEFINITIONS.keys()


# The formulas, on one float64 array whose first axis counts filters.


def root_size(w):
    return math.sqrt(w[0].size)


def filter_norms(w):
    return np.array([math.sqrt(sum(number * number for number in row.flat)) for row in w])


VALUES = {
    "none": lambda w: 0.0,
    "l2": lambda w: np.sum(w**2) / 2,
    "l1": lambda w: np.sum(np.abs(w)),
    "elastic_net": lambda w: 0.3 * np.sum(np.abs(w)) + 0.7 * np.sum(w**2) / 2,
    "soft": lambda w: np.sum(np.abs(w)) + np.sum(w**2) / 2,
    "smooth_l1": lambda w: np.sum(np.where(np.abs(w) < 0.6, w**2 / 1.2, np.abs(w) - 0.3)),
    "berhu": lambda w: np.sum(np.where(np.abs(w) <= 0.6, np.abs(w), (w**2 + 0.36) / 1.2)),
    "group_lasso": lambda w: root_size(w) * np.sum(filter_norms(w)),
    "sparse_group_lasso": lambda w: 0.3 * np.sum(np.abs(w)) + 0.7 * root_size(w) * np.sum(filter_norms(w)),
    "l0": lambda w: float(np.sum(w != 0)),
    "mcp": lambda w: np.sum(np.where(np.abs(w) <= 0.9, np.abs(w) - w**2 / 1.8, 0.45)),
    "hoyer": lambda w: np.sum(np.abs(w)) ** 2 / np.sum(w**2),
    "weight_decay": lambda w: np.sum(w**2) / 2,
    "adamw": lambda w: np.sum(w**2) / 2,
    "decoupled_decay": lambda w: np.sum(w**2) / 2,
    "l2_sp": lambda w: np.sum(w**2) / 2,
}


def filter_directions(w):
    return root_size(w) * np.stack([row / norm for row, norm in zip(w, filter_norms(w), strict=True)])


def hoyer_slope(w):
    ones, squares = np.sum(np.abs(w)), np.sum(w**2)
    return 2 * np.sign(w) * ones * (squares - np.abs(w) * ones) / squares**2


SLOPES = {
    "l2": lambda w: w,
    "l1": np.sign,
    "elastic_net": lambda w: 0.3 * np.sign(w) + 0.7 * w,
    "soft": lambda w: np.sign(w) + w,
    "smooth_l1": lambda w: np.clip(w / 0.6, -1, 1),
    "berhu": lambda w: np.where(np.abs(w) <= 0.6, np.sign(w), w / 0.6),
    "group_lasso": filter_directions,
    "sparse_group_lasso": lambda w: 0.3 * np.sign(w) + 0.7 * filter_directions(w),
    "mcp": lambda w: np.sign(w) * np.maximum(1 - np.abs(w) / 0.9, 0),
    "hoyer": hoyer_slope,
    "weight_decay": lambda w: w,
    "adamw": lambda w: w,
    "decoupled_decay": lambda w: w,
    "l2_sp": lambda w: w,
}


def arrays(seed=0):
    random = np.random.default_rng(seed)
    return [random.standard_normal(shape) for shape in [(4, 3, 3, 3), (5, 4), (1, 1)]]


def tensors(seed=0, dtype=torch.float64):
    return [torch.from_numpy(array).to(dtype) for array in arrays(seed)]


@pytest.mark.parametrize("kind", SPECS)
def test_value_is_the_formula(kind):
    expected = sum(VALUES[kind](array) for array in arrays())
    assert build(kind).value(tensors()).item() == pytest.approx(expected, rel=1e-13)
    assert build(kind).value(tensors(dtype=torch.float32)).item() == pytest.approx(expected, rel=1e-6)


@pytest.mark.parametrize("kind", SLOPES)
def test_gradient_is_the_formula(kind):
    for found, array in zip(build(kind).gradient(tensors()), arrays(), strict=True):
        np.testing.assert_allclose(found, SLOPES[kind](array), rtol=1e-12, atol=1e-14)


@pytest.mark.parametrize("kind", SLOPES)
def test_the_formula_of_the_gradient_is_the_slope_of_that_of_the_value(kind):
    w, h = arrays()[1], 1e-6
    for index in np.ndindex(w.shape):
        move = np.zeros_like(w)
        move[index] = h
        slope = (VALUES[kind](w + move) - VALUES[kind](w - move)) / (2 * h)
        assert SLOPES[kind](w)[index] == pytest.approx(slope, abs=1e-7)


# One layer of two filters (3, −4) and (0, 0.5): ‖w_g‖ = 5 and 0.5, √p = √2, Σ|w| = 7.5, Σw² = 25.25.
@pytest.mark.parametrize(
    ("kind", "value", "slope"),
    [
        ("none", 0.0, None),
        ("l2", 12.625, [[3, -4], [0, 0.5]]),
        ("l1", 7.5, [[1, -1], [0, 1]]),
        ("elastic_net", 0.3 * 7.5 + 0.7 * 12.625, [[2.4, -3.1], [0, 0.65]]),
        ("soft", 20.125, [[4, -5], [0, 1.5]]),
        ("smooth_l1", 2.7 + 3.7 + 0.25 / 1.2, [[1, -1], [0, 0.5 / 0.6]]),
        ("berhu", (9 + 0.36) / 1.2 + (16 + 0.36) / 1.2 + 0.5, [[5, -4 / 0.6], [0, 1]]),
        ("group_lasso", 5.5 * 2**0.5, [[0.6 * 2**0.5, -0.8 * 2**0.5], [0, 2**0.5]]),
        (
            "sparse_group_lasso",
            2.25 + 3.85 * 2**0.5,
            [[0.3 + 0.42 * 2**0.5, -0.3 - 0.56 * 2**0.5], [0, 0.3 + 0.7 * 2**0.5]],
        ),
        ("l0", 3.0, None),
        ("mcp", 0.45 + 0.45 + 0.5 - 0.25 / 1.8, [[0, 0], [0, 4 / 9]]),
        # 2·7.5·(25.25 − |w|·7.5)/25.25².
        ("hoyer", 56.25 / 25.25, [[15 * 2.75 / 637.5625, 15 * 4.75 / 637.5625], [0, 15 * 21.5 / 637.5625]]),
        ("decoupled_decay", 12.625, [[3, -4], [0, 0.5]]),
        ("l2_sp", 12.625, [[3, -4], [0, 0.5]]),
    ],
)
def test_value_and_gradient_by_hand(kind, value, slope):
    weights = [torch.tensor([[3.0, -4.0], [0.0, 0.5]], dtype=torch.float64)]
    assert build(kind).value(weights).item() == pytest.approx(value, rel=1e-14)
    if slope is not None:
        np.testing.assert_allclose(build(kind).gradient(weights)[0], slope, rtol=1e-14, atol=1e-16)


@pytest.mark.parametrize("kind", SLOPES)
def test_the_gradient_at_zero_is_zero(kind):
    weights = [torch.zeros(3, 4), torch.zeros(2, 1, 3, 3)]
    assert build(kind).value(weights).item() == 0
    assert all(torch.count_nonzero(slope) == 0 for slope in build(kind).gradient(weights))


def applied(kind, v, strength):
    """The proximal operator of one array; ``strength`` is a number, or an array of steps × λ."""
    weights = [torch.tensor(np.asarray(v, dtype=np.float64))]
    build(kind).prox_(weights, strength if isinstance(strength, float) else [torch.from_numpy(strength)])
    return weights[0].numpy()


def best_by_scipy(kind, v, strength):
    """The lowest of a grid from 0 to v, where all proximal points lie, and of scipy's minimum about its best point."""

    def cost(w):
        return (w - v) ** 2 / (2 * strength) + VALUES[kind](np.array([[w]]))

    grid = np.linspace(0, v, 40)
    near = min(grid, key=cost)
    bounds = sorted([near - v / 39, near + v / 39])
    return min(
        [near, minimize_scalar(cost, bounds=bounds, method="bounded", options={"xatol": 1e-12}).x], key=cost
    ), cost


@pytest.mark.parametrize("strength", [1e-8, 1e-3, 0.2, 0.7, 3.0, 1e2])
@pytest.mark.parametrize("kind", SEPARABLE)
def test_prox_of_each_weight_is_the_minimum(kind, strength):
    points = np.array([-2.3, -1.21, -0.4, 0.0, 1e-9, 0.03, 0.77, 1.1, 2.9])
    steps = strength * np.linspace(0.2, 3.0, len(points))
    for s, found in [(np.full_like(points, strength), applied(kind, points, strength)), (steps, None)]:
        found = applied(kind, points, s) if found is None else found
        for v, step, w in zip(points, s, found, strict=True):
            best, cost = best_by_scipy(kind, v, step)
            # Of two equal minima either will do; a search by values sees half of the digits.
            assert cost(w) <= cost(best) * (1 + 1e-12) + 1e-15
            assert w == pytest.approx(best, abs=1e-6) or cost(w) == pytest.approx(cost(best), rel=1e-12)


def best_filter_by_scipy(kind, v, steps):
    """The minimum for one filter by L-BFGS-B on w = a − b with a, b ≥ 0 and u·b of a smoothed norm, or 0.

    Σ|w| is Σ(a + b); ‖w‖ is smooth but at 0, which is compared apart.
    """
    share = {"group_lasso": 0.0, "sparse_group_lasso": 0.3}[kind]
    size, root = len(v), math.sqrt(len(v))

    def cost(w):
        return np.sum((w - v) ** 2 / (2 * steps)) + VALUES[kind](w[None])

    def split(ab):
        w = ab[:size] - ab[size:]
        norm = np.linalg.norm(w)
        smooth = (w - v) / steps + (1 - share) * root * w / max(norm, 1e-300)
        value = np.sum((w - v) ** 2 / (2 * steps)) + (1 - share) * root * norm + share * ab.sum()
        return value, np.concatenate([smooth + share, share - smooth])

    start = np.concatenate([np.maximum(v, 0), np.maximum(-v, 0)])
    options = {"maxiter": 5000, "maxfun": 50000, "ftol": 1e-16, "gtol": 1e-12, "maxcor": 30}
    result = minimize(split, start, jac=True, method="L-BFGS-B", bounds=[(0, None)] * (2 * size), options=options)
    return min(np.zeros(size), result.x[:size] - result.x[size:], key=cost), cost


@pytest.mark.parametrize("strength", [1e-4, 0.03, 0.2, 0.5, 3.0])
@pytest.mark.parametrize("size", [3, 5])
@pytest.mark.parametrize("kind", GROUPED)
def test_prox_of_each_filter_is_the_minimum(kind, size, strength):
    random = np.random.default_rng(size)
    filters = random.standard_normal((6, size))
    steps = strength * 10 ** random.uniform(-1, 1, filters.shape)
    same = np.full_like(steps, strength)
    for found, s in [(applied(kind, filters, strength), same), (applied(kind, filters, steps), steps)]:
        for v, step, w in zip(filters, s, found, strict=True):
            best, cost = best_filter_by_scipy(kind, v, step)
            assert cost(w) <= cost(best) + 1e-12 * abs(cost(best))
            np.testing.assert_allclose(w, best, atol=1e-5)


@pytest.mark.parametrize("kind", GROUPED)
def test_filters_with_a_step_for_each_weight_meet_their_optimality_conditions(kind):
    """Steps apart by up to 1e8 times, as under Adam. 0 ∈ (w − v)/t + α∂|w| + (1 − α)√p·∂‖w‖, in numpy."""
    random = np.random.default_rng(0)
    share = {"group_lasso": 0.0, "sparse_group_lasso": 0.3}[kind]
    v = random.standard_normal((60, 9)) * 10 ** random.uniform(-5, 1, (60, 1))
    steps = 10 ** random.uniform(-4, 4, v.shape)
    found = applied(kind, v, steps)
    root = math.sqrt(v.shape[1])
    alive = np.linalg.norm(found, axis=1) > 0
    assert 5 < alive.sum() < 55
    for w, centre, step in zip(found[alive], v[alive], steps[alive], strict=True):
        pull = (centre - w) / step
        slope = share * np.sign(w) + (1 - share) * root * w / np.linalg.norm(w)
        kept = w != 0
        # The pull is a difference of weights over a step: that is as many digits as float64 leaves.
        room = 1e-9 + 1e-13 * np.abs(centre) / step
        assert np.all(np.abs(pull - slope)[kept] <= room[kept])
        assert np.all(np.abs(centre / step)[~kept] <= share * (1 + 1e-12))
    for centre, step in zip(v[~alive], steps[~alive], strict=True):
        rest = np.maximum(np.abs(centre / step) - share, 0)
        assert np.linalg.norm(rest) <= (1 - share) * root * (1 + 1e-12)


@pytest.mark.parametrize(
    ("kind", "strength", "v", "expected"),
    [
        ("none", 0.5, [[3.0, -0.25]], [[3.0, -0.25]]),
        ("l2", 0.5, [[3.0, -0.75]], [[2.0, -0.5]]),
        ("l1", 0.5, [[3.0, -0.25]], [[2.5, 0.0]]),
        ("elastic_net", 1.0, [[2.0, -0.25]], [[1.0, 0.0]]),
        ("soft", 1.0, [[3.0, -0.25]], [[1.0, 0.0]]),
        # Beyond β + s = 1.6, and within.
        ("smooth_l1", 1.0, [[3.0, -0.8]], [[2.0, -0.3]]),
        # Within δ + s = 1.6, and beyond.
        ("berhu", 1.0, [[1.5, -3.2]], [[0.5, -1.2]]),
        # s√p = 2: a filter of norm 5 keeps 3/5, one of norm 2 nothing.
        ("group_lasso", 2**0.5, [[3.0, -4.0], [0.0, 2.0]], [[1.8, -2.4], [0.0, 0.0]]),
        # S_{0.3}, then s√p(1 − α) = 0.7·√2 off a norm of 5.
        ("sparse_group_lasso", 1.0, [[3.3, -4.3]], [[3 - 0.42 * 2**0.5, -4 + 0.56 * 2**0.5]]),
        # √(2s) = 2, at which 0 and v are equally good.
        ("l0", 2.0, [[2.5, -1.9, 2.0]], [[2.5, 0.0, 0.0]]),
        # s < k: S_{0.3}/(1 − 1/3), v beyond the knot; s ≥ k: a hard threshold at √(3.6·0.9) = 1.8.
        ("mcp", 0.3, [[0.7, -0.25, -1.5]], [[0.6, 0.0, -1.5]]),
        ("mcp", 3.6, [[1.7, -1.9, 0.5]], [[0.0, -1.9, 0.0]]),
        ("l2_sp", 0.5, [[3.0, -0.75]], [[2.0, -0.5]]),
    ],
)
def test_prox_by_hand(kind, strength, v, expected):
    np.testing.assert_allclose(applied(kind, v, strength), expected, rtol=1e-14, atol=1e-15)
    steps = np.full(np.shape(v), strength)
    np.testing.assert_allclose(applied(kind, v, steps), expected, rtol=1e-14, atol=1e-15)


@pytest.mark.parametrize("elementwise", [False, True])
@pytest.mark.parametrize("kind", PROXIMAL)
def test_a_step_of_zero_moves_nothing(kind, elementwise):
    weights = tensors(dtype=torch.float32)
    build(kind).prox_(weights, [torch.zeros_like(weight) for weight in weights] if elementwise else 0.0)
    for found, weight in zip(weights, tensors(dtype=torch.float32), strict=True):
        assert torch.equal(found, weight)


@pytest.mark.parametrize("elementwise", [False, True])
@pytest.mark.parametrize("kind", PROXIMAL)
def test_the_sign_of_a_weight_changes_only_the_sign_of_the_result(kind, elementwise):
    weights = [torch.cat([weight.flatten(), torch.tensor([0.0, -0.0])])[None] for weight in tensors(1)]
    strength = [torch.full_like(weight, 0.2) for weight in weights] if elementwise else 0.2
    mirrored = [-weight for weight in weights]
    build(kind).prox_(weights, strength)
    build(kind).prox_(mirrored, strength)
    for found, other in zip(weights, mirrored, strict=True):
        assert torch.equal(found, -other)
        assert torch.count_nonzero(found[0, -2:]) == 0


@pytest.mark.parametrize("elementwise", [False, True])
@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
@pytest.mark.parametrize("kind", SPARSE)
def test_zeros_are_exact(kind, dtype, elementwise):
    small = torch.linspace(-1e-3, 1e-3, 101, dtype=dtype).view(1, -1)
    for size in (4e-3, 0.1, 1e6):
        weights = [small.clone()]
        build(kind).prox_(weights, [torch.full_like(small, size)] if elementwise else size)
        assert torch.count_nonzero(weights[0]) == 0


@pytest.mark.parametrize("kind", ["none", "l2", "smooth_l1", "l2_sp"])
def test_smooth_penalties_make_no_zeros(kind):
    weights = [torch.tensor([[1e-3, -1e-3, 2.0]])]
    build(kind).prox_(weights, 10.0)
    assert torch.count_nonzero(weights[0]) == 3


def test_only_whole_filters_of_the_group_lasso_become_zero():
    weights = [torch.tensor([[1e-6, 3.0, 0.0], [0.1, 0.1, 0.1]])]
    build("group_lasso").prox_(weights, 0.2)
    assert (weights[0] != 0).tolist() == [[True, True, False], [False, False, False]]


@pytest.mark.parametrize("strength", [0.0, 1e-8, 1e-3, 0.4, 3.0, 1e2])
@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
@pytest.mark.parametrize("kind", PROXIMAL)
def test_elementwise_strengths_agree_with_scalar_ones(kind, strength, dtype):
    scalar, elementwise = tensors(dtype=dtype), tensors(dtype=dtype)
    build(kind).prox_(scalar, strength)
    build(kind).prox_(elementwise, [torch.full_like(weight, strength) for weight in elementwise])
    for one, other in zip(scalar, elementwise, strict=True):
        # v − s cancels: what is left is as exact as the larger of the two.
        torch.testing.assert_close(one, other, rtol=1e-6, atol=2 * torch.finfo(dtype).eps * max(1, strength))


@pytest.mark.parametrize("kind", PROXIMAL)
def test_elementwise_strengths_act_on_their_own_weight(kind):
    """A weight's result depends on no other's step; in a filter, on no other filter's."""
    width = 4 if kind in GROUPED else 1
    weights = [torch.from_numpy(np.random.default_rng(2).standard_normal((6, width)))]
    steps = torch.from_numpy(np.random.default_rng(3).uniform(0.05, 0.6, (6, width)))
    single = [weights[0][row : row + 1].clone() for row in range(6)]
    build(kind).prox_(weights, [steps])
    build(kind).prox_(single, [steps[row : row + 1] for row in range(6)])
    torch.testing.assert_close(weights[0], torch.cat(single), rtol=1e-14, atol=0)


def test_l1_prox_agrees_with_torch_softshrink():
    weights = tensors(3, torch.float32)
    expected = [torch.nn.functional.softshrink(weight, 0.37) for weight in weights]
    build("l1").prox_(weights, 0.37)
    for one, other in zip(weights, expected, strict=True):
        torch.testing.assert_close(one, other, rtol=0, atol=1e-7)


# Penalties that are others in disguise, for all weights: (spec, its λ, other spec, its λ).
@pytest.mark.parametrize(
    ("spec", "strength", "other", "other_strength"),
    [
        ({"kind": "soft"}, 0.2, {"kind": "elastic_net", "alpha": 0.5}, 0.4),
        ({"kind": "elastic_net", "alpha": 1}, 0.3, {"kind": "l1"}, 0.3),
        ({"kind": "elastic_net", "alpha": 0}, 0.3, {"kind": "l2"}, 0.3),
        ({"kind": "sparse_group_lasso", "alpha": 1}, 0.1, {"kind": "l1"}, 0.1),
        ({"kind": "sparse_group_lasso", "alpha": 0}, 0.1, {"kind": "group_lasso"}, 0.1),
        # A β above every weight: the article's smooth L1 is L2 of strength λ/β.
        ({"kind": "smooth_l1", "beta": 50.0}, 0.2, {"kind": "l2"}, 0.004),
        ({"kind": "berhu", "delta": 50.0}, 0.2, {"kind": "l1"}, 0.2),
        ({"kind": "mcp", "knot": 1e12}, 0.2, {"kind": "l1"}, 0.2),
    ],
    ids=lambda part: part["kind"] if isinstance(part, dict) else "",
)
def test_limits_are_the_penalties_that_they_should_be(spec, strength, other, other_strength):
    one, two = tensors(), tensors()
    assert strength * make(spec).value(one).item() == pytest.approx(
        other_strength * make(other).value(two).item(), rel=1e-11
    )
    make(spec).prox_(one, strength)
    make(other).prox_(two, other_strength)
    for a, b in zip(one, two, strict=True):
        torch.testing.assert_close(a, b, rtol=1e-10, atol=1e-12)


def test_the_group_lasso_of_filters_of_one_weight_is_the_lasso():
    weights = torch.linspace(-1, 1, 9, dtype=torch.float64).view(9, 1)
    one, two = [weights.clone()], [weights.clone()]
    build("group_lasso").prox_(one, 0.3)
    build("l1").prox_(two, 0.3)
    torch.testing.assert_close(one[0], two[0], rtol=1e-14, atol=1e-16)


def test_hoyer_counts_equal_weights_and_ignores_scale():
    penalty = build("hoyer")
    for count in (1, 5, 20):
        layer = torch.zeros(20, dtype=torch.float64)
        layer[:count] = 0.37
        assert penalty.value([layer]).item() == pytest.approx(count, rel=1e-14)
        assert penalty.value([1e-3 * layer]).item() == pytest.approx(count, rel=1e-12)
    layers = tensors()
    # A penalty that a scale does not change has a gradient across the weights.
    for layer, slope in zip(layers, penalty.gradient(layers), strict=True):
        assert (layer * slope).sum().item() == pytest.approx(0, abs=1e-13)


@pytest.mark.parametrize("kind", PROXIMAL)
def test_a_weight_that_is_not_a_number_stays_one(kind):
    weights = [torch.tensor([[float("nan"), 1.0]])]
    build(kind).prox_(weights, 0.5)
    assert torch.isnan(weights[0][0, 0])


@pytest.mark.parametrize("kind", SPECS)
def test_the_contract_is_kept_with_the_schemas_defaults(kind):
    findings = check_penalty(make(filled({"kind": kind}, DEFINITIONS[kind])))
    assert [finding for finding in findings if not finding.kept] == []


@pytest.mark.parametrize("kind", SPECS)
def test_class_and_schema_state_the_same_realisations(kind):
    stated = DEFINITIONS[kind]["properties"]["realisation"]
    assert set(build(kind).realisations) == set(stated["enum"])
    assert stated["default"] in stated["enum"]


@pytest.mark.parametrize("kind", SPECS)
def test_class_and_schema_state_the_same_options(kind):
    options = set(inspect.signature(type(build(kind))).parameters)
    assert options == set(SPECS[kind]) <= set(DEFINITIONS[kind]["properties"])
