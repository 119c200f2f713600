"""Archives: the digest against one computed by hand, and every evil archive refused."""

from __future__ import annotations

import hashlib
import io
import subprocess
import tarfile
import zipfile
from pathlib import Path

import pytest

from softreg.data.archives import Archive, ArchiveError, verify
from softreg.errors import UserError

FILES = {"pictures/b.png": b"bee", "pictures/a.png": b"ay" * 100_000, "list.txt": b"a b\n"}


def archive(**options: object) -> Archive:
    return Archive("x.zip", "https://example.org/x.zip", **{"max_bytes": 10**6, **options})  # type: ignore[arg-type]


def make_zip(path: Path, files: dict[str, bytes], top: str = "") -> Path:
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as packed:
        for name, content in files.items():
            packed.writestr(top + name, content)
    return path


def make_tar(path: Path, files: dict[str, bytes], mode: str = "w:gz", top: str = "") -> Path:
    with tarfile.open(path, mode) as packed:  # type: ignore[call-overload]
        for name, content in files.items():
            info = tarfile.TarInfo(top + name)
            info.size = len(content)
            packed.addfile(info, io.BytesIO(content))
    return path


def tar_with(path: Path, kind: bytes, name: str = "evil", link: str = "") -> Path:
    info = tarfile.TarInfo(name)
    info.type = kind
    info.linkname = link
    with tarfile.open(path, "w") as packed:
        packed.addfile(info)
    return path


def zip_with_mode(path: Path, mode: int) -> Path:
    info = zipfile.ZipInfo("evil")
    info.create_system = 3
    info.external_attr = mode << 16
    with zipfile.ZipFile(path, "w") as packed:
        packed.writestr(info, "/etc/passwd")
    return path


def refused(path: Path, tmp_path: Path, **options: object) -> str:
    """The sentence with which the archive is refused, whether or not it is unpacked."""
    with pytest.raises(ArchiveError) as caught:
        verify(path, archive(**options))
    with pytest.raises(ArchiveError) as unpacked:
        verify(path, archive(**options), tmp_path / "out" / path.name)
    assert str(unpacked.value) == str(caught.value)
    assert not (tmp_path / "evil").exists()
    assert not (tmp_path / "out" / "evil").exists()
    text = str(caught.value)
    assert str(path) in text
    assert "\n" not in text
    return text


def test_content_digest_is_the_documented_one(tmp_path: Path) -> None:
    lines = "".join(f"{name}\0{hashlib.sha256(FILES[name]).hexdigest()}\n" for name in sorted(FILES))
    expected = hashlib.sha256(lines.encode()).hexdigest()
    assert verify(make_zip(tmp_path / "x.zip", FILES), archive()) == expected


@pytest.mark.parametrize("mode", ["w", "w:gz", "w:bz2", "w:xz"])
def test_content_digest_is_the_same_from_any_container_and_order(tmp_path: Path, mode: str) -> None:
    other = dict(reversed(FILES.items()))
    zipped = verify(make_zip(tmp_path / "x.zip", FILES), archive())
    assert verify(make_tar(tmp_path / "x.tar", other, mode), archive()) == zipped
    with_top = make_tar(tmp_path / "top.tar", other, mode, top="project-1234/")
    assert verify(with_top, archive(strip_top=True)) == zipped


def test_content_digest_of_a_folder_packed_by_tar_itself(tmp_path: Path) -> None:
    for name, content in FILES.items():
        (tmp_path / "in" / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / "in" / name).write_bytes(content)
    subprocess.run(["tar", "-czf", tmp_path / "x.tgz", "-C", tmp_path / "in", "."], check=True)
    assert verify(tmp_path / "x.tgz", archive()) == verify(make_zip(tmp_path / "x.zip", FILES), archive())


def test_content_digest_sees_used_members_only(tmp_path: Path) -> None:
    used = archive(members=("pictures/*.png",))
    first = verify(make_zip(tmp_path / "1.zip", FILES), used)
    assert verify(make_zip(tmp_path / "2.zip", {**FILES, "list.txt": b"changed"}), used) == first
    assert verify(make_zip(tmp_path / "3.zip", {**FILES, "pictures/a.png": b"!"}), used) != first
    renamed = {"pictures/c.png": FILES["pictures/b.png"], "pictures/a.png": FILES["pictures/a.png"]}
    assert verify(make_zip(tmp_path / "4.zip", renamed), used) != first


def test_the_used_members_are_unpacked_and_nothing_else(tmp_path: Path) -> None:
    path = make_tar(tmp_path / "x.tar.gz", FILES, top="project/")
    used = archive(strip_top=True, members=("pictures/*",))
    assert verify(path, used, tmp_path / "out") == verify(path, used)
    found = {file.relative_to(tmp_path / "out").as_posix(): file.read_bytes() for file in files_in(tmp_path / "out")}
    assert found == {name: content for name, content in FILES.items() if name.startswith("pictures/")}


def files_in(folder: Path) -> list[Path]:
    return [file for file in folder.rglob("*") if file.is_file()]


def test_no_file_is_overwritten(tmp_path: Path) -> None:
    path = make_zip(tmp_path / "x.zip", FILES)
    (tmp_path / "out" / "pictures").mkdir(parents=True)
    (tmp_path / "out" / "pictures" / "a.png").write_text("mine")
    with pytest.raises(UserError, match=r"cannot be read or unpacked .*exists"):
        verify(path, archive(), tmp_path / "out")
    assert (tmp_path / "out" / "pictures" / "a.png").read_text() == "mine"


@pytest.mark.parametrize("name", ["../evil", "a/../../evil", "/evil", "a\\..\\evil", "C:/evil"])
def test_paths_that_leave_the_folder_are_refused(tmp_path: Path, name: str) -> None:
    for path in (make_tar(tmp_path / "x.tar", {name: b"!"}), make_zip(tmp_path / "x.zip", {name: b"!"})):
        assert "absolute path or one that leaves" in refused(path, tmp_path)
        # A top folder that is stripped, and patterns that leave the member out, hide nothing.
        assert "absolute path or one that leaves" in refused(path, tmp_path, strip_top=True, members=("b",))


@pytest.mark.parametrize("kind", [tarfile.SYMTYPE, tarfile.LNKTYPE, tarfile.CHRTYPE, tarfile.BLKTYPE, tarfile.FIFOTYPE])
def test_links_and_devices_in_a_tar_are_refused(tmp_path: Path, kind: bytes) -> None:
    path = tar_with(tmp_path / "x.tar", kind, link="../../etc/passwd")
    assert "link or a device" in refused(path, tmp_path)


@pytest.mark.parametrize("mode", [0o120777, 0o020666, 0o010666])
def test_links_and_devices_in_a_zip_are_refused(tmp_path: Path, mode: int) -> None:
    assert "link or a device" in refused(zip_with_mode(tmp_path / "x.zip", mode), tmp_path)


def test_a_link_among_members_not_used_does_no_harm(tmp_path: Path) -> None:
    path = tar_with(tmp_path / "x.tar", tarfile.SYMTYPE, link="a.png")
    with tarfile.open(path, "a") as packed:
        info = tarfile.TarInfo("a.png")
        packed.addfile(info, io.BytesIO())
    verify(path, archive(members=("*.png",)), tmp_path / "out")
    assert files_in(tmp_path / "out") == [tmp_path / "out" / "a.png"]


def test_a_bomb_is_stopped_while_it_unpacks(tmp_path: Path) -> None:
    bomb = {"zeros": bytes(5_000_000)}
    for path in (make_zip(tmp_path / "x.zip", bomb), make_tar(tmp_path / "x.tgz", bomb)):
        assert path.stat().st_size < 20_000
        assert "more than the 1000000 bytes" in refused(path, tmp_path)


def test_a_bomb_that_lies_about_its_size_is_stopped(tmp_path: Path) -> None:
    path = make_zip(tmp_path / "x.zip", {"zeros": bytes(5_000_000)})
    data = path.read_bytes()
    claimed = (5_000_000).to_bytes(4, "little")
    assert data.count(claimed) == 2  # the header beside the member and the one in the directory
    path.write_bytes(data.replace(claimed, (10).to_bytes(4, "little")))
    refused(path, tmp_path)


def test_many_members_count_together(tmp_path: Path) -> None:
    path = make_zip(tmp_path / "x.zip", {"a": bytes(600), "b": bytes(401)})
    assert "more than the 1000 bytes" in refused(path, tmp_path, max_bytes=1000)
    verify(path, archive(max_bytes=1001))


@pytest.mark.filterwarnings("ignore:Duplicate name")
def test_duplicate_members_are_refused(tmp_path: Path) -> None:
    with zipfile.ZipFile(tmp_path / "x.zip", "w") as packed:
        packed.writestr("a", "1")
        packed.writestr("./a", "2")
    assert "'a' twice" in refused(tmp_path / "x.zip", tmp_path)
    two_tops = make_zip(tmp_path / "y.zip", {"one/a": b"1", "two/a": b"2"})
    assert "'a' twice" in refused(two_tops, tmp_path, strip_top=True)


def test_no_member_used_is_refused(tmp_path: Path) -> None:
    path = make_zip(tmp_path / "x.zip", FILES)
    assert "no member that matches *.jpg, *.bmp" in refused(path, tmp_path, members=("*.jpg", "*.bmp"))


@pytest.mark.parametrize("mode", ["zip", "w", "w:gz", "w:bz2", "w:xz"])
def test_every_truncation_is_refused(tmp_path: Path, mode: str) -> None:
    path = tmp_path / "x"
    files = {"a": b"1" * 700, "b": b"2" * 700}
    whole = (make_zip(path, files) if mode == "zip" else make_tar(path, files, mode)).read_bytes()
    # Of the zeros that end and fill an uncompressed tar, fewer do no harm.
    needed = 2 * (512 + 1024) if mode == "w" else len(whole)
    for size in range(0, needed, 31):
        path.write_bytes(whole[:size])
        with pytest.raises(ArchiveError, match=r"truncated, damaged or not|compressed data are damaged"):
            verify(path, archive())


@pytest.mark.parametrize("mode", ["zip", "w", "w:gz"])
def test_a_damaged_byte_is_refused(tmp_path: Path, mode: str) -> None:
    """In the content, or, for a tar, in the second header, which `tarfile` alone takes for the end."""
    path = tmp_path / "x"
    files = {"a": b"1" * 700, "b": b"2" * 700}
    data = bytearray((make_zip(path, files) if mode == "zip" else make_tar(path, files, mode)).read_bytes())
    data[512 + 1024 + 5 if mode == "w" else 40] ^= 0xFF
    path.write_bytes(data)
    with pytest.raises(ArchiveError):
        verify(path, archive())


def test_a_page_in_place_of_an_archive_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "x.zip"
    path.write_text("<html>Please log in</html>" * 100)
    assert "not a zip or tar archive" in refused(path, tmp_path)


def test_verify_names_what_was_expected_and_found(tmp_path: Path) -> None:
    path = make_zip(tmp_path / "x.zip", FILES)
    data = path.read_bytes()
    right = {
        "sha256": hashlib.sha256(data).hexdigest(),
        "md5": hashlib.md5(data).hexdigest(),
        "size": len(data),
    }
    right["content_sha256"] = verify(path, archive())
    assert verify(path, archive(**right)) == right["content_sha256"]
    for key, found in right.items():
        with pytest.raises(ArchiveError) as caught:
            verify(path, archive(**{**right, key: "0" * 32}))
        assert f"should be {'0' * 32} but is {found}; delete it" in str(caught.value)


def test_verify_names_a_file_that_is_absent(tmp_path: Path) -> None:
    with pytest.raises(UserError, match=r"absent\.zip: cannot be read"):
        verify(tmp_path / "absent.zip", archive())
