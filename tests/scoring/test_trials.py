"""λ and the learning rate chosen together: what is tried, chosen, trained and shown."""

import pandas as pd
import pytest
from projects import cell_folder, prepared_study, sweep_path
from safetensors.torch import load_file

from softreg.files import read_json
from softreg.paper.report.about import edges, selection
from softreg.paper.scores import Scores
from softreg.paper.tables import main_frame
from softreg.running import stages
from softreg.running.graph import Graph
from softreg.running.places import results_folder
from softreg.scoring import records
from softreg.scoring.select import choices, choose
from softreg.study.lambdas import Trial, budgets, trials_of
from softreg.study.matrix import TrainingPath, count_cells

RATES = {"optimizer": "adam", "lr": [1e-6, 1e-2]}
LISTED = {
    "none": {"training": RATES},
    "l1": {"lambda": [0, 1e-4], "training": RATES},
    "l2": {"lambda": [1e-3]},
}
GROUPS = [("shapes", "convnet", penalty) for penalty in LISTED]

pytestmark = pytest.mark.slow


@pytest.fixture(autouse=True)
def _project(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)


def same_weights(*folders):
    first, second = (load_file(folder / "weights.safetensors") for folder in folders)
    return all(bool((tensor == second[name]).all()) for name, tensor in first.items())


@pytest.fixture
def done(tmp_path):
    """The whole of a study, from training to gathered scores."""
    study = prepared_study(tmp_path, penalties=LISTED, seeds={"tuning": [0, 1], "evaluation": [100, 101]})
    graph = Graph(study)
    for path in graph.sweep:
        stages.train(study, path)
    for group in graph.groups:
        stages.select(study, group)
    for path in graph.final:
        stages.train(study, path)
    for group in graph.groups:
        stages.reveal(study, group)
    assert stages.gather(study) == ""
    return study


def test_an_entry_tries_every_pair_and_its_trials_are_counted(tmp_path):
    study = prepared_study(tmp_path, penalties=LISTED)
    assert [trial.name for trial in trials_of(study.penalties["l1"])] == ["0@1e-6", "0@1e-2", "1e-4@1e-6", "1e-4@1e-2"]
    assert [trial.name for trial in trials_of(study.penalties["l2"])] == ["1e-3"]
    assert Trial.named("1e-4@1e-2") == Trial("1e-4", "1e-2")
    assert count_cells(study) == (2 + 4 + 1) + 3 * 2
    assert "more chances: l1 4, l2 1, none 2." in budgets(study.penalties)
    equal = dict.fromkeys(("l1", "l2"), study.penalties["l1"])
    assert budgets(equal) == "Every entry has the same number of trials (λ × learning rate): l1 4, l2 4."


def test_of_equal_strengths_within_a_standard_error_the_better_learning_rate_is_taken():
    miou = {"1e-4@1e-2": [0.62, 0.58], "1e-3@1e-3": [0.65, 0.49], "1e-3@1e-2": [0.63, 0.55], "1e-2@1e-2": [0.51, 0.50]}
    cells = pd.DataFrame([(name, seed, -1, value) for name, pair in miou.items() for seed, value in enumerate(pair)])
    cells.columns = ["lambda", "seed", "fold", "miou"]
    curves = cells.groupby("lambda")["miou"].agg(val_miou="mean", seeds="size").reset_index()
    assert choose(curves, cells, "best")["lambda"] == "1e-4@1e-2"
    assert choose(curves, cells, "one_se")["lambda"] == "1e-3@1e-2"


def test_a_trial_is_trained_at_its_learning_rate_and_zero_is_no_penalty(tmp_path):
    study = prepared_study(tmp_path, penalties=LISTED)
    single = prepared_study(tmp_path, "single", penalties={"none": {"training": {**RATES, "lr": 1e-2}}})
    for penalty in ("none", "l1"):
        stages.train(study, sweep_path(penalty))
    stages.train(single, sweep_path("none"))
    alone = cell_folder(single, sweep_path("none"), "0")
    assert same_weights(cell_folder(study, sweep_path("none"), "0@1e-2"), alone)
    assert same_weights(cell_folder(study, sweep_path("l1"), "0@1e-2"), alone)
    assert not same_weights(cell_folder(study, sweep_path("l1"), "0@1e-6"), alone)
    assert not same_weights(cell_folder(study, sweep_path("l1"), "1e-4@1e-2"), alone)


def test_an_added_learning_rate_is_all_that_trains(tmp_path):
    prepared = [
        prepared_study(tmp_path, penalties={"none": {}, "l1": {"lambda": [1e-4], "training": {"lr": rates}}})
        for rates in ([1e-3], [1e-4, 1e-3])
    ]
    file = cell_folder(prepared[0], sweep_path(), "1e-4@1e-3") / "cell.json"
    times = []
    for study in prepared:
        stages.train(study, sweep_path())
        times.append(file.stat().st_mtime_ns)
    assert times[0] == times[1]
    assert (cell_folder(prepared[1], sweep_path(), "1e-4@1e-4") / "cell.json").is_file()


def test_the_pair_that_scores_best_is_chosen_trained_and_shown(done):
    root = results_folder(done)
    chosen = choices(root, GROUPS).set_index("penalty")
    for penalty in ("none", "l1"):
        files = [root / "sweep" / sweep_path(penalty, seed).name / "val.parquet" for seed in (0, 1)]
        miou = records.of_sums(records.read(files, schema=records.SUMS), ["lambda", "seed"])
        means = miou.groupby("lambda")["miou"].mean()
        picked = Trial(chosen.loc[penalty, "lambda"], chosen.loc[penalty, "lr"]).name
        assert means[picked] == means.max()
        assert chosen.loc[penalty, "val_miou_points"] == pytest.approx(100 * means.max())
        assert cell_folder(done, TrainingPath("final", "shapes", "convnet", penalty, 100), picked).is_dir()
    assert chosen.loc["l2", "lr"] == ""
    scores = Scores(root / "scores")
    lr = chosen.loc["l1", "lr"]
    cells = scores.cells[(scores.cells["penalty"] == "l1") & (scores.cells["phase"] == "sweep")]
    assert sorted(cells["lambda"]) == ["0", "0", "1e-4", "1e-4"]
    for row in cells.itertuples():
        record = read_json(cell_folder(done, sweep_path("l1", row.seed), f"{row[5]}@{lr}") / "cell.json")
        assert (row.status, row.key) == ("finished", record["key"])
    assert set(scores.curves["lambda"]) == {"0", "1e-4", "1e-3"}
    assert len(scores.sweep_test) == 2 * (1 + 2 + 1)
    frame = main_frame(scores).set_index("penalty")
    assert frame.loc["l1", "cells"].endswith(f"/lambda-{chosen.loc['l1', 'lambda']}@{lr}")
    told = {row["penalty"]: row for row in selection(scores)}
    assert told["l1"]["grid"] == "0 to 1e-4, 2 values; learning rate 1e-6 to 1e-2, 2 values"
    row = scores.selection.set_index("penalty").loc["l1"].to_dict()
    assert "the learning rate is the" in " ".join(edges(row, scores.study["penalties"]["l1"]))
