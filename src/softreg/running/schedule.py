"""How long jobs take that wait for each other, some at a time: list scheduling in the order of priority."""

from __future__ import annotations

import heapq
from collections.abc import Sequence
from dataclasses import dataclass


@dataclass(frozen=True)
class Task:
    """Work of ``seconds`` that begins once the tasks at the places ``needs`` have ended; higher ``priority`` first."""

    seconds: float
    priority: int = 0
    needs: Sequence[int] = ()


def makespan(tasks: Sequence[Task], workers: int) -> float:
    """Seconds until all tasks have ended with ``workers`` at a time: whenever one is free, it takes the first task.

    The first is that of highest priority among those that can begin, and of these the earliest in ``tasks``.
    """
    waits = [len(task.needs) for task in tasks]
    followers: list[list[int]] = [[] for _ in tasks]
    for place, task in enumerate(tasks):
        for needed in task.needs:
            followers[needed].append(place)
    ready = [(-task.priority, place) for place, task in enumerate(tasks) if not task.needs]
    heapq.heapify(ready)
    running: list[tuple[float, int]] = []
    now = 0.0
    while ready or running:
        while ready and len(running) < workers:
            _, place = heapq.heappop(ready)
            heapq.heappush(running, (now + tasks[place].seconds, place))
        now, ended = heapq.heappop(running)
        for place in followers[ended]:
            waits[place] -= 1
            if not waits[place]:
                heapq.heappush(ready, (-tasks[place].priority, place))
    return now
