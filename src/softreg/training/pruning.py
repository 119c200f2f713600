"""Pruning in the course of a training, by LAMP: the control for sparsity that a penalty makes."""

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
    """Sets the least share of all weights to zero, in rounds of ever fewer, and holds them there.

    The weights of all layers are ranked together by `scores`. After ``rounds[k]`` steps, of n rounds from 0 on, the
    share is 1 − (1 − (k + 1)/n)³ of ``share`` (Zhu and Gupta, 2017); the steps that are left are the fine-tuning.
    ``kept`` is 1 where a weight is left and 0 where it was pruned; empty where ``share`` is 0.
    """

    def __init__(self, weights: Sequence[Tensor], share: float, rounds: Sequence[int]) -> None:
        self.weights, self.share, self.rounds = list(weights), share, rounds
        self.kept = [torch.ones_like(weight) for weight in weights] if share else []

    @torch.no_grad()
    def __call__(self, done: int) -> None:
        """To be called after each step, with the number of steps done."""
        if not self.share or done < self.rounds[0]:
            return
        # The step has moved what was pruned before, which must not come back by being large for once.
        torch._foreach_mul_(self.weights, self.kept)
        if done in self.rounds:
            past = bisect_right(self.rounds, done) / len(self.rounds)
            self._prune(self.share * (1 - (1 - past) ** 3))

    def _prune(self, share: float) -> None:
        ranked = torch.cat([scores(weight.flatten()) for weight in self.weights])
        if not (count := round(share * ranked.numel())):
            return
        highest = ranked.kthvalue(count).values
        pruned = ranked < highest
        # So that the share is exact also where scores are equal: the first of them.
        equal = (ranked == highest).nonzero().flatten()
        pruned[equal[: count - int(pruned.sum())]] = True
        parts = torch.split(pruned, [weight.numel() for weight in self.weights])
        for weight, kept, part in zip(self.weights, self.kept, parts, strict=True):
            # A negative weight times 0 is -0.0, which has other bits.
            weight.masked_fill_(part.view_as(weight), 0.0)
            kept.masked_fill_(part.view_as(kept), 0.0)


def scores(weights: Tensor) -> Tensor:
    """w² over the sum of its own and all larger squares of the layer (LAMP; Lee et al., 2021), (N,) to (N,) float64.

    The largest weight of each layer has 1. By magnitudes alone whole layers would go first, and the network with them.
    """
    sizes, order = weights.abs().sort(stable=True)
    squares = sizes.double().square()
    rest = squares.flip(0).cumsum(0).flip(0)
    ranked = torch.where(squares > 0, squares / rest, 0.0)
    return torch.empty_like(ranked).scatter_(0, order, ranked)
