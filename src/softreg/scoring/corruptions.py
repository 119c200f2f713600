"""Test images made worse in a controlled way, at five severities, after Hendrycks & Dietterich (2019).

The levels are this project's own: as images may be small, blur is told as a share of the diagonal.
"""

from __future__ import annotations

import io
import math

import numpy as np
import torch
import torch.nn.functional as F
from PIL import Image
from torch import Tensor

from softreg.networks.randomness import generator
from softreg.training.imageset import Batches

#: The level of each severity from 1 to 5: standard deviation of the noise (of values in 0 to 1), standard deviation of
#: the blur (share of the diagonal), what contrast is multiplied by, what brightness is raised by, quality of the JPEG.
LEVELS: dict[str, tuple[float, ...]] = {
    "noise": (0.04, 0.08, 0.12, 0.18, 0.26),
    "blur": (0.005, 0.01, 0.015, 0.02, 0.03),
    "contrast": (0.75, 0.5, 0.4, 0.3, 0.15),
    "brightness": (0.1, 0.2, 0.3, 0.4, 0.5),
    "jpeg": (80, 50, 30, 15, 7),
}


def corrupt(images: Tensor, kind: str, severity: int, first: int) -> Tensor:
    """Images (n, 3, H, W) in 0…1, made worse; ``first`` is the place of the first of them in its split.

    The noise of an image is a function of its place and of ``severity``: the same for every cell and batch size.
    """
    level = LEVELS[kind][severity - 1]
    if kind == "noise":
        noise = [
            torch.randn(image.shape, generator=generator(severity, "corruption", first + place))
            for place, image in enumerate(images)
        ]
        return (images + level * torch.stack(noise).to(images)).clamp(0, 1)
    if kind == "blur":
        return _blurred(images, level * math.hypot(*images.shape[-2:]))
    if kind == "contrast":
        return _faded(images, level)
    if kind == "brightness":
        return (images + level).clamp(0, 1)
    return _jpeg(images, int(level))


def _blurred(images: Tensor, sigma: float) -> Tensor:
    """By a Gaussian of ``sigma`` pixels, cut off at three of them, mirrored at the border; bit by bit torchvision's.

    Points lie 1/√2 apart, as there, which stands for the half that the exponent lacks.
    """
    reach = math.ceil(3 * sigma)
    end = reach / math.sqrt(2)
    points = torch.linspace(-end, end, 2 * reach + 1, dtype=images.dtype, device=images.device)
    line = torch.softmax(points.div(sigma).pow(2).neg(), dim=0)
    kernel = (line.unsqueeze(-1) * line).expand(3, 1, -1, -1)
    return F.conv2d(F.pad(images, [reach] * 4, mode="reflect"), kernel, groups=3)


def _faded(images: Tensor, share: float) -> Tensor:
    """``share`` of the contrast about each image's mean grey; bit by bit torchvision's."""
    red, green, blue = images.unbind(dim=-3)
    grey = red.mul(0.2989).add_(green, alpha=0.587).add_(blue, alpha=0.114)
    mean = grey.mean(dim=(-2, -1), keepdim=True).unsqueeze(1)
    return images.mul(share).add_(mean, alpha=1.0 - share).clamp_(0, 1)


def _jpeg(images: Tensor, quality: int) -> Tensor:
    pixels = (images * 255).round().to(torch.uint8).permute(0, 2, 3, 1).cpu().numpy()
    read = np.stack([_through_jpeg(image, quality) for image in pixels])
    return torch.from_numpy(read).to(images).permute(0, 3, 1, 2) / 255


def _through_jpeg(image: np.ndarray, quality: int) -> np.ndarray:
    buffer = io.BytesIO()
    Image.fromarray(image).save(buffer, "jpeg", quality=quality)
    return np.asarray(Image.open(buffer))


class Corrupted(Batches):
    """The images of ``batches`` made worse; masks as they are. Batches must be asked for in order."""

    def __init__(self, batches: Batches, kind: str, severity: int) -> None:
        self.source, self.device, self.resident = batches.source, batches.device, batches.resident
        self.kind, self.severity = kind, severity

    def __call__(self, indices: Tensor) -> tuple[Tensor, Tensor]:
        """The batch of these consecutive positions."""
        images, masks = super().__call__(indices)
        return corrupt(images, self.kind, self.severity, int(indices[0])), masks
