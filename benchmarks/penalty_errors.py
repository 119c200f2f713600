"""How exact are the penalties' gradients and proximal steps?

Each built-in kind with the schema's default options, step × λ from 1e-8 to 1e2. float64: the worst that `softreg
check` finds, against finite differences and brute force, whose own resolution is about 1e-9, and of the fixed point
against the point itself. float32: against the same operation in float64 on the same 288 random weights of each of five
sizes. Errors are relative to the largest entry of the gradient or of the weights before the step.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator

import torch
from common import SMOKE, print_table, sized
from torch import Tensor

from softreg.contract.penalty import STRENGTHS, check_penalty
from softreg.penalties import make
from softreg.penalties.base import Penalty
from softreg.study.schema import filled, study_schema
from softreg.study.treatment import CONTROLS

SIZES = sized((1e-3, 0.05, 0.3, 1.0, 3.0), (0.3,))
SMOKE_KINDS = ("l1", "hoyer")
RULES = {
    "gradient": "gradient",
    "prox": "prox, one step",
    "prox, each": "prox, a step for each weight",
    "fixed point": "prox, fixed point",
}


def kinds() -> Iterator[tuple[str, Penalty]]:
    for name, definition in study_schema()["$defs"].items():
        kind = name.removeprefix("penalty_")
        if kind != name and kind not in CONTROLS and (not SMOKE or kind in SMOKE_KINDS):
            yield kind, make(filled({"kind": kind}, definition))


def double_errors(penalty: Penalty) -> dict[str, float]:
    """Of each rule, the worst error of its findings."""
    worst: dict[str, float] = {}
    for finding in check_penalty(penalty):
        if finding.error == finding.error:
            worst[finding.rule] = max(worst.get(finding.rule, 0.0), finding.error)
    return {column: worst[rule] for column, rule in RULES.items() if rule in worst}


def single_errors(penalty: Penalty) -> dict[str, float]:
    has_prox = "proximal" in penalty.realisations
    has_gradient = penalty.realisations != ("proximal",)
    errors = {"gradient": worst_gradient(penalty)} if has_gradient else {}
    if has_prox:
        errors["prox"] = worst_prox(penalty, lambda v, strength: strength)
        errors["prox, each"] = worst_prox(penalty, lambda v, strength: [strength * spread().to(v.dtype)])
    if has_prox and has_gradient:
        errors["fixed point"] = max(fixed_point(penalty, *case) for case in cases())
    return errors


def cases() -> Iterator[tuple[Tensor, float]]:
    """Filters of nine weights, all of a size, and a strength."""
    for number, size in enumerate(SIZES):
        weights = size * torch.randn(32, 9, generator=torch.Generator().manual_seed(number))
        yield from ((weights, strength) for strength in STRENGTHS)


def spread() -> Tensor:
    """Steps apart by up to 16 times, as under Adam."""
    return 0.2 + 3 * torch.rand(32, 9, generator=torch.Generator().manual_seed(99))


def worst_gradient(penalty: Penalty) -> float:
    found = ((penalty.gradient([w])[0], penalty.gradient([w.double()])[0]) for w, _ in cases())
    return max(relative(single, double, double) for single, double in found)


def worst_prox(penalty: Penalty, steps: Callable[[Tensor, float], float | list[Tensor]]) -> float:
    return max(
        relative(*(moved(penalty, v, steps(v, strength)) for v in (w, w.double())), w) for w, strength in cases()
    )


def moved(penalty: Penalty, v: Tensor, steps: float | list[Tensor]) -> Tensor:
    result = v.clone()
    penalty.prox_([result], steps)
    return result


def fixed_point(penalty: Penalty, w: Tensor, strength: float) -> float:
    """A gradient step up and a proximal step back, float32 against float64."""
    ups = [v + strength * penalty.gradient([v.clone()])[0] for v in (w, w.double())]
    return relative(*(moved(penalty, v, strength) for v in ups), ups[1])


def relative(single: Tensor, double: Tensor, scale: Tensor) -> float:
    largest = scale.abs().max().item()
    return (single.double() - double).abs().max().item() / (largest or 1.0)


def main() -> None:
    torch.set_num_threads(1)
    header = ["penalty", *(f"{column}, {bits}" for bits in ("f64", "f32") for column in RULES)]
    rows = []
    for kind, penalty in kinds():
        errors = double_errors(penalty), single_errors(penalty)
        rows.append([kind, *(f"{part[column]:.0e}" if column in part else "" for part in errors for column in RULES)])
    print_table(header, rows)


if __name__ == "__main__":
    main()
