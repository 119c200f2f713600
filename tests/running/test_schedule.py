"""The schedule of a plan: makespans worked out by hand, and against a clock that ticks."""

import random

import pytest

from softreg.running.schedule import Task, makespan

BY_HAND = {
    "nothing takes no time": ([], 2, 0),
    "one worker takes the sum": ([Task(3), Task(2), Task(1)], 1, 6),
    "a free worker takes the next": ([Task(3), Task(2), Task(1)], 2, 3),
    "no more at a time than there are": ([Task(5), Task(1)], 8, 5),
    "a chain cannot be shared": ([Task(2), Task(2, needs=(0,)), Task(2, needs=(1,))], 4, 6),
    # 0 to 2: both short ones, as they come first; 2 to 6: the long one.
    "what is urgent goes first": ([Task(4), Task(2, 1), Task(2, 1)], 2, 6),
    "and so does a long one": ([Task(4, 1), Task(2), Task(2)], 2, 4),
    # The sweep 0 to 2 and 0 to 3, the choice 3 to 4, the final 4 to 7; the other group's sweep 2 to 7.
    "a group waits for its own": ([Task(2), Task(3), Task(1, 9, (0, 1)), Task(3, 0, (2,)), Task(5)], 2, 7),
}


@pytest.mark.parametrize("case", BY_HAND)
def test_makespans_worked_out_by_hand(case):
    tasks, workers, expected = BY_HAND[case]
    assert makespan(tasks, workers) == expected


def ticking(tasks, workers):
    """The same by a clock that ticks: at each second, ended tasks leave and free workers take what may begin."""
    ends, clock = {}, 0
    while True:
        ended = {place for place, end in ends.items() if end <= clock}
        if len(ended) == len(tasks):
            return clock
        waiting = [place for place in range(len(tasks)) if place not in ends and ended.issuperset(tasks[place].needs)]
        waiting.sort(key=lambda place: (-tasks[place].priority, place))
        free = workers - (len(ends) - len(ended))
        ends |= {place: clock + tasks[place].seconds for place in waiting[:free]}
        clock += 1


@pytest.mark.parametrize("seed", range(40))
def test_the_schedule_is_that_of_a_ticking_clock(seed):
    draw = random.Random(seed)
    count = draw.randint(1, 12)
    tasks = [
        Task(draw.randint(1, 6), draw.randint(0, 3), draw.sample(range(place), draw.randint(0, min(place, 2))))
        for place in range(count)
    ]
    workers = draw.randint(1, 4)
    assert makespan(tasks, workers) == ticking(tasks, workers)
