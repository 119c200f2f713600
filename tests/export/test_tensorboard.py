"""Event files that TensorBoard's own reader finds the histories in."""

import sys

import pandas as pd
import pytest
from tensorboard.backend.event_processing.event_accumulator import EventAccumulator
from tensorboard.backend.event_processing.event_multiplexer import EventMultiplexer

from softreg.cli import main

RUN = "sweep/shapes/convnet/l1/seed0/lambda-1e-3@1e-2"
HISTORY = """epoch,step,data_term,penalty,val_miou
1,13,1.5,0.25,
2,26,0.75,0.125,0.5
"""


@pytest.fixture
def results(tmp_path, monkeypatch):
    """Results with the history of one network."""
    monkeypatch.chdir(tmp_path)
    folder = tmp_path / "results" / "tiny" / RUN
    folder.mkdir(parents=True)
    (folder / "history.csv").write_text(HISTORY)
    return tmp_path / "results" / "tiny"


def curves(folder):
    """Each curve of a run as TensorBoard reads it: steps and values."""
    events = EventAccumulator(str(folder)).Reload()
    return {tag: [(point.step, point.value) for point in events.Scalars(tag)] for tag in events.Tags()["scalars"]}


def test_each_history_is_a_run_with_its_curves(results, tmp_path, capsys):
    assert main(["export", "tensorboard", str(results), "events"]) == 0
    assert capsys.readouterr().out == "1 runs written; tensorboard --logdir events\n"
    found = EventMultiplexer().AddRunsFromDirectory("events").Runs()
    assert list(found) == [RUN]
    assert curves(tmp_path / "events" / RUN) == {
        "epoch": [(13, 1), (26, 2)],
        "data_term": [(13, 1.5), (26, 0.75)],
        "penalty_value": [(13, 0.25), (26, 0.125)],
        "val_miou": [(26, 0.5)],
        "last/val_miou": [(0, 0.5)],
    }


def test_its_conditions_can_be_compared(results, tmp_path):
    from tensorboard.plugins.hparams.plugin_data_pb2 import HParamsPluginData

    main(["export", "tensorboard", str(results), "events"])
    plugin = EventAccumulator(str(tmp_path / "events" / RUN)).Reload().PluginTagToContent("hparams")
    told = HParamsPluginData.FromString(plugin["_hparams_/session_start_info"]).session_start_info.hparams
    assert {name: value.number_value or value.string_value for name, value in told.items()} == {
        "phase": "sweep",
        "dataset": "shapes",
        "model": "convnet",
        "penalty": "l1",
        "seed": "seed0",
        "lambda": 1e-3,
        "lr": 1e-2,
    }


def test_published_scores_give_the_same_runs(results, tmp_path):
    phase, dataset, model, penalty, *_ = RUN.split("/")
    network = {"phase": phase, "dataset": dataset, "model": model, "penalty": penalty, "lambda": "1e-3@1e-2"}
    history = pd.read_csv(results / RUN / "history.csv").rename(columns={"penalty": "penalty_value"})
    scores = tmp_path / "published" / "scores"
    scores.mkdir(parents=True)
    history.assign(**network, seed=0, fold=-1).to_parquet(scores / "histories.parquet")
    assert main(["export", "tensorboard", str(results), "own"]) == 0
    assert main(["export", "tensorboard", "published", "theirs"]) == 0
    assert curves(tmp_path / "theirs" / RUN) == curves(tmp_path / "own" / RUN)


def test_nothing_is_added_to_what_is_there(results, capsys):
    (results / "mine.txt").touch()
    assert main(["export", "tensorboard", str(results), str(results)]) == 2
    assert "exists already; give a new place" in capsys.readouterr().err


def test_a_folder_without_networks_is_refused(tmp_path, capsys):
    assert main(["export", "tensorboard", str(tmp_path), str(tmp_path / "out")]) == 2
    assert "holds no history of a network" in capsys.readouterr().err
    assert not (tmp_path / "out").exists()


def test_without_the_library_it_says_what_to_install(results, monkeypatch, capsys):
    monkeypatch.setitem(sys.modules, "tensorboard", None)
    assert main(["export", "tensorboard", str(results), "events"]) == 2
    assert "needs tensorboard; install it by `pip install 'softreg[export]'`" in capsys.readouterr().err
