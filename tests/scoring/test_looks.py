import json

import numpy as np
import pytest
from scipy import stats

from softreg.scoring import looks


@pytest.mark.parametrize(("count", "bound"), [(2, 2.178), (3, 2.289), (4, 2.361), (5, 2.413), (10, 2.555)])
def test_the_bounds_are_pococks(count, bound):
    """Table 1 of Pocock (1977), for looks that are evenly spaced."""
    level = looks.level_of(tuple(range(7, 7 * count + 1, 7)))
    assert stats.norm.isf(level / 2) == pytest.approx(bound, abs=5e-4)


def test_uneven_looks_against_the_normal_distribution_of_all():
    plan = np.array([6, 12, 24])
    corner = stats.norm.isf(0.01) * np.ones(3)
    together = np.sqrt(np.minimum.outer(plan, plan) / np.maximum.outer(plan, plan))
    inside = stats.multivariate_normal.cdf(corner, cov=together, lower_limit=-corner, abseps=1e-7)
    assert looks.size_of(0.02, plan.tolist()) == pytest.approx(1 - inside, abs=2e-5)


def test_looks_in_any_order_and_twice_are_the_same():
    assert looks.size_of(0.05, [24, 6, 6, 12]) == looks.size_of(0.05, [6, 12, 24])


def test_one_look_has_the_whole_level():
    assert looks.level_of((10,)) == 0.05
    assert looks.size_of(0.05, [10]) == pytest.approx(0.05, abs=1e-12)
    assert looks.size_of(looks.level_of((40, 41)), [40, 41]) == pytest.approx(0.05, abs=1e-8)


def test_each_number_of_seeds_is_one_look(tmp_path):
    first = looks.with_one([], 5, True)
    assert [(look["seeds"], look["partial"]) for look in first] == [(5, True)]
    assert looks.with_one(first, 5, False) == first
    assert looks.with_one(first, 0, True) == first
    assert [look["seeds"] for look in looks.with_one(first, 10, False)] == [5, 10]
    here, there = tmp_path / "here.json", tmp_path / "there.json"
    here.write_text(json.dumps(first))
    assert looks.noted(here, there) == first
    there.write_text(json.dumps(looks.with_one([], 5, False) + looks.with_one([], 7, False)))
    assert [(look["seeds"], look["partial"]) for look in looks.noted(here, there)] == [(5, True), (7, False)]
