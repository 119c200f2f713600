"""How often a study has been looked at, how often it was to be, and what that does to a verdict."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from softreg.scoring.looks import SIZE, Look, level_of, size_of


@dataclass(frozen=True)
class Looks:
    """Numbers of evaluation seeds: ``now``, ``planned`` (rising), and those of all looks ``made``, this one among them.

    See `softreg.scoring.looks`.
    """

    now: int
    planned: tuple[int, ...]
    made: Sequence[Look]

    @property
    def level(self) -> float:
        """The level that a difference is judged at in each planned look, two-sided."""
        return level_of(self.planned)

    @property
    def interval(self) -> str:
        """What intervals at that level are called."""
        return f"{100 * (1 - self.level):.3g} %"

    def plan(self) -> str:
        """The looks that are planned; "" of a single one."""
        if len(self.planned) < 2:
            return ""
        numbers = listed(self.planned)
        return (
            f"Looks are planned at {numbers} evaluation seeds; each is judged at {self.level:.3f}, with "
            f"{self.interval} intervals, which keeps {SIZE:g} over all of them. This is a look at {self.now}."
        )

    def departures(self) -> str:
        """What looks that were not planned do to the verdicts; "" where there are none."""
        others = [look for look in self.made if look["seeds"] not in self.planned]
        if not others:
            return ""
        at = listed([f"{look['seeds']} (partial)" if look["partial"] else look["seeds"] for look in others])
        every = {*self.planned, *(look["seeds"] for look in self.made)}
        this = "this one, " if self.now in {look["seeds"] for look in others} else ""
        share = 100 * size_of(self.level, sorted(every))
        return (
            f"Not planned: {this}{'a look' if len(others) == 1 else 'looks'} at {at} evaluation seeds. Who judges at "
            f"all of {listed(sorted(every))} seeds finds up to {share:.0f} % of the differences that do not exist; "
            "`statistics: {looks: […]}`, declared before the first look, keeps that at 5 %."
        )


def listed(values: Sequence[object]) -> str:
    """Values in prose: 6, 12 and 24."""
    *first, last = map(str, values)
    return f"{', '.join(first)} and {last}" if first else last
