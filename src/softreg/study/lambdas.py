"""One spelling for each λ, in paths, keys and tables; and the trials of an entry, which λ̂ is chosen from."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from decimal import Decimal
from itertools import product
from typing import Any

from softreg.errors import UserError
from softreg.study.roles import compared


@dataclass(frozen=True)
class Trial:
    """A λ and, where the entry lists several, a learning rate; both as the study spells them."""

    lambda_: str
    lr: str = ""

    @classmethod
    def named(cls, name: str) -> Trial:
        """The trial of this `name`."""
        lambda_, _, lr = name.partition("@")
        return cls(lambda_, lr)

    @property
    def name(self) -> str:
        """What folders and the records of a path call it: "1e-3", or with a learning rate "1e-3@1e-2"."""
        return f"{self.lambda_}@{self.lr}" if self.lr else self.lambda_


def trials_of(entry: Mapping[str, Any]) -> list[Trial]:
    """What an entry of a study's ``penalties`` tries: each λ, at each learning rate where it lists several."""
    return [Trial(*pair) for pair in product(entry["lambda"], rates_of(entry) or [""])]


def trials_left(trials: int, seeds: int) -> int:
    """How many of so many trials a race by halving leaves after so many seeds: half of them each time, rounded up.

    Two are never cut to one: the seeds that are left would train that one alone, and decide nothing.
    """
    for _ in range(seeds):
        trials = min(trials, max(2, -(-trials // 2)))
    return trials


def budgets(penalties: Mapping[str, Mapping[str, Any]]) -> str:
    """How many trials each entry has, and whether all have as many: a sentence for those who compare them."""
    counts = {name: len(trials_of(penalties[name])) for name in compared(penalties)}
    told = ", ".join(f"{name} {count}" for name, count in counts.items())
    if len(set(counts.values())) == 1:
        return f"Every entry has the same number of trials (λ × learning rate): {told}."
    return (
        f"Entries differ in their number of trials (λ × learning rate), and more trials are more chances: {told}. "
        "Lists of λ, or of learning rates under an entry's training, make them equal."
    )


def rates_of(entry: Mapping[str, Any]) -> list[str]:
    """The learning rates that an entry lists, ascending; none where it lists none."""
    listed = entry["training"].get("lr")
    return sorted(map(spell, listed), key=float) if isinstance(listed, list) else []


def spell(value: float | int | str) -> str:
    """The shortest scientific spelling of a finite number of 0 or more: "0", "1e-3", "3.16e-4", "2e0".

    Equal numbers have equal spellings, and ``float(spell(x)) == float(x)``. Raises UserError
    for anything else.
    """
    try:
        number = float(value)
    except (TypeError, ValueError, OverflowError):
        number = math.nan
    if not (math.isfinite(number) and number >= 0):
        raise UserError(f"λ is {value!r}; give a finite number of 0 or more, such as 1e-4")
    if number == 0:
        return "0"
    # repr has the fewest digits that name this float and no other.
    return f"{Decimal(repr(number)).normalize():e}".replace("+", "")
