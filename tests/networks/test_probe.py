"""What running a network tells of its layers, against networks whose answer is known and against torch's own count."""

import pytest
import torch
from torch import nn
from torch.utils.flop_counter import FlopCounterMode

from softreg.networks import build
from softreg.networks.probe import normalised, positions, reached
from softreg.networks.segmenter import Segmenter

SMP = {"kind": "smp", "architecture": "unet", "encoder": "resnet18", "weights": "none", "options": {}}
SIZE = (12, 20)


def segmenter(network):
    return Segmenter(network, 1, (0.0,) * 3, (1.0,) * 3)


def answers(model, size=SIZE):
    layers = model.layers()
    return {layer.name: value for layer, value in zip(layers, normalised(model, layers, size), strict=True)}


def convolution(into=8, out=8, **options):
    return nn.Conv2d(into, out, 3, padding=1, **options)


class Sum(nn.Module):
    """A residual block: two branches that meet, the first of them normalised or not."""

    def __init__(self, norm):
        super().__init__()
        self.stem, self.branch = convolution(3), convolution()
        self.norm = nn.BatchNorm2d(8) if norm else nn.Identity()
        self.other = nn.BatchNorm2d(8)
        self.head = convolution(out=2)

    def forward(self, images):
        features = self.other(self.stem(images)).relu()
        return self.head(features + self.norm(self.branch(features)))


class Tokens(nn.Module):
    """A linear layer over channels, then layer normalisation over them."""

    def __init__(self, bias):
        super().__init__()
        self.stem, self.linear = convolution(3), nn.Linear(8, 8, bias=bias)
        self.norm, self.head = nn.LayerNorm(8), nn.Linear(8, 2)

    def forward(self, images):
        tokens = self.stem(images).permute(0, 2, 3, 1)
        return self.head(self.norm(self.linear(tokens))).permute(0, 3, 1, 2)


class Scaled(nn.Module):
    """A residual branch that starts as good as switched off, as in ConvNeXt (1e-6) or behind a zeroed BatchNorm."""

    def __init__(self, gain):
        super().__init__()
        self.stem, self.norm = convolution(3), nn.BatchNorm2d(8)
        self.branch, self.head = convolution(), convolution(out=2)
        self.gain = nn.Parameter(torch.full((1, 8, 1, 1), gain))

    def forward(self, images):
        features = self.norm(self.stem(images))
        return self.head(features + self.gain * self.branch(features).relu())


class Excited(nn.Module):
    """A branch gated by squeeze and excitation, behind a BatchNorm whose weight starts at zero."""

    def __init__(self):
        super().__init__()
        self.stem, self.norm, self.gate = convolution(3), nn.BatchNorm2d(8), nn.Conv2d(8, 8, 1)
        self.branch, self.last, self.head = convolution(), nn.BatchNorm2d(8), convolution(out=2)
        nn.init.zeros_(self.last.weight)

    def forward(self, images):
        features = self.norm(self.stem(images)).relu()
        branch = self.last(self.branch(features))
        return self.head(features + branch * self.gate(features.mean((2, 3), keepdim=True)).sigmoid())


BY_HAND = {
    "a convolution before BatchNorm, and one alone": (
        lambda: nn.Sequential(convolution(3), nn.BatchNorm2d(8), nn.ReLU(), convolution(out=2)),
        {"0": True, "3": False},
    ),
    "BatchNorm before a convolution": (
        lambda: nn.Sequential(nn.BatchNorm2d(3), convolution(3), nn.ReLU(), convolution(out=2)),
        {"1": False, "3": False},
    ),
    "GroupNorm, no bias": (
        lambda: nn.Sequential(convolution(3, bias=False), nn.GroupNorm(2, 8), convolution(out=2)),
        {"0": True, "2": False},
    ),
    # The bias stays as it is while the weights grow, so that their scale matters within a group.
    "GroupNorm, bias": (
        lambda: nn.Sequential(convolution(3), nn.GroupNorm(2, 8), convolution(out=2)),
        {"0": False, "2": False},
    ),
    "InstanceNorm": (
        lambda: nn.Sequential(convolution(3), nn.InstanceNorm2d(8), convolution(out=2)),
        {"0": True, "2": False},
    ),
    "ReLU between, which keeps scale": (
        lambda: nn.Sequential(convolution(3, bias=False), nn.ReLU(), nn.BatchNorm2d(8), convolution(out=2)),
        {"0": True, "3": False},
    ),
    "a sigmoid between, which does not": (
        lambda: nn.Sequential(convolution(3), nn.Sigmoid(), nn.BatchNorm2d(8), convolution(out=2)),
        {"0": False, "3": False},
    ),
    "a bias between, which does not either": (
        lambda: nn.Sequential(convolution(3), nn.ReLU(), convolution(), nn.BatchNorm2d(8), convolution(out=2)),
        {"0": False, "2": True, "4": False},
    ),
    "no normalisation": (
        lambda: nn.Sequential(convolution(3), nn.ReLU(), convolution(out=2)),
        {"0": False, "2": False},
    ),
    "a sum of two branches, one normalised": (lambda: Sum(False), {"stem": True, "branch": False, "head": False}),
    "a sum of two normalised branches": (lambda: Sum(True), {"stem": True, "branch": True, "head": False}),
    "LayerNorm, no bias": (lambda: Tokens(False), {"stem": False, "linear": True, "head": False}),
    "LayerNorm, bias": (lambda: Tokens(True), {"stem": False, "linear": False, "head": False}),
    "a transposed convolution": (
        lambda: nn.Sequential(nn.ConvTranspose2d(3, 8, 2, stride=2), nn.BatchNorm2d(8), nn.Conv2d(8, 2, 2, stride=2)),
        {"0": True, "2": False},
    ),
    "dropout before normalisation": (
        lambda: nn.Sequential(convolution(3), nn.Dropout(0.5), nn.BatchNorm2d(8), convolution(out=2)),
        {"0": True, "3": False},
    ),
    "a branch at full gain": (lambda: Scaled(1.0), {"stem": True, "branch": False, "head": False}),
    "a branch at small gain": (lambda: Scaled(1e-6), {"stem": True, "branch": False, "head": False}),
    "a gate of a zeroed branch": (
        Excited,
        {"stem": True, "gate": False, "branch": True, "head": False},
    ),
}


@pytest.mark.parametrize("case", BY_HAND)
def test_normalised_as_known_by_hand(case):
    make, expected = BY_HAND[case]
    torch.manual_seed(0)
    model = segmenter(make())
    assert answers(model) == expected


@pytest.mark.parametrize("noise", [0.0, 0.3], ids=["at the start", "as if trained"])
def test_all_of_a_unet_but_its_head_is_normalised(noise):
    torch.manual_seed(0)
    model = build(SMP, 3)
    with torch.no_grad():
        for parameter in model.parameters():
            if parameter.ndim == 1:
                parameter.add_(noise * torch.randn_like(parameter))
    assert [name for name, value in answers(model, (64, 64)).items() if not value] == ["segmentation_head.0"]


def test_coarser_arithmetic_gives_the_same_answer():
    """A GPU rounds the inputs of convolutions to 10 bits (TF32); here bfloat16 rounds them to 7."""
    torch.manual_seed(0)
    model = build(SMP, 3)
    with torch.autocast("cpu", dtype=torch.bfloat16, cache_enabled=False):
        found = answers(model, (64, 64))
    assert [name for name, value in found.items() if not value] == ["segmentation_head.0"]


def test_what_an_fpn_sums_without_normalisation():
    """GroupNorm follows in its segmentation blocks, but the pyramid itself adds bare 1×1 convolutions."""
    torch.manual_seed(0)
    model = build({**SMP, "architecture": "fpn"}, 3)
    bare = {"decoder.p5", "decoder.p4.skip_conv", "decoder.p3.skip_conv", "decoder.p2.skip_conv", "segmentation_head.0"}
    assert {name for name, value in answers(model, (64, 64)).items() if not value} == bare


def test_probing_leaves_weights_and_epsilons_as_they_were():
    torch.manual_seed(0)
    model = segmenter(nn.Sequential(convolution(3), nn.BatchNorm2d(8, eps=1e-3), convolution(), nn.GroupNorm(2, 8)))
    layers = model.layers()
    weights = [layer.weight.clone() for layer in layers]
    normalised(model, layers, SIZE)
    positions(model, layers, SIZE)
    assert reached(model, layers, SIZE) == layers
    assert all(torch.equal(layer.weight, weight) for layer, weight in zip(layers, weights, strict=True))
    assert [model.network[1].eps, model.network[3].eps] == [1e-3, 1e-5]
    assert all(layer.weight.grad is None for layer in layers)
    assert not any(layer.module._forward_hooks for layer in layers)


def test_epsilons_return_after_an_error():
    model = segmenter(nn.Sequential(convolution(3), nn.BatchNorm2d(8), nn.Linear(7, 2)))
    with pytest.raises(RuntimeError):
        normalised(model, model.layers(), SIZE)
    assert model.network[1].eps == 1e-5


class Twice(nn.Module):
    """One convolution applied to the image and to its own output, at half the size."""

    def __init__(self):
        super().__init__()
        self.conv = nn.Conv2d(3, 3, 3, padding=1)

    def forward(self, images):
        return self.conv(self.conv(images)[..., ::2, ::2])


class Pooled(nn.Module):
    """A linear layer on (N, C), and another on (N, L, C)."""

    def __init__(self):
        super().__init__()
        self.tokens, self.vector = nn.Linear(3, 6), nn.Linear(6, 2)

    def forward(self, images):
        tokens = self.tokens(images.flatten(2).transpose(1, 2))
        return self.vector(tokens.mean(1))[..., None, None]


class Windows(nn.Module):
    """A convolution on windows of 4 × 4 pixels, which stand in for images of a batch."""

    def __init__(self):
        super().__init__()
        self.conv = nn.Conv2d(3, 2, 3, padding=1)

    def forward(self, images):
        count, channels, height, width = images.shape
        windows = images.view(count, channels, height // 4, 4, width // 4, 4).permute(0, 2, 4, 1, 3, 5)
        return self.conv(windows.reshape(-1, channels, 4, 4)).mean((1, 2, 3)).view(count, 1, height // 4, width // 4)


#: A network, and by hand how often each of its weights multiplies for an image of 12 × 20.
COUNTED = {
    "padding": (lambda: nn.Conv2d(3, 4, 5, padding=2), [12 * 20]),
    "no padding": (lambda: nn.Conv2d(3, 4, 5), [8 * 16]),
    "stride": (lambda: nn.Conv2d(3, 4, 3, padding=1, stride=2), [6 * 10]),
    "dilation": (lambda: nn.Conv2d(3, 4, 3, dilation=2), [8 * 16]),
    "groups": (lambda: nn.Conv2d(3, 6, 3, padding=1, groups=3), [12 * 20]),
    "transposed": (lambda: nn.ConvTranspose2d(3, 4, 2, stride=2), [12 * 20]),
    "transposed in groups": (lambda: nn.ConvTranspose2d(3, 6, 4, stride=2, padding=1, groups=3), [12 * 20]),
    "linear on (N, L, C) and (N, C)": (Pooled, [12 * 20, 1]),
    "used twice": (Twice, [12 * 20 + 6 * 10]),
    "windows in the batch": (Windows, [12 * 20]),
}


def flops(model, size):
    with FlopCounterMode(display=False) as counter, torch.no_grad():
        model.eval()(torch.zeros(1, 3, *size))
    return counter.get_total_flops()


def multiply_adds(model, size):
    layers = model.layers()
    places = positions(model, layers, size)
    return sum(layer.weight.numel() * count for layer, count in zip(layers, places, strict=True))


@pytest.mark.parametrize("case", COUNTED)
def test_positions_by_hand_and_by_torchs_count(case):
    make, expected = COUNTED[case]
    model = segmenter(nn.Sequential(make()))
    assert positions(model, model.layers(), SIZE) == expected
    assert 2 * multiply_adds(model, SIZE) == flops(model, SIZE)


class Attending(nn.Module):
    """torch's attention from all pixels to those of an image of half the height and width; keys of 4 or 6 channels."""

    def __init__(self, keys):
        super().__init__()
        self.stem, self.narrow = nn.Conv2d(3, 4, 1), nn.Conv2d(3, keys, 1, stride=2)
        self.attention = nn.MultiheadAttention(4, 2, kdim=keys, batch_first=True)
        self.head = nn.Linear(4, 2)

    def forward(self, images):
        queries, keys = (layer(images).flatten(2).transpose(1, 2) for layer in (self.stem, self.narrow))
        padded = nn.functional.pad(keys, (0, 4 - keys.shape[-1]))
        attended, _ = self.attention(queries, keys, value=padded, need_weights=False)
        return self.head(attended).transpose(1, 2).unflatten(2, images.shape[-2:])


class Encoded(nn.Module):
    """torch's own encoder layer, which in eval mode takes a way of its own around the layers that it holds."""

    def __init__(self):
        super().__init__()
        self.stem, self.head = nn.Conv2d(3, 4, 1), nn.Linear(4, 2)
        self.layer = nn.TransformerEncoderLayer(4, 2, 8, dropout=0.0, batch_first=True)

    def forward(self, images):
        tokens = self.stem(images).flatten(2).transpose(1, 2)
        return self.head(self.layer(tokens)).transpose(1, 2).unflatten(2, images.shape[-2:])


#: A network; the names and shapes of its attention's weights; how often each multiplies for an image of 12 × 20.
ATTENDING = {
    "one size": (
        lambda: Attending(4),
        {"attention.in_proj": ((12, 4), (240 + 60 + 60) / 3), "attention.out_proj": ((4, 4), 240)},
    ),
    "two sizes": (
        lambda: Attending(3),
        {
            "attention.q_proj": ((4, 4), 240),
            "attention.k_proj": ((4, 3), 60),
            "attention.v_proj": ((4, 4), 60),
            "attention.out_proj": ((4, 4), 240),
        },
    ),
    "an encoder layer": (
        Encoded,
        {
            "layer.self_attn.in_proj": ((12, 4), 240),
            "layer.self_attn.out_proj": ((4, 4), 240),
            "layer.linear1": ((8, 4), 240),
            "layer.linear2": ((4, 8), 240),
        },
    ),
}


@pytest.mark.parametrize("case", ATTENDING)
def test_the_weights_of_torchs_attention_count_as_linear_ones(case):
    make, expected = ATTENDING[case]
    model = segmenter(make())
    layers = model.layers()
    assert reached(model, layers, SIZE) == layers
    places = positions(model, layers, SIZE)
    found = {layer.name: (tuple(layer.weight.shape), count) for layer, count in zip(layers, places, strict=True)}
    ends = {name: found.pop(name) for name in ("stem", "narrow", "head") if name in found}
    assert found == expected
    assert len(ends) == len(layers) - len(expected)
    assert not any(normalised(model, layers, SIZE))


@pytest.mark.parametrize("size", [(64, 64), (50, 71)], ids=str)
@pytest.mark.parametrize(
    "spec",
    [SMP, {**SMP, "architecture": "linknet"}, {**SMP, "encoder": "tu-tf_efficientnet_lite0"}],
    ids=["unet", "transposed", "depthwise"],
)
def test_multiply_adds_of_whole_networks(spec, size):
    model = build(spec, 3)
    assert 2 * multiply_adds(model, size) == flops(model, size)
    assert model.training is False


def test_multiply_adds_of_resnet18s_first_convolution_by_hand():
    model = build(SMP, 3)
    count = dict(zip((layer.name for layer in model.layers()), positions(model, model.layers(), (64, 64)), strict=True))
    assert count["encoder.conv1"] == 32 * 32
    assert count["encoder.layer1.0.conv1"] == 16 * 16
    assert count["encoder.layer4.1.conv2"] == 2 * 2
    assert count["decoder.blocks.4.conv2.0"] == count["segmentation_head.0"] == 64 * 64
