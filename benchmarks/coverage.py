"""How often the intervals of `softreg.scoring.stats` hold the truth, and how often its tests reject what is true.

    python benchmarks/coverage.py [--studies 2000]

Simulates studies, each with counts of TP, FP and FN for six penalties: a reference, four that are no different, and one
that is better. The share of a class that is missed has, on the scale of the logit, effects of the class, the image, the
seed, the penalty in a seed, the penalty in an image, the seed in an image, and a rest. What one class misses others
gain, absent ones too. The truth is the mean over 2,000 other seeds, each on 500 images of its own.

Columns, per cent: coverage of the 95 % intervals of a difference of nothing ("null"), of the better penalty's and of
the reference's mean; how often, at 0.05 where nothing differs, the crossed t-test ("size"), Holm's family of four, and
the sign-flip test over seeds reject; how often TOST rejects where the difference lies on the border, 4 standard errors
away; and the power at what `detectable_effect` says is found in 80 of 100. For the last two, the null's differences
are shifted. SE and df are those of the null's difference.

The oracle's gap, points: in truth, of choosing by the test scores of all seeds but one over choosing by their
validation scores, which share half of their variance; as estimated on the seed that is left ("held out"); and as it
was when the networks that chose were scored ("same seeds").
"""

from __future__ import annotations

import argparse
from dataclasses import dataclass, replace

import numpy as np
from common import print_table, sized
from numpy.typing import NDArray

from softreg.scoring import metrics, stats

Floats = NDArray[np.float64]

PIXELS = 256 * 256
NULL = 4
EFFECTS = np.array([0.0] * (1 + NULL) + [-0.1])
"""On the logit of the share that is missed, for each penalty: the reference first."""

BORDER = 4.0
"""The border of the region of equivalence, in standard errors: where TOST can reject at all."""


@dataclass(frozen=True)
class Setting:
    """Where studies differ: a data set by the share of images that show each class, and the spread of each effect."""

    name: str
    images: int
    presence: tuple[float, ...]
    seeds: int = 5
    image: float = 0.5
    image_class: float = 0.4
    seed: float = 0.05
    penalty_seed: float = 0.06
    penalty_image: float = 0.1
    seed_image: float = 0.2
    rest: float = 0.15


SMALL = Setting("45 images, 3 classes", 45, (1.0, 1.0, 1.0))
LARGE = Setting("233 images, 11 classes", 233, (1, 1, 1, 1, 0.9, 0.9, 0.7, 0.6, 0.5, 0.3, 0.15))
ALL = (
    SMALL,
    replace(SMALL, name="  no penalty × image", penalty_image=0.0),
    replace(SMALL, name="  strong penalty × image", penalty_image=0.3),
    replace(SMALL, name="  seeds differ little", seed=0.01, penalty_seed=0.01),
    replace(SMALL, name="  seeds differ much", seed=0.2, penalty_seed=0.2),
    LARGE,
    replace(LARGE, name="45 images, 11 classes", images=45),
)
KINDS = sized(ALL, ALL[:1])
OTHERS = sized(2000, 10)
"""Seeds whose mean is taken for the truth."""
ORACLES = sized(4000, 20)
"""Studies of the oracle's gap."""


def simulate(setting: Setting, random: np.random.Generator, effects: Floats, seeds: int, images: int) -> list[Floats]:
    """TP, FP and FN of one study: (P, S, N, C) each."""
    classes, penalties = len(setting.presence), len(effects)
    prevalence = np.geomspace(1, 0.1, classes)
    shown = random.random((images, classes)) < setting.presence
    area = shown * prevalence * random.gamma(2, size=(images, classes))
    area = np.floor(PIXELS * area / area.sum(-1, keepdims=True))

    def effect(spread: float, *shape: int) -> Floats:
        return random.normal(0, spread, shape) if spread else np.zeros(shape)

    logit = (
        np.linspace(-3, -1, classes)
        + effects[:, None, None, None]
        + effect(setting.image, 1, 1, images, 1)
        + effect(setting.image_class, 1, 1, images, classes)
        + effect(setting.seed, 1, seeds, 1, classes)
        + effect(setting.penalty_seed, penalties, seeds, 1, classes)
        + effect(setting.penalty_image, penalties, 1, images, classes)
        + effect(setting.seed_image, 1, seeds, images, classes)
        + effect(setting.rest, penalties, seeds, images, classes)
    )
    missed = np.rint(area / (1 + np.exp(-logit)))
    attracts = area / PIXELS + 0.1 * prevalence
    gained = np.rint(missed.sum(-1, keepdims=True) * attracts / attracts.sum(-1, keepdims=True))
    return [area - missed, gained, missed]


def truth(
    setting: Setting, random: np.random.Generator, studies: int = OTHERS, images: int = 500
) -> tuple[float, float]:
    """Mean mIoU of the reference and the difference of the better penalty, over new seeds and images."""
    pair = EFFECTS[[0, -1]]
    scores = np.mean([metrics.miou(*simulate(setting, random, pair, 1, images))[:, 0] for _ in range(studies)], axis=0)
    return float(scores[0]), float(scores[1] - scores[0])


@dataclass
class Results:
    """What each study says: of the reference, of the better penalty, and of the four that are no different."""

    mean: list[stats.Estimate]
    better: list[stats.Estimate]
    null: list[list[stats.Estimate]]
    sign_flip: list[float]


def run_studies(setting: Setting, random: np.random.Generator, studies: int) -> Results:
    results = Results([], [], [], [])
    for _ in range(studies):
        counts = simulate(setting, random, EFFECTS, setting.seeds, setting.images)
        crossed = stats.crossed_jackknife(*counts)
        results.mean.append(stats.crossed_interval(crossed, 0))
        *null, better = (stats.crossed_interval(crossed, treated, 0) for treated in range(1, len(EFFECTS)))
        results.null.append(null)
        results.better.append(better)
        results.sign_flip.append(stats.sign_flip_p(crossed.scores[1] - crossed.scores[0]))
    return results


def coverage(estimates: list[stats.Estimate], true: float) -> float:
    ends = [estimate.interval() for estimate in estimates]
    return float(np.mean([interval.low <= true <= interval.high for interval in ends]))


def shifted(estimates: list[stats.Estimate], by: float) -> list[stats.Estimate]:
    """The same studies, had the true difference been larger by so much."""
    return [replace(estimate, mean=estimate.mean + by) for estimate in estimates]


def row(setting: Setting, true: tuple[float, float], results: Results) -> list[str]:
    first = [null[0] for null in results.null]
    family = np.mean([np.min(stats.holm([estimate.p for estimate in null])) < 0.05 for null in results.null])
    # What the estimate really varies by, not what studies think it does.
    error = float(np.std([estimate.mean for estimate in first]))
    df = float(np.median([estimate.df for estimate in first]))
    rope = BORDER * error
    tost = np.mean([estimate.equivalence_p(rope) < 0.05 for estimate in shifted(first, rope)])
    detected = shifted(first, stats.detectable_effect(error, df))
    shares = (
        *(coverage(first, 0.0), coverage(results.better, true[1]), coverage(results.mean, true[0])),
        *(np.mean([estimate.p < 0.05 for estimate in first]), family, np.mean(np.less(results.sign_flip, 0.05)), tost),
        np.mean([estimate.p < 0.05 for estimate in detected]),
    )
    return [setting.name, str(setting.seeds), f"{100 * error:.2f}", f"{df:.0f}", *(f"{100 * s:.1f}" for s in shares)]


def oracle_row(name: str, peak: float, seeds: int, random: np.random.Generator) -> list[str]:
    """Eight λ whose means, in points, fall off from the fourth. Noise: 0.5 a seed, 0.7 a network and a score."""
    studies, means = ORACLES, -peak * (np.arange(8) - 3.0) ** 2
    networks = random.normal(0, 0.5, (studies, 1, seeds)) + random.normal(0, 0.7, (studies, 8, seeds))
    tests, val = (means[:, None] + networks + random.normal(0, 0.7, networks.shape) for _ in range(2))
    best, chosen = ((scores.sum(2, keepdims=True) - scores).argmax(1) for scores in (tests, val))
    truth = float((means[best] - means[chosen]).mean())
    gaps = [stats.oracle_gap(*study) for study in zip(tests, chosen, strict=True)]
    held = np.mean([gap.low <= truth <= gap.high for gap in gaps])
    # The λ̂ of all seeds, on each of them.
    of_all = np.take_along_axis(tests, val.mean(2).argmax(1)[:, None, None], 1)[:, 0]
    same = np.take_along_axis(tests, best[:, None], 1)[:, 0] - of_all
    figures = (truth, float(np.mean([gap.mean for gap in gaps])), float(same.mean()))
    return [name, str(seeds), *(f"{figure:.2f}" for figure in figures), f"{100 * held:.1f}"]


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("--studies", type=int, default=sized(2000, 3))
    options = parser.parse_args()
    rows = []
    for number, kind in enumerate(KINDS):
        random = np.random.default_rng(number)
        true = truth(kind, random)
        for setting in (replace(kind, seeds=5), replace(kind, seeds=10)):
            rows.append(row(setting, true, run_studies(setting, random, options.studies)))
    print(f"{options.studies} studies a row; SE in points of mIoU, shares in per cent\n")
    names = ("null", "better", "mean", "size", "Holm", "sign flip", "TOST", "power")
    print_table(("data set", "seeds", "SE", "df", *names), rows)
    print()
    random = np.random.default_rng(0)
    shapes = (("λ does not matter", 0.0), ("λ matters", 0.1))
    gaps = [oracle_row(*shape, seeds, random) for shape in shapes for seeds in (3, 5, 10)]
    print_table(("oracle gap, points", "seeds", "truth", "held out", "same seeds", "coverage"), gaps)


if __name__ == "__main__":
    main()
