"""Means and their standard errors, by which λ̂ is chosen. Imports no torch."""

from __future__ import annotations

import numpy as np
from numpy.typing import ArrayLike, NDArray

Floats = NDArray[np.float64]


def known(values: ArrayLike) -> Floats:
    """``values`` (N,) without nan."""
    given = np.asarray(values, dtype=np.float64)
    return given[~np.isnan(given)]


def mean_of(sample: Floats) -> float:
    """Mean of (N,); nan of none."""
    return float(sample.mean()) if len(sample) else float("nan")


def standard_error(values: ArrayLike) -> float:
    """s/√n of independent values; nan where n < 2."""
    sample = np.asarray(values, dtype=np.float64)
    return float(sample.std(ddof=1) / np.sqrt(len(sample))) if len(sample) > 1 else float("nan")
