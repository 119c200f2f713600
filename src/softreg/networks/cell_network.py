"""The network of one cell, as training begins with it and evaluation rebuilds it."""

from __future__ import annotations

import torch

from softreg import networks
from softreg.networks.segmenter import Segmenter
from softreg.networks.thin import NotThin, thin
from softreg.study.config import Study
from softreg.study.matrix import TrainingPath
from softreg.study.treatment import treatment_of


def build_network(
    study: Study, path: TrainingPath, classes: int, strength: float, pretrained: bool = True
) -> Segmenter:
    """The network of a path's cell; ``strength`` matters where it sets the network's size.

    Its weights are in memory with the channels last, where convolutions are faster on CPU and GPU. Initial weights are
    drawn from torch's global generator. A narrower network starts from random weights, as there are
    no pretrained ones of its size. Raises UserError where it cannot be built.
    """
    removed = treatment_of(study.penalties[path.penalty]["kind"], strength).removed
    model = networks.build(study.models[path.model], classes, pretrained and not removed)
    if removed and model.pretrained:
        raise NotThin(
            f"small_dense starts from random weights, and model {path.model} loads pretrained ones; name other models "
            "under the entry's `models`"
        )
    model = (thin(model, removed) if removed else model).to(memory_format=torch.channels_last)
    for parameter in model.parameters():
        # A clone is dense: fused optimisers would walk through the memory between the numbers of a slice.
        parameter.data = parameter.data.clone()
    return model


def sized_by_strength(study: Study, path: TrainingPath) -> bool:
    """Whether the cells of a path differ in the size of their networks."""
    return treatment_of(study.penalties[path.penalty]["kind"], 1.0).removed > 0
