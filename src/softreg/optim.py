"""Optimisers, learning-rate schedules, and the step that applies λP to the weights.

Proximal steps follow the gradient step on the data term alone: w ← prox_{tλP}(w − t·d). SGD averages its
gradient (dampening equals momentum): with heavy-ball momentum the step is 1/(1 − μ) times longer than the prox
knows, and the fixed point would solve the problem for λ(1 − μ). Adam's step differs from weight to weight, and
so does the threshold: ηλ/(√v̂ + ε). With either, the fixed points are the stationary points of loss + λP.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor

from softreg.penalties.base import Penalty, Strength


def make_optimizer(parameters: Sequence[Tensor], training: dict[str, Any]) -> torch.optim.Optimizer:
    """SGD with averaged momentum, or Adam, as the study's ``training.optimizer`` says; no weight decay."""
    if training["optimizer"] == "sgd":
        momentum = training["momentum"]
        return torch.optim.SGD(parameters, training["lr"], momentum, dampening=momentum, foreach=True)
    return torch.optim.Adam(parameters, training["lr"], betas=tuple(training["betas"]), foreach=True)


def learning_rate(training: dict[str, Any], step: int, steps: int, steps_per_epoch: int) -> float:
    """The learning rate at ``step`` of ``steps``: linear warm-up, then constant, cosine or polynomial (0.9)."""
    warmup: int = training["warmup_epochs"] * steps_per_epoch
    peak: float = training["lr"]
    if step < warmup:
        return peak * min(1.0, (step + 1) / warmup)
    left = 1 - (step - warmup) / max(1, steps - warmup)
    if training["schedule"] == "cosine":
        return peak * (1 - math.cos(math.pi * left)) / 2
    return peak * math.pow(left, 0.9) if training["schedule"] == "polynomial" else peak


class RegularisedStep:
    """One optimiser step on data term + λP, with λP realised by a proximal step or by its subgradient.

    ``weights`` are the penalised parameters, a part of those that ``optimizer`` updates.
    """

    def __init__(
        self,
        optimizer: torch.optim.Optimizer,
        weights: Sequence[Tensor],
        penalty: Penalty,
        lambda_: float,
        realisation: str,
    ) -> None:
        self.optimizer = optimizer
        self.weights = list(weights)
        self.penalty = penalty
        self.lambda_ = lambda_
        self.realisation = realisation

    @torch.no_grad()
    def __call__(self, lr: float) -> None:
        """Step with learning rate ``lr``; the parameters' ``grad`` hold the data term's gradient."""
        for group in self.optimizer.param_groups:
            group["lr"] = lr
        active = self.lambda_ > 0
        if active and self.realisation == "subgradient":
            gradients: list[Tensor] = [weight.grad for weight in self.weights]  # type: ignore[misc]
            torch._foreach_add_(gradients, self.penalty.gradient(self.weights), alpha=self.lambda_)
        self.optimizer.step()
        if active and self.realisation == "proximal":
            self.penalty.prox_(self.weights, self._strength(lr))

    def _strength(self, lr: float) -> Strength:
        if isinstance(self.optimizer, torch.optim.SGD):
            return lr * self.lambda_
        group = self.optimizer.param_groups[0]
        states = [self.optimizer.state[weight] for weight in self.weights]
        correction = 1 - group["betas"][1] ** float(states[0]["step"])
        strength = torch._foreach_div([state["exp_avg_sq"] for state in states], correction)
        torch._foreach_sqrt_(strength)
        torch._foreach_add_(strength, group["eps"])
        torch._foreach_reciprocal_(strength)
        torch._foreach_mul_(strength, lr * self.lambda_)
        return strength
