"""A network together with what belongs to it: input normalisation, stride, and its penalised weights."""

from __future__ import annotations

from collections.abc import Sequence

import torch
import torch.nn.functional as F
from torch import Tensor, nn

_WEIGHTED = (nn.modules.conv._ConvNd, nn.Linear)


class Segmenter(nn.Module):
    """Images (N, 3, H, W) in 0…1 → logits (N, C, H, W), for any H and W.

    ``network`` has an ``encoder``; it takes sizes that ``stride`` divides. ``mean`` and ``std`` are those that
    the encoder expects, per channel in 0…1.
    """

    mean: Tensor
    std: Tensor

    def __init__(self, network: nn.Module, stride: int, mean: Sequence[float], std: Sequence[float]) -> None:
        super().__init__()
        self.network = network
        self.stride = stride
        # Part of the state, so that stored weights can be scored where the source of `mean` and `std` is out of reach.
        self.register_buffer("mean", torch.tensor(mean))
        self.register_buffer("std", torch.tensor(std))

    def forward(self, images: Tensor) -> Tensor:
        """Normalise, pad to the stride by repeating the border, and cut the logits back to (H, W)."""
        height, width = images.shape[-2:]
        padding = (0, -width % self.stride, 0, -height % self.stride)
        normalised = (images - self.mean.view(1, 3, 1, 1)) / self.std.view(1, 3, 1, 1)
        if any(padding):
            normalised = F.pad(normalised, padding, mode="replicate")
        logits: Tensor = self.network(normalised)
        return logits[..., :height, :width]

    def weights(self, part: str = "all") -> list[Tensor]:
        """The penalised weights: those of convolutions and linear layers, never biases or normalisation.

        ``part`` is "all", "encoder", or "decoder" for all that is not the encoder.
        """
        return [
            module.weight
            for name, module in self.network.named_modules()
            if isinstance(module, _WEIGHTED) and (part == "all" or (part == "encoder") == _in_encoder(name))
        ]


def _in_encoder(name: str) -> bool:
    return name.split(".", 1)[0] == "encoder"
