"""Zeros that the noise of the gradient does not hide, set once a training's steps are done.

Proximal steps set a weight to zero where the gradient of the data term is too weak to hold it away from zero. Of a few
images the gradient is noisy, so that one batch takes to zero what the next takes from it again: the smaller the batch,
the fewer weights happen to be zero when the last step is done, and the rest are nearly so. Averaged over many steps the
noise is gone, as in the dual averaging of Xiao (2010), which takes its zeros from the mean of all gradients.
"""

from __future__ import annotations

import math
from collections.abc import Callable

import torch
from torch import Tensor

from softreg.training.optim import RegularisedStep

WINDOW = 0.5
"""The share of the steps, the last ones, whose gradients are averaged: before, weights are far from where they end."""


class Zeroing:
    """Averages the gradients of the last steps, and at the end sets to zero what the penalty holds there.

    These are the weights that an epoch of proximal steps along the mean gradient would leave at zero, with the mean
    learning rate of the steps averaged. All others stay as the last step left them. The mean weighs each gradient by
    its learning rate, as the sum of the steps does: a weight that ends where it was has a mean gradient that balances
    the penalty's.

    Nothing happens where the step makes no zeros: by λ = 0, by another realisation, or by a prox that makes none.
    ``rate`` gives the learning rate at each of the training's ``steps``. ``sums`` are the only state.
    """

    def __init__(self, update: RegularisedStep, rate: Callable[[int], float], steps: int, steps_per_epoch: int) -> None:
        self.update, self.rate, self.steps, self.steps_per_epoch = update, rate, steps, steps_per_epoch
        self.first = math.floor((1 - WINDOW) * steps)
        self.parameters = update.regulariser.parameters if update.makes_zeros else []
        self.sums: list[Tensor] = [torch.zeros_like(parameter) for parameter in self.parameters]

    @torch.no_grad()
    def __call__(self, done: int) -> int | None:
        """To be called after each step, with the number of steps done.

        The parameters' ``grad`` still holds the data term's gradient. Returns how many weights were set to zero, None
        but after the last step.
        """
        if not self.sums or done <= self.first:
            return None
        gradients: list[Tensor] = [parameter.grad for parameter in self.parameters]  # type: ignore[misc]
        torch._foreach_add_(self.sums, gradients, alpha=self.rate(done - 1))
        return self._zero() if done == self.steps else None

    def _zero(self) -> int:
        total = math.fsum(map(self.rate, range(self.first, self.steps)))
        before = self._nonzero()
        self.update.zero(torch._foreach_div(self.sums, total), total / (self.steps - self.first), self.steps_per_epoch)
        return before - self._nonzero()

    def _nonzero(self) -> int:
        return sum(int(torch.count_nonzero(parameter)) for parameter in self.parameters)
