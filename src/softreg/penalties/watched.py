"""A user's own penalty: what is wrong with what its methods do is told with file and line."""

from __future__ import annotations

import math
from collections.abc import Callable
from functools import wraps
from pathlib import Path
from typing import Any

from torch import Tensor

from softreg.own.blame import OwnFault, blamed, line_of
from softreg.penalties.base import Penalty, Tensors


def watched(penalty: Penalty, file: Path) -> Penalty:
    """``penalty``, whose methods raise OwnFault where they fail, or give what is no value and no gradient."""
    flaws = {"value": _flaw_of_value, "gradient": _flaw_of_gradient}
    for name in ("value", "gradient", "prox_", "decay_"):
        # Also of a frozen dataclass.
        object.__setattr__(penalty, name, _watched(getattr(penalty, name), flaws.get(name), file))
    return penalty


def _watched(method: Callable[..., Any], flaw: Callable[[Any, Tensors], str] | None, file: Path) -> Callable[..., Any]:
    @wraps(method)
    def call(weights: Tensors, *strength: Any) -> Any:
        with blamed(file, method):
            result = method(weights, *strength)
        if flaw and (wrong := flaw(result, weights)):
            raise OwnFault(f"{line_of(file, method)}: {method.__name__} gives {wrong}")
        return result

    return call


def _flaw_of_value(value: Any, weights: Tensors) -> str:
    if not isinstance(value, Tensor) or value.numel() != 1:
        return f"{_shape(value)}; give one number, as a tensor"
    number = float(value)
    return "" if 0 <= number < math.inf else f"{number:g}; a penalty is a finite number of at least 0"


def _flaw_of_gradient(gradient: Any, weights: Tensors) -> str:
    if not isinstance(gradient, list | tuple) or list(map(_shape, gradient)) != list(map(_shape, weights)):
        return "other than a list of tensors of the weights' shapes; give one for each weight"
    return ""


def _shape(value: Any) -> str:
    return f"a tensor of shape {tuple(value.shape)}" if isinstance(value, Tensor) else type(value).__name__
