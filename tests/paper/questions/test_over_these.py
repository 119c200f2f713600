"""H1 over the data sets and models of a study: against sums by hand, and by how often it holds the truth."""

import shutil
from dataclasses import replace
from functools import reduce
from operator import and_

import numpy as np
import pandas as pd
import pyarrow.compute as pc
import pytest
from measured import make_scores
from scipy import stats as scipy_stats

from softreg.files import read_json, write_json
from softreg.paper.questions import gain, over_these
from softreg.paper.scores import Scores
from softreg.paper.stats import Estimate
from softreg.scoring import records
from softreg.study.cells import final_file

STRENGTH = {"lambda": [1e-4]}
SECTIONS = {
    "penalties": {"none": {}, "l1": STRENGTH, "l2": STRENGTH},
    "models": {"a": {"kind": "convnet"}, "b": {"kind": "convnet"}},
    "seeds": {"tuning": [0, 1], "evaluation": [100, 101, 102, 103, 104]},
}
FOLDED = SECTIONS | {
    "datasets": {"cells": {"kind": "wbc"}, "others": {"kind": "wbc"}},
    "evaluation": {"folds": 3},
}


@pytest.fixture(scope="module")
def folded(tmp_path_factory):
    return make_scores(tmp_path_factory.mktemp("folded"), **FOLDED)


def miou(rows):
    tp, fp, fn = (np.stack(rows[name].to_list()).sum(0) for name in ("tp", "fp", "fn"))
    return 100 * np.mean(tp / (tp + fp + fn))


def mean_over_models(test, dataset, folds):
    """Of l1 less none: by hand, over the images of some folds."""
    rows = test[(test["dataset"] == dataset) & test["fold"].isin(folds)]
    by_seed = {key: miou(part) for key, part in rows.groupby(["model", "seed", "penalty"])}
    differences = [value - by_seed[*key[:2], "none"] for key, value in by_seed.items() if key[2] == "l1"]
    return np.mean(differences)


def by_hand(test, dataset):
    """The mean over models of a data set, its variance and degrees of freedom, over five seeds and three folds."""
    seeds, folds = [test[test["seed"] == seed] for seed in range(100, 105)], {0, 1, 2}
    whole = [mean_over_models(mine, dataset, folds) for mine in seeds]
    without = [[mean_over_models(mine, dataset, folds - {fold}) for fold in folds] for mine in seeds]
    covariance = np.cov(without) * 2**2 / 3
    a, b = np.var(whole, ddof=1) / 5, covariance.mean()
    e = (np.trace(covariance) / 5 - b) / 4
    # Of five seeds, the mean of F counts what lies between them twice.
    spread = (2 * a) ** 2 / 4 + b**2 / 2 + e**2 / (4 * 2)
    freedom = max(2, (max(2 * a, e) + max(b, e) - e) ** 2 / spread)
    return np.mean(whole), max(a, e) + max(b, e) - e, freedom


def test_the_mean_and_its_interval_are_those_by_hand(folded):
    test = records.read([final_file(folded.folder, name) for name in folded.study["datasets"]]).to_pandas()
    means, variances, freedoms = np.transpose([by_hand(test, dataset) for dataset in ("cells", "others")])
    df = variances.sum() ** 2 / (variances**2 / freedoms).sum()
    half = scipy_stats.t.ppf(0.975, df) * np.sqrt(variances.sum()) / 2
    row = over_these.table(folded).set_index(["penalty", "reference"]).loc["l1", "none"]
    assert row["difference"] == pytest.approx(np.mean(means))
    assert (row["low"], row["high"]) == pytest.approx((np.mean(means) - half, np.mean(means) + half))
    assert (row["n_datasets"], row["n_pairs"]) == (2, 4)


def test_the_answer_tells_of_it_and_its_numbers_have_it(folded):
    answer = gain.answer(folded)
    told = [verdict for verdict in answer.verdicts if verdict.dataset == over_these.HERE]
    assert len(told) == 2
    assert "Over the 2 data sets here and their models (4 pairs), l1 less none" in told[0].sentence
    assert list(answer.numbers["role"]).count("mean over these") == 2


def test_models_of_one_data_set_are_not_independent(folded, tmp_path):
    folder = shutil.copytree(folded.folder, tmp_path / "scores")
    study = read_json(folder / "study.json")
    write_json(folder / "study.json", study | {"datasets": {"cells": study["datasets"]["cells"]}})
    one = Scores(folder)
    row = over_these.table(one).set_index("penalty").loc["l1"]
    pairs = gain.contrasts(one).set_index(["penalty", "model"]).loc["l1"]
    assert row["difference"] == pytest.approx(pairs["difference"].mean())
    assert row["n_datasets"] == 1
    half = scipy_stats.t.ppf(0.975, 2)
    errors = (pairs["high"] - pairs["low"]) / 2 / half
    assert (row["high"] - row["low"]) / 2 / half <= errors.mean() + 1e-9


def test_without_folds_seeds_and_images_are_crossed(tmp_path):
    sections = SECTIONS | {"datasets": {"cells": {"kind": "wbc"}}, "models": {"a": {"kind": "convnet"}}}
    crossed = make_scores(tmp_path, **sections)
    assert over_these.table(crossed).empty
    sample = gain.resampled(crossed)["cells", "a"]
    twice = over_these._over_models([sample, sample], "l1", "none", sample.seeds).times(100)
    alone = sample.estimate("l1", "none")
    assert (twice.mean, twice.se, twice.df) == pytest.approx((alone.mean, alone.se, alone.df))


def test_a_mean_of_independent_estimates_holds_the_truth_as_often_as_it_says():
    random = np.random.default_rng(0)
    held = 0
    for _ in range(2000):
        samples = [random.normal(0, sd, 5) for sd in (1, 2, 4)]
        parts = [Estimate(x.mean(), x.std(ddof=1) / np.sqrt(5), 4, 5, 5) for x in samples]
        interval = over_these.mean_of(parts).interval()
        held += interval.low <= 0 <= interval.high
    assert 0.93 <= held / 2000 <= 0.975


def without(folded, tmp_path, **network):
    """The scores without the test records of some networks."""
    folder = shutil.copytree(folded.folder, tmp_path / "scores")
    lost = reduce(and_, (pc.field(name) == value for name, value in network.items()))
    file = final_file(folder, network["dataset"])
    records.write(records.read([file]).filter(~lost), file)
    return Scores(folder)


def test_the_seeds_are_those_that_all_sides_share(folded, tmp_path):
    """Five are planned, but one network of l1 has no scores: that data set has four, too few for a verdict."""
    scores = without(folded, tmp_path, dataset="cells", model="a", penalty="l1", seed=104, fold=1)
    rows = over_these.table(scores).set_index("penalty")
    assert rows.loc["l1", "word"] == "not answerable"
    assert "4 evaluation seeds" in rows.loc["l1", "why"]
    assert rows.loc["l2", "word"] != "not answerable"


@pytest.mark.parametrize("lost", [{"penalty": "l2", "fold": 1}, {"fold": 1}])
def test_what_one_block_lacks_has_no_mean_over_the_others_and_counts_in_the_family(folded, tmp_path, lost):
    """Of what is left the adjusted p does not fall, as if the lost contrast had not been asked."""
    scores = without(folded, tmp_path, dataset="cells", model="a", **lost)
    rows = over_these.table(scores).set_index("penalty")
    assert list(rows.index) == ["l1", "l2"]
    assert (rows["n_pairs"] == 4).all()
    assert rows.loc["l2", "word"] == "not answerable"
    assert "cells with a has no seed of both l2 and none" in rows.loc["l2", "why"]
    assert np.isnan(rows.loc["l2", "difference"])
    told = [each.sentence for each in gain.answer(scores).verdicts if each.dataset == over_these.HERE]
    assert told[1].endswith(rows.loc["l2", "why"])
    if "penalty" in lost:
        assert rows.loc["l1", "p_holm"] == pytest.approx(min(1, 2 * rows.loc["l1", "p"]))
        mine = gain.contrasts(scores).set_index(["dataset", "model", "penalty"]).loc["cells", "a"]
        assert list(mine.index) == ["l1"]
        assert mine.loc["l1", "p_holm"] == pytest.approx(min(1, 2 * mine.loc["l1", "p"]))


def test_where_a_placebo_differs_there_is_no_mean(folded, monkeypatch):
    row = {"dataset": "others", "model": "b", "told": "differs from none: differences of penalties hold more"}
    monkeypatch.setattr(over_these.checks, "table", lambda _: pd.DataFrame([row]))
    rows = over_these.table(folded)
    assert set(rows["word"]) == {"not answerable"}
    assert all("the placebo differs from none on others with b" in why for why in rows["why"])


def test_without_a_seed_that_models_share_there_is_no_mean(folded):
    sample = gain.resampled(folded)["cells", "a"]
    scores = sample.crossed.scores.copy()
    scores[:, 1:] = np.nan
    others = sample.crossed.scores.copy()
    others[:, 0] = np.nan
    samples = {
        ("cells", name): replace(sample, crossed=replace(sample.crossed, scores=kept))
        for name, kept in (("a", scores), ("b", others))
    }
    assert over_these._by_dataset(samples, "l1", "none") == []


def test_a_mean_without_spread_is_certain():
    interval = over_these.mean_of([Estimate(0.0, 0.0, 4, 5, 5), Estimate(0.0, 0.0, 4, 5, 5)]).interval()
    assert (interval.low, interval.high) == (0, 0)
