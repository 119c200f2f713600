"""The contract of a penalty: it passes what is right, and each fault is found by the rule that names it."""

from __future__ import annotations

import pytest
import torch

from softreg.contract.findings import Finding, table
from softreg.contract.penalty import check_penalty
from softreg.penalties.base import Penalty, scale, shift, shrink_, soft_threshold_, sum_abs, sum_squares
from softreg.penalties.group_lasso import GroupLasso
from softreg.penalties.hoyer import Hoyer
from softreg.penalties.l1 import L1
from softreg.penalties.l2 import L2


def broken(penalty: Penalty) -> set[str]:
    return {finding.rule for finding in check_penalty(penalty) if not finding.kept}


class Ridge(Penalty):
    """P = Σ w², written without foreach operations."""

    def value(self, weights):
        return sum_squares(weights)

    def gradient(self, weights):
        return [2 * weight for weight in weights]

    def prox_(self, weights, strength):
        shrink_(weights, scale(strength, 2.0))


@pytest.mark.parametrize("penalty", [Ridge(), L1(), GroupLasso(), Hoyer()], ids=lambda penalty: type(penalty).__name__)
def test_what_is_right_passes(penalty):
    assert broken(penalty) == set()


class WrongFactor(Ridge):
    def gradient(self, weights):
        return weights


class NanSlope(Ridge):
    def gradient(self, weights):
        return [torch.where(weight > 1, torch.nan, 2 * weight) for weight in weights]


class NanAtZero(L1):
    def gradient(self, weights):
        return [weight / weight.abs() for weight in weights]


class WrongStrength(Ridge):
    def prox_(self, weights, strength):
        shrink_(weights, strength)


class OneStep(Ridge):
    """Takes the mean of the steps of all weights."""

    def prox_(self, weights, strength):
        if not isinstance(strength, float):
            strength = float(torch.stack([step.mean() for step in strength]).mean())
        super().prox_(weights, strength)


class NumberAlone(Ridge):
    def prox_(self, weights, strength):
        for weight in weights:
            weight.div_(1 + 2 * strength)


class NanProx(Ridge):
    def prox_(self, weights, strength):
        super().prox_(weights, strength)
        for weight in weights:
            weight[weight.abs() < 1e-4] = torch.nan


class Coupled(Ridge):
    """Its prox shrinks each tensor towards its mean over filters."""

    def prox_(self, weights, strength):
        super().prox_(weights, strength)
        for weight in weights:
            if len(weight) > 1:
                weight.sub_(1e-3 * weight.mean(dim=0, keepdim=True))


class Undeclared(GroupLasso):
    structure = "weight"


class Double(L2):
    def gradient(self, weights):
        return [weight.double() for weight in weights]


class SingleValue(L2):
    def value(self, weights):
        return super().value(weights).float()


class Squares(L2):
    """Overflows where a weight's fourth power does."""

    def gradient(self, weights):
        return [(weight**4).sqrt() / weight.abs().clamp_min(1e-30) * weight.sign() for weight in weights]


class Unknown(L2):
    realisations = ("proximal", "projected")


class Missing(Penalty):
    """Promises a gradient and a prox, and has neither."""

    def value(self, weights):
        return sum_squares(weights)


class Kinked(Penalty):
    """|w| + 5 where w is not 0: its prox is a hard threshold, not the soft one it takes."""

    realisations = ("proximal",)

    def value(self, weights):
        return sum_abs(weights) + sum(5.0 * (weight != 0).double().sum() for weight in weights)

    def prox_(self, weights, strength):
        soft_threshold_(weights, shift(strength, 0.0))


@pytest.mark.parametrize(
    ("penalty", "rules"),
    [
        (WrongFactor, {"gradient"}),
        (NanSlope, {"gradient", "extremes"}),
        (NanAtZero, {"gradient", "extremes"}),
        (WrongStrength, {"prox, one step", "prox, a step for each weight", "prox, fixed point"}),
        (OneStep, {"prox, a step for each weight"}),
        (NumberAlone, {"prox, a step for each weight"}),
        (NanProx, {"prox, one step", "extremes"}),
        (Coupled, {"structure"}),
        (Undeclared, {"structure"}),
        (Double, {"dtype"}),
        (SingleValue, {"value"}),
        (Squares, {"extremes"}),
        (Unknown, {"declaration"}),
        (Missing, {"gradient", "prox, one step", "prox, a step for each weight"}),
        (Kinked, {"prox, one step", "prox, a step for each weight"}),
    ],
    ids=lambda value: value.__name__ if isinstance(value, type) else "",
)
def test_each_fault_is_found_by_its_rule(penalty, rules):
    found = broken(penalty())
    assert found >= rules
    if penalty in (WrongFactor, Undeclared, Double, Squares, Unknown):
        # A fault breaks no rule that says nothing of it.
        assert not found & {"value", "prox, one step"}


def test_the_table_tells_of_each_rule_how_well_it_is_kept():
    findings = [
        Finding(False, "against finite differences", 0.5, 1e-6, "gradient"),
        Finding(True, "a scalar", rule="value"),
    ]
    assert table(findings).splitlines() == [
        "FAIL  gradient  5.0e-01 (limit 1e-06)    against finite differences",
        "ok    value                              a scalar",
    ]
