"""Hoyer², a sparsity penalty that a layer's scale does not change."""

from __future__ import annotations

import torch
from torch import Tensor

from softreg.penalties.base import Penalty, Tensors, sums_abs, sums_squares

#: Keeps a layer of zeros from dividing by zero.
_TINY = 1e-30


class Hoyer(Penalty):
    """P(w) = Σ over layers of ‖w‖₁²/‖w‖₂² (Yang, Wen and Li, 2020): between 1 and the layer's number of weights."""

    realisations = ("subgradient",)
    structure = "layer"

    def value(self, weights: Tensors) -> Tensor:
        """Σ ‖w‖₁²/‖w‖₂²; 0 for a layer of zeros."""
        ones, squares = (torch.stack(sums).double() for sums in (sums_abs(weights), sums_squares(weights)))
        return (ones.square() / squares.clamp_min(_TINY)).sum()

    def gradient(self, weights: Tensors) -> Tensors:
        """2·sign(w)·‖w‖₁(‖w‖₂² − |w|·‖w‖₁)/‖w‖₂⁴, as a·sign(w) − b·w; 0 for a layer of zeros."""
        ones, squares = sums_abs(weights), sums_squares(weights)
        torch._foreach_clamp_min_(squares, _TINY)
        ratio = torch._foreach_div(ones, squares)
        slope = torch._foreach_sign(weights)
        torch._foreach_mul_(slope, [2 * each for each in ratio])
        torch._foreach_addcmul_(slope, weights, [each * each for each in ratio], value=-2.0)
        return slope
