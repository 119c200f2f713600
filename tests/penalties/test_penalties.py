"""Each penalty's gradient against finite differences of its value, and its prox against brute force."""

import numpy as np
import pytest
import torch

from softreg.penalties import make

SPECS = {
    "none": {"kind": "none"},
    "l2": {"kind": "l2"},
    "l1": {"kind": "l1"},
    "elastic_net": {"kind": "elastic_net", "alpha": 0.3},
    "soft": {"kind": "soft"},
}
STRENGTHS = [0.0, 1e-8, 1e-3, 0.4, 3.0, 1e2]


@pytest.fixture(params=SPECS.values(), ids=SPECS)
def penalty(request):
    return make(request.param)


def _weights(seed=0):
    generator = torch.Generator().manual_seed(seed)
    shapes = [(4, 3, 3, 3), (5, 4), (1, 1)]
    return [torch.randn(shape, generator=generator, dtype=torch.float64) for shape in shapes]


def test_gradient_is_the_slope_of_the_value(penalty):
    weights = _weights()
    gradients = penalty.gradient(weights)
    h = 1e-6
    for tensor, gradient in zip(weights, gradients, strict=True):
        for index in [0, tensor.numel() // 2, tensor.numel() - 1]:
            flat = tensor.view(-1)
            kept = flat[index].item()
            flat[index] = kept + h
            above = penalty.value(weights)
            flat[index] = kept - h
            below = penalty.value(weights)
            flat[index] = kept
            slope = (above - below) / (2 * h)
            assert gradient.reshape(-1)[index].item() == pytest.approx(slope.item(), abs=1e-6)


def _brute_force_prox(penalty, v, strength):
    """Minimise ½(w − v)² + s·P(w) on a grid that is refined around its best point; 0 is always on it."""
    low, high = -abs(v) - 1, abs(v) + 1
    for _ in range(14):
        grid = np.unique(np.append(np.linspace(low, high, 401), 0.0))
        cost = [
            0.5 * (w - v) ** 2 + strength * penalty.value([torch.tensor([w], dtype=torch.float64)]).item() for w in grid
        ]
        best = grid[int(np.argmin(cost))]
        width = (high - low) / 50
        low, high = best - width, best + width
    return best


@pytest.mark.parametrize("strength", [0.0, 0.05, 0.7, 3.0])
@pytest.mark.parametrize("v", [-2.3, -0.4, 0.0, 0.03, 1.1])
def test_prox_minimises(penalty, v, strength):
    weights = [torch.tensor([v], dtype=torch.float64)]
    penalty.prox_(weights, strength)
    assert weights[0].item() == pytest.approx(_brute_force_prox(penalty, v, strength), abs=1e-6)


@pytest.mark.parametrize("strength", STRENGTHS)
@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_elementwise_strengths_agree_with_scalar_ones(penalty, strength, dtype):
    scalar = [weight.to(dtype) for weight in _weights()]
    elementwise = [weight.clone() for weight in scalar]
    penalty.prox_(scalar, strength)
    penalty.prox_(elementwise, [torch.full_like(weight, strength) for weight in elementwise])
    for one, other in zip(scalar, elementwise, strict=True):
        # v − s cancels: what is left is as exact as the larger of the two.
        torch.testing.assert_close(one, other, rtol=1e-6, atol=torch.finfo(dtype).eps * max(1, strength))


def test_elementwise_strengths_act_on_their_own_weight():
    weights = [torch.tensor([1.0, 1.0, -1.0])]
    make(SPECS["l1"]).prox_(weights, [torch.tensor([0.25, 2.0, 0.5])])
    assert weights[0].tolist() == [0.75, 0.0, -0.5]


@pytest.mark.parametrize("name", ["l1", "soft", "elastic_net"])
def test_thresholded_weights_are_exactly_zero(name):
    weights = [torch.linspace(-1e-3, 1e-3, 101)]
    make(SPECS[name]).prox_(weights, 0.1)
    assert torch.count_nonzero(weights[0]) == 0


def test_l1_prox_agrees_with_torch_softshrink():
    weights = [weight.float() for weight in _weights(3)]
    expected = [torch.nn.functional.softshrink(weight, 0.37) for weight in weights]
    make(SPECS["l1"]).prox_(weights, 0.37)
    for one, other in zip(weights, expected, strict=True):
        torch.testing.assert_close(one, other, rtol=0, atol=1e-7)


def test_soft_is_the_elastic_net_of_twice_the_strength():
    soft, net = make(SPECS["soft"]), make({"kind": "elastic_net", "alpha": 0.5})
    one, other = _weights(), _weights()
    soft.prox_(one, 0.2)
    net.prox_(other, 0.4)
    for a, b in zip(one, other, strict=True):
        torch.testing.assert_close(a, b, rtol=1e-14, atol=0)
    assert soft.value(one).item() == pytest.approx(2 * net.value(one).item(), rel=1e-14)


def test_a_weight_that_is_not_a_number_stays_one(penalty):
    weights = [torch.tensor([float("nan"), 1.0])]
    penalty.prox_(weights, 0.5)
    assert torch.isnan(weights[0][0])
