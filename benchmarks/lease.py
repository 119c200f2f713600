"""Do leases of GPUs hold, and keep the GPUs busy? 16 processes share 4 pretended devices, 2 on each; some are killed.

Each takes 10 turns of up to 2 s; 3 holders and 3 that wait are killed, drawn with a seed. An observer reads the log in
which holders note when they enter and leave: what overlaps there has overlapped. The last column is the share of the
slots' time in which they are held, over the moments at which somebody waits for one.
"""

from __future__ import annotations

import sys
import tempfile
from itertools import pairwise
from pathlib import Path

from common import CHECKOUT, print_table, sized

sys.path.insert(0, str(CHECKOUT / "tests"))

from leases import Event, Log, most, stays, trial, waits

DEVICES = sized(["a", "b", "c", "d"], ["a"])
JOBS, WORKERS, TURNS, KILLS, HOLD = sized((2, 16, 10, 6, 2.0), (2, 6, 4, 2, 0.2))
SEEDS = sized(3, 1)


def used(events: list[Event]) -> float:
    """Share of the slots' time in use, while somebody waits."""
    state: dict[int, str] = {}
    held = offered = 0.0
    for event, after in pairwise(events):
        state[event.process] = event.name
        names = list(state.values())
        if {"asks", "waits"} & set(names):
            seconds = after.time - event.time
            held += seconds * sum(name in ("enters", "shared", "unshared") for name in names)
            offered += seconds * JOBS * len(DEVICES)
    return held / offered


def row(seed: int) -> list[str]:
    with tempfile.TemporaryDirectory(prefix="softreg-benchmark-") as folder:
        log = Log(Path(folder))
        killed = trial(log, DEVICES, JOBS, WORKERS, TURNS, KILLS, seed, HOLD)
        events = log.events()
    found = stays(events)
    highest = max(most([stay for stay in found if stay.device == device]) for device in DEVICES)
    waited = waits(events)
    figures = [len(found), len(killed), highest]
    return [
        str(seed),
        *map(str, figures),
        f"{max(waited):.1f}",
        f"{sum(waited) / len(waited):.1f}",
        f"{used(events):.0%}",
    ]


def main() -> None:
    header = ["seed", "turns", "kills", "most on a device", "longest wait, s", "mean wait, s", "slots used"]
    print_table(header, [row(seed) for seed in range(SEEDS)])


if __name__ == "__main__":
    main()
