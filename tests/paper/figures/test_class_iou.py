import numpy as np
import overlap
import pandas as pd
import pytest
import synthetic
from measured import make_scores

from softreg.paper.figures import class_iou, style, write_module

LAMBDA = {"lambda": [1e-4]}
MANY = ["l1", "l2", "soft", "berhu", "mcp", "group_lasso", "l0"]


def scores_of(root, penalties, **changes):
    seeds = {"tuning": [0], "evaluation": [100, 101, 102]}
    return make_scores(root, classes=11, penalties=penalties, seeds=seeds, **changes)


def iou(scores, penalty):
    """(S, C) IoU in points from the counts of each image, added up by hand."""
    counts = scores.test_counts("brain", "convnet")[penalty]
    tp, fp, fn = (part.sum(axis=1) for part in counts.table)
    return 100 * tp / (tp + fp + fn)


@pytest.fixture(scope="module")
def many(tmp_path_factory):
    root = tmp_path_factory.mktemp("many")
    return scores_of(root, {"none": {}, **dict.fromkeys(MANY, LAMBDA)}), root / "figures"


def test_the_rows_are_paired_differences(many):
    scores, folder = many
    (drawn,) = write_module(class_iou, scores, folder)
    numbers = pd.read_csv(folder / f"{drawn.name}.csv").set_index(["penalty", "quantity"])
    assert set(numbers.index.get_level_values("penalty")) == set(MANY)
    values = (iou(scores, "mcp") - iou(scores, "none"))[:, 4]
    row = numbers.loc[("mcp", synthetic.CLASSES[4])]
    assert (row["mean"], row["seeds"]) == pytest.approx((values.mean(), 3))
    assert row["plain"] == pytest.approx(iou(scores, "none")[:, 4].mean())
    assert "less that of none at the same seed" in drawn.caption


def test_intervals_are_over_seeds_and_images(many):
    """The variance of the mean by hand: of seeds, and of leaving out each image in turn, less what they share."""
    scores, _ = many
    counts = scores.test_counts("brain", "convnet")
    parts = {name: each.table[..., 4] for name, each in counts.items()}
    images = parts["none"].shape[2]

    def difference(kept):
        """(S,) points on some of the images."""
        each = {name: part[..., kept].sum(axis=2) for name, part in parts.items()}
        return 100 * (each["mcp"][0] / each["mcp"].sum(axis=0) - each["none"][0] / each["none"].sum(axis=0))

    every = np.arange(images)
    seeds = difference(every).var(ddof=1) / 3
    covariance = np.cov([difference(every != out) for out in every], rowvar=False) * (images - 1) ** 2 / images
    shared = covariance.mean()
    both = (np.trace(covariance) / 3 - shared) / 2
    rows = class_iou.numbers(scores, "brain").set_index(["penalty", "quantity"])
    row = rows.loc[("mcp", synthetic.CLASSES[4])]
    variance = max(seeds, both) + max(shared, both) - both
    assert (row["high"] - row["low"]) / 2 > 1.96 * variance**0.5  # Student's t has thicker tails than the normal
    assert row["low"] < row["mean"] < row["high"]


def test_classes_are_sorted_by_the_iou_without_a_penalty(many):
    scores, _ = many
    numbers = class_iou.numbers(scores, "brain")
    order = np.argsort(-iou(scores, "none").mean(axis=0))
    assert list(numbers["quantity"].unique()) == [synthetic.CLASSES[place] for place in order]


def test_a_model_has_rows_for_its_own_penalties_alone_and_nothing_overlaps(tmp_path):
    penalties = {"none": {}, **dict.fromkeys(MANY, LAMBDA)}
    for name in MANY[2:]:
        penalties[name] = {**LAMBDA, "models": ["convnet"]}
    models = {"convnet": {}, "a-rather-long-name": {"kind": "convnet"}}
    scores = scores_of(tmp_path, penalties, models=models)
    with overlap.drawn() as figures:
        write_module(class_iou, scores, tmp_path / "figures")
        assert [fault for figure in figures for fault in overlap.faults(figure)] == []
        assert all(figure.get_size_inches()[1] <= style.TALL for figure in figures)
        rows = [len(axis.get_yticks()) for figure in figures for axis in figure.axes if axis.get_visible()]
    assert rows == [len(MANY)] * 11 + [2] * 11
