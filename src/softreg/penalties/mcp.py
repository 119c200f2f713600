"""MCP, the minimax concave penalty: L1 near 0, constant beyond a knot, so that large weights are not shrunk."""

from __future__ import annotations

import math

import torch
from torch import Tensor

from softreg.penalties.base import Penalty, Strength, Tensors, clip, sum_abs, sum_squares

#: Stands for an infinite slope, which times zero would be no number.
_STEEP = 1e30


class MCP(Penalty):
    """P(w) = Σ |w| − w²/2k where |w| ≤ k, else k/2 (Zhang, 2010, with unit slope at 0)."""

    def __init__(self, knot: float) -> None:
        self.knot = knot

    def value(self, weights: Tensors) -> Tensor:
        """Σ c − c²/2k with c = min(|w|, k)."""
        inside = clip(weights, self.knot)
        return sum_abs(inside) - sum_squares(inside) / (2 * self.knot)

    def gradient(self, weights: Tensors) -> Tensors:
        """sign(w)·max(1 − |w|/k, 0)."""
        slope = torch._foreach_sign(weights)
        torch._foreach_add_(slope, clip(weights, self.knot), alpha=-1 / self.knot)
        return slope

    def prox_(self, weights: Tensors, strength: Strength) -> None:
        """The global minimum: with s < k the firm threshold min(|v|, max(|v| − s, 0)·k/(k − s)), exactly v beyond k.

        With s ≥ k the problem is concave up to k, and a hard threshold at √(sk) remains.
        """
        threshold, slope = self._firm(strength)
        size = torch._foreach_abs(weights)
        torch._foreach_sub_(size, threshold)
        torch._foreach_clamp_min_(size, 0.0)
        torch._foreach_mul_(size, slope)
        torch._foreach_minimum_(size, torch._foreach_abs(weights))
        torch._foreach_sign_(weights)
        torch._foreach_mul_(weights, size)

    def _firm(self, strength: Strength) -> tuple[Strength, Strength]:
        """Threshold √(s·min(s, k)) and slope k/(k − s)."""
        if isinstance(strength, float):
            low = min(strength, self.knot)
            room = self.knot - low
            return math.sqrt(strength * low), self.knot / room if room else _STEEP
        lower = torch._foreach_clamp_max(strength, self.knot)
        slope = torch._foreach_neg(lower)
        torch._foreach_add_(slope, self.knot)
        torch._foreach_reciprocal_(slope)
        torch._foreach_mul_(slope, self.knot)
        torch._foreach_clamp_max_(slope, _STEEP)
        torch._foreach_mul_(lower, strength)
        torch._foreach_sqrt_(lower)
        return lower, slope
