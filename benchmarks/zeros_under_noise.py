"""How many exact zeros do proximal steps leave, by batch size and momentum, before and after `Zeroing`?

First the lasso, means over four draws of 200 samples and 50 features as in sparse_recovery.py, but with noise of
standard deviation 1, λ = 0.1; 3000 steps with a learning rate that falls to 0 on a cosine. Zeros are counted among
those of scikit-learn's lasso; `false` are zeros that it has not. Near zeros are below 1 % of the standard deviation of
the coefficients; distances to the lasso are relative.

Then the convnet on white blood cells at 64 × 64 under L1 and Adam, about 312 steps at any batch size, means over seeds:
the share of weights that are zero, and test mIoU, before and after, and where near zeros are set to zero instead.
"""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import torch
from common import print_table, sized, temporary_project
from silent_units import DATASET, make_study
from sparse_recovery import FEATURES, L1, LAMBDA, SAMPLES, TRUE, as_step, distance, lasso

from softreg.running import places
from softreg.study.config import Study
from softreg.study.matrix import TrainingPath
from softreg.training.cell import Bench, CellTrainer
from softreg.training.device import open_device
from softreg.training.diagnostics import NEAR
from softreg.training.imageset import Batches, open_split
from softreg.training.optim import learning_rate, make_optimizer
from softreg.training.path import make_bench
from softreg.training.stopping import StopRequest
from softreg.training.validation import validation_miou
from softreg.training.zeroing import Zeroing

STEPS = sized(3000, 20)
DRAWS = sized(4, 1)
BATCHES = sized((4, 8, 32, SAMPLES), (SAMPLES,))
OPTIMIZERS = {
    "SGD, momentum 0": {"optimizer": "sgd", "lr": 0.1, "momentum": 0.0},
    "SGD, momentum 0.9": {"optimizer": "sgd", "lr": 0.1, "momentum": 0.9},
    "SGD, momentum 0.99": {"optimizer": "sgd", "lr": 0.1, "momentum": 0.99},
    "Adam": {"optimizer": "adam", "lr": 0.02, "betas": [0.9, 0.999]},
}
NETWORK_LAMBDA = 1e-4
SEEDS = sized(2, 1)
# Epochs by batch size: as many steps each.
EPOCHS = sized({4: 6, 8: 12, 16: 24, 32: 52}, {4: 1})


def problem(draw: int) -> tuple[np.ndarray, np.ndarray]:
    random = np.random.default_rng(draw)
    x = random.standard_normal((SAMPLES, FEATURES))
    truth = np.where(np.arange(FEATURES) < TRUE, 2 * random.standard_normal(FEATURES), 0)
    return x, x @ truth + random.standard_normal(SAMPLES)


def solve(x: np.ndarray, y: np.ndarray, batch: int, training: dict) -> tuple[np.ndarray, np.ndarray]:
    """The coefficients after the last step, and what `Zeroing` makes of them."""
    features, targets = torch.from_numpy(x), torch.from_numpy(y)
    w = torch.nn.Parameter(torch.zeros(FEATURES, 1, dtype=torch.float64))
    step = as_step(make_optimizer([w], training), w, L1, LAMBDA, "proximal")
    random, epoch = torch.Generator().manual_seed(0), SAMPLES // batch
    options = {**training, "schedule": "cosine", "warmup_epochs": 0}
    rates = [learning_rate(options, index, STEPS, STEPS) for index in range(STEPS)]
    zero = Zeroing(step, rates.__getitem__, STEPS, epoch)
    for index, rate in enumerate(rates):
        if index % epoch == 0:
            batches = torch.randperm(SAMPLES, generator=random).split(batch)
        part = features[batches[index % epoch]]
        rest = part @ w.detach().flatten() - targets[batches[index % epoch]]
        w.grad = (part.T @ rest / batch).view_as(w)
        step(rate)
        before = w.detach().flatten().numpy().copy()
        zero(index + 1)
    return before, w.detach().flatten().numpy()


def lasso_row(name: str, batch: int) -> list[str]:
    rows = []
    for draw in range(DRAWS):
        x, y = problem(draw)
        wanted = lasso(x, y, LAMBDA)
        before, after = solve(x, y, batch, OPTIMIZERS[name])
        near = np.abs(before) < NEAR * before.std()
        counts = [np.count_nonzero(zeros & (wanted == 0)) for zeros in (before == 0, near, after == 0)]
        false = np.count_nonzero((after == 0) & (wanted != 0))
        rows.append([np.count_nonzero(wanted == 0), *counts, false, distance(before, wanted), distance(after, wanted)])
    *shown, to_before, to_after = np.mean(rows, axis=0)
    return [name, str(batch), *(f"{value:.1f}" for value in shown), f"{to_before:.0e}", f"{to_after:.0e}"]


class Watched(CellTrainer):
    """Keeps the weights as they are before the zeros are set."""

    def __init__(self, *given):
        super().__init__(*given)
        update = self.step.update
        zero = update.zero

        def watched(*given):
            self.before = [weight.detach().clone() for weight in self.bench.regulariser.weights]
            zero(*given)

        update.zero = watched


def ends(bench: Bench) -> list[list[torch.Tensor]]:
    """The weights before the zeros are set, with near zeros set to zero instead, and after."""
    trainer = Watched(bench, NETWORK_LAMBDA, Path("none.pt"), "", StopRequest(), lambda row: None)
    trainer.run()
    Path("none.pt").unlink(missing_ok=True)  # A checkpoint is there if one was due.
    near = [weight.where(weight.abs() >= NEAR * weight.std(), 0) for weight in trainer.before]
    return [trainer.before, near, [weight.detach().clone() for weight in bench.regulariser.weights]]


def network(study: Study, batch: int, seed: int) -> list[float]:
    """The share of zeros of each of `ends`, then test mIoU of each, percent."""
    folder = places.description(study, DATASET).parent
    path = TrainingPath("sweep", DATASET, "convnet", "l1", seed)
    bench = make_bench(study, path, folder, sized(3, 4), open_device(0, 1))
    options = {"batch_size": batch, "epochs": EPOCHS[batch], "lr": 2e-3, "validate_every": EPOCHS[batch]}
    bench = replace(bench, training={**bench.training, **options, "schedule": "cosine"})
    test = Batches(open_split(folder, "test"), torch.device("cpu"))
    states = ends(bench)
    total = sum(weight.numel() for weight in states[0])
    shares = [100 * (1 - sum(int(torch.count_nonzero(weight)) for weight in state) / total) for state in states]
    scores = []
    for state in states:
        with torch.no_grad():
            torch._foreach_copy_(bench.regulariser.weights, state)
        scores.append(100 * validation_miou(bench.model.eval(), test, 16, lambda: None))
    return shares + scores


def network_row(study: Study, batch: int) -> list[str]:
    rows = [network(study, batch, seed) for seed in range(SEEDS)]
    shares, scores = np.split(np.mean(rows, axis=0), 2)
    return [str(batch), str(EPOCHS[batch]), *(f"{x:.1f} %" for x in shares), *(f"{x:.2f}" for x in scores)]


def main() -> None:
    torch.set_num_threads(1)
    header = ["optimiser", "batch", "lasso's zeros", "before", "near", "after", "false", "to lasso before", "after"]
    print_table(header, [lasso_row(name, batch) for name in OPTIMIZERS for batch in BATCHES])
    with temporary_project():
        study = make_study()
        rows = [network_row(study, batch) for batch in EPOCHS]
    print_table(["batch", "epochs", "zeros before", "near", "after", "mIoU before", "near to 0", "after"], rows)


if __name__ == "__main__":
    main()
