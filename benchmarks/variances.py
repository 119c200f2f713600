"""What `softreg.paper.design.published` takes a study to vary by that has no scores of its own.

    python benchmarks/variances.py [RESULTS]

For each data set and model of published scores (results/published/wbc), the variances of the paired difference to no
penalty in points² of test mIoU, between seeds, between images and of both, and the images' excess kurtosis, as means
over its penalties at their λ̂; comparators and controls are left out.
"""

from __future__ import annotations

import argparse
from pathlib import Path

import numpy as np
from common import CHECKOUT, print_table

from softreg.paper.questions import gain
from softreg.paper.scores import Scores
from softreg.paper.stats import Spread, spread_of
from softreg.study.treatment import CONTROLS


def variances(results: Path) -> dict[tuple[str, str], Spread]:
    """Mean variances, in points², and kurtosis by data set and model."""
    scores = Scores(results / "scores")
    found = {}
    for place, sample in gain.resampled(scores).items():
        pairs = [(penalty, plain) for penalty, plain, _ in gain.pairs(scores, *place) if scores.kinds[plain] == "none"]
        places = [
            (sample.penalties.index(penalty), sample.penalties.index(plain))
            for penalty, plain in pairs
            if scores.kinds[penalty] not in CONTROLS
        ]
        spreads = [spread_of(sample.crossed, *each) for each in places]
        *parts, kurtosis = np.mean([[*vars(each).values()] for each in spreads], axis=0).tolist()
        found[place] = Spread(*(1e4 * part for part in parts), kurtosis)
    return found


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("results", type=Path, nargs="?", default=CHECKOUT / "results" / "published" / "wbc")
    rows = [
        [*place, *(f"{value:.2f}" for value in vars(spread).values())]
        for place, spread in variances(parser.parse_args().results).items()
    ]
    print_table(["data set", "model", "seed", "image", "both", "kurtosis"], rows)


if __name__ == "__main__":
    main()
