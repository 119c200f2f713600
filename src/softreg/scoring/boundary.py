"""Boundary IoU: how well the rim of each class is met, whatever the size of its inside (Cheng et al. 2021)."""

from __future__ import annotations

import math

import torch
import torch.nn.functional as F
from torch import Tensor

from softreg.training.objectives import IGNORE

#: Width of the rim as a share of the image's diagonal.
SHARE = 0.02


def rim_width(height: int, width: int) -> int:
    """Width of the rim, in pixels: 2 % of the diagonal, at least 1."""
    return max(1, round(SHARE * math.hypot(height, width)))


def boundary_sums(prediction: Tensor, masks: Tensor, classes: int) -> tuple[Tensor, Tensor]:
    """Pixels of the intersection and of the union of the rims, of each image and class: two (n, C) int64.

    ``prediction`` and ``masks`` (n, H, W) hold class indices. The rim of a class are its pixels at most `rim_width`
    (in the larger of the two axes' distances) from a pixel outside it or from the image's edge. Ignored pixels are
    outside of every class in both, so that the rim along them is no error.
    """
    rims = _rims(masks, classes), _rims(prediction.masked_fill(masks == IGNORE, IGNORE), classes)
    both, either = rims[0] & rims[1], rims[0] | rims[1]
    return both.sum((-2, -1)), either.sum((-2, -1))


def _rims(masks: Tensor, classes: int) -> Tensor:
    """(n, C, H, W) bool."""
    inside = masks[:, None] == torch.arange(classes, dtype=masks.dtype, device=masks.device).view(1, -1, 1, 1)
    width = rim_width(*masks.shape[-2:])
    # A pixel stays where all of its square neighbourhood is inside; what is beyond the image's edge is not.
    outside = F.pad((~inside).float(), (width,) * 4, value=1.0)
    return inside & (F.max_pool2d(outside, 2 * width + 1, stride=1) > 0)
