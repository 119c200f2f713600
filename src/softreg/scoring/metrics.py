"""Measures of a segmentation, from counts of pixels. Imports numpy only.

Shapes: N images, C classes, B bins of confidence; leading axes (``...``) are kept, so that one call can
score many cells or resamples. Ignored pixels are left out before counting.
A measure whose denominator is zero is nan.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

Floats = NDArray[np.float64]


def iou_per_class(tp: ArrayLike, fp: ArrayLike, fn: ArrayLike) -> Floats:
    """Intersection over union, TP / (TP + FP + FN), elementwise; nan where the union is empty."""
    hits = np.asarray(tp)
    return _ratio(hits, hits + np.asarray(fp) + np.asarray(fn))


def miou(tp: ArrayLike, fp: ArrayLike, fn: ArrayLike) -> Floats:
    """Mean IoU of a data set: (..., N, C) → (...).

    Counts are summed over the images first; classes whose union is empty are left out of the mean.
    """
    return _mean_of_defined(iou_per_class(*_totals(tp, fp, fn)))


def miou_per_image(tp: ArrayLike, fp: ArrayLike, fn: ArrayLike) -> Floats:
    """Mean over images of the mean IoU of each, if it has a valid pixel: (..., N, C) → (...)."""
    return _mean_of_defined(_mean_of_defined(iou_per_class(tp, fp, fn)))


def dice(tp: ArrayLike, fp: ArrayLike, fn: ArrayLike) -> Floats:
    """Mean over classes of 2 TP / (2 TP + FP + FN), counts summed over the images: (..., N, C) → (...)."""
    hits, false, missed = _totals(tp, fp, fn)
    return _mean_of_defined(_ratio(2 * hits, 2 * hits + false + missed))


def boundary_iou(both: ArrayLike, either: ArrayLike) -> Floats:
    """Mean over classes of the IoU of their rims, pixels summed over the images: (..., N, C) → (...).

    ``both`` and ``either`` are the rims' intersection and union (`softreg.scoring.boundary`; Cheng et al. 2021,
    equation 2).
    """
    return _mean_of_defined(_ratio(*_totals(both, either)))


def pixel_accuracy(tp: ArrayLike, fn: ArrayLike) -> Floats:
    """Share of the valid pixels, ΣTP + ΣFN, whose class is right: (..., N, C) → (...)."""
    right, missed = np.asarray(tp).sum((-2, -1)), np.asarray(fn).sum((-2, -1))
    return _ratio(right, right + missed)


def ece(bin_count: ArrayLike, bin_correct: ArrayLike, bin_confidence: ArrayLike) -> Floats:
    """Expected calibration error over all pixels of all images: (..., N, B) → (...).

    Σ_b |correct_b − Σ confidence_b| / Σ_b count_b, which is Σ_b (n_b/n) |accuracy_b − mean confidence_b|
    (Guo et al. 2017, equation 3).
    """
    count, correct, confidence = _totals(bin_count, bin_correct, bin_confidence)
    return _ratio(np.abs(correct - confidence).sum(-1), count.sum(-1))


def nll(nll_sum: ArrayLike, pixels: ArrayLike) -> Floats:
    """Mean negative log likelihood of a valid pixel, in nats: (..., N) → (...)."""
    return _ratio(np.asarray(nll_sum).sum(-1), np.asarray(pixels).sum(-1))


def _totals(*counts: ArrayLike) -> list[NDArray[Any]]:
    return [np.asarray(count).sum(-2) for count in counts]


def _ratio(top: NDArray[Any], bottom: NDArray[Any]) -> Floats:
    empty = np.full(np.shape(bottom), np.nan)
    ratio: Floats = np.divide(top, bottom, out=empty, where=np.asarray(bottom) != 0, dtype=np.float64)
    return ratio


def _mean_of_defined(values: Floats) -> Floats:
    defined = ~np.isnan(values)
    return _ratio(np.where(defined, values, 0.0).sum(-1), defined.sum(-1))
