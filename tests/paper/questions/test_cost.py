import math
import shutil

import measured
import numpy as np
import pandas as pd
import pytest
from scipy.stats import quantile_test
from statsmodels.regression.linear_model import OLS
from statsmodels.tools import add_constant

from softreg.paper.questions import cost
from softreg.paper.questions.answer import CONTRADICTED, EQUIVALENT, SUPPORTED
from softreg.paper.scores import Scores

MODELS = {name: {"kind": "convnet"} for name in ("tiny", "small", "large")}
SIZES = {"tiny": 10**4, "small": 10**5, "large": 10**7}
RATIOS = {
    "none": lambda size: 1.0,
    "l1": lambda size: 1.1 * size**0.1,
    "l2": lambda size: 1.2,
    "soft": lambda size: 3.0 * size**-0.05,
    "small_dense": lambda size: 0.6,
}
PENALTIES = {
    "none": {},
    "l1": {"lambda": [1e-5, 1e-4]},
    "l2": {"lambda": [1e-4]},
    "soft": {"lambda": [1e-4]},
    "small_dense": {"lambda": [0.5, 0.9]},
}


def speed(row) -> float:
    """Seconds of a step without a penalty: an unpaired comparison of seeds would go wrong by a factor of two."""
    return 0.01 * (1 + row["seed"] % 3) * SIZES[row["model"]] ** 0.5


def cell(row):
    share = 1 - float(row["lambda"]) if row["penalty"] == "small_dense" else 1
    steps = 50 if row["penalty"] == "l1" else 100
    return {"penalised": round(SIZES[row["model"]] * share), "steps": steps}


def timing(row):
    steps = cell(row)["steps"]
    ratio = RATIOS[row["penalty"]](SIZES[row["model"]])
    return {"seconds": speed(row) * steps * ratio, "peak_memory": int(1e9 * math.sqrt(ratio))}


@pytest.fixture(scope="module")
def scores(tmp_path_factory):
    seeds = {"tuning": [0, 1], "evaluation": [100, 101, 102, 103, 104]}
    made = measured.make_scores(tmp_path_factory.mktemp("study"), models=MODELS, penalties=PENALTIES, seeds=seeds)
    return measured.set_timings(measured.set_cells(made, cell), timing)


def at(minutes: float) -> str:
    return (pd.Timestamp("2026-01-01T09:00:00Z") + pd.Timedelta(minutes=minutes)).isoformat()


def in_blocks(row):
    """Ended as a workflow trains that finishes one penalty before it begins the next."""
    return {"time": at(10 * list(PENALTIES).index(row["penalty"]) + row["seed"] % 10)}


def altered(scores, tmp_path, change) -> Scores:
    """A copy of ``scores`` with other timings."""
    return measured.set_timings(Scores(shutil.copytree(scores.folder, tmp_path / "scores")), change)


@pytest.mark.parametrize("n", [6, 7, 10, 25])
def test_the_medians_interval_is_that_of_the_sign_test(n):
    values = np.random.default_rng(n).exponential(size=n)
    found = cost.median_interval([*values, math.nan])
    expected = quantile_test(values, q=0, p=0.5).confidence_interval(0.95)
    assert (found.low, found.high) == (expected.low, expected.high)
    assert found.median == np.median(values)
    assert found.n == n
    assert 0.95 <= found.confidence < 1


@pytest.mark.parametrize(("n", "confidence"), [(2, 0.5), (3, 0.75), (5, 0.9375)])
def test_few_values_have_their_range_and_say_how_little_it_holds(n, confidence):
    found = cost.median_interval(np.arange(n))
    assert (found.low, found.high, found.confidence) == (0, n - 1, confidence)
    assert math.isnan(cost.median_interval([1.0]).low)


def series(minutes):
    return pd.Series([pd.Timestamp(at(minute)) for minute in minutes])


@pytest.mark.parametrize("n", [2, 3, 10])
def test_two_blocks_are_not_in_turn_and_rounds_in_any_order_are(n):
    block = range(n)
    assert not cost.in_turn(series(block), series(range(n, 2 * n)))
    assert not cost.in_turn(series(range(n, 2 * n)), series(block))
    for draw in range(20):
        first = np.random.default_rng([n, draw]).integers(0, 2, n)  # which of the two cells of each round
        rounds = 2 * np.arange(n)
        assert cost.in_turn(series(rounds + first), series(rounds + 1 - first))
    assert cost.in_turn(series(block), series(block))  # two workers, each with one side


def test_blocks_that_are_taken_twice_are_not_in_turn():
    morning, afternoon = [0, 1, 2, 3, 4], [20, 21, 22, 23, 24]
    treated = np.array([*morning, *afternoon])
    assert not cost.in_turn(series(treated), series(treated + 10))


def test_one_pair_and_unknown_times_are_not_in_turn():
    assert not cost.in_turn(series([0]), series([1]))
    unknown = series([1, 3])
    unknown[1] = pd.NaT
    assert not cost.in_turn(series([0, 2]), unknown)


def test_ratios_are_of_seconds_a_step_and_paired_by_seed(scores):
    rows = cost.ratios(scores)
    assert rows.loc[rows["penalty"] == "none", "seconds_ratio"].isna().all()
    compared = rows[~rows["kind"].isin(["none", "small_dense"])]
    assert len(compared) == 9
    for row in compared.to_dict("records"):
        expected = RATIOS[row["penalty"]](row["penalised"])
        assert [row[f"seconds_{name}"] for name in ("ratio", "low", "high")] == pytest.approx([expected] * 3)
        assert row["memory_ratio"] == pytest.approx(math.sqrt(expected), rel=1e-6)
        assert row["seconds_n"] == 5  # evaluation seeds: a path of the sweep is warm for all but its first λ
    none = rows[(rows["penalty"] == "none") & (rows["model"] == "small")]
    # Seeds 100 to 104 take 2, 3, 1, 2 and 3 times the least.
    assert none["seconds"].item() == pytest.approx(2 * 0.01 * 10**2.5)


def test_a_smaller_network_has_a_row_of_its_size_and_no_slope(scores):
    rows = cost.ratios(scores)
    thin = rows[(rows["penalty"] == "small_dense") & (rows["model"] == "large")]
    assert thin["penalised"].tolist() == [1_000_000]
    assert thin["seconds_ratio"].to_numpy() == pytest.approx(0.6)
    assert set(cost.slopes(rows)["penalty"]) == {"l1", "l2", "soft"}


def test_verdicts_follow_the_growth_of_the_ratio(scores):
    answer = cost.answer(scores)
    words = {verdict.subject.replace(" (proximal)", ""): verdict.word for verdict in answer.verdicts}
    assert {name: words[f"{name}, seconds per step"] for name in ("l1", "l2", "soft")} == {
        "l1": SUPPORTED,
        "l2": EQUIVALENT,
        "soft": CONTRADICTED,
    }
    assert words["l1, peak memory"] == SUPPORTED
    assert "by 1.26 (slope +0.100" in answer.verdicts[0].sentence
    assert not answer.absent
    assert "CPU, 2 cores" in answer.summary
    assert "process with its libraries" in answer.summary


def test_slopes_are_least_squares_over_models(scores, tmp_path):
    noise = np.random.default_rng(3)
    noisy = altered(scores, tmp_path, lambda row: {"seconds": row["seconds"] * math.exp(noise.normal(0, 0.2))})
    rows = cost.ratios(noisy)
    found = cost.slopes(rows).set_index(["penalty", "measure"]).loc[("l1", "seconds")]
    mine = rows[rows["penalty"] == "l1"]
    fit = OLS(np.log10(mine["seconds_ratio"]), add_constant(np.log10(mine["penalised"]))).fit()
    assert found["slope"] == pytest.approx(fit.params["penalised"])
    assert [found["low"], found["high"]] == pytest.approx(fit.conf_int(0.05).loc["penalised"].tolist())
    assert [found["low90"], found["high90"]] == pytest.approx(fit.conf_int(0.10).loc["penalised"].tolist())


def test_times_of_blocks_have_no_interval_and_no_slope_but_memory_has(scores, tmp_path):
    answer = cost.answer(altered(scores, tmp_path, in_blocks))
    rows = answer.numbers[~answer.numbers["kind"].isin(["none"])]
    assert rows[["seconds_low", "seconds_high", "seconds_confidence"]].isna().all(axis=None)
    assert rows[["seconds_ratio", "memory_low"]].notna().all(axis=None)
    assert (rows["seconds_n"] == 5).all()
    assert answer.summary.count("No time ratio can be trusted: by their recorded times, cells with a penalty") == 1
    assert "train them in turn, see config/cost.yaml." in answer.summary
    assert "is least with" not in answer.summary
    assert "Peak memory is most with l1, large on brain" in answer.summary
    assert {verdict.subject.split(", ")[1] for verdict in answer.verdicts} == {"peak memory"}
    assert not answer.absent


def test_without_memory_times_of_blocks_leave_no_slope_and_the_answer_says_why(scores, tmp_path):
    answer = cost.answer(altered(scores, tmp_path, lambda row: in_blocks(row) | {"peak_memory": ""}))
    assert not answer.verdicts
    assert answer.absent.startswith("Whether the relative cost grows with the number of weights is not known: by their")
    assert "trained at other times than those without, so that" in answer.absent


@pytest.mark.parametrize("time", ["", "yesterday"])
def test_times_that_are_not_known_are_not_in_turn(scores, tmp_path, time):
    rows = cost.ratios(altered(scores, tmp_path, lambda row: {"time": time}))
    assert rows["seconds_low"].isna().all()
    assert (rows["seconds_n"] == 5).sum() == 12


def test_without_a_column_of_times_nothing_is_in_turn(scores, tmp_path):
    bare = altered(scores, tmp_path, lambda row: {})
    bare.timings.drop(columns="time").to_csv(bare.folder / "timings.csv", index=False)
    assert cost.ratios(Scores(bare.folder))["seconds_low"].isna().all()


def test_the_summary_names_ratios_in_turn_alone(scores, tmp_path):
    answer = cost.answer(altered(scores, tmp_path, lambda row: in_blocks(row) if row["penalty"] == "l1" else {}))
    told = answer.summary.split("Peak memory")[0]
    assert "is least with l2, " in told
    assert "most with soft, tiny on brain: 1.89" in told  # l1's are 2.8 to 5.5
    assert "3 of 9 time ratios have no interval and are left out: by their" in told
    seconds = {verdict.subject for verdict in answer.verdicts if "seconds" in verdict.subject}
    assert seconds == {"l2, seconds per step", "soft, seconds per step"}


@pytest.mark.slow
def test_one_seed_has_no_interval_of_time_and_no_slope_of_it(tmp_path):
    seeds = {"tuning": [0], "evaluation": [100]}
    made = measured.make_scores(tmp_path, models=MODELS, penalties=PENALTIES, seeds=seeds)
    answer = cost.answer(measured.set_timings(measured.set_cells(made, cell), timing))
    assert "No time ratio can be trusted: one evaluation seed has no interval; add seeds." in answer.summary
    assert {verdict.subject.split(", ")[1] for verdict in answer.verdicts} == {"peak memory"}


def test_cells_of_different_devices_are_not_compared(scores, tmp_path):
    moved = altered(
        scores, tmp_path, lambda row: {"device": "H100"} if (row["penalty"], row["seed"]) == ("l1", 100) else {}
    )
    rows = cost.ratios(moved).set_index(["penalty", "model", "penalised"])
    assert rows.loc[("l1", "tiny", 10**4), "seconds_n"] == 4
    assert rows.loc[("l1", "tiny", 10**4), "device"] == "CPU, 2 cores; H100"
    assert rows.loc[("l2", "tiny", 10**4), "seconds_n"] == 5


def test_without_recorded_memory_there_is_no_ratio_of_it(scores, tmp_path):
    bare = altered(scores, tmp_path, lambda row: {"peak_memory": ""})
    answer = cost.answer(bare)
    assert answer.numbers["memory_ratio"].isna().all()
    assert "No peak of memory was recorded." in answer.summary
    assert {verdict.subject.split(", ")[1] for verdict in answer.verdicts} == {"seconds per step"}


def test_with_few_sizes_the_ratios_are_told_and_the_slope_is_absent(tmp_path):
    made = measured.make_scores(tmp_path, penalties={"none": {}, "l1": {"lambda": [1e-4]}})
    slow = measured.set_timings(made, lambda row: {"seconds": 15.0 if row["penalty"] == "l1" else 10.0})
    answer = cost.answer(slow)
    assert "models of at least 3 different sizes, and here the most is 1: add models" in answer.absent
    assert "l1, convnet on brain: 1.5 (1.5 to 1.5, a 75 % interval by the sign test, n = 3 seeds)" in answer.summary
    assert not answer.verdicts
    assert len(answer.numbers) == 2


def test_without_an_unpenalised_entry_nothing_is_compared(tmp_path):
    answer = cost.answer(measured.make_scores(tmp_path, penalties={"l1": {"lambda": [1e-4]}}))
    assert "kind none" in answer.absent
    assert answer.numbers.empty
