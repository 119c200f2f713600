"""The layers whose weights a penalty acts on, and their weights with the output filters first."""

from __future__ import annotations

from dataclasses import dataclass

from torch import Tensor, nn

#: Every convolution of torch, transposed or not.
CONVOLUTION = nn.modules.conv._ConvNd
TRANSPOSED = nn.modules.conv._ConvTransposeNd


@dataclass(frozen=True)
class Layer:
    """A convolution or a linear layer of a network, under its name there."""

    name: str
    module: nn.Module

    @property
    def weight(self) -> Tensor:
        """The layer's weights, without its bias."""
        weight: Tensor = self.module.weight  # type: ignore[assignment]
        return weight

    @property
    def transposed(self) -> bool:
        """Whether this is a transposed convolution."""
        return isinstance(self.module, TRANSPOSED)

    def filters(self, tensor: Tensor) -> list[Tensor]:
        """Views of ``tensor``, shaped like the weights, whose first axis counts output filters.

        One view, but for a transposed convolution in groups, whose filters no single view can put first.
        """
        if not self.transposed:
            return [tensor]
        groups: int = self.module.groups  # type: ignore[assignment]
        return [part.transpose(0, 1) for part in tensor.chunk(groups)]


def layers_of(network: nn.Module) -> list[Layer]:
    """All layers of a network with weights that may be penalised: never biases, never normalisation."""
    return [
        Layer(name, module) for name, module in network.named_modules() if isinstance(module, CONVOLUTION | nn.Linear)
    ]
