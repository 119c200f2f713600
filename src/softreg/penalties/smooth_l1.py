"""Smooth L1, the Huber penalty: quadratic at 0, so that it makes no weight exactly zero."""

from __future__ import annotations

import torch
from torch import Tensor

from softreg.penalties.base import Penalty, Strength, Tensors, clip, excess, shift, sum_abs, sum_squares


class SmoothL1(Penalty):
    """P(w) = Σ w²/2β where |w| < β, else |w| − β/2 (Huber, 1964; Girshick, 2015, in this scaling)."""

    def __init__(self, beta: float) -> None:
        self.beta = beta

    def value(self, weights: Tensors) -> Tensor:
        """Σ min(|w|, β)²/2β + max(|w| − β, 0)."""
        inside = clip(weights, self.beta)
        return sum_squares(inside) / (2 * self.beta) + sum_abs(excess(weights, self.beta))

    def gradient(self, weights: Tensors) -> Tensors:
        """clip(w, ±β)/β."""
        slope = clip(weights, self.beta)
        torch._foreach_div_(slope, self.beta)
        return slope

    def prox_(self, weights: Tensors, strength: Strength) -> None:
        """v − s·clip(v/(β + s), ±1): vβ/(β + s) up to |v| = β + s, and v − s·sign(v) beyond."""
        slope = clip(torch._foreach_div(weights, shift(strength, self.beta)), 1.0)
        torch._foreach_mul_(slope, strength)
        torch._foreach_sub_(weights, slope)
