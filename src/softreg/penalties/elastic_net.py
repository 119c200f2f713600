"""The elastic net (Zou and Hastie, 2005), in scikit-learn's parametrisation with α for ``l1_ratio``."""

from __future__ import annotations

import torch
from torch import Tensor

from softreg.penalties.base import Penalty, Strength, Tensors, scale, shrink_, soft_threshold_, sum_abs, sum_squares


class ElasticNet(Penalty):
    """P(w) = Σ α|w| + (1 − α)w²/2, with α in 0…1."""

    def __init__(self, alpha: float) -> None:
        self.alpha = alpha

    def value(self, weights: Tensors) -> Tensor:
        """Σ α|w| + (1 − α)w²/2."""
        return self.alpha * sum_abs(weights) + (1 - self.alpha) / 2 * sum_squares(weights)

    def gradient(self, weights: Tensors) -> Tensors:
        """α·sign(w) + (1 − α)w."""
        total = torch._foreach_sign(weights)
        torch._foreach_mul_(total, self.alpha)
        torch._foreach_add_(total, weights, alpha=1 - self.alpha)
        return total

    def prox_(self, weights: Tensors, strength: Strength) -> None:
        """S_{sα}(v)/(1 + s(1 − α))."""
        soft_threshold_(weights, scale(strength, self.alpha))
        shrink_(weights, scale(strength, 1 - self.alpha))
