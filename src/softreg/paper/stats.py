"""Means and differences with their uncertainty. Imports no torch.

The unit of resampling is the seed, that is a training run, or seeds and units of the test images, crossed. A unit is a
group of images that are alike, such as a patient's or a video's; without groups it is an image. Shapes: P penalties,
S seeds, N images or units of them, C classes, B resamples. Whatever is a score, a difference or a region of practical
equivalence (``rope``) has the unit of the scores given: 0 to 1, or points.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np
import pandas as pd
from numpy.typing import ArrayLike, NDArray
from scipy import optimize
from scipy import stats as scipy_stats

from softreg.scoring import metrics
from softreg.scoring.means import known, mean_of, standard_error

Floats = NDArray[np.float64]

EXACT_SEEDS = 16
"""Up to so many seeds the sign-flip test tries every pattern of signs; above, it draws them."""

NAN, INF = float("nan"), float("inf")

HELD_OUT_SHARED = 1 / 11
"""ρ/(1−ρ) for the correlation ρ = 1/12 of values of two held-out seeds, where λ is chosen without each: 0.08 to 0.12
in oracle gaps of 3 to 20 seeds as benchmarks/coverage.py simulates them. The ρ = 1/S of Nadeau and Bengio is too much
for few seeds, too little for many."""

CHUNK = 1 << 22
"""Numbers of one block of resampled counts, 32 MB: enough to keep the matrix product fast."""


@dataclass(frozen=True)
class Interval:
    """A mean of ``n`` values and its confidence interval; low and high are nan where n < 2."""

    mean: float
    low: float
    high: float
    n: int


@dataclass(frozen=True)
class Estimate:
    """A mean, or mean difference, with the standard error and degrees of freedom of its t statistic.

    ``units`` is how many images, or groups of them, were resampled; 0 where these were held fixed. ``limit`` is the
    most that a difference can be, either way, such as 1 for one of two shares. Without a standard error (one seed or
    one unit) all that follows from it is nan.
    """

    mean: float
    se: float
    df: float
    seeds: int
    units: int
    limit: float = INF

    def interval(self, confidence: float = 0.95) -> Interval:
        """mean ± t(df) · se, cut at ±limit, which takes away what cannot be; its ``n`` is the number of seeds."""
        half = _t_quantile((1 + confidence) / 2, self.df) * self.se
        low, high = np.clip([self.mean - half, self.mean + half], -self.limit, self.limit).tolist()
        return Interval(self.mean, low, high, self.seeds)

    def score_interval(self, top: float) -> Interval:
        """95 % interval of a score from 0 to ``top``: z ± t(df) · se of z, by the delta method, and back.

        z is √odds − 1/√odds. The interval never leaves 0 to ``top``, and is skewed near the ends as scores are. Where
        the mean x is near 0, or the error 1 − x, log x would have a symmetric t where images' values are 1.5 times as
        skewed as they spread around x, which is less than is seen; 1/√x has where they are 2.25 times, between gamma's
        2 and a lognormal's 3. z is like 1/√x at both ends. At an end itself nothing varies.
        """
        share = self.mean / top
        if not 0 < share < 1:
            return Interval(self.mean, self.mean + 0 * self.se, self.mean + 0 * self.se, self.seeds)
        root = float(np.sqrt(share * (1 - share)))
        z, half = (2 * share - 1) / root, _t_quantile(0.975, self.df) * self.se / (2 * top * root**3)
        low, high = (top * (1 + end / float(np.hypot(2, end))) / 2 for end in (z - half, z + half))
        return Interval(self.mean, low, high, self.seeds)

    def times(self, factor: float) -> Estimate:
        """The same in another unit, such as points in the place of shares."""
        return replace(self, mean=factor * self.mean, se=factor * self.se, limit=factor * self.limit)

    @property
    def p(self) -> float:
        """Two-sided p value of a mean of zero; below 0.05 just where the 95 % interval leaves out 0."""
        return 2 * _tail(abs(self.mean), self.se, self.df)

    def equivalence_p(self, rope: float) -> float:
        """p value of `equivalence_p`; below 0.05 just where the 90 % interval lies within ±rope."""
        return equivalence_p(self.mean, self.se, self.df, rope)


def over_seeds(values: ArrayLike, limit: float = INF) -> Estimate:
    """Mean of independent values, one a seed, (S,), with s/√S and S − 1 degrees of freedom; nan is left out.

    ``limit`` is the most that a value can be, either way. One value has no standard error, none has no mean: what is
    not defined is nan.
    """
    sample = known(values)
    return Estimate(mean_of(sample), standard_error(sample), len(sample) - 1, len(sample), 0, limit)


@dataclass(frozen=True)
class Crossed:
    """Scores, such as mIoU from 0 to 1, of P penalties and S seeds on N units of images, and without each in turn.

    ``scores`` (P, S) are those on all units; ``by_seed`` (P, S, N) those without one. Of a single unit nothing is left
    then, and ``by_seed`` may be empty.
    """

    scores: Floats
    by_seed: Floats

    @property
    def units(self) -> int:
        """The number of units, N."""
        return max(1, int(self.by_seed.shape[2]))

    def of(self, treated: int, reference: int | None = None) -> tuple[Floats, Floats]:
        """Scores (S,) and those without each unit (S, N) of the penalty at a place, or their differences to another."""
        scores, by_seed = self.scores[treated], self.by_seed[treated]
        if reference is None:
            return scores, by_seed
        return scores - self.scores[reference], by_seed - self.by_seed[reference]


def by_unit(counts: NDArray[np.int64], units: NDArray[np.int64]) -> NDArray[np.int64]:
    """Counts (..., N, C) of images summed over those of a unit, (..., G, C).

    ``units`` (N,) are the numbers of the images' units, from 0 without a gap.
    """
    order = np.argsort(units, kind="stable")
    starts = np.flatnonzero(np.diff(units[order], prepend=-1))
    return np.add.reduceat(counts[..., order, :], starts, axis=-2)


def bootstrap_means(tp: ArrayLike, fp: ArrayLike, fn: ArrayLike, resamples: int = 10_000, seed: int = 0) -> Floats:
    """Draw units and, independently, seeds, with replacement: counts (P, S, N, C) → mean mIoU of each draw, (P, B).

    Every penalty gets the same resamples, so that differences stay paired by unit and by seed. Both weights are
    multinomial: the pigeonhole bootstrap of Owen (2007), The Annals of Applied Statistics 1, 386–411.
    """
    hits = np.asarray(tp, dtype=np.float64)
    rest = np.asarray(fp, dtype=np.float64) + np.asarray(fn)
    random = np.random.default_rng(seed)
    seeds, units = hits.shape[1:3]
    unit_weights = _resample(random, units, resamples)
    seed_weights = _resample(random, seeds, resamples)
    # By unit: what one matrix product needs.
    columns = [np.moveaxis(counts, 2, 0).reshape(units, -1) for counts in (hits, rest)]
    by_seed = np.empty((resamples, *hits.shape[:2]))
    step = max(1, CHUNK // columns[0].shape[1])
    for start in range(0, resamples, step):
        part = unit_weights[start : start + step]
        shape = (len(part), *hits.shape[:2], hits.shape[3])
        by_seed[start : start + step] = _miou_of_totals(*((part @ counts).reshape(shape) for counts in columns))
    means: Floats = np.einsum("bps,bs->pb", by_seed, seed_weights) / seeds
    return means


def crossed_jackknife(tp: ArrayLike, fp: ArrayLike, fn: ArrayLike) -> Crossed:
    """Leave out each unit in turn: counts (P, S, N, C) → `Crossed` for `crossed_interval`.

    Needs no random numbers, and where a unit has much weight in a ratio its variance is not too small, as the
    bootstrap's is: at 45 images by up to 9 %.
    """
    hits = np.asarray(tp, dtype=np.float64)
    rest = np.asarray(fp, dtype=np.float64) + np.asarray(fn)
    # By penalty, which bounds the memory.
    by_seed = [
        _miou_of_totals(h.sum(1, keepdims=True) - h, r.sum(1, keepdims=True) - r)
        for h, r in zip(hits, rest, strict=True)
    ]
    return Crossed(_miou_of_totals(hits.sum(2), rest.sum(2)), np.stack(by_seed))


def crossed_interval(crossed: Crossed, treated: int, reference: int | None = None) -> Estimate:
    """Mean score of a penalty, or its mean paired difference to a reference, over the seeds and units of a population.

    ``treated`` and ``reference`` are positions on the axis P. Percentiles over so few seeds would be too narrow.
    Instead, with the mean squares of a two-way layout of random seeds (a), units (b) and their interaction (e), each
    over SN, the variance is a + b − e, where neither a nor b counts for less than e. a is the variance of the S scores
    over S; b and e come from the jackknife over units, whose covariance between seeds shows what the seeds share. The
    degrees of freedom are Satterthwaite's (1946, Biometrics Bulletin 2, 110–114), for which a counts (S−1)/(S−3) times,
    the mean of F: otherwise seeds that agree by chance would make both the error too small and the degrees of freedom
    too many. Those of b are fewer where a few units are far from the others, as the variance of a variance grows with
    the kurtosis. They are at least those of the fewer of seeds and units, and just that for 2 or 3 seeds. With one seed
    or one unit there is no standard error. benchmarks/coverage.py measures how often such intervals hold the truth.

    Units may be outer folds, each with training images, λ̂, networks and test images of its own, however these depend on
    each other within a fold. A seed starts from the same weights in each, and a covers what it does alike in all. That
    two folds share most of the images that they train on is left out: the factor of Nadeau and Bengio (2003, Machine
    Learning 52, 239–281) for it, 1/K + 1/(K−1) in the place of 1/K, makes intervals too wide by half where
    benchmarks/coverage_folds.py measures them.
    """
    scores, by_seed = crossed.of(treated, reference)
    mean = float(scores.mean())
    seeds, units = len(scores), crossed.units
    if seeds < 2 or units < 2:
        return Estimate(mean, NAN, NAN, seeds, units)
    a, b, e = _mean_squares(scores, by_seed)
    df = _crossed_df(a, b, e, seeds, units, _excess_kurtosis(by_seed.mean(0)))
    return Estimate(mean, float(np.sqrt(_crossed_variance(a, b, e))), df, seeds, units)


def sign_flip_p(differences: ArrayLike, resamples: int = 100_000, seed: int = 0) -> float:
    """Two-sided p value of paired differences (S,) under flips of their signs; nan values are left out.

    Exact for up to 16 seeds, where the smallest p is 2/2^S: .0625 for 5 seeds, .002 for 10. Above, ``resamples``
    patterns are drawn. It asks whether the penalty matters for new seeds on *these* test images. For new images it is
    too bold, as all seeds share what the penalty does to each image: `Estimate.p` answers that.
    """
    sample = known(differences)
    n = len(sample)
    if not n:
        return NAN
    if exact := n <= EXACT_SEEDS:
        signs = 1.0 - 2.0 * (np.arange(2**n)[:, None] >> np.arange(n) & 1)
    else:
        signs = np.random.default_rng(seed).choice((1.0, -1.0), size=(resamples, n))
    # Sums that are equal but for the order of adding are equal.
    slack = 1e-12 * float(np.abs(sample).sum())
    extreme = int((np.abs(signs @ sample) >= abs(sample.sum()) - slack).sum())
    return extreme / len(signs) if exact else (extreme + 1) / (len(signs) + 1)


def holm(p_values: ArrayLike) -> Floats:
    """p values of one family (m,), adjusted by Holm (1979); nan counts as 1 and stays nan: it was to be tested.

    The k-th smallest of m is multiplied by m − k + 1, and none falls below one that was smaller.
    """
    given = np.asarray(p_values, dtype=np.float64)
    # nan sorts last, and makes all after it nan.
    order = np.argsort(given)
    adjusted = np.empty_like(given)
    adjusted[order] = np.minimum(1.0, np.maximum.accumulate(given[order] * np.arange(len(order), 0, -1)))
    return adjusted


def equivalence_p(difference: float, se: float, df: float, rope: float) -> float:
    """p value that a difference is within ±rope: the larger of two one-sided t-tests (Schuirmann 1987)."""
    return max(_tail(rope + difference, se, df), _tail(rope - difference, se, df))


@dataclass(frozen=True)
class Ranks:
    """Mean rank of each penalty, 1 the best; p of Friedman's test; Nemenyi's critical difference at 0.05; blocks.

    Descriptive only: with few blocks the critical difference is most of the scale.
    """

    mean: pd.Series[float]
    p: float
    critical_difference: float
    blocks: int


def ranks(scores: pd.DataFrame) -> Ranks:
    """Rank penalties (columns) by score, the highest first, in each block (row: a data set × model).

    Equal scores share their mean rank; a block that lacks a penalty is left out. Critical difference:
    q/√2 · √(k(k+1)/6N), q of the studentised range of k penalties (Demšar 2006, JMLR 7, 1–30). p is nan with less
    than three penalties or two blocks; all is nan without a block.
    """
    complete = scores.dropna()
    n, k = complete.shape
    mean = complete.rank(axis=1, ascending=False).mean()
    if not n or k < 2:
        return Ranks(mean, NAN, NAN, n)
    p = float(scipy_stats.friedmanchisquare(*complete.to_numpy().T).pvalue) if n > 1 and k > 2 else NAN
    range_quantile = float(scipy_stats.studentized_range.ppf(0.95, k, np.inf))
    return Ranks(mean, p, range_quantile / np.sqrt(2) * float(np.sqrt(k * (k + 1) / (6 * n))), n)


def oracle_gap(tests: ArrayLike, chosen: Sequence[int]) -> Interval:
    """Test score at the best λ less that at the λ chosen: scores (L, S) of L values of λ, and S choices.

    No network reports on a choice that it took part in: for each seed the best λ is that of the other seeds' test
    scores, and ``chosen`` has the position of the λ that the other seeds' validation scores choose; both are scored on
    that seed. See `held_out_mean`. Seeds that lack a score are left out; with one seed there is no gap.
    """
    given = np.asarray(tests, dtype=np.float64)
    kept = np.flatnonzero(~np.isnan(given).any(0))
    if len(kept) < 2:
        return Interval(NAN, NAN, NAN, len(kept))
    complete, seeds = given[:, kept], np.arange(len(kept))
    best_elsewhere = (complete.sum(1, keepdims=True) - complete).argmax(0)
    gaps = complete[best_elsewhere, seeds] - complete[np.asarray(chosen)[kept], seeds]
    return held_out_mean(gaps).interval()


def held_out_mean(values: Floats) -> Estimate:
    """Mean of one value for each of S held-out seeds, (S,), where the other seeds have picked what is scored.

    The values share most of the seeds that picked. With the correlation ρ between any two that this makes, the variance
    is s² · (1/S + ρ/(1−ρ)) (Nadeau and Bengio 2003, Machine Learning 52, 239–281), with S − 1 degrees of freedom; nan
    for one seed. It is `HELD_OUT_SHARED`, as no sample can tell it (Bengio and Grandvalet 2004, JMLR 5, 1089–1105).
    """
    seeds = len(values)
    error = float(values.std(ddof=1) * np.sqrt(1 / seeds + HELD_OUT_SHARED)) if seeds > 1 else NAN
    return Estimate(float(values.mean()), error, seeds - 1, seeds, 0)


@dataclass(frozen=True)
class Spread:
    """Variances of a score, or of a paired difference: between ``seed`` and seed, image and image, and of ``both``.

    A mean over S seeds and N images has the variance seed/S + image/N + both/SN. ``kurtosis`` is the images' excess.
    """

    seed: float
    image: float
    both: float
    kurtosis: float = 0.0

    def half_width(self, seeds: int, images: int, confidence: float = 0.95) -> float:
        """Half width that `crossed_interval` is expected to give; both numbers are 2 or more."""
        se, df = self._error(seeds, images)
        return _t_quantile((1 + confidence) / 2, df) * se

    def equivalence_power(self, seeds: int, images: int, rope: float) -> float:
        """Chance that a true difference of zero is shown to lie within ±rope: P(|T| < rope/se − t(.95))."""
        se, df = self._error(seeds, images)
        if se == 0:
            return 1.0
        return float(max(0.0, 2 * scipy_stats.t.cdf(rope / se - _t_quantile(0.95, df), df) - 1))

    def _error(self, seeds: int, images: int) -> tuple[float, float]:
        """Standard error and degrees of freedom."""
        e = self.both / (seeds * images)
        a, b = self.seed / seeds + e, self.image / images + e
        return float(np.sqrt(_crossed_variance(a, b, e))), _crossed_df(a, b, e, seeds, images, self.kurtosis)


def spread_of(crossed: Crossed, treated: int, reference: int) -> Spread:
    """The variances behind `crossed_interval` of a difference, of two seeds and images or more.

    One that would be negative is 0.
    """
    scores, by_seed = crossed.of(treated, reference)
    seeds, images = by_seed.shape
    a, b, e = _mean_squares(scores, by_seed)
    both = max(0.0, e)
    parts = max(0.0, a - both) * seeds, max(0.0, b - both) * images, both * seeds * images
    return Spread(*parts, _excess_kurtosis(by_seed.mean(0)))


def pair_correlation(treated: ArrayLike, reference: ArrayLike) -> float:
    """Pearson correlation over seeds of two penalties' scores (S,), paired: what common random numbers achieved.

    The variance of the mean difference falls by the factor 1 − r if both vary alike. nan values are left out; nan
    with less than 3 seeds or where one does not vary.
    """
    both = np.stack([np.asarray(treated, dtype=np.float64), np.asarray(reference, dtype=np.float64)])
    both = both[:, ~np.isnan(both).any(0)]
    if both.shape[1] < 3 or (np.ptp(both, axis=1) == 0).any():
        return NAN
    return float(scipy_stats.pearsonr(both[0], both[1]).statistic)


def power_at(difference: float, se: float, df: float, alpha: float = 0.05) -> float:
    """Chance that the two-sided t-test finds a true difference, from the noncentral t; nan where se is nan or 0."""
    if not se > 0:
        return NAN
    quantile, shift = _t_quantile(1 - alpha / 2, df), abs(difference) / se
    # SciPy's far tail on the wrong side is nan for some large shifts, where it is below 1e-7.
    return float(scipy_stats.nct.sf(quantile, df, shift) + np.nan_to_num(scipy_stats.nct.cdf(-quantile, df, shift)))


def detectable_effect(se: float, df: float, power: float = 0.8, alpha: float = 0.05) -> float:
    """The true difference that a two-sided t-test with this standard error finds with this power; nan as `power_at`."""
    if not se > 0:
        return NAN
    quantile = _t_quantile(1 - alpha / 2, df)
    highest = 2 * quantile + 10
    return se * float(optimize.brentq(lambda shift: power_at(shift, 1.0, df, alpha) - power, 0, highest))


def _mean_squares(scores: Floats, by_seed: Floats) -> tuple[float, float, float]:
    """a, b and e of `crossed_interval`, of a score (S,) and of those without each unit in turn (S, N)."""
    seeds, units = by_seed.shape
    # Leaving out one unit changes far less than drawing all anew.
    covariance = np.cov(by_seed) * ((units - 1) ** 2 / units)
    b = float(covariance.mean())
    e = (float(np.trace(covariance)) / seeds - b) / (seeds - 1)
    return float(scores.var(ddof=1)) / seeds, b, e


def _crossed_variance(a: float, b: float, e: float) -> float:
    return max(a, e) + max(b, e) - e


def _crossed_df(a: float, b: float, e: float, seeds: int, units: int, kurtosis: float) -> float:
    """See `crossed_interval`; ``kurtosis`` is the units' excess.

    The variance of s² is σ⁴ · (2/(N−1) + kurtosis/N), and that of a multiple of χ² with ν degrees of freedom 2σ⁴/ν.
    """
    fewest = float(min(seeds, units) - 1)
    if seeds <= 3:
        return fewest
    a *= (seeds - 1) / (seeds - 3)
    spread = a**2 / (seeds - 1) + b**2 * (1 / (units - 1) + kurtosis / (2 * units))
    spread += e**2 / ((seeds - 1) * (units - 1))
    return max(fewest, _crossed_variance(a, b, e) ** 2 / spread) if spread > 0 else fewest


def _excess_kurtosis(values: Floats) -> float:
    """The sample's (N,), G₂ of Joanes and Gill (1998, The Statistician 47, 183–189), where above 0.

    0 with less than four values or where none differs.
    """
    n = len(values)
    squares = (values - values.mean()) ** 2
    if n < 4 or not squares.any():
        return 0.0
    ratio = float((squares**2).mean() / squares.mean() ** 2)
    return max(0.0, (n - 1) / ((n - 2) * (n - 3)) * ((n + 1) * ratio - 3 * (n - 1)))


def _resample(random: np.random.Generator, items: int, resamples: int) -> Floats:
    return random.multinomial(items, np.full(items, 1 / items), size=resamples).astype(np.float64)


def _miou_of_totals(hits: Floats, rest: Floats) -> Floats:
    """(..., C) totals of TP and of FP + FN → (...)."""
    return metrics.miou(hits[..., None, :], rest[..., None, :], np.zeros((1, 1)))


def _t_quantile(share: float, df: float) -> float:
    return float(scipy_stats.t.ppf(share, df))


def _tail(distance: float, se: float, df: float) -> float:
    """P(T > distance/se) for t with df; without any spread, what it tends to."""
    if se == 0:
        return 0.5 * (1.0 - float(np.sign(distance)))
    return float(scipy_stats.t.sf(distance / se, df))
