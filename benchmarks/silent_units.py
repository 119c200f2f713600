"""What does a penalty do to units that are silent under Adam, and does it tend to nothing as λ → 0?

A ReLU unit that no training image excites has no gradient. Adam divides by √v̂, so the threshold of a prox with Adam's
own steps, ηλ/(√v̂ + ε), is ηλ/ε there: at any λ in use, such a unit's weights are gone in a few steps, while without a
penalty it may come back. Compared are ways to apply the prox:

- `as Adam steps`: ηλ/(√v̂ + ε) for every weight;
- `floor`: √v̂ not below a tenth of its root mean square over the layer, in the prox alone;
- `fixed`: ηλ for every weight, as decoupled decay does;
- `late`: as Adam steps, from a fifth of the training on;
- `undo`: SoftReg's; what Adam has just done to a weight may be undone, and beyond that `floor` holds.

First the solutions that they reach on ridge and lasso, by full-batch steps (relative distance to scikit-learn's; zeros
found of the lasso's), as in sparse_recovery.py. Then the convnet on white blood cells at 64 × 64: of the units of its
widest layer that are silent at the start, how many are so at the end, how many of all filters hold nothing but zeros,
and test mIoU less that of `none` by seed, with its standard error. Only `undo` and `none` get all seeds.
"""

from __future__ import annotations

from pathlib import Path

import numpy as np
import torch
from common import measure, print_table, sized, temporary_project, write_study
from sklearn.linear_model import Ridge
from sparse_recovery import ADAM, LAMBDA, SAMPLES, as_step, distance, draw, lasso, solve

from softreg.running import places
from softreg.study.config import Study, load_study
from softreg.study.matrix import TrainingPath
from softreg.training.adam_prox import AdamProx
from softreg.training.cell import Bench, CellTrainer
from softreg.training.device import open_device
from softreg.training.imageset import Batches, open_split
from softreg.training.optim import make_optimizer
from softreg.training.path import make_bench
from softreg.training.stopping import StopRequest
from softreg.training.validation import validation_miou

SEEDS = sized(20, 1)
FEW = sized(1, 1)
DATA = sized({"wbc": {"size": [64, 64], "fit": "resize"}}, {"shapes": {"size": [16, 16], "images": 24}})
(DATASET,) = DATA
PENALTIES = {
    "none": {},
    "placebo-l1": {"kind": "l1", "lambda": [1e-12]},
    "placebo-l2": {"kind": "l2", "lambda": [1e-12]},
    "l2": {"lambda": [3e-6]},
    "l1": {"lambda": [3e-7]},
}
TRAINING = {"epochs": sized(5, 1), "lr": 4e-3, "batch_size": 8, "optimizer": "adam", "validate_every": 5}


class AsAdamSteps(AdamProx):
    """The strengths are those of Adam's steps."""

    def __call__(self, weights, step):
        self.regulariser.penalty.prox_(weights, step.exact)


class Floor(AdamProx):
    """The strengths have a floor, whatever Adam has done."""

    def __call__(self, weights, step):
        self.regulariser.penalty.prox_(weights, step.gentle or step.exact)


class Fixed(AdamProx):
    """The strength is ηλ."""

    def __call__(self, weights, step):
        self.regulariser.penalty.prox_(weights, step)

    def steps(self, strength):
        yield from [strength] * len(self._means)


class Late(AsAdamSteps):
    """Nothing happens in the first fifth of the training."""

    def __call__(self, weights, step):
        if self._state(self.regulariser.parameters[0])["step"] > self.first:
            super().__call__(weights, step)


WAYS = {"as Adam steps": AsAdamSteps, "floor": Floor, "fixed": Fixed, "late": Late, "undo": AdamProx}


def use(step, way: str, steps: int):
    """Let ``step`` apply its prox in another way."""
    step._adam_prox = WAYS[way](step.optimizer, step.regulariser)
    step._adam_prox.first = steps / 5
    return step


def convex(way: str) -> list[str]:
    """Distance to ridge, distance to the lasso, and the share of the lasso's zeros that are found."""
    x, y, _ = draw(0)

    def maker(spec: dict):
        return lambda w: use(as_step(make_optimizer([w], ADAM), w, spec, LAMBDA, "proximal"), way, 2500)

    ridge = Ridge(alpha=LAMBDA * SAMPLES, fit_intercept=False, tol=1e-14).fit(x, y).coef_
    wanted = lasso(x, y, LAMBDA)
    found = solve(x, y, maker({"kind": "l1"}), ADAM, 1)
    zeros = np.count_nonzero((found == 0) & (wanted == 0)) / np.count_nonzero(wanted == 0)
    to_ridge = distance(solve(x, y, maker({"kind": "l2"}), ADAM, 1), ridge)
    return [f"{to_ridge:.0e}", f"{distance(found, wanted):.0e}", f"{zeros:.2f}"]


def make_study() -> Study:
    file = write_study(
        "silent",
        datasets=DATA,
        models={"convnet": {}},
        penalties=PENALTIES,
        training=TRAINING,
        seeds={"tuning": list(range(SEEDS)), "evaluation": [1000]},
        resources={"threads": 1, "gpu": 0},
    )
    study = load_study(file)
    for archive in places.archive_files(study, DATASET):
        measure("softreg", "fetch", file, DATASET, Path(archive).name)
    measure("softreg", "prepare", file, DATASET)
    return study


def silent(bench: Bench) -> torch.Tensor:
    """Which units of the widest layer no training image excites."""
    seen = []
    layer = bench.model.network.decoder[1]
    hook = layer.register_forward_hook(lambda module, given, out: seen.append(out.amax(dim=(0, 2, 3))))
    validation_miou(bench.model.eval(), bench.train, 16, lambda: None)
    hook.remove()
    return torch.stack(seen).amax(dim=0) == 0


def train(study: Study, way: str, penalty: str, seed: int) -> tuple[int, int, int, float]:
    """Units silent at the start, those of them silent at the end, dead filters, test mIoU."""
    folder = places.description(study, DATASET).parent
    (strength,) = study.penalties[penalty]["lambda"]
    path = TrainingPath("sweep", DATASET, "convnet", penalty, seed)
    bench = make_bench(study, path, folder, sized(3, 4), open_device(0, 1), float(strength))
    trainer = CellTrainer(bench, float(strength), Path("none.pt"), "", StopRequest(), lambda row: None)
    if penalty != "none":
        use(trainer.step.update, way, bench.steps)
    if way != "undo":
        # What SoftReg sets to zero after the last step belongs to its own way.
        trainer.zero.sums = []
    before = silent(bench)
    trainer.run()
    Path("none.pt").unlink(missing_ok=True)  # A checkpoint is there if one was due.
    dead = sum(
        int((view.flatten(1) == 0).all(dim=1).sum())
        for layer in bench.layers.layers
        for view in layer.filters(layer.weight)
    )
    test = Batches(open_split(folder, "test"), torch.device("cpu"))
    miou = validation_miou(bench.model.eval(), test, 16, lambda: None)
    return int(before.sum()), int((before & silent(bench)).sum()), dead, 100 * miou


def compare(study: Study, none: list[tuple], way: str, penalty: str, seeds: int) -> list[str]:
    rows = [train(study, way, penalty, seed) for seed in range(seeds)]
    start, end, dead, _ = np.mean(rows, axis=0)
    gaps = np.array([row[3] - other[3] for row, other in zip(rows, none, strict=False)])
    error = f"{gaps.std(ddof=1) / np.sqrt(len(gaps)):.2f}" if len(gaps) > 1 else ""
    name = "none" if penalty == "none" else f"{penalty}, {way}"
    return [name, str(seeds), f"{start:.0f}", f"{end:.1f}", f"{dead:.1f}", f"{gaps.mean():+.2f}", error]


def main() -> None:
    torch.set_num_threads(1)
    print_table(["prox", "to ridge", "to lasso", "zeros found"], [[way, *convex(way)] for way in WAYS])
    with temporary_project():
        study = make_study()
        none = [train(study, "", "none", seed) for seed in range(SEEDS)]
        rows = [compare(study, none, "", "none", SEEDS)]
        for way in WAYS:
            for penalty in list(PENALTIES)[1:]:
                rows.append(compare(study, none, way, penalty, SEEDS if way == "undo" else FEW))
    print_table(["entry", "seeds", "silent at start", "still at end", "dead filters", "mIoU − none", "SE"], rows)


if __name__ == "__main__":
    main()
