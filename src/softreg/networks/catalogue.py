"""Writes ``smp_catalogue.json``: the names that a study may use of segmentation-models-pytorch and timm.

The file lets a study be checked without importing torch. Run ``python -m softreg.networks.catalogue`` after an
upgrade of either library.
"""

from __future__ import annotations

import inspect
from importlib.metadata import version
from pathlib import Path
from typing import Any

import segmentation_models_pytorch as smp
import timm

from softreg.files import write_json

FILE = Path(__file__).with_name("smp_catalogue.json")
#: Set by the study's other keys, or such that the network would no longer return logits alone.
_RESERVED = {"encoder_name", "encoder_weights", "in_channels", "classes", "activation", "aux_params"}
#: Of timm's encoders: a transformer takes images of one size only, unless told otherwise.
_ENCODER_OPTIONS = {"dynamic_img_size": False, "img_size": None, "strict_img_size": True}


def build() -> dict[str, Any]:
    """Versions; for each architecture its keyword arguments and their defaults; encoders; models of timm."""
    return {
        "versions": {name: version(name) for name in ("segmentation-models-pytorch", "timm")},
        "architectures": {
            name: options(architecture) | _ENCODER_OPTIONS
            for name, architecture in sorted(smp.MODEL_ARCHITECTURES_MAPPING.items())
        },
        "encoders": sorted(smp.encoders.get_encoder_names()),
        "timm": sorted(timm.list_models()),
    }


def options(architecture: type) -> dict[str, Any]:
    """The keyword arguments of an architecture that a study may set, with the library's defaults."""
    parameters = inspect.signature(architecture).parameters.values()
    return {
        parameter.name: list(parameter.default) if isinstance(parameter.default, tuple) else parameter.default
        for parameter in parameters
        if parameter.kind is not parameter.VAR_KEYWORD and parameter.name not in _RESERVED
    }


if __name__ == "__main__":
    write_json(FILE, build())
