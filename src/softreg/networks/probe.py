"""What a network's layers do, found out by running it: which reach the output, which are normalised, how often each
weight multiplies.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from fractions import Fraction

import torch
from torch import Tensor, nn
from torch.utils.hooks import RemovableHandle

from softreg.errors import UserError
from softreg.networks.layers import Layer, layers_of
from softreg.networks.randomness import generator
from softreg.networks.segmenter import Segmenter

_NORMALISATIONS = (nn.modules.batchnorm._NormBase, nn.GroupNorm, nn.LayerNorm)
#: What torch's attention takes first.
_ATTENDED = ("query", "key", "value")
#: How far a layer's weights are scaled to see whether the output changes, and the relative change that counts as none.
#: A power of two: weights that are rounded to fewer bits, as on a GPU, round alike at both scales.
_FACTOR = 8.0
_UNCHANGED = 1e-3


def reached(model: Segmenter, layers: Sequence[Layer], size: tuple[int, int]) -> list[Layer]:
    """Those of ``layers`` that the logits of an image of ``size`` depend on.

    Libraries keep layers which no output passes through (a classifier's last one, stages beyond a smaller depth):
    their zeros would count as sparsity that cost nothing. Raises UserError for a weight that is frozen, computed, or
    that of two layers, on which a penalty would act twice.
    """
    demand_trained(layers)
    found = {id(parameter) for parameter in parameters_reached(model, size)}
    return [layer for layer in layers if id(layer.weight) in found]


def parameters_reached(model: Segmenter, size: tuple[int, int]) -> list[Tensor]:
    """The trained parameters that the logits of an image of ``size`` depend on: those that get a gradient."""
    trained = [parameter for parameter in model.parameters() if parameter.requires_grad]
    if not trained:
        return []
    logits = model.eval()(torch.zeros(1, 3, *size, device=trained[0].device))
    gradients = torch.autograd.grad(logits.float().sum(), trained, allow_unused=True)
    return [parameter for parameter, gradient in zip(trained, gradients, strict=True) if gradient is not None]


def demand_trained(layers: Sequence[Layer]) -> None:
    """Raise UserError for a weight that is frozen or computed, or that of two layers."""
    known: dict[int, Layer] = {}
    for layer in layers:
        _check_trained(layer)
        if (first := known.setdefault(id(layer.weight), layer)) is not layer:
            raise UserError(f"layers {first.name} and {layer.name} share one weight; call the one layer twice instead")


def _check_trained(layer: Layer) -> None:
    if not isinstance(layer.weight, nn.Parameter):
        raise UserError(
            f"layer {layer.name} computes its weight from other parameters (weight_norm, say), and a penalty has no "
            "weight to act on there; take that out of the model"
        )
    if not layer.weight.requires_grad:
        raise UserError(f"layer {layer.name} is frozen, and every weight is trained here; leave its requires_grad True")


@torch.no_grad()
def normalised(model: Segmenter, layers: Sequence[Layer], size: tuple[int, int]) -> list[bool]:
    """Whether the scale of each layer's weights changes nothing, as a normalisation follows (van Laarhoven, 2017).

    Found by scaling them: with the normalisation's ε out of the way, the logits of a normalised layer stay. So that the
    answer is about the network and not about how it starts, gains are 1 for that time and biases are random: a branch
    that starts switched off, or a bias that starts at 0, would hide what a layer does.
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
    norms = [module for module in model.modules() if isinstance(module, _NORMALISATIONS)]
    epsilons = [norm.eps for norm in norms]
    state = {name: tensor.clone() for name, tensor in model.state_dict().items()}
    model.eval()
    for norm in norms:
        norm.train()
        norm.eps = 1e-12
    _open(model)
    try:
        yield
    finally:
        model.load_state_dict(state)
        model.eval()
        for norm, epsilon in zip(norms, epsilons, strict=True):
            norm.eps = epsilon


def _open(model: Segmenter) -> None:
    """The biases of layers to random values; what is neither weight nor shift, and so a gain, to 1."""
    layers = layers_of(model)
    biases = {id(layer.bias) for layer in layers}
    kept = {id(layer.weight) for layer in layers}
    kept |= {id(module.bias) for module in model.modules() if isinstance(module, _NORMALISATIONS)}
    random = generator(0, "probe biases")
    for parameter in model.parameters():
        if id(parameter) in biases:
            parameter.copy_(torch.randn(parameter.shape, generator=random))
        elif id(parameter) not in kept:
            parameter.fill_(1.0)


@torch.no_grad()
def positions(model: Segmenter, layers: Sequence[Layer], size: tuple[int, int]) -> list[Fraction]:
    """How many multiply-adds a weight of each layer takes part in for one image of ``size``.

    A mean over the weights, where attention maps queries and keys of different numbers by one tensor.
    """
    counts = {layer.name: Fraction() for layer in layers}

    def counted(layer: Layer) -> RemovableHandle:
        def count(_: nn.Module, inputs: tuple[Tensor, ...], named: dict[str, Tensor], output: Tensor) -> None:
            counts[layer.name] += _applied(layer, inputs, named, output)

        return layer.module.register_forward_hook(count, with_kwargs=True)

    hooks = [counted(layer) for layer in layers]
    try:
        model.eval()(torch.zeros(1, 3, *size, device=layers[0].weight.device))
    finally:
        for hook in hooks:
            hook.remove()
    return list(counts.values())


def _applied(layer: Layer, inputs: tuple[Tensor, ...], named: dict[str, Tensor], output: Tensor) -> Fraction:
    """How often a call of a layer's module applies each of its weights."""
    if isinstance(layer.module, nn.MultiheadAttention):
        given = dict(zip(_ATTENDED, inputs, strict=False)) | named
        query, key, value = (Fraction(given[name].numel(), given[name].shape[-1]) for name in _ATTENDED)
        several = {"in_proj_weight": (query + key + value) / 3, "k_proj_weight": key, "v_proj_weight": value}
        return several.get(layer.parameter, query)
    if isinstance(layer.module, nn.Linear):
        return Fraction(output.numel(), output.shape[-1])
    # A transposed convolution applies each weight once at every pixel of its input.
    applied = inputs[0] if layer.transposed else output
    # Over the batch too: some networks fold windows of one image into it.
    return Fraction(applied.numel(), applied.shape[1])
