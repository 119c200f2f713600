"""A figure that would say nothing is absent, and its reason says what to do."""

import re

import pytest
from matplotlib import pyplot as plt
from measured import make_scores, untrained

from softreg.paper.figures import (
    class_iou,
    complexity,
    cost,
    degeneracy,
    gallery,
    lambda_curves,
    layer_paths,
    paired_difference,
    pareto,
    ranks,
    reliability,
    robustness,
    write_module,
)
from softreg.paper.figures.style import Absent, Drawn

ONE = {"lambda": [1e-4]}
GRID = {"lambda": [1e-4, 1e-3]}
ADD_NONE = "add `none:`"


@pytest.fixture(scope="module")
def studies(tmp_path_factory):
    """Scores of a study that has not been trained, of one without an unpenalised entry, and of others."""
    made = {"untrained": untrained(tmp_path_factory.mktemp("untrained"))}
    others = {
        "no reference": {"l2": GRID, "l1": ONE},
        "one strength": {"none": {}, "l1": ONE},
        "two seeds": {"none": {}, "l1": GRID, "soft": GRID},
    }
    return made | {name: make_scores(tmp_path_factory.mktemp("study"), penalties=each) for name, each in others.items()}


@pytest.mark.parametrize(
    ("study", "module", "told"),
    [
        ("untrained", lambda_curves, "No sweep cell with a λ above 0 has a validation score on brain yet"),
        ("untrained", paired_difference, "No evaluation seed has a test score on both sides of a contrast on brain"),
        ("untrained", class_iou, "No seed on brain"),
        ("untrained", reliability, "No seed on brain"),
        ("untrained", ranks, "add data sets or penalties, or wait for the cells"),
        ("untrained", gallery, "No final cell of convnet on brain has stored predictions yet"),
        ("untrained", pareto, "finish the study's sweep"),
        ("untrained", layer_paths, "finish it"),
        ("untrained", cost, "train the study first"),
        ("no reference", paired_difference, "add an unpenalised one (kind none)"),
        ("no reference", layer_paths, "kind none"),
        ("no reference", class_iou, ADD_NONE),
        ("no reference", reliability, ADD_NONE),
        ("no reference", robustness, ADD_NONE),
        ("no reference", complexity, ADD_NONE),
        ("one strength", lambda_curves, "Each entry has one strength"),
        ("one strength", layer_paths, "Each entry has one strength"),
        ("one strength", pareto, "Each entry has one strength"),
        ("two seeds", degeneracy, "at least 3 tuning seeds; for convnet on brain there are 2"),
    ],
)
def test_the_reason_says_what_is_missing(studies, study, module, told, tmp_path):
    entries = write_module(module, studies[study], tmp_path)
    assert entries
    for entry in entries:
        assert isinstance(entry, Absent)
        assert told in entry.reason
        assert re.fullmatch(r"[A-Z].*\.", entry.reason)
    assert not list(tmp_path.iterdir())
    assert plt.get_fignums() == []


def test_curves_need_no_reference(studies, tmp_path):
    """One of them is of one λ."""
    (curves,) = write_module(lambda_curves, studies["no reference"], tmp_path)
    assert isinstance(curves, Drawn)
