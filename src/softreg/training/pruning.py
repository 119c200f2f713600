"""Magnitude pruning in the course of a training: the control for sparsity that a penalty makes."""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Sequence

import torch
from torch import Tensor

ROUNDS = 10


def rounds(between: Sequence[float], steps: int) -> list[int]:
    """After which steps weights are set to zero, the last time for good; ``between`` are two shares of the steps."""
    first, last = between
    shares = (first + (last - first) * number / ROUNDS for number in range(1, ROUNDS + 1))
    return [max(1, round(share * steps)) for share in shares]


class Pruner:
    """Sets the smallest share of all weights to zero, in rounds of ever fewer, and holds them there.

    The weights of all layers are ranked together by `scores`. After ``rounds[k]`` steps, of n rounds from 0 on, the
    share is 1 − (1 − (k + 1)/n)³ of ``share`` (Zhu and Gupta, 2017); the steps that are left are the fine-tuning.
    ``done`` is the number of steps done so far: what was set to zero before stays so.
    """

    def __init__(self, weights: Sequence[Tensor], share: float, rounds: Sequence[int], done: int) -> None:
        self.weights, self.share, self.rounds = list(weights), share, rounds
        self.past = bisect_right(rounds, done)
        self.kept = self._mask() if share and self.past else []

    @torch.no_grad()
    def __call__(self, done: int) -> None:
        """To be called after each step, with the number of steps done."""
        past = bisect_right(self.rounds, done)
        if not self.share or not past:
            return
        if past > self.past:
            self._prune(self.share * (1 - (1 - past / len(self.rounds)) ** 3))
            self.past, self.kept = past, self._mask()
        torch._foreach_mul_(self.weights, self.kept)

    def _mask(self) -> list[Tensor]:
        """1 where a weight is left, 0 where it was pruned: read off the weights, so that no checkpoint need hold it."""
        return [(weight != 0).to(weight.dtype) for weight in self.weights]

    def _prune(self, share: float) -> None:
        ranked = torch.cat([scores(weight.flatten()) for weight in self.weights])
        # Stable, so that the share is exact and the same on every device also where scores are equal.
        smallest = ranked.argsort(stable=True)[: round(share * ranked.numel())]
        pruned = torch.zeros_like(ranked, dtype=torch.bool)
        pruned[smallest] = True
        parts = torch.split(pruned, [weight.numel() for weight in self.weights])
        for weight, part in zip(self.weights, parts, strict=True):
            weight.masked_fill_(part.view_as(weight), 0.0)


def scores(weights: Tensor) -> Tensor:
    """w² over the sum of all squares in the layer that are no smaller (LAMP; Lee et al., 2021), (N,) to (N,) float64.

    The largest weight of each layer has 1. By magnitudes alone whole layers would go first, and the network with them.
    """
    squares, order = weights.double().square().sort(stable=True)
    rest = squares.flip(0).cumsum(0).flip(0)
    ranked = torch.where(rest > 0, squares / rest, 0.0)
    return torch.empty_like(ranked).scatter_(0, order, ranked)
