"""The contract of a penalty: gradient against finite differences, prox against brute force, and its manners.

All that is compared with comes from the penalty's own ``value``; whether that is the formula its author meant, only a
hand-computed case can say.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from functools import partial

import torch
from torch import Tensor

from softreg.contract.findings import Finding, held_to, within
from softreg.penalties.base import Penalty, Strength

#: Step × λ: from far below to far above what a training can meet.
STRENGTHS = tuple(10.0**exponent for exponent in range(-8, 3))
REALISATIONS = ("proximal", "subgradient", "decoupled")
_STRUCTURES = ("weight", "filter", "layer")
_ORIGINS = ("zero", "pretrained")
#: Limits: central differences, grid search and float32 allow no less.
_GRADIENT_LIMIT = 1e-6
_PROX_LIMIT = 1e-6
_SINGLE_LIMIT = 1e-5
_HUGE = 1e15


def check_penalty(penalty: Penalty) -> list[Finding]:
    """All findings on a penalty, in the order of a table; on the CPU, and on a GPU where there is one."""
    checks: dict[str, Callable[[Penalty], Iterator[Finding]]] = {"declaration": _declaration, "value": _value}
    if {"subgradient", "decoupled"} & set(penalty.realisations):
        checks["gradient"] = _gradient
    if "proximal" in penalty.realisations:
        checks |= {
            "prox, one step": partial(_prox, one=True),
            "prox, a step for each weight": partial(_prox, one=False),
            "prox, fixed point": _fixed_point,
        }
    checks |= {"structure": _structure, "memory": _memory, "dtype": _dtype, "extremes": _extremes, "device": _device}
    return held_to(checks, penalty)


def _declaration(penalty: Penalty) -> Iterator[Finding]:
    known = bool(penalty.realisations) and set(penalty.realisations) <= set(REALISATIONS)
    yield Finding(known, f"realisations {penalty.realisations}: among {', '.join(REALISATIONS)}")
    yield Finding(penalty.structure in _STRUCTURES, f"structure {penalty.structure!r}")
    yield Finding(penalty.origin in _ORIGINS, f"origin {penalty.origin!r}")


def _value(penalty: Penalty) -> Iterator[Finding]:
    first, second = _random((4, 3)), _random((2, 5))
    together = penalty.value([first, second])
    # Weights in training are float32.
    for given in (together, penalty.value([first.float(), second.float()])):
        scalar = given.ndim == 0 and given.dtype == torch.float64
        yield Finding(scalar, f"a scalar of float64, {tuple(given.shape)} of {given.dtype} here")
    apart = penalty.value([first]) + penalty.value([second])
    yield within(_relative(together, apart), 1e-12, "of two tensors, against the sum of each one's")


def _gradient(penalty: Penalty) -> Iterator[Finding]:
    """Central differences; coordinates near a kink, where both sides differ, are left out."""
    weight = _random((6, 5))
    (found,) = penalty.gradient([weight.clone()])
    step = 1e-6
    errors = []
    for index, move in enumerate(step * torch.eye(weight.numel(), dtype=weight.dtype).view(-1, *weight.shape)):
        values = [penalty.value([weight + side * move]).item() for side in (-1, 0, 1)]
        left, right = (values[1] - values[0]) / step, (values[2] - values[1]) / step
        if abs(left - right) < 1e-2 * max(1.0, abs(left)):
            errors.append(abs(found.view(-1)[index].item() - (left + right) / 2))
    worst = _worst(errors) / _worst([1.0, found.abs().max().item()])
    yield within(worst, _GRADIENT_LIMIT, "against finite differences")
    (at_zero,) = penalty.gradient([torch.zeros(3, 2, dtype=torch.float64)])
    yield Finding(bool(at_zero.isfinite().all()), "finite where all weights are zero")


def _prox(penalty: Penalty, one: bool) -> Iterator[Finding]:
    """Of ``one`` step for all weights, or a step for each."""
    errors = []
    for number, v in enumerate(_points(penalty)):
        search = _Search(penalty, v)
        for strength in STRENGTHS:
            apart = 0.2 + 3 * torch.rand(v.shape, generator=_generator(number), dtype=v.dtype)
            steps = torch.full_like(v, strength) if one else strength * apart
            errors.append(search.distance(strength if one else [steps], steps))
    about = "step × λ from 1e-8 to 1e2" if one else "steps apart by 16 times"
    yield within(_worst(errors), _PROX_LIMIT, f"against brute force, {about}")
    if not one and penalty.structure != "layer":
        yield within(_apart(penalty), 1e-9, f"each {penalty.structure} alone or all at once")


def _apart(penalty: Penalty) -> float:
    """How much the prox of a weight, or of a filter, depends on the steps and the values of the others."""
    width = 1 if penalty.structure == "weight" else 5
    weight = _random((30 // width, width))
    steps = 0.2 + 3 * torch.rand(weight.shape, generator=_generator(1), dtype=weight.dtype)
    together, alone = weight.clone().view(6, 5), list(torch.split(weight.clone(), 1))
    penalty.prox_([together], [steps.view(6, 5)])
    for part, step in zip(alone, torch.split(steps, 1), strict=True):
        penalty.prox_([part], [step])
    return _relative(together.view(-1, width), torch.cat(alone))


def _fixed_point(penalty: Penalty) -> Iterator[Finding]:
    """At a stationary point the gradient step and the prox undo each other: prox_s(w + s·P'(w)) = w.

    Where P is not convex, another point may be better: then nothing is compared.
    """
    if "subgradient" not in penalty.realisations:
        yield Finding(True, "has no gradient to step back with")
        return
    errors = []
    for number, strength in enumerate(STRENGTHS):
        w = _random((4, 6), number)
        v = w + strength * penalty.gradient([w.clone()])[0]
        back = v.clone()
        penalty.prox_([back], strength)
        # The distance of each filter, as one of them may have found a better point.
        for row in range(len(w)):
            steps = torch.full_like(w[row : row + 1], strength)
            here, there = (_objective(penalty, u[row : row + 1], v[row : row + 1], steps) for u in (w, back))
            if not there < here - 1e-9 * max(1.0, abs(here)):
                errors.append(_relative(back[row], w[row], v[row]))
    yield within(_worst(errors), _PROX_LIMIT, "prox(w + s·gradient(w)) against w")


def _structure(penalty: Penalty) -> Iterator[Finding]:
    """Changing one weight changes nothing outside its declared structure, and filters may be taken in blocks."""
    weight = _random((4, 3, 2))
    other = weight.clone()
    other[1, 1, 1] += 0.5
    inside = torch.zeros_like(weight, dtype=torch.bool)
    inside[{"weight": (1, 1, 1), "filter": (1,), "layer": ()}[penalty.structure]] = True
    for name, apply in _operations(penalty):
        before, after = apply([weight.clone()])[0], apply([other.clone()])[0]
        spread = bool((before != after)[~inside].any())
        yield Finding(not spread, f"{name}: a weight touches no more than its {penalty.structure}")
        if penalty.structure != "layer":
            whole, blocks = weight.clone(), list(torch.split(weight.clone(), 2))
            parts = torch.cat(list(apply(blocks)))
            yield within(_relative(apply([whole])[0], parts), 1e-12, f"{name}: filters taken in blocks")


def _memory(penalty: Penalty) -> Iterator[Finding]:
    """A penalty serves many steps and, one after another, many λ; an interrupted training begins with a new one."""
    weight = _random((6, 5))
    for name, apply in _operations(penalty):
        first, second = apply([weight.clone()])[0].clone(), apply([weight.clone()])[0]
        yield Finding(bool(torch.equal(first, second)), f"{name}: the same again for the same weights")


def _dtype(penalty: Penalty) -> Iterator[Finding]:
    weight = torch.cat([_random((5, 4)), 1e-3 * _random((5, 4), 1)])
    for name, apply in _operations(penalty):
        single, double = apply([weight.float()])[0], apply([weight.clone()])[0]
        kept = single.dtype == torch.float32 and double.dtype == torch.float64
        yield Finding(kept, f"{name}: float32 and float64 stay what they are")
        yield within(_relative(single.double(), double), _SINGLE_LIMIT, f"{name}: float32 against float64")


def _extremes(penalty: Penalty) -> Iterator[Finding]:
    empty, zeros = torch.zeros(0, 3, 3, 3), torch.zeros(2, 3)
    large = _HUGE * _random((2, 3)).float()
    many = _random((512, 2048)).float()
    for name, apply in _operations(penalty):
        results = apply([empty.clone(), zeros.clone(), large.clone(), many.clone()])
        shapes = all(a.shape == b.shape for a, b in zip(results, (empty, zeros, large, many), strict=True))
        yield Finding(shapes, f"{name}: an empty tensor and one of a million weights keep their shape")
        finite = all(bool(result.isfinite().all()) for result in results)
        yield Finding(finite, f"{name}: finite at 0 and at 1e15")


def _device(penalty: Penalty) -> Iterator[Finding]:
    if not torch.cuda.is_available():
        yield Finding(True, "no GPU here: not checked")
        return
    weight = _random((6, 5))
    for name, apply in _operations(penalty):
        there = apply([weight.cuda()])[0]
        yield Finding(there.is_cuda, f"{name}: stays on the GPU")
        yield within(_relative(there.cpu(), apply([weight.clone()])[0]), 1e-9, f"{name}: GPU against CPU")


def _operations(penalty: Penalty) -> list[tuple[str, Callable[[list[Tensor]], list[Tensor]]]]:
    """What a penalty does to weights, as functions from tensors to new tensors."""

    def prox(weights: list[Tensor], elementwise: bool) -> list[Tensor]:
        strength: Strength = [torch.full_like(weight, 0.1) for weight in weights] if elementwise else 0.1
        penalty.prox_(weights, strength)
        return weights

    operations: list[tuple[str, Callable[[list[Tensor]], list[Tensor]]]] = []
    if {"subgradient", "decoupled"} & set(penalty.realisations):
        operations.append(("gradient", lambda weights: list(penalty.gradient(weights))))
    if "proximal" in penalty.realisations:
        operations.append(("prox, one step", partial(prox, elementwise=False)))
        operations.append(("prox, a step for each weight", partial(prox, elementwise=True)))
    return operations


def _points(penalty: Penalty) -> list[Tensor]:
    """What brute force can search: filters of one weight, or of two where a filter's weights belong together."""
    width = 1 if penalty.structure == "weight" else 2
    return [size * _random((1, width), number) for number, size in enumerate((1e-3, 0.05, 0.3, 1.0, 3.0))]


def _objective(penalty: Penalty, w: Tensor, v: Tensor, steps: Tensor) -> float:
    return float(((w - v).double().square() / (2 * steps)).sum() + penalty.value([w.clone()]))


class _Search:
    """Brute force for the minimum of Σ (w − v)²/(2·steps) + P(w) over all w.

    P on a grid about 0 is worked out once and serves every step. Each axis holds 0 and v too, as minima at a kink or
    a jump lie there. From its best point the search goes to the best of the neighbours all round, and halves their
    distance where none is better, until that is below 1e-9.
    """

    def __init__(self, penalty: Penalty, v: Tensor) -> None:
        self.penalty = penalty
        self.v = v
        per_axis = 401 if v.numel() == 1 else 41
        reach = 1.5 * v.abs().max().item()
        self.spacing = 2 * reach / (per_axis - 1)
        axis = torch.linspace(-reach, reach, per_axis, dtype=v.dtype)
        axes = [torch.cat([axis, torch.zeros(1, dtype=v.dtype), number.view(1)]) for number in v.flatten()]
        self.grid = torch.cartesian_prod(*axes).view(-1, *v.shape)
        self.values = self._values(self.grid)
        around = torch.cartesian_prod(*[torch.arange(-1.0, 2.0, dtype=v.dtype)] * v.numel()).view(-1, *v.shape)
        self.neighbours = around[around.flatten(1).any(1)]

    def distance(self, strength: Strength, steps: Tensor) -> float:
        """How far the prox lies from the minimum; 0 where it is no worse, as of two equal minima either will do."""
        found = self.v.clone()
        self.penalty.prox_([found], strength)
        best = self._minimum(steps)
        here, there = (_objective(self.penalty, w, self.v, steps) for w in (found, best))
        return 0.0 if here <= there else _relative(found, best, self.v)

    def _minimum(self, steps: Tensor) -> Tensor:
        best, lowest = self._lowest(self.grid, self.values, steps)
        spacing = self.spacing / 2
        # Some 30 halvings and about as many moves; a penalty without a minimum would be walked down for ever.
        for _ in range(300):
            if spacing < 5e-10:
                break
            points = best + spacing * self.neighbours
            point, value = self._lowest(points, self._values(points), steps)
            if value < lowest:
                best, lowest = point, value
            else:
                spacing /= 2
        return best

    def _values(self, points: Tensor) -> Tensor:
        """P of each point; a clone, as the penalty is a stranger's."""
        return torch.stack([self.penalty.value([point]) for point in points.clone()])

    def _lowest(self, points: Tensor, values: Tensor, steps: Tensor) -> tuple[Tensor, float]:
        costs = ((points - self.v).square() / (2 * steps)).flatten(1).sum(1) + values
        index = int(costs.argmin())
        return points[index], costs[index].item()


def _worst(errors: Iterable[float]) -> float:
    """The largest error, or nan where one is nan, which max() would pass over; 0 where there are none."""
    errors = list(errors)
    return next((error for error in errors if error != error), max(errors, default=0.0))


def _relative(found: Tensor, wanted: Tensor, scale: Tensor | None = None) -> float:
    """The largest difference over the largest value of ``scale``, by default of what is wanted."""
    largest = (wanted if scale is None else scale).abs().max().clamp_min(1e-12)
    return ((found - wanted).abs().max() / largest).item()


def _random(shape: tuple[int, ...], seed: int = 0) -> Tensor:
    return torch.randn(shape, generator=_generator(seed), dtype=torch.float64)


def _generator(seed: int) -> torch.Generator:
    return torch.Generator().manual_seed(seed)
