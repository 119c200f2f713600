"""Hoyer², a sparsity penalty that a layer's scale does not change."""

from __future__ import annotations

import torch
from torch import Tensor

from softreg.penalties.base import Penalty, Tensors

#: Keeps a layer of zeros from dividing by zero.
_TINY = 1e-30


class Hoyer(Penalty):
    """P(w) = Σ over layers of ‖w‖₁²/‖w‖₂² (Yang, Wen and Li, 2020): between 1 and the layer's number of weights."""

    realisations = ("subgradient",)
    structure = "layer"

    def value(self, weights: Tensors) -> Tensor:
        """Σ ‖w‖₁²/‖w‖₂²; 0 for a layer of zeros."""
        ones, twos = (torch.stack(torch._foreach_norm(weights, order)).double() for order in (1, 2))
        return (ones.square() / twos.square().clamp_min(_TINY)).sum()

    def gradient(self, weights: Tensors) -> Tensors:
        """2·sign(w)·‖w‖₁(‖w‖₂² − |w|·‖w‖₁)/‖w‖₂⁴, as a·sign(w) − b·w; 0 for a layer of zeros."""
        ones, squares = torch._foreach_norm(weights, 1), torch._foreach_norm(weights, 2)
        torch._foreach_mul_(squares, squares)
        torch._foreach_clamp_min_(squares, _TINY)
        ratio = torch._foreach_div(ones, squares)
        slope = torch._foreach_sign(weights)
        torch._foreach_mul_(slope, [2 * each for each in ratio])
        torch._foreach_addcmul_(slope, weights, [each * each for each in ratio], value=-2.0)
        return slope
