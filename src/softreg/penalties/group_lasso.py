"""Group lasso over output filters: whole filters become zero."""

from __future__ import annotations

from torch import Tensor

from softreg.penalties.base import Penalty, Strength, Tensors
from softreg.penalties.groups import filter_slopes, group_threshold_, sum_filter_norms


class GroupLasso(Penalty):
    """P(w) = Σ over output filters of √p·‖w_g‖, p weights in a filter (Yuan and Lin, 2006)."""

    structure = "filter"

    def value(self, weights: Tensors) -> Tensor:
        """Σ √p·‖w_g‖."""
        return sum_filter_norms(weights)

    def gradient(self, weights: Tensors) -> Tensors:
        """√p·w_g/‖w_g‖; 0 for a filter of zeros."""
        return filter_slopes(weights)

    def prox_(self, weights: Tensors, strength: Strength) -> None:
        """v_g·max(0, 1 − s√p/‖v_g‖); with a step for each weight, the root of one equation a filter."""
        group_threshold_(weights, strength)
