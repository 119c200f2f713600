from dataclasses import replace
from itertools import combinations

import numpy as np
import pandas as pd
import pyarrow.compute as pc
import pytest
from measured import make_scores
from scipy.stats import ttest_1samp

from softreg.paper import stats
from softreg.paper.questions import regret
from softreg.paper.scores import Scores
from softreg.scoring import records, select


def gathered(root, statuses=None, **changes):
    return make_scores(root, statuses, images=3, **changes)


def sweep_of(lambdas=5, seeds=4, folds=1, seed=0):
    random = np.random.default_rng(seed)
    val, test = random.normal(60, 2, (lambdas, seeds, folds)), random.normal(60, 2, (lambdas, seeds))
    names = tuple(f"1e-{lambdas - place}" for place in range(lambdas))
    return regret.Sweep(names, tuple(range(seeds)), val, val.mean(2), test)


def found_of(sweep, held_out):
    return {(name, step): (budget, value) for name, step, budget, value in regret.regret_of(sweep, held_out)}


def test_regret_on_the_grid_is_that_of_brute_force():
    sweep = sweep_of()
    found = found_of(sweep, held_out=1)
    others = [0, 2, 3]
    best = sweep.test[np.argmax(sweep.test[:, others].mean(1)), 1]
    for m in (1, 2, 3):
        chosen = [np.argmax(sweep.val[:, list(part)].mean(1)) for part in combinations(others, m)]
        expected = np.mean([best - sweep.test[place, 1] for place in chosen])
        assert found[regret.GRID, m] == (5 * m, pytest.approx(expected))


def test_random_search_is_the_mean_over_all_draws_of_the_grid():
    sweep = sweep_of()
    found = found_of(sweep, held_out=0)
    best = sweep.test[np.argmax(sweep.test[:, 1:].mean(1)), 0]
    for k in range(1, 6):
        for name, subsets in ((regret.RANDOM_ONE, [[1], [2], [3]]), (regret.RANDOM_ALL, [[1, 2, 3]])):
            losses = [
                best - sweep.test[max(draw, key=lambda place: sweep.val[place, subset].mean()), 0]
                for subset in subsets
                for draw in combinations(range(5), k)
            ]
            assert found[name, k] == (k * len(subsets[0]), pytest.approx(np.mean(losses)))
    assert found[regret.RANDOM_ONE, 5] == found[regret.GRID, 1]


def test_one_se_chooses_as_the_selection_does():
    sweep = sweep_of(seed=3)
    best = sweep.test[np.argmax(sweep.test[:, 1:].mean(1)), 0]
    losses = []
    for part in combinations([1, 2, 3], 2):
        scores = sweep.val[:, list(part)]
        curves = pd.DataFrame({"lambda": sweep.lambdas, "val_miou": scores.mean(1), "seeds": 2})
        rows = [(x, s, -1, v) for x, each in zip(sweep.lambdas, scores, strict=True) for s, v in enumerate(each)]
        cells = pd.DataFrame(rows, columns=["lambda", "seed", "fold", "miou"])
        chosen = select.choose(curves, cells, "one_se")["lambda"]
        losses.append(best - sweep.test[sweep.lambdas.index(chosen), 0])
    assert found_of(sweep, 0)[regret.ONE_SE, 2] == (10, pytest.approx(np.mean(losses)))
    assert (regret.ONE_SE, 1) not in found_of(sweep, 0)  # one seed has no standard error


def test_equal_scores_give_the_strongest():
    assert regret._ranked(np.array([[1.0], [2.0], [2.0], [0.0]])).tolist() == [2, 1, 0, 3]


def test_the_oracle_gap_is_the_regret_of_a_choice_by_all_seeds_but_one():
    sweep = sweep_of(seed=5)
    for rule, strategy in (("best", regret.GRID), ("one_se", regret.ONE_SE)):
        losses = [found_of(sweep, held_out)[strategy, 3][1] for held_out in range(4)]
        chosen = [regret.selected(sweep, held_out, rule) for held_out in range(4)]
        assert np.mean(losses) == pytest.approx(stats.oracle_gap(sweep.test, chosen).mean)


def test_many_seeds_are_drawn_the_same_each_time():
    others = list(range(20))
    first = regret._subsets(others, 10)
    assert len(first) == regret.SUBSETS
    assert first == regret._subsets(others, 10)
    assert all(len(set(part)) == 10 for part in first)
    assert len(regret._subsets(others, 1)) == 20


def test_folds_cost_networks_and_hold_out_takes_one_of_them():
    sweep = sweep_of(folds=3, seeds=3)
    found = found_of(sweep, held_out=2)
    assert found[regret.KFOLD, 1][0] == 15
    assert found[regret.GRID, 1][0] == 5
    best = sweep.test[np.argmax(sweep.test[:, :2].mean(1)), 2]
    by_fold = [best - sweep.test[np.argmax(sweep.folds[:, s, f]), 2] for s in (0, 1) for f in range(3)]
    assert found[regret.GRID, 1][1] == pytest.approx(np.mean(by_fold))
    together = [best - sweep.test[np.argmax(sweep.val[:, s]), 2] for s in (0, 1)]
    assert found[regret.KFOLD, 1][1] == pytest.approx(np.mean(together))


def test_the_answer_of_a_study_with_hold_out(tmp_path):
    scores = gathered(tmp_path, seeds={"tuning": [0, 1, 2, 3, 4], "evaluation": [100]})
    answer = regret.answer(scores)
    # The synthetic validation and test agree on 1e-4, by far: where nothing is ever lost there is no interval.
    words = {(v.subject, v.word) for v in answer.verdicts}
    assert words == {
        ("hold-out, whole grid, 3 networks", "undecided"),
        ("hold-out, whole grid, 12 networks", "undecided"),
        ("one-SE rule, whole grid, 6 networks", "undecided"),
        ("one-SE rule, whole grid, 12 networks", "undecided"),
        ("random search, one seed, 1 network", "contradicted"),
        ("one-SE rule, whole grid above hold-out, whole grid", "undecided"),
    }
    assert "No difference is decided" not in answer.summary
    assert "one-SE rule, whole grid above hold-out, whole grid: undecided in 1." in answer.summary
    assert answer.summary.endswith(regret.NO_FOLDS)
    test = scores.sums.query("phase == 'sweep' and split == 'test' and penalty == 'l1'")
    means = 100 * test.pivot(index="lambda", columns="seed", values="miou")
    numbers = answer.numbers.set_index(["strategy", "step", "penalty"])
    loss = (means.loc["1e-4"] - means.mean()).mean()  # one λ at random
    assert numbers.loc[(regret.RANDOM_ONE, 1, "l1"), "mean"] == pytest.approx(loss)
    both = [numbers.loc[(regret.RANDOM_ONE, 1, name), "mean"] for name in ("l1", "l2")]
    assert numbers.loc[(regret.RANDOM_ONE, 1, ""), "mean"] == pytest.approx(np.mean(both))
    gap = answer.numbers.query("strategy == @regret.AT_CHOSEN")
    assert gap["penalty"].tolist() == ["l1", "l2"]
    assert gap["mean"].tolist() == [0, 0]
    assert gap[["low", "high"]].isna().all(axis=None)


def test_the_answer_of_a_study_with_folds(tmp_path):
    scores = gathered(tmp_path, selection={"scorer": "kfold", "folds": 2})
    answer = regret.answer(scores)
    kfold = answer.numbers.query("strategy == @regret.KFOLD and penalty == 'l1'")
    assert kfold["budget"].tolist() == [6]  # 3 λ × 2 folds × 1 seed
    assert regret.NO_FOLDS not in answer.summary
    sweep = regret.sweeps(scores)["brain", "convnet", "l1"]
    tested = scores.sums.query("phase == 'sweep' and split == 'test' and penalty == 'l1' and seed == 1")
    assert sweep.test[:, 1] == pytest.approx(100 * tested.groupby("lambda")["miou"].mean()[list(sweep.lambdas)])
    assert sweep.folds.shape == (3, 2, 2)
    val = scores.sweep_seeds.query("penalty == 'l1' and seed == 1").set_index("lambda")["miou"]
    assert sweep.val[:, 1] == pytest.approx(100 * val[list(sweep.lambdas)])


def test_a_strength_that_diverged_at_one_seed_is_no_candidate(tmp_path):
    scores = gathered(tmp_path, statuses={("l1", "1e-3", 0): "diverged"})
    found = regret.sweeps(scores)
    assert found["brain", "convnet", "l1"].lambdas == ("1e-5", "1e-4")
    assert found["brain", "convnet", "l2"].lambdas == ("1e-5", "1e-4", "1e-3")


@pytest.mark.parametrize(
    ("changes", "reason"),
    [
        ({"seeds": {"tuning": [0], "evaluation": [100]}}, regret.FEW_SEEDS),
        ({"penalties": {"none": {}, "l2": {"lambda": [1e-4]}}}, regret.ONE_LAMBDA),
    ],
)
def test_what_is_missing_is_told(tmp_path, changes, reason):
    answer = regret.answer(gathered(tmp_path, **changes))
    assert answer.absent == reason
    assert answer.numbers.empty


def test_a_sweep_that_was_not_scored_on_test_is_told(tmp_path):
    file = gathered(tmp_path).folder / "sums.parquet"
    table = records.read([file], schema=records.SUMS)
    records.write(table.filter((pc.field("phase") == "final") | (pc.field("split") == "val")), file, records.SUMS)
    assert regret.answer(Scores(file.parent)).absent == f"{regret.NO_TEST}finish the study's sweep."


@pytest.mark.parametrize(
    ("low", "high", "word"),
    [
        (-1, 0.4, "supported"),
        (0.6, 2, "contradicted"),
        (0.4, 2, "undecided"),
        (np.nan, np.nan, "undecided"),
    ],
)
def test_a_loss_is_judged_by_the_ends_of_its_interval(low, high, word):
    assert regret.word_of_loss(low, high, 0.5) == word


@pytest.mark.slow
def test_over_all_the_unit_is_the_data_set(tmp_path):
    shapes = {"kind": "shapes", "size": [24, 32], "classes": 3}
    datasets = {f"d{seed}": {**shapes, "seed": seed} for seed in range(3)}
    scores = gathered(tmp_path, datasets=datasets)
    found = regret.regrets(regret.sweeps(scores))
    found["regret"] += found["dataset"].map({"d0": 0.0, "d1": 1.0, "d2": 5.0})
    table = regret.means(scores, found)
    row = table[(table["dataset"] == regret.ALL[0]) & (table["strategy"] == regret.GRID)].iloc[0]
    each = (
        found[(found["strategy"] == regret.GRID) & (found["step"] == row["step"])].groupby("dataset")["regret"].mean()
    )
    interval = ttest_1samp(each, 0).confidence_interval(0.95)
    assert (row["mean"], row["low"], row["high"]) == pytest.approx((each.mean(), interval.low, interval.high))
    assert (row["datasets"], row["penalties"]) == (3, 6)
    verdicts = [verdict for verdict in regret.answer(scores).verdicts if verdict.dataset == regret.ALL[0]]
    assert {verdict.word for verdict in verdicts} == {"not answerable"}
    assert all("a verdict needs 5 of them" in verdict.sentence for verdict in verdicts)


def test_few_seeds_decide_nothing(tmp_path):
    answer = regret.answer(gathered(tmp_path, seeds={"tuning": [0, 1, 2], "evaluation": [100]}))
    assert {verdict.word for verdict in answer.verdicts} == {"not answerable"}
    assert "No difference is decided: that needs 5 tuning seeds or more, and there are 3." in answer.summary


def test_controls_have_no_lambda_to_choose(tmp_path):
    grid = [1e-5, 1e-4]
    penalties = {
        "none": {},
        "l1": {"lambda": grid},
        "pruning": {"lambda": [0.5, 0.9]},
        "dropout": {"lambda": [0.1, 0.2]},
    }
    assert {penalty for _, _, penalty in regret.sweeps(gathered(tmp_path, penalties=penalties))} == {"l1"}


def test_one_penalty_has_the_variance_of_values_with_a_correlation_of_a_twelfth():
    values = np.array([[0.1], [0.5], [-0.2], [0.3]])
    estimate = regret.over_held_out(values)
    assert estimate.se == pytest.approx(values.std(ddof=1) * np.sqrt(1 / 4 + 1 / 11))
    assert (estimate.df, estimate.seeds) == (3, 4)
    assert np.isnan(regret.over_held_out(np.zeros((4, 1))).interval().low)
    assert np.isnan(regret.over_held_out(np.full((4, 3), 0.2)).interval().low)


@pytest.mark.slow
def test_what_differs_by_rounding_alone_has_no_interval():
    sweep = sweep_of(lambdas=6, seeds=10, folds=5, seed=1)
    for scores in (sweep.folds, sweep.val, sweep.test):
        scores[2] += 100  # chosen by every way, at every seed
    losses = [found_of(sweep, held_out) for held_out in range(10)]
    ways = [key for key in losses[0] if key[0] in (regret.GRID, regret.ONE_SE, regret.KFOLD)]
    values = np.array([[each[way][1] for way in ways] for each in losses])
    assert (values != 0).any()
    assert np.abs(values).max() < 1e-9
    assert all(np.isnan(regret.over_held_out(values[:, [place]]).se) for place in range(len(ways)))
    assert np.isnan(regret.over_held_out(values).se)


def test_one_penalty_is_told_as_one(tmp_path):
    changes = {"penalties": {"none": {}, "l1": {"lambda": [1e-5, 1e-4, 1e-3]}}}
    answer = regret.answer(gathered(tmp_path, seeds={"tuning": [0, 1, 2], "evaluation": [100]}, **changes))
    assert "one-SE rule, whole grid above hold-out, whole grid" in {verdict.subject for verdict in answer.verdicts}
    assert not [verdict.sentence for verdict in answer.verdicts if "penalties" in verdict.sentence]


def test_a_budget_that_differs_between_penalties_is_told_as_a_mean(tmp_path):
    penalties = {"none": {}, "l1": {"lambda": [1e-5, 1e-4, 1e-3]}, "l2": {"lambda": [1e-5, 1e-4]}}
    subjects = {verdict.subject for verdict in regret.answer(gathered(tmp_path, penalties=penalties)).verdicts}
    assert subjects == {"hold-out, whole grid, a mean of 2.5 networks", "random search, one seed, 1 network"}


def test_penalties_that_share_no_seed_have_no_common_mean(tmp_path):
    scores = gathered(tmp_path)
    sweep = sweep_of(seeds=2)
    later = replace(sweep, seeds=(2, 3))
    found = regret.regrets({("brain", "convnet", "l1"): sweep, ("brain", "convnet", "l2"): later})
    assert set(regret.means(scores, found)["penalty"]) == {"l1", "l2"}
    assert regret.comparisons(found).empty


def test_ways_are_compared_at_the_largest_budget_that_both_can_spend():
    sweep = sweep_of(lambdas=6, seeds=4)
    found = regret.regrets({("brain", "convnet", "l1"): sweep})
    compared = regret.comparisons(found).set_index(["strategy", "against"])
    losses = [found_of(sweep, held_out) for held_out in range(4)]
    for pair, steps, budget in (
        ((regret.ONE_SE, regret.GRID), (3, 3), 18),
        ((regret.RANDOM_ALL, regret.GRID), (4, 2), 12),  # 4 λ × 3 seeds against 6 λ × 2 seeds
        ((regret.RANDOM_ALL, regret.RANDOM_ONE), (1, 3), 3),
    ):
        first, second = zip(pair, steps, strict=True)
        saved = [each[second][1] - each[first][1] for each in losses]
        assert {each[side][0] for each in losses for side in (first, second)} == {budget}
        assert compared.loc[pair, "budget"] == budget
        assert compared.loc[pair, "mean"] == pytest.approx(np.mean(saved))
    assert (regret.KFOLD, regret.GRID) not in compared.index


def test_folds_are_compared_with_as_many_networks_of_more_seeds():
    sweep = sweep_of(lambdas=5, seeds=5, folds=2)
    found = regret.regrets({("brain", "convnet", "l1"): sweep})
    compared = regret.comparisons(found).set_index(["strategy", "against"])
    losses = [found_of(sweep, held_out) for held_out in range(5)]
    saved = [each[regret.GRID, 4][1] - each[regret.KFOLD, 2][1] for each in losses]
    assert compared.loc[(regret.KFOLD, regret.GRID), "budget"] == 20  # 5 λ × 2 folds × 2 seeds
    assert compared.loc[(regret.KFOLD, regret.GRID), "mean"] == pytest.approx(np.mean(saved))
