"""Leases of devices, held by real processes that are really killed; the devices are pretended."""

import os
import signal
import subprocess
import sys
import tempfile
from pathlib import Path

import pytest
from leases import DEADLINE, Log, most, stays, trial, until

from softreg.errors import UserError
from softreg.running.lease import Request, acquire

FOUR = ["a", "b", "c", "d"]


@pytest.fixture
def log(tmp_path):
    log = Log(tmp_path)
    yield log
    log.stop()


@pytest.mark.parametrize("seed", [0, 1])
def test_sixteen_processes_share_four_devices_whoever_is_killed(log, seed):
    killed = trial(log, FOUR, jobs=2, workers=16, turns=5, kills=6, seed=seed)
    events = log.events()
    by_device = {device: [stay for stay in stays(events) if stay.device == device] for device in FOUR}
    assert {device: most(found) for device, found in by_device.items() if most(found) > 2} == {}
    assert most(stays(events)) > 4
    turns = {pid: sum(event.process == pid and event.name == "leaves" for event in events) for pid in log.workers}
    assert [turns[pid] for pid in log.workers if pid not in killed] == [5] * 10
    before = {pid: [event.name for event in events if event.process == pid][-2] for pid in killed}
    assert [name == "enters" for name in before.values()] == [False, True] * 3
    # Nothing of the dead is left: each device takes two at once, at once.
    after = [log.start(devices=FOUR, jobs=2) for _ in range(8)]
    for worker in after:
        log.wait(worker, "enters")
    assert sorted(log.wait(worker, "enters").device for worker in after) == sorted(FOUR * 2)


def test_first_come_first_served(log):
    holder = log.start()
    log.wait(holder, "enters")
    waiters = []
    for _ in range(4):
        waiters.append(log.start(hold=0.01))
        log.wait(waiters[-1], "waits")
    log.kill(waiters.pop(1))
    log.leave(holder)
    for waiter in waiters:
        log.leave(waiter)
    order = [event.process for event in log.events() if event.name == "enters"]
    assert order == [holder.pid, *(waiter.pid for waiter in waiters)]


def test_who_waits_for_one_device_does_not_block_another(log):
    """Two users with devices of their own, and one who takes either."""
    holder = log.start(devices=["a"])
    log.wait(holder, "enters")
    log.wait(log.start(devices=["a"]), "waits")
    log.wait(either := log.start(devices=["a", "b"]), "enters")
    assert log.events(either)[-1].device == "b"


def test_the_emptiest_device_comes_first_then_the_least_memory(log):
    memory = {"a": 500, "b": 20, "c": 300}
    devices = []
    for _ in range(6):
        worker = log.start(devices=["a", "b", "c"], jobs=2, memory=memory)
        devices.append(log.wait(worker, "enters").device)
    assert devices == ["b", "c", "a", "b", "c", "a"]


def test_alone_excludes_others_and_is_not_starved(log):
    """A stream of ordinary requests for two devices; one process wants one of them alone."""
    stream = [log.start(devices=["a", "b"], jobs=2, turns=10_000, hold=0.05, seed=i) for i in range(6)]
    for worker in stream:
        log.wait(worker, "enters")
    alone = log.start(devices=["a", "b"], alone=True, turns=3, hold=0.3)
    log.leave(alone)
    # It was served while the stream went on, and the other device served the stream meanwhile.
    assert all(worker.poll() is None for worker in stream)
    for worker in stream:
        log.kill(worker)
    found = stays(log.events())
    own = [stay for stay in found if stay.process == alone.pid]
    overlapping = [
        other.device == stay.device
        for stay in own
        for other in found
        if other.process != alone.pid and other.begin < stay.end and stay.begin < other.end
    ]
    assert len(own) == 3
    assert overlapping
    assert not any(overlapping)


def test_no_more_share_a_device_than_each_of_them_puts_up_with(log):
    """Two runs at once: one of a job a device, one of three."""
    first = log.start(jobs=3)
    log.wait(first, "enters")
    single = log.start(jobs=1, hold=1.0)
    log.wait(single, "waits")
    late = [log.start(jobs=3) for _ in range(2)]
    for worker in late:
        log.wait(worker, "waits")
    log.leave(first)
    entered = [log.wait(worker, "enters").time for worker in late]
    assert log.wait(single, "enters").time > log.wait(first, "leaves").time
    assert min(entered) > log.wait(single, "leaves").time


def test_a_holder_knows_whether_it_had_a_neighbour(log):
    """One before another, one beside it, and one after it."""
    first = log.start(jobs=2)
    log.wait(first, "enters")
    log.leave(first)
    second = log.start(jobs=2)
    log.wait(second, "enters")
    third = log.start(jobs=2)
    log.wait(third, "enters")
    log.leave(second)
    log.leave(third)
    fourth = log.start(jobs=2, hold=0.01)
    log.leave(fourth)
    told = {event.process: event.name for event in log.events() if event.name.endswith("shared")}
    assert [told[worker.pid] for worker in (first, second, third, fourth)] == [
        "unshared",
        "shared",
        "shared",
        "unshared",
    ]


def test_a_neighbour_that_came_and_went_counts(log):
    holder = log.start(jobs=2)
    log.wait(holder, "enters")
    visitor = log.start(jobs=2)
    log.wait(visitor, "enters")
    log.kill(visitor)
    log.leave(holder)
    assert "shared" in [event.name for event in log.events(holder)]


def test_a_child_that_outlives_the_holder_holds_nothing(tmp_path, log):
    """A forked child has the open file, but not the lock."""
    program = f"""
import os, sys, time
from pathlib import Path
from softreg.running.lease import Request, acquire
acquire(Request(["a"]), Path({str(tmp_path / "leases")!r}), dict, print)
if os.fork() == 0:
    sys.stdin.read()
    os._exit(0)
print("held", flush=True)
os.kill(os.getpid(), 9)
"""
    holder = subprocess.Popen([sys.executable, "-c", program], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
    assert holder.stdout.readline() == "held\n"
    assert holder.wait(DEADLINE) == -signal.SIGKILL
    log.wait(log.start(), "enters")
    holder.stdin.close()


@pytest.mark.skipif(os.geteuid() != 0, reason="only root can be several users")
def test_all_users_share_one_folder():
    """Whatever their umask; each can be the first, and none can remove another's files."""
    with tempfile.TemporaryDirectory(prefix="softreg-test-") as place:
        folder = Path(place)
        folder.chmod(0o1777)
        log = Log(folder)
        one, other = log.start(user=1), log.start(user=2)
        until(lambda: {"enters", "waits"} <= {event.name for event in log.events()})
        holder, waiter = (one, other) if log.events(one)[-1].name == "enters" else (other, one)
        log.leave(holder)
        log.wait(waiter, "enters")
        assert {file.stat().st_uid for file in (folder / "leases").iterdir()} <= {1, 2}
        assert (folder / "leases").stat().st_mode & 0o7777 == 0o1777
        log.leave(waiter)


def test_a_folder_that_cannot_be_used_is_told_in_a_sentence(tmp_path):
    (tmp_path / "leases").touch()
    with pytest.raises(UserError, match=r"leases keeps the leases .*Not a directory.* SOFTREG_LEASES"):
        acquire(Request(["a"]), tmp_path / "leases", dict, print)
