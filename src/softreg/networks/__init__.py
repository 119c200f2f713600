"""Segmentation networks, one file per kind: the file's name is the ``kind`` of a model in a study.

A file defines ``build(spec, classes, pretrained) -> Segmenter``; ``spec`` is the study's entry with its defaults.
A user's own file is named by its path and class instead; the class is a network that takes the number of classes.
Start at `convnet`; `segmenter` is what training and scoring see. Imports `softreg.study` and below.
"""

from __future__ import annotations

import importlib
from typing import Any

from torch import nn

from softreg.networks.segmenter import Segmenter
from softreg.own.classes import blamed, create
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


def _own(spec: dict[str, Any], classes: int) -> Segmenter:
    """A user's network; it may state ``stride``, ``mean``, ``std``, ``head`` and ``pretrained``; see `Segmenter`."""
    network = create(spec, nn.Module, classes)
    mean, std = getattr(network, "mean", (0.0, 0.0, 0.0)), getattr(network, "std", (1.0, 1.0, 1.0))
    head = getattr(network, "head", None)
    with blamed(locate(spec["kind"]).file):
        return Segmenter(
            network,
            getattr(network, "stride", 1),
            mean,
            std,
            head if isinstance(head, nn.Module) else None,
            pretrained=getattr(network, "pretrained", False),
        )
