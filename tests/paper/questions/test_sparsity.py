import math
from pathlib import Path

import measured
import numpy as np
import pandas as pd
import pyarrow.compute as pc
import pyarrow.parquet as pq
import pytest
import synthetic
from scipy.stats import ttest_rel

from softreg.paper.questions import sparsity
from softreg.paper.questions.answer import CONTRADICTED, NOT_ANSWERABLE, SUPPORTED
from softreg.paper.scores import Scores
from softreg.scoring import records

ZEROS = {"l1": {"1e-5": 0.3, "1e-4": 0.5, "1e-3": 0.95}, "pruning": {"5e-1": 0.5, "9e-1": 0.9}}
PENALTIES = {
    "none": {},
    "l1": {"lambda": [1e-5, 1e-4, 1e-3]},
    "l2": {"lambda": [1e-5, 1e-4]},
    "pruning": {"lambda": [0.5, 0.9]},
    "small_dense": {"lambda": [0.5]},
}
SEEDS = {"tuning": [0, 1, 2, 3, 4], "evaluation": [100]}


def layers(row):
    """A penalised layer of 1,000 weights and one of 200 that no penalty touches; small_dense is half as large."""
    size = 0.5 if row["penalty"] == "small_dense" else 1.0
    zeros = ZEROS.get(row["penalty"], {}).get(row["lambda"], 0.0)
    first = {"layer": "a", "weights": int(1000 * size), "exact_zeros": round(1000 * zeros)}
    second = {"layer": "b", "weights": int(200 * size), "exact_zeros": 0, "penalised": False}
    return [row | first, row | second]


def make(root: Path, penalties=PENALTIES, **changes) -> Scores:
    scores = measured.make_scores(root, penalties=penalties, **({"seeds": SEEDS} | changes))
    return measured.set_layers(scores, layers)


@pytest.fixture(scope="module")
def scores(tmp_path_factory):
    return make(tmp_path_factory.mktemp("study"))


def test_the_front_is_what_no_other_point_dominates():
    rng = np.random.default_rng(0)
    for _ in range(50):
        nonzero, miou = rng.integers(0, 6, 15), rng.integers(0, 6, 15)  # with ties
        expected = [
            not any(
                nonzero[j] <= nonzero[i] and miou[j] >= miou[i] and (nonzero[j], miou[j]) != (nonzero[i], miou[i])
                for j in range(15)
            )
            for i in range(15)
        ]
        assert sparsity.non_dominated(nonzero, miou).tolist() == expected


def test_points_count_the_weights_of_all_layers_against_the_dense_networks(scores):
    points = sparsity.points(scores).set_index(["penalty", "lambda"])
    assert points["nonzero"].to_dict() == {
        ("none", "0"): 1200,
        ("l1", "1e-5"): 900,
        ("l1", "1e-4"): 700,
        ("l1", "1e-3"): 250,
        ("l2", "1e-5"): 1200,
        ("l2", "1e-4"): 1200,
        ("pruning", "5e-1"): 700,
        ("pruning", "9e-1"): 300,
        ("small_dense", "5e-1"): 600,
    }
    assert points["share"].to_numpy() == pytest.approx(points["nonzero"].to_numpy() / 1200)
    sums = scores.sums[(scores.sums["phase"] == "sweep") & (scores.sums["split"] == "test")]
    assert set(sums["seed"]) == set(SEEDS["tuning"])
    for key, row in points.iterrows():
        mine = sums[(sums["penalty"] == key[0]) & (sums["lambda"] == key[1])]["miou"].to_numpy() * 100
        assert row["test_miou"] == pytest.approx(mine.mean())
        assert row["test_se"] == pytest.approx(mine.std(ddof=1) / math.sqrt(5))


def test_the_strength_is_chosen_on_validation_alone(scores):
    points = sparsity.points(scores)
    curves = scores.curves.set_index(["penalty", "lambda"])["val_miou"] * 100
    least = curves["none", "0"] - sparsity.MARGIN
    for name in ("l1", "pruning", "small_dense"):
        part = points[points["penalty"] == name]
        good = [
            (row.nonzero, row.lambda_)
            for row in part.rename(columns={"lambda": "lambda_"}).itertuples()
            if curves[name, row.lambda_] >= least
        ]
        assert part.loc[part["chosen"], "lambda"].tolist() == [min(good)[1]]
    assert points.loc[points["penalty"] == "l1"].set_index("lambda")["chosen"].to_dict() == {
        "1e-5": False,
        "1e-4": True,
        "1e-3": False,  # the sparsest, but 10 points worse
    }


def test_differences_are_paired_by_seed(scores):
    rows = sparsity.comparisons(scores, sparsity.points(scores))
    mine = rows[rows["penalty"] == "l1"].set_index(["versus", "bracket"])
    assert set(mine.index) == {
        ("none", "reference"),
        ("pruning", "below"),
        ("pruning", "above"),
        ("small_dense", "below"),
    }
    sums = scores.sums[(scores.sums["phase"] == "sweep") & (scores.sums["split"] == "test")]
    miou = 100 * sums.set_index(["penalty", "lambda", "seed"])["miou"].sort_index()
    # Of the two strengths of pruning below, equally good, which is the better depends on the seed that is held out.
    for (versus, _), row in mine.drop(("pruning", "below")).iterrows():
        ours, theirs = miou["l1", "1e-4"], miou[versus, row["versus_lambda"]]
        # Each seed's others choose the same strengths here; they share seeds, which widens the interval.
        interval = ttest_rel(ours, theirs).confidence_interval(0.95)
        mean, wider = (ours - theirs).mean(), math.sqrt(1 + 5 / 11)
        assert row["difference"] == pytest.approx(mean)
        ends = [mean + wider * (end - mean) for end in interval]
        assert (row["low"], row["high"]) == pytest.approx(ends)
        assert row["n"] == 5
    assert mine.loc[("pruning", "above"), "versus_nonzero"] == 700


def test_no_seed_reports_on_a_choice_that_it_took_part_in(scores, monkeypatch):
    random = np.random.default_rng(0)
    noisy = sparsity._by_seed(scores)
    # Every strength is equally good, so that which one is best is chance.
    for name in ("val_miou", "miou"):
        noisy[name] = 60 + random.normal(0, 3, len(noisy))
    # The sparsest strength is out, but where seed 0 has no say.
    noisy.loc[(noisy["lambda"] == "1e-3") & (noisy["seed"] == 0), "val_miou"] -= 60
    monkeypatch.setattr(sparsity, "_by_seed", lambda scores: noisy)
    found = sparsity.held_out(scores, sparsity.points(scores)).set_index(["penalty", "versus", "bracket", "seed"])
    table = {name: noisy.pivot(index=["penalty", "lambda"], columns="seed", values=name) for name in noisy.columns[5:]}
    seen = set()
    for seed in SEEDS["tuning"]:
        val, weights = (table[name].drop(columns=seed).mean(axis=1) for name in ("val_miou", "nonzero"))
        least = val["none"].max() - sparsity.MARGIN
        good = [(weights["l1", x], -val["l1", x], x) for x in val["l1"].index if val["l1", x] >= least]
        if not good:
            assert ("l1", "none", "reference", seed) not in found.index
            continue
        chosen = min(good)[2]
        seen.add(chosen)
        gap = table["miou"].loc[("l1", chosen), seed] - table["miou"].loc[("none", "0"), seed]
        assert found.loc[("l1", "none", "reference", seed), "difference"] == pytest.approx(gap)
        below = [x for x in val["pruning"].index if weights["pruning", x] <= weights["l1", chosen]]
        if below:
            other = max(below, key=lambda x: val["pruning", x])
            gap = table["miou"].loc[("l1", chosen), seed] - table["miou"].loc[("pruning", other), seed]
            assert found.loc[("l1", "pruning", "below", seed), "difference"] == pytest.approx(gap)
    assert len(seen) > 1


def words(answer):
    return {verdict.subject: verdict.word for verdict in answer.verdicts}


def test_a_penalty_is_supported_where_it_is_no_worse_than_a_control_with_as_many_weights(tmp_path):
    answer = sparsity.answer(make(tmp_path, {k: v for k, v in PENALTIES.items() if k != "small_dense"}))
    assert words(answer) == {"l1": SUPPORTED, "l2": CONTRADICTED}
    (l1, l2) = answer.verdicts
    assert "keeps 58.3 % of the weights" in l1.sentence
    assert "n = 5 held-out tuning seeds" in l1.sentence
    assert "makes no network sparse" in l2.sentence
    assert "l1 beats pruning" in answer.summary
    assert "l2 beats" not in answer.summary


@pytest.mark.slow
def test_a_penalty_is_contradicted_where_a_control_gives_as_much_with_fewer_weights(tmp_path, monkeypatch):
    monkeypatch.setitem(synthetic.ERROR, "9e-1", 0.1)
    answer = sparsity.answer(make(tmp_path))
    assert words(answer)["l1"] == CONTRADICTED
    assert "So pruning gives as much" in answer.verdicts[0].sentence
    assert "no penalty beats a control" not in answer.summary  # pruning at 5e-1, just above, is still beaten


def test_without_a_control_useful_sparsity_is_not_answerable(tmp_path):
    answer = sparsity.answer(make(tmp_path, {"none": {}, "l1": PENALTIES["l1"]}))
    assert words(answer) == {"l1": NOT_ANSWERABLE}
    assert answer.verdicts[0].sentence.endswith("add pruning or small_dense to the study's penalties.")
    assert "neither pruning nor small_dense" in answer.summary


def test_a_control_that_is_sparser_throughout_asks_for_a_weaker_strength(tmp_path):
    answer = sparsity.answer(
        make(tmp_path, PENALTIES | {"pruning": {"lambda": [0.9]}, "small_dense": {"lambda": [0.5]}})
    )
    # With five seeds of the synthetic networks the interval is wider than the margin too.
    assert words(answer)["l1"] == NOT_ANSWERABLE
    lacking = "No strength of pruning and small_dense leaves as many weights: add one of about 0.42."
    assert lacking in answer.verdicts[0].sentence


def test_one_seed_decides_nothing_about_accuracy(tmp_path):
    answer = sparsity.answer(make(tmp_path, seeds={"tuning": [0], "evaluation": [100]}))
    assert words(answer) == {"l1": NOT_ANSWERABLE, "l2": NOT_ANSWERABLE}
    assert "nothing known, as no seed is left to test the choice" in answer.verdicts[0].sentence
    assert answer.numbers["low"].isna().all()


def test_a_strength_that_lost_a_seed_is_neither_chosen_nor_on_the_front(tmp_path):
    scores = measured.make_scores(tmp_path, {("l1", "1e-4", 1): "diverged"}, penalties=PENALTIES, seeds=SEEDS)
    points = sparsity.points(measured.set_layers(scores, layers))
    l1 = points[points["penalty"] == "l1"].set_index("lambda")
    assert l1["complete"].to_dict() == {"1e-5": True, "1e-4": False, "1e-3": True}
    assert l1["chosen"].to_dict() == {"1e-5": True, "1e-4": False, "1e-3": False}
    assert not l1.loc["1e-4", "front"]


@pytest.mark.parametrize(
    ("penalties", "hint"),
    [({"l1": {"lambda": [1e-4]}}, "kind none"), ({"none": {}, "pruning": {"lambda": [0.5]}}, "such as l1")],
)
def test_what_the_study_lacks_is_told(tmp_path, penalties, hint):
    answer = sparsity.answer(make(tmp_path, penalties))
    assert hint in answer.absent
    assert answer.numbers.equals(pd.DataFrame())
    assert not answer.verdicts


def test_few_seeds_tell_a_difference_and_decide_nothing(tmp_path):
    answer = sparsity.answer(make(tmp_path, seeds={"tuning": [0, 1, 2], "evaluation": [100]}))
    assert words(answer) == {"l1": NOT_ANSWERABLE, "l2": NOT_ANSWERABLE}
    assert "n = 3 held-out tuning seeds)" in answer.verdicts[0].sentence
    assert answer.verdicts[0].sentence.endswith("3 tuning seeds, where a verdict needs 5.")


def test_a_sweep_that_was_not_scored_on_test_is_told(tmp_path):
    scores = make(tmp_path)
    table = pq.read_table(scores.folder / "sums.parquet")
    kept = (pc.field("phase") == "final") | (pc.field("split") == "val")
    records.write(table.filter(kept), scores.folder / "sums.parquet", records.SUMS)
    answer = sparsity.answer(Scores(scores.folder))
    assert answer.absent == "No penalty's sweep has been scored on test yet: finish the study's sweep."


def test_zeros_that_were_set_by_no_mean_gradient_are_told(tmp_path):
    """Of l1 alone: pruning sets zeros by itself, and l2 makes none."""
    scores = make(tmp_path)
    told = "How many weights of l1 are exactly zero depends on the batch size"
    assert "batch size" not in sparsity.answer(scores).summary
    scores = measured.set_cells(scores, lambda row: {"zeroed": None})
    assert told in sparsity.answer(scores).summary
