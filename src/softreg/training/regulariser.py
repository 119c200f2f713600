"""λP as a training applies it: a penalty, its realisation, and the weights that it acts on."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from softreg.networks.layers import Layer
from softreg.penalties.base import Penalty

#: Weights in a block: what a penalty does to one stays in a CPU core's cache until the block is done.
_BLOCK = 65_536


@dataclass(frozen=True)
class Regulariser:
    """A penalty on the weights of ``layers``, and on ``others``: biases and parameters of normalisation.

    ``origin`` holds, for a penalty that measures from pretrained weights, what each layer's weights started from; of
    a penalty that measures from zero it is None.
    """

    penalty: Penalty
    realisation: str
    layers: Sequence[Layer]
    origin: Sequence[Tensor] | None = None
    others: Sequence[Tensor] = ()

    @property
    def weights(self) -> list[Tensor]:
        """The weights of the layers, as stored."""
        return [layer.weight for layer in self.layers]

    @property
    def parameters(self) -> list[Tensor]:
        """All that the penalty acts on."""
        return [*self.weights, *self.others]

    @torch.no_grad()
    def value(self) -> Tensor:
        """P of all that it acts on as it is, float64."""
        weights = self.views(self.parameters)
        return self.penalty.value(
            weights if self.origin is None else torch._foreach_sub(weights, self.views(self.origin))
        )

    @torch.no_grad()
    def layer_values(self) -> list[float]:
        """P of each layer, which sum to P where it acts on nothing else."""
        alone = (
            Regulariser(self.penalty, self.realisation, [layer], None if self.origin is None else [self.origin[place]])
            for place, layer in enumerate(self.layers)
        )
        return [float(one.value()) for one in alone]

    def views(self, tensors: Sequence[Tensor]) -> list[Tensor]:
        """Tensors shaped like the parameters, as views with the output filters first."""
        count = len(self.layers)
        pairs = zip(self.layers, tensors[:count], strict=True)
        return [*(view for layer, tensor in pairs for view in layer.filters(tensor)), *tensors[count:]]

    def blocks(self, tensors: Sequence[Tensor]) -> list[list[Tensor]]:
        """The views of `views` in pieces that may be worked on one after another.

        On a GPU, and where P joins the weights of a layer, all in one piece.
        """
        views = self.views(tensors)
        if self.penalty.structure == "layer" or views[0].is_cuda:
            return [views]
        return _packed([piece for view in views for piece in _pieces(view)])


def _pieces(view: Tensor) -> Sequence[Tensor]:
    """``view`` cut between output filters; a single number as it is."""
    if view.ndim == 0:
        return [view]
    filter_size = view.numel() // max(1, len(view))
    return torch.split(view, max(1, _BLOCK // max(1, filter_size)))


def _packed(pieces: Sequence[Tensor]) -> list[list[Tensor]]:
    """Neighbouring pieces together, up to the size of a block."""
    blocks: list[list[Tensor]] = []
    room = 0
    for piece in pieces:
        if not blocks or piece.numel() > room:
            blocks.append([])
            room = _BLOCK
        blocks[-1].append(piece)
        room -= piece.numel()
    return blocks
