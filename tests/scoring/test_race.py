"""A race by halving, on validation records made by hand: what each seed trains, what is chosen, and what is told."""

import numpy as np
import pandas as pd
import pyarrow as pa
import pytest
import synthetic

from softreg.files import digest
from softreg.paper.questions import answers
from softreg.paper.report import coverage
from softreg.paper.scores import Scores
from softreg.running.graph import Graph
from softreg.scoring import records
from softreg.scoring.gather import gather
from softreg.scoring.race import best_half, lambdas_of
from softreg.scoring.select import choose, select_group
from softreg.study import matrix
from softreg.study.fingerprint import code_fingerprint

EIGHT = [1e-8, 1e-7, 1e-6, 1e-5, 1e-4, 1e-3, 1e-2, 1e-1]
NAMES = [f"1e-{power}" for power in range(8, 0, -1)]
GROUP = ("brain", "convnet", "l1")
HALVING = {"search": "halving"}


def study_of(root, grid=EIGHT, tuning=(0, 1, 2), penalties=None, **selection):
    """A study that races one penalty, or as ``selection`` says."""
    return synthetic.make_study(
        root,
        penalties={"none": {}, "l1": {"lambda": list(grid)}, **(penalties or {})},
        seeds={"tuning": list(tuning), "evaluation": [100, 101]},
        selection=HALVING | selection,
    )


def paths_of(study, penalty="l1"):
    return matrix.sweep_paths(study, (*GROUP[:2], penalty))


def write_scores(root, path, scores):
    """Validation records of a path, whose trials have these mIoU in per mille; one that is not named has none."""
    rows = [
        synthetic.sums_row(path, name, "val", "", 0, 1, 1, (10, 100)) | {"tp": [hits], "fp": [0], "fn": [1000 - hits]}
        for name, hits in scores.items()
    ]
    file = root / "sweep" / path.name / "val.parquet"
    file.parent.mkdir(parents=True, exist_ok=True)
    records.write(pa.Table.from_pylist(rows, records.SUMS), file, records.SUMS)


@pytest.mark.parametrize(
    ("trials", "networks"),
    [(8, [8, 4, 2]), (7, [7, 4, 2]), (5, [5, 3, 2]), (3, [3, 2, 2]), (2, [2, 2, 2]), (1, [1, 1, 1])],
)
def test_each_seed_trains_half_and_two_at_least(trials, networks, tmp_path):
    study = study_of(tmp_path, EIGHT[:trials])
    assert [matrix.networks_of(study, path) for path in paths_of(study)] == networks
    # Beside them none, with three tuning seeds, and two finals of each.
    assert matrix.count_cells(study) == sum(networks) + 3 + 2 * 2
    assert f"l1 {sum(networks)} of {3 * trials}" in matrix.race_told(study.to_dict())


def test_pairs_of_strength_and_learning_rate_are_raced_together(tmp_path):
    study = study_of(tmp_path, [1e-5, 1e-4, 1e-3], penalties={"l2": {"lambda": [1e-4], "training": {"lr": [0.1, 0.2]}}})
    assert [matrix.networks_of(study, path) for path in paths_of(study, "l2")] == [2, 2, 2]
    study = study_of(tmp_path, penalties={"l2": {"lambda": [0, 1e-4], "training": {"lr": [0.1, 0.2, 0.4]}}})
    assert [matrix.networks_of(study, path) for path in paths_of(study, "l2")] == [6, 3, 2]


def test_without_a_race_all_is_trained_and_nothing_told(tmp_path):
    study = study_of(tmp_path, search="grid")
    assert matrix.count_cells(study) == 3 * 8 + 3 + 2 * 2
    assert matrix.race_told(study.to_dict()) == ""
    assert all(lambdas_of(study, path, tmp_path) == NAMES for path in paths_of(study))


def test_the_better_half_goes_on_by_the_mean_over_the_seeds_so_far(tmp_path):
    study = study_of(tmp_path)
    first, second, third = paths_of(study)
    assert lambdas_of(study, first, tmp_path) == NAMES
    write_scores(tmp_path, first, dict(zip(NAMES, [500, 610, 620, 640, 630, 600, 400, 300], strict=True)))
    assert lambdas_of(study, second, tmp_path) == ["1e-7", "1e-6", "1e-5", "1e-4"]
    # Means over both seeds: 650, 605, 635, 630. 1e-7 was the last of the four, and is now the best.
    write_scores(tmp_path, second, {"1e-7": 690, "1e-6": 590, "1e-5": 630, "1e-4": 630})
    assert lambdas_of(study, third, tmp_path) == ["1e-7", "1e-5"]


def test_what_is_chosen_has_all_seeds_whatever_was_dropped(tmp_path):
    study = study_of(tmp_path)
    first, second, third = paths_of(study)
    write_scores(tmp_path, first, dict(zip(NAMES, [900, 910, 920, 930, 500, 500, 400, 300], strict=True)))
    write_scores(tmp_path, second, {"1e-8": 100, "1e-7": 100, "1e-6": 110, "1e-5": 120})
    # Both end below what 1e-4 scored with the one seed that it had.
    write_scores(tmp_path, third, {"1e-6": 140, "1e-5": 100})
    row = select_group(study, tmp_path, GROUP).iloc[0]
    assert (row["lambda"], row["n"], row["expected"]) == ("1e-6", 3, 3)
    assert row["val_miou_points"] == pytest.approx((92 + 11 + 14) / 3)


def test_what_has_diverged_loses_and_is_not_made_up_for(tmp_path):
    study = study_of(tmp_path)
    first, second, third = paths_of(study)
    write_scores(tmp_path, first, {"1e-8": 500, "1e-7": 400, "1e-5": 300})
    assert lambdas_of(study, second, tmp_path) == ["1e-8", "1e-7", "1e-5"]
    # 1e-8 has the better mean, of the one seed that it has.
    write_scores(tmp_path, second, {"1e-7": 400, "1e-5": 300})
    assert lambdas_of(study, third, tmp_path) == ["1e-7", "1e-5"]
    write_scores(tmp_path, second, {})
    assert lambdas_of(study, third, tmp_path) == []


def test_among_equals_the_strongest_goes_on_by_number():
    curve = pd.DataFrame({"lambda": ["9e-4", "1e-2", "5e-3", "1e-5"], "val_miou": [0.6, 0.6, 0.6, 0.7], "seeds": 2})
    assert best_half(curve, 2, 2) == ["1e-5", "1e-2"]
    rates = pd.DataFrame({"lambda": ["1e-3@2e-1", "1e-3@1e-1", "1e-4@1e-1"], "val_miou": 0.5, "seeds": 1})
    for rows in (rates, rates[::-1]):
        assert best_half(rows, 1, 2) == ["1e-3@2e-1", "1e-3@1e-1"]
        assert choose(rows, pd.DataFrame(), "best")["lambda"] == "1e-3@2e-1"


def test_the_order_of_the_seeds_is_that_of_the_study(tmp_path):
    study = study_of(tmp_path, tuning=(7, 3))
    before = [[each.seed for each in matrix.raced_before(study, path)] for path in paths_of(study)]
    assert [path.seed for path in paths_of(study)] == [7, 3]
    assert before == [[], [7]]


def test_all_folds_of_a_seed_decide_what_the_next_trains(tmp_path):
    study = study_of(tmp_path, EIGHT[:4], (0, 1), scorer="kfold", folds=2)
    first, second, *later = paths_of(study)
    assert [matrix.networks_of(study, path) for path in (first, second, *later)] == [4, 4, 2, 2]
    assert [matrix.raced_before(study, path) for path in later] == [[first, second]] * 2
    write_scores(tmp_path, first, {"1e-8": 900, "1e-7": 500, "1e-6": 600, "1e-5": 800})
    write_scores(tmp_path, second, {"1e-8": 100, "1e-7": 600, "1e-6": 700})
    # Of all folds together 500, 550 and 650; 1e-5 lacks one.
    assert [lambdas_of(study, path, tmp_path) for path in later] == [["1e-7", "1e-6"]] * 2


def test_a_race_is_that_of_a_loop_over_arrays(tmp_path):
    random = np.random.default_rng(4)
    study = study_of(tmp_path, tuning=range(4))
    scores = random.integers(1, 1000, (8, 4))
    left = np.arange(8)
    for seed, path in enumerate(paths_of(study)):
        assert lambdas_of(study, path, tmp_path) == [NAMES[place] for place in sorted(left)]
        write_scores(tmp_path, path, {NAMES[place]: int(scores[place, seed]) for place in left})
        keep = max(2, (len(left) + 1) // 2)
        left = left[np.argsort(-scores[left, : seed + 1].sum(1))[:keep]]


def keys(study, penalty="l1"):
    graph = Graph(study)
    return [graph.train(path).key for path in paths_of(study, penalty)]


def test_the_key_of_a_seed_covers_those_before_it(tmp_path):
    before, more = keys(study_of(tmp_path)), keys(study_of(tmp_path, tuning=(0, 1, 2, 3)))
    assert more[:3] == before
    swapped = keys(study_of(tmp_path, tuning=(1, 0, 2)))
    # Of seeds 1, 0 and 2: each follows others than before.
    assert not set(swapped) & set(before)
    wider = keys(study_of(tmp_path, [*EIGHT, 1]))
    assert not set(wider) & set(before)


def test_only_a_race_changes_keys(tmp_path):
    grid, race = (study_of(tmp_path, search=search) for search in ("grid", "halving"))
    assert keys(grid)[0] == keys(race)[0]
    assert not set(keys(grid)[1:]) & set(keys(race)[1:])
    assert keys(grid, "none") == keys(race, "none")
    # The key of a selection is older than the search, which it does not tell.
    parts = ["select", {"scorer": "holdout", "folds": 5, "rule": "best"}, keys(grid)]
    assert Graph(grid).select(GROUP).key == digest([*parts, code_fingerprint("softreg.scoring.select")])[:16]


@pytest.fixture(scope="module")
def gathered(tmp_path_factory):
    """The scores of a whole study whose l1 and soft were raced: three λ with the first tuning seed, then two."""
    root = tmp_path_factory.mktemp("raced")
    study = study_of(root, [1e-5, 1e-4, 1e-3], penalties={"soft": {"lambda": [1e-5, 1e-4, 1e-3]}})
    synthetic.make_results(study, root, images=3, statuses={("l1", "1e-5", 1): "diverged"})
    return Scores(gather(study, root / "results", root / "data"))


def test_what_the_race_dropped_is_not_asked_for(gathered):
    sweep = gathered.cells[(gathered.cells["phase"] == "sweep") & (gathered.cells["penalty"] == "l1")]
    # By the errors of synthetic cells, 1e-3 is the worst; 1e-5 diverges with the second seed, and is out of the third.
    assert sorted(zip(sweep["seed"], sweep["lambda"], strict=True)) == [
        *((0, name) for name in ("1e-3", "1e-4", "1e-5")),
        *((1, name) for name in ("1e-4", "1e-5")),
        (2, "1e-4"),
    ]
    (told,) = (phase for phase in coverage.phases(gathered) if phase["phase"] == "sweep")
    assert (told["finished"], told["of"], told["other"]) == (3 + 5 + 7, 3 + 6 + 7, "1 diverged")
    seeds = gathered.curves.set_index(["penalty", "lambda"])["seeds"]
    assert seeds["none"].to_dict() == {"0": 3}
    assert seeds["l1"].to_dict() == {"1e-5": 1, "1e-4": 3, "1e-3": 1}
    assert seeds["soft"].to_dict() == {"1e-5": 3, "1e-4": 3, "1e-3": 1}


def test_questions_on_the_whole_grid_say_that_the_race_dropped_strengths(gathered):
    told = {answer.key: answer for answer in answers(gathered)}
    assert told["H1"].absent == ""
    for key in ("H2", "H3", "H6"):
        assert "`selection: {search: halving}`" in told[key].absent
        assert told[key].verdicts == ()


def test_the_choice_among_the_raced_has_all_its_seeds(gathered):
    row = gathered.selection.set_index("penalty").loc["l1"]
    assert (row["lambda"], row["n"], row["expected"]) == ("1e-4", 3, 3)
