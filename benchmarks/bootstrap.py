"""Seconds for 10,000 crossed resamples of 8 penalties × 10 seeds × 233 images × 11 classes, against a plain loop.

The loop indexes images and seeds anew for each resample, as one would write it first; it does 20 resamples, scaled.
Both are timed in turns, and the ratio is the median of the turns' ratios. NumPy decides on the number of threads: set
OMP_NUM_THREADS=1 for the figures of one core. Beside them, the jackknife that intervals need.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from statistics import median

import numpy as np
from common import print_table, ratio, sized
from numpy.typing import NDArray

from softreg.paper import stats
from softreg.scoring import metrics

SHAPE = sized((8, 10, 233, 11), (2, 3, 5, 3))
RESAMPLES = sized(10_000, 200)
LOOPED = 20
TURNS = sized(5, 1)


def loop(counts: list[NDArray[np.int64]], resamples: int) -> list[NDArray[np.float64]]:
    random = np.random.default_rng(0)
    _, seeds, images, _ = SHAPE
    means = []
    for _ in range(resamples):
        taken = np.ix_(range(SHAPE[0]), random.integers(seeds, size=seeds), random.integers(images, size=images))
        means.append(metrics.miou(*(count[taken] for count in counts)).mean(1))
    return means


def seconds(act: Callable[[], object]) -> float:
    started = time.perf_counter()
    act()
    return time.perf_counter() - started


def main() -> None:
    random = np.random.default_rng(0)
    counts = [random.integers(0, 65536, SHAPE) for _ in range(3)]
    ours, theirs, left_out = [], [], []
    for _ in range(TURNS):
        ours.append(seconds(lambda: stats.bootstrap_means(*counts, resamples=RESAMPLES)))
        left_out.append(seconds(lambda: stats.crossed_jackknife(*counts)))
        theirs.append(seconds(lambda: loop(counts, LOOPED)) * RESAMPLES / LOOPED)
    rows = [
        ["bootstrap_means", f"{median(ours):.2f} s", f"{min(ours):.2f} s", "1"],
        [f"loop ({LOOPED}, scaled)", f"{median(theirs):.0f} s", f"{min(theirs):.0f} s", f"{ratio(theirs, ours):.0f}"],
        ["crossed_jackknife", f"{median(left_out):.2f} s", f"{min(left_out):.2f} s", f"{ratio(left_out, ours):.2f}"],
    ]
    print_table((f"{RESAMPLES:,} resamples", "median", "least", "ratio"), rows)


if __name__ == "__main__":
    main()
