"""Norms and thresholds of whole output filters, which lie along the first axis of a weight tensor."""

from __future__ import annotations

import math

import torch
from torch import Tensor

from softreg.penalties.base import Number, Strength, Tensors

#: Steps of Newton's method that reach the type's precision, also where a filter's steps differ by factors of 1e8.
_NEWTON_STEPS = {torch.float32: 5, torch.float64: 7}


def sum_filter_norms(weights: Tensors) -> Tensor:
    """Σ √p·‖w_g‖ over the output filters of all tensors, float64; p is the number of weights in a filter."""
    return torch.stack([_root_size(weight) * _norms(weight).double().sum() for weight in weights]).sum()


def filter_slopes(weights: Tensors) -> list[Tensor]:
    """√p·w_g/‖w_g‖, 0 for a filter of zeros."""
    norms = [_norms(weight) for weight in weights]
    factors = [
        torch.where(norm > 0, _root_size(weight) / norm, 0.0) for weight, norm in zip(weights, norms, strict=True)
    ]
    return list(torch._foreach_mul(weights, factors))


def group_threshold_(weights: Tensors, strength: Strength) -> None:
    """Replace v by argmin_w Σ (w − v)²/(2s) + Σ √p·‖w_g‖, in place."""
    if isinstance(strength, float):
        factors = [_shares(weight, strength) for weight in weights]
    else:
        factors = [
            _shares(weight, _number(step)) if _is_number(step) else _elementwise_shares(weight, step)
            for weight, step in zip(weights, strength, strict=True)
        ]
    torch._foreach_mul_(weights, factors)


def _root_size(weight: Tensor) -> float:
    return math.sqrt(weight[0].numel()) if len(weight) else 0.0


def _norms(weight: Tensor) -> Tensor:
    """‖w_g‖ of each filter, shaped to multiply ``weight``."""
    norms: Tensor = torch.linalg.vector_norm(weight, dim=tuple(range(1, weight.ndim)), keepdim=True)
    return norms


def _is_number(step: Tensor) -> bool:
    """Whether one number is in the place of every weight."""
    return not any(step.stride())


def _number(step: Tensor) -> Tensor:
    return step.as_strided((), ())


def _shares(weight: Tensor, strength: Number) -> Tensor:
    """max(0, 1 − s√p/‖v_g‖) of each filter."""
    norm = _norms(weight)
    reach = strength * _root_size(weight)
    return torch.where(norm > reach, 1 - reach / norm, 0.0)


def _elementwise_shares(weight: Tensor, strength: Tensor) -> Tensor:
    """What each weight is multiplied by where the step differs from weight to weight.

    The minimum is w = v·r/(r + s√p) with r = ‖w_g‖, so that r solves Σ (v/(r + s√p))² = 1; it is 0 where the sum at
    r = 0 is at most 1. Newton's method on 1/√Σ, which is concave and nearly straight in r, climbs to the root.
    """
    axes = tuple(range(1, weight.ndim))
    tiny = torch.finfo(weight.dtype).tiny
    reach = (strength * _root_size(weight)).clamp_min_(tiny)
    radius = _lower_bound(weight, reach, axes)
    for _ in range(_NEWTON_STEPS[weight.dtype]):
        spread = radius + reach
        part = (weight / spread).square_()
        total = part.sum(dim=axes, keepdim=True)
        slope = part.div_(spread).sum(dim=axes, keepdim=True)
        step = (total.sqrt() - 1).clamp_min_(0) * total / slope.clamp_min_(tiny)
        radius = radius + step
        if _settled(step, radius):
            break
    return radius / (radius + reach)


def _settled(step: Tensor, radius: Tensor) -> bool:
    """Whether a step was so small that the next one, about its square, would change nothing.

    Always false on a GPU, where to ask takes longer than the steps that are left.
    """
    limit = 0.1 * torch.finfo(step.dtype).eps ** 0.5
    return not step.is_cuda and bool((step <= limit * radius).all())


def _lower_bound(weight: Tensor, reach: Tensor, axes: tuple[int, ...]) -> Tensor:
    """No more than the root, and so near that no term of the sum exceeds 1: nothing overflows.

    ‖v‖ less the mean of s√p weighted by v² is no more than the root by Jensen's inequality, as 1/x² is convex.
    """
    size = weight.abs()
    largest = (size - reach).amax(dim=axes, keepdim=True)
    # Scaled by the largest weight: squares of large ones would overflow.
    share = (size / size.amax(dim=axes, keepdim=True).clamp_min(torch.finfo(weight.dtype).tiny)).square_()
    mean = (share * reach).sum(dim=axes, keepdim=True) / share.sum(dim=axes, keepdim=True).clamp_min_(1e-30)
    return largest.maximum(_norms(weight) - mean).clamp_min_(0)
