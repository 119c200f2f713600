"""L0, the number of weights that are not zero."""

from __future__ import annotations

import math

import torch
from torch import Tensor

from softreg.penalties.base import Penalty, Strength, Tensors


class L0(Penalty):
    """P(w) = Σ 1[w ≠ 0]; it has no gradient that says anything."""

    realisations = ("proximal",)

    def value(self, weights: Tensors) -> Tensor:
        """The count."""
        return torch.stack([torch.count_nonzero(weight) for weight in weights]).sum().double()

    def prox_(self, weights: Tensors, strength: Strength) -> None:
        """v where |v| > √(2s), else 0: the hard threshold."""
        threshold = math.sqrt(2 * strength) if isinstance(strength, float) else _root(strength)
        kept = torch._foreach_abs(weights)
        torch._foreach_sub_(kept, threshold)
        torch._foreach_sign_(kept)
        torch._foreach_clamp_min_(kept, 0.0)
        torch._foreach_mul_(weights, kept)


def _root(strength: Tensors) -> Tensors:
    doubled = torch._foreach_mul(strength, 2.0)
    torch._foreach_sqrt_(doubled)
    return doubled
