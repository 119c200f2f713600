"""The "soft regularisation" of the article that SoftReg grew from: one λ on L1 and L2 alike."""

from __future__ import annotations

import torch
from torch import Tensor

from softreg.penalties.base import Penalty, Strength, Tensors, shrink_, soft_threshold_, sum_abs, sum_squares


class Soft(Penalty):
    """P(w) = Σ |w| + w²/2: the elastic net of strength 2λ at α = ½, since no parameter balances its terms."""

    def value(self, weights: Tensors) -> Tensor:
        """Σ |w| + w²/2."""
        return sum_abs(weights) + sum_squares(weights) / 2

    def gradient(self, weights: Tensors) -> Tensors:
        """sign(w) + w."""
        total = torch._foreach_sign(weights)
        torch._foreach_add_(total, weights)
        return total

    def prox_(self, weights: Tensors, strength: Strength) -> None:
        """S_s(v)/(1 + s)."""
        soft_threshold_(weights, strength)
        shrink_(weights, strength)
