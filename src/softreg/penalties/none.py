"""No penalty: the reference that every other one is compared with."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor

from softreg.penalties.base import Penalty, Strength


class NoPenalty(Penalty):
    """P(w) = 0."""

    def value(self, weights: Sequence[Tensor]) -> Tensor:
        """0."""
        return torch.zeros((), dtype=torch.float64, device=weights[0].device)

    def gradient(self, weights: Sequence[Tensor]) -> Sequence[Tensor]:
        """0."""
        return [torch.zeros_like(weight) for weight in weights]

    def prox_(self, weights: Sequence[Tensor], strength: Strength) -> None:
        """The identity."""
