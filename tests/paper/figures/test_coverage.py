import overlap
import pandas as pd
import pytest
import synthetic

from softreg.paper.figures import coverage, style
from softreg.paper.figures.style import Absent
from softreg.paper.scores import Scores
from softreg.scoring.gather import gather

STATUSES = {("l1", "1e-4", 101): "diverged", ("l2", "1e-3", 0): "failed", ("l2", "1e-3", 1): "failed"}


@pytest.fixture(scope="module")
def scores(tmp_path_factory):
    root = tmp_path_factory.mktemp("study")
    study = synthetic.make_study(root)
    synthetic.make_results(study, root, statuses=STATUSES)
    return Scores(gather(study, root / "results", root / "data"))


def test_cells_are_counted_by_phase_and_penalty(scores, tmp_path):
    (drawn,) = coverage.draw(scores, tmp_path)
    numbers = pd.read_csv(tmp_path / "coverage.csv").set_index(["phase", "penalty"])[["finished", "expected"]]
    assert numbers.to_dict("split")["data"] == [[2, 2], [6, 6], [4, 6], [3, 3], [2, 3], [3, 3]]
    assert "20 of 23 have finished" in drawn.caption
    assert "2 failed (the loss was lost at step 40), 1 diverged (the loss was nan at step 40)." in drawn.caption
    assert "sweep, brain, convnet, l2: 4 of 6; final, brain, convnet, l1: 2 of 3" in drawn.alt


def test_an_unstarted_study_is_all_missing(tmp_path):
    study = synthetic.make_study(tmp_path)
    (drawn,) = coverage.draw(Scores(synthetic.gather_part(study, tmp_path / "results", tmp_path / "data")), tmp_path)
    assert "In the whole study 0 of 23 have finished; 23 not run (no λ was chosen for it)." in drawn.caption


def test_reasons_are_the_most_frequent_first():
    cells = pd.DataFrame({"status": ["failed", "diverged", "failed", "failed"], "reason": ["b.", "", "a", "a"]})
    assert coverage._reasons(cells) == "3 failed (such as: a), 1 diverged"


def test_a_matrix_too_large_for_a_page_goes_on_to_the_next(tmp_path):
    penalties = {"none": {}} | {f"a-rather-long-name-{n:02d}": {"kind": "l1", "lambda": [1e-4]} for n in range(30)}
    models = {f"model-with-a-long-name-{n:02d}": {"kind": "convnet"} for n in range(20)}
    study = synthetic.make_study(tmp_path, penalties=penalties, models=models)
    scores = Scores(synthetic.gather_part(study, tmp_path / "results", tmp_path / "data"))
    with overlap.drawn() as figures:
        entries = coverage.draw(scores, tmp_path)
        assert [fault for figure in figures for fault in overlap.faults(figure)] == []
        for figure in figures:
            width, height = figure.get_size_inches()
            assert (width, height <= style.TALL) == (style.PAGE, True)
    shown = pd.concat([pd.read_csv(tmp_path / f"{entry.name}.csv") for entry in entries])
    shown = shown.loc[shown["phase"] == "final", ["model", "penalty"]].to_numpy().tolist()
    assert len(entries) > 1
    assert sorted(shown) == sorted([model, penalty] for model in models for penalty in penalties)


def test_a_study_whose_cells_have_all_finished_needs_no_matrix(tmp_path):
    study = synthetic.make_study(tmp_path)
    synthetic.make_results(study, tmp_path)
    (entry,) = coverage.draw(Scores(gather(study, tmp_path / "results", tmp_path / "data")), tmp_path)
    assert entry == Absent(coverage.TITLE, "All 23 cells of the study have finished.")
