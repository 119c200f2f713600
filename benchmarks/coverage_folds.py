"""How often the interval over outer folds holds the truth, where the split decides what is learnt and λ is chosen.

    python benchmarks/coverage_folds.py [--studies 1000]

Each simulated study draws images with two classes of pixels, and trains ridge discriminants on them, really: in each
outer fold λ is chosen on validation images by two tuning seeds, and the final's networks of fresh seeds score the
fold's test images, so that folds share training images as they do in life. A seed gives each training image a random
weight, which is the same in all folds, as the weights that a network starts from are. What is estimated is the mean
difference in mIoU between the λ̂ that is chosen and no penalty, over new training sets, splits, seeds and test images:
the truth is the mean over all studies and folds, scored on 100 images that no other study has. "null" is an entry
without a penalty, of other seeds, so that there is no difference.

Columns, per cent: coverage of the 95 % interval over seeds and folds, crossed, of the penalty's difference and of the
null's; how often the null is rejected at 0.05 ("size"); the null's mean half-width (points of mIoU), and its standard
error over the spread of the estimates ("SE/SD"). Beside it the coverage by three other intervals that could have been
taken: over folds alone, without what a seed does alike in all; this with the factor of Nadeau and Bengio for the
training images that folds share ("N–B"); and over seeds and images, crossed, as if there were no folds.
"""

from __future__ import annotations

import argparse
from dataclasses import dataclass, replace

import numpy as np
from common import print_table, sized
from numpy.typing import NDArray

from softreg.paper import stats
from softreg.scoring import metrics

Floats = NDArray[np.float64]

GRID = np.array([0.0, 0.03, 0.1, 0.3, 1.0])
"""λ; 0, the first, is no penalty, and is not chosen."""
VALIDATION = 0.15
TUNING = 2
PIXELS = 30
OTHERS = sized(100, 40)
"""Images that the folds of each study are scored on for the truth."""


@dataclass(frozen=True)
class Setting:
    """``features`` of a pixel, ``spread`` of what an image's pixels share, ``noise`` of a training image's weight.

    Of seeds that are not ``alike``, each fold draws the weights again.
    """

    name: str
    folds: int = 5
    seeds: int = 5
    images: int = 100
    features: int = 20
    spread: float = 0.5
    noise: float = 0.7
    alike: bool = True


BASE = Setting("100 images, 5 folds")
SETTINGS = (
    BASE,
    replace(BASE, name="  10 seeds", seeds=10),
    replace(BASE, name="  seeds not alike", alike=False),
    replace(BASE, name="  seeds differ little", noise=0.15),
    replace(BASE, name="  seeds differ much", noise=1.2),
    replace(BASE, name="  images differ much", spread=1.0),
    replace(BASE, name="  many features", features=40),
    replace(BASE, name="10 folds", folds=10),
    replace(BASE, name="3 folds", folds=3),
    replace(BASE, name="60 images, 5 folds", images=60),
    replace(BASE, name="300 images, 5 folds", images=300),
)
KINDS = sized(SETTINGS, SETTINGS[:1])


def draw(setting: Setting, random: np.random.Generator, images: int) -> tuple[Floats, Floats]:
    """Features (N, pixels, features + 1), the last one constant, and classes 0 or 1 (N, pixels)."""
    shape = images, PIXELS, setting.features
    classes = (random.random(shape[:2]) < random.beta(2, 4, (images, 1))).astype(float)
    signal = np.zeros(setting.features)
    signal[:3] = 0.25
    strength = np.exp(random.normal(0, 0.5, (images, 1, 1)))
    shared = random.normal(0, setting.spread, (images, 1, setting.features))
    features = (2 * classes - 1)[..., None] * signal * strength + shared + random.normal(size=shape)
    return np.concatenate([features, np.ones((*shape[:2], 1))], axis=-1), classes


def train(features: Floats, classes: Floats, weights: Floats) -> Floats:
    """Ridge discriminants of all λ, (S, λ, features + 1), for weights (S, N) of the training images."""
    size = features.shape[-1]
    ridge = np.diag([1.0] * (size - 1) + [0.0])
    gram = np.einsum("nmp,nmq->npq", features, features).reshape(len(features), -1)
    target = np.einsum("nmp,nm->np", features, 2 * classes - 1)
    total = weights.sum(1, keepdims=True) * features.shape[1]
    grams, targets = (weights @ gram / total).reshape(-1, size, size), weights @ target / total
    systems = grams[:, None] + GRID[:, None, None] * ridge + 1e-9 * np.eye(size)
    solved: Floats = np.linalg.solve(systems, targets[:, None, :, None])[..., 0]
    return solved


def count(features: Floats, classes: Floats, discriminants: Floats) -> list[Floats]:
    """TP, FP and FN of each discriminant (…, features + 1) on each image: (…, N, 2)."""
    found = np.einsum("nmp,...p->...nm", features, discriminants) > 0
    truth = classes.astype(bool)
    hits, false, missed = (part.sum(-1) for part in (found & truth, found & ~truth, ~found & truth))
    rest = features.shape[1] - hits - false - missed
    return [np.stack(pair, -1) for pair in ((rest, hits), (missed, false), (false, missed))]


@dataclass
class Study:
    """TP, FP and FN (3, S, N, 2) of no penalty, λ̂ and the null; each image's fold; λ̂'s gain on other images."""

    counts: list[Floats]
    folds: NDArray[np.int64]
    gain: float


def study(setting: Setting, random: np.random.Generator) -> Study:
    others = draw(setting, random, OTHERS)
    features, classes = draw(setting, random, setting.images)
    folds = np.sort(np.arange(setting.images) % setting.folds)
    shape = TUNING + 3 * setting.seeds, setting.images
    weights, parts, gains = _weights(setting, random, shape), [], []
    for fold in range(setting.folds):
        rest = random.permutation(np.flatnonzero(folds != fold))
        val, kept = np.split(rest, [round(VALIDATION * setting.images)])
        if not setting.alike:
            weights = _weights(setting, random, shape)
        found = train(features[kept], classes[kept], weights[:, kept])
        tuned, plain, treated, null = np.split(found, TUNING + setting.seeds * np.arange(3))
        best = 1 + metrics.miou(*count(features[val], classes[val], tuned[:, 1:])).mean(0).argmax()
        entries = np.stack([plain[:, 0], treated[:, best], null[:, 0]])
        parts.append(count(features[folds == fold], classes[folds == fold], entries))
        scores = metrics.miou(*count(*others, entries[:2, 0]))
        gains.append(scores[1] - scores[0])
    return Study([np.concatenate(each, axis=2) for each in zip(*parts, strict=True)], folds, float(np.mean(gains)))


def _weights(setting: Setting, random: np.random.Generator, shape: tuple[int, int]) -> Floats:
    """Of each training run and image; their mean is 1, their standard deviation the setting's noise."""
    return random.gamma(setting.noise**-2, setting.noise**2, shape)


@dataclass
class Estimates:
    """What one study says of one entry, by each interval."""

    taken: stats.Estimate
    images: stats.Estimate
    folds: stats.Estimate

    @property
    def nadeau_bengio(self) -> stats.Estimate:
        folds = self.folds.df + 1
        return replace(self.folds, se=self.folds.se * float(np.sqrt(1 + folds / (folds - 1))))


def estimates(one: Study) -> list[Estimates]:
    """Of λ̂ and of the null, each less no penalty."""
    by_fold = stats.crossed_jackknife(*stats.by_unit(np.stack(one.counts), one.folds))
    by_image = stats.crossed_jackknife(*one.counts)
    return [
        Estimates(
            stats.crossed_interval(by_fold, treated, 0),
            stats.crossed_interval(by_image, treated, 0),
            alone(by_fold, treated),
        )
        for treated in (1, 2)
    ]


def alone(by_fold: stats.Crossed, treated: int) -> stats.Estimate:
    """The mean difference, by what it is without each fold, (K−1)/K · Σ(θ₋ₖ − θ̄)², and t of K − 1."""
    (scores, by_seed), folds = by_fold.of(treated, 0), by_fold.units
    error = float(by_seed.mean(0).std()) * np.sqrt(folds - 1)
    return stats.Estimate(float(scores.mean()), error, folds - 1, len(scores), folds)


def coverage(found: list[stats.Estimate], true: float) -> float:
    ends = [each.interval() for each in found]
    return float(np.mean([interval.low <= true <= interval.high for interval in ends]))


def row(setting: Setting, studies: list[Study]) -> list[str]:
    true = float(np.mean([one.gain for one in studies]))
    penalty, null = zip(*map(estimates, studies), strict=True)
    halves = [each.taken.interval().high - each.taken.mean for each in null]
    errors, means = [each.taken.se for each in null], [each.taken.mean for each in null]
    ways = ("taken", "folds", "nadeau_bengio", "images")
    covered = [
        coverage([getattr(each, way) for each in mine], at)
        for way in ways
        for mine, at in ((penalty, true), (null, 0.0))
    ]
    shares = (*covered[:2], float(np.mean([each.taken.p < 0.05 for each in null])), *covered[2:])
    sizes = f"{100 * np.mean(halves):.2f}", f"{np.sqrt(np.mean(np.square(errors))) / np.std(means):.2f}"
    first = [f"{100 * share:.1f}" for share in shares]
    return [setting.name, str(setting.seeds), f"{100 * true:.2f}", *first[:3], *sizes, *first[3:]]


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("--studies", type=int, default=sized(1000, 4))
    options = parser.parse_args()
    rows = []
    for number, setting in enumerate(KINDS):
        random = np.random.default_rng(number)
        rows.append(row(setting, [study(setting, random) for _ in range(options.studies)]))
    print(f"{options.studies} studies a row; the difference and half-widths in points of mIoU, shares in per cent\n")
    names = ("penalty", "null", "size", "half-width", "SE/SD")
    others = [f"{name} {entry}" for name in ("folds", "N–B", "images") for entry in ("penalty", "null")]
    print_table(("data set", "seeds", "difference", *names, *others), rows)


if __name__ == "__main__":
    main()
