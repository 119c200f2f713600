"""The contract of a model: it passes what is right, and each fault is found by the rule that names it."""

from __future__ import annotations

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from torch import nn

from softreg.contract.model import check_model
from softreg.networks import build
from softreg.networks.segmenter import Segmenter


class Net(nn.Module):
    """An encoder at half the resolution and a classifier."""

    def __init__(self, classes):
        super().__init__()
        self.encoder = nn.Sequential(nn.Conv2d(3, 8, 3, stride=2, padding=1), nn.BatchNorm2d(8), nn.ReLU())
        self.head = nn.Conv2d(8, classes, 1)

    def forward(self, images):
        return F.interpolate(self.head(self.encoder(images)), scale_factor=2.0, mode="bilinear")


def findings(network, stride=2, mean=(0.5, 0.5, 0.5), std=(0.25, 0.25, 0.25)):
    return check_model(lambda classes: Segmenter(network(classes), stride, mean, std))


def broken(found):
    return {finding.rule for finding in found if not finding.kept}


def test_what_is_right_passes():
    assert broken(findings(Net)) == set()


@pytest.mark.parametrize(
    "spec",
    [
        {"kind": "convnet", "dropout": 0.5},
        {"kind": "smp", "architecture": "fpn", "encoder": "resnet18", "weights": "none", "options": {}},
    ],
    ids=["convnet", "fpn"],
)
def test_models_of_softreg_pass(spec):
    assert broken(check_model(lambda classes: build(spec, classes, pretrained=False))) == set()


def test_a_network_without_an_encoder_is_told_what_it_does_without():
    class Plain(nn.Conv2d):
        def __init__(self, classes):
            super().__init__(3, classes, 1)

    found = findings(Plain, stride=1)
    assert broken(found) == set()
    assert [finding for finding in found if "`weights: encoder` is refused" in finding.about]


class Small(Net):
    """Logits of half the size."""

    def forward(self, images):
        return self.head(self.encoder(images))


class Fixed(Net):
    """Two classes whatever is asked for."""

    def __init__(self, classes):
        super().__init__(2)


class Double(Net):
    def forward(self, images):
        return super().forward(images).double()


class Infinite(Net):
    def forward(self, images):
        return super().forward(images) / 0.0


class Weightless(nn.Module):
    def __init__(self, classes):
        super().__init__()
        self.scale = nn.Parameter(torch.ones(classes, 1, 1))

    def forward(self, images):
        return images.mean(1, keepdim=True) * self.scale


class Unused(Net):
    def __init__(self, classes):
        super().__init__(classes)
        self.forgotten = nn.Conv2d(8, 8, 1)


class Frozen(Net):
    def __init__(self, classes):
        super().__init__(classes)
        self.encoder.requires_grad_(False)


class Dropping(Net):
    """Drops units in eval mode too."""

    def forward(self, images):
        return F.dropout(super().forward(images), 0.5, training=True)


class BatchBound(Net):
    """Normalises by the batch in eval mode too."""

    def forward(self, images):
        logits = super().forward(images)
        return (logits - logits.mean((0, 2, 3), keepdim=True)) / logits.std()


class OfNumpy(Net):
    def __init__(self, classes):
        super().__init__(classes)
        noise = np.random.default_rng().normal(size=tuple(self.head.weight.shape))
        self.head.weight.data.copy_(torch.from_numpy(noise))


_SHARED = nn.Conv2d(3, 8, 3, padding=1)


class Sharing(nn.Module):
    def __init__(self, classes):
        super().__init__()
        self.encoder = _SHARED
        self.head = nn.Conv2d(8, classes, 1)

    def forward(self, images):
        return self.head(self.encoder(images))


class Tied(Net):
    def __init__(self, classes):
        super().__init__(classes)
        self.first, self.second = nn.Conv2d(8, 8, 1), nn.Conv2d(8, 8, 1)
        self.second.weight = self.first.weight

    def forward(self, images):
        features = self.second(self.first(self.encoder(images)))
        return F.interpolate(self.head(features), scale_factor=2.0)


class Listed(Net):
    """Holds a layer in a list, where nothing that saves or trains it can see it."""

    def __init__(self, classes):
        super().__init__(classes)
        self.more = [nn.Conv2d(8, 8, 1)]

    def forward(self, images):
        return F.interpolate(self.head(self.more[0](self.encoder(images))), scale_factor=2.0)


class Pair(Net):
    """Wants two images."""

    def forward(self, images):
        first, second = super().forward(images).split(len(images) // 2)
        return torch.cat([first, second])


@pytest.mark.parametrize(
    ("network", "rule", "words"),
    [
        (Small, "shape", "(2, 2, 32, 64), to be (2, 2, 64, 128)"),
        (Fixed, "shape", "(2, 2, 64, 128), to be (2, 5, 64, 128)"),
        (Double, "shape", "torch.float64, to be float32"),
        (Infinite, "shape", "finite"),
        (Weightless, "weights", "0 weights"),
        (Unused, "gradient", "forgotten"),
        (Frozen, "gradient", "encoder.0"),
        (Dropping, "evaluation", "the same logits"),
        (BatchBound, "evaluation", "an image alone"),
        (OfNumpy, "seed", "draw them from torch"),
        (Sharing, "seed", "encoder.weight"),
        (Tied, "state", "second.weight"),
        (Listed, "state", "state_dict"),
        (Pair, "single image", "raised"),
    ],
    ids=lambda value: value.__name__ if isinstance(value, type) else "",
)
def test_each_fault_is_found_by_its_rule(network, rule, words):
    stride = 1 if network in (Weightless, Sharing) else 2
    faults = [finding.about for finding in findings(network, stride) if not finding.kept and finding.rule == rule]
    assert [about for about in faults if words in about], faults


def test_a_wrong_stride_is_found():
    faults = {finding.about for finding in findings(Net, stride=1) if not finding.kept and finding.rule == "shape"}
    assert faults == {"the network alone on 65 × 67: 66 × 68; state the `stride` that it needs"}


@pytest.mark.parametrize(
    "stated",
    [{"stride": 0}, {"stride": 2.0}, {"mean": (0.5, 0.5)}, {"std": (0.2, 0.0, 0.2)}, {"mean": (124.0, 117.0, 104.0)}],
    ids=str,
)
def test_a_wrong_declaration_is_found(stated):
    assert "declaration" in broken(findings(Net, **stated))
