"""What a network's layers do, found out by running it: which reach the output, which are normalised, how often each
weight multiplies.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager

import torch
from torch import Tensor, nn

from softreg.models.layers import Layer
from softreg.models.segmenter import Segmenter
from softreg.randomness import generator

_NORMALISATIONS = (nn.modules.batchnorm._NormBase, nn.GroupNorm, nn.LayerNorm)
_TRANSPOSED = nn.modules.conv._ConvTransposeNd
#: How far a layer's weights are scaled to see whether the output changes, and the relative change that counts as none.
_FACTOR = 10.0
_UNCHANGED = 1e-3


def reached(model: Segmenter, layers: Sequence[Layer], size: tuple[int, int]) -> list[Layer]:
    """Those of ``layers`` that the logits of an image of ``size`` depend on.

    Libraries keep layers which no output passes through (a classifier's last one, stages beyond a smaller depth):
    their zeros would count as sparsity that cost nothing.
    """
    if not layers:
        return []
    weights = [layer.weight for layer in layers]
    logits = model.eval()(torch.zeros(1, 3, *size, device=weights[0].device))
    gradients = torch.autograd.grad(logits.float().sum(), weights, allow_unused=True)
    return [layer for layer, gradient in zip(layers, gradients, strict=True) if gradient is not None]


@torch.no_grad()
def normalised(model: Segmenter, layers: Sequence[Layer], size: tuple[int, int]) -> list[bool]:
    """Whether the scale of each layer's weights changes nothing, as a normalisation follows (van Laarhoven, 2017).

    Found by scaling them: with the normalisation's ε out of the way, the logits of a normalised layer stay. Running
    statistics change; the caller restores them.
    """
    if not any(isinstance(module, _NORMALISATIONS) for module in model.modules()):
        return [False] * len(layers)
    device = layers[0].weight.device
    images = torch.rand(2, 3, *size, generator=generator(0, "probe")).to(device)
    with _normalising(model):
        wanted = model(images)
        return [_unchanged(model, images, wanted, layer.weight) for layer in layers]


def _unchanged(model: Segmenter, images: Tensor, wanted: Tensor, weight: Tensor) -> bool:
    original = weight.clone()
    weight.mul_(_FACTOR)
    change = model(images) - wanted
    weight.copy_(original)
    return bool(change.norm() <= _UNCHANGED * wanted.norm())


@contextmanager
def _normalising(model: Segmenter) -> Iterator[None]:
    """Normalisation by each batch's own statistics and without ε; everything else, such as dropout, at rest."""
    layers = [module for module in model.modules() if isinstance(module, _NORMALISATIONS)]
    epsilons = [layer.eps for layer in layers]
    model.eval()
    for layer in layers:
        layer.train()
        layer.eps = 1e-12
    try:
        yield
    finally:
        for layer, epsilon in zip(layers, epsilons, strict=True):
            layer.eps = epsilon


@torch.no_grad()
def positions(model: Segmenter, layers: Sequence[Layer], size: tuple[int, int]) -> list[int]:
    """How many multiply-adds a weight of each layer takes part in for one image of ``size``."""
    counts = dict.fromkeys((layer.name for layer in layers), 0)

    def count(layer: Layer, inputs: tuple[Tensor, ...], output: Tensor) -> None:
        if isinstance(layer.module, nn.Linear):
            counts[layer.name] += output.numel() // output.shape[-1]
        else:
            # A transposed convolution applies each weight once at every pixel of its input.
            counts[layer.name] += (inputs[0] if isinstance(layer.module, _TRANSPOSED) else output)[0, 0].numel()

    hooks = [
        layer.module.register_forward_hook(lambda _, inputs, output, layer=layer: count(layer, inputs, output))
        for layer in layers
    ]
    try:
        model.eval()(torch.zeros(1, 3, *size, device=layers[0].weight.device))
    finally:
        for hook in hooks:
            hook.remove()
    return [counts[layer.name] for layer in layers]
