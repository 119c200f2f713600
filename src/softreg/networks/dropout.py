"""Dropout whose random numbers are cheap."""

from __future__ import annotations

import torch
from torch import Tensor, nn

_LEVELS = 2**16


class Dropout(nn.Module):
    """What nn.Dropout does, with 16 random bits for each unit: on a CPU, drawing a float for each takes longer than a
    convolution.

    ``share``, of the units that training drops, is rounded to a multiple of 1/65,536; those left grow by 1/(1 − share).
    """

    def __init__(self, share: float) -> None:
        super().__init__()
        self.dropped = min(round(share * _LEVELS), _LEVELS - 1)

    def forward(self, units: Tensor) -> Tensor:
        """A tensor of any shape → the same shape."""
        if not (self.training and self.dropped):
            return units
        kept = _draws_like(units) >= self.dropped - _LEVELS // 2
        # Not in 16 bits, to which the factor would be rounded.
        factors = kept.to(torch.promote_types(units.dtype, torch.float32)).mul_(_LEVELS / (_LEVELS - self.dropped))
        return (units * factors).to(units.dtype)


def _draws_like(units: Tensor) -> Tensor:
    """Uniform int16 in the shape, and the order in memory, of ``units``; four from each number of torch's generator."""
    order = torch.empty_like(units, dtype=torch.int16)
    numbers = torch.empty(units.numel() // 4 + 1, dtype=torch.int64, device=units.device).random_(-(2**63), None)
    return numbers.view(torch.int16).as_strided(order.shape, order.stride())
