"""The proximal step under Adam: exact where weights have a gradient, gentle where they have none.

Adam's step differs from weight to weight, and a prox with the same steps, of strength s = ηλ/(√v̂ + ε), has the
stationary points of loss + λP for its fixed points. But a unit that is silent, as a ReLU may be for a while, has
v̂ = 0: its s is ηλ/ε, and its weights are gone in a few steps at any λ. So the penalty may always undo what Adam has
just done to a weight, and beyond that moves it no further than a prox whose √v̂ is not below `FLOOR` times its root mean
square over the layer. Where a step changes nothing, the penalty undoes Adam's move and no more, so that the fixed
points stay what they were. As λ → 0, all that the penalty does tends to 0.
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from functools import cached_property
from typing import Any, NamedTuple

import torch
from torch import Tensor

from softreg.penalties.base import Number, Tensors, shift_
from softreg.training.regulariser import Regulariser

FLOOR = 0.1
"""Of √v̂, as a share of its root mean square over the layer."""


class Step(NamedTuple):
    """Of a block of weights, tensors of their shapes: the strengths of two proxes, and Adam's moments.

    ``gentle`` is None where the floor holds no weight of the block, so that both are the same. Adam has just moved each
    weight by ``rate``·|mean|/root.
    """

    exact: Tensors
    gentle: Tensors | None
    means: Tensors
    roots: Tensors
    rate: Number


class AdamProx:
    """The prox of a regulariser's penalty on weights that ``optimizer``, an Adam, has just moved."""

    def __init__(self, optimizer: torch.optim.Optimizer, regulariser: Regulariser) -> None:
        self.optimizer, self.regulariser = optimizer, regulariser

    def __call__(self, weights: Tensors, step: Step) -> None:
        """Change a block of weights in place."""
        if step.gentle is None:
            self.regulariser.penalty.prox_(weights, step.exact)
            return
        change, most = self._change(weights, step.exact), self._change(weights, step.gentle)
        torch._foreach_abs_(most)
        _add_moves_(most, step)
        torch._foreach_minimum_(change, most)
        torch._foreach_neg_(most)
        torch._foreach_maximum_(change, most)
        torch._foreach_add_(weights, change)

    def steps(self, strength: Number) -> Iterator[Step]:
        """The `Step` of each block; ``strength`` is ηλ > 0."""
        group = self.optimizer.param_groups[0]
        first, correction = self._corrections(strength)
        epsilon = group["eps"] * correction
        self._set_floors(epsilon)
        for means, squares, floors in zip(self._means, self._squares, self._floors, strict=True):
            roots = torch._foreach_sqrt(squares)
            shift_(roots, epsilon)
            exact = _over(strength * correction, roots)
            gentle = None
            if _may_be_below(roots, floors):
                gentle = list(torch._foreach_minimum(exact, _over(strength * correction, floors)))
            # η·m̂/(√v̂ + ε), with √v̂ = √v/correction.
            yield Step(exact, gentle, means, roots, group["lr"] * correction / first)

    def _corrections(self, like: Number) -> tuple[Number, Number]:
        """1 − β₁ᵗ, and √(1 − β₂ᵗ): √v̂ is √v over it, taken out of the fraction. Numbers of the form of ``like``."""
        count, betas = self._state(self.regulariser.parameters[0])["step"], self.optimizer.param_groups[0]["betas"]
        if isinstance(like, float):
            first, second = (1 - beta ** float(count) for beta in betas)
            return first, math.sqrt(second)
        # In float64: 1 − β₂ᵗ of the first steps is small.
        first, second = (1 - beta ** count.double() for beta in betas)
        return first.to(like.dtype), second.sqrt().to(like.dtype)

    def _change(self, weights: Tensors, strength: Tensors) -> list[Tensor]:
        """What the prox adds to weights."""
        moved = [weight.clone() for weight in weights]
        self.regulariser.penalty.prox_(moved, strength)
        torch._foreach_sub_(moved, weights)
        return moved

    def _state(self, parameter: Tensor) -> dict[str, Any]:
        """What Adam remembers of a parameter, from its first step on."""
        state: dict[str, Any] = self.optimizer.state[parameter]
        return state

    def _remembered(self, name: str) -> list[list[Tensor]]:
        return self.regulariser.blocks([self._state(each)[name] for each in self.regulariser.parameters])

    @cached_property
    def _means(self) -> list[list[Tensor]]:
        return self._remembered("exp_avg")

    @cached_property
    def _squares(self) -> list[list[Tensor]]:
        return self._remembered("exp_avg_sq")

    @cached_property
    def _least(self) -> list[Tensor]:
        """The floor of √v of each layer, one number each."""
        return [parameter.new_zeros(()) for parameter in self.regulariser.parameters]

    @cached_property
    def _floors(self) -> list[list[Tensor]]:
        """The floor of each tensor of each block, one number that follows `_least`."""
        pairs = zip(self._least, self.regulariser.parameters, strict=True)
        blocks = self.regulariser.blocks([least.expand_as(parameter) for least, parameter in pairs])
        return [[torch.as_strided(piece, (), ()) for piece in block] for block in blocks]

    def _set_floors(self, epsilon: float) -> None:
        """Take the floors from the moments as they are; in a layer that has had no gradient yet, nothing moves."""
        for least, parameter in zip(self._least, self.regulariser.parameters, strict=True):
            least.copy_(self._state(parameter)["exp_avg_sq"].mean()).sqrt_().mul_(FLOOR)
            least.masked_fill_(least == 0, math.inf).add_(epsilon)


def _add_moves_(most: Tensors, step: Step) -> None:
    """Add the sizes of Adam's last moves."""
    sizes = torch._foreach_abs(step.means)
    if isinstance(step.rate, float):
        torch._foreach_addcdiv_(most, sizes, step.roots, value=step.rate)
    else:
        torch._foreach_mul_(sizes, step.rate)
        torch._foreach_addcdiv_(most, sizes, step.roots)


def _may_be_below(roots: Tensors, floors: Tensors) -> bool:
    """Whether any is below its floor; on a GPU always true, where to ask takes longer than what it may save."""
    pairs = zip(roots, floors, strict=True)
    return roots[0].is_cuda or any(bool(root.amin() < floor) for root, floor in pairs if root.numel())


def _over(numerator: Number, denominators: Tensors) -> list[Tensor]:
    """``numerator`` over each; a list, as authors of penalties are told: foreach functions give tuples.

    By way of the inverse: a larger denominator never gives more, to the last bit.
    """
    quotients = list(torch._foreach_reciprocal(denominators))
    torch._foreach_mul_(quotients, numerator)
    return quotients
