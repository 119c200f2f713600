"""Data terms: means over valid pixels, so that λ means the same at every image size and batch size.

Each takes logits (N, C, H, W), float32 or float64, and masks (N, H, W) of class indices or IGNORE, and gives a scalar,
0 where no pixel is valid. Below, p is the softmax over classes, y the one-hot mask, and t the class of a pixel.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import partial
from statistics import fmean, median
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor

#: Pixels of this class are left out of training and scoring.
IGNORE = 255

#: (logits (N, C, H, W), masks (N, H, W) of class indices or IGNORE) → scalar.
Objective = Callable[[Tensor, Tensor], Tensor]

_TINY = torch.finfo(torch.float32).tiny


def make_objective(
    spec: dict[str, Any], shares: Sequence[float], device: torch.device, smoothing: float = 0.0
) -> Objective:
    """The data term that the study's ``training.objective`` names, for logits on ``device``.

    ``shares`` are each class's share of the training pixels, all above 0; ``smoothing`` is the ε of label smoothing,
    from 0 to 1. Whether the kind takes either is checked where the study is read.
    """
    kind, weights = spec["kind"], class_weights(spec["class_weights"], shares, device)
    terms: dict[str, Objective] = {
        "cross_entropy": partial(cross_entropy, weights=weights, smoothing=smoothing),
        "focal": partial(focal, gamma=spec["gamma"], weights=weights),
        "dice": dice,
        "squared_error": partial(squared_error, smoothing=smoothing),
        "smooth_l1": partial(smooth_l1, beta=spec["beta"], smoothing=smoothing),
    }
    if kind in terms:
        return terms[kind]
    first = terms[kind.removesuffix("_dice")]
    return lambda logits, masks: first(logits, masks) + dice(logits, masks)


def class_weights(rule: str | None, shares: Sequence[float], device: torch.device) -> Tensor | None:
    """A weight for each class, (C,), from its share of the training pixels; None without a rule.

    ``inverse_frequency`` is 1/share over its mean over classes. ``median_frequency`` is median(shares)/share (Eigen and
    Fergus, 2015), with shares of all training pixels, where they count only images that show the class.
    """
    if rule is None:
        return None
    inverse = [1 / share for share in shares]
    scale = 1 / fmean(inverse) if rule == "inverse_frequency" else median(shares)
    return torch.tensor([scale * value for value in inverse], device=device)


def cross_entropy(logits: Tensor, masks: Tensor, weights: Tensor | None = None, smoothing: float = 0.0) -> Tensor:
    """Σ w_t ℓ / Σ w_t over valid pixels, with ℓ = −log p_t, nats; ``weights`` are (C,), all 1 where None.

    With label smoothing, w_t ℓ = −Σ_c w_c y'_c log p_c, where y' = (1 − ε)y + ε/C (Szegedy et al., 2016), as in torch.
    Not reduced by torch itself: that has no deterministic CUDA form on images.
    """
    losses = F.cross_entropy(
        logits, masks.long(), weights, ignore_index=IGNORE, reduction="none", label_smoothing=smoothing
    )
    return losses.sum() / _count(masks, weights)


def focal(logits: Tensor, masks: Tensor, gamma: float, weights: Tensor | None = None) -> Tensor:
    """Σ w_t ℓ / Σ w_t over valid pixels, with ℓ = −(1 − p_t)^γ log p_t, nats (Lin et al., 2017).

    ``weights`` are (C,), all 1 where None.
    """
    losses = F.cross_entropy(logits, masks.long(), ignore_index=IGNORE, reduction="none")
    # The power has no finite slope at 0 for γ < 1, and 1 − p_t is exactly 0 on pixels that are surely right.
    missing = (-torch.expm1(-losses)).clamp_min(_TINY)
    return (missing**gamma * losses * _pixel_weights(masks, weights)).sum() / _count(masks, weights)


def dice(logits: Tensor, masks: Tensor) -> Tensor:
    """1 − 2Σpy/(Σp + Σy) over the batch's valid pixels, mean over the classes that the batch shows."""
    probabilities, truth, valid = _one_hot(logits, masks)
    probabilities = probabilities * valid
    shown = truth.sum(dim=(0, 2, 3))
    overlap = (probabilities * truth).sum(dim=(0, 2, 3))
    losses = 1 - 2 * overlap / (probabilities.sum(dim=(0, 2, 3)) + shown).clamp_min(1e-7)
    present = shown > 0
    return (losses * present).sum() / present.sum().clamp_min(1)


def squared_error(logits: Tensor, masks: Tensor, smoothing: float = 0.0) -> Tensor:
    """½Σ_c(p_c − y'_c)², with y' = (1 − ε)y + ε/C; mean over valid pixels."""
    probabilities, truth, valid = _one_hot(logits, masks)
    return (((probabilities - _smoothed(truth, smoothing)) ** 2) * valid).sum() / 2 / _count(masks)


def smooth_l1(logits: Tensor, masks: Tensor, beta: float, smoothing: float = 0.0) -> Tensor:
    """Σ_c of d²/2β if |d| < β else |d| − β/2, with d = p − y', y' = (1 − ε)y + ε/C; mean over valid pixels.

    Girshick (2015), with the β of torch.
    """
    probabilities, truth, valid = _one_hot(logits, masks)
    losses = F.smooth_l1_loss(probabilities, _smoothed(truth, smoothing), beta=beta, reduction="none")
    return (losses * valid).sum() / _count(masks)


def _pixel_weights(masks: Tensor, weights: Tensor | None) -> Tensor:
    """The weight of each pixel's class, 1 without class weights, and 0 where the pixel is ignored; (N, H, W)."""
    valid = masks != IGNORE
    # An ignored pixel has no class: it looks up class 0, since an index beyond C would be an error.
    return valid if weights is None else weights[masks.long() * valid] * valid


def _count(masks: Tensor, weights: Tensor | None = None) -> Tensor:
    """Valid pixels, each counted by its weight; never 0, so that a batch without any gives 0 and not 0/0."""
    return _pixel_weights(masks, weights).sum().clamp_min(_TINY)


def _one_hot(logits: Tensor, masks: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    """Softmax, one-hot truth (0 on ignored pixels) and validity, as (N, C, H, W), (N, C, H, W), (N, 1, H, W)."""
    classes = torch.arange(logits.shape[1], device=masks.device).view(1, -1, 1, 1)
    valid = (masks != IGNORE).unsqueeze(1)
    return logits.softmax(dim=1), (masks.unsqueeze(1) == classes).to(logits.dtype), valid


def _smoothed(truth: Tensor, smoothing: float) -> Tensor:
    return (1 - smoothing) * truth + smoothing / truth.shape[1]
