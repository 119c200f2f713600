"""The sentence that a report begins with, in each state that a study can be in."""

import shutil
from pathlib import Path

import numpy as np
import pandas as pd
import pyarrow as pa
import pytest
from measured import make_scores, untrained

from softreg.paper.questions import gain
from softreg.paper.report import diagnosis, headline
from softreg.paper.scores import Scores
from softreg.paper.tables import main_frame
from softreg.scoring import records
from softreg.scoring.gather import IMAGES

UP, DOWN, SAME, OPEN, NEVER = "supported", "contradicted", "equivalent", "undecided", "not answerable"
ONE_CLASS = "not answered: predicts one class"


def told(made, monkeypatch, *rows, seeds=10):
    """The headline of differences (penalty, model, points, word), each with an interval of ±0.5."""
    frame = pd.DataFrame(rows, columns=["penalty", "model", "difference", "word"])
    ends = {"low": frame["difference"] - 0.5, "high": frame["difference"] + 0.5}
    frame = frame.assign(dataset="brain", n_seeds=seeds, **ends)
    monkeypatch.setattr(headline, "differences", lambda _: frame.assign(learnt=frame["word"] != ONE_CLASS))
    monkeypatch.setattr(headline, "_asked", lambda _: list(rows))
    return headline.headline(made.scores)


def test_nothing_decided(made, monkeypatch):
    rows = [("soft", "unet", 0.37, OPEN), ("l1", "unet", -0.2, OPEN), ("l2", "unet", 0.1, NEVER)]
    assert told(made, monkeypatch, *rows) == (
        "No penalty is shown to help: the highest difference is +0.37 points of test mIoU [95 % CI −0.13, +0.87], "
        "soft (article) on brain with U-Net, undecided."
    )


def test_what_helps_is_counted_and_its_number_is_that_of_one_that_is_shown(made, monkeypatch):
    rows = [("l1", "unet", 2.0, OPEN), ("soft", "unet", 1.2, UP), ("l2", "unet", 0.9, UP), ("l2", "convnet", -1, DOWN)]
    text = told(made, monkeypatch, *rows)
    assert text.startswith("2 of 4 differences to none are shown to be above 0 and 1 below: the highest shown is ")
    assert "+1.20 points of test mIoU [95 % CI +0.70, +1.70], soft (article) on brain with U-Net" in text


@pytest.mark.parametrize(
    ("words", "begins"),
    [
        ([DOWN, OPEN, SAME], "No penalty is shown to help, and 1 of 3 differences to none is shown to be below 0: the"),
        (
            [SAME, SAME],
            "No penalty is shown to help, and 2 of 2 differences to none are shown to be too small to matter",
        ),
        ([UP], "1 of 1 difference to none is shown to be above 0: the highest shown is +0.10"),
    ],
)
def test_what_hurts_or_does_not_matter_is_counted(made, monkeypatch, words, begins):
    assert told(made, monkeypatch, *(("l1", "unet", 0.1, word) for word in words)).startswith(begins)


def test_too_few_seeds_are_said(made, monkeypatch):
    text = told(made, monkeypatch, ("l1", "unet", 0.3, NEVER), seeds=1)
    assert text.startswith("No penalty is shown to help, nor could be with 1 evaluation seed, where a verdict needs 5:")


def test_networks_below_the_trivial_baseline_show_nothing(made, monkeypatch):
    rows = [("l1", "unet", 3.0, ONE_CLASS), ("l2", "unet", -0.1, OPEN)]
    assert "highest difference that can be judged is −0.10 points" in told(made, monkeypatch, *rows)
    assert told(made, monkeypatch, *rows).endswith(" 1 of 2 cannot be judged, as a network in them has not learnt.")
    alone = told(made, monkeypatch, *rows[:1])
    assert alone.startswith("Nothing is shown of any penalty, as every difference to none is of a network that does no")


def test_over_data_sets_it_names_no_control(made, monkeypatch):
    means = pd.DataFrame({"penalty": ["pruning", "l1"], "difference": [3.0, 1.0], "low": 0.5, "high": 4.0})
    monkeypatch.setattr(gain, "pooled", lambda _: means.assign(word=UP, datasets=5))
    monkeypatch.setattr(type(made.scores), "kinds", {"pruning": "pruning", "l1": "l1", "none": "none"})
    text = told(made, monkeypatch, ("l1", "unet", 0.3, OPEN))
    assert "Over 5 data sets the highest mean difference is +1.00 points" in text


def test_one_image_subject_shows_nothing_of_others(made, monkeypatch):
    monkeypatch.setitem(made.scores.datasets["brain"], "single_subject", "one averaged brain")
    text = told(made, monkeypatch, ("l1", "unet", 0.3, NEVER))
    assert text.startswith("No penalty is shown to help, nor could be, as all test images show one averaged brain:")


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({"penalties": {"l1": {"lambda": [1e-4]}}}, "the study trains no penalty beside an unpenalised entry"),
        (
            {"penalties": {"none": {}, "pruning": {"lambda": [0.5]}}},
            "the study trains no penalty beside an unpenalised",
        ),
        ({}, "No penalty can be compared with none yet: finish the study's final."),
    ],
)
def test_without_a_difference_it_says_why(tmp_path, changes, said):
    scores = untrained(tmp_path, **changes)
    assert said in headline.headline(scores)
    assert headline.highest_place(scores) == "brain"


@pytest.fixture(scope="module")
def studied(tmp_path_factory):
    """Six seeds; l1 has lost one λ̂ network, and no pair of l2 has finished. Pruning is a control."""
    root = tmp_path_factory.mktemp("headline")
    lost = {("l1", "1e-4", 101): "diverged"} | {("l2", "1e-4", seed): "diverged" for seed in range(100, 106)}
    return make_scores(
        root,
        lost,
        datasets={"rings": {"kind": "brain"}},
        penalties={"none": {}, "l1": {"lambda": [1e-5, 1e-4]}, "l2": {"lambda": [1e-4]}, "pruning": {"lambda": [0.5]}},
        seeds={"tuning": [0], "evaluation": [*range(100, 106)]},
    )


def test_its_number_is_the_mean_over_paired_seeds(studied):
    miou = 100 * studied.final_test.set_index(["penalty", "seed"])["miou"]
    gaps = [miou["l1", seed] - miou["none", seed] for seed in (100, 102, 103, 104, 105)]
    assert np.mean(gaps) > 5
    text = headline.headline(studied)
    assert text.startswith("1 of 1 difference to none is shown to be above 0: the highest shown is ")
    assert f"is +{np.mean(gaps):.2f} points of test mIoU [95 % CI +" in text
    assert text.endswith(", l1. 1 more has no pair of finished networks.")


def test_the_main_table_has_the_difference_its_verdict_and_bold_for_what_is_shown(studied):
    frame = main_frame(studied).set_index("penalty")
    row = gain.contrasts(studied).set_index("penalty").loc["pruning"]
    names = ["difference_points", "difference_low_points", "difference_high_points", "verdict"]
    assert frame.loc["pruning", names].tolist() == row[["difference", "low", "high", "word"]].tolist()
    assert frame.loc["none", "verdict"] == ""
    assert frame.loc["none", names[:3]].isna().all()


def items(scores):
    return {item.text: item for item in diagnosis.items(scores)}


def test_the_diagnosis_names_each_doubt_once_and_doubts_first(studied):
    found = diagnosis.items(studied)
    assert [item.well for item in found] == sorted(item.well for item in found)
    texts = [item.text for item in found if not item.well]
    assert "7 of 29 cells did not finish: l1 (1 diverged), l2 (6 diverged)." in texts
    assert "1 of 4 λ̂ are at an end of the grid, so that a better one may be beyond it." in texts
    edges = items(studied)["1 of 4 λ̂ are at an end of the grid, so that a better one may be beyond it."].details
    assert edges == ("λ̂ is the largest of the grid, so extend the grid up: l1.",)
    assert "No placebo and no longer training was run." in texts
    assert any(item.well and item.text.startswith("All networks of the final beat") for item in found)
    assert any(item.well and item.text == "All looks at the results were planned." for item in found)


@pytest.mark.parametrize(("groups", "torn"), [("ab", True), ("tab", True), ("wxyz", False), ([None], False)])
def test_groups_that_train_and_test_are_told(studied, tmp_path, groups, torn):
    """Training images are of groups a, b and c in turn; test images of those given."""
    folder = shutil.copytree(studied.folder, tmp_path / "scores")
    images = pd.read_parquet(folder / "images.parquet")
    for part, names in (("train", "abc"), ("test", groups)):
        rows = images.index[images["split"] == part]
        images.loc[rows, "group"] = [names[i % len(names)] for i in range(len(rows))]
    table = pa.Table.from_pandas(images, schema=IMAGES, preserve_index=False)
    records.write_parquet(table, folder / "images.parquet")
    said = f"Data, rings: 2 of {len(groups)} groups of test images have other images in training"
    assert any(text.startswith(said) for text in items(Scores(folder))) == torn


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (["as none, within ±0.5 points"], "1 check shown to be as none."),
        (["undecided: more seeds or images would tell"] * 2, "2 of 2 checks are not shown to be as none."),
    ],
)
def test_of_checks_it_says_what_was_run(studied, monkeypatch, words, said):
    """A study with a placebo alone has shown nothing of longer training."""
    row = {"dataset": "rings", "model": "convnet", "penalty": "l1", "what": "l1 at λ = 1e-12"}
    rows = [row | {"difference": 0.1, "low": 0.0, "high": 0.2, "seeds": 5, "told": word} for word in words]
    monkeypatch.setattr(diagnosis.checks, "table", lambda _: pd.DataFrame(rows))
    item = diagnosis._checks(studied)
    assert (item.text, item.well) == (said, words[0].startswith("as "))


def test_a_study_that_has_not_run_is_in_doubt_of_all(tmp_path):
    told = items(untrained(tmp_path))
    doubtful = [text for text in told if not told[text].well]
    assert doubtful[0].startswith("Partial report. 23 of 23 cells did not finish")
    assert {"No network is tested yet against", "No λ has been chosen", "No final has finished yet"} <= {
        text[: len(start)]
        for text in doubtful
        for start in ("No network is tested yet against", "No λ has been chosen", "No final has finished yet")
    }


def test_a_study_of_another_question_says_where_its_answer_is():
    published = Path(__file__).parents[3] / "results" / "published"
    text = headline.headline(Scores(published / "sparsity" / "scores"))
    assert text.startswith("No penalty is shown to help, nor could be with 1 evaluation seed")
    assert text.endswith(" What this study does decide is under H2, H3 and H6.")
    assert "does decide" not in headline.headline(Scores(published / "wbc-b" / "scores"))
