"""Magnitude pruning at one step of a training: the control for sparsity that a penalty makes."""

from __future__ import annotations

from collections.abc import Sequence
from functools import cached_property

import torch
from torch import Tensor


class Pruner:
    """Sets the smallest share of all weights to zero once ``at`` steps are done, and holds them there.

    The weights of all layers are ranked together (Han et al., 2015); the steps that are left are the fine-tuning.
    """

    def __init__(self, weights: Sequence[Tensor], share: float, at: int) -> None:
        self.weights, self.share, self.at = list(weights), share, at

    @torch.no_grad()
    def __call__(self, done: int) -> None:
        """To be called after each step, with the number of steps done."""
        if not self.share or done < self.at:
            return
        if done == self.at:
            threshold = self._threshold()
            for weight in self.weights:
                weight.masked_fill_(weight.abs() <= threshold, 0.0)
        torch._foreach_mul_(self.weights, self._kept)

    @cached_property
    def _kept(self) -> list[Tensor]:
        """1 where a weight is left, 0 where it was pruned.

        Read off the weights, so that a resumed training needs no mask of its own.
        """
        return [(weight != 0).to(weight.dtype) for weight in self.weights]

    def _threshold(self) -> Tensor:
        sizes = torch.cat([weight.abs().flatten() for weight in self.weights])
        count = round(self.share * sizes.numel())
        return sizes.kthvalue(count).values if count else sizes.new_tensor(-1.0)
