"""Segmentation networks, one file per kind: the file's name is the ``kind`` of a model in a study.

A file defines ``build(spec, classes, pretrained) -> Segmenter``; ``spec`` is the study's entry with its defaults.
"""

from __future__ import annotations

import importlib
from typing import Any

from softreg.models.segmenter import Segmenter


def build(spec: dict[str, Any], classes: int, pretrained: bool = True) -> Segmenter:
    """The network that an entry of a study's ``models`` describes, with ``classes`` output channels.

    Initial weights are drawn from torch's global generator; ``pretrained`` is false where stored weights will
    replace them, so that none are fetched. Raises UserError where the entry cannot be built.
    """
    module = importlib.import_module(f"softreg.models.{spec['kind']}")
    network: Segmenter = module.build(spec, classes, pretrained)
    return network
