"""Predicting whole images and counting what came out: the sums that score records hold."""

from __future__ import annotations

from collections.abc import Callable, Iterator

import torch
import torch.nn.functional as F
from torch import Tensor

from softreg.networks.segmenter import Segmenter
from softreg.training.imageset import Batches
from softreg.training.objectives import IGNORE

#: Equal bins of the largest softmax probability, for calibration.
BINS = 15


Sums = dict[str, Tensor]
"""Sums over the valid pixels of n images, CPU tensors, by the columns of score records that they are for.

``tp``, ``fp``, ``fn`` (n, C) int64; ``pixels`` (n) int64; ``nll_sum`` (n) float64, nats; ``bin_count`` and
``bin_correct`` (n, BINS) int64; ``bin_confidence`` (n, BINS) float64.
"""


@torch.inference_mode()
def predict(model: Segmenter, batches: Batches, batch_size: int) -> Iterator[tuple[Tensor, Tensor]]:
    """Logits (n, C, H, W) float32 and masks (n, H, W) of all images in order, at full size, in eval mode."""
    model.eval()
    for indices in torch.split(torch.arange(len(batches.source)), batch_size):
        images, masks = batches(indices)
        with autocast(batches.device):
            logits = model(images)
        yield logits.float(), masks


def confusion(logits: Tensor, masks: Tensor) -> Tensor:
    """Confusion counts (n, C, C) int64 of each image: row true class, column predicted; ignored pixels left out."""
    count, classes = logits.shape[:2]
    valid = masks != IGNORE
    image = torch.arange(count, device=masks.device).view(-1, 1, 1).expand_as(masks)
    cell = (image * classes + masks.long()) * classes + logits.argmax(dim=1)
    return torch.bincount(cell[valid], minlength=count * classes**2).view(count, classes, classes)


def count(logits: Tensor, masks: Tensor) -> Sums:
    """All sums of a batch: logits (n, C, H, W) float32 and masks (n, H, W) uint8."""
    table = confusion(logits, masks)
    tp = table.diagonal(dim1=1, dim2=2)
    log_probabilities = logits.log_softmax(dim=1)
    nll = F.nll_loss(log_probabilities, masks.long(), ignore_index=IGNORE, reduction="none")
    confidence, prediction = log_probabilities.max(dim=1)
    sums = {"tp": tp, "fp": table.sum(dim=1) - tp, "fn": table.sum(dim=2) - tp, "pixels": table.sum(dim=(1, 2))}
    sums |= {"nll_sum": nll.double().sum(dim=(1, 2))}
    sums |= _bin_sums(confidence.exp(), prediction == masks, masks != IGNORE)
    return {name: value.cpu() for name, value in sums.items()}


def _bin_sums(confidence: Tensor, correct: Tensor, valid: Tensor) -> Sums:
    """Per image and bin: valid pixels, correct ones, summed confidence.

    One masked sum a bin, since CUDA has no deterministic weighted bincount.
    """
    bins = (confidence * BINS).long().clamp_max(BINS - 1)
    inside = [valid & (bins == index) for index in range(BINS)]
    counts = torch.stack([chosen.sum(dim=(1, 2)) for chosen in inside], dim=1)
    hits = torch.stack([(chosen & correct).sum(dim=(1, 2)) for chosen in inside], dim=1)
    sums = torch.stack([(confidence.double() * chosen).sum(dim=(1, 2)) for chosen in inside], dim=1)
    return {"bin_count": counts, "bin_correct": hits, "bin_confidence": sums}


def validation_miou(model: Segmenter, batches: Batches, batch_size: int, check: Callable[[], None]) -> float:
    """mIoU over a whole set; ``check`` is called after each batch and may raise to break off."""
    total: Tensor | int = 0
    for logits, masks in predict(model, batches, batch_size):
        total = total + confusion(logits, masks).sum(dim=0)
        check()
    assert isinstance(total, Tensor)
    tp = total.diagonal()
    union = total.sum(dim=0) + total.sum(dim=1) - tp
    shown = union > 0
    return float((tp[shown].double() / union[shown]).mean())


def autocast(device: torch.device) -> torch.autocast:
    """bfloat16 on a GPU, float32 on the CPU."""
    return torch.autocast(device.type, dtype=torch.bfloat16, enabled=device.type == "cuda")
