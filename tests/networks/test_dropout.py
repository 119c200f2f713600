"""Dropout: what torch's own does, by the shares that it drops and the gradient that it lets through."""

import pytest
import torch

from softreg.networks.dropout import Dropout


@pytest.mark.parametrize("layout", [torch.contiguous_format, torch.channels_last])
@pytest.mark.parametrize("share", [0.1, 0.5, 0.9])
def test_it_drops_its_share_and_keeps_the_mean(share, layout):
    torch.manual_seed(0)
    units = torch.ones(8, 16, 25, 41).contiguous(memory_format=layout).requires_grad_()
    found = Dropout(share)(units)
    kept = found != 0
    count = units.numel()
    # Five standard errors of a share of independent units.
    assert abs(1 - kept.double().mean() - share) < 5 * (share * (1 - share) / count) ** 0.5
    assert torch.allclose(found[kept], torch.tensor(1 / (1 - share)), rtol=1e-4)
    found.sum().backward()
    assert torch.equal(units.grad, found)


def test_units_are_dropped_independently_of_their_neighbours():
    torch.manual_seed(0)
    kept = (Dropout(0.5)(torch.ones(400_000)) != 0).double() - 0.5
    for distance in (1, 2, 3, 4, 8):
        assert abs((kept[distance:] * kept[:-distance]).mean()) < 5 * 0.25 / 400_000**0.5


def test_in_16_bits_only_the_product_is_rounded():
    torch.manual_seed(0)
    found = Dropout(0.1)(torch.full((1000,), 0.7, dtype=torch.bfloat16))
    assert set(found.tolist()) == {0.0, float((torch.tensor(0.7, dtype=torch.bfloat16).double() / 0.9).bfloat16())}


def test_evaluation_and_a_share_of_zero_leave_units_as_they_are():
    units = torch.randn(3, 5)
    assert Dropout(0.0)(units) is units
    assert Dropout(0.5).eval()(units) is units


def test_the_global_seed_decides():
    draws = []
    for seed in (1, 1, 2):
        torch.manual_seed(seed)
        draws.append(Dropout(0.5)(torch.ones(1000)))
    assert torch.equal(draws[0], draws[1])
    assert not torch.equal(draws[0], draws[2])
