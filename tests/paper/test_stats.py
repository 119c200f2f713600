import subprocess
import sys

import numpy as np
import pandas as pd
import pytest
from scipy import integrate
from scipy import stats as theirs
from scipy.special import expit, logit
from scipy.stats import ttest_1samp
from statsmodels.stats.multitest import multipletests
from statsmodels.stats.power import TTestPower
from statsmodels.stats.weightstats import ttost_paired

from softreg.paper import stats
from softreg.paper.stats import over_seeds
from softreg.scoring import metrics
from softreg.scoring.means import standard_error


def counts(random, penalties=2, seeds=3, images=6, classes=3):
    """TP, FP and FN (P, S, N, C); the last class is on one image only, so that some resamples lack it."""
    drawn = random.integers(1, 50, (3, penalties, seeds, images, classes))
    drawn[..., 1:, -1] = 0
    return drawn


def linear_study(scores):
    """Counts of one class whose mIoU is the mean of the given hits (P, S, N) of 1000 pixels an image."""
    hits = scores[..., None]
    return hits, np.zeros_like(hits), 1000 - hits


def crossed_scores(random, seed=8.0, image=20.0, rest=25.0, seeds=5, images=30):
    """Hits of two penalties, of whose difference seed, image and their interaction have these spreads."""
    difference = (
        random.normal(0, seed, (seeds, 1)) + random.normal(0, image, images) + random.normal(0, rest, (seeds, images))
    )
    reference = random.integers(400, 600, (seeds, images))
    return np.stack([reference, reference + np.rint(difference).astype(int)])


def mean_squares(difference):
    """Mean squares of seeds, images and interaction over SN, of a two-way layout (S, N), by the textbook's sums."""
    seeds, images = difference.shape
    by_seed, by_image, mean = difference.mean(1, keepdims=True), difference.mean(0, keepdims=True), difference.mean()
    residual = difference - by_seed - by_image + mean
    a = images * ((by_seed - mean) ** 2).sum() / (seeds - 1)
    b = seeds * ((by_image - mean) ** 2).sum() / (images - 1)
    e = (residual**2).sum() / ((seeds - 1) * (images - 1))
    return np.array([a, b, e]) / (seeds * images)


def test_interval_is_that_of_scipys_t_test():
    values = np.random.default_rng(0).normal(60, 2, 7)
    ours, theirs = over_seeds(values).interval(), ttest_1samp(values, 0).confidence_interval(0.95)
    assert (ours.mean, ours.n) == (pytest.approx(values.mean()), 7)
    assert (ours.low, ours.high) == pytest.approx((theirs.low, theirs.high))


@pytest.mark.parametrize(("mean", "se", "df"), [(99.2, 1.5, 4), (0.4, 0.8, 2), (75.0, 2.0, 9)])
def test_the_interval_of_a_score_stays_within_the_scale(mean, se, df):
    estimate = stats.Estimate(mean, se, df, df + 1, 20)
    found = estimate.score_interval(100)
    # The delta method on √odds − 1/√odds = 2 sinh(logit/2), whose derivative is taken numerically.
    step = 1e-5
    middle, below, above = (2 * np.sinh(logit(mean / 100 + by) / 2) for by in (0, -step, step))
    ends = middle + np.array([-1, 1]) * theirs.t.ppf(0.975, df) * (above - below) / (2 * step) * se / 100
    assert (found.low, found.high) == pytest.approx(tuple(100 * expit(2 * np.arcsinh(ends / 2))), rel=1e-4)
    assert 0 < found.low < mean < found.high < 100
    assert found.n == df + 1


def test_the_interval_of_a_score_at_the_end_of_its_scale_has_no_width():
    for mean in (0.0, 100.0):
        found = stats.Estimate(mean, 0.0, 4, 5, 20).score_interval(100)
        assert (found.low, found.high) == (mean, mean)
    assert np.isnan(stats.Estimate(50.0, np.nan, 0, 1, 20).score_interval(100).low)


def test_the_interval_of_a_difference_is_cut_at_what_it_can_be():
    estimate = stats.Estimate(0.6, 0.2, 1, 2, 20, limit=1.0)
    half = theirs.t.ppf(0.975, 1) * 0.2
    assert half > 1.6
    assert (estimate.interval().low, estimate.interval().high) == (-1, 1)
    narrow = estimate.interval(0.5)
    assert (narrow.low, narrow.high) == pytest.approx((0.6 - 0.2, 0.6 + 0.2))
    points = estimate.times(100)
    assert (points.mean, points.interval().high, points.p) == pytest.approx((60, 100, estimate.p))
    assert over_seeds([-90.0, 90.0], limit=100).interval().high == 100


def test_one_value_has_no_interval_and_none_no_mean():
    one, none = over_seeds([3.0]).interval(), over_seeds([]).interval()
    assert (one.mean, one.n, none.n) == (3.0, 1, 0)
    assert np.isnan([one.low, one.high, none.mean]).all()
    assert np.isnan(standard_error([3.0]))


def test_values_that_are_not_numbers_are_left_out():
    assert over_seeds([1.0, np.nan, 3.0]).interval().n == 2
    assert over_seeds([1.0, np.nan, 3.0]).mean == 2.0


def test_import_loads_no_torch():
    loaded = "import sys, softreg.paper.stats; print('torch' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", loaded], capture_output=True, text=True).stdout.strip() == "False"


def test_bootstrap_is_that_of_a_loop_over_the_same_resamples(monkeypatch):
    # Blocks of 7 resamples, and a rest.
    monkeypatch.setattr(stats, "CHUNK", 7 * 2 * 3 * 3)
    given = counts(np.random.default_rng(0))
    means = stats.bootstrap_means(*given, resamples=60, seed=4)
    random = np.random.default_rng(4)
    image_weights, seed_weights = random.multinomial(6, [1 / 6] * 6, 60), random.multinomial(3, [1 / 3] * 3, 60)
    for number, (images, seeds) in enumerate(zip(image_weights, seed_weights, strict=True)):
        taken = np.repeat(given, images, axis=3)
        expected = np.repeat(metrics.miou(*taken), seeds, axis=1).mean(1)
        assert means[:, number] == pytest.approx(expected, abs=1e-12)


def test_bootstrap_pairs_penalties_and_depends_on_its_seed_only():
    given = counts(np.random.default_rng(0))
    given[:, 1] = given[:, 0]
    first, again, other = (stats.bootstrap_means(*given, resamples=20, seed=seed) for seed in (1, 1, 2))
    assert (first[0] == first[1]).all()
    assert (first == again).all()
    assert (first != other).any()


def test_jackknife_leaves_out_each_image_in_turn():
    given = counts(np.random.default_rng(0))
    jackknife = stats.crossed_jackknife(*given)
    for image in range(6):
        assert jackknife.by_seed[..., image] == pytest.approx(metrics.miou(*np.delete(given, image, axis=3)))
    assert jackknife.scores == pytest.approx(metrics.miou(*given))


def test_the_counts_of_a_unit_are_those_of_its_images():
    given, units = counts(np.random.default_rng(0)), np.array([2, 0, 1, 0, 2, 2])
    summed = stats.by_unit(given, units)
    for unit in range(3):
        assert (summed[..., unit, :] == given[..., units == unit, :].sum(-2)).all()


def test_images_that_repeat_one_another_count_once_where_they_are_a_group():
    hits = crossed_scores(np.random.default_rng(1), seed=0)
    once = stats.crossed_interval(stats.crossed_jackknife(*linear_study(hits)), 1, 0)
    tenfold = linear_study(np.repeat(hits, 10, axis=2))
    units = np.repeat(np.arange(30), 10)
    grouped = stats.crossed_interval(stats.crossed_jackknife(*(stats.by_unit(c, units) for c in tenfold)), 1, 0)
    assert (grouped.mean, grouped.se, grouped.df) == pytest.approx((once.mean, once.se, once.df))
    assert grouped.units == 30
    assert stats.crossed_interval(stats.crossed_jackknife(*tenfold), 1, 0).se < 0.6 * once.se


@pytest.mark.parametrize("seeds", [5, 10])
def test_crossed_error_is_that_of_the_analysis_of_variance(seeds):
    hits = crossed_scores(np.random.default_rng(seeds), seeds=seeds)
    estimate = stats.crossed_interval(stats.crossed_jackknife(*linear_study(hits)), 1, 0)
    a, b, e = mean_squares((hits[1] - hits[0]) / 1000)
    assert min(a, b) > e
    inflated = a * (seeds - 1) / (seeds - 3)
    kurtosis = max(0, theirs.kurtosis((hits[1] - hits[0]).mean(0), bias=False))
    images = 2 / (2 / 29 + kurtosis / 30)
    parts = np.array([inflated, b, e]) ** 2 / [seeds - 1, images, 29 * (seeds - 1)]
    df = (inflated + b - e) ** 2 / parts.sum()
    assert estimate.mean == pytest.approx((hits[1] - hits[0]).mean() / 1000)
    assert estimate.se == pytest.approx(np.sqrt(a + b - e), rel=1e-9)
    assert estimate.df == pytest.approx(df, rel=1e-9)
    assert (estimate.seeds, estimate.units) == (seeds, 30)


@pytest.mark.parametrize("far", [0, 400])
def test_an_image_far_from_the_others_takes_degrees_of_freedom(far):
    hits = crossed_scores(np.random.default_rng(3), seed=0, image=20, rest=1)
    hits[1, :, 0] += far
    estimate = stats.crossed_interval(stats.crossed_jackknife(*linear_study(hits)), 1, 0)
    # With little else the variance is s² of the images, whose own variance is 2σ⁴/df.
    kurtosis = max(0, theirs.kurtosis((hits[1] - hits[0]).mean(0), bias=False))
    assert (kurtosis > 10) == (far > 0)
    assert estimate.df == pytest.approx(max(4, 2 / (2 / 29 + kurtosis / 30)), rel=0.05)


def test_seeds_that_happen_to_agree_do_not_take_from_the_error():
    hits = crossed_scores(np.random.default_rng(0), seed=0, image=0, rest=40)
    # The mean of every seed becomes the same, so that a is 0.
    hits[1] -= np.rint((hits[1] - hits[0]).mean(1, keepdims=True)).astype(int)
    hits[1, :, 0] -= (hits[1] - hits[0]).sum(1)
    estimate = stats.crossed_interval(stats.crossed_jackknife(*linear_study(hits)), 1, 0)
    a, b, e = mean_squares((hits[1] - hits[0]) / 1000)
    assert a < e
    assert estimate.se == pytest.approx(np.sqrt(max(b, e)))


@pytest.mark.parametrize("seeds", [2, 3])
def test_two_or_three_seeds_have_no_more_degrees_of_freedom_than_they_count(seeds):
    hits = crossed_scores(np.random.default_rng(0), seed=0, seeds=seeds)
    estimate = stats.crossed_interval(stats.crossed_jackknife(*linear_study(hits)), 1, 0)
    assert estimate.df == seeds - 1
    assert estimate.se > 0


def test_images_that_happen_to_agree_do_not_take_from_the_error():
    hits = crossed_scores(np.random.default_rng(0), seed=20, image=0, rest=40)
    # Likewise the mean of every image, but for rounding.
    hits[1] -= np.rint((hits[1] - hits[0]).mean(0)).astype(int)
    estimate = stats.crossed_interval(stats.crossed_jackknife(*linear_study(hits)), 1, 0)
    a, b, e = mean_squares((hits[1] - hits[0]) / 1000)
    assert b < e
    assert estimate.se == pytest.approx(np.sqrt(max(a, e)))


def test_where_all_images_are_alike_the_crossed_interval_is_the_t_interval_of_the_seeds():
    hits = np.repeat(np.array([[500, 520, 490, 505, 498], [512, 524, 507, 509, 516]])[..., None], 20, axis=2)
    crossed = stats.crossed_jackknife(*linear_study(hits))
    difference, mean = stats.crossed_interval(crossed, 1, 0), stats.crossed_interval(crossed, 1)
    plain = ttest_1samp((hits[1] - hits[0])[:, 0] / 1000, 0)
    assert (difference.p, difference.df) == (pytest.approx(plain.pvalue), pytest.approx(4))
    assert (difference.interval().low, difference.interval().high) == pytest.approx(tuple(plain.confidence_interval()))
    assert mean.interval(0.9).low == pytest.approx(over_seeds(hits[1, :, 0] / 1000).interval(0.9).low)


@pytest.mark.filterwarnings("error")
def test_one_seed_or_one_image_gives_a_mean_without_an_interval():
    for seeds, images in ((1, 6), (3, 1)):
        crossed = stats.crossed_jackknife(*counts(np.random.default_rng(0), 2, seeds, images))
        estimate = stats.crossed_interval(crossed, 1, 0)
        assert estimate.mean == pytest.approx((crossed.scores[1] - crossed.scores[0]).mean())
        assert np.isnan([estimate.se, estimate.interval().low, estimate.interval().high, estimate.p]).all()
        assert np.isnan([estimate.equivalence_p(0.1), stats.detectable_effect(estimate.se, estimate.df)]).all()


def test_penalties_without_a_difference_have_an_interval_of_no_width():
    same = np.repeat(counts(np.random.default_rng(0), penalties=1), 2, axis=1)
    estimate = stats.crossed_interval(stats.crossed_jackknife(*same), 1, 0)
    assert (estimate.interval().low, estimate.interval().high, estimate.p) == (0, 0, 1)
    assert (estimate.equivalence_p(0.01), estimate.df) == (0, 2)


@pytest.mark.parametrize("seeds", [2, 5, 10])
def test_sign_flips_are_those_of_scipy(seeds):
    treated, reference = np.random.default_rng(seeds).normal([[0.7], [0]], 1, (2, seeds))
    exact = theirs.permutation_test(
        (treated, reference), lambda a, b, axis: (a - b).mean(axis), permutation_type="samples", n_resamples=np.inf
    )
    assert stats.sign_flip_p(treated - reference) == pytest.approx(exact.pvalue)
    assert stats.sign_flip_p([*(treated - reference), np.nan]) == pytest.approx(exact.pvalue)


def test_sign_flips_cannot_go_below_two_patterns():
    assert stats.sign_flip_p([1.0, 2.0, 3.0, 4.0, 5.0]) == 2 / 2**5
    # All of these sums are equal, but for rounding.
    assert stats.sign_flip_p([0.1, 0.2, -0.3]) == 1.0
    assert stats.sign_flip_p([0.0, 0.0]) == 1.0
    assert np.isnan(stats.sign_flip_p([np.nan]))


def test_sign_flips_of_many_seeds_are_drawn():
    sample = np.random.default_rng(1).normal(0.2, 1, 18)
    sums = np.zeros(1)
    for value in sample:
        sums = np.concatenate([sums + value, sums - value])
    exact = np.mean(np.abs(sums) >= abs(sample.sum()) - 1e-9)
    assert 0.01 < exact < 0.5
    drawn = stats.sign_flip_p(sample)
    # Five standard errors of 100,000 draws.
    assert drawn == pytest.approx(exact, abs=5 * np.sqrt(exact * (1 - exact) / 100_000))
    assert drawn == stats.sign_flip_p(sample)
    assert drawn != stats.sign_flip_p(sample, seed=1)


def test_holm_is_that_of_statsmodels():
    given = np.array([0.04, 0.001, 0.02, 0.9, 0.011, 0.02])
    assert stats.holm(given) == pytest.approx(multipletests(given, method="holm")[1])
    with_gaps = stats.holm([np.nan, *given, np.nan])
    assert with_gaps[1:-1] == pytest.approx(multipletests([1, *given, 1], method="holm")[1][1:-1])
    assert np.isnan(with_gaps[[0, -1]]).all()
    assert stats.holm([]).shape == (0,)


@pytest.mark.parametrize("rope", [0.1, 0.5, 2.0])
def test_equivalence_is_that_of_statsmodels(rope):
    treated, reference = np.random.default_rng(3).normal([[60.3], [60]], 0.6, (2, 8))
    expected = ttost_paired(treated, reference, -rope, rope)[0]
    assert over_seeds(treated - reference).equivalence_p(rope) == pytest.approx(expected)
    assert over_seeds([*(treated - reference), np.nan]).equivalence_p(rope) == pytest.approx(expected)


@pytest.mark.parametrize("difference", np.linspace(-1, 1, 9))
def test_equivalence_agrees_with_the_interval_of_90_per_cent(difference):
    estimate = stats.Estimate(difference, 0.13, 5.3, 5, 45)
    narrow, wide = estimate.interval(0.9), estimate.interval()
    inside = narrow.low > -0.5 and narrow.high < 0.5
    assert (estimate.equivalence_p(0.5) < 0.05) == inside
    assert (estimate.p < 0.05) == (wide.low > 0 or wide.high < 0)


def test_equivalence_without_spread():
    assert [stats.equivalence_p(d, 0.0, 4, 0.5) for d in (0.4, -0.6, 0.5)] == [0, 1, 0.5]
    assert np.isnan(over_seeds([0.1]).equivalence_p(0.5))
    assert np.isnan(over_seeds([]).equivalence_p(0.5))


def test_ranks_by_hand_and_scipy():
    scores = pd.DataFrame(
        {"l2": [0.60, 0.70, 0.5, 0.8], "l1": [0.61, 0.72, 0.5, np.nan], "none": [0.5, 0.71, 0.4, 0.7]},
        index=["camvid", "wbc", "kvasir", "incomplete"],
    )
    result = stats.ranks(scores)
    # 2, 3, 1.5; 1, 1, 1.5; 3, 2, 3.
    assert result.mean.to_dict() == pytest.approx({"l2": 6.5 / 3, "l1": 3.5 / 3, "none": 8 / 3})
    assert result.p == pytest.approx(theirs.friedmanchisquare(*scores.iloc[:3].to_numpy().T).pvalue)
    assert result.blocks == 3


def test_critical_difference_of_eight_penalties_on_six_blocks():
    scores = pd.DataFrame(np.random.default_rng(0).random((6, 8)))
    assert stats.ranks(scores).critical_difference == pytest.approx(4.29, abs=0.005)


def test_ranks_of_too_few():
    two = stats.ranks(pd.DataFrame({"l1": [0.5, 0.6], "l2": [0.4, 0.7]}))
    # Demšar's table: q of two classifiers is that of the normal.
    assert two.critical_difference == pytest.approx(1.960 * np.sqrt(1 / 2), abs=1e-3)
    assert np.isnan(two.p)
    none = stats.ranks(pd.DataFrame({"l1": [np.nan], "l2": [0.4]}))
    assert np.isnan([none.p, none.critical_difference, *none.mean]).all()


def test_oracle_gap_by_hand():
    scores = [[1.0, 5.0, 3.0], [2.0, 2.0, 2.0], [4.0, 0.0, 3.0]]
    # On the other two seeds the first λ wins twice (4, 2, 1.5; 2, 2, 3.5; 3, 2, 2).
    gaps = np.array([1.0 - 2.0, 0.0 - 5.0, 3.0 - 2.0])
    low, high = theirs.t.interval(0.95, 2, gaps.mean(), gaps.std(ddof=1) * np.sqrt(1 / 3 + 1 / 11))
    gap = stats.oracle_gap(scores, [1, 0, 1])
    assert (gap.low, gap.mean, gap.high, gap.n) == pytest.approx((low, gaps.mean(), high, 3))
    assert stats.oracle_gap([[*row, np.nan] for row in scores], [1, 0, 1, 2]) == gap


def test_oracle_gap_of_noise_is_nothing():
    random = np.random.default_rng(0)
    gaps = []
    for _ in range(1000):
        # Validation and test share half of their noise, so that a seed that chooses flatters its own choice.
        shared = random.normal(60, 1, (8, 4))
        validation, tests = shared + random.normal(0, 1, (2, 8, 4))
        chosen = [(validation.sum(1) - validation[:, seed]).argmax() for seed in range(4)]
        gaps.append(stats.oracle_gap(tests, chosen).mean)
    assert abs(np.mean(gaps)) < 4 * standard_error(gaps)


def test_oracle_gap_of_one_seed_or_none():
    one, none = stats.oracle_gap([[1.0], [3.0]], [0]), stats.oracle_gap([[np.nan], [3.0]], [0])
    assert (one.n, none.n) == (1, 0)
    assert np.isnan([one.mean, one.low, none.mean]).all()


@pytest.mark.filterwarnings("error")
def test_correlation_of_pairs():
    treated, reference = np.random.default_rng(0).normal(0, 1, (2, 6)) + np.arange(6)
    expected = np.corrcoef(treated, reference)[0, 1]
    assert stats.pair_correlation(treated, reference) == pytest.approx(expected)
    assert stats.pair_correlation([*treated, np.nan], [*reference, 9.0]) == pytest.approx(expected)
    assert np.isnan(stats.pair_correlation([1.0, 2.0], [2.0, 5.0]))
    assert np.isnan(stats.pair_correlation([1.0, 2.0, 3.0], [0.1, 0.1, 0.1]))


@pytest.mark.parametrize(("seeds", "power"), [(2, 0.8), (5, 0.8), (5, 0.95), (10, 0.5)])
def test_detectable_effect_is_that_of_statsmodels(seeds, power):
    sd = 0.7
    expected = sd * TTestPower().solve_power(nobs=seeds, alpha=0.05, power=power)
    effect = stats.detectable_effect(sd / np.sqrt(seeds), seeds - 1, power)
    assert effect == pytest.approx(expected, rel=1e-4)
    assert stats.power_at(-effect, sd / np.sqrt(seeds), seeds - 1) == pytest.approx(power)


@pytest.mark.parametrize(("shift", "df"), [(0.0, 4), (1.3, 5.7), (12.7062047, 1), (9.0, 2), (13.0, 4), (30.0, 20)])
def test_power_is_the_integral_over_the_spread(shift, df):
    quantile = theirs.t.ppf(0.975, df)

    def rejected(spread):
        density = theirs.chi.pdf(spread * np.sqrt(df), df) * np.sqrt(df)
        return density * (theirs.norm.sf(quantile * spread - shift) + theirs.norm.cdf(-quantile * spread - shift))

    assert stats.power_at(shift, 1.0, df) == pytest.approx(integrate.quad(rejected, 0, 50, limit=500)[0], abs=1e-6)


def test_power_of_a_test_at_nothing_is_its_size_and_without_an_error_unknown():
    assert stats.power_at(0.0, 0.3, 7, alpha=0.1) == pytest.approx(0.1)
    assert np.isnan([stats.power_at(1.0, 0.0, 4), stats.detectable_effect(np.nan, np.nan)]).all()
