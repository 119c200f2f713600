"""The article's network in dense form.

5×5×32, pool, 5×5×64, pool; its dense layer of 512 becomes a 1×1 convolution, then dropout, a 1×1 classifier and
bilinear upsampling. No normalisation layers; inputs are images/255, as there.
"""

from __future__ import annotations

from collections import OrderedDict
from typing import Any

from torch import nn

from softreg.networks.dropout import Dropout
from softreg.networks.segmenter import Segmenter

STRIDE = 4


def build(spec: dict[str, Any], classes: int, pretrained: bool) -> Segmenter:
    """The network with ``classes`` outputs; ``spec["dropout"]`` is the share of units dropped in training.

    There are no published weights, so that ``pretrained`` makes no difference.
    """
    encoder = nn.Sequential(
        nn.Conv2d(3, 32, 5, padding=2),
        nn.ReLU(),
        nn.MaxPool2d(2),
        nn.Conv2d(32, 64, 5, padding=2),
        nn.ReLU(),
        nn.MaxPool2d(2),
    )
    decoder = nn.Sequential(
        nn.Conv2d(64, 512, 1),
        nn.ReLU(),
        Dropout(spec["dropout"]),
        nn.Conv2d(512, classes, 1),
        nn.Upsample(scale_factor=STRIDE, mode="bilinear", align_corners=False),
    )
    network = nn.Sequential(OrderedDict(encoder=encoder, decoder=decoder))
    return Segmenter(network, STRIDE, mean=(0.0, 0.0, 0.0), std=(1.0, 1.0, 1.0), head=decoder[3])
