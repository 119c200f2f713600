"""An exponential average of a network's weights over the steps of its training."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

import torch
from torch import Tensor, nn


class Average:
    """The average Σ dᵗ⁻ˢ·w_s / Σ dᵗ⁻ˢ over the weights w_s after each step s up to t, with d the ``decay``.

    So the weights that training began with weigh no more than any others as old. Statistics of normalisation are
    averaged too, as by torch.optim.swa_utils.AveragedModel with ``use_buffers``. What is exactly zero after the last
    step is zero in the average: otherwise pruned weights, and those that a proximal step has set to zero, would come
    back.
    """

    def __init__(self, model: nn.Module, decay: float) -> None:
        self.decay = decay
        self.last = [tensor for tensor in model.state_dict().values() if tensor.is_floating_point()]
        self.values = [tensor.clone() for tensor in self.last]

    @torch.no_grad()
    def update(self, done: int) -> None:
        """To be called after each step, with the number of steps done."""
        torch._foreach_lerp_(self.values, self.last, (1 - self.decay) / (1 - self.decay**done))

    @contextmanager
    def applied(self) -> Iterator[None]:
        """Within it, the network has the averaged weights."""
        last = [tensor.clone() for tensor in self.last]
        self._write([torch.where(now != 0, mean, 0.0) for now, mean in zip(self.last, self.values, strict=True)])
        try:
            yield
        finally:
            self._write(last)

    @torch.no_grad()
    def _write(self, tensors: list[Tensor]) -> None:
        torch._foreach_copy_(self.last, tensors)
