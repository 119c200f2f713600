"""L1, the lasso penalty."""

from __future__ import annotations

import torch
from torch import Tensor

from softreg.penalties.base import Penalty, Strength, Tensors, soft_threshold_, sum_abs


class L1(Penalty):
    """P(w) = Σ |w|."""

    def value(self, weights: Tensors) -> Tensor:
        """Σ |w|."""
        return sum_abs(weights)

    def gradient(self, weights: Tensors) -> Tensors:
        """sign(w)."""
        return torch._foreach_sign(weights)

    def prox_(self, weights: Tensors, strength: Strength) -> None:
        """S_s(v)."""
        soft_threshold_(weights, strength)
