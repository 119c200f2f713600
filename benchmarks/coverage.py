"""How often the intervals of `softreg.paper.stats` hold the truth, and how often its tests reject what is true.

    python benchmarks/coverage.py [--studies 2000]

Simulates studies, each with counts of TP, FP and FN for six penalties: a reference, four that are no different, and one
that is better. The share of a class that is missed has, on the scale of the logit, effects of the class, the image, the
seed, the penalty in a seed, the penalty in an image, the seed in an image, and a rest. What one class misses others
gain, absent ones too. The truth is the mean over 2,000 other seeds, each on 500 images of its own.

Columns, per cent: coverage of the 95 % intervals of a difference of nothing ("null"), of the better penalty's and of
the reference's mean; how often, at 0.05 where nothing differs, the crossed t-test ("size"), Holm's family of four, and
the sign-flip test over seeds reject; how often TOST rejects where the difference lies on the border, 4 standard errors
away; and the power at what `detectable_effect` says is found in 80 of 100. For the last two, the null's differences
are shifted. SE and df are those of the null's difference. Where images come in groups, "as groups" takes each group
whole, as reports do, and "as images" what they would say if they took images as independent. At the ends of the scale,
scores are near 0 and 100; "above" and "below" are how often all of the interval is above the truth, and below it;
"outside" is how often a t-interval of the reference's mean, the coverage of which is beside it, leaves the scale.

The oracle's gap, points: in truth, of choosing by the test scores of all seeds but one over choosing by their
validation scores, which share half of their variance; as estimated on the seed that is left ("held out"); and as it
was when the networks that chose were scored ("same seeds"). The sparsest strength within a point of no penalty, by the
validation scores of all seeds but one: its difference in test score to no penalty on the seed that is left. Noise, in
points: 0.5 a seed, 0.7 a network and a score.

Over data sets: a penalty's effect differs from data set to data set (SD 0.6 points) and from model to model within one
(0.4), and is 0 on the mean over data sets; four penalties. How often the verdict claims a difference, of any of the
four, how often it is "not answerable", and the coverage of the t-interval over data sets, told or not.

Equivalence: contrasts to one reference whose true differences all lie on the border of the region of equivalence: how
often any is called equivalent, by the adjusted verdicts and by unadjusted tests.
"""

from __future__ import annotations

import argparse
from collections.abc import Sequence
from dataclasses import dataclass, replace
from types import SimpleNamespace
from typing import Any, cast

import numpy as np
import pandas as pd
from common import print_table, sized
from numpy.typing import NDArray

from softreg.paper import stats
from softreg.paper.questions import estimates, gain, sparsity
from softreg.paper.questions.answer import CONTRADICTED, EQUIVALENT, NOT_ANSWERABLE, SUPPORTED
from softreg.scoring import metrics

Floats = NDArray[np.float64]

PIXELS = 256 * 256
NULL = 4
EFFECTS = np.array([0.0] * (1 + NULL) + [-0.1])
"""On the logit of the share that is missed, for each penalty: the reference first."""

BORDER = 4.0
"""The border of the region of equivalence, in standard errors: where TOST can reject at all."""


@dataclass(frozen=True)
class Setting:
    """Where studies differ: a data set by the share of images that show each class, and the spread of each effect.

    ``level`` is the mean on the logit of the share that is missed. Of every effect of an image, its group of
    ``per_group`` images has `SHARED` of the variance in common.
    """

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
    level: float = 0.0
    per_group: int = 1

    @property
    def units(self) -> NDArray[np.int64]:
        """The number of each image's group."""
        return np.arange(self.images) // self.per_group


SHARED = 0.7

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
IN_GROUPS = (
    replace(SMALL, name="60 images, 10 a group", images=60, per_group=10),
    replace(SMALL, name="200 images, 10 a group", images=200, per_group=10),
    replace(SMALL, name="240 images, 20 a group", images=240, per_group=20),
    replace(LARGE, name="240 images, 20 a group, 11 classes", images=240, per_group=20),
)
AT_ENDS = (
    replace(SMALL, name="near 100", level=-4.0),
    replace(SMALL, name="near 0", level=6.0),
    replace(SMALL, name="near 100, images differ much", level=-4.0, image=1.0),
    replace(SMALL, name="near 0, images differ much", level=6.0, image=1.0),
)
KINDS, IN_GROUPS = sized(ALL, ALL[:1]), sized(IN_GROUPS, IN_GROUPS[:1])
OTHERS = sized(2000, 10)
"""Seeds whose mean is taken for the truth."""
HELD_OUT = sized(4000, 20)
"""Studies of the oracle's gap and of the sparsest strength."""


def simulate(setting: Setting, random: np.random.Generator, effects: Floats, seeds: int, images: int) -> list[Floats]:
    """TP, FP and FN of one study: (P, S, N, C) each."""
    classes, penalties = len(setting.presence), len(effects)
    prevalence = np.geomspace(1, 0.1, classes)
    shown = random.random((images, classes)) < setting.presence
    area = shown * prevalence * random.gamma(2, size=(images, classes))
    area = np.floor(PIXELS * area / area.sum(-1, keepdims=True))

    def effect(spread: float, *shape: int) -> Floats:
        if not spread:
            return np.zeros(shape)
        drawn = random.normal(0, spread, shape)
        if setting.per_group > 1 and shape[2] > 1:
            common = random.normal(0, spread, (*shape[:2], -(-images // setting.per_group), shape[3]))
            whole = np.repeat(common, setting.per_group, axis=2)[:, :, :images]
            drawn = np.sqrt(SHARED) * whole + np.sqrt(1 - SHARED) * drawn
        return drawn

    logit = (
        setting.level
        + np.linspace(-3, -1, classes)
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


def run_studies(
    setting: Setting, random: np.random.Generator, studies: int, units: NDArray[np.int64] | None = None
) -> Results:
    results = Results([], [], [], [])
    for _ in range(studies):
        counts = simulate(setting, random, EFFECTS, setting.seeds, setting.images)
        if units is not None:
            counts = [stats.by_unit(cast("Any", each), units) for each in counts]
        crossed = stats.crossed_jackknife(*counts)
        results.mean.append(stats.crossed_interval(crossed, 0))
        *null, better = (stats.crossed_interval(crossed, treated, 0) for treated in range(1, len(EFFECTS)))
        results.null.append(null)
        results.better.append(better)
        results.sign_flip.append(stats.sign_flip_p(crossed.scores[1] - crossed.scores[0]))
    return results


def coverage(intervals: list[stats.Interval], true: float) -> float:
    return float(np.mean([interval.low <= true <= interval.high for interval in intervals]))


def differences(found: list[stats.Estimate]) -> list[stats.Interval]:
    return [estimate.interval() for estimate in found]


def scores(found: list[stats.Estimate]) -> list[stats.Interval]:
    return [estimate.score_interval(1.0) for estimate in found]


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
        *(coverage(differences(first), 0.0), coverage(differences(results.better), true[1])),
        coverage(scores(results.mean), true[0]),
        *(np.mean([estimate.p < 0.05 for estimate in first]), family, np.mean(np.less(results.sign_flip, 0.05)), tost),
        np.mean([estimate.p < 0.05 for estimate in detected]),
    )
    return [setting.name, str(setting.seeds), f"{100 * error:.2f}", f"{df:.0f}", *(f"{100 * s:.1f}" for s in shares)]


def tuned(means: Floats, seeds: int, random: np.random.Generator) -> tuple[Floats, Floats]:
    """Test and validation scores (`HELD_OUT`, L, S) of λ with these means; the module's docstring tells the noise."""
    shape = HELD_OUT, len(means), seeds
    networks = random.normal(0, 0.5, (HELD_OUT, 1, seeds)) + random.normal(0, 0.7, shape)
    tests, val = (means[:, None] + networks + random.normal(0, 0.7, shape) for _ in range(2))
    return tests, val


def of_others(scores: Floats) -> Floats:
    """Mean score of each λ on all seeds but one, for each of these in turn: (…, L, S) → (…, L, S)."""
    return (scores.sum(2, keepdims=True) - scores) / (scores.shape[2] - 1)


def at(scores: Floats, chosen: NDArray[np.int64]) -> Floats:
    """Scores (…, L, S) at the λ (…, S) chosen for each seed: (…, S)."""
    found: Floats = np.take_along_axis(scores, chosen[:, None], 1)[:, 0]
    return found


def held(found: list[stats.Interval], truth: float) -> str:
    """Coverage. Where no seed's two choices differ the report gives no interval."""
    return f"{100 * coverage([each for each in found if each.high > each.low], truth):.1f}"


def oracle_row(name: str, peak: float, seeds: int, random: np.random.Generator) -> list[str]:
    """Eight λ whose means, in points, fall off from the fourth."""
    means = -peak * (np.arange(8) - 3.0) ** 2
    tests, val = tuned(means, seeds, random)
    best, chosen = of_others(tests).argmax(1), of_others(val).argmax(1)
    truth = float((means[best] - means[chosen]).mean())
    gaps = [stats.oracle_gap(*study) for study in zip(tests, chosen, strict=True)]
    # The λ̂ of all seeds, on each of them.
    of_all = np.repeat(val.mean(2).argmax(1)[:, None], seeds, axis=1)
    same = float((at(tests, best) - at(tests, of_all)).mean())
    figures = truth, float(np.mean([gap.mean for gap in gaps])), same
    return [name, str(seeds), *(f"{figure:.2f}" for figure in figures), held(gaps, truth)]


def sparse_row(name: str, losses: Sequence[float], seeds: int, random: np.random.Generator) -> list[str]:
    """The sparsest of eight strengths, which lose so many points, within a point of no penalty on validation."""
    means = -np.array([0.0, *losses])
    tests, val = tuned(means, seeds, random)
    others = of_others(val)
    near = others >= others[:, :1] - sparsity.MARGIN
    chosen = len(losses) - near[:, ::-1].argmax(1)
    truth = float(means[chosen].mean())
    values = at(tests, chosen) - tests[:, 0]
    found = [stats.held_out_mean(each).interval() for each in values]
    return [name, str(seeds), f"{truth:.2f}", f"{values.mean():.2f}", held(found, truth)]


HEAD = ("data set", "seeds", "SE", "df", "null", "better", "mean", "size", "Holm", "sign flip", "TOST", "power")


def crossed_rows(studies: int) -> list[list[str]]:
    rows = []
    for number, kind in enumerate(KINDS):
        random = np.random.default_rng(number)
        true = truth(kind, random)
        for setting in (replace(kind, seeds=5), replace(kind, seeds=10)):
            rows.append(row(setting, true, run_studies(setting, random, studies)))
    return rows


def group_rows(studies: int) -> list[list[str]]:
    rows = []
    for number, kind in enumerate(IN_GROUPS):
        true = truth(kind, np.random.default_rng(number), images=10 * kind.per_group)
        for setting in (replace(kind, seeds=5), replace(kind, seeds=10)):
            for name, units in (("as groups", setting.units), ("as images", None)):
                results = run_studies(setting, np.random.default_rng(number), studies, units)
                label, *others = row(setting, true, results)
                rows.append([f"{label}, {name}", *others])
    return rows


def end_rows(studies: int) -> list[list[str]]:
    """Of a mean near an end of the scale: coverage and misses on either side, coverage by t, and how often outside."""
    rows = []
    for number, kind in enumerate(sized(AT_ENDS, AT_ENDS[:2])):
        random = np.random.default_rng(number)
        true = truth(kind, random)[0]
        for seeds, images in ((5, 45), (10, 45), (5, 12)):
            found = run_studies(replace(kind, seeds=seeds, images=images), random, studies).mean
            symmetric = differences(found)
            outside = np.mean([each.low < 0 or each.high > 1 for each in symmetric])
            bounded = scores(found)
            misses = np.mean([[each.low > true, each.high < true] for each in bounded], axis=0)
            shares = (coverage(bounded, true), *misses, coverage(symmetric, true), outside)
            assert all(0 <= each.low <= each.high <= 1 for each in bounded)
            rows.append([kind.name, str(seeds), str(images), f"{100 * true:.1f}", *(f"{100 * s:.1f}" for s in shares)])
    return rows


PENALTIES = ("a", "b", "c", "d")


def pooled_row(datasets: int, models: int, random: np.random.Generator, studies: int) -> list[str]:
    """Test mIoU, points, of designs in which penalties differ from none by data set and model, but not on the mean."""
    names = dict.fromkeys(PENALTIES, "none")
    study = SimpleNamespace(
        penalties=["none", *PENALTIES],
        kinds={"none": "none"} | dict.fromkeys(PENALTIES, "l1"),
        references=names,
        rope=0.5,
    )
    index = pd.MultiIndex.from_product([range(datasets), range(models)], names=["dataset", "model"])
    claimed, refused, held = [], [], []
    for _ in range(studies):
        level = random.normal(60, 10, (datasets, models, 1)) + random.normal(0, 0.2, (datasets, models, 5))
        effects = random.normal(0, 0.6, (datasets, 1, 4)) + random.normal(0, 0.4, (datasets, models, 4))
        level[..., 1:] += effects
        table = pd.DataFrame(level.reshape(-1, 5), index, columns=study.penalties)
        frame = gain.over_datasets(cast("Any", study), table)
        claimed.append(frame["word"].isin([SUPPORTED, CONTRADICTED]).any())
        refused.append((frame["word"] == NOT_ANSWERABLE).all())
        held.append((frame["low"].iloc[0] <= 0) & (frame["high"].iloc[0] >= 0))
    shares = (f"{100 * float(np.mean(each)):.1f}" for each in (claimed, refused, held))
    return [f"{datasets} × {models}", *shares]


def family_row(contrasts: int, random: np.random.Generator, studies: int) -> list[str]:
    """Differences of 0.5 points, the border; standard errors of 0.15 by 9 degrees of freedom."""
    called = []
    for _ in range(studies):
        seeds = 0.5 + random.normal(0, 0.33, (contrasts, 10)) + random.normal(0, 0.33, (1, 10))
        frame = pd.DataFrame([estimates.row_of(stats.over_seeds(each)) for each in seeds])
        frame = estimates.adjusted_words(frame, [], 0.5)
        called.append([(frame["word"] == EQUIVALENT).any(), (frame["p_equivalence"] < 0.05).any()])
    return [str(contrasts), *(f"{100 * share:.1f}" for share in np.mean(called, axis=0))]


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("--studies", type=int, default=sized(2000, 3))
    studies = parser.parse_args().studies
    print(f"{studies} studies a row; SE in points of mIoU, shares in per cent\n")
    print_table(HEAD, crossed_rows(studies))
    print()
    print_table(HEAD, group_rows(studies))
    print()
    print_table(
        ("at the ends", "seeds", "images", "truth", "mean", "above", "below", "by t", "outside"), end_rows(studies)
    )
    print()
    random = np.random.default_rng(0)
    shapes = (("λ does not matter", 0.0), ("λ matters", 0.1))
    gaps = [oracle_row(*shape, seeds, random) for shape in shapes for seeds in (3, 5, 10, 20)]
    print_table(("oracle gap, points", "seeds", "truth", "held out", "same seeds", "coverage"), gaps)
    print()
    curves = (("losses grow", (0, 0.1, 0.2, 0.4, 0.8, 1.5, 3, 6)), ("losses start late", (0, 0, 0, 0.2, 1, 3, 9, 20)))
    sparse = [sparse_row(*curve, seeds, random) for curve in curves for seeds in (3, 5, 10, 20)]
    print_table(("sparsest within a point", "seeds", "truth", "held out", "coverage"), sparse)
    print()
    designs = [pooled_row(*design, random, studies) for design in ((2, 4), (5, 4), (8, 1))]
    print_table(("data sets × models", "difference", "not answerable", "coverage"), designs)
    print()
    families = [family_row(contrasts, random, studies) for contrasts in (1, 5, 14)]
    print_table(("contrasts on the border", "adjusted", "unadjusted"), families)


if __name__ == "__main__":
    main()
