"""Augmentation as batched tensor code: random scale, crop and flip in one step, then colour jitter."""

from __future__ import annotations

from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor

from softreg.training.objectives import IGNORE

#: Random numbers per image: scale, two offsets, flip, brightness, contrast, saturation. Always all of them are
#: drawn, so that switching one off leaves the others as they were.
DRAWS = 7
_GREY = (0.299, 0.587, 0.114)


def draw(count: int, generator: torch.Generator) -> Tensor:
    """The random numbers of ``count`` images, (count, DRAWS) float64 in 0…1; ``generator`` is a CPU generator."""
    return torch.rand(count, DRAWS, generator=generator, dtype=torch.float64)


def augment(
    images: Tensor, masks: Tensor, crop: tuple[int, int], options: dict[str, Any], drawn: Tensor
) -> tuple[Tensor, Tensor]:
    """Images (N, 3, H, W) in 0…1 and masks (N, H, W) uint8 → the same, cropped to ``crop`` (height, width).

    ``options`` are the study's ``training.augmentation``; ``drawn`` is what `draw` gives, on the images' device. What
    lies outside an image repeats its border and is ignored in the mask.
    """
    draws = drawn.unbind(1)
    move = _cut if options["scale"] in (None, [1, 1]) else _resample
    images, masks = move(images, masks, crop, options, draws)
    return _jitter(images, options, draws[4:]), masks


def _cut(
    images: Tensor, masks: Tensor, crop: tuple[int, int], options: dict[str, Any], draws: tuple[Tensor, ...]
) -> tuple[Tensor, Tensor]:
    """Crop and flip where nothing is scaled: every pixel is taken as it is."""
    height, width = masks.shape[1:]
    rows = _pixels(height, crop[0], draws[1])
    columns = _flipped(_pixels(width, crop[1], draws[2]), options, draws)
    outside = ((rows < 0) | (rows >= height))[:, :, None] | ((columns < 0) | (columns >= width))[:, None, :]
    image = torch.arange(len(masks), device=masks.device)[:, None, None]
    where = (image, rows.clamp(0, height - 1)[:, :, None], columns.clamp(0, width - 1)[:, None, :])
    return images.movedim(1, -1)[where].movedim(-1, 1), masks[where].masked_fill_(outside, IGNORE)


def _pixels(length: int, crop: int, draw: Tensor) -> Tensor:
    """The pixels (N, crop) along one axis that a random window shows; below 0 or from ``length`` on, outside."""
    return ((length - crop) * draw).round().long()[:, None] + torch.arange(crop, device=draw.device)


def _flipped(positions: Tensor, options: dict[str, Any], draws: tuple[Tensor, ...]) -> Tensor:
    """Positions (N, crop), of half of the images from last to first."""
    return torch.where((draws[3] < 0.5)[:, None], positions.flip(1), positions) if options["flip"] else positions


def _resample(
    images: Tensor, masks: Tensor, crop: tuple[int, int], options: dict[str, Any], draws: tuple[Tensor, ...]
) -> tuple[Tensor, Tensor]:
    """Scale, crop and flip in one resampling: bilinear of images, nearest of masks."""
    grid = _grid(images.shape[-2:], crop, options, draws)
    images = F.grid_sample(images, grid, mode="bilinear", padding_mode="border", align_corners=False)
    # Shifted by one, so that the zeros which grid_sample puts outside can be told from class 0.
    shifted = F.grid_sample(masks.float().unsqueeze(1) + 1, grid, mode="nearest", align_corners=False)
    shifted = shifted.squeeze(1).round()
    return images, torch.where(shifted == 0, IGNORE, shifted - 1).to(torch.uint8)


def _grid(
    size: torch.Size | tuple[int, int], crop: tuple[int, int], options: dict[str, Any], draws: tuple[Tensor, ...]
) -> Tensor:
    """Where each pixel of the crops lies in its image, (N, h, w, 2) as (x, y) in grid_sample's −1…1."""
    low, high = options["scale"]
    # Log-uniform, so that shrinking by two is as likely as growing by two.
    scale = low * (high / low) ** draws[0]
    ys = _positions(size[0], crop[0], scale, draws[1])
    xs = _flipped(_positions(size[1], crop[1], scale, draws[2]), options, draws)
    shape = (len(scale), *crop)
    return torch.stack([xs[:, None, :].expand(shape), ys[:, :, None].expand(shape)], dim=-1).float()


def _positions(length: int, crop: int, scale: Tensor, draw: Tensor) -> Tensor:
    """Positions (N, crop) in −1…1 along one axis."""
    offset = (length - crop / scale) * draw
    pixels = (torch.arange(crop, dtype=torch.float64, device=draw.device) + 0.5) / scale[:, None] + offset[:, None]
    return pixels * 2 / length - 1


def _jitter(images: Tensor, options: dict[str, Any], draws: tuple[Tensor, ...]) -> Tensor:
    """Multiply brightness, contrast about the image's mean grey, and saturation about each pixel's grey."""
    keys = ("brightness", "contrast", "saturation")
    if not any(options[key] for key in keys):
        return images
    brightness, contrast, saturation = (
        (1 + options[key] * (2 * draw - 1)).float().view(-1, 1, 1, 1) for key, draw in zip(keys, draws, strict=True)
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
