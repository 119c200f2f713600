"""Files that are written whole, told apart from damaged ones, and made by one process at a time."""

import errno
import multiprocessing
import os
import shutil
import time
from pathlib import Path

import pytest

from softreg.errors import UserError
from softreg.files import alone, altered, digest, read_json, seal, sealed, whole_file, write_json, write_text

FORK = multiprocessing.get_context("fork")


@pytest.fixture
def sealing(tmp_path):
    """A seal on two files, and the files."""
    files = [tmp_path / "a.bin", tmp_path / "b.bin"]
    for file, content in zip(files, (b"0123", b"4567"), strict=True):
        file.write_bytes(content)
    seal(tmp_path / "seal.json", {"key": "x", "share": 0.1}, files)
    return tmp_path / "seal.json", files


def everything(file):
    return True


def test_what_was_sealed_is_unaltered_however_often_it_is_copied_or_touched(sealing):
    seal_file, files = sealing
    assert sealed(seal_file)["share"] == 0.1
    for file in files:
        os.utime(file, (1e9, 2e9))
    assert altered(seal_file) == altered(seal_file, everything) == []
    copy = shutil.copytree(seal_file.parent, seal_file.parent.with_name("copy")) / seal_file.name
    assert altered(copy) == altered(copy, everything) == []


def test_every_flipped_bit_of_a_seal_is_seen_or_changes_nothing(sealing):
    seal_file, _ = sealing
    whole, said = seal_file.read_bytes(), sealed(seal_file)
    kept = 0
    for place in range(len(whole)):
        for bit in range(8):
            seal_file.write_bytes(whole[:place] + bytes([whole[place] ^ 1 << bit]) + whole[place + 1 :])
            found = sealed(seal_file)
            if found is not None:
                kept += 1
                assert {name: found.get(name) for name in said} == said
    # White space.
    assert kept < 8 * sum(byte in b" \n" for byte in whole)


@pytest.mark.parametrize("reads", [everything, lambda file: False])
@pytest.mark.parametrize("change", ["flipped", "shorter", "empty", "swapped", "gone"])
def test_a_changed_file_is_named(sealing, change, reads):
    seal_file, (first, second) = sealing
    if change == "swapped":
        first.rename(first.with_name("c"))
        second.rename(first)
        first.with_name("c").rename(second)
    elif change == "gone":
        first.unlink()
    else:
        first.write_bytes({"flipped": b"0122", "shorter": b"012", "empty": b""}[change])
    assert altered(seal_file, reads) == ([first, second] if change == "swapped" else [first])


def test_what_has_been_read_is_not_read_again_until_it_changes(sealing, monkeypatch):
    seal_file, files = sealing
    read = []
    monkeypatch.setattr("softreg.files.sha256_file", lambda file: read.append(file) or original(file))
    from softreg.files import hashlib

    def original(file):
        return hashlib.sha256(file.read_bytes()).hexdigest()

    os.utime(files[0])
    # The kernel's clock for files ticks every few milliseconds.
    time.sleep(0.02)
    altered(seal_file)
    assert files[0] in read
    read.clear()
    assert altered(seal_file) == read == []


@pytest.mark.parametrize(
    "value", [{"key": "x"}, {"key": "x", "files": {}}, {"files": ["a"], "sha256": digest({"files": ["a"]})}]
)
def test_a_file_without_a_digest_or_a_list_of_files_is_no_seal(tmp_path, value):
    write_json(tmp_path / "old.json", value)
    assert sealed(tmp_path / "old.json") is None
    assert altered(tmp_path / "old.json") == [tmp_path / "old.json"]


def test_a_seal_is_never_read_from_what_is_no_regular_file(sealing):
    seal_file, (first, _) = sealing
    first.unlink()
    os.mkfifo(first)
    assert altered(seal_file, everything) == [first]


@pytest.mark.parametrize("text", ["", "{", "[]", "7"])
def test_what_is_no_seal_is_none(tmp_path, text):
    (tmp_path / "bad.json").write_text(text)
    assert sealed(tmp_path / "bad.json") is None
    assert altered(tmp_path / "bad.json") == [tmp_path / "bad.json"]


def test_damaged_json_is_told_in_a_sentence(tmp_path):
    (tmp_path / "bad.json").write_bytes(b"\xff{")
    with pytest.raises(UserError, match=r"bad\.json is damaged: .* delete it"):
        read_json(tmp_path / "bad.json")


def _write_and_wait(file: Path, begun) -> None:
    with whole_file(file):
        begun.set()
        time.sleep(60)


def test_the_next_writer_takes_away_what_a_killed_one_has_left_and_nothing_of_one_that_lives(tmp_path):
    file, writers = tmp_path / "value[1].json", []
    for _ in range(2):
        begun = FORK.Event()
        writers.append(FORK.Process(target=_write_and_wait, args=(file, begun)))
        writers[-1].start()
        assert begun.wait(20)
    assert len(list(tmp_path.iterdir())) == 2
    writers[0].kill()
    writers[0].join()
    write_text(file, "whole")
    assert len(list(tmp_path.iterdir())) == 2
    writers[1].kill()
    writers[1].join()
    write_text(file, "again")
    assert [one.name for one in tmp_path.iterdir()] == [file.name]
    assert file.read_text() == "again"


@pytest.mark.parametrize("number", [errno.ENOSPC, errno.EDQUOT])
def test_a_full_disk_leaves_the_old_file_and_its_name(tmp_path, number, monkeypatch):
    write_text(tmp_path / "a.txt", "old")

    def full(handle):
        raise OSError(number, os.strerror(number))

    monkeypatch.setattr(os, "fsync", full)
    with pytest.raises(OSError, match=r"a\.txt") as caught:
        write_text(tmp_path / "a.txt", "new")
    assert caught.value.errno == number
    assert [(file.name, file.read_text()) for file in tmp_path.iterdir()] == [("a.txt", "old")]


def _add_one(file: Path) -> None:
    for _ in range(50):
        with alone(file):
            write_text(file, str(int(file.read_text()) + 1))


def test_one_process_at_a_time_makes_a_place_and_nothing_stays_behind(tmp_path):
    file = tmp_path / "count"
    file.write_text("0")
    processes = [FORK.Process(target=_add_one, args=(file,)) for _ in range(4)]
    for process in processes:
        process.start()
    for process in processes:
        process.join()
    assert file.read_text() == "200"
    assert list(tmp_path.iterdir()) == [file]


def _hold(place: Path, held) -> None:
    with alone(place):
        held.set()
        time.sleep(60)


def test_a_killed_process_holds_nobody_off(tmp_path, capsys):
    held = FORK.Event()
    holder = FORK.Process(target=_hold, args=(tmp_path / "place", held))
    holder.start()
    assert held.wait(20)
    holder.kill()
    holder.join()
    with alone(tmp_path / "place"):
        assert capsys.readouterr().err == ""
    assert list(tmp_path.iterdir()) == []


def test_a_file_has_the_rights_that_the_process_gives_to_new_files(tmp_path):
    before = os.umask(0o027)
    try:
        write_text(tmp_path / "a.txt", "new")
    finally:
        os.umask(before)
    assert (tmp_path / "a.txt").stat().st_mode & 0o777 == 0o640
