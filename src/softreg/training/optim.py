"""Optimisers, learning-rate schedules, and the step that applies λP to the weights.

Proximal steps follow the gradient step on the data term alone: w ← prox_{tλP}(w − t·d). SGD averages its
gradient: the step is lr times d ← μd + (1 − μ)g, which starts at zero. That is torch's heavy-ball momentum at
lr(1 − μ); were the prox to take that shorter step too, the fixed point would solve the problem for λ(1 − μ).
Adam's step differs from weight to weight, and so does its prox, see `softreg.training.adam_prox`. With either, the
fixed points are the stationary points of loss + λP.
A subgradient step adds λP's gradient to the data term's; a decoupled one takes it from the weights directly,
scaled by the learning rate alone, before the optimiser's step (Loshchilov and Hutter, 2019).
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Iterator, Sequence
from functools import cached_property, partial
from inspect import unwrap
from itertools import repeat
from typing import Any

import torch
from torch import Tensor

from softreg.penalties.base import Number, Strength, Tensors, add_, scale, shift_
from softreg.training.adam_prox import AdamProx
from softreg.training.regulariser import Regulariser


class _Eager(torch.optim.Optimizer):
    """The optimiser as it is below the guards for `torch.compile`, which load the compiler at the first call: 2 s.

    Where torch has no such guards, or others, these are its own methods all the same.
    """

    add_param_group = unwrap(torch.optim.Optimizer.add_param_group)
    zero_grad = unwrap(torch.optim.Optimizer.zero_grad)
    state_dict = unwrap(torch.optim.Optimizer.state_dict)
    load_state_dict = unwrap(torch.optim.Optimizer.load_state_dict)


class _SGD(_Eager, torch.optim.SGD):
    step = torch.no_grad()(unwrap(torch.optim.SGD.step))


class _Adam(_Eager, torch.optim.Adam):
    #: torch would warn of steps that are not captured.
    _warned_capturable_if_run_uncaptured = True
    step = torch.no_grad()(unwrap(torch.optim.Adam.step))


def make_optimizer(parameters: Sequence[Tensor], training: dict[str, Any]) -> torch.optim.Optimizer:
    """SGD or Adam, as the study's ``training.optimizer`` says; no weight decay. Parameters must be dense in memory."""
    if training["optimizer"] == "sgd":
        momentum = training["momentum"]
        return _SGD(parameters, training["lr"] * (1 - momentum), momentum, fused=True)
    betas, on_gpu = tuple(training["betas"]), parameters[0].is_cuda
    return _Adam(parameters, training["lr"], betas=betas, fused=True, capturable=on_gpu)


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
    """One optimiser step on data term + λP, with λP realised as its regulariser says.

    The penalised weights are a part of those that ``optimizer`` updates. ``lambda_`` may change between steps.
    """

    def __init__(self, optimizer: torch.optim.Optimizer, regulariser: Regulariser, lambda_: float) -> None:
        self.optimizer = optimizer
        self.regulariser = regulariser
        self.lambda_ = lambda_

    @property
    def makes_zeros(self) -> bool:
        """Whether weights become exactly zero: by a prox that sets all to zero that are small enough, unlike L2's."""
        if self.lambda_ == 0 or self.regulariser.realisation != "proximal":
            return False
        # Of a layer's own shape, as a penalty may treat a filter by how many weights it has.
        small = torch.full_like(self.regulariser.views(self.regulariser.parameters)[0], 1e-9, dtype=torch.float64)
        self.regulariser.penalty.prox_([small], 1.0)
        return not small.any()

    @torch.no_grad()
    def __call__(self, lr: Number, lambda_: Number | None = None) -> None:
        """Step with learning rate ``lr``; the parameters' ``grad`` hold the data term's gradient.

        ``lambda_`` is the λ of before in another form: float32 tensors of one number for both, on the weights' device,
        are read where the step runs, so that the host neither waits nor need come again with other numbers.
        """
        lambda_ = self.lambda_ if lambda_ is None else lambda_
        for group in self.optimizer.param_groups:
            # Heavy-ball momentum sums gradients where an average is meant.
            group["lr"] = lr * (1 - group.get("momentum", 0.0))
        realisation = self.regulariser.realisation if self.lambda_ > 0 else None
        if realisation == "subgradient":
            self._add_gradient(lambda_)
        elif realisation == "decoupled":
            self._change(self.regulariser.penalty.decay_, repeat(lr * lambda_, len(self._weight_blocks)))
        self.optimizer.step()
        if realisation == "proximal":
            self._prox(lr * lambda_)

    @torch.no_grad()
    def zero(self, gradients: Sequence[Tensor], lr: float, steps: int) -> None:
        """Set to zero the weights that ``steps`` proximal steps along ``gradients``, of the data term, would.

        No other weight moves: along a gradient that does not follow the weights they would go too far. Under Adam the
        steps are those of the gentle prox of `softreg.training.adam_prox`, for weights without a gradient too.
        """
        along = zip(self.regulariser.blocks(gradients), self._rates(lr), strict=True)
        self._change(partial(self._zero, steps=steps), along)

    def _zero(self, weights: Tensors, along: tuple[Tensors, Strength], steps: int) -> None:
        gradients, rates = along
        ahead = [weight.clone() for weight in weights]
        drift, strength = torch._foreach_mul(gradients, rates), scale(rates, self.lambda_)
        for _ in range(steps):
            torch._foreach_sub_(ahead, drift)
            self.regulariser.penalty.prox_(ahead, strength)
        for weight, end in zip(weights, ahead, strict=True):
            weight.masked_fill_(end == 0, 0.0)

    def _rates(self, lr: float) -> Iterable[Strength]:
        """The step of each weight, block by block."""
        if isinstance(self.optimizer, torch.optim.SGD):
            return repeat(lr, len(self._weight_blocks))
        return (step.gentle or step.exact for step in self._adam_prox.steps(lr))

    def _add_gradient(self, lambda_: Number) -> None:
        """Add the penalty's gradient to that of the data term."""
        gradients: list[Tensor] = [parameter.grad for parameter in self.regulariser.parameters]  # type: ignore[misc]
        for gradient, centred in zip(self.regulariser.blocks(gradients), self._centred_blocks(), strict=True):
            add_(gradient, self.regulariser.penalty.gradient(centred), lambda_)

    def _prox(self, strength: Number) -> None:
        if isinstance(self.optimizer, torch.optim.SGD):
            self._change(self.regulariser.penalty.prox_, self._for_each(strength))
        else:
            self._change(self._adam_prox, self._adam_prox.steps(strength))

    def _for_each(self, strength: Number) -> Iterable[Strength]:
        """``strength`` as a prox takes it, block by block: a number, or in the place of each weight."""
        if isinstance(strength, float):
            return repeat(strength, len(self._weight_blocks))
        if self.regulariser.penalty.structure == "filter":
            return [[strength.expand_as(weight) for weight in block] for block in self._weight_blocks]
        filled = [[torch.empty_like(weight) for weight in block] for block in self._weight_blocks]
        for block in filled:
            # Not expanded: foreach functions are slow on that.
            torch._foreach_zero_(block)
            shift_(block, strength)
        return filled

    @cached_property
    def _adam_prox(self) -> AdamProx:
        return AdamProx(self.optimizer, self.regulariser)

    def _change(self, change: Callable[[Tensors, Any], None], strengths: Iterable[Any]) -> None:
        """Let ``change`` move the weights, or their distance to where they started, in place, block by block."""
        blocks = zip(self._weight_blocks, self._centred_blocks(), strengths, strict=True)
        for index, (weight, moved, strength) in enumerate(blocks):
            change(moved, strength)
            if self.regulariser.origin is not None:
                torch._foreach_copy_(weight, torch._foreach_add(moved, self._origin_blocks[index]))

    def _centred_blocks(self) -> Iterator[Tensors]:
        """The weights, or as copies their distance to where they started, block by block."""
        if self.regulariser.origin is None:
            return iter(self._weight_blocks)
        pairs = zip(self._weight_blocks, self._origin_blocks, strict=True)
        return (list(torch._foreach_sub(weight, origin)) for weight, origin in pairs)

    @cached_property
    def _weight_blocks(self) -> list[list[Tensor]]:
        return self.regulariser.blocks(self.regulariser.parameters)

    @cached_property
    def _origin_blocks(self) -> list[list[Tensor]]:
        return self.regulariser.blocks(self.regulariser.origin or ())
