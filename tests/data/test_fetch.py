"""Fetching over a real connection to a server that fails on demand; pauses are noted, not taken."""

from __future__ import annotations

import hashlib
import random
import re
import signal
import socket
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from email.utils import format_datetime
from pathlib import Path

import pytest
from loopback import Loopback, Request, Served
from test_archives import make_zip

from softreg.data import fetch as module
from softreg.data.archives import Archive, ArchiveError, verify
from softreg.data.fetch import fetch
from softreg.errors import UserError

CONTENT = random.Random(0).randbytes(1_000_000)  # does not compress, so the archive is a little longer


@pytest.fixture
def server(monkeypatch: pytest.MonkeyPatch) -> Iterator[Loopback]:
    monkeypatch.setenv("NO_PROXY", "127.0.0.1")
    monkeypatch.delenv("SOFTREG_MIRRORS", raising=False)
    with Loopback() as loopback:
        yield loopback


@pytest.fixture(autouse=True)
def pauses(monkeypatch: pytest.MonkeyPatch) -> list[float]:
    taken: list[float] = []
    monkeypatch.setattr(module, "pause", taken.append)
    return taken


@pytest.fixture
def packed(tmp_path: Path) -> bytes:
    return make_zip(tmp_path / "packed.zip", {"a.png": CONTENT}).read_bytes()


@pytest.fixture
def archive(tmp_path: Path, packed: bytes, server: Loopback) -> Archive:
    """Published at the loopback server as v1.zip; mirrors know it as pictures.zip."""
    server.files["v1.zip"] = Served(packed)
    published = Archive("pictures.zip", f"{server.url}/v1.zip", max_bytes=10**7)
    return replace(published, content_sha256=verify(tmp_path / "packed.zip", published))


@pytest.fixture
def target(tmp_path: Path) -> Path:
    return tmp_path / "raw" / "pictures" / "pictures.zip"


def left_in(folder: Path) -> set[str]:
    return {file.name for file in folder.iterdir()} - {".pictures.zip.lock"}


def closed_address() -> str:
    """An address at which nothing listens."""
    with socket.socket() as unused:
        unused.bind(("127.0.0.1", 0))
        return f"http://127.0.0.1:{unused.getsockname()[1]}"


def test_fetches_once(server: Loopback, archive: Archive, target: Path, packed: bytes) -> None:
    assert fetch(archive, target) == archive.content_sha256
    assert target.read_bytes() == packed
    assert left_in(target.parent) == {"pictures.zip"}
    assert fetch(archive, target) == archive.content_sha256
    assert server.requests == [Request("/v1.zip", None, 200)]


def test_a_dropped_connection_is_resumed(
    server: Loopback, archive: Archive, target: Path, packed: bytes, pauses: list[float]
) -> None:
    server.files["v1.zip"].drops = [300_000, 1, 400_000]
    fetch(archive, target)
    assert target.read_bytes() == packed
    assert [(request.range, request.status) for request in server.requests] == [
        (None, 200),
        ("bytes=300000-", 206),
        ("bytes=300001-", 206),
        ("bytes=700001-", 206),
    ]
    assert pauses == [1.0, 1.0, 1.0]  # each try brought something, so the line is not given up


def test_a_later_run_resumes(server: Loopback, archive: Archive, target: Path, packed: bytes) -> None:
    server.files["v1.zip"].drops = [300_000]
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(module, "TRIES", 1)
        with pytest.raises(UserError, match=r"closed the connection after 300000 of \d+ bytes"):
            fetch(archive, target)
    assert left_in(target.parent) == {"pictures.zip.part", "pictures.zip.part.json"}
    fetch(archive, target)
    assert target.read_bytes() == packed
    assert server.requests[1] == Request("/v1.zip", "bytes=300000-", 206)


@pytest.mark.parametrize("length", [True, False])
def test_a_download_that_only_missed_its_check_is_not_repeated(
    server: Loopback, archive: Archive, target: Path, packed: bytes, monkeypatch: pytest.MonkeyPatch, length: bool
) -> None:
    server.files["v1.zip"] = Served(packed, length=length)

    def cut_short(*_: object) -> str:
        raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr(module, "verify", cut_short)
        with pytest.raises(KeyboardInterrupt):
            fetch(archive, target)
    assert not target.exists()
    fetch(archive, target)
    assert target.read_bytes() == packed
    assert [request.status for request in server.requests] == [200, 416]
    assert left_in(target.parent) == {"pictures.zip"}


@pytest.mark.parametrize("etag", ['"v1"', None, 'W/"v1"'])
def test_a_server_without_ranges_starts_over(
    server: Loopback, archive: Archive, target: Path, packed: bytes, etag: str | None
) -> None:
    server.files["v1.zip"] = Served(packed, etag=etag, ranges=False, drops=[300_000])
    fetch(archive, target)
    assert target.read_bytes() == packed
    asked = "bytes=300000-" if etag == '"v1"' else None  # without a strong version there is nothing to resume
    assert [(request.range, request.status) for request in server.requests] == [(None, 200), (asked, 200)]


def test_a_server_that_sends_another_range_is_not_believed(
    server: Loopback, archive: Archive, target: Path, packed: bytes, capsys: pytest.CaptureFixture[str]
) -> None:
    server.files["v1.zip"] = Served(packed, drops=[300_000], misplaced=7)
    fetch(archive, target)
    assert target.read_bytes() == packed
    assert [request.range for request in server.requests] == [None, "bytes=300000-", None]
    assert "sent another part of the file than was asked for" in capsys.readouterr().err


def test_an_answer_of_unknown_length_is_held_whole(
    server: Loopback, archive: Archive, target: Path, packed: bytes
) -> None:
    server.files["v1.zip"] = Served(packed, length=False, drops=[300_000])
    fetch(archive, target)
    assert target.read_bytes() == packed
    assert server.requests[1].range == "bytes=300000-"


def test_a_file_that_changed_at_its_source_is_not_spliced(
    server: Loopback, archive: Archive, target: Path, packed: bytes, monkeypatch: pytest.MonkeyPatch
) -> None:
    old = bytes(300_000) + packed[300_000:]

    def changed(seconds: float) -> None:
        server.files["v1.zip"] = Served(packed, etag='"v2"')

    server.files["v1.zip"] = Served(old, drops=[300_000])
    monkeypatch.setattr(module, "pause", changed)
    fetch(archive, target)
    assert target.read_bytes() == packed
    assert server.requests[1] == Request("/v1.zip", "bytes=300000-", 200)


def test_a_part_spoilt_on_disk_is_fetched_again(
    server: Loopback, archive: Archive, target: Path, packed: bytes, monkeypatch: pytest.MonkeyPatch
) -> None:
    spoilt = []

    def spoil(seconds: float) -> None:
        if not spoilt:
            spoilt.append(target.with_name("pictures.zip.part").write_bytes(bytes(300_000)))

    server.files["v1.zip"].drops = [300_000]
    monkeypatch.setattr(module, "pause", spoil)
    fetch(archive, target)
    assert target.read_bytes() == packed
    assert [request.range for request in server.requests] == [None, "bytes=300000-", None]


def test_retry_after_is_honoured(
    server: Loopback, archive: Archive, target: Path, packed: bytes, pauses: list[float]
) -> None:
    date = format_datetime(datetime.now(UTC) + timedelta(seconds=60), usegmt=True)
    server.files["v1.zip"].refusals = [(503, {"Retry-After": "7"}), (429, {"Retry-After": date}), (503, {})]
    fetch(archive, target)
    assert target.read_bytes() == packed
    assert pauses[0] == 7
    assert 50 < pauses[1] <= 60
    assert pauses[2] == 4  # the third in a row, without a word from the server: 1, 2, 4


def test_few_tries_then_the_next_source(
    server: Loopback, archive: Archive, target: Path, packed: bytes, pauses: list[float]
) -> None:
    server.files["v1.zip"].refusals = [(503, {})] * 100
    server.files["m/pictures.zip"] = Served(packed)
    fetch(archive, target, [f"{server.url}/m/"])
    assert target.read_bytes() == packed
    assert [request.path for request in server.requests] == ["/v1.zip"] * 4 + ["/m/pictures.zip"]
    assert pauses == [1, 2, 4]


@pytest.mark.parametrize("refusal", [(404, {}), (403, {}), (503, {"Retry-After": "3600"})])
def test_what_cannot_pass_is_not_tried_again(
    server: Loopback, archive: Archive, target: Path, pauses: list[float], refusal: tuple[int, dict[str, str]]
) -> None:
    server.files["v1.zip"].refusals = [refusal]
    with pytest.raises(UserError, match=f"answered {refusal[0]}"):
        fetch(archive, target)
    assert len(server.requests) == 1
    assert pauses == []


def test_wrong_content_leads_to_the_mirror(
    server: Loopback, archive: Archive, target: Path, packed: bytes, tmp_path: Path, pauses: list[float]
) -> None:
    other = make_zip(tmp_path / "other.zip", {"a.png": CONTENT[::-1]}).read_bytes()
    server.files["v1.zip"] = Served(other)
    server.files["page/pictures.zip"] = Served(b"<html>Please log in</html>")
    server.files["good/pictures.zip"] = Served(packed)
    fetch(archive, target, [f"{server.url}/page", f"{server.url}/good"])
    assert target.read_bytes() == packed
    assert [request.path for request in server.requests] == [
        "/v1.zip",
        "/page/pictures.zip",
        "/good/pictures.zip",
    ]
    assert left_in(target.parent) == {"pictures.zip"}
    assert pauses == []


def test_the_part_of_one_source_is_not_continued_from_another(
    server: Loopback, archive: Archive, target: Path, packed: bytes
) -> None:
    server.files["v1.zip"] = Served(packed, drops=[300_000])
    server.files["m/pictures.zip"] = Served(packed)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(module, "TRIES", 1)
        fetch(archive, target, [f"{server.url}/m"])
    assert target.read_bytes() == packed
    assert server.requests[1] == Request("/m/pictures.zip", None, 200)


def test_folders_come_first_and_then_the_environment(
    server: Loopback, archive: Archive, target: Path, packed: bytes, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    damaged, good = tmp_path / "damaged", tmp_path / "good folder" / "pictures"
    damaged.mkdir()
    (damaged / "pictures.zip").write_bytes(packed[:-100])
    good.mkdir(parents=True)
    (good / "pictures.zip").write_bytes(packed)
    monkeypatch.setenv("SOFTREG_MIRRORS", f"{tmp_path / 'absent'};\n {good.parent} ;")
    fetch(archive, target, [f"{server.url}/m", str(damaged)])
    assert target.read_bytes() == packed
    assert server.requests == []
    assert target.stat().st_nlink == 1
    assert left_in(target.parent) == {"pictures.zip"}


def test_all_fail_in_one_sentence(server: Loopback, archive: Archive, target: Path, tmp_path: Path) -> None:
    del server.files["v1.zip"]
    server.files["bad/pictures.zip"] = Served(b"PK nothing")
    closed = closed_address()
    with pytest.raises(UserError) as caught:
        fetch(archive, target, [str(tmp_path / "absent"), f"{server.url}/bad", closed])
    text = str(caught.value)
    assert text.startswith(f"{target}: could not be fetched: ")
    for reason in (
        f"{tmp_path}/absent/pictures.zip does not exist; ",
        f"{archive.url} answered 404 Not Found; ",
        f"{server.url}/bad/pictures.zip sent a damaged or another file: it is truncated, damaged or not",
        f"{closed}/pictures.zip could not be reached (Connection refused); ",
        "put the file named pictures.zip in a folder and name the folder under `mirrors:` in the study or in "
        "SOFTREG_MIRRORS",
    ):
        assert reason in text
    assert "\n" not in text
    assert not target.exists()


@pytest.mark.parametrize(
    ("mirror", "reason"),
    [
        ("ftp://example.org/data", "mirror ftp://example.org/data: is neither a folder nor an http or https"),
        ("https://me:secret@example.org/data", "mirror https://…@example.org/data: carries a password"),
        ("https://me:secret/1@example.org/data", "mirror https://…@example.org/data: carries a password"),
        ("https://secret@[example.org/data", "mirror https://…@[example.org/data: carries a password"),
    ],
)
def test_mirrors_that_cannot_be_used(archive: Archive, target: Path, mirror: str, reason: str) -> None:
    with pytest.raises(UserError) as caught:
        fetch(archive, target, [mirror])
    assert str(caught.value).startswith(reason)
    assert "secret" not in str(caught.value)


@pytest.mark.parametrize("length", [True, False])
@pytest.mark.parametrize("known", [True, False])
def test_more_bytes_than_the_archive_has_are_not_taken(
    server: Loopback, archive: Archive, target: Path, length: bool, known: bool
) -> None:
    most = 100_000
    server.files["v1.zip"] = Served(bytes(3 * most + 1), length=length)
    bounded = replace(archive, size=most) if known else replace(archive, max_bytes=most)
    with pytest.raises(UserError, match=rf"v1.zip sends more than the {most if known else 3 * most} bytes that"):
        fetch(bounded, target)
    assert len(server.requests) == 1
    assert left_in(target.parent) == set()


def test_a_server_that_drips_is_left_for_the_mirror(
    server: Loopback, archive: Archive, target: Path, packed: bytes, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(module, "WINDOW", 0.05)
    monkeypatch.setattr(module, "REQUESTS", 3)
    server.files["v1.zip"].drip = 0.01
    server.files["m/pictures.zip"] = Served(packed)
    fetch(archive, target, [f"{server.url}/m"])
    assert target.read_bytes() == packed
    # Each brought new bytes, so that none was the fourth in a row without.
    assert [request.path for request in server.requests] == ["/v1.zip"] * 3 + ["/m/pictures.zip"]


def test_what_a_server_says_is_printed_without_its_control_characters(
    server: Loopback, archive: Archive, target: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    server.files["v1.zip"].refusals = [(404, {})]
    server.files["v1.zip"].phrase = "\x1b[2Jgone" + "e" * 10_000
    with pytest.raises(UserError) as caught:
        fetch(archive, target)
    for text in (capsys.readouterr().err, str(caught.value)):
        assert r"v1.zip answered 404 \x1b[2Jgoneee" in text
        assert "\x1b" not in text
        assert len(text) < 1000


@pytest.mark.parametrize("length", ["9" * 5000, "²", "-1"])
def test_a_length_that_is_no_number_is_none(
    server: Loopback, archive: Archive, target: Path, packed: bytes, length: str
) -> None:
    server.files["v1.zip"].headers = {"Content-Length": length}
    fetch(archive, target)
    assert target.read_bytes() == packed


def test_a_redirect_to_a_file_is_not_followed(server: Loopback, archive: Archive, target: Path, tmp_path: Path) -> None:
    server.files["v1.zip"].refusals = [(302, {"Location": f"file://{tmp_path}/packed.zip"})]
    with pytest.raises(UserError):
        fetch(archive, target)


def test_a_redirect_is_followed_with_its_range(server: Loopback, archive: Archive, target: Path, packed: bytes) -> None:
    server.files["v1.zip"].refusals = [(302, {"Location": f"{server.url}/moved.zip"})] * 2
    server.files["moved.zip"] = Served(packed, drops=[300_000])
    fetch(archive, target)
    assert server.requests[-1] == Request("/moved.zip", "bytes=300000-", 206)


def test_a_target_that_is_not_the_file_is_left_and_named(server: Loopback, archive: Archive, target: Path) -> None:
    target.parent.mkdir(parents=True)
    target.write_bytes(b"mine")
    with pytest.raises(ArchiveError) as caught:
        fetch(archive, target)
    assert str(caught.value).startswith(f"{target}: ")
    assert "delete it and fetch it again" in str(caught.value)
    assert target.read_bytes() == b"mine"
    assert server.requests == []


def test_a_published_checksum_is_checked(
    archive: Archive, target: Path, packed: bytes, capsys: pytest.CaptureFixture[str]
) -> None:
    right = replace(archive, content_sha256=None, sha256=hashlib.sha256(packed).hexdigest(), size=len(packed))
    with pytest.raises(UserError, match=f"its sha256 should be {'0' * 64} but is {right.sha256}"):
        fetch(replace(right, sha256="0" * 64), target)
    assert not target.exists()
    fetch(right, target)
    assert left_in(target.parent) == {"pictures.zip"}
    assert "not checked" not in capsys.readouterr().err


def test_without_a_checksum_the_digest_is_told_that_would_be_one(
    archive: Archive, target: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    fetch(replace(archive, content_sha256=None), target)
    assert f"not checked, as its Archive states no sum; state content_sha256='{archive.content_sha256}' in it" in (
        capsys.readouterr().err
    )


def test_progress_in_a_log_is_a_line_a_tenth(
    archive: Archive, target: Path, packed: bytes, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(module, "BLOCK", 1000)
    fetch(archive, target)
    lines = capsys.readouterr().err.splitlines()
    assert lines == [f"pictures.zip: {tenth}0 % of {len(packed)} bytes" for tenth in range(1, 11)]


def test_progress_on_a_terminal_is_a_bar(
    archive: Archive, target: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(sys.stderr, "isatty", lambda: True)
    fetch(archive, target)
    assert "100%" in capsys.readouterr().err


def test_a_folder_that_cannot_be_made_is_named(archive: Archive, tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    with pytest.raises(UserError, match=r"pictures\.zip: cannot be fetched because of the disk or folder"):
        fetch(archive, tmp_path / "file" / "pictures.zip")


def test_a_full_disk_is_one_sentence_and_the_part_stays(
    server: Loopback, archive: Archive, target: Path, packed: bytes
) -> None:
    """A file-size limit stops the write in the middle, as a full disk would."""
    script = (
        "import resource, signal, sys; from pathlib import Path\n"
        "signal.signal(signal.SIGXFSZ, signal.SIG_IGN)\n"
        "resource.setrlimit(resource.RLIMIT_FSIZE, (300_000, 300_000))\n"
        "from softreg.data.archives import Archive; from softreg.errors import UserError\n"
        "from softreg.data.fetch import fetch\n"
        f"try: fetch({archive!r}, Path({str(target)!r}))\n"
        "except UserError as error: sys.exit(str(error))\n"
    )
    ended = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, timeout=60)
    assert ended.returncode == 1
    assert ended.stderr.splitlines()[-1] == (
        f"{target}: cannot be fetched because of the disk or folder ([Errno 27] File too large)"
    )
    assert not target.exists()
    fetch(archive, target)
    assert target.read_bytes() == packed
    assert server.requests[1].status == 206


def test_a_killed_download_leaves_no_target_and_is_resumed(
    server: Loopback, archive: Archive, target: Path, packed: bytes
) -> None:
    server.files["v1.zip"].hold_after = 500_000
    script = (
        "from pathlib import Path; from softreg.data.archives import Archive; from softreg.data.fetch import fetch\n"
        f"fetch({archive!r}, Path({str(target)!r}))"
    )
    with subprocess.Popen([sys.executable, "-c", script], stderr=subprocess.PIPE, text=True) as process:
        assert process.stderr is not None
        for line in process.stderr:  # what is reported has been written
            if re.search(r" 4\d %", line):
                break
        process.send_signal(signal.SIGKILL)
    assert process.returncode == -signal.SIGKILL
    assert left_in(target.parent) == {"pictures.zip.part", "pictures.zip.part.json"}
    received = target.with_name("pictures.zip.part").stat().st_size
    assert 400_000 <= received <= 500_000
    server.files["v1.zip"].hold_after = None
    fetch(archive, target)
    assert target.read_bytes() == packed
    assert server.requests[1] == Request("/v1.zip", f"bytes={received}-", 206)


def test_two_processes_fetch_once(server: Loopback, archive: Archive, target: Path, packed: bytes) -> None:
    """The second, started while the first is in the middle, waits for it and then finds the target."""
    server.files["v1.zip"].hold_after = 500_000
    script = (
        "from pathlib import Path; from softreg.data import fetch; from softreg.data.archives import Archive\n"
        "fetch.BACKOFF = 0\n"
        f"print(fetch.fetch({archive!r}, Path({str(target)!r})))"
    )

    def start() -> subprocess.Popen[str]:
        command = [sys.executable, "-c", script]
        return subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)

    with start() as first:
        assert first.stderr is not None
        assert " % of " in first.stderr.readline()
        with start() as second:
            assert second.stderr is not None
            assert "another process is making this" in second.stderr.readline()
            server.files["v1.zip"].hold_after = None
            server.released.set()
            assert [process.communicate(timeout=60)[0].strip() for process in (first, second)] == [
                archive.content_sha256
            ] * 2
    assert target.read_bytes() == packed
    assert [request.range for request in server.requests] == [None, "bytes=500000-"]


def test_imports_no_torch() -> None:
    script = "import sys; import softreg.data.fetch; print('torch' in sys.modules or 'numpy' in sys.modules)"
    ended = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True)
    assert ended.stdout == "False\n"
