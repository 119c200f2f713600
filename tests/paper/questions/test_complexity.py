import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from measured import make_scores
from scipy.stats import ttest_1samp

from softreg.paper.questions import complexity, estimates
from softreg.paper.scores import Scores
from softreg.scoring import metrics, records
from softreg.scoring.gather import IMAGES
from softreg.study.cells import final_file

SHAPES = {"kind": "shapes", "size": [24, 32], "images": 30, "classes": 3, "split": {"val": 0.2, "test": 0.4}}
DATASETS = {
    "many": {**SHAPES, "objects": 9},
    "few": {**SHAPES, "objects": 2},
    "some": {**SHAPES, "objects": 5},
    "some-mislabelled": {**SHAPES, "objects": 5, "label_noise": 0.2},
    "brain": {},
}
# Objects that hide each other have fewer boundaries: their density is no measure of complexity.
DENSITY = {"few": 0.03, "some": 0.05, "some-mislabelled": 0.05, "many": 0.02, "brain": 0.03}


def gathered(root, images=12, **changes):
    strength = {"lambda": [1e-4]}
    penalties = {"none": {}, "l1": strength, "l2": strength}
    return make_scores(root, images=images, **{"penalties": penalties} | changes).folder


def give_densities(folder, spread=0.3):
    """All synthetic masks are alike: give each image a density of its own, around that of its data set."""
    frame = pq.read_table(folder / "images.parquet").to_pandas()
    random = np.random.default_rng(0)
    frame["boundary_density"] = frame["dataset"].map(DENSITY) * (1 + spread * random.uniform(-1, 1, len(frame)))
    frame["classes"] = random.integers(1, 4, len(frame))
    pq.write_table(pa.Table.from_pandas(frame, IMAGES, preserve_index=False), folder / "images.parquet")


def worsen(folder, share):
    """In each data set, make ``share[dataset]`` more of L1's right test pixels wrong, in the sums."""
    rows = pq.read_table(folder / "sums.parquet").to_pylist()
    for row in rows:
        if (row["phase"], row["split"], row["penalty"]) == ("final", "test", "l1"):
            moved = [round(share.get(row["dataset"], 0) * (1 + row["seed"] % 3) * hits) for hits in row["tp"]]
            row["tp"] = [hits - n for hits, n in zip(row["tp"], moved, strict=True)]
            row["fn"] = [missed + n for missed, n in zip(row["fn"], moved, strict=True)]
    records.write(pa.Table.from_pylist(rows, records.SUMS), folder / "sums.parquet", records.SUMS)


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    root = tmp_path_factory.mktemp("shapes")
    folder = gathered(root, datasets=DATASETS, seeds={"tuning": [0], "evaluation": [*range(100, 106)]})
    give_densities(folder)
    worsen(folder, {"some": 0.02, "many": 0.08})
    return folder


@pytest.fixture(scope="module")
def scores(folder):
    return Scores(folder)


@pytest.fixture(scope="module")
def answer(scores):
    return complexity.answer(scores)


def test_families_are_of_drawn_scenes_in_order_of_what_they_are_drawn_with(scores):
    (family,) = complexity.families(scores.study["datasets"])
    assert family.index.tolist() == ["few", "some", "many"]
    assert family.tolist() == [1, 2, 3]
    assert complexity.label_noise_pairs(scores.study["datasets"]) == [("some", "some-mislabelled")]


@pytest.mark.slow
def test_data_sets_that_differ_in_more_than_the_drawing_are_not_compared(tmp_path):
    datasets = {"few": DATASETS["few"], "many": {**DATASETS["many"], "images": 60}}
    folder = gathered(tmp_path, datasets=datasets)
    give_densities(folder)
    scores = Scores(folder)
    assert complexity.families(scores.study["datasets"]) == []
    assert complexity.ONE_SET in complexity.answer(scores).summary


def test_scenes_with_more_of_one_thing_and_less_of_another_have_no_order(tmp_path):
    datasets = {"crowded": {**DATASETS["many"], "noise": 0}, "noisy": {**DATASETS["few"], "noise": 0.2}}
    scores = Scores(gathered(tmp_path, datasets=datasets))
    assert complexity.families(scores.study["datasets"]) == []
    assert complexity.ONE_SET in complexity.answer(scores).summary


def test_rises_are_slopes_within_each_seed_times_the_range():
    family = pd.Series({"a": 0.01, "b": 0.02, "c": 0.05})
    values = np.random.default_rng(0).normal(size=(4, 3))
    changes = pd.DataFrame(
        [(seed, name, values[seed, place]) for seed in range(4) for place, name in enumerate(family.index)],
        columns=["seed", "dataset", "gap"],
    )
    changes.loc[len(changes)] = [9, "a", 1.0]  # of a seed without the other data sets
    slopes = [np.polyfit(family.to_numpy(), row, 1)[0] for row in values]
    assert complexity.rises(changes, family, "gap") == pytest.approx(np.array(slopes) * 0.04)


def test_a_penalty_that_overfits_more_on_complex_scenes_is_found(scores, answer):
    verdicts = {verdict.subject: verdict for verdict in answer.verdicts if verdict.dataset == "few, some, many"}
    # The synthetic data sets have the same cells, so L2's change of the gap is the same in each: it does not rise.
    assert {name: verdict.word for name, verdict in verdicts.items()} == {
        "l1": "supported",
        "l2": "equivalent",
    }
    miou = scores.sums[(scores.sums["phase"] == "final") & (scores.sums["corruption"] == "")]
    miou = miou.set_index(["dataset", "penalty", "split", "seed"])["miou"].sort_index() * 100
    change = {
        name: (miou[name, "l1", "train"] - miou[name, "l1", "test"])
        - (miou[name, "none", "train"] - miou[name, "none", "test"])
        for name in ("few", "some", "many")
    }
    (family,) = complexity.families(scores.study["datasets"])
    slopes = np.polyfit(family.to_numpy(), np.array([change[name] for name in family.index]), 1)[0]
    rises = slopes * (family["many"] - family["few"])
    expected = ttest_1samp(rises, 0)
    row = answer.numbers.query("quantity == 'rise of gap' and penalty == 'l1'").iloc[0]
    assert row["mean"] == pytest.approx(rises.mean())
    interval = expected.confidence_interval(0.95)
    assert (row["low"], row["high"], row["p"]) == pytest.approx((interval.low, interval.high, expected.pvalue))
    assert row["p_holm"] >= row["p"]
    assert f"{rises.mean():+.2f} points" in verdicts["l1"].sentence
    assert "6 seeds" in verdicts["l1"].sentence
    at = answer.numbers.query("quantity == 'change of gap' and penalty == 'l1'").set_index("dataset")["mean"]
    assert at["many"] == pytest.approx(change["many"].mean())


def test_relative_pairs_by_all_other_columns(scores):
    rows = [("none", 1, 2.0), ("none", 2, 5.0), ("l1", 1, 3.0), ("l1", 2, 4.0), ("l2", 3, 1.0)]
    frame = pd.DataFrame(rows, columns=["penalty", "seed", "x"]).assign(**{"lambda": ["0", "0", "1", "1", "1"]})
    found = estimates.relative(scores, frame, ["x"])
    assert found.to_dict("records") == [
        {"penalty": "l1", "seed": 1, "x": 1.0},
        {"penalty": "l1", "seed": 2, "x": -1.0},
    ]


def test_gains_of_images_are_differences_of_their_own_miou(scores):
    gains = complexity.image_gains(scores, "brain", "convnet")
    assert list(gains) == ["l1", "l2"]
    table = records.read(
        [final_file(scores.folder, "brain")], columns=["dataset", "penalty", "seed", "image", "tp", "fp", "fn"]
    )
    rows = {(r["penalty"], r["seed"], r["image"]): r for r in table.to_pylist() if r["dataset"] == "brain"}

    def miou(*key):
        row = rows[key]
        return 100 * float(metrics.miou([row["tp"]], [row["fp"]], [row["fn"]]))

    expected = miou("l1", 102, "test007") - miou("none", 102, "test007")
    assert gains["l1"].values.shape == (6, 12)
    assert gains["l1"].values[2, 7] == pytest.approx(expected)


def test_rise_over_images_spans_the_10th_to_the_90th_percentile():
    random = np.random.default_rng(2)
    x = random.uniform(size=400)
    gains = 3 * x + random.normal(0, 1, (5, 400))
    alone = np.arange(400)
    found = complexity.rise_over_images(gains, x, alone)
    span = np.quantile(x, 0.9) - np.quantile(x, 0.1)
    assert found.mean == pytest.approx(np.polyfit(x, gains.mean(0), 1)[0] * span)
    # Seeds share no image effect here, so that the slope's error is that of 2000 independent points.
    expected = span * np.sqrt(1 / (2000 * x.var()))
    assert expected < found.se < 2 * expected
    assert found.interval().low < 3 * span < found.interval().high
    assert np.isnan(complexity.rise_over_images(gains, np.ones(400), alone).mean)
    two = complexity.rise_over_images(gains, np.where(alone < 4, 1.0, 0.0), alone)  # both percentiles are 0
    assert two.mean == pytest.approx(gains[:, :4].mean() - gains[:, 4:].mean())


def test_crossed_mean_counts_what_all_seeds_share_once():
    shared = np.random.default_rng(3).normal(size=50)
    found = estimates.crossed_mean(np.tile(shared, (4, 1)))
    assert found.mean == pytest.approx(shared.mean())
    assert found.se == pytest.approx(shared.std(ddof=1) / np.sqrt(50), rel=0.05)
    one = estimates.crossed_mean(np.array([[1.0], [2.0], [4.0]]))
    assert (one.mean, one.units) == (pytest.approx(7 / 3), 1)
    assert np.isnan(one.interval().low)


def test_images_of_a_group_are_left_out_together():
    random = np.random.default_rng(4)
    values, x, units = random.normal(size=(4, 12)), random.uniform(size=12), np.repeat([0, 1, 2, 3], [1, 2, 4, 5])
    # As if each group were one item whose values weigh as much as it has images.
    kept = [units != unit for unit in range(4)]
    by_hand = np.stack([values[:, rest].mean(1) for rest in kept], axis=1)
    mean, expected = estimates.crossed_mean(values, units), estimates.crossed(values.mean(1), by_hand)
    wide = estimates.crossed_mean(100 * values, units).interval()
    assert wide.high - wide.low == pytest.approx(100 * (mean.interval().high - mean.interval().low))
    assert (mean.mean, mean.se, mean.df, mean.units) == pytest.approx((expected.mean, expected.se, expected.df, 4))
    span = np.quantile(x, 0.9) - np.quantile(x, 0.1)
    slopes = np.array([[np.polyfit(x[rest], each[rest], 1)[0] for rest in kept] for each in values]) * span
    expected = estimates.crossed(np.array([np.polyfit(x, each, 1)[0] for each in values]) * span, slopes)
    found = complexity.rise_over_images(values, x, units)
    assert (found.mean, found.se, found.df, found.units) == pytest.approx((expected.mean, expected.se, expected.df, 4))
    assert np.isnan(complexity.rise_over_images(values, x, np.zeros(12, int)).se)


def test_bins_hold_equally_many_images_and_their_mean_gain(scores):
    bins = complexity.binned(scores, "brain")
    l1 = bins[bins["penalty"] == "l1"]
    assert l1["images"].tolist() == [6, 6]
    gains = complexity.image_gains(scores, "brain", "convnet")["l1"]
    lowest = np.argsort(gains.density)[:6]
    assert l1["mean"].iloc[0] == pytest.approx(gains.values[:, lowest].mean())
    assert l1["boundary_density"].iloc[0] == pytest.approx(gains.density[lowest].mean())


def test_what_is_observed_is_said_not_to_be_causal(answer):
    observed = [verdict for verdict in answer.verdicts if verdict.subject.endswith("single images")]
    assert {verdict.dataset for verdict in observed} == set(DATASETS)
    assert all("not causal" in verdict.sentence for verdict in observed)
    assert "not causal" in answer.summary
    assert list(answer.figures) == ["complexity", "complexity_images"]


def test_without_an_unpenalised_entry_the_answer_is_absent(tmp_path):
    scores = Scores(gathered(tmp_path, penalties={"l2": {"lambda": [1e-4]}, "l1": {"lambda": [1e-4]}}, images=3))
    found = complexity.answer(scores)
    assert "add `none:`" in found.absent
    assert found.numbers.empty


@pytest.mark.slow
def test_one_seed_has_no_interval_and_decides_nothing(tmp_path):
    folder = gathered(tmp_path, datasets=DATASETS, seeds={"tuning": [0], "evaluation": [100]})
    give_densities(folder)
    found = complexity.answer(Scores(folder))
    assert {verdict.word for verdict in found.verdicts} == {"not answerable"}
    assert "which gives no interval" in found.verdicts[0].sentence
    assert "nan" not in " ".join(verdict.sentence for verdict in found.verdicts)
