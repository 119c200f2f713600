"""What a trained cell's weights look like, layer by layer and in sum."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from fractions import Fraction
from typing import Any

import torch

from softreg.networks.layers import Layer
from softreg.penalties.base import Tensors, sum_abs, sum_squares, sums_squares
from softreg.training.regulariser import Regulariser

#: A weight below this share of its layer's standard deviation counts as near zero.
NEAR = 0.01


@dataclass(frozen=True)
class Layers:
    """The layers of a network that its output depends on, and what holds of each whatever its weights are.

    ``normalised`` says whether a normalisation follows, so that a layer's scale changes nothing; ``positions`` how
    often each of its weights multiplies for one image.
    """

    layers: Sequence[Layer]
    normalised: Sequence[bool]
    positions: Sequence[Fraction]

    @torch.no_grad()
    def rates(self, lr: float, optimizer: str) -> list[float | None]:
        """The effective learning rate of each layer; None where it is not normalised or all zero.

        lr/‖w‖² under SGD, where a gradient shrinks as 1/‖w‖; lr/‖w‖ under Adam, whose step is free of that scale.
        """
        power = 1.0 if optimizer == "sgd" else 0.5
        squares = torch.stack(sums_squares([layer.weight for layer in self.layers])).double().tolist()
        pairs = zip(self.normalised, squares, strict=True)
        return [lr / square**power if normalised and square else None for normalised, square in pairs]


@torch.no_grad()
def layer_rows(
    layers: Layers, regulariser: Regulariser, lambda_: float, rates: Sequence[float | None]
) -> list[dict[str, Any]]:
    """A row for each layer; ``rates`` are the means over the training of `Layers.rates`.

    Columns: layer (its name), penalised, normalised, filters, dead_filters (all zero), weights, exact_zeros, near_zeros
    (|w| below 1 % of the layer's standard deviation, with the exact zeros), norm_l1, norm_l2, penalty_value (λP of the
    layer, 0 where it is not penalised), effective_lr, macs and macs_nonzero (multiply-adds for one image, all and
    those with a weight that is not zero).
    """
    penalties = dict(zip((layer.name for layer in regulariser.layers), regulariser.layer_values(), strict=True))
    return [
        {
            "layer": layer.name,
            "penalised": layer.name in penalties,
            "normalised": normalised,
            **_counts(layer),
            "penalty_value": lambda_ * penalties.get(layer.name, 0.0),
            "effective_lr": rate,
            "macs": int(layer.weight.numel() * places),
            "macs_nonzero": int(int(torch.count_nonzero(layer.weight)) * places),
        }
        for layer, normalised, places, rate in zip(
            layers.layers, layers.normalised, layers.positions, rates, strict=True
        )
    ]


def _counts(layer: Layer) -> dict[str, int | float]:
    weight = layer.weight
    filters = [view.flatten(1) for view in layer.filters(weight)]
    near = weight.abs() < NEAR * weight.std(correction=0)
    return {
        "filters": sum(len(view) for view in filters),
        "dead_filters": sum(int((view == 0).all(dim=1).sum()) for view in filters),
        "weights": weight.numel(),
        "near_zeros": int((near | (weight == 0)).sum()),
        **weight_summary([weight]),
    }


def summary(rows: list[dict[str, Any]], kappa: float) -> dict[str, Any]:
    """What a cell's record says of its layers.

    Zeros, near zeros and filters are counted among the penalised layers, multiply-adds over all; effective_lr is the
    geometric mean over the normalised layers, None where there are none; kappa is λΣη over the steps.
    """
    counted = [row for row in rows if row["penalised"]]
    rates = [math.log(row["effective_lr"]) for row in rows if row["effective_lr"]]
    return {
        **{key: sum(row[key] for row in counted) for key in ("near_zeros", "filters", "dead_filters")},
        "penalty_value": math.fsum(row["penalty_value"] for row in counted),
        "macs": sum(row["macs"] for row in rows),
        "macs_nonzero": sum(row["macs_nonzero"] for row in rows),
        "effective_lr": math.exp(sum(rates) / len(rates)) if rates else None,
        "kappa": kappa,
    }


@torch.no_grad()
def weight_summary(weights: Tensors) -> dict[str, int | float]:
    """Exact zeros, Σ|w| and ‖w‖₂ of the penalised weights."""
    zeros = sum(weight.numel() - int(torch.count_nonzero(weight)) for weight in weights)
    return {
        "exact_zeros": zeros,
        "norm_l1": float(sum_abs(weights)),
        "norm_l2": float(sum_squares(weights).sqrt()),
    }
