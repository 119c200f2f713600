"""Training one cell: epochs of steps on data term + λP, from its checkpoint if it has one."""

from __future__ import annotations

import math
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from softreg import checkpoint
from softreg.augment import augment
from softreg.checkpoint import Progress
from softreg.imageset import Batches
from softreg.models.segmenter import Segmenter
from softreg.objectives import Objective
from softreg.optim import RegularisedStep, learning_rate, make_optimizer
from softreg.penalties.base import Penalty, sum_abs, sum_squares
from softreg.randomness import generator, seed_global
from softreg.scoring import autocast, to_layout, validation_miou
from softreg.stopping import Interrupted, StopRequest


class Diverged(Exception):
    """The loss or the weights are no longer finite."""


@dataclass(frozen=True)
class Bench:
    """What is made once for all cells of a path, and is the same for all of them.

    ``initial`` are the weights that every cell starts from; ``weights`` the penalised parameters of ``model``;
    ``training`` the study's options for this model; ``crop`` is height and width of the training images.
    """

    model: Segmenter
    initial: dict[str, Tensor]
    weights: list[Tensor]
    penalty: Penalty
    realisation: str
    objective: Objective
    train: Batches
    val: Batches
    training: dict[str, Any]
    crop: tuple[int, int]
    seed: int
    evaluation_batch: int

    @property
    def batch_size(self) -> int:
        """Images in a step; all of them where the set is smaller than a batch."""
        return min(int(self.training["batch_size"]), len(self.train.source))

    @property
    def steps_per_epoch(self) -> int:
        """Full batches in an epoch; the images left over change with the order of every epoch."""
        return len(self.train.source) // self.batch_size


class CellTrainer:
    """Trains one cell on a bench; ``report`` gets each epoch's row of the history."""

    def __init__(
        self,
        bench: Bench,
        lambda_: float,
        file: Path,
        key: str,
        stop: StopRequest,
        report: Callable[[dict[str, Any]], None],
    ) -> None:
        self.bench, self.lambda_, self.stop, self.report = bench, lambda_, stop, report
        self.file, self.key = file, key
        bench.model.load_state_dict(bench.initial)
        self.optimizer = make_optimizer(list(bench.model.parameters()), bench.training)
        self.progress = checkpoint.load(file, key, bench.model, self.optimizer)
        self.update = RegularisedStep(self.optimizer, bench.weights, bench.penalty, lambda_, bench.realisation)
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
            if self.stop.signal is not None or self._due():
                progress.data_term = total.item()
                self._save()
                self.stop.check()
        progress.data_term = total.item()
        progress.epoch_seconds = before + time.perf_counter() - started

    def _step(self, indices: Tensor) -> Tensor:
        """One step on the images at ``indices``; the data term before it, float64."""
        bench, place = self.bench, (self.progress.epoch, self.progress.step)
        images, masks = bench.train(indices)
        images, masks = augment(
            images,
            masks,
            bench.crop,
            bench.training["augmentation"],
            generator(bench.seed, "augmentation", *place),
        )
        seed_global(bench.seed, "dropout", *place)
        bench.model.train()
        self.optimizer.zero_grad()
        with autocast(bench.train.device):
            logits = bench.model(to_layout(images))
        loss = bench.objective(logits.float(), masks)
        torch.autograd.backward(loss)
        self.update(self._learning_rate(place[1]))
        return loss.detach().double()

    def _learning_rate(self, step: int) -> float:
        per_epoch = self.bench.steps_per_epoch
        steps = self.bench.training["epochs"] * per_epoch
        return learning_rate(self.bench.training, self.progress.epoch * per_epoch + step, steps, per_epoch)

    def _check_finite(self) -> None:
        finite = torch.stack([parameter.isfinite().all() for parameter in self.bench.model.parameters()]).all()
        if not (math.isfinite(self.progress.data_term) and finite):
            raise Diverged(f"loss or weights are not finite after epoch {self.progress.epoch + 1}")

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
            "penalty": self.lambda_ * float(bench.penalty.value(bench.weights)),
            "val_miou": self._validate() if self._validates(epoch) else None,
            **weight_summary(bench.weights),
            "lr": self._learning_rate(steps - 1),
            "images_per_second": steps * bench.batch_size / max(progress.epoch_seconds, 1e-9),
        }

    def _validates(self, epoch: int) -> bool:
        training = self.bench.training
        return bool(epoch % training["validate_every"] == 0 or epoch == training["epochs"])

    def _validate(self) -> float:
        bench = self.bench
        return validation_miou(bench.model, bench.val, bench.evaluation_batch, self.stop.check)

    def _begin_next_epoch(self, row: dict[str, Any]) -> None:
        progress = self.progress
        progress.history.append(row)
        progress.seconds += progress.epoch_seconds
        progress.epoch += 1
        progress.step, progress.data_term, progress.epoch_seconds = 0, 0.0, 0.0
        self.report(row)
        self._save()
        if progress.epoch < self.bench.training["epochs"]:
            self.stop.check()

    def _due(self) -> bool:
        return bool(time.monotonic() - self.saved_at >= self.bench.training["checkpoint_seconds"])

    def _save(self) -> None:
        checkpoint.save(self.file, self.key, self.progress, self.bench.model, self.optimizer)
        self.saved_at = time.monotonic()


@torch.no_grad()
def weight_summary(weights: list[Tensor]) -> dict[str, int | float]:
    """Exact zeros, Σ|w| and ‖w‖₂ of the penalised weights."""
    zeros = sum(weight.numel() - int(torch.count_nonzero(weight)) for weight in weights)
    return {
        "exact_zeros": zeros,
        "norm_l1": float(sum_abs(weights)),
        "norm_l2": float(sum_squares(weights).sqrt()),
    }
