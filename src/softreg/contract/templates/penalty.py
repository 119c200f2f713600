"""A penalty of your own: P(w), summed over the penalised weights. The study's λ multiplies it."""

from __future__ import annotations

import torch
from torch import Tensor

from softreg.penalties.base import Penalty, Strength, Tensors, scale, shrink_, sum_squares


class Template(Penalty):
    """P(w) = gamma · Σ w²/2: put your formula here, and into the three methods."""

    # How λP may enter training: proximal needs prox_, subgradient and decoupled need gradient.
    realisations = ("proximal", "subgradient")
    # What a weight's part in P depends on: that weight alone, its output filter, or its whole layer.
    structure = "weight"

    def __init__(self, gamma: float = 1.0) -> None:
        # Each keyword is a key of the study's entry; one without a default must be given there.
        self.gamma = gamma

    def value(self, weights: Tensors) -> Tensor:
        """P(w), a scalar of float64; ``weights`` is a list of tensors, output filters along the first axis."""
        return self.gamma * sum_squares(weights) / 2

    def gradient(self, weights: Tensors) -> Tensors:
        """The slope of P, one tensor for each of ``weights``; 0 where it is not unique."""
        return torch._foreach_mul(weights, self.gamma)

    def prox_(self, weights: Tensors, strength: Strength) -> None:
        """Replace v by argmin_w Σ (w − v)²/(2·strength) + P(w), in place.

        ``strength`` is one number, or a tensor for each of ``weights``; ``scale``, ``shift``, ``clip``, ``shrink_`` and
        ``soft_threshold_`` of softreg.penalties.base take both.
        """
        shrink_(weights, scale(strength, self.gamma))
