"""Weight penalties, one file each: the file's name is the penalty's ``kind``, and the file is its registration.

A file defines one subclass of :class:`softreg.penalties.base.Penalty`; the study's keys for that kind are the
keyword arguments of its constructor. A user's own file is named by its path and class instead. Start at `l1`; `base`
is the contract, `groups` what group penalties share. Imports `softreg.study` and below.
"""

from __future__ import annotations

import importlib
import inspect
from typing import Any

from softreg.own.classes import create
from softreg.own.sources import is_own, locate
from softreg.penalties.base import Penalty
from softreg.penalties.watched import watched
from softreg.study.treatment import CONTROLS

#: Keys of a penalty in a study that belong to the matrix, not to the formula.
_KEYS_OUTSIDE_THE_FORMULA = frozenset({"kind", "lambda", "realisation", "weights", "models", "training", "check"})


def make(spec: dict[str, Any]) -> Penalty:
    """The penalty that an entry of a study's ``penalties`` describes; none for a comparator or control."""
    if spec["kind"] in CONTROLS:
        return make({"kind": "none"})
    if is_own(spec["kind"]):
        # A penalty is abstract, and none the less what is asked for.
        return watched(create(spec, Penalty), locate(spec["kind"]).file)  # type: ignore[type-abstract]
    module = importlib.import_module(f"softreg.penalties.{spec['kind']}")
    (kind,) = (
        member
        for _, member in inspect.getmembers(module, inspect.isclass)
        if issubclass(member, Penalty) and member.__module__ == module.__name__
    )
    penalty: Penalty = kind(**{key: value for key, value in spec.items() if key not in _KEYS_OUTSIDE_THE_FORMULA})
    return penalty
