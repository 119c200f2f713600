"""The premise of every verdict: networks that beat the best single class, and a design that can decide."""

import numpy as np
import pytest
import synthetic
from measured import make_scores
from sklearn.metrics import jaccard_score

from softreg.paper.questions import answers, gain, premise
from softreg.paper.questions.answer import FEWEST_SEEDS, WORDS, Judgement, judge
from softreg.paper.report import metrics
from softreg.paper.scores import Counts, Scores
from softreg.paper.tables import _doubts, caption, main_frame
from softreg.scoring import metrics as measures
from softreg.scoring.gather import gather

NOT_LEARNT = "not answered: predicts one class"
DEAD = "3e-4"
"""The λ at which nine in ten pixels are wrong, where the best single class has one in three right."""


@pytest.fixture(scope="module")
def scores(tmp_path_factory):
    """Two models; of each l1 has learnt, and `dead` has not."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setitem(synthetic.ERROR, DEAD, 0.9)
        return make_scores(
            tmp_path_factory.mktemp("premise"),
            models={"convnet": {}, "other": {"kind": "convnet"}},
            penalties={"none": {}, "l1": {"lambda": [1e-4]}, "dead": {"kind": "elastic_net", "lambda": [float(DEAD)]}},
            seeds={"tuning": [0, 1], "evaluation": [*range(100, 106)]},
        )


def test_the_best_single_class_is_that_of_a_search_over_all():
    random = np.random.default_rng(0)
    # Class 3 never occurs, and would only lower the mean.
    truth = random.choice([0, 1, 2], p=[0.2, 0.5, 0.3], size=(5, 400))
    true = np.stack([(truth == c).sum(1) for c in range(4)], axis=1)[None]
    hits = random.binomial(true, 0.5)
    table = np.stack([hits, true * 0, true - hits])
    best, found = premise.constant_counts(Counts((0,), tuple("abcde"), np.full(5, -1), table))
    scores = [
        jaccard_score(truth.ravel(), np.full(truth.size, c), average="macro", labels=np.unique(truth), zero_division=0)
        for c in range(3)
    ]
    assert best == int(np.argmax(scores))
    assert measures.miou(*found.table)[0] == pytest.approx(max(scores))


def test_an_entry_that_does_not_beat_one_class_is_told(scores):
    frame = premise.table(scores).set_index(["model", "penalty"])
    assert frame["learnt"].to_dict() == {
        (model, name): name != "dead" for model in ("convnet", "other") for name in ("none", "l1", "dead")
    }
    assert frame["constant"].to_numpy() == pytest.approx(100 / 3 / 3)
    assert (frame["high"] - frame["gain"]).to_numpy() == pytest.approx((frame["gain"] - frame["low"]).to_numpy())
    assert premise.on_validation(scores) == {"brain": pytest.approx(100 / 3 / 3)}


def test_what_has_not_learnt_gets_no_verdict_rank_or_place(scores):
    words = {(v.model, v.subject): v.word for v in gain.answer(scores).verdicts}
    for model in ("convnet", "other"):
        assert words[model, "dead against none"] == NOT_LEARNT
        assert words[model, "l1 against none"] == "supported"
    calibration = {v.subject: v.word for answer in answers(scores) if answer.key == "H7" for v in answer.verdicts}
    assert calibration["ECE with dead"] == calibration["dead, corruptions"] == NOT_LEARNT
    assert NOT_LEARNT not in (calibration["ECE with l1"], calibration["l1, corruptions"])
    pooled = gain.pooled(scores)
    assert set(pooled["penalty"]) == {"none", "l1"}
    frame = main_frame(scores).set_index(["model", "penalty"])
    assert np.isnan(frame.loc[("convnet", "dead"), "first_share"])


def test_one_class_is_the_last_row_of_its_data_set_and_model(scores):
    frame = main_frame(scores)
    assert frame["penalty"].tolist() == 2 * ["none", "l1", "dead", "one class"]
    row = frame.iloc[3]
    assert row["test_miou_points"] == pytest.approx(100 / 3 / 3)
    assert (row["seeds"], row["finished"], row["expected"]) == (0, 0, 0)
    assert "2 entries are not above that" in _doubts(frame)
    found = metrics(scores, frame, answers(scores))
    assert found["datasets"]["brain"]["convnet"]["one class"]["test_miou_points"] == pytest.approx(100 / 3 / 3)
    assert found["verdicts"]["H1"] == {"supported": 3, "not answerable": 1, NOT_LEARNT: 3}


@pytest.mark.parametrize("word", ["supported", "contradicted", "equivalent", "undecided"])
@pytest.mark.parametrize("seeds", [0, 1, 4])
def test_few_seeds_have_no_verdict(word, seeds):
    found = judge(word, seeds, 0.1, 0.5, unit="tuning seed")
    assert found.word == "not answerable"
    assert found.why.endswith(f"{seeds or 'no'} tuning seed{'' if seeds == 1 else 's'}, where a verdict needs 5.")


@pytest.mark.parametrize(
    ("word", "half", "rope", "expected"),
    [
        ("undecided", 0.49, 0.5, "undecided"),
        ("undecided", 0.5, 0.5, "not answerable"),
        ("undecided", 0.7, 0.0, "undecided"),  # no region declared: nothing to be too wide for
        ("undecided", float("nan"), 0.5, "undecided"),
        ("supported", 0.7, 0.5, "supported"),  # large enough to show all the same
        ("contradicted", 0.7, 0.5, "contradicted"),
    ],
)
def test_an_interval_that_cannot_lie_within_the_region_answers_nothing(word, half, rope, expected):
    assert judge(word, FEWEST_SEEDS, half, rope).word == expected
    assert judge(word, FEWEST_SEEDS, half, rope, unlearnt=Judgement(NOT_LEARNT, "It has not.")).word == NOT_LEARNT
    assert expected in WORDS


@pytest.fixture(scope="module")
def grey(tmp_path_factory):
    """Grey stripes: a table of grey levels has all pixels right, and the networks one in five wrong."""
    root = tmp_path_factory.mktemp("grey")
    seeds = {"tuning": [0, 1], "evaluation": [*range(100, 106)]}
    study = synthetic.make_study(root, penalties={"none": {}, "l1": {"lambda": [1e-4]}}, seeds=seeds)
    synthetic.make_results(study, root)
    for file in (root / "data").rglob("images.npy"):
        levels = np.load(file.with_name("masks.npy"))[..., None]
        np.save(file, np.repeat(levels, 3, axis=3))
    return Scores(gather(study, root / "results", root / "data"))


def test_networks_on_grey_images_have_to_beat_a_table_of_grey_levels(grey):
    row = premise.table(grey).set_index("penalty").loc["l1"]
    assert row["rival"] == "grey levels"
    assert row["constant"] < row["miou"] < row["lookup"]
    assert not row["learnt"]
    main = main_frame(grey).set_index("penalty")
    assert list(main.index) == ["none", "l1", "one class", "grey levels"]
    assert main["test_miou_points"]["grey levels"] == pytest.approx(row["lookup"])
    assert "Grey levels: giving each grey level" in caption(grey, main_frame(grey))
    verdict = gain.answer(grey).verdicts[0]
    assert verdict.word == "not answered: as grey levels alone"
    assert f"is not above the {row['lookup']:.2f} of a table from grey level to class" in verdict.sentence
