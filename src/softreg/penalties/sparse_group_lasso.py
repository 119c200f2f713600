"""Sparse group lasso: zero filters, and zero weights within the others."""

from __future__ import annotations

import torch
from torch import Tensor

from softreg.penalties.base import Penalty, Strength, Tensors, scale, soft_threshold_, sum_abs
from softreg.penalties.groups import filter_slopes, group_threshold_, sum_filter_norms


class SparseGroupLasso(Penalty):
    """P(w) = Σ α|w| + (1 − α) Σ over output filters of √p·‖w_g‖ (Simon et al., 2013)."""

    structure = "filter"

    def __init__(self, alpha: float) -> None:
        self.alpha = alpha

    def value(self, weights: Tensors) -> Tensor:
        """Σ α|w| + (1 − α)√p·‖w_g‖."""
        return self.alpha * sum_abs(weights) + (1 - self.alpha) * sum_filter_norms(weights)

    def gradient(self, weights: Tensors) -> Tensors:
        """α·sign(w) + (1 − α)√p·w_g/‖w_g‖."""
        slopes = filter_slopes(weights)
        torch._foreach_mul_(slopes, 1 - self.alpha)
        torch._foreach_add_(slopes, torch._foreach_sign(weights), alpha=self.alpha)
        return slopes

    def prox_(self, weights: Tensors, strength: Strength) -> None:
        """The group lasso's after S_{sα}: with either kind of step, the two compose."""
        soft_threshold_(weights, scale(strength, self.alpha))
        group_threshold_(weights, scale(strength, 1 - self.alpha))
