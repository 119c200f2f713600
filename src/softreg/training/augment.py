"""Augmentation as batched tensor code: random scale, crop and flip in one resampling, then colour jitter."""

from __future__ import annotations

from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor

from softreg.training.objectives import IGNORE

#: Random numbers per image: scale, two offsets, flip, brightness, contrast, saturation. Always all of them are
#: drawn, so that switching one off leaves the others as they were.
_DRAWS = 7
_GREY = (0.299, 0.587, 0.114)


def augment(
    images: Tensor, masks: Tensor, crop: tuple[int, int], options: dict[str, Any], generator: torch.Generator
) -> tuple[Tensor, Tensor]:
    """Images (N, 3, H, W) in 0…1 and masks (N, H, W) uint8 → the same, cropped to ``crop`` (height, width).

    ``options`` are the study's ``training.augmentation``; ``generator`` is a CPU generator. What lies outside
    an image repeats its border and is ignored in the mask.
    """
    draws = torch.rand(len(images), _DRAWS, generator=generator, dtype=torch.float64).unbind(1)
    grid = _grid(images.shape[-2:], crop, options, draws[:4]).to(images.device)
    images = F.grid_sample(images, grid, mode="bilinear", padding_mode="border", align_corners=False)
    # Shifted by one, so that the zeros which grid_sample puts outside can be told from class 0.
    shifted = F.grid_sample(masks.float().unsqueeze(1) + 1, grid, mode="nearest", align_corners=False)
    shifted = shifted.squeeze(1).round()
    masks = torch.where(shifted == 0, IGNORE, shifted - 1).to(torch.uint8)
    return _jitter(images, options, draws[4:]), masks


def _grid(
    size: torch.Size | tuple[int, int], crop: tuple[int, int], options: dict[str, Any], draws: tuple[Tensor, ...]
) -> Tensor:
    """Where each pixel of the crops lies in its image, (N, h, w, 2) as (x, y) in grid_sample's −1…1."""
    low, high = options["scale"] or (1.0, 1.0)
    # Log-uniform, so that shrinking by two is as likely as growing by two.
    scale = low * (high / low) ** draws[0]
    ys = _positions(size[0], crop[0], scale, draws[1])
    xs = _positions(size[1], crop[1], scale, draws[2])
    if options["flip"]:
        xs = torch.where((draws[3] < 0.5)[:, None], xs.flip(1), xs)
    shape = (len(scale), *crop)
    return torch.stack([xs[:, None, :].expand(shape), ys[:, :, None].expand(shape)], dim=-1).float()


def _positions(length: int, crop: int, scale: Tensor, draw: Tensor) -> Tensor:
    """Positions (N, crop) in −1…1 along one axis; at scale 1 they fall on pixel centres."""
    room = length - crop / scale
    offset = room * draw
    offset = torch.where(scale == 1, offset.round(), offset)
    pixels = (torch.arange(crop, dtype=torch.float64) + 0.5) / scale[:, None] + offset[:, None]
    return pixels * 2 / length - 1


def _jitter(images: Tensor, options: dict[str, Any], draws: tuple[Tensor, ...]) -> Tensor:
    """Multiply brightness, contrast about the image's mean grey, and saturation about each pixel's grey."""
    keys = ("brightness", "contrast", "saturation")
    if not any(options[key] for key in keys):
        return images
    brightness, contrast, saturation = (
        (1 + options[key] * (2 * draw - 1)).float().to(images.device).view(-1, 1, 1, 1)
        for key, draw in zip(keys, draws, strict=True)
    )
    images = images * brightness
    mean = _grey(images).mean(dim=(1, 2, 3), keepdim=True)
    images = mean + (images - mean) * contrast
    grey = _grey(images)
    jittered: Tensor = grey + (images - grey) * saturation
    return jittered.clamp_(0, 1)


def _grey(images: Tensor) -> Tensor:
    red, green, blue = images.unbind(1)
    return (_GREY[0] * red + _GREY[1] * green + _GREY[2] * blue).unsqueeze(1)
