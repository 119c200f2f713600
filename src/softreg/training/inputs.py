"""What a training step reads that the host makes, in tensors that stay where they are from step to step."""

from __future__ import annotations

from itertools import cycle

import torch
from torch import Tensor

from softreg.penalties.base import Number
from softreg.training.augment import DRAWS
from softreg.training.imageset import Batches


class Inputs:
    """A batch, the random numbers of its augmentation, and the two numbers that change: learning rate and λ.

    On the CPU a step reads what the host has written, and the numbers are floats. A GPU has a copy of its own, which
    comes from page-locked memory. Of that there are two: the host fills one while the other may still be on its way,
    and waits only where the GPU is two steps behind.
    """

    def __init__(self, batches: Batches, count: int) -> None:
        self.batches = batches
        self.on_gpu = batches.device.type == "cuda"
        self.turns = cycle([_Host(batches, count, self.on_gpu) for _ in range(1 + self.on_gpu)])
        here = next(self.turns).tensors
        self.tensors = [torch.empty_like(one, device=batches.device) for one in here] if self.on_gpu else here
        self.lr: Number = 0.0
        self.lambda_: Number = 0.0
        if self.on_gpu:
            self.lr, self.lambda_ = self.tensors[-1].unbind()

    def fill(self, indices: Tensor, drawn: Tensor, lr: float, lambda_: float) -> None:
        """All that the next step reads: the positions of its images, what `augment.draw` gives, and both numbers."""
        host = next(self.turns)
        host.wait()
        *named, draws, numbers = host.tensors
        self.batches.name(indices, named)
        draws.copy_(drawn)
        if self.on_gpu:
            numbers.copy_(torch.tensor([lr, lambda_]))
            host.send(self.tensors)
        else:
            self.lr, self.lambda_ = lr, lambda_

    def batch(self) -> tuple[Tensor, Tensor, Tensor]:
        """Images (n, 3, H, W) float32 in 0…1, masks (n, H, W) uint8, and the draws of their augmentation."""
        *named, draws, _ = self.tensors
        return *self.batches.look_up(named), draws


class _Host:
    """The host's side of the inputs."""

    def __init__(self, batches: Batches, count: int, on_gpu: bool) -> None:
        tensors = [*batches.room(count), torch.empty(count, DRAWS, dtype=torch.float64), torch.empty(2)]
        self.tensors = [tensor.pin_memory() for tensor in tensors] if on_gpu else tensors
        self.sent = torch.cuda.Event() if on_gpu else None  # type: ignore[no-untyped-call]

    def wait(self) -> None:
        """Until what was sent last has arrived."""
        if self.sent is not None:
            self.sent.synchronize()

    def send(self, tensors: list[Tensor]) -> None:
        """Start to copy to ``tensors``, which are on a GPU."""
        assert self.sent is not None
        for here, there in zip(self.tensors, tensors, strict=True):
            there.copy_(here, non_blocking=True)
        self.sent.record()
