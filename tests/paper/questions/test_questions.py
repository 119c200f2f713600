"""All questions at once, on studies that lack this or that: each answers, or says in a sentence what it lacks."""

from types import SimpleNamespace

import numpy as np
import pandas as pd
import pytest
import synthetic
from measured import make_scores, untrained
from scipy.stats import norm
from statsmodels.stats.multitest import multipletests

from softreg.files import read_json
from softreg.paper.figures import complexity, cost, degeneracy, write_figures
from softreg.paper.questions import answers
from softreg.paper.questions.answer import EQUIVALENT, WORDS
from softreg.paper.questions.estimates import adjusted_words, row_of, word_of
from softreg.paper.stats import Estimate

TITLES = {"cost": cost.TITLE, "degeneracy": degeneracy.TITLE, "complexity_images": complexity.TITLE_IMAGES}
"""Of the figures that are left out where they would say nothing, though the question has an answer."""
DIVERGED = {("l1", value, seed): "diverged" for value in synthetic.GRID for seed in (0, 1, 100, 101, 102)}
ALL = {(name, value, seed): "diverged" for name in ("none", "l1", "l2") for _, value, seed in DIVERGED}
ALL |= {("none", "0", seed): "diverged" for seed in (0, 1, 100, 101, 102)}
STUDIES = {
    "whole": ({}, {}),
    "nothing run": (None, {}),
    "one seed": ({}, {"seeds": {"tuning": [0], "evaluation": [100]}}),
    "no reference": ({}, {"penalties": {"l1": {"lambda": [1e-4, 1e-3]}, "l2": {"lambda": [1e-4]}}}),
    "no penalty": ({}, {"penalties": {"none": {}}}),
    "one λ": ({}, {"penalties": {"none": {}, "l1": {"lambda": [1e-4]}}}),
    "a penalty that diverged throughout": (DIVERGED, {}),
    "all diverged": (ALL, {}),
    "folds": ({}, {"selection": {"scorer": "kfold", "folds": 2}}),
    "controls alone": ({}, {"penalties": {"none": {}, "pruning": {"lambda": [0.5, 0.9]}}}),
    "several": ({}, {"datasets": {"brain": {}, "shapes": {}}, "models": {"convnet": {}, "other": {"kind": "convnet"}}}),
}


def scores_of(root, name):
    statuses, changes = STUDIES[name]
    return untrained(root, **changes) if statuses is None else make_scores(root, statuses, **changes)


@pytest.mark.parametrize(
    "name", [pytest.param(name, marks=[pytest.mark.slow] if name == "several" else []) for name in STUDIES]
)
def test_every_question_answers_or_says_what_is_lacking(tmp_path, name):
    found = answers(scores_of(tmp_path, name))
    assert [answer.key for answer in found] == [f"H{number}" for number in range(1, 8)]
    for answer in found:
        assert answer.absent or answer.summary, answer.key
        assert {verdict.word for verdict in answer.verdicts} <= set(WORDS)
        for text in (answer.absent, answer.summary, *(verdict.sentence for verdict in answer.verdicts)):
            assert "nan" not in text.lower().replace("finan", ""), (answer.key, text)
            assert text == "" or text.rstrip().endswith((".", ".)")), (answer.key, text)
            assert name != "all diverged" or "finish the" not in text, (answer.key, text)
    if name == "all diverged":
        assert found[0].absent.endswith("23 of 23 networks did not finish (14 diverged, 9 not run).")


@pytest.mark.slow
def test_equivalence_is_adjusted_over_its_family_as_differences_are():
    """A dozen differences on the border: unadjusted, nearly every second study would call one equivalent."""
    means, se = 0.5 + np.random.default_rng(0).normal(0, 0.1, (200, 12)), 0.1
    studies = []
    for study in means:
        rows = {"mean": study, "se": se, "df": 1e6, "low": study - 1.96 * se, "high": study + 1.96 * se, "p": 0.001}
        frame = adjusted_words(pd.DataFrame(rows), [], 0.5)
        studies.append([(frame["word"] == EQUIVALENT).any(), (frame["p_equivalence"] < 0.05).any()])
    by_hand = multipletests(norm.cdf((means[-1] - 0.5) / se), method="holm")[1]
    assert frame["p_equivalence_holm"].to_numpy() == pytest.approx(by_hand, abs=1e-5)
    adjusted, plain = np.mean(studies, axis=0)
    # Four standard errors above 5 %; 1 − 0.95¹² is 46 %.
    assert adjusted < 0.05 + 4 * np.sqrt(0.05 * 0.95 / 200)
    assert plain > 0.35


@pytest.mark.slow
@pytest.mark.parametrize("name", ["nothing run", "one seed", "no reference", "folds"])
def test_figures_are_drawn_or_told(tmp_path, name):
    scores = scores_of(tmp_path, name)
    write_figures(scores, tmp_path)
    entries = read_json(tmp_path / "figures" / "figures.json")
    assert entries
    for entry in entries:
        assert entry.get("reason") or (tmp_path / "figures" / f"{entry['name']}.svg").is_file()
    drawn = {entry["name"] for entry in entries if "name" in entry}
    absent = [entry["title"] for entry in entries if "reason" in entry]
    for answer in answers(scores):
        for stem in answer.figures:
            shown = any(name == stem or name.startswith(f"{stem}-") for name in drawn)
            assert shown or any(title.startswith(TITLES.get(stem, "?")) for title in absent), (answer.key, stem)


@pytest.mark.parametrize(
    ("wide", "narrow", "expected"),
    [
        ((0.2, 1.0), (0.3, 0.9), "supported"),
        ((-1.0, -0.2), (-0.9, -0.3), "contradicted"),
        ((-0.4, 0.3), (-0.3, 0.2), "equivalent"),
        ((0.1, 0.4), (0.15, 0.35), "equivalent"),
        ((-0.4, -0.1), (-0.35, -0.15), "equivalent"),
        ((-0.52, 0.3), (-0.48, 0.2), "equivalent"),
        ((-0.2, 0.9), (-0.1, 0.8), "undecided"),
        ((0.0, 1.0), (0.1, 0.9), "undecided"),
        ((np.nan, np.nan), (np.nan, np.nan), "undecided"),
    ],
)
def test_words_of_two_intervals(wide, narrow, expected):
    ends = dict(zip(("low", "high", "low90", "high90"), (*wide, *narrow), strict=True))
    assert word_of(SimpleNamespace(**ends), 0.5) == expected


@pytest.mark.parametrize("difference", np.linspace(-1, 1, 9))
def test_the_word_of_an_estimate_agrees_with_its_p_of_equivalence(difference):
    estimate = Estimate(difference, 0.13, 5.3, 5, 45)
    word = word_of(SimpleNamespace(**row_of(estimate)), 0.5)
    assert (word == EQUIVALENT) == (estimate.equivalence_p(0.5) < 0.05)
