"""How often a study that is looked at while it grows finds what is not there, and how often its interval covers.

    python benchmarks/coverage_looks.py [--studies 2000]

Each simulated study, as those of coverage.py, is judged at the looks of a plan, numbers of seeds, by the crossed
interval over the seeds so far and all images: each look at 0.05, or at the level of `softreg.scoring.looks`.

Columns, per cent: how often any look finds a difference where there is none ("false difference"); how often any calls
equivalent what lies on the border of the region of equivalence, 4 standard errors of the last look away ("false
equivalence"); and, of a difference of 2.8 such standard errors, how often the interval of the first look that finds it,
else of the last, holds it ("covers"). "expected" is what `looks.size_of` says of the first, of seeds alone.
"""

from __future__ import annotations

import argparse
from dataclasses import replace

import numpy as np
from common import print_table, sized
from coverage import BORDER, SMALL, Setting, shifted, simulate

from softreg.paper import stats
from softreg.scoring import looks

EFFECT = 2.8
"""The difference that there is, in standard errors of the last look: found four times in five, without looks."""

SETTINGS = (
    replace(SMALL, name="seeds matter most", image=0.1, image_class=0.1, penalty_image=0.0, penalty_seed=0.2),
    replace(SMALL, name="seeds and images matter", penalty_seed=0.1),
    replace(SMALL, name="images matter most", penalty_image=0.3),
)
PLANS = ((6, 12, 24), (10, 20, 40), (5, 10))
KINDS = sized(SETTINGS, SETTINGS[:1])


def estimates(setting: Setting, random: np.random.Generator, plan: tuple[int, ...]) -> list[stats.Estimate]:
    """The difference of nothing in one study, at each look."""
    counts = simulate(setting, random, np.zeros(2), plan[-1], setting.images)
    parts = (stats.crossed_jackknife(*(part[:, :seeds] for part in counts)) for seeds in plan)
    return [stats.crossed_interval(part, 1, 0) for part in parts]


def stopped(study: list[stats.Estimate], level: float) -> stats.Estimate:
    """The estimate of the first look that finds a difference, or of the last look."""
    return next((each for each in study if each.p < level), study[-1])


def row(setting: Setting, plan: tuple[int, ...], studies: list[list[stats.Estimate]], level: float) -> list[str]:
    found = [any(each.p < level for each in study) for study in studies]
    error = float(np.std([study[-1].mean for study in studies]))
    rope, effect = BORDER * error, EFFECT * error
    bordering, differing = ([shifted(study, by) for study in studies] for by in (rope, effect))
    equivalent = [any(each.equivalence_p(rope) < level for each in study) for study in bordering]
    ends = [stopped(study, level).interval(1 - level) for study in differing]
    held = [each.low <= effect <= each.high for each in ends]
    expected = looks.size_of(level, plan)
    shares = [f"{100 * np.mean(each):.1f}" for each in (found, equivalent, held)]
    return [setting.name, ", ".join(map(str, plan)), f"{level:.4f}", f"{100 * expected:.1f}", *shares]


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("--studies", type=int, default=sized(2000, 4))
    options = parser.parse_args()
    rows = []
    for number, setting in enumerate(KINDS):
        for plan in PLANS:
            random = np.random.default_rng(number)
            studies = [estimates(setting, random, plan) for _ in range(options.studies)]
            rows += [row(setting, plan, studies, level) for level in (0.05, looks.level_of(plan))]
    print(f"{options.studies} studies a row; shares in per cent\n")
    names = ("expected", "false difference", "false equivalence", "covers")
    print_table(("studies where", "looks", "level of each", *names), rows)


if __name__ == "__main__":
    main()
