"""What a study can decide: needs that are lacking, and widths against what is measured and published."""

import math
import re
import sys
from dataclasses import replace
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import synthetic
from measured import make_scores
from scipy import stats as scipy_stats

from softreg.paper import design, stats
from softreg.paper.design import published, questions
from softreg.paper.design.widths import Design
from softreg.paper.questions import gain
from softreg.paper.scores import Scores
from softreg.paper.stats import Spread
from softreg.study.config import load_study

ROOT = Path(__file__).parents[2]
NOWHERE = Path("nowhere")
SHAPES = {"kind": "shapes", "size": [24, 32], "images": 100, "classes": 3}


def words(study, folder=NOWHERE):
    return {found.key: found.word for found in questions.findings(Design.of(study, folder))}


def reasons(study, folder=NOWHERE):
    return {found.key: found.reason for found in questions.findings(Design.of(study, folder))}


def test_a_spread_gives_back_the_interval_that_it_was_taken_from():
    random = np.random.default_rng(0)
    for seeds, images in ((5, 20), (10, 45), (6, 8)):
        tp = random.integers(50, 90, (2, seeds, images, 3))
        crossed = stats.crossed_jackknife(tp, 10 + 0 * tp, 100 - tp)
        found = stats.crossed_interval(crossed, 0, 1)
        spread = stats.spread_of(crossed, 0, 1)
        for confidence in (0.9, 0.95):
            interval = found.interval(confidence)
            half = (interval.high - interval.low) / 2
            # A variance below 0 is 0 in a spread: then the error is not too small.
            assert spread.half_width(seeds, images, confidence) >= half * (1 - 1e-9)
            if min(spread.seed, spread.image) > 0:
                assert spread.half_width(seeds, images, confidence) == pytest.approx(half)


def test_held_out_seeds_are_planned_with_what_they_share(monkeypatch):
    """Of values with s = 1 over 3 seeds: s² · (1/S + 1/11) at 3 seeds as it was found, and at 20 as it is expected."""
    half = scipy_stats.t.ppf(0.975, 2) * math.sqrt(1 / 3 + 1 / 11)
    rows = pd.DataFrame({"low": [-half], "high": [half], "n": [3]})
    made = Design.of(load_study(ROOT / "config" / "wbc.yaml"), NOWHERE)
    monkeypatch.setitem(vars(made), "numbers", {"H3": rows})
    expected = scipy_stats.t.ppf(0.95, 19) * math.sqrt(1 / 20 + 1 / 11)
    assert made.observed("H3", "n > 1", 20, "n", stats.HELD_OUT_SHARED) == pytest.approx([expected])


def test_power_of_equivalence_is_that_of_simulated_studies():
    """Seeds alone vary, so that a study is a sample of the t-test."""
    random, rope, seeds = np.random.default_rng(1), 0.5, 12
    spread = Spread(seed=0.36, image=0.0, both=0.0)
    values = random.normal(0, 0.6, (4000, seeds))
    means, errors = values.mean(1), values.std(1, ddof=1) / np.sqrt(seeds)
    # Satterthwaite's degrees of freedom of a spread without images are these.
    a = 0.36 / seeds * (seeds - 1) / (seeds - 3)
    df = a**2 / (a**2 / (seeds - 1))
    shown = np.abs(means) + scipy_stats.t.ppf(0.95, df) * errors < rope
    assert spread.equivalence_power(seeds, 10**9, rope) == pytest.approx(shown.mean(), abs=0.04)


def test_published_variances_are_those_of_the_published_scores():
    sys.path.insert(0, str(ROOT / "benchmarks"))
    try:
        from variances import variances
    finally:
        sys.path.pop(0)
    found = variances(ROOT / "results" / "published" / "wbc")
    for model, spread in (("convnet", published.SCRATCH), ("unet-lite0", published.PRETRAINED)):
        assert vars(found["wbc", model]) == pytest.approx(vars(spread), abs=0.006)


def test_seeds_needed_are_those_measured_on_the_published_networks():
    """FEW: soft against l1 in the U-Net; MANY: l2 in the small network; NEVER: l1 there, with 45 images."""
    study = load_study(ROOT / "config" / "wbc.yaml")
    made = Design.of(study, ROOT / "results" / "published" / "wbc" / "scores")
    needed = dict(zip([(c.model, c.penalty, c.reference) for c in made.contrasts], made.seeds_needed(), strict=True))
    assert needed["unet-lite0", "soft", "l1"] == 5
    assert needed["unet-lite0", "soft", "none"] == 20
    assert needed["convnet", "soft", "none"] is None


def test_what_a_small_study_lacks_is_named(tmp_path):
    study = synthetic.make_study(tmp_path, seeds={"tuning": [0, 1], "evaluation": [100, 101, 102]})
    assert set(words(study).values()) == {"not answerable"}
    found = reasons(study)
    assert "3 evaluation seeds, where a verdict needs 5" in found["H1"]
    assert "no two entries at matching strengths" in found["H2"]
    assert "2 tuning seeds" in found["H3"]
    assert "no pruning or small_dense" in found["H3"]
    assert "1 model, where a slope needs 3" in found["H5"]
    assert "2 tuning seeds" in found["H6"]
    alone = replace(study, penalties={"l1": study.penalties["l1"]})
    assert "no entry of kind none has the same `training`" in reasons(alone)["H1"]


def test_a_study_without_scores_goes_by_published_variances(tmp_path):
    seeds = {"tuning": [*range(6)], "evaluation": [*range(100, 120)]}
    datasets = {"few": SHAPES, "many": {**SHAPES, "objects": 9}}
    study = synthetic.make_study(tmp_path, datasets=datasets, seeds=seeds)
    made = Design.of(study, NOWHERE)
    assert {name: test.images for name, test in made.tests.items()} == {"few": 15, "many": 15}
    half = published.SCRATCH.half_width(20, 15, 0.9)
    assert made.half_widths() == pytest.approx([half] * 4)
    found = reasons(study)
    assert "20 seeds × 15 test images: equivalence within ±0.5 can be shown in none of 4" in found["H1"]
    assert f"±{half:.2g}" in found["H1"]
    assert "2 of 5" in found["H1"]
    assert "drawn scenes at 2 levels" in found["H4"]
    assert "published variances" in design.told(study, NOWHERE)


def test_what_hangs_on_the_number_of_test_images_is_not_known_before_the_data_are_prepared(tmp_path):
    own = {"kind": "folder", "images": "images", "masks": "masks", "classes": ["a", "b"]}
    seeds = {"tuning": [*range(6)], "evaluation": [*range(100, 120)]}
    study = synthetic.make_study(tmp_path, datasets={"own": own}, seeds=seeds)
    assert words(study)["H1"] == "not known yet"
    assert (
        "20 seeds × an unknown number of test images: what this can show is known once the data" in reasons(study)["H1"]
    )


def test_groups_are_what_counts(tmp_path):
    camvid = load_study(ROOT / "config" / "camvid.yaml")
    assert "10 seeds × 13 groups of test images" in reasons(camvid)["H1"]
    brain = synthetic.make_study(tmp_path, seeds={"tuning": [*range(5)], "evaluation": [*range(100, 110)]})
    assert words(brain)["H1"] == words(brain)["H4"] == "not answerable"
    assert "5 groups of them are needed, and those of brain are of 1 group" in reasons(brain)["H1"]


@pytest.fixture(scope="module")
def gathered(tmp_path_factory):
    root = tmp_path_factory.mktemp("own")
    seeds = {"tuning": [*range(5)], "evaluation": [*range(100, 106)]}
    folder = make_scores(root, datasets={"scenes": SHAPES}, seeds=seeds).folder
    return load_study(root / "study.yaml"), folder


def test_own_scores_give_the_widths_that_the_verdicts_have(gathered):
    study, folder = gathered
    made = Design.of(study, folder)
    frame = gain.contrasts(Scores(folder))
    assert made.half_widths() == pytest.approx(((frame["high90"] - frame["low90"]) / 2).tolist(), rel=0.02)
    # More seeds make them narrower.
    more = Design.of(replace(study, seeds=study.seeds | {"evaluation": [*range(100, 140)]}), folder)
    assert all(a < b for a, b in zip(more.half_widths(), made.half_widths(), strict=True))


def test_the_told_has_a_sentence_for_each_question(gathered):
    study, folder = gathered
    text = design.told(study, folder)
    assert re.findall(r"^(H\d)", text, re.MULTILINE) == [f"H{n}" for n in range(1, 8)]
    assert "nan" not in text
    assert all(len(line) <= 110 for line in text.splitlines())


def test_a_race_leaves_what_needs_all_strengths_with_every_seed_unanswerable(tmp_path):
    grid = [1e-5, 1e-4, 1e-3]
    penalties = {"none": {}, "l1": {"lambda": grid}, "soft": {"lambda": grid}, "pruning": {"lambda": [0.5]}}
    seeds = {"tuning": list(range(6)), "evaluation": list(range(100, 106))}
    whole, race = (
        synthetic.make_study(tmp_path, penalties=penalties, seeds=seeds, selection={"search": search})
        for search in ("grid", "halving")
    )
    changed = {key for key, word in words(race).items() if word != words(whole)[key]}
    assert changed == {"H2", "H3", "H6"}
    for key in changed:
        assert words(race)[key] == questions.NOT_ANSWERABLE
        assert reasons(race)[key] == questions.RACED
