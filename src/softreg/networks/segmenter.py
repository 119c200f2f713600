"""A network together with what belongs to it: input normalisation, stride, and its penalised weights."""

from __future__ import annotations

from collections.abc import Sequence

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from softreg.errors import UserError
from softreg.networks.layers import Layer, layers_of

#: What begins the names of the last weights, in the file of a network whose weights are an average over steps.
LAST = "last."


class Segmenter(nn.Module):
    """Images (N, 3, H, W) in 0…1 → logits (N, C, H, W), for any H and W.

    ``network`` takes sizes that ``stride`` divides; its part called ``encoder``, if it has one, is the encoder.
    ``mean`` and ``std`` are those that the encoder expects, per channel in 0…1. ``head`` is the module that ends the
    network, or None where it is not known; ``dropout`` is the share of the channels that enter it which training
    drops. ``pretrained`` says whether the encoder's weights are pretrained.
    """

    mean: Tensor
    std: Tensor

    def __init__(
        self,
        network: nn.Module,
        stride: int,
        mean: Sequence[float],
        std: Sequence[float],
        head: nn.Module | None = None,
        pretrained: bool = False,
    ) -> None:
        super().__init__()
        self.network = network
        self.stride = stride
        self.pretrained = pretrained
        self.dropout = 0.0
        # In a list, as a second registration would put the head's weights into the state twice.
        self._head = [] if head is None else [head]
        if head is not None:
            head.register_forward_pre_hook(self._drop)
        # Part of the state, so that stored weights can be scored where the source of `mean` and `std` is out of reach.
        self.register_buffer("mean", torch.tensor(mean))
        self.register_buffer("std", torch.tensor(std))

    @property
    def head(self) -> nn.Module | None:
        """The module that ends the network, or None where it is not known."""
        return self._head[0] if self._head else None

    def forward(self, images: Tensor) -> Tensor:
        """Normalise, pad to the stride by repeating the border, and cut the logits back to (H, W)."""
        images = images.contiguous(memory_format=torch.channels_last)
        height, width = images.shape[-2:]
        padding = (0, -width % self.stride, 0, -height % self.stride)
        normalised = (images - self.mean.view(1, 3, 1, 1)) / self.std.view(1, 3, 1, 1)
        if any(padding):
            normalised = F.pad(normalised, padding, mode="replicate")
        return self.logits(normalised)[..., :height, :width]

    def logits(self, images: Tensor) -> Tensor:
        """What the network makes of normalised images of a size that the stride divides."""
        logits: Tensor = self.network(images)
        return logits

    def layers(self, part: str = "all") -> list[Layer]:
        """The layers with weights that may be penalised: convolutions and linear layers.

        ``part`` is "all", "encoder", or "decoder" for all that is not the encoder.
        """
        return [
            layer for layer in layers_of(self.network) if part == "all" or (part == "encoder") == self.in_encoder(layer)
        ]

    def in_encoder(self, layer: Layer) -> bool:
        """Whether a layer belongs to the encoder."""
        return layer.name.split(".", 1)[0] == "encoder"

    def _drop(self, _: nn.Module, inputs: tuple[Tensor, ...]) -> tuple[Tensor, ...]:
        """Drop whole channels, as neighbouring pixels of a channel tell the same (Tompson et al., 2015)."""
        if not (self.training and self.dropout):
            return inputs
        if not inputs or inputs[0].ndim != 4:
            raise UserError(
                "dropout drops channels of (N, C, H, W), and something else enters the network's `head`; "
                "name another module as `head`, or other models under the entry's `models`"
            )
        return (F.dropout2d(inputs[0], self.dropout), *inputs[1:])
