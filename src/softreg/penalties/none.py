"""No penalty: the reference that every other one is compared with."""

from __future__ import annotations

import torch
from torch import Tensor

from softreg.penalties.base import Penalty, Strength, Tensors


class NoPenalty(Penalty):
    """P(w) = 0."""

    realisations = ("proximal",)

    def value(self, weights: Tensors) -> Tensor:
        """0."""
        return torch.zeros((), dtype=torch.float64, device=weights[0].device)

    def prox_(self, weights: Tensors, strength: Strength) -> None:
        """The identity."""
