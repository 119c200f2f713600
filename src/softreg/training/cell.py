"""Training one cell: epochs of steps on data term + λP, from its checkpoint if it has one."""

from __future__ import annotations

import gc
import math
import time
import warnings
from collections.abc import Callable
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from softreg.networks.randomness import generator, stream_seed
from softreg.networks.segmenter import Segmenter
from softreg.study.treatment import Treatment, treatment_of
from softreg.training import checkpoint, pruning
from softreg.training.augment import draw
from softreg.training.average import Average
from softreg.training.checkpoint import Progress
from softreg.training.diagnostics import Layers, weight_summary
from softreg.training.imageset import Batches
from softreg.training.optim import learning_rate
from softreg.training.regulariser import Regulariser
from softreg.training.step import Step
from softreg.training.stopping import Interrupted, StopRequest
from softreg.training.validation import validation_miou
from softreg.training.zeroing import Zeroing


class Diverged(Exception):
    """The loss, the weights or what a normalisation remembers are no longer finite."""


@dataclass(frozen=True)
class Bench:
    """What is made once for all cells of a path, and is the same for all of them.

    ``initial`` are the weights that every cell starts from; ``kind`` is that of the entry in the study's penalties, and
    ``prune_between`` the shares of the steps between which it prunes, if it does; ``class_shares`` are the classes'
    shares of the training pixels; ``training`` the study's options for this model and penalty; ``crop`` is height and
    width of the training images. With ``eager``, steps are never captured in a CUDA graph; ``say`` hears where they
    cannot be.
    """

    model: Segmenter
    initial: dict[str, Tensor]
    layers: Layers
    regulariser: Regulariser
    kind: str
    prune_between: tuple[float, float]
    class_shares: list[float]
    train: Batches
    val: Batches
    training: dict[str, Any]
    crop: tuple[int, int]
    seed: int
    evaluation_batch: int
    eager: bool = False
    say: Callable[[str], None] = warnings.warn
    _steps: list[Step] = field(default_factory=list)

    def step(self, treatment: Treatment) -> Step:
        """The step of the cells before if it serves ``treatment``, else another."""
        if not (self._steps and self._steps[0].serves(treatment)):
            if self._steps:
                # Given up before the next one is made: both need not fit on the device. Its parts refer to each other.
                self._steps.clear()
                gc.collect()
            self._steps.append(Step(self, treatment))
        return self._steps[0]

    @property
    def batch_size(self) -> int:
        """Images in a step; all of them where the set is smaller than a batch."""
        return min(int(self.training["batch_size"]), len(self.train.source))

    @property
    def steps_per_epoch(self) -> int:
        """Full batches in an epoch; the images left over change with the order of every epoch."""
        return len(self.train.source) // self.batch_size

    @property
    def steps(self) -> int:
        """Steps of the whole training."""
        return int(self.training["epochs"]) * self.steps_per_epoch

    def learning_rate(self, step: int) -> float:
        """The learning rate at a step of the whole training."""
        return learning_rate(self.training, step, self.steps, self.steps_per_epoch)


class CellTrainer:
    """Trains one cell on a bench; ``report`` gets each epoch's row of the history."""

    def __init__(
        self,
        bench: Bench,
        strength: float,
        file: Path,
        key: str,
        stop: StopRequest,
        report: Callable[[dict[str, Any]], None],
    ) -> None:
        self.bench, self.stop, self.report = bench, stop, report
        self.file, self.key = file, key
        self.treatment = treatment_of(bench.kind, strength)
        bench.model.load_state_dict(bench.initial)
        self.step = bench.step(self.treatment)
        self.step.begin(self.treatment)
        self.optimizer = self.step.optimizer
        decay = bench.training["average"]
        self.average = None if decay is None else Average(bench.model, decay)
        self.zero = Zeroing(self.step.update, bench.learning_rate, bench.steps, bench.steps_per_epoch)
        due = pruning.rounds(bench.prune_between, bench.steps)
        self.prune = pruning.Pruner(bench.regulariser.weights, self.treatment.pruned, due)
        self.progress = checkpoint.load(file, key, bench.model, self.optimizer, self._others)
        self.saved_at = time.monotonic()

    def run(self) -> Progress:
        """Train to the end. Raises Diverged, or Interrupted once a checkpoint is written."""
        while self.progress.epoch < self.bench.training["epochs"]:
            self._train_epoch()
            self._check_finite()
            try:
                row = self._summary()
            except Interrupted:
                self._save()
                raise
            self._begin_next_epoch(row)
        return self.progress

    def _train_epoch(self) -> None:
        bench, progress = self.bench, self.progress
        count = len(bench.train.source)
        order = torch.randperm(count, generator=generator(bench.seed, "order", progress.epoch))
        total = torch.tensor(progress.data_term, dtype=torch.float64, device=bench.train.device)
        started = time.perf_counter()
        before = progress.epoch_seconds
        while progress.step < bench.steps_per_epoch:
            first = progress.step * bench.batch_size
            total += self._step(order[first : first + bench.batch_size])
            progress.step += 1
            progress.epoch_seconds = before + time.perf_counter() - started
            if self._due():
                progress.data_term = total.item()
                self._save()
                self.stop.check()
        progress.data_term = total.item()
        progress.epoch_seconds = before + time.perf_counter() - started

    def _step(self, indices: Tensor) -> Tensor:
        """One step on the images at ``indices``; the data term before it, float64."""
        bench, place = self.bench, (self.progress.epoch, self.progress.step)
        drawn = draw(len(indices), generator(bench.seed, "augmentation", *place))
        done = place[0] * bench.steps_per_epoch + place[1]
        loss = self.step(indices, drawn, bench.learning_rate(done), stream_seed(bench.seed, "dropout", *place))
        self.prune(done + 1)
        self.progress.zeroed = self.zero(done + 1)
        if self.average is not None:
            self.average.update(done + 1)
        return loss

    def averaged(self) -> AbstractContextManager[None]:
        """Within it, the network has the averaged weights, if the study asks for them."""
        return nullcontext() if self.average is None else self.average.applied()

    @property
    def _others(self) -> list[Tensor]:
        """What the steps to come depend on beside the network and its optimiser."""
        return [*([] if self.average is None else self.average.values), *self.zero.sums, *self.prune.kept]

    def mean_rates(self) -> list[float | None]:
        """The effective learning rate of each layer, a mean over the epochs so far; see `Layers.rates`."""
        sums = self.progress.layer_rates
        return [None if total is None else total / self.progress.epoch for total in sums]

    def kappa(self) -> float:
        """λΣη over the steps so far: the most that an L1 penalty can have taken from a weight under SGD."""
        bench = self.bench
        done = self.progress.epoch * bench.steps_per_epoch
        return self.treatment.lambda_ * math.fsum(map(bench.learning_rate, range(done)))

    def _check_finite(self) -> None:
        # A mask that holds -inf from the start is none that has diverged.
        pairs = zip(self.bench.model.state_dict().values(), self.bench.initial.values(), strict=True)
        finite = torch.stack([(now.isfinite() | ~before.isfinite()).all() for now, before in pairs]).all()
        if not (math.isfinite(self.progress.data_term) and finite):
            raise Diverged(f"loss, weights or running statistics are not finite after epoch {self.progress.epoch + 1}")

    @torch.no_grad()
    def _summary(self) -> dict[str, Any]:
        """The history's row of the epoch just trained."""
        bench, progress = self.bench, self.progress
        epoch = progress.epoch + 1
        steps = bench.steps_per_epoch
        return {
            "epoch": epoch,
            "step": epoch * steps,
            "data_term": progress.data_term / steps,
            "penalty": self.treatment.lambda_ * float(bench.regulariser.value()),
            "val_miou": self._validate() if self._validates(epoch) else None,
            **weight_summary(bench.regulariser.weights),
            "lr": bench.learning_rate(epoch * steps - 1),
            "images_per_second": steps * bench.batch_size / max(progress.epoch_seconds, 1e-9),
        }

    def _validates(self, epoch: int) -> bool:
        training = self.bench.training
        return bool(epoch % training["validate_every"] == 0 or epoch == training["epochs"])

    def _validate(self) -> float:
        bench = self.bench
        with self.averaged():
            return validation_miou(bench.model, bench.val, bench.evaluation_batch, self.stop.check)

    def _begin_next_epoch(self, row: dict[str, Any]) -> None:
        progress = self.progress
        progress.history.append(row)
        progress.add_rates(self.bench.layers.rates(row["lr"], self.bench.training["optimizer"]))
        progress.seconds += progress.epoch_seconds
        progress.epoch += 1
        progress.step, progress.data_term, progress.epoch_seconds = 0, 0.0, 0.0
        self.report(row)
        if progress.epoch < self.bench.training["epochs"] and self._due():
            self._save()
            self.stop.check()

    def _due(self) -> bool:
        """Whether a checkpoint is to be written: a stop is asked for, or the last one is old enough."""
        old = time.monotonic() - self.saved_at >= self.bench.training["checkpoint_seconds"]
        return bool(old or self.stop.signal is not None)

    def _save(self) -> None:
        checkpoint.save(self.file, self.key, self.progress, self.bench.model, self.optimizer, self._others)
        self.saved_at = time.monotonic()
