import math

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import synthetic
from measured import make_scores, untrained
from scipy import stats as scipy_stats
from statsmodels.stats.multitest import multipletests

from softreg.files import read_json, write_json
from softreg.paper import stats, tables
from softreg.paper.questions import gain
from softreg.paper.questions.answer import WORDS
from softreg.paper.questions.estimates import p_text
from softreg.paper.scores import Scores
from softreg.scoring import metrics
from softreg.scoring.gather import gather

ADAM = {"optimizer": "adam", "lr": 0.001}


@pytest.fixture(scope="module")
def scores(tmp_path_factory):
    """soft among its rivals, two models, one with decay alone; l1 lacks seed 101."""
    grid = [1e-5, 1e-4]
    penalties = {
        "none": {},
        "l1": {"lambda": grid},
        "l1-encoder": {"kind": "l1", "lambda": grid, "weights": "encoder"},
        "soft": {"lambda": grid},
        "decay": {"kind": "decoupled_decay", "lambda": grid, "models": ["convnet"]},
        "pruning": {"lambda": [0.5]},
        "none-adam": {"kind": "none", "training": ADAM},
        "l2-adam": {"kind": "l2", "lambda": grid, "training": ADAM},
    }
    return make_scores(
        tmp_path_factory.mktemp("gain"),
        {("l1", "1e-4", 101): "diverged"},
        models={"convnet": {}, "second": {"kind": "convnet"}},
        penalties=penalties,
        seeds={"tuning": [0], "evaluation": [*range(100, 106)]},
        figures={"style": {"names": {"soft": "Soft"}, "order": ["soft"]}},
    )


def test_each_is_held_against_none_of_its_rule_and_soft_against_its_rivals(scores):
    assert gain.pairs(scores, "brain", "convnet") == [
        ("soft", "none", True),
        ("soft", "l1", True),
        ("soft", "decay", True),
        ("l1", "none", False),
        ("l1-encoder", "none", False),
        ("decay", "none", False),
        ("pruning", "none", False),
        ("l2-adam", "none-adam", False),
    ]
    assert ("soft", "decay", True) not in gain.pairs(scores, "brain", "second")


def row_of(scores, penalty, reference, model="convnet"):
    frame = gain.contrasts(scores)
    kept = (frame["penalty"] == penalty) & (frame["reference"] == reference) & (frame["model"] == model)
    (row,) = frame[kept].to_dict("records")
    return row


def counts_of(scores, penalty):
    found = scores.test_counts("brain", "convnet")[penalty]
    return found.seeds, found.table


def test_a_contrast_is_that_of_the_seeds_both_have(scores):
    row = row_of(scores, "soft", "l1")
    miou = scores.final_test.query("model == 'convnet'").set_index(["penalty", "seed"])["miou"] * 100
    seeds = [100, 102, 103, 104, 105]
    gaps = np.array([miou["soft", seed] - miou["l1", seed] for seed in seeds])
    assert (row["n_seeds"], row["n_images"]) == (5, 6)
    assert row["difference"] == pytest.approx(gaps.mean())
    flips = [abs((gaps * signs).mean()) for signs in np.stack(np.meshgrid(*[[1, -1]] * 5), -1).reshape(-1, 5)]
    assert row["p_seed"] == pytest.approx(np.mean(np.array(flips) >= abs(gaps.mean()) - 1e-12))
    pairs = [[miou[name, seed] for seed in seeds] for name in ("soft", "l1")]
    assert row["correlation"] == pytest.approx(scipy_stats.pearsonr(*pairs).statistic)
    assert (row["lambda"], row["reference_lambda"], row["primary"]) == ("1e-4", "1e-4", True)


def test_the_interval_is_that_of_the_pair_alone(scores):
    """A missing seed of one penalty leaves no trace; and a bootstrap over images comes to the same."""
    (seeds, soft), (fewer, l1) = counts_of(scores, "soft"), counts_of(scores, "l1")
    soft = soft[:, [seeds.index(seed) for seed in fewer]]
    counts = np.stack([soft, l1], 1)
    estimate = stats.crossed_interval(stats.crossed_jackknife(*counts), 0, 1)
    expected, row = estimate.interval(), row_of(scores, "soft", "l1")
    assert (row["low"], row["high"]) == pytest.approx((100 * expected.low, 100 * expected.high))
    assert estimate.se == pytest.approx(error_by_bootstrap(counts), rel=0.1)


def error_by_bootstrap(counts):
    """Standard error of the mean difference of two entries, from counts (3, 2, S, N, C) of images that are drawn."""
    seeds, images = counts.shape[2:4]
    weights = np.random.default_rng(7).multinomial(images, [1 / images] * images, 10_000)
    drawn = metrics.miou(*np.einsum("kpsnc,bn->kpsbc", counts, weights)[..., None, :])
    covariance = np.cov(drawn[0] - drawn[1]) * images / (images - 1)
    a, b = np.subtract(*metrics.miou(*counts)).var(ddof=1) / seeds, covariance.mean()
    e = (np.trace(covariance) / seeds - b) / (seeds - 1)
    return np.sqrt(max(a, e) + max(b, e) - e)


@pytest.fixture
def in_groups(tmp_path):
    """The six test images come in three groups of one, two and three."""
    study = synthetic.make_study(tmp_path)
    synthetic.make_results(study, tmp_path)
    (file,) = (tmp_path / "data").rglob("dataset.json")
    about = read_json(file)
    about["groups"]["test"] = ["a", "b", "c", "b", "c", "c"]
    write_json(file, about)
    return Scores(gather(study, tmp_path / "results", tmp_path / "data"))


def test_images_of_a_group_are_one_observation_of_the_interval(in_groups):
    row = row_of(in_groups, "l1", "none")
    (_, l1), (_, none) = counts_of(in_groups, "l1"), counts_of(in_groups, "none")
    counts = np.stack([l1, none], 1)
    counts = np.stack([counts[..., kept, :].sum(-2) for kept in ([0], [1, 3], [2, 4, 5])], -2)
    expected = stats.crossed_interval(stats.crossed_jackknife(*counts), 0, 1).interval()
    assert (row["n_images"], row["n_groups"]) == (6, 3)
    assert in_groups.datasets["brain"]["groups"] == {"train": 0, "val": 0, "test": 3}
    assert (row["low"], row["high"]) == pytest.approx((100 * expected.low, 100 * expected.high))
    assert "over 3 seeds × 3 groups (6 images), crossed" in gain.answer(in_groups).verdicts[0].sentence
    frame = tables.main_frame(in_groups)
    entries = frame[frame["penalty"] != "one class"]
    assert (entries["images"].tolist(), entries["groups"].tolist()) == ([6] * 3, [3] * 3)
    assert "and groups of test images (3 groups (6 images)) are the units" in tables.caption(in_groups, frame)
    contrasts = tables.contrast_rows(in_groups, gain.contrasts(in_groups))
    assert {line[tables.CONTRAST_HEADINGS.index("n")] for line in contrasts} == {"3 × 3 (6)"}


def test_images_without_groups_are_taken_as_independent_and_that_is_said(in_groups):
    file = in_groups.folder / "images.parquet"
    table = pq.read_table(file)
    at = table.schema.get_field_index("group")
    pq.write_table(table.set_column(at, table.schema.field(at), pa.nulls(len(table), pa.string())), file)
    scores = Scores(in_groups.folder)
    assert row_of(scores, "l1", "none")["n_groups"] == 6
    assert "taken as independent, as none is known to belong to a group" in tables.caption(
        scores, tables.main_frame(scores)
    )


def test_images_of_one_subject_say_nothing_of_others(in_groups):
    about = read_json(in_groups.folder / "datasets.json")
    about["brain"]["single_subject"] = "one brain"
    write_json(in_groups.folder / "datasets.json", about)
    scores = Scores(in_groups.folder)
    row = row_of(scores, "l1", "none")
    assert math.isnan(row["low"])
    assert math.isnan(row["p"])
    assert {verdict.word for verdict in gain.answer(scores).verdicts} == {"not answerable"}
    assert "show one brain, which stands for no other" in gain.answer(scores).verdicts[0].sentence
    assert "all of one brain, so that nothing is inferred" in tables.caption(scores, tables.main_frame(scores))


@pytest.mark.slow
def test_holm_is_over_the_primary_contrasts_of_a_data_set_and_model(scores):
    frame = gain.contrasts(scores)
    for model in ("convnet", "second"):
        for primary in (True, False):
            family = frame[(frame["model"] == model) & (frame["primary"] == primary)]
            for name in ("p", "p_equivalence"):
                by_hand = multipletests(family[name], method="holm")[1]
                assert family[f"{name}_holm"].to_numpy() == pytest.approx(by_hand)


def test_words_are_those_of_the_intervals(scores):
    for row in gain.contrasts(scores).to_dict("records"):
        assert (row["low90"] > -0.5 and row["high90"] < 0.5) == (row["p_equivalence"] < 0.05)
        equal = row["p_equivalence_holm"] < 0.05
        assert (row["word"] == "equivalent") == equal
        wide = row["high90"] - row["low90"] >= 2 * 0.5
        assert (row["word"] == "undecided") <= (not wide)
        assert (row["word"] == "not answerable") == bool(row["why"]) <= wide
        if not equal:
            assert (row["word"] == "supported") == (row["low"] > 0 and row["p_holm"] < 0.05)
            assert (row["word"] == "contradicted") == (row["high"] < 0 and row["p_holm"] < 0.05)
    assert row_of(scores, "soft", "none")["word"] == "supported"  # 0.30 wrong against 0.20


def test_the_difference_said_to_be_detectable_is_found_four_times_in_five(scores):
    row = row_of(scores, "soft", "none")
    estimate = gain.resampled(scores)["brain", "convnet"].estimate("soft", "none")
    random = np.random.default_rng(0)
    spread = np.sqrt(random.chisquare(estimate.df, 100_000) / estimate.df)
    t = random.normal(row["detectable"] / estimate.se, 1, 100_000) / spread
    assert (np.abs(t) > scipy_stats.t.ppf(0.975, estimate.df)).mean() == pytest.approx(0.8, abs=0.01)


def test_means_and_seeds_behind_them(scores):
    sample = gain.resampled(scores)["brain", "convnet"]
    seeds, counts = counts_of(scores, "l1")
    assert seeds == (100, 102, 103, 104, 105)
    by_hand = dict(zip(seeds, 100 * metrics.miou(*counts), strict=True))
    assert sample.by_seed("l1").dropna().to_dict() == pytest.approx(by_hand)
    assert sample.estimate("l1").seeds == 5
    points = gain.seed_differences(scores).query("penalty == 'soft' and reference == 'l1' and model == 'convnet'")
    assert points["difference"].mean() == pytest.approx(row_of(scores, "soft", "l1")["difference"])


def test_the_answer_tells_numbers_in_words(scores):
    answer = gain.answer(scores)
    frame = gain.contrasts(scores)
    assert [verdict.word for verdict in answer.verdicts[: len(frame)]] == frame["word"].tolist()
    assert all(verdict.word in WORDS for verdict in answer.verdicts)
    said = next(verdict.sentence for verdict in answer.verdicts if verdict.subject == "Soft against l1")
    row = row_of(scores, "soft", "l1")
    for part in (
        gain.signed(row["difference"]),
        f"{gain.signed(row['low'])} to {gain.signed(row['high'])}",
        "over 5 seeds × 6 images, crossed",
        "over the primary contrasts",
        "λ̂ 1e-4",
        f"{row['detectable']:.2f} points. {row['why']}" if row["why"] else f": {row['word']}.",
    ):
        assert part in said
    assert "strength 0.5" in next(v.sentence for v in answer.verdicts if v.subject == "pruning against none")
    assert answer.summary.startswith("Verdicts by pair of data set and model: Soft above none: supported in 2 of 2;")


def test_over_all_each_update_rule_has_its_reference_and_ranks_are_descriptive(scores):
    frame = gain.pooled(scores).set_index("penalty")
    assert frame.loc["l2-adam", "reference"] == "none-adam"
    means = scores.final_test.groupby(["model", "penalty"])["miou"].mean().unstack()
    ranks = means.drop(columns="decay").rank(axis=1, ascending=False).mean()  # the second model has no decay
    assert frame["rank"].dropna().to_dict() == pytest.approx(ranks.to_dict())
    assert "descriptive only" in gain.answer(scores).summary


def test_one_data_set_with_several_models_is_no_verdict_over_all_data_sets(scores):
    frame = gain.pooled(scores).dropna(subset="word").set_index("penalty")
    assert set(frame["word"]) == {"not answerable"}
    assert frame["datasets"].eq(1).all()
    verdicts = [verdict for verdict in gain.answer(scores).verdicts if verdict.dataset == gain.ALL_DATASETS]
    assert len(verdicts) == len(frame)
    assert "a verdict needs 5 of them; here are 1" in verdicts[0].sentence


@pytest.mark.slow
def test_over_all_the_unit_is_the_data_set(tmp_path):
    shapes = {"kind": "shapes", "size": [24, 32], "classes": 3}
    datasets = {f"d{seed}": {**shapes, "seed": seed} for seed in range(6)}
    models = {"convnet": {}, "second": {"kind": "convnet"}}
    penalties = {"none": {}, "l1": {"lambda": [1e-4]}, "l2": {"lambda": [1e-4]}}
    seeds = {"tuning": [0], "evaluation": [100, 101]}
    scores = make_scores(tmp_path, datasets=datasets, models=models, penalties=penalties, seeds=seeds)
    tests = scores.final_test.assign(miou=100 * scores.final_test["miou"])
    # The synthetic scores of all data sets are the same: set them apart, by what a penalty does to each.
    effects = dict(zip(datasets, [-3.0, 1.0, 2.5, 0.5, 4.0, 1.5], strict=True))
    tests["miou"] += tests["dataset"].map(effects).where(tests["penalty"] == "l1", 0)
    vars(scores)["final_test"] = tests.assign(miou=tests["miou"] / 100)
    frame = gain.pooled(scores).set_index("penalty")
    by_set = tests.groupby(["dataset", "penalty"])["miou"].mean().unstack()
    tested = scipy_stats.ttest_rel(by_set["l1"], by_set["none"])
    row = frame.loc["l1"]
    assert (row["difference"], row["datasets"]) == (pytest.approx((by_set["l1"] - by_set["none"]).mean()), 6)
    assert (row["low"], row["high"]) == pytest.approx(tuple(tested.confidence_interval(0.95)))
    assert row["p"] == pytest.approx(tested.pvalue)
    assert row["p_holm"] == pytest.approx(max(tested.pvalue, 2 * min(tested.pvalue, frame.loc["l2", "p"])))
    told = next(each.sentence for each in gain.answer(scores).verdicts if each.dataset == gain.ALL_DATASETS)
    assert "Over 6 data sets, each a mean over its models and seeds, l1" in told


def test_a_twin_with_other_label_noise_is_no_data_set_of_its_own(tmp_path):
    shapes = {"kind": "shapes", "size": [24, 32], "images": 30, "classes": 3}
    datasets = {"clean": shapes, "noisy": {**shapes, "label_noise": 0.2}}
    scores = make_scores(tmp_path, datasets=datasets, penalties={"none": {}, "l1": {"lambda": [1e-4]}})
    assert len(scores.final_test["dataset"].unique()) == 2
    assert gain.pooled(scores).empty


def test_one_seed_decides_nothing(tmp_path):
    scores = make_scores(tmp_path, seeds={"tuning": [0], "evaluation": [100]})
    answer = gain.answer(scores)
    assert [verdict.word for verdict in answer.verdicts] == ["not answerable", "not answerable"]
    assert "1 evaluation seed, where a verdict needs 5" in answer.verdicts[0].sentence
    assert "1 seed and 6 images of test, which gives no interval" in answer.verdicts[0].sentence
    assert gain.contrasts(scores)["primary"].all()  # no soft: all against none


def test_what_is_lacking_is_told(tmp_path):
    nothing = gain.answer(untrained(tmp_path / "a"))
    assert nothing.absent.endswith("finish the study's final.")
    alone = make_scores(tmp_path / "b", penalties={"l1": {"lambda": [1e-4]}})
    assert "kind none" in gain.answer(alone).absent
    assert gain.contrasts(alone).empty


@pytest.mark.parametrize(("value", "text"), [(0.314, "+0.31"), (-1.5, "−1.50"), (-0.001, "0.00"), (0.0, "0.00")])
def test_signs(value, text):
    assert gain.signed(value) == text


@pytest.mark.parametrize(
    ("p", "text"), [(0.0004, "< 0.001"), (0.0123, "= 0.012"), (1.0, "= 1"), (math.nan, "undefined")]
)
def test_p_values(p, text):
    assert p_text(p) == text


def sample_of(counts):
    """`gain.Resampled` of counts (P, S, N, C) with penalties a, b, c …"""
    hits, wrong = counts
    names = list("abcdef")[: len(hits)]
    table = np.stack([hits, wrong, np.zeros_like(wrong)])
    return gain.Resampled(names, list(range(hits.shape[1])), hits.shape[2], table, stats.crossed_jackknife(*table))


def test_first_is_the_share_of_resamples_with_the_best_mean():
    random = np.random.default_rng(3)
    hits = random.integers(40, 60, (3, 5, 8, 2))
    wrong = random.integers(20, 40, (3, 5, 8, 2))
    found = sample_of((hits, wrong)).first
    wins = np.zeros(3)
    for _ in range(4000):
        seeds, images = random.integers(0, 5, 5), random.integers(0, 8, 8)
        tp, rest = (part[:, seeds][:, :, images].sum(2) for part in (hits, wrong))
        wins[(tp / (tp + rest)).mean((1, 2)).argmax()] += 1
    assert list(found.values()) == pytest.approx(wins / 4000, abs=0.03)
    assert 0.05 < max(found.values()) < 0.95


def test_the_same_networks_share_the_first_place():
    random = np.random.default_rng(4)
    hits, wrong = random.integers(40, 60, (2, 4, 6, 2)), random.integers(20, 40, (2, 4, 6, 2))
    hits[1], wrong[1] = hits[0], wrong[0]
    assert sample_of((hits, wrong)).first == {"a": 0.5, "b": 0.5}


def test_who_is_first_needs_two_seeds_that_all_have():
    hits, wrong = np.full((2, 3, 4, 2), 5), np.full((2, 3, 4, 2), 1)
    hits[0, :2] = wrong[0, :2] = 0
    assert all(math.isnan(value) for value in sample_of((hits, wrong)).first.values())
