"""What every penalty states: its value, a gradient, its proximal operator and the realisations that it supports."""

from __future__ import annotations

from abc import ABC, abstractmethod
from typing import ClassVar

import torch
from torch import Tensor

#: Weight tensors, as foreach operations take and give them.
Tensors = list[Tensor] | tuple[Tensor, ...]
#: Step size times λ: one number under SGD, a tensor of each weight's shape under Adam and on a GPU.
Strength = float | Tensors
#: One number. On a GPU a tensor that holds one, so that a step which is launched again finds another number there.
Number = float | Tensor


class Penalty(ABC):
    """P(w), summed over the penalised weight tensors; λ always comes from outside.

    Methods take a list of weight tensors, of any shapes with the output filters along the first axis, all on one
    device, and work by foreach operations. A penalty has a ``prox_`` where ``realisations`` holds proximal, and a
    ``gradient`` where it holds subgradient or decoupled.
    """

    #: How λP may enter training: proximal, subgradient or decoupled.
    realisations: ClassVar[tuple[str, ...]] = ("proximal", "subgradient")
    #: What a weight's part in P depends on: that weight alone, its output filter, or its whole layer.
    structure: ClassVar[str] = "weight"
    #: What P measures the distance to: zero, or the weights that a pretrained layer started from.
    origin: ClassVar[str] = "zero"

    @abstractmethod
    def value(self, weights: Tensors) -> Tensor:
        """P(w), a float64 scalar tensor on the weights' device."""

    def gradient(self, weights: Tensors) -> Tensors:
        """A (sub)gradient of P, one tensor per weight tensor; 0 is taken where it is not unique."""
        raise NotImplementedError(
            f"{type(self).__name__} has no gradient; write it, or take subgradient out of `realisations`"
        )

    def decay_(self, weights: Tensors, step: Number) -> None:
        """w − step·gradient(w) in place, the decoupled step; ``step`` is learning rate × λ."""
        add_(weights, self.gradient(weights), -step)

    def prox_(self, weights: Tensors, strength: Strength) -> None:
        """Replace v by argmin_w Σ (w − v)²/(2·strength) + P(w), in place; ``strength`` is step × λ ≥ 0.

        ``strength`` is one number, or a tensor for each weight tensor where the step differs from weight to weight.
        """
        raise NotImplementedError(
            f"{type(self).__name__} has no prox_; write it, or take proximal out of `realisations`"
        )


def add_(weights: Tensors, terms: Tensors, factor: Number) -> None:
    """w + factor·term in place."""
    if isinstance(factor, float):
        torch._foreach_add_(weights, terms, alpha=factor)
    else:
        torch._foreach_add_(weights, torch._foreach_mul(terms, factor))


def shift_(weights: Tensors, term: Number) -> None:
    """w + term in place."""
    if isinstance(term, float):
        torch._foreach_add_(weights, term)
    else:
        # Without alpha, torch would ask the device for the number.
        torch._foreach_add_(weights, term, alpha=1)


def soft_threshold_(weights: Tensors, threshold: Strength) -> None:
    """S_a(v) = sign(v)·max(|v| − a, 0) in place, written v − clip(v, ±a): exact zeros, three operations."""
    torch._foreach_sub_(weights, clip(weights, threshold))


def clip(weights: Tensors, bound: Strength) -> Tensors:
    """Min(max(v, −a), a)."""
    low = -bound if isinstance(bound, float) else torch._foreach_neg(bound)
    inside = torch._foreach_clamp_min(weights, low)
    torch._foreach_clamp_max_(inside, bound)
    return inside


def shrink_(weights: Tensors, strength: Strength) -> None:
    """v/(1 + s) in place: the proximal operator of w²/2."""
    torch._foreach_div_(weights, shift(strength, 1.0))


def scale(strength: Strength, factor: float) -> Strength:
    """``strength`` times a number."""
    return strength * factor if isinstance(strength, float) else torch._foreach_mul(strength, factor)


def shift(strength: Strength, term: float) -> Strength:
    """``strength`` plus a number."""
    return strength + term if isinstance(strength, float) else torch._foreach_add(strength, term)


def excess(weights: Tensors, threshold: float) -> Tensors:
    """max(|w| − a, 0)."""
    beyond = torch._foreach_abs(weights)
    torch._foreach_sub_(beyond, threshold)
    torch._foreach_clamp_min_(beyond, 0.0)
    return beyond


def sum_abs(weights: Tensors) -> Tensor:
    """Σ|w|, float64: each tensor is summed in its own precision, the sums in float64."""
    return torch.stack(sums_abs(weights)).double().sum()


def sum_squares(weights: Tensors) -> Tensor:
    """Σw², float64; as `sum_abs`."""
    return torch.stack(sums_squares(weights)).double().sum()


def sums_abs(weights: Tensors) -> list[Tensor]:
    """Σ|w| of each tensor, a scalar of its type.

    Not by foreach norms, which on a CPU add millions of float32 values one after another: errors of 1e-3.
    """
    return [part.sum() for part in torch._foreach_abs(weights)]


def sums_squares(weights: Tensors) -> list[Tensor]:
    """Σw² of each tensor; as `sums_abs`."""
    return [part.sum() for part in torch._foreach_mul(weights, weights)]
