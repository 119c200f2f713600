"""A study with outer folds, from the cells of each fold to one report of the whole data set."""

import shutil
from dataclasses import replace
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from measured import make_scores
from scipy.stats import ttest_1samp
from synthetic import gather_part, make_results, make_study

from softreg.paper import diff, folded, tables
from softreg.paper.figures import write_figures
from softreg.paper.questions import answers, gain, premise
from softreg.paper.report import write_report
from softreg.paper.scores import Scores
from softreg.scoring import metrics, records
from softreg.study.cells import final_file

GRID = {"lambda": [1e-5, 1e-4, 1e-3]}
STUDY = {
    "datasets": {"wbc": {}},
    "penalties": {"none": {}, "l1": GRID, "l2": GRID},
    "seeds": {"tuning": [0, 1], "evaluation": [100, 101]},
    "evaluation": {"folds": 3, "corruptions": ["noise"]},
}


@pytest.fixture(scope="module")
def scores(tmp_path_factory):
    return make_scores(tmp_path_factory.mktemp("folds"), **STUDY)


def test_the_folds_are_one_data_set_again(scores):
    assert list(scores.study["datasets"]) == list(scores.datasets) == ["wbc"]
    assert scores.datasets["wbc"]["images"] == {"train": 6, "val": 6, "test": 18}
    assert set(scores.cells["dataset"]) == {"wbc"}
    assert scores.cells.groupby(["phase", "fold"]).size().to_dict() == {("sweep", fold): 2 * 7 for fold in range(3)} | {
        ("final", fold): 2 * 3 for fold in range(3)
    }
    assert len(scores.images[scores.images["split"] == "test"]) == 18
    assert set(scores.curves["seeds"]) == {2}


def test_choices_over_the_sweep_are_not_judged_where_a_fold_tests_what_another_chose_by(scores):
    absent = {answer.key: answer.absent for answer in answers(scores)}
    assert absent["H3"] == absent["H6"]
    assert absent["H3"].startswith("With outer folds, the images that one fold's λ is chosen on test another's")
    assert absent["H1"] == absent["H7"] == ""


def test_a_seeds_score_is_that_of_all_its_folds_images(scores):
    table = records.read([final_file(scores.folder, "wbc")]).to_pandas()
    rows = table[(table["penalty"] == "l1") & (table["seed"] == 101)]
    assert rows["image"].is_unique
    assert len(rows) == 18
    tp, fp, fn = (np.stack([*rows[name]]).sum(0) for name in ("tp", "fp", "fn"))
    expected = (tp / (tp + fp + fn)).mean()
    final = scores.final_test.set_index(["penalty", "seed"])
    assert final.loc[("l1", 101), "miou"] == pytest.approx(expected)
    sums = scores.final_sums
    sums = sums[(sums["split"] == "test") & (sums["corruption"] == "")].set_index(["penalty", "seed"])
    assert sums.loc[("l1", 101), "miou"] == pytest.approx(expected)
    assert sums.loc[("l1", 101), "images"] == 18
    counts = scores.test_counts("wbc", "convnet")["l1"]
    assert sorted(counts.folds) == sorted([0, 1, 2] * 6)
    assert metrics.miou(*counts.table)[1] == pytest.approx(expected)


def test_contrasts_are_over_folds(scores):
    row = gain.contrasts(scores).iloc[0]
    crossed = gain.resampled(scores)["wbc", "convnet"].crossed
    assert (row["n_seeds"], row["n_images"], crossed.by_seed.shape[2]) == (2, 18, 3)
    assert "over 2 seeds × 3 outer folds of 18 images, crossed" in answers(scores)[0].verdicts[0].sentence


def test_what_a_seed_does_alike_in_all_folds_is_part_of_the_interval(scores):
    random = np.random.default_rng(5)
    of_image, rest = random.normal(0, 5, 18), random.normal(0, 10, (5, 18))
    gains = np.rint(random.normal(0, 40, (5, 1)) + of_image + rest).astype(int)
    # One class, of which the union has as many pixels on each image, so that mIoU is a mean over images.
    hits = np.stack([np.full((5, 18), 500), 500 + gains])[..., None]
    table = np.stack([hits, 1000 - hits, 0 * hits])
    real = scores.test_counts("wbc", "convnet")["none"]
    entries = {name: replace(real, seeds=tuple(range(5)), table=table[:, at]) for at, name in enumerate(["none", "l1"])}
    interval = gain.resample(scores, "wbc", entries).estimate("l1", "none").interval()
    over_seeds = ttest_1samp(gains.mean(1) / 10, 0).confidence_interval()
    assert interval.mean == pytest.approx(gains.mean() / 10)
    # Folds differ little, so that there is hardly more to it than the seeds.
    assert 0.9 < (interval.high - interval.low) / (over_seeds.high - over_seeds.low) < 1.1


def test_a_seed_without_one_folds_network_is_left_out(scores):
    table = records.read([final_file(scores.folder, "wbc")])
    frame = table.to_pandas()
    lost = (frame["penalty"] == "l1") & (frame["seed"] == 100) & (frame["fold"] == 2)
    kept = folded.complete(table.filter((~lost).to_numpy()), 3).to_pandas()
    assert set(kept.loc[kept["penalty"] == "l1", "seed"]) == {101}
    assert set(kept.loc[kept["penalty"] == "l2", "seed"]) == {100, 101}


def test_the_folds_choices_are_told_as_one():
    chosen = ["1e-3", "1e-4", "1e-4", "1e-3", "1e-5"]
    rows = [("a", "m", "p", each, "", 0.5, 0.1, 2, 2, each == "1e-5", fold) for fold, each in enumerate(chosen)]
    names = [
        "dataset",
        "model",
        "penalty",
        "lambda",
        "lr",
        "val_miou_points",
        "val_se_points",
        "n",
        "expected",
        "at_edge",
        "fold",
    ]
    (row,) = folded.choice(pd.DataFrame(rows, columns=names)).to_dict("records")
    assert (row["lambda"], row["chosen"]) == ("1e-3", "1e-3, 1e-4, 1e-4, 1e-3, 1e-5")
    assert (row["n"], row["expected"], row["at_edge"]) == (10, 10, True)
    assert np.isnan(row["val_se_points"])


def test_what_the_folds_chose_is_told_with_its_ends():
    assert folded.span(["1e-3", "1e-4", "", "1e-5"]) == "1e-5 to 1e-3"
    assert folded.span(["1e0", "1e0", "", "1e0"]) == "1e0"
    assert folded.span(["", ""]) == ""


def test_the_block_that_is_published_tells_the_ends_of_its_choices():
    block = Scores(Path(__file__).parents[2] / "results" / "published" / "wbc-b" / "scores")
    shown = tables.main_frame(block).set_index("penalty")["lambdas"]
    assert shown[["adamw", "l1", "decoupled_decay"]].to_list() == ["1e-2", "1e-7 to 1e-5", "1e-1 to 1e0"]
    spoken = {verdict.subject: verdict.sentence for verdict in answers(block)[0].verdicts}
    assert "adamw (λ̂ 1e-2) less none" in spoken["adamw against none"]
    assert "soft (λ̂ 1e-7 to 1e-5) less l1 (λ̂ 1e-7 to 1e-5)" in spoken["soft against l1"]


@pytest.mark.slow
def test_the_paper_is_written(scores, tmp_path):
    tables.write_tables(scores, tmp_path)
    write_figures(scores, tmp_path)
    write_report(scores, tmp_path)
    main = pd.read_csv(tmp_path / "tables" / "main.csv")
    main = main[main["penalty"] != premise.ONE_CLASS]
    chosen = {"none": "0", "l1": "1e-4", "l2": "1e-4"}
    assert set(main["cells"]) == {f"final/wbc-fold*/convnet/{name}/seed*/lambda-{at}" for name, at in chosen.items()}
    assert (main["images"] == 18).all()
    text = (tmp_path / "report.html").read_text(encoding="utf-8")
    assert "over seeds and 3 outer folds, crossed, each fold with a split, a λ̂ and networks of its own" in text
    assert "choices over the sweep are judged in studies of one split" in text


@pytest.mark.slow
def test_a_partial_report_of_some_folds(tmp_path):
    study = make_study(tmp_path, **STUDY)
    nothing = Scores(gather_part(study, tmp_path / "results", tmp_path / "data"))
    assert nothing.final_test.empty
    assert all(each.absent for each in answers(nothing)[:1])
    make_results(study, tmp_path)
    for place in ("selection/wbc-fold2", "final/wbc-fold2"):
        shutil.rmtree(tmp_path / "results" / "tiny" / place)
    part = Scores(gather_part(study, tmp_path / "results", tmp_path / "data"))
    assert part.final_test.empty  # no seed has all of its folds yet
    assert set(part.selection["chosen"]) == {"0, 0", "1e-4, 1e-4"}
    tables.write_tables(part, tmp_path)
    write_figures(part, tmp_path)
    write_report(part, tmp_path)


def test_two_versions_of_it_are_compared(scores):
    found = diff.differences(scores, scores)
    assert set(found["difference"]) == {0.0}
