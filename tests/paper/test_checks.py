"""Checks of a study: shown in the diagnosis with the difference that scipy finds, and nowhere in the comparisons."""

import pyarrow.compute as pc
import pytest
import synthetic
from measured import make_scores
from scipy.stats import ttest_1samp

from softreg.errors import UserError
from softreg.files import write_json
from softreg.paper import checks
from softreg.paper.report import write_report
from softreg.paper.scores import Scores
from softreg.paper.tables import write_tables
from softreg.scoring import records
from softreg.study import roles
from softreg.study.keys import group_spec
from softreg.study.lambdas import trials_of

SEEDS = {"tuning": [0, 1, 2], "evaluation": [100, 101, 102, 103, 104, 105]}
ENTRIES = {
    "none": {},
    "l1": {"lambda": [1e-5, 1e-4, 1e-3]},
    "placebo": {"kind": "l1", "lambda": [1e-12], "check": True},
    "longer": {"kind": "none", "training": {"epochs": 20}, "check": True},
}


@pytest.fixture(scope="module")
def scores(tmp_path_factory):
    with pytest.MonkeyPatch.context() as patch:
        # As λ → 0 a penalty does nothing.
        patch.setitem(synthetic.ERROR, "1e-12", synthetic.ERROR["0"])
        return make_scores(tmp_path_factory.mktemp("checks"), penalties=ENTRIES, seeds=SEEDS)


def test_a_check_is_held_against_its_reference(scores):
    table = checks.table(scores).set_index("penalty")
    assert list(table.index) == ["placebo", "longer"]
    assert list(table["what"]) == ["l1 at λ = 1e-12", "none, 20 epochs"]
    every = Scores(scores.folder, checks=True).final_test.pivot(index="seed", columns="penalty", values="miou")
    for name in table.index:
        expected = 100 * (every[name] - every["none"]).mean()
        assert table["difference"][name] == pytest.approx(expected)
        assert table["low"][name] < expected < table["high"][name]
    assert list(table["seeds"]) == [6, 6]


def test_no_comparison_has_a_check(scores, tmp_path):
    write_tables(scores, tmp_path)
    for file in (tmp_path / "tables").glob("*.csv"):
        text = file.read_text(encoding="utf-8")
        assert ("placebo" in text, "longer" in text) == ((True, True) if file.name == "checks.csv" else (False, False))
    assert [group[2] for group in scores.groups] == ["none", "l1"]


@pytest.mark.slow
def test_the_report_shows_checks_in_its_diagnosis(scores, tmp_path):
    write_json(tmp_path / "figures" / "figures.json", [])
    write_report(scores, tmp_path)
    page = (tmp_path / "report.html").read_text(encoding="utf-8")
    told = page.partition('id="diagnosis"')[2].partition("</section>")[0]
    row = checks.table(scores).set_index("penalty").loc["placebo"]
    assert f"placebo (l1 at λ = 1e-12): {row['difference']:+.2f} [".replace("-", "−").replace("1e−12", "1e-12") in told
    assert page.count("placebo (l1") == 1


@pytest.mark.parametrize(
    ("difference", "spread", "entry", "said"),
    [
        (0.1, 0.1, {}, "as none, within ±0.5 points"),
        (2.0, 0.1, {}, "differs from none"),
        (0.1, 5.0, {}, "undecided"),
        (2.0, 0.1, {"epochs": 20}, "better: trainings had not converged"),
        (-2.0, 0.1, {"epochs": 20}, "worse"),
    ],
)
def test_a_difference_in_words(difference, spread, entry, said):
    found = checks.over_seeds([difference + spread * each for each in (-2, -1, 0, 1, 2)])
    assert said in checks.in_words(found, {"training": entry}, "none", 0.5)


def test_few_seeds_tell_nothing():
    assert "4 seeds" in checks.in_words(checks.over_seeds([0.0, 0.1, 0.0, 0.1]), {"training": {}}, "none", 0.5)


def test_the_weakest_strength_is_held_against_no_penalty_on_validation(scores):
    row = checks.weakest(scores).set_index("penalty").loc["l1"]
    wide = scores.sweep_seeds.pivot(index="seed", columns=["penalty", "lambda"], values="miou")
    differences = 100 * (wide["l1", "1e-5"] - wide["none", "0"])
    interval = ttest_1samp(differences, 0).confidence_interval()
    assert row["lambda"] == "1e-5"
    assert row["difference"] == pytest.approx(differences.mean())
    assert (row["low"], row["high"]) == pytest.approx((interval.low, interval.high))


def placebo(**changes):
    return {"placebo": ENTRIES["placebo"] | changes}


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({"l1": {"training": {"epochs": 20}}}, "penalties.l1.training.epochs: entries that are compared"),
        (placebo(**{"lambda": [1e-12, 1e-11]}), "is a check and has 2 λ; give it one"),
        (placebo(training={"lr": 0.5}), "no entry of kind none has the same training"),
        (placebo(**{"lambda": [1e-3]}), "its λ is 1e-3; give one that does nothing, at most 1e-9"),
        (placebo(training={"epochs": 20}), "penalties.placebo.training.epochs: a placebo trains as long as the others"),
        (
            {"longer": {"kind": "none", "training": {"epochs": 10}, "check": True}},
            "penalties.longer.training.epochs is 10, and model convnet trains 10; give more, such as 20",
        ),
    ],
)
def test_what_cannot_be_a_check_is_refused(tmp_path, changes, said):
    with pytest.raises(UserError, match=said):
        synthetic.make_study(tmp_path, penalties=ENTRIES | changes)


def test_a_placebo_chooses_its_rate_as_none_does(tmp_path):
    rates = {"training": {"lr": [0.05, 0.1]}}
    study = synthetic.make_study(tmp_path, penalties={"none": rates, **placebo(**rates)})
    assert roles.reference_of(study.penalties, "placebo") == "none"
    assert len(trials_of(study.penalties["placebo"])) == 2


def test_an_entry_that_becomes_a_check_keeps_its_networks(tmp_path):
    entry, group = {"kind": "l1", "lambda": [1e-12]}, ("brain", "convnet", "placebo")
    given = [{"none": {}, "placebo": each} for each in (entry, entry | {"check": True})]
    before, after = (group_spec(synthetic.make_study(tmp_path, penalties=each), group) for each in given)
    assert before == after


def test_of_networks_that_have_learnt_nothing_a_check_tells_nothing(tmp_path, monkeypatch):
    # Nine in ten pixels are wrong, where the best single class has one in three right.
    monkeypatch.setattr(synthetic, "ERROR", dict.fromkeys(["0", "1e-5", "1e-4", "1e-3", "1e-12"], 0.9))
    scores = make_scores(tmp_path, penalties=ENTRIES, seeds=SEEDS)
    assert set(checks.table(scores)["told"]) == {"not answered: predicts one class"}
    assert checks.weakest(scores).empty


def test_a_tuning_seed_that_lacks_a_fold_is_not_compared(tmp_path):
    kfold = {"scorer": "kfold", "folds": 3}
    scores = make_scores(tmp_path, penalties={"none": {}, "l1": ENTRIES["l1"]}, seeds=SEEDS, selection=kfold)
    assert checks.weakest(scores)["seeds"].tolist() == [3]
    table = records.read([scores.folder / "sums.parquet"], schema=records.SUMS)
    lost = pc.and_(pc.equal(table["seed"], 1), pc.and_(pc.equal(table["fold"], 2), pc.equal(table["lambda"], "1e-5")))
    records.write(table.filter(pc.invert(lost)), scores.folder / "sums.parquet", records.SUMS)
    assert checks.weakest(Scores(scores.folder))["seeds"].tolist() == [2]
