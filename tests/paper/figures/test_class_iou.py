import numpy as np
import overlap
import pandas as pd
import pytest
import synthetic
from scipy.stats import ttest_1samp

from softreg.paper.figures import class_iou
from softreg.paper.figures.style import Absent
from softreg.paper.questions import estimates
from softreg.paper.scores import Scores
from softreg.scoring.gather import gather

LAMBDA = {"lambda": [1e-4]}
MANY = ["l1", "l2", "soft", "berhu", "mcp", "group_lasso", "l0"]


def scores_of(root, penalties, classes=3, **changes):
    study = synthetic.make_study(
        root, penalties=penalties, seeds={"tuning": [0], "evaluation": [100, 101, 102]}, **changes
    )
    synthetic.make_results(study, root, classes=classes)
    return Scores(gather(study, root / "results", root / "data"))


def iou(scores, penalty):
    """(S, C) IoU in points from the counts of each image, added up by hand."""
    counts = scores.test_counts("brain", "convnet")[penalty]
    tp, fp, fn = (part.sum(axis=1) for part in (counts.tp, counts.fp, counts.fn))
    return 100 * tp / (tp + fp + fn)


@pytest.fixture(scope="module")
def many(tmp_path_factory):
    root = tmp_path_factory.mktemp("many")
    return scores_of(root, {"none": {}, **dict.fromkeys(MANY, LAMBDA)}, classes=11), root / "figures"


def test_the_map_is_of_paired_differences(many):
    scores, folder = many
    (drawn,) = class_iou.draw(scores, folder)
    numbers = pd.read_csv(folder / f"{drawn.name}.csv").set_index(["penalty", "class"])
    assert set(numbers.index.get_level_values("penalty")) == set(MANY)
    values = (iou(scores, "mcp") - iou(scores, "none"))[:, 4]
    interval = ttest_1samp(values, 0).confidence_interval(0.95)
    row = numbers.loc[("mcp", synthetic.CLASSES[4])]
    assert (row["mean"], row["low"], row["high"]) == pytest.approx((values.mean(), *interval))
    assert row["plain"] == pytest.approx(iou(scores, "none")[:, 4].mean())
    assert "minus that of none at the same seed" in drawn.caption


def test_classes_are_sorted_by_the_iou_without_a_penalty(many):
    scores, _ = many
    numbers = class_iou._numbers(scores, "brain")
    order = np.argsort(-iou(scores, "none").mean(axis=0))
    assert list(numbers["class"].unique()) == [synthetic.CLASSES[place] for place in order]


def test_shades_lie_around_zero_and_tell_most_cells_apart():
    values = pd.DataFrame({"mean": np.linspace(-2, 2, 41)})
    steps = class_iou._steps(values)
    assert steps == [-step for step in steps[::-1]]
    assert 2 * 0.95 <= steps[-1] + steps[4] <= 4
    colours, norm = class_iou._shading(steps)
    assert colours(norm(0.0))[:3] == pytest.approx((0.97,) * 3, abs=0.02)  # as good as white
    red, blue = colours(norm(-9.0)), colours(norm(9.0))
    assert red[0] > red[2]
    assert blue[2] > blue[0]


def test_without_a_reference_there_is_nothing_to_compare_with(tmp_path):
    (entry,) = class_iou.draw(scores_of(tmp_path, dict.fromkeys(MANY, LAMBDA)), tmp_path)
    assert entry == Absent(class_iou.TITLE, estimates.NO_REFERENCE)


def test_what_a_model_is_not_trained_with_is_crossed_out(tmp_path):
    penalties = {"none": {}, **dict.fromkeys(MANY, LAMBDA)}
    for name in MANY[2:]:
        penalties[name] = {**LAMBDA, "models": ["convnet"]}
    scores = scores_of(tmp_path, penalties, classes=11, models={"convnet": {}, "other": {"kind": "convnet"}})
    with overlap.drawn() as figures:
        class_iou.draw(scores, tmp_path / "figures")
        assert [fault for figure in figures for fault in overlap.faults(figure)] == []
        crosses = {axis.get_title(): axis.lines[-1].get_xdata() for axis in figures[0].axes if axis.get_title()}
    assert len(crosses["convnet"]) == 0
    assert set(crosses["other"]) == {place + 0.5 for place in range(2, len(MANY))}
    assert len(crosses["other"]) == 11 * (len(MANY) - 2)
