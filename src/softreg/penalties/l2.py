"""L2, the ridge penalty."""

from __future__ import annotations

from typing import ClassVar

import torch
from torch import Tensor

from softreg.penalties.base import Number, Penalty, Strength, Tensors, shrink_, sum_squares


class L2(Penalty):
    """P(w) = Σ w²/2."""

    realisations: ClassVar[tuple[str, ...]] = ("proximal", "subgradient", "decoupled")

    def value(self, weights: Tensors) -> Tensor:
        """Σ w²/2."""
        return sum_squares(weights) / 2

    def gradient(self, weights: Tensors) -> Tensors:
        """w, the tensors themselves."""
        return weights

    def decay_(self, weights: Tensors, step: Number) -> None:
        """w·(1 − step), rounded as torch.optim.AdamW rounds it."""
        torch._foreach_mul_(weights, 1 - step)

    def prox_(self, weights: Tensors, strength: Strength) -> None:
        """v/(1 + s)."""
        shrink_(weights, strength)
