"""Narrower networks: of the size that was asked for, trainable, and nothing like the full network's weights in them."""

import contextlib
import copy
from fractions import Fraction
from math import gcd

import pytest
import torch
from torch import nn

from softreg.errors import UserError
from softreg.networks import build
from softreg.networks.layers import layers_of
from softreg.networks.segmenter import Segmenter
from softreg.networks.thin import NotThin, _narrow, thin
from softreg.study.schema import study_schema

CLASSES = 5
CONVNET = {"kind": "convnet", "dropout": 0.0}
SMP = {"kind": "smp", "weights": "none", "options": {}}
#: Architecture/encoder of some that can be narrowed; depthwise, transposed and linear layers are among them.
NARROWED = [
    "convnet",
    "unet/resnet18",
    "unet/tu-tf_efficientnet_lite0",
    "linknet/resnet18",
    "fpn/resnet18",
    "deeplabv3plus/resnet18",
    "segformer/mit_b0",
]
#: Those with sizes written into the network's code, or with parameters outside of any layer.
REFUSED = ["manet/resnet18", "unet/tu-convnext_atto", "pan/resnet18", "dpt/tu-vit_tiny_patch16_224"]


def network(name, seed=0):
    architecture, _, encoder = name.partition("/")
    torch.manual_seed(seed)
    return build({**SMP, "architecture": architecture, "encoder": encoder} if encoder else CONVNET, CLASSES)


def size(model):
    return sum(layer.weight.numel() for layer in model.layers())


@pytest.fixture(scope="module", params=NARROWED)
def full(request):
    return network(request.param)


@pytest.mark.parametrize("removed", [0.5, 0.9])
def test_a_narrow_network_trains(full, removed):
    model = thin(copy.deepcopy(full), removed).train()
    images = torch.rand(2, 3, 64, 64, generator=torch.Generator().manual_seed(0))
    logits = model(images)
    assert logits.shape == (2, CLASSES, 64, 64)
    logits.square().mean().backward()
    weights = {layer.name: layer.weight for layer in model.layers()}
    idle = {name for name, weight in weights.items() if weight.grad is None}
    before = full.layers()
    assert [layer.name for layer in before] == list(weights)
    # What the full network leaves unused, such as a last stage, is all that may stay without a gradient.
    grads = torch.autograd.grad(full(images[:, :, :64]).sum(), [layer.weight for layer in before], allow_unused=True)
    assert idle == {layer.name for layer, grad in zip(before, grads, strict=True) if grad is None}


def channels(model):
    """The greatest common divisor of all channel counts but the image's and the classes', with groups kept."""
    unit = 0
    *_, last = layers_of(model.head)
    for module in (layer.module for layer in model.layers()):
        linear = isinstance(module, nn.Linear)
        into, out = (module.in_features, module.out_features) if linear else (module.in_channels, module.out_channels)
        groups = 1 if linear or module.groups == into else module.groups
        unit = gcd(unit, 0 if into == 3 else into // groups, 0 if module is last.module else out // groups)
    return unit


def sizes(model):
    """The number of weights at each part of the unit, found by rebuilding the network there."""
    unit = channels(model)
    found = []
    for part in range(1, unit + 1):
        narrow = copy.deepcopy(model)
        *_, last = layers_of(narrow.head)
        for module in narrow.network.modules():
            _narrow(module, frozenset({id(last.module)}), Fraction(part, unit))
        found.append(size(narrow))
    return found


@pytest.mark.parametrize("name", ["convnet", "unet/tu-tf_efficientnet_lite0", "unet/tu-regnetx_002"])
def test_no_other_ratio_comes_nearer_to_the_size(name):
    whole = network(name)
    found = sizes(whole)
    assert found[-1] == size(whole)
    for removed in (0.3, 0.5, 0.7, 0.8, 0.9, 0.95):
        wanted = (1 - removed) * size(whole)
        nearest = min(found[:-1], key=lambda each: abs(each - wanted))
        # Biases, which the share leaves out, move a count by less than a hundredth.
        if abs(nearest - wanted) < 0.32 * wanted:
            assert size(thin(copy.deepcopy(whole), removed)) == nearest
        elif abs(nearest - wanted) > 0.35 * wanted:
            with pytest.raises(NotThin, match="come nearest"):
                thin(copy.deepcopy(whole), removed)


def test_the_default_strengths_give_different_networks():
    """Two strengths that came to one network would be one point at two places of a curve."""
    grid = study_schema()["$defs"]["penalty_small_dense"]["properties"]["lambda"]["default"]
    for name in ("convnet", "unet/resnet18", "unet/tu-tf_efficientnet_lite0"):
        whole, found = network(name), []
        for removed in grid:
            with contextlib.suppress(NotThin):
                found.append(size(thin(copy.deepcopy(whole), removed)))
        assert len(set(found)) == len(found) >= 4


@pytest.mark.parametrize("removed", [0.5, 0.9])
def test_about_the_share_is_removed(full, removed):
    assert size(thin(copy.deepcopy(full), removed)) / size(full) == pytest.approx(1 - removed, rel=1 / 3)


def spread(model):
    """The standard deviation of the output of every convolution and linear layer on noise, in train mode."""
    found = {}

    def note(name, output):
        found[name] = output.detach().std().item()

    for layer in model.layers():
        layer.module.register_forward_hook(lambda _, inputs, output, name=layer.name: note(name, output))
    model.train()(torch.rand(2, 3, 64, 64, generator=torch.Generator().manual_seed(0)))
    return found


@pytest.mark.parametrize("removed", [0.5, 0.9])
def test_activations_keep_their_scale_at_the_start(full, removed):
    """Over layers, since a single narrow one is a small sample; unscaled weights would lose a factor at every layer."""
    before, after = spread(copy.deepcopy(full)), spread(thin(copy.deepcopy(full), removed))
    ratios = torch.tensor([after[name] / before[name] for name in before if before[name] > 0])
    assert 0.6 < ratios.log().mean().exp() < 1.6
    assert ((ratios > 1 / 3) & (ratios < 3)).double().mean() > 0.9
    head = list(before)[-1]
    assert 1 / 3 < after[head] / before[head] < 3


def test_the_full_networks_weights_are_let_go(full):
    model = copy.deepcopy(full)
    # Held on to, so that no memory of theirs is given to others.
    whole = [*model.parameters(), *model.buffers()]
    small = list(thin(model, 0.9).parameters())
    places = [{tensor.untyped_storage().data_ptr() for tensor in tensors} for tensors in (whole, small)]
    assert len(small) == len(list(model.parameters()))
    assert not places[0] & places[1]
    # A view of the full weights would keep all of their memory, in the process and in the checkpoint.
    assert all(parameter.untyped_storage().nbytes() == 4 * parameter.numel() for parameter in small)
    assert all(parameter.is_leaf and parameter.requires_grad for parameter in small)


def test_the_state_of_one_fits_another_built_from_other_weights(request, full):
    name = request.node.callspec.params["full"]
    first, second = thin(copy.deepcopy(full), 0.9).eval(), thin(network(name, seed=1), 0.9).eval()
    images = torch.rand(1, 3, 64, 64)
    with torch.no_grad():
        assert not torch.equal(first(images), second(images))
        second.load_state_dict(first.state_dict())
        assert torch.equal(first(images), second(images))


def test_the_same_seed_gives_the_same_narrow_network():
    first, second = (thin(network("unet/resnet18"), 0.5).state_dict() for _ in range(2))
    assert all(torch.equal(tensor, second[name]) for name, tensor in first.items())


@pytest.mark.parametrize("name", REFUSED)
def test_a_network_that_cannot_be_narrowed_is_refused_in_one_sentence(name):
    with pytest.raises(UserError, match=r"^small_dense ") as refused:
        thin(network(name), 0.9)
    assert "\n" not in str(refused.value)
    assert "`models`" in str(refused.value)


def test_a_size_that_no_ratio_comes_near_is_refused():
    """Efficientnet-b0 has channel counts in common with 2 alone: half of them leave a quarter of the weights."""
    with pytest.raises(UserError, match=r"^small_dense "):
        thin(network("unet/efficientnet-b0"), 0.5)


@pytest.mark.parametrize("head", [None, nn.Identity()], ids=["unknown", "without layers"])
def test_a_network_whose_last_layer_is_unknown_is_refused(head):
    body = nn.Sequential(nn.Conv2d(3, 8, 3, padding=1), nn.Conv2d(8, CLASSES, 1), *([head] if head else []))
    with pytest.raises(UserError, match="last layer"):
        thin(Segmenter(body, 1, (0.0,) * 3, (1.0,) * 3, head), 0.5)


class Odd(nn.Module):
    """Group and layer normalisation, a transposed convolution in groups, a branch from 3 channels, and one shared."""

    def __init__(self):
        super().__init__()
        self.first = nn.Conv2d(3, 16, 3, padding=1)
        self.norm = nn.GroupNorm(4, 16)
        self.up = nn.ConvTranspose2d(16, 8, 2, stride=2, groups=4)
        self.linear = nn.Linear(8, 8)
        self.order = nn.LayerNorm(8)
        self.again = nn.Conv2d(8, 8, 3, padding=1, groups=8, bias=False)
        self.head = nn.ConvTranspose2d(8, CLASSES, 1)

    def forward(self, images):
        features = self.up(self.norm(self.first(images)))
        features = self.order(self.linear(features.permute(0, 2, 3, 1))).permute(0, 3, 1, 2)
        return self.head(self.again(self.again(features)))


def test_every_kind_of_layer_is_cut_as_its_shape_says():
    torch.manual_seed(0)
    body = Odd()
    model = thin(Segmenter(body, 1, (0.0,) * 3, (1.0,) * 3, body.head), 0.5)
    shapes = {name: tuple(parameter.shape) for name, parameter in model.network.named_parameters()}
    assert shapes["first.weight"] == (8, 3, 3, 3)
    assert shapes["norm.weight"] == (8,)
    assert body.norm.num_groups == 2
    assert shapes["up.weight"] == (8, 1, 2, 2)
    assert shapes["up.bias"] == shapes["order.weight"] == (4,)
    assert shapes["linear.weight"] == (4, 4)
    assert shapes["again.weight"] == (4, 1, 3, 3)
    assert shapes["head.weight"] == (4, CLASSES, 1, 1)
    assert shapes["head.bias"] == (CLASSES,)


def test_weights_grow_with_the_fan_in_that_is_left():
    """At half the channels a weight is √2 times what it was, where the fan-in has shrunk; elsewhere as it was."""
    torch.manual_seed(0)
    body = Odd()
    before = {name: tensor.clone() for name, tensor in body.state_dict().items()}
    thin(Segmenter(body, 1, (0.0,) * 3, (1.0,) * 3, body.head), 0.5)
    grown = {"first": 1, "again": 1, "linear": 2**0.5, "up": 2**0.5, "head": 2**0.5}
    for name, factor in grown.items():
        weight = body.get_submodule(name).weight
        old = before[f"{name}.weight"][tuple(slice(side) for side in weight.shape)]
        torch.testing.assert_close(weight.detach(), factor * old, msg=name)
