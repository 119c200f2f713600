"""The histories of a study's networks as event files, which TensorBoard reads: a run per network."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pandas as pd

from softreg.errors import UserError
from softreg.export import demand
from softreg.scoring import records
from softreg.study.lambdas import Trial

if TYPE_CHECKING:
    from torch.utils.tensorboard import SummaryWriter

_NETWORK = ["phase", *records.CELL]


def export(results: Path, out: Path) -> str:
    """Write an event file per network to ``out``, in the folders of ``results``; a line that says how many.

    The curves are the columns of ``history.csv`` over optimiser steps. Where the networks are not here, as of published
    scores, they are those in ``scores/histories.parquet``. Raises UserError where there are neither, where ``out`` is
    not empty, and where the package tensorboard is missing.
    """
    demand("tensorboard", out)
    histories = dict(_histories(results))
    if not histories:
        raise UserError(
            f"{results} holds no history of a network; give the folder of a study's results, such as results/demo, "
            "once a network of it has been trained"
        )
    for run, history in histories.items():
        _write(out / run, run, history)
    return f"{len(histories)} runs written; tensorboard --logdir {out}"


def _histories(results: Path) -> Iterator[tuple[Path, pd.DataFrame]]:
    """Each network's history, with where it is in ``results``: ``PHASE/DATASET/MODEL/PENALTY/seedN/lambda-λ``."""
    files = sorted(file for phase in ("sweep", "final") for file in (results / phase).rglob("history.csv"))
    for file in files:
        yield file.parent.relative_to(results), pd.read_csv(file).rename(columns={"penalty": "penalty_value"})
    gathered = results / "scores" / "histories.parquet"
    if files or not gathered.is_file():
        return
    for names, history in pd.read_parquet(gathered).groupby(_NETWORK, sort=False):
        *group, lambda_, seed, fold = map(str, names)
        folder = f"seed{seed}" + (f"-fold{fold}" if fold != "-1" else "")
        yield Path(*group, folder, f"lambda-{lambda_}"), history.drop(columns=_NETWORK)


def _write(folder: Path, run: Path, history: pd.DataFrame) -> None:
    from torch.utils.tensorboard import SummaryWriter

    with SummaryWriter(str(folder)) as writer:
        for row in history.to_dict("records"):
            for name, value in row.items():
                # Validation is not done in every epoch.
                if name != "step" and pd.notna(value):
                    writer.add_scalar(str(name), value, int(row["step"]))
        _tell_conditions(writer, run, history)


def _tell_conditions(writer: SummaryWriter, run: Path, history: pd.DataFrame) -> None:
    """Have TensorBoard's page HPARAMS list the network, with the last mIoU on validation images."""
    phase, dataset, model, penalty, seed, trial_name = run.parts
    trial = Trial.named(trial_name.removeprefix("lambda-"))
    told: dict[str, Any] = {"phase": phase, "dataset": dataset, "model": model, "penalty": penalty, "seed": seed}
    told |= {"lambda": float(trial.lambda_)} | ({"lr": float(trial.lr)} if trial.lr else {})
    writer.add_hparams(told, {"last/val_miou": float(history["val_miou"].iloc[-1])}, run_name=".")
