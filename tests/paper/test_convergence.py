"""Convergence, against slopes fitted by another library and histories whose end is known."""

import shutil

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from measured import make_scores
from scipy.stats import linregress, ttest_1samp

from softreg.paper import convergence
from softreg.paper.scores import Scores
from softreg.scoring.gather import HISTORIES

SEEDS = [100, 101, 102, 103]


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    return make_scores(tmp_path_factory.mktemp("histories"), seeds={"tuning": [0, 1], "evaluation": SEEDS}).folder


def with_histories(folder, tmp_path, loss, val, epochs=12, seeds=SEEDS):
    """The scores, where ``loss`` and ``val`` give a cell's values by penalty, seed and epoch."""
    place = shutil.copytree(folder, tmp_path / "scores")
    rows = [
        {"phase": "final", "dataset": "brain", "model": "convnet", "penalty": name, "lambda": "1e-4", "seed": seed}
        | {"fold": -1, "epoch": epoch, "step": epoch, "penalty_value": 0.0, "exact_zeros": 0, "lr": 0.1}
        | {"data_term": loss(name, seed, epoch), "val_miou": val(name, seed, epoch)}
        for name in ("none", "l1", "l2")
        for seed in seeds
        for epoch in range(1, epochs + 1)
    ]
    pq.write_table(pa.Table.from_pylist(rows, HISTORIES), place / "histories.parquet")
    return Scores(place)


def test_slopes_are_of_the_last_quarter_within_a_seed(folder, tmp_path):
    noise = np.random.default_rng(0).normal(0, 0.002, (4, 13))
    # Before the last quarter the loss rises, which must not count.
    scores = with_histories(
        folder,
        tmp_path,
        lambda _, seed, epoch: (epoch if epoch < 9 else 1 - 0.01 * epoch) + 0.1 * (seed % 4) + noise[seed % 4, epoch],
        lambda _, seed, epoch: 0.5 + 0.01 * epoch if epoch % 2 else None,
    )
    row = convergence.table(scores).set_index("penalty").loc["l1"]
    assert (row["first"], row["last"], row["seeds"]) == (9, 12, 4)
    epochs = np.arange(9, 13)
    losses = [1 - 0.01 * epochs + 0.1 * (seed % 4) + noise[seed % 4, 9:] for seed in SEEDS]
    slopes = [linregress(epochs, each).slope for each in losses]
    interval = ttest_1samp(slopes, 0).confidence_interval(0.95)
    assert row["loss_slope"] == pytest.approx(np.mean(slopes))
    assert (row["loss_low"], row["loss_high"]) == pytest.approx((interval.low, interval.high))
    assert row["loss"] == pytest.approx(np.mean([each[-1] for each in losses]))
    assert (row["val"], row["val_slope"]) == (pytest.approx(61), pytest.approx(1))
    assert row["told"] == (
        f"still improving by 1.00 points of validation mIoU and {-np.mean(slopes):.4f} of training loss per epoch"
    )


@pytest.mark.parametrize(
    ("loss", "state"),
    [
        (lambda seed, epoch: 1.0, "converged"),
        (lambda seed, epoch: 1 - 0.002 * epoch, "converged"),  # 0.6 % of the loss over the last quarter
        (lambda seed, epoch: 1 - 0.005 * epoch, "improving"),
        (lambda seed, epoch: 1 + 0.005 * epoch, "converged"),
        (lambda seed, epoch: 1 - 0.05 * epoch * (seed == 100), "unclear"),
    ],
)
def test_small_falls_count_as_converged_and_one_seed_alone_is_unclear(folder, tmp_path, loss, state):
    scores = with_histories(folder, tmp_path, lambda _, seed, epoch: loss(seed, epoch), lambda *_: None)
    frame = convergence.table(scores)
    assert set(frame["state"]) == {state}
    assert frame[["val", "val_slope"]].isna().all(axis=None)
    count = 3 if state == "improving" else 0
    assert convergence.summary(scores).startswith(f"{count} of 3 entries were still improving")


def test_a_short_schedule_has_two_epochs_and_one_seed_no_interval(folder, tmp_path):
    scores = with_histories(
        folder, tmp_path, lambda _, seed, epoch: 1 / epoch, lambda *_: None, epochs=3, seeds=SEEDS[:1]
    )
    row = convergence.table(scores).iloc[0]
    assert (row["first"], row["last"]) == (2, 3)
    assert row["loss_slope"] == pytest.approx(1 / 3 - 1 / 2)
    assert np.isnan(row["loss_low"])
    assert row["state"] == "improving"
