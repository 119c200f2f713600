"""How many of the lasso's zeros do proximal steps leave exactly zero, by batch size and momentum?

One draw of 200 samples and 50 features as in sparse_recovery.py, but with noise of standard deviation 1, λ = 0.1; SGD
with a learning rate that falls to 0 on a cosine, 3000 steps. Zeros are counted among those of scikit-learn's lasso;
near zeros are below 1 % of the standard deviation of the coefficients.
"""

from __future__ import annotations

import numpy as np
import torch
from common import print_table, sized
from sparse_recovery import FEATURES, L1, LAMBDA, SAMPLES, TRUE, as_step, distance, lasso

from softreg.training.optim import learning_rate, make_optimizer

STEPS = sized(3000, 20)
BATCHES = sized((4, 8, 32, SAMPLES), (SAMPLES,))
MOMENTA = (0.0, 0.9, 0.99)


def problem() -> tuple[np.ndarray, np.ndarray]:
    random = np.random.default_rng(0)
    x = random.standard_normal((SAMPLES, FEATURES))
    truth = np.where(np.arange(FEATURES) < TRUE, 2 * random.standard_normal(FEATURES), 0)
    return x, x @ truth + random.standard_normal(SAMPLES)


def solve(x: np.ndarray, y: np.ndarray, batch: int, momentum: float) -> np.ndarray:
    training = {"optimizer": "sgd", "lr": 0.1, "momentum": momentum, "schedule": "cosine", "warmup_epochs": 0}
    features, targets = torch.from_numpy(x), torch.from_numpy(y)
    w = torch.nn.Parameter(torch.zeros(FEATURES, 1, dtype=torch.float64))
    step = as_step(make_optimizer([w], training), w, L1, LAMBDA, "proximal")
    random, epoch = torch.Generator().manual_seed(0), SAMPLES // batch
    for index in range(STEPS):
        if index % epoch == 0:
            batches = torch.randperm(SAMPLES, generator=random).split(batch)
        part = features[batches[index % epoch]]
        rest = part @ w.detach().flatten() - targets[batches[index % epoch]]
        w.grad = (part.T @ rest / batch).view_as(w)
        step(learning_rate(training, index, STEPS, STEPS))
    return w.detach().flatten().numpy()


def main() -> None:
    torch.set_num_threads(1)
    x, y = problem()
    wanted = lasso(x, y, LAMBDA)
    rows = []
    for momentum in MOMENTA:
        for batch in BATCHES:
            found = solve(x, y, batch, momentum)
            near = np.abs(found) < 0.01 * found.std()
            counts = (np.count_nonzero(zeros & (wanted == 0)) for zeros in (found == 0, near))
            rows.append([f"{momentum:g}", str(batch), *map(str, counts), f"{distance(found, wanted):.0e}"])
    print(f"zeros of scikit-learn's lasso: {np.count_nonzero(wanted == 0)} of {FEATURES}")
    print_table(["momentum", "batch", "exact zeros found", "near zeros found", "to lasso"], rows)


if __name__ == "__main__":
    main()
