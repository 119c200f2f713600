"""Means with their uncertainty. The unit of resampling is the seed, that is a training run."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import pandas as pd
from numpy.typing import ArrayLike
from scipy import stats


@dataclass(frozen=True)
class Interval:
    """A mean of ``n`` values and its confidence interval; low and high are nan where n < 2."""

    mean: float
    low: float
    high: float
    n: int


def mean_interval(values: ArrayLike, confidence: float = 0.95) -> Interval:
    """Mean and two-sided t-interval, mean ± t(n−1) · s/√n, of independent values; nan values are left out.

    One value has no interval, none has no mean: what is not defined is nan.
    """
    given = np.asarray(values, dtype=np.float64)
    sample = given[~np.isnan(given)]
    n = len(sample)
    mean = float(sample.mean()) if n else float("nan")
    half = float("nan")
    if n > 1:
        quantile = stats.t.ppf((1 + confidence) / 2, n - 1)
        half = float(quantile * sample.std(ddof=1) / np.sqrt(n))
    return Interval(mean, mean - half, mean + half, n)


def standard_error(values: ArrayLike) -> float:
    """s/√n of independent values; nan where n < 2."""
    sample = np.asarray(values, dtype=np.float64)
    return float(sample.std(ddof=1) / np.sqrt(len(sample))) if len(sample) > 1 else float("nan")


def paired_difference(treated: pd.Series[float], reference: pd.Series[float]) -> pd.Series[float]:
    """``treated − reference`` for each index (seed) that both have, in the order of the index."""
    both = treated.index.intersection(reference.index).sort_values()
    return treated.loc[both] - reference.loc[both]
