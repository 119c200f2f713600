"""Looks: how often a study is judged while it grows by evaluation seeds, and what that does to its tests.

Who adds seeds until a difference is found, finds one sooner or later: with 0.05 at each of 10, 20 and 40 seeds, 11 % of
the differences that do not exist are found. So looks are planned, each is judged at the same lower level (Pocock 1977,
Biometrika 64, 191–199), which keeps 0.05 over all of them, and each that takes place is recorded. Imports no torch.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from datetime import UTC, datetime
from functools import lru_cache
from pathlib import Path
from typing import Any

import numpy as np

from softreg.files import Damaged, read_json, seal, sealed

SIZE = 0.05
"""Of all looks together."""
_NODES = 200
"""Of the quadrature: enough for looks that are a fortieth of the last one apart."""


def size_of(level: float, looks: Sequence[int]) -> float:
    """The chance that a two-sided test at ``level`` rejects what is true at one or more of ``looks``, numbers of seeds.

    The sum of n independent differences is a Brownian motion at time n. Its density on the paths that have not been
    rejected is carried from look to look (Armitage, McPherson and Rowe 1969, JRSS A 132, 235–244), by Gauss–Legendre
    quadrature. What looks share beside their seeds, such as test images, makes the chance smaller.
    """
    from scipy import stats

    bound = float(stats.norm.isf(level / 2))
    nodes, weights = np.polynomial.legendre.leggauss(_NODES)
    places, masses, before = np.zeros(1), np.ones(1), 0
    for seeds in sorted(set(looks)):
        here = bound * math.sqrt(seeds) * nodes
        steps = stats.norm.pdf(here[:, None] - places, scale=math.sqrt(seeds - before))
        masses = bound * math.sqrt(seeds) * weights * (steps @ masses)
        places, before = here, seeds
    return float(1 - masses.sum())


@lru_cache
def level_of(looks: tuple[int, ...]) -> float:
    """The level of each of ``looks`` at which all of them together have `SIZE`; that itself for one look."""
    from scipy import optimize

    if len(set(looks)) < 2:
        return SIZE
    return float(optimize.brentq(lambda level: size_of(level, looks) - SIZE, SIZE / len(looks) / 2, SIZE, xtol=1e-9))


Look = dict[str, Any]
"""``seeds``, how many evaluation seeds there were; ``on``, the day; ``partial``, whether scores were unfinished."""


def noted(*files: Path) -> list[Look]:
    """The looks in ``files``, those that there are; of one number of seeds the first."""
    found: dict[int, Look] = {}
    for file in files:
        for look in _held(file) if file.is_file() else []:
            found.setdefault(look["seeds"], look)
    return list(found.values())


def keep(file: Path, made: Sequence[Look]) -> None:
    """Write a study's own record of looks, held to a digest."""
    seal(file, {"looks": made}, [])


def _held(file: Path) -> list[Look]:
    """The looks in a study's own record, or in one that goes with scores, which is a list."""
    value = read_json(file)
    if isinstance(value, list):
        return value
    told = sealed(file)
    if told is None:
        raise Damaged(f"{file} is damaged; delete it and run the same again: the looks that lie with the scores stay")
    looks: list[Look] = told["looks"]
    return looks


def with_one(before: Sequence[Look], seeds: int, partial: bool) -> list[Look]:
    """The looks ``before``, and that of today; the same number of seeds is no other look, and none is none."""
    if not seeds or seeds in {look["seeds"] for look in before}:
        return list(before)
    return [*before, {"seeds": seeds, "on": datetime.now(UTC).date().isoformat(), "partial": partial}]
