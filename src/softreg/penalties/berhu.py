"""berHu, the reversed Huber penalty: L1 near 0, a ridge beyond δ."""

from __future__ import annotations

import torch
from torch import Tensor

from softreg.penalties.base import Penalty, Strength, Tensors, excess, shift, soft_threshold_, sum_abs, sum_squares


class BerHu(Penalty):
    """P(w) = Σ |w| where |w| ≤ δ, else (w² + δ²)/2δ (Owen, 2007)."""

    def __init__(self, delta: float) -> None:
        self.delta = delta

    def value(self, weights: Tensors) -> Tensor:
        """Σ |w| + max(|w| − δ, 0)²/2δ, which is the same."""
        return sum_abs(weights) + sum_squares(excess(weights, self.delta)) / (2 * self.delta)

    def gradient(self, weights: Tensors) -> Tensors:
        """sign(w)·max(1, |w|/δ), as sign(w) + S_δ(w)/δ."""
        slope = torch._foreach_sign(weights)
        beyond = [weight.clone() for weight in weights]
        soft_threshold_(beyond, self.delta)
        torch._foreach_add_(slope, beyond, alpha=1 / self.delta)
        return slope

    def prox_(self, weights: Tensors, strength: Strength) -> None:
        """S_s(v) up to |v| = δ + s, vδ/(δ + s) beyond, as S_s(v) − s/(δ + s)·S_{δ+s}(v)."""
        reach = shift(strength, self.delta)
        beyond = [weight.clone() for weight in weights]
        soft_threshold_(beyond, reach)
        torch._foreach_mul_(beyond, strength)
        torch._foreach_div_(beyond, reach)
        soft_threshold_(weights, strength)
        torch._foreach_sub_(weights, beyond)
