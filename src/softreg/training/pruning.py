"""Magnitude pruning at one step of a training: the control for sparsity that a penalty makes."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor


class Pruner:
    """Sets the smallest share of all weights to zero once ``at`` steps are done, and holds them there.

    The weights of all layers are ranked together (Han et al., 2015); the steps that are left are the fine-tuning.
    ``done`` is the number of steps done so far: where they were pruned before, what is zero stays so.
    """

    def __init__(self, weights: Sequence[Tensor], share: float, at: int, done: int) -> None:
        self.weights, self.share, self.at = list(weights), share, at
        self.kept = self._mask() if share and done >= at else None

    @torch.no_grad()
    def __call__(self, done: int) -> None:
        """To be called after each step, with the number of steps done."""
        if not self.share or done < self.at:
            return
        if self.kept is None:
            self._prune()
            self.kept = self._mask()
        torch._foreach_mul_(self.weights, self.kept)

    def _mask(self) -> list[Tensor]:
        """1 where a weight is left, 0 where it was pruned: read off the weights, so that no checkpoint need hold it."""
        return [(weight != 0).to(weight.dtype) for weight in self.weights]

    def _prune(self) -> None:
        sizes = torch.cat([weight.abs().flatten() for weight in self.weights])
        # Stable, so that the share is exact and the same on every device also where magnitudes are equal.
        smallest = sizes.argsort(stable=True)[: round(self.share * sizes.numel())]
        pruned = torch.zeros_like(sizes, dtype=torch.bool)
        pruned[smallest] = True
        parts = torch.split(pruned, [weight.numel() for weight in self.weights])
        for weight, part in zip(self.weights, parts, strict=True):
            weight.masked_fill_(part.view_as(weight), 0.0)
