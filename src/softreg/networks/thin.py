"""The same network with fewer channels: the control for the size that sparse weights leave."""

from __future__ import annotations

from fractions import Fraction
from math import gcd

import torch
from torch import Tensor, nn

from softreg.errors import UserError, first_line
from softreg.networks.layers import CONVOLUTION, TRANSPOSED, layers_of
from softreg.networks.segmenter import Segmenter

_BATCH_NORM = nn.modules.batchnorm._NormBase
_IMAGE_CHANNELS = 3
#: How far the number of weights that are left may be from what was asked, as a share of that.
_TOLERANCE = 1 / 3
#: Sides of images, in pixels, that a network is tried on; some take only large ones, or one.
_SIDES = (64, 128, 224, 256, 384, 512)


class NotThin(UserError):
    """The network cannot be narrowed as asked."""


def thin(model: Segmenter, removed: float) -> Segmenter:
    """``model`` with its channels cut, in place, so that about a share ``removed`` of its weights is gone.

    All channel counts shrink by one ratio, but for the image's and the classes'. The ratio is the one, among those
    that leave every count whole, whose number of weights comes nearest. What is left of the random initial weights
    is scaled to the smaller fan-in. Raises NotThin where the network does not allow it.
    """
    ends = _ends(model)
    side = _side(model)
    total = sum(layer.weight.numel() for layer in layers_of(model.network))
    unit = gcd(*(count for module in model.network.modules() for count in _counts(module, ends)))
    ratios = [Fraction(part, unit) for part in range(1, unit)]
    if not ratios:
        raise _refusal("its channel counts have no factor in common")
    wanted = (1 - removed) * total
    ratio = min(ratios, key=lambda ratio: abs(_weights_at(model, ends, ratio) - wanted))
    kept = _weights_at(model, ends, ratio) / total
    if abs(kept - (1 - removed)) > _TOLERANCE * (1 - removed):
        raise _refusal(
            f"its channel counts share the factor {unit} alone, so that {kept:.0%} of the weights come nearest"
        )
    for module in model.network.modules():
        _narrow(module, ends, ratio)
    if problem := _problem(model, side):
        raise _refusal(problem)
    return model


def _ends(model: Segmenter) -> frozenset[int]:
    """The identities of the layers that give the classes."""
    if model.head is None:
        raise NotThin("small_dense needs to know the network's last layer; set `head` in the model's class")
    layers = layers_of(model.head)
    if not layers:
        raise NotThin("small_dense needs the network's last layer; `head` in the model's class holds none")
    return frozenset({id(layers[-1].module)})


def _counts(module: nn.Module, ends: frozenset[int]) -> list[int]:
    """The channel counts of a module that shrink."""
    if isinstance(module, CONVOLUTION):
        sides = (module.in_channels, module.out_channels)
    elif isinstance(module, nn.Linear):
        sides = (module.in_features, module.out_features)
    else:
        return []
    # A group of channels stays a group: what shrinks is the number of channels in it.
    shared = 1 if _depthwise(module) else getattr(module, "groups", 1)
    first = [] if sides[0] == _IMAGE_CHANNELS else [sides[0] // shared]
    return first if id(module) in ends else [*first, sides[1] // shared]


def _depthwise(module: nn.Module) -> bool:
    groups = getattr(module, "groups", 1)
    return groups > 1 and groups == module.in_channels


def _scaled(count: int, ratio: Fraction) -> int:
    return int(count * ratio)


def _weights_at(model: Segmenter, ends: frozenset[int], ratio: Fraction) -> int:
    """The number of weights that the network has at ``ratio``."""
    total = Fraction(0)
    for layer in layers_of(model.network):
        total += layer.weight.numel() * ratio ** (1 if _depthwise(layer.module) else len(_counts(layer.module, ends)))
    return int(total)


def _narrow(module: nn.Module, ends: frozenset[int], ratio: Fraction) -> None:
    if isinstance(module, CONVOLUTION):
        _narrow_convolution(module, id(module) in ends, ratio)
    elif isinstance(module, nn.Linear):
        inputs = module.in_features
        if inputs != _IMAGE_CHANNELS:
            module.in_features = _scaled(inputs, ratio)
        if id(module) not in ends:
            module.out_features = _scaled(module.out_features, ratio)
        _cut(module, (module.out_features, module.in_features), module.in_features / inputs)
    elif isinstance(module, _BATCH_NORM):
        module.num_features = _scaled(module.num_features, ratio)
        _cut_vectors(module, module.num_features)
    elif isinstance(module, nn.GroupNorm):
        # As many channels in a group as before, where that goes.
        size = module.num_channels // module.num_groups
        module.num_channels = _scaled(module.num_channels, ratio)
        module.num_groups = module.num_channels // gcd(size, module.num_channels)
        _cut_vectors(module, module.num_channels)
    elif isinstance(module, nn.LayerNorm):
        module.normalized_shape = tuple(_scaled(size, ratio) for size in module.normalized_shape)
        _cut_vectors(module, module.normalized_shape[-1])


def _narrow_convolution(module: nn.modules.conv._ConvNd, last: bool, ratio: Fraction) -> None:
    depthwise = _depthwise(module)
    inputs = module.in_channels // module.groups
    if module.in_channels != _IMAGE_CHANNELS:
        module.in_channels = _scaled(module.in_channels, ratio)
    if not last:
        module.out_channels = _scaled(module.out_channels, ratio)
    if depthwise:
        module.groups = module.in_channels
    sides = (module.out_channels, module.in_channels // module.groups)
    if isinstance(module, TRANSPOSED):
        sides = (module.in_channels, module.out_channels // module.groups)
    _cut(module, sides, module.in_channels // module.groups / inputs)


def _cut(module: nn.Module, sides: tuple[int, int], inputs: float) -> None:
    """Keep the first rows and columns of the weights; their variance goes as one over the share of ``inputs`` kept."""
    weight: Tensor = module.weight  # type: ignore[assignment]
    module.weight = nn.Parameter(weight.detach()[: sides[0], : sides[1]] * inputs**-0.5)
    if isinstance(module.bias, Tensor):
        rows = getattr(module, "out_channels", None) or module.out_features
        module.bias = nn.Parameter(module.bias.detach()[:rows].clone())


def _cut_vectors(module: nn.Module, length: int) -> None:
    for name, parameter in list(module.named_parameters(recurse=False)):
        setattr(module, name, nn.Parameter(parameter.detach()[:length].clone()))
    for name, buffer in list(module.named_buffers(recurse=False)):
        if buffer.ndim:
            module.register_buffer(name, buffer[:length].clone())


def _side(model: Segmenter) -> int:
    """The side of a square image that the network takes, on which it is tried again when narrow."""
    side = next((side for side in _SIDES if not _problem(model, side)), None)
    if side is None:
        raise _refusal(f"it takes no square image of {', '.join(map(str, _SIDES))} pixels to try it on")
    return side


@torch.no_grad()
def _problem(model: Segmenter, side: int) -> str:
    """Why the network does not take an image of this side; empty if it does."""
    try:
        model.eval()(torch.zeros(1, _IMAGE_CHANNELS, side, side))
    except Exception as error:  # Libraries refuse shapes by every kind of exception.
        return first_line(error)
    return ""


def _refusal(reason: str) -> NotThin:
    return NotThin(
        f"small_dense cannot narrow this network: {reason}; name other models under the entry's `models`, "
        "or give other strengths"
    )
