"""How complex a scene is, read off its true mask: boundary density and number of classes. Imports no torch."""

from __future__ import annotations

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from softreg.data.base import IGNORE


def of_masks(masks: NDArray[np.uint8], classes: int) -> pd.DataFrame:
    """One row for each mask of (N, H, W): boundary_density, and classes, the number of classes that it shows.

    ``boundary_density`` is the share of the pairs of neighbours (above or beside each other) that are of two classes,
    among the pairs without an ignored pixel; nan where there is none.
    """
    rows = [_of_mask(np.asarray(mask), classes) for mask in masks]
    return pd.DataFrame(rows, columns=["boundary_density", "classes"])


def _of_mask(mask: NDArray[np.uint8], classes: int) -> tuple[float, int]:
    pairs = [(mask[1:], mask[:-1]), (mask[:, 1:], mask[:, :-1])]
    valid = [(a != IGNORE) & (b != IGNORE) for a, b in pairs]
    differ = sum(int(((a != b) & ok).sum()) for (a, b), ok in zip(pairs, valid, strict=True))
    total = sum(int(ok.sum()) for ok in valid)
    shown = int(np.count_nonzero(np.bincount(mask[mask != IGNORE], minlength=classes)))
    return (differ / total if total else float("nan")), shown
