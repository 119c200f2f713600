"""The layers whose weights a penalty acts on, and their weights with the output filters first."""

from __future__ import annotations

from dataclasses import dataclass
from operator import attrgetter

from torch import Tensor, nn

#: Every convolution of torch, transposed or not.
CONVOLUTION = nn.modules.conv._ConvNd
TRANSPOSED = nn.modules.conv._ConvTransposeNd
#: The weights of torch's attention, which it applies itself: no layer of its own is ever called.
_OF_ATTENTION = ("in_proj_weight", "q_proj_weight", "k_proj_weight", "v_proj_weight", "out_proj.weight")


@dataclass(frozen=True)
class Layer:
    """A convolution, a linear layer, or one of the linear maps within an attention, under its name in the network.

    ``parameter`` says where in the module its weight is.
    """

    name: str
    module: nn.Module
    parameter: str = "weight"

    @property
    def weight(self) -> Tensor:
        """The layer's weights, without its bias."""
        weight: Tensor = attrgetter(self.parameter)(self.module)
        return weight

    @property
    def bias(self) -> Tensor | None:
        """The layer's bias, if it has one; all maps into an attention have one together."""
        inside = "in_proj_weight" if self.parameter.endswith("_proj_weight") else self.parameter
        bias: Tensor | None = attrgetter(inside.replace("weight", "bias"))(self.module)
        return bias

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
    modules = dict(network.named_modules())
    attentions = {name: module for name, module in modules.items() if isinstance(module, nn.MultiheadAttention)}
    inner = {f"{name}.out_proj" for name in attentions}
    layers = []
    for name, module in modules.items():
        if name in attentions:
            layers += _maps(name, module)
        elif isinstance(module, CONVOLUTION | nn.Linear) and name not in inner:
            layers.append(Layer(name, module))
    return layers


def _maps(name: str, attention: nn.Module) -> list[Layer]:
    """The linear maps of torch's attention: the query's, key's and value's in one tensor where they are of one size."""
    return [
        Layer(f"{name}.{parameter.replace('_weight', '').replace('.weight', '')}", attention, parameter)
        for parameter in _OF_ATTENTION
        if attrgetter(parameter)(attention) is not None
    ]
