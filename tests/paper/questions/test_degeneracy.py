import numpy as np
import pandas as pd
import pytest
import synthetic
from measured import untrained
from scipy.stats import ttest_1samp

from softreg.files import seal, sealed
from softreg.paper.questions import degeneracy
from softreg.paper.scores import Scores
from softreg.paper.stats import over_seeds
from softreg.scoring.gather import gather

PENALTIES = {
    "none": {},
    "l1": {"lambda": [1e-5, 1e-4]},
    "soft": {"lambda": [1e-5, 1e-4]},
    "l1-encoder": {"kind": "l1", "lambda": [1e-5], "weights": "encoder"},
    "half": {"kind": "elastic_net", "alpha": 0.5, "lambda": [2e-5]},
    "l2": {"lambda": [1e-3]},
    "huber": {"kind": "smooth_l1", "beta": 0.03, "lambda": [3e-5, 1e-4]},
}


def gathered(root, edit=lambda facts: None, **changes):
    """``edit`` changes the facts of each cell of the sweep."""
    study = synthetic.make_study(root, **{"penalties": PENALTIES} | changes)
    synthetic.make_results(study, root)
    for file in (root / "results" / "tiny" / "sweep").glob("**/cell.json"):
        facts = sealed(file)
        edit(facts)
        seal(file, facts, [])
    synthetic.sign(study, root / "results" / "tiny")
    return Scores(gather(study, root / "results", root / "data"))


def own_bits(facts):
    """Networks of their own, but soft and the elastic net the same; smooth L1 quadratic at ‖w‖ = 1.5."""
    name = "soft" if facts["penalty"] == "half" else facts["penalty"]
    strength = {"2e-5": "1e-5"}.get(facts["lambda"], facts["lambda"])
    facts["weights_sha256"] = f"{name}{strength}{facts['seed']}"
    if facts["penalty"] == "huber":
        facts["penalty_value"] = float(facts["lambda"]) * 1.5**2 / (2 * 0.03)


@pytest.fixture(scope="module")
def scores(tmp_path_factory):
    return gathered(tmp_path_factory.mktemp("own"), own_bits, seeds={"tuning": [*range(5)], "evaluation": [100]})


def test_matches_are_of_the_same_strength_and_the_same_weights(scores):
    found = degeneracy.matches(scores.study["penalties"])
    assert found[["pair", *degeneracy.SIDES]].to_numpy().tolist() == [
        [degeneracy.SOFT_L1, "soft", "1e-5", "l1", "1e-5"],
        [degeneracy.SOFT_L1, "soft", "1e-4", "l1", "1e-4"],
        [degeneracy.IDENTITY, "soft", "1e-5", "half", "2e-5"],
        [degeneracy.HUBER_L2, "huber", "3e-5", "l2", "1e-3"],  # 3e-5/0.03 is 1e-3; 1e-4/0.03 is no λ of L2's
    ]


def test_numbers_are_paired_by_seed(scores):
    rows = degeneracy.answer(scores).numbers
    miou = scores.sweep_seeds.set_index(["penalty", "lambda", "seed"])["miou"] * 100
    assert len(rows) == 4
    for row in rows.to_dict("records"):
        a, b = (miou[row[f"penalty_{side}"], row[f"lambda_{side}"]] for side in "ab")
        expected = ttest_1samp(a - b, 0)
        assert row["n"] == 5
        assert row["difference"] == pytest.approx((a - b).mean())
        for level, low, high in ((0.95, "low", "high"), (0.9, "low90", "high90")):
            assert (row[low], row[high]) == pytest.approx(tuple(expected.confidence_interval(level)))
        tests = [
            ttest_1samp(a - b, -0.5, alternative="greater").pvalue,
            ttest_1samp(a - b, 0.5, alternative="less").pvalue,
        ]
        assert row["p_equivalence"] == pytest.approx(max(tests))


def test_same_bits_are_told_and_support(scores):
    answer = degeneracy.answer(scores)
    words = {verdict.subject: verdict for verdict in answer.verdicts}
    assert words["soft and half"].word == "supported"
    assert "all 5 pairs of networks have the same weights, bit for bit" in words["soft and half"].sentence
    assert "none of 10 pairs of networks have the same weights" in words["soft and l1"].sentence
    assert "Of soft(λ) and the elastic net (2λ, α ½), all 5 pairs" in answer.summary


def test_a_gross_gap_contradicts(scores):
    words = {verdict.subject: verdict.word for verdict in degeneracy.answer(scores).verdicts}
    # A quarter of the pixels wrong against two in five: synthetic.ERROR of 3e-5 (none) and of 1e-3.
    assert words["huber and l2"] == "contradicted"


@pytest.mark.slow
def test_three_seeds_show_what_is_exact_and_nothing_else(tmp_path):
    few = gathered(tmp_path, own_bits, seeds={"tuning": [0, 1, 2], "evaluation": [100]})
    words = {verdict.subject: verdict.word for verdict in degeneracy.answer(few).verdicts}
    assert words == {
        "soft and l1": "not answerable",
        "soft and half": "supported",
        "huber and l2": "not answerable",
    }
    assert "So few seeds" in degeneracy.answer(few).summary


@pytest.mark.slow
def test_strengths_at_which_networks_predict_one_class_are_left_out(tmp_path, monkeypatch):
    # Nine in ten pixels wrong is less than one class gets right.
    monkeypatch.setitem(synthetic.ERROR, "1e-5", 0.9)
    scores = gathered(tmp_path, own_bits, seeds={"tuning": [*range(5)], "evaluation": [100]})
    found = {verdict.subject: verdict for verdict in degeneracy.answer(scores).verdicts}
    assert "5 tuning seeds at 1 matching strength" in found["soft and l1"].sentence
    assert "5 of 10 pairs are left out, as one of the two predicts one class" in found["soft and l1"].sentence
    assert found["soft and half"].word == "not answered: predicts one class"


@pytest.mark.parametrize(
    ("samples", "word"),
    [
        ([[0.1, 0.0, -0.1], [0.05, 0.0, 0.02]], "supported"),
        ([[0.1, 0.0, -0.1], [3.0, -2.0, 0.5]], "undecided"),
        ([[0.1, 0.0, -0.1], [3.0, 3.01, 2.99]], "contradicted"),
        ([[0.0, 0.0, 0.0]], "supported"),
        ([[0.1]], "undecided"),
    ],
)
def test_one_in_practice_is_equivalence_at_every_strength(samples, word):
    assert degeneracy._word([over_seeds(values) for values in samples], rope=0.5) == word


def test_a_gap_at_one_of_many_strengths_has_to_be_wider():
    gap, near = np.array([1.0, 1.25, 1.5]), np.array([0.0, 0.4, -0.4])
    low = ttest_1samp(gap, 0).confidence_interval(0.95).low
    assert low > 0.5
    assert degeneracy._word([over_seeds(gap)], rope=0.5) == "contradicted"
    assert degeneracy._word([over_seeds(values) for values in (gap, *[near] * 9)], rope=0.5) == "undecided"


def beyond(facts):
    own_bits(facts)
    if facts["penalty"] == "huber":
        facts["penalty_value"] *= 0.9


@pytest.mark.slow
def test_where_weights_exceed_beta_the_claim_is_not_tested(tmp_path):
    scores = gathered(tmp_path, beyond)
    points = degeneracy.points(scores)
    assert points.loc[points["pair"] == degeneracy.HUBER_L2, "beyond"].tolist() == pytest.approx([0.1, 0.1])
    (verdict,) = (each for each in degeneracy.answer(scores).verdicts if each.subject == "huber and l2")
    assert verdict.word == "undecided"
    assert "weights exceed β at every matching strength" in verdict.sentence


@pytest.mark.slow
def test_folds_of_a_seed_count_as_one(tmp_path):
    scores = gathered(tmp_path, own_bits, selection={"scorer": "kfold", "folds": 2})
    points = degeneracy.points(scores)
    assert len(points) == 4 * 2  # pairs × tuning seeds
    assert not points.duplicated(["pair", *degeneracy.SIDES, "seed"]).any()
    assert np.allclose(points["norm"], 0)


def test_what_is_lacking_is_told(tmp_path):
    alone = gathered(tmp_path / "a", penalties={"none": {}, "soft": {"lambda": [1e-4]}})
    assert degeneracy.answer(alone).absent == degeneracy.ABSENT
    nothing = untrained(tmp_path / "b", penalties=PENALTIES)
    assert "finish the study's sweep" in degeneracy.answer(nothing).absent
    assert isinstance(degeneracy.points(nothing), pd.DataFrame)
