"""Every architecture × encoder of segmentation-models-pytorch."""

from __future__ import annotations

import json
import os
from pathlib import Path
from typing import Any

import segmentation_models_pytorch as smp
from safetensors import SafetensorError, safe_open
from safetensors.torch import load_file
from torch import Tensor, nn

from softreg.errors import UserError, first_line
from softreg.networks import lite0
from softreg.networks.segmenter import Segmenter

_IMAGENET = ((0.485, 0.456, 0.406), (0.229, 0.224, 0.225))


def build(spec: dict[str, Any], classes: int, pretrained: bool) -> Segmenter:
    """The network of ``architecture``, ``encoder``, ``weights`` and ``options``.

    Its input normalisation is the one that the encoder's weights were trained with, which a file must state;
    ImageNet's where there are none. Raises UserError where the library refuses the combination, or the weights do
    not fit or do not state it.
    """
    weights = spec["weights"] if pretrained else "none"
    name = f"{spec['architecture']} with encoder {spec['encoder']}"
    try:
        network = smp.create_model(
            spec["architecture"],
            encoder_name=spec["encoder"],
            encoder_weights="imagenet" if weights == "hub" else None,
            classes=classes,
            **spec["options"],
        )
        normalisation = _normalisation(spec["encoder"], weights)
    except OSError as error:
        raise UserError(
            f"{name}: its weights could not be fetched from the model hub ({first_line(error)}); "
            "connect to the network once, or set `weights` to none, lite0 or a safetensors file"
        ) from error
    except (KeyError, TypeError, ValueError, RuntimeError) as error:
        raise UserError(f"{name} cannot be built: {first_line(error)}") from error
    if weights not in ("none", "hub"):
        _load_encoder(network.encoder, lite0.state() if weights == "lite0" else _read(Path(weights)), weights)
    return Segmenter(
        network, network.encoder.output_stride, *normalisation, network.segmentation_head, pretrained=weights != "none"
    )


def _normalisation(encoder: str, weights: str) -> tuple[tuple[float, ...], tuple[float, ...]]:
    if weights == "lite0":
        return lite0.MEAN, lite0.STD
    if weights == "none":
        return _IMAGENET
    if weights != "hub":
        return _stated("mean", weights), _stated("std", weights)
    parameters = smp.encoders.get_preprocessing_params(encoder, pretrained="imagenet")
    return tuple(parameters["mean"]), tuple(parameters["std"])


def _stated(key: str, file: str) -> tuple[float, ...]:
    """Of each channel in 0…1, what the metadata of a weights file say, as a JSON list, under ``mean`` or ``std``."""
    try:
        with safe_open(file, "pt") as opened:
            values = json.loads((opened.metadata() or {}).get(key, "null"))
    except (OSError, SafetensorError) as error:
        raise UserError(f"{file} cannot be read as safetensors: {first_line(error)}") from error
    except ValueError:
        values = None
    if not isinstance(values, list) or len(values) != 3 or not all(_is_level(value, key) for value in values):
        raise UserError(
            f"{file} does not say how images were normalised for its weights: its metadata need `mean` and `std`, "
            'three numbers in 0 to 1 each; save it with safetensors.torch.save_file(state, file, metadata={"mean": '
            '"[0.485, 0.456, 0.406]", "std": "[0.229, 0.224, 0.225]"}), which are ImageNet\'s'
        )
    return tuple(values)


def _is_level(value: object, key: str) -> bool:
    """Whether a value can be a channel's mean, or its standard deviation, which is not 0; NaN is neither."""
    if isinstance(value, bool) or not isinstance(value, int | float):
        return False
    return 0 <= value <= 1 and (key == "mean" or value > 0)


def _read(file: Path) -> dict[str, Tensor]:
    try:
        return load_file(file)
    except (OSError, SafetensorError) as error:
        raise UserError(f"{os.fspath(file)} cannot be read as safetensors: {first_line(error)}") from error


def _load_encoder(encoder: nn.Module, state: dict[str, Tensor], source: str) -> None:
    try:
        nn.Module.load_state_dict(encoder, state)
    except RuntimeError as error:
        problem = " ".join(str(error).split())[:300]
        raise UserError(f"the encoder weights {source} do not fit the study's encoder: {problem}") from error
