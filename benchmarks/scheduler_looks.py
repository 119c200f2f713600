"""What does a large study ask of a cluster's scheduler? A simulation of Snakemake and its SLURM plugin, without either.

A fake scheduler starts each job as soon as it is submitted. As in version 2.8 of the plugin, the state of all jobs is
asked for by one `squeue` after 61 seconds, then again after 61 seconds where a job had ended and after 10 seconds more
than before, up to 180, where none had. Only then does Snakemake know that a job has ended, and submits the next one in
its place: until then the place is idle. A cell takes two minutes, give or take 30 % (the standard deviation of the
logarithm), a job 30 seconds more to start. Jobs wait for no other jobs. Not in it: how long `sbatch` and `squeue` take.
"""

from __future__ import annotations

import heapq
import random
from itertools import product
from typing import NamedTuple

from common import print_table, sized

FIRST, MORE, MOST = 61, 10, 180
CELL, SPREAD, START = 120.0, 0.3, 30.0
SIZES = sized((1_000, 10_000, 100_000), (100,))
CELLS_PER_JOB = sized((1, 10, 100), (10,))
#: `jobs` in the profile, as for sites that let users queue 100 and 1,000.
AT_A_TIME = sized((90, 900), (5,))


class Run(NamedTuple):
    """Seconds to the end, looks, states that these looks listed, and seconds that places were idle."""

    seconds: float
    looks: int
    listed: int
    idle: float


def lengths(cells: int, per_job: int) -> list[float]:
    """Seconds of each job."""
    draw = random.Random(0)
    return [
        START + sum(CELL * draw.lognormvariate(0, SPREAD) for _ in range(min(per_job, cells - first)))
        for first in range(0, cells, per_job)
    ]


def run(jobs: list[float], at_a_time: int) -> Run:
    waiting = list(reversed(jobs))
    running: list[float] = []
    now = idle = 0.0
    looks = listed = 0
    pause = FIRST
    while waiting or running:
        while waiting and len(running) < at_a_time:
            heapq.heappush(running, now + waiting.pop())
        now += pause
        looks, listed = looks + 1, listed + len(running)
        pause = FIRST if running[0] <= now else min(pause + MORE, MOST)
        while running and running[0] <= now:
            idle += now - heapq.heappop(running)
    return Run(now, looks, listed, idle)


def row(cells: int, per_job: int, at_a_time: int) -> list[str]:
    jobs = lengths(cells, per_job)
    done = run(jobs, at_a_time)
    counts = (cells, per_job, at_a_time, len(jobs), done.looks)
    return [
        *(f"{count:,}" for count in counts),
        f"{3600 * done.looks / done.seconds:.0f}",
        f"{done.listed / done.looks:.0f}",
        f"{done.seconds / 3600:.1f}",
        f"{100 * done.idle / (done.idle + sum(jobs)):.0f} %",
    ]


def main() -> None:
    rows = [row(*setting) for setting in product(SIZES, CELLS_PER_JOB, AT_A_TIME)]
    header = ["cells", "cells per job", "jobs at a time", "sbatch", "looks", "looks per hour", "jobs per look", "hours"]
    print_table([*header, "idle"], rows)


if __name__ == "__main__":
    main()
