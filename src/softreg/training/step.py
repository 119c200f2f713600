"""The training step: augmentation, network, data term, gradient, and the update on data term + λP.

One is made for all cells of a path that differ in λ alone. Cell by cell, its tensors are filled again and never
replaced, so that on a GPU the first cell's CUDA graph serves the others.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from typing import TYPE_CHECKING

import torch
from torch import Tensor

from softreg.study.treatment import Treatment
from softreg.training.augment import augment
from softreg.training.captured import Captured
from softreg.training.inputs import Inputs
from softreg.training.objectives import make_objective
from softreg.training.optim import RegularisedStep, make_optimizer
from softreg.training.validation import autocast

if TYPE_CHECKING:
    from softreg.training.cell import Bench


class Step:
    """A step on a bench, as ``treatment`` has it but for the size of λ."""

    def __init__(self, bench: Bench, treatment: Treatment) -> None:
        self.bench, self.kind = bench, _kind(treatment)
        device = bench.train.device
        objective = bench.training["objective"]
        self.objective = make_objective(objective, bench.class_shares, device, treatment.smoothing)
        self.optimizer = make_optimizer(list(bench.model.parameters()), bench.training)
        self.update = RegularisedStep(self.optimizer, bench.regulariser, treatment.lambda_)
        self.inputs = Inputs(bench.train, bench.batch_size)
        self.learn = Captured(self._learn, self._state, bench.say, eager=bench.eager or device.type == "cpu")

    def serves(self, treatment: Treatment) -> bool:
        """Whether it does what ``treatment`` needs, once it has begun again with its λ."""
        return self.kind == _kind(treatment)

    def begin(self, treatment: Treatment) -> None:
        """Begin with weights that have been trained by no step yet."""
        self.bench.model.dropout = treatment.dropout
        self.lambda_ = self.update.lambda_ = treatment.lambda_
        for tensor in self._remembered():
            tensor.zero_()

    def __call__(self, indices: Tensor, drawn: Tensor, lr: float, seed: int) -> Tensor:
        """One step on the images at ``indices``; the data term before it, float64, good until the next step.

        ``drawn`` are the random numbers of their augmentation, ``seed`` is where those of dropout begin.
        """
        self.inputs.fill(indices, drawn, lr, self.lambda_)
        self.bench.model.train()
        return self.learn(seed)

    def _learn(self) -> Tensor:
        bench = self.bench
        images, masks, drawn = self.inputs.batch()
        images, masks = augment(images, masks, bench.crop, bench.training["augmentation"], drawn)
        self.optimizer.zero_grad()
        with autocast(bench.train.device):
            logits = bench.model(images)
        loss = self.objective(logits.float(), masks)
        torch.autograd.backward(loss)
        self.update(self.inputs.lr, self.inputs.lambda_)
        return loss.detach().double()

    def _state(self) -> Iterator[Tensor]:
        """All that a step changes."""
        yield from self.bench.model.parameters()
        yield from self.bench.model.buffers()
        yield from self._remembered()

    def _remembered(self) -> Iterator[Tensor]:
        """What the optimiser remembers, all zeros before its first step."""
        for kept in self.optimizer.state.values():
            yield from kept.values()


def _kind(treatment: Treatment) -> Treatment:
    """What two cells must have in common to be trained by one step."""
    return replace(treatment, lambda_=float(treatment.lambda_ > 0), pruned=0.0)
