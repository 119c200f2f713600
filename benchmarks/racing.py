"""What choosing λ by halving loses against the whole grid, on published sweeps.

    python benchmarks/racing.py [--smoke]

Of each penalty's sweep in results/published, every order of three tuning seeds is raced, and λ̂ chosen as
`selection: {search: halving}` does; beside it by the grid with the first seed, with two, and with three. Loss: test
mIoU (points) of the λ that the grid chooses with all three less that of the λ chosen, and that of the best λ on test
less it; each a mean over the three seeds, whose networks chose too. Ends are 95 % t-intervals over groups (data set ×
model × penalty), which share data sets and seeds.
"""

from __future__ import annotations

import argparse
from collections.abc import Iterator
from itertools import permutations
from pathlib import Path

import numpy as np
import pandas as pd
from common import CHECKOUT, print_table

from softreg.paper.questions.regret import Sweep, sweeps
from softreg.paper.scores import Scores
from softreg.paper.stats import over_seeds
from softreg.scoring.race import best_half
from softreg.study.lambdas import trials_left

SEEDS = 3
STUDIES = {name: CHECKOUT / "results/published" / name for name in ("wbc", "complexity")}


def choose(sweep: Sweep, order: tuple[int, ...], halving: bool) -> tuple[str, int]:
    """The λ that these seeds choose, and the number of networks that they train; without ``halving`` by the grid."""
    left, networks = list(sweep.lambdas), 0
    for seeds in range(1, len(order) + 1):
        networks += len(left)
        rows = [sweep.lambdas.index(name) for name in left]
        mean = sweep.val[np.ix_(rows, order[:seeds])].mean(1)
        curve = pd.DataFrame({"lambda": left, "val_miou": mean, "seeds": seeds})
        last = seeds == len(order)
        most = 1 if last else trials_left(len(sweep.lambdas), seeds) if halving else len(left)
        left = best_half(curve, seeds, most)
    return left[0], networks


def losses(sweep: Sweep) -> Iterator[tuple[str, int, float, float, bool]]:
    """Way, networks, loss to the grid, loss to the best on test, and whether λ is the grid's, by order of seeds."""
    for order in permutations(range(len(sweep.seeds)), SEEDS):
        test = dict(zip(sweep.lambdas, sweep.test[:, order].mean(1), strict=True))
        grid, _ = choose(sweep, order, halving=False)
        ways = {f"grid, {n} seed{'s' * (n > 1)}": choose(sweep, order[:n], halving=False) for n in range(1, SEEDS + 1)}
        ways["halving, 3 seeds"] = choose(sweep, order, halving=True)
        for way, (chosen, networks) in ways.items():
            yield way, networks, test[grid] - test[chosen], max(test.values()) - test[chosen], chosen == grid


def rows_of(name: str, results: Path) -> list[list[str]]:
    """The table's rows of one study."""
    found = [(group, *row) for group, sweep in sweeps(Scores(results / "scores")).items() for row in losses(sweep)]
    frame = pd.DataFrame(found, columns=["group", "way", "networks", "to grid", "to best", "same"])
    rows = []
    for way, part in frame.groupby("way", sort=False):
        by_group = part.groupby("group")[["networks", "to grid", "to best", "same"]].mean()
        lost, means = over_seeds(by_group["to grid"].to_numpy()).interval(), by_group.mean()
        told = f"{lost.mean:+.2f} ({lost.low:+.2f} to {lost.high:+.2f})"
        row = [name, str(len(by_group)), str(way), f"{means['networks']:.1f}", told]
        rows.append([*row, f"{by_group['to grid'].max():+.2f}", f"{means['to best']:.2f}", f"{means['same']:.0%}"])
    return rows


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--smoke", action="store_true", help="one study alone")
    studies = list(STUDIES.items())[: 1 if parser.parse_args().smoke else None]
    rows = [row for name, results in studies for row in rows_of(name, results)]
    heading = ["study", "groups", "way", "networks", "points below the grid's λ̂", "worst group", "below best", "same λ̂"]
    print_table(heading, rows)


if __name__ == "__main__":
    main()
