"""What every penalty states: its value, a gradient, its proximal operator and the realisations that it supports."""

from __future__ import annotations

from abc import ABC, abstractmethod
from typing import ClassVar

import torch
from torch import Tensor

#: Weight tensors, as foreach operations take and give them.
Tensors = list[Tensor] | tuple[Tensor, ...]
#: Step size times λ: one number under SGD, a tensor of each weight's shape under Adam.
Strength = float | Tensors


class Penalty(ABC):
    """P(w), summed over the penalised weight tensors; λ always comes from outside.

    Methods take the list of weight tensors, of any shapes, all on one device, and work by foreach operations.
    """

    #: How λP may enter training.
    realisations: ClassVar[tuple[str, ...]] = ("proximal", "subgradient")

    @abstractmethod
    def value(self, weights: Tensors) -> Tensor:
        """P(w), a float64 scalar tensor on the weights' device."""

    @abstractmethod
    def gradient(self, weights: Tensors) -> Tensors:
        """A (sub)gradient of P, one tensor per weight tensor; 0 is taken where it is not unique."""

    @abstractmethod
    def prox_(self, weights: Tensors, strength: Strength) -> None:
        """Replace each v by argmin_w ½(w − v)²/strength + P(w), in place; ``strength`` is step × λ ≥ 0."""


def soft_threshold_(weights: Tensors, threshold: Strength) -> None:
    """S_a(v) = sign(v)·max(|v| − a, 0) in place, written v − clip(v, ±a): exact zeros, three operations."""
    low = -threshold if isinstance(threshold, float) else torch._foreach_neg(threshold)
    inside = torch._foreach_clamp_min(weights, low)
    torch._foreach_clamp_max_(inside, threshold)
    torch._foreach_sub_(weights, inside)


def shrink_(weights: Tensors, strength: Strength) -> None:
    """v/(1 + s) in place: the proximal operator of w²/2."""
    divisor = 1.0 + strength if isinstance(strength, float) else torch._foreach_add(strength, 1.0)
    torch._foreach_div_(weights, divisor)


def scale(strength: Strength, factor: float) -> Strength:
    """``strength`` times a number."""
    return strength * factor if isinstance(strength, float) else torch._foreach_mul(strength, factor)


def sum_abs(weights: Tensors) -> Tensor:
    """Σ|w|, float64: each tensor is summed in its own precision, the sums in float64."""
    return torch.stack(torch._foreach_norm(weights, 1)).double().sum()


def sum_squares(weights: Tensors) -> Tensor:
    """Σw², float64."""
    return torch.stack(torch._foreach_norm(weights, 2)).double().square().sum()
