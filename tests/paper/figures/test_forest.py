import pandas as pd
import pytest
from measured import make_scores

from softreg.paper.figures import forest, style
from softreg.paper.scores import Scores


@pytest.fixture(scope="module")
def scores(tmp_path_factory):
    models = {"a": {"kind": "convnet"}, "b": {"kind": "convnet"}}
    return make_scores(tmp_path_factory.mktemp("study"), models=models)


def values(**rows):
    """Rows of model a, quantity mIoU: each penalty's values of seeds 0, 1 and so on."""
    frame = [("a", name, seed, "mIoU", each) for name, row in rows.items() for seed, each in enumerate(row)]
    return pd.DataFrame(frame, columns=["model", "penalty", "seed", "quantity", "value"])


def test_differences_are_paired_and_cut_at_their_limit(scores):
    """By hand: differences 1, 2 and 3 have mean 2 and standard error 1/√3; t(2) at 97.5 % is 4.3027."""
    rows = forest.paired(scores, values(none=[70, 60, 50], l1=[71, 62, 53], l2=[70, 60, 50]), {"mIoU": 4.0})
    l1, l2 = rows.set_index("penalty").loc["l1"], rows.set_index("penalty").loc["l2"]
    assert (l1["mean"], l1["seeds"], l1["plain"]) == (2, 3, 60)
    assert (l1["low"], l1["high"]) == pytest.approx((2 - 4.3027 / 3**0.5, 4.0), abs=1e-4)
    assert (l2["mean"], l2["low"], l2["high"]) == (0, 0, 0)


@pytest.mark.parametrize("noise", [0.0, 1e-14])
def test_what_does_not_differ_has_an_axis_of_whole_numbers(scores, noise):
    rows = forest.paired(scores, values(none=[70, 60, 50], l1=[70 + noise, 60, 50]))
    (page,) = forest.pages(scores, "cells", rows, lambda *_: ("", ""))
    with style.paper("same"):
        (axis,) = page.draw().axes
        assert axis.get_xlim() == (-1, 1)
        assert axis.get_title() == "mIoU\nnone: 60.0"
        assert [label.get_text() for label in axis.get_yticklabels()] == ["l1"]


def test_a_level_and_the_axis_are_of_the_entry_that_a_penalty_is_compared_with(scores, monkeypatch):
    references = {"none": "none", "none-adam": "none-adam", "l1": "none", "l2": "none-adam"}
    monkeypatch.setattr(Scores, "references", references)
    two = values(**{"none": [70, 60], "none-adam": [90, 80]})
    rows = pd.DataFrame({"model": "a", "penalty": ["l1", "l2"], "quantity": "mIoU", "mean": 1.0, "low": 0.5, "high": 2})
    rows = forest.with_plain(scores, rows, two)
    assert rows["plain"].tolist() == [65, 85]
    (page,) = forest.pages(scores, "cells", rows, lambda *_: ("", ""))
    with style.paper("several"):
        figure = page.draw()
        assert figure.axes[0].get_title() == "mIoU\nnone: 65.0\nnone-adam: 85.0"
        assert figure.get_supxlabel() == "difference to the unpenalised entry of the same update rule (points)"
