import numpy as np
import pandas as pd
import pytest
from scipy.stats import ttest_1samp

from softreg.stats import mean_interval, paired_difference, standard_error


def test_interval_is_that_of_scipys_t_test():
    values = np.random.default_rng(0).normal(60, 2, 7)
    ours, theirs = mean_interval(values), ttest_1samp(values, 0).confidence_interval(0.95)
    assert (ours.mean, ours.n) == (pytest.approx(values.mean()), 7)
    assert (ours.low, ours.high) == pytest.approx((theirs.low, theirs.high))


def test_one_value_has_no_interval_and_none_no_mean():
    one, none = mean_interval([3.0]), mean_interval([])
    assert (one.mean, one.n, none.n) == (3.0, 1, 0)
    assert np.isnan([one.low, one.high, none.mean]).all()
    assert np.isnan(standard_error([3.0]))


def test_values_that_are_not_numbers_are_left_out():
    assert mean_interval([1.0, np.nan, 3.0]).n == 2
    assert mean_interval([1.0, np.nan, 3.0]).mean == 2.0


def test_differences_pair_seeds_that_both_have():
    treated = pd.Series([5.0, 7.0, 9.0], index=[102, 100, 103])
    reference = pd.Series([1.0, 2.0, 4.0], index=[100, 101, 102])
    assert paired_difference(treated, reference).to_dict() == {100: 6.0, 102: 1.0}
