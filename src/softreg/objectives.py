"""Data terms: means over valid pixels, so that λ means the same at every image size and batch size."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor

#: Pixels of this class are left out of training and scoring.
IGNORE = 255

#: (logits (N, C, H, W), masks (N, H, W) of class indices or IGNORE) → scalar.
Objective = Callable[[Tensor, Tensor], Tensor]


def make_objective(spec: dict[str, Any]) -> Objective:
    """The data term that the study's ``training.objective`` names."""
    kind, beta = spec["kind"], spec["beta"]
    if kind == "cross_entropy":
        return cross_entropy
    if kind == "cross_entropy_dice":
        return lambda logits, masks: cross_entropy(logits, masks) + dice(logits, masks)
    if kind == "squared_error":
        return squared_error
    return lambda logits, masks: smooth_l1(logits, masks, beta)


def cross_entropy(logits: Tensor, masks: Tensor) -> Tensor:
    """Mean of −log softmax at the true class over valid pixels, nats.

    Not reduced by torch itself: that has no deterministic CUDA form on images.
    """
    losses = F.cross_entropy(logits, masks.long(), ignore_index=IGNORE, reduction="none")
    return losses.sum() / _count(masks)


def dice(logits: Tensor, masks: Tensor) -> Tensor:
    """1 − 2Σpy/(Σp + Σy) over the batch's valid pixels, mean over the classes that the batch shows."""
    probabilities, truth, valid = _one_hot(logits, masks)
    probabilities = probabilities * valid
    shown = truth.sum(dim=(0, 2, 3))
    overlap = (probabilities * truth).sum(dim=(0, 2, 3))
    losses = 1 - 2 * overlap / (probabilities.sum(dim=(0, 2, 3)) + shown).clamp_min(1e-7)
    present = shown > 0
    return (losses * present).sum() / present.sum().clamp_min(1)


def squared_error(logits: Tensor, masks: Tensor) -> Tensor:
    """½Σ_c(p_c − y_c)², softmax against one-hot, mean over valid pixels."""
    probabilities, truth, valid = _one_hot(logits, masks)
    return (((probabilities - truth) ** 2) * valid).sum() / 2 / _count(masks)


def smooth_l1(logits: Tensor, masks: Tensor, beta: float) -> Tensor:
    """Σ_c of d²/2β if |d| < β else |d| − β/2, with d = softmax − one-hot; mean over valid pixels (Girshick, 2015)."""
    probabilities, truth, valid = _one_hot(logits, masks)
    return (F.smooth_l1_loss(probabilities, truth, beta=beta, reduction="none") * valid).sum() / _count(masks)


def _count(masks: Tensor) -> Tensor:
    return (masks != IGNORE).sum().clamp_min(1)


def _one_hot(logits: Tensor, masks: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    """Softmax, one-hot truth (0 on ignored pixels) and validity, as (N, C, H, W), (N, C, H, W), (N, 1, H, W)."""
    classes = torch.arange(logits.shape[1], device=masks.device).view(1, -1, 1, 1)
    valid = (masks != IGNORE).unsqueeze(1)
    return logits.float().softmax(dim=1), (masks.unsqueeze(1) == classes).float(), valid
