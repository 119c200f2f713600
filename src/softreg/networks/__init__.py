"""Segmentation networks, one file per kind: the file's name is the ``kind`` of a model in a study.

A file defines ``build(spec, classes, pretrained) -> Segmenter``; ``spec`` is the study's entry with its defaults.
A user's own file is named by its path and class instead; the class is a network that takes the number of classes.
Start at `convnet`; `segmenter` is what training and scoring see. Imports `softreg.study` and below.
"""

from __future__ import annotations

import importlib
from pathlib import Path
from typing import Any

from torch import Tensor, nn

from softreg.networks.segmenter import Segmenter
from softreg.own.blame import OwnFault, blamed, line_of
from softreg.own.classes import create
from softreg.own.sources import is_own, locate


def build(spec: dict[str, Any], classes: int, pretrained: bool = True) -> Segmenter:
    """The network that an entry of a study's ``models`` describes, with ``classes`` output channels.

    Initial weights are drawn from torch's global generator; ``pretrained`` is false where stored weights will
    replace them, so that none are fetched. Raises UserError where the entry cannot be built.
    """
    if is_own(spec["kind"]):
        return _own(spec, classes)
    module = importlib.import_module(f"softreg.networks.{spec['kind']}")
    network: Segmenter = module.build(spec, classes, pretrained)
    return network


class _Own(Segmenter):
    """A user's network: what is wrong with what it does is told with its file and line."""

    file: Path
    classes: int

    def logits(self, images: Tensor) -> Tensor:
        """As `Segmenter.logits`. Raises OwnFault where the network fails, or gives anything but logits."""
        with blamed(self.file, self.network.forward):
            logits = super().logits(images)
        given = tuple(logits.shape) if isinstance(logits, Tensor) else type(logits).__name__
        wanted = len(images), self.classes, *images.shape[-2:]
        if given != wanted:
            place = line_of(self.file, self.network.forward)
            raise OwnFault(f"{place}: forward gives {given} for images {tuple(images.shape)}; give logits {wanted}")
        return logits


def _own(spec: dict[str, Any], classes: int) -> Segmenter:
    """A user's network; it may state ``stride``, ``mean``, ``std``, ``head`` and ``pretrained``; see `Segmenter`."""
    network = create(spec, nn.Module, classes)
    mean, std = getattr(network, "mean", (0.0, 0.0, 0.0)), getattr(network, "std", (1.0, 1.0, 1.0))
    head = getattr(network, "head", None)
    file = locate(spec["kind"]).file
    with blamed(file):
        model = _Own(
            network,
            getattr(network, "stride", 1),
            mean,
            std,
            head if isinstance(head, nn.Module) else None,
            pretrained=getattr(network, "pretrained", False),
        )
    model.file, model.classes = file, classes
    return model
