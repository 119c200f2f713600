import hashlib
import io
import json
import os
import shutil
import zipfile
from itertools import chain
from pathlib import Path

import numpy as np
import pytest
from PIL import Image
from published import options_of
from sklearn.preprocessing import StandardScaler

from softreg.data import archives
from softreg.data.base import IGNORE, PARTS
from softreg.data.datasets import archives_of
from softreg.data.prepare import _check_classes, class_table, fit_to, prepare
from softreg.errors import UserError

CLASSES = ["a", "b", "c"]


def shapes(folder, **given):
    return options_of(folder, "shapes", **{"images": 90, "size": [24, 32]} | given)


@pytest.fixture
def own(tmp_path):
    """A folder data set of ten images of two sizes: its options, and the images and masks as written."""
    rng, written = np.random.default_rng(0), {}
    for name in ("images", "masks"):
        (tmp_path / name).mkdir()
    for number in range(10):
        size = (16, 24) if number % 2 else (20, 18)
        image = rng.integers(0, 256, (*size, 3), dtype=np.uint8)
        mask = rng.choice(np.array([0, 1, 2, IGNORE], np.uint8), size)
        Image.fromarray(image).save(tmp_path / "images" / f"{number}.png")
        Image.fromarray(mask).save(tmp_path / "masks" / f"{number}.png")
        written[str(number)] = image, mask

    def options(**given):
        paths = {name: str(tmp_path / name) for name in ("images", "masks")}
        return options_of(tmp_path, kind="folder", classes=CLASSES, **paths | given)

    return options, written


def digests(folder):
    files = sorted(path for path in folder.rglob("*") if path.is_file())
    return {str(path.relative_to(folder)): hashlib.sha256(path.read_bytes()).hexdigest() for path in files}


def test_same_bytes_whatever_the_number_of_processes(tmp_path):
    options = shapes(tmp_path, noise=0.1)
    for jobs in (1, 2):
        prepare("drawn", options, tmp_path, tmp_path / f"jobs{jobs}", jobs)
    one = digests(tmp_path / "jobs1")
    assert one == digests(tmp_path / "jobs2")
    assert set(one) == {"dataset.json", *(f"{p}/{f}.npy" for p in PARTS for f in ("images", "masks"))}


def test_arrays_hold_the_files_padded_below_and_right_in_the_order_of_the_ids(tmp_path, own):
    options, written = own
    about = prepare("mine", options(), tmp_path, tmp_path / "out", 1)
    assert about["size"] == [20, 24]
    assert sorted(chain(*about["ids"].values())) == sorted(written)
    for part in PARTS:
        images, masks = (np.load(tmp_path / "out" / part / f"{n}.npy", mmap_mode="r") for n in ("images", "masks"))
        assert images.shape == (len(about["ids"][part]), 20, 24, 3)
        assert masks.shape == images.shape[:3]
        assert images.dtype == masks.dtype == np.uint8
        for row, id_ in enumerate(about["ids"][part]):
            image, mask = written[id_]
            height, width = mask.shape
            np.testing.assert_array_equal(images[row, :height, :width], image)
            np.testing.assert_array_equal(masks[row, :height, :width], mask)
            assert (masks[row, height:] == IGNORE).all()
            assert (masks[row, :, width:] == IGNORE).all()
            np.testing.assert_array_equal(images[row, height:, :width], np.repeat(image[-1:], 20 - height, axis=0))
            np.testing.assert_array_equal(images[row, :height, width:], np.repeat(image[:, -1:], 24 - width, axis=1))


def test_statistics(tmp_path, own):
    options, written = own
    about = prepare("mine", options(), tmp_path, tmp_path / "out", 1)
    assert about == json.loads((tmp_path / "out" / "dataset.json").read_text(encoding="utf-8"))
    pixels = np.concatenate([written[id_][0].reshape(-1, 3) for id_ in about["ids"]["train"]]) / 255
    scaler = StandardScaler().fit(pixels)
    np.testing.assert_allclose(about["mean"], scaler.mean_, rtol=1e-12)
    np.testing.assert_allclose(about["std"], scaler.scale_, rtol=1e-12)
    for part in PARTS:
        masks = np.load(tmp_path / "out" / part / "masks.npy")
        valid = masks[masks != IGNORE]
        np.testing.assert_allclose(about["class_shares"][part], [np.mean(valid == c) for c in range(3)], rtol=1e-12)
        assert about["ignore_share"][part] == pytest.approx(np.mean(masks == IGNORE), rel=1e-12)


def test_dataset_json_has_what_the_report_and_training_read(tmp_path):
    about = prepare("drawn", shapes(tmp_path), tmp_path, tmp_path / "out", 1)
    assert (about["name"], about["kind"]) == ("drawn", "shapes")
    assert about["classes"] == ["background", "ellipse", "triangle", "rectangle"]
    assert len(about["palette"]) == 4
    assert about["split_rule"] == "official"
    assert about["options"]["size"] == [24, 32]
    assert {"citation", "licence", "note", "content_digest"} <= about.keys()


def test_content_digest_follows_the_content(tmp_path):
    given = [{"noise": 0.1}, {"noise": 0.2}, {"noise": 0.1}]
    found = [
        prepare("drawn", shapes(tmp_path, **options), tmp_path, tmp_path / f"out{n}", 1)["content_digest"]
        for n, options in enumerate(given)
    ]
    assert found[0] == found[2] != found[1]


def test_resize(tmp_path, own):
    options, written = own
    about = prepare("mine", options(size=[8, 12], fit="resize"), tmp_path, tmp_path / "out", 1)
    images, masks = (np.load(tmp_path / "out" / "train" / f"{n}.npy") for n in ("images", "masks"))
    for row, id_ in enumerate(about["ids"]["train"]):
        image, mask = written[id_]
        # The nearest pixel of the mask to each new centre.
        rows = ((np.arange(8) + 0.5) * mask.shape[0] / 8).astype(int)
        columns = ((np.arange(12) + 0.5) * mask.shape[1] / 12).astype(int)
        np.testing.assert_array_equal(masks[row], mask[np.ix_(rows, columns)])
        # A bilinear scaling that averages keeps the mean colour; one that samples would not, on noise.
        np.testing.assert_allclose(images[row].mean(axis=(0, 1)), image.mean(axis=(0, 1)), atol=4)
        assert images[row].std() < 0.75 * image.std()


def test_fit_to_leaves_an_image_of_that_size_alone():
    image, mask = np.zeros((4, 6, 3), np.uint8), np.zeros((4, 6), np.uint8)
    for fit in ("pad", "resize"):
        assert fit_to(image, mask, (4, 6), fit) == (image, mask)


def test_the_folder_is_replaced_whole(tmp_path):
    out = tmp_path / "out"
    out.mkdir()
    (out / "old.txt").write_text("old")
    prepare("drawn", shapes(tmp_path), tmp_path, out, 1)
    assert not (out / "old.txt").exists()
    assert (out / "dataset.json").is_file()
    assert sorted(path.name for path in tmp_path.iterdir()) == ["out", "study.yaml"]


def turned_behind_its_pixels(upright):
    """A PNG whose orientation stands behind the pixels, where a header does not tell it."""
    exif, buffer = Image.Exif(), io.BytesIO()
    exif[0x0112] = 6
    Image.fromarray(np.ascontiguousarray(np.rot90(upright))).save(buffer, "PNG", exif=exif)
    content = buffer.getvalue()
    start, end = content.index(b"eXIf") - 4, content.index(b"IEND") - 4
    after = start + 12 + int.from_bytes(content[start : start + 4])  # length, name and sum
    return content[:start] + content[after:end] + content[start:after] + content[end:]


def test_an_image_of_another_size_than_its_sample_says(tmp_path, own):
    options, written = own
    for name, upright in zip(("images", "masks"), written["3"], strict=True):
        (tmp_path / name / "3.png").write_bytes(turned_behind_its_pixels(upright))
    with pytest.raises(UserError, match="3 is 16 × 24 pixels, and 24 × 16 by its header: save it anew"):
        prepare("mine", options(), tmp_path, tmp_path / "out", 1)


def test_pictures_that_two_parts_share_are_told(tmp_path, own, capsys):
    options, written = own
    lists = {part: tmp_path / f"{part}.txt" for part in PARTS}
    for part, names in zip(PARTS, ("0 1 2", "3 4", "5 6"), strict=True):
        lists[part].write_text("\n".join(names.split()))
    # 5 and 3 are 1 again, 6 is 2 as another file, and 2 is 0, which is in the same part.
    for name, of in (("3", "1"), ("5", "1"), ("2", "0"), ("6", "0")):
        Image.fromarray(written[of][0]).save(tmp_path / "images" / f"{name}.png", compress_level=int(name))
        shutil.copy(tmp_path / "masks" / f"{of}.png", tmp_path / "masks" / f"{name}.png")
    split = {"rule": "list", **{f"{part}_list": str(path) for part, path in lists.items()}}
    about = prepare("mine", options(split=split), tmp_path, tmp_path / "out", 1)
    shared, unlisted = about["remarks"]
    assert shared == (
        "2 pictures lie in more than one part, pixel for pixel: 0 (train) = 2 (train) = 6 (test); "
        "1 (train) = 3 (val) = 5 (test); scores on them say little of new images"
    )
    assert unlisted == "3 images are in no list and left out: 7, 8, 9"
    assert capsys.readouterr().out.splitlines()[-2:] == [f"mine: {shared}", f"mine: {unlisted}"]


def test_without_shared_pictures_nothing_is_told(tmp_path, own):
    options, _ = own
    assert prepare("mine", options(), tmp_path, tmp_path / "out", 1)["remarks"] == []


def test_what_the_data_set_says_of_its_files_is_told(tmp_path, own, capsys):
    options, _ = own
    (tmp_path / "images" / "notes.txt").write_text("")
    (remark,) = prepare("mine", options(), tmp_path, tmp_path / "out", 1)["remarks"]
    assert "1 entry of" in remark
    assert remark in capsys.readouterr().out


@pytest.mark.parametrize("jobs", [1, 2])
def test_all_wrong_masks_are_told_at_once_and_nothing_is_left_behind(tmp_path, jobs):
    for name in ("images", "masks"):
        (tmp_path / name).mkdir()
        for number in range(80):
            wrong = name == "masks" and number % 2
            Image.fromarray(np.full((8, 8), 90 + number if wrong else 0, np.uint8)).save(
                tmp_path / name / f"{number:02d}.png"
            )
    paths = {name: str(tmp_path / name) for name in ("images", "masks")}
    options = options_of(tmp_path, kind="folder", classes=CLASSES, **paths)
    with pytest.raises(
        UserError, match=r"^40 of 80 images are refused: (\S*\.png has the value \d+ at row 0, .*; ){3}and 37 more$"
    ):
        prepare("mine", options, tmp_path, tmp_path / "data" / "out", jobs)
    assert list((tmp_path / "data").iterdir()) == []


def test_a_class_without_a_training_pixel(tmp_path, own):
    options, _ = own
    given = options() | {"classes": [*CLASSES, "rare"]}
    with pytest.raises(UserError, match=r"`datasets\.mine` has no training pixel of the class 'rare'"):
        prepare("mine", given, tmp_path, tmp_path / "out", 1)
    assert not (tmp_path / "out").exists()


@pytest.mark.parametrize("part", PARTS)
def test_a_part_that_is_ignored_throughout(tmp_path, own, part):
    options, written = own
    about = prepare("mine", options(), tmp_path, tmp_path / "out", 1)
    for name in about["ids"][part]:
        Image.fromarray(np.full_like(written[name][1], IGNORE)).save(tmp_path / "masks" / f"{name}.png")
    with pytest.raises(UserError, match=rf"`datasets\.mine`: every pixel of the {part} images is ignored, "):
        prepare("mine", options(), tmp_path, tmp_path / "out", 1)


def test_more_than_the_disk_holds(tmp_path):
    options = shapes(tmp_path, images=100_000, size=[16384, 16384])
    with pytest.raises(UserError, match=r"needs 107374\.2 GB for 100000 images"):
        prepare("drawn", options, tmp_path, tmp_path / "out", 1)


def test_an_archive_that_was_not_fetched(tmp_path):
    with pytest.raises(UserError, match=r"segmentation_WBC-\w+\.zip is missing: fetch the archives of cells first"):
        prepare("cells", options_of(tmp_path, kind="wbc"), tmp_path / "raw", tmp_path / "out", 1)


def test_the_table_of_class_shares(tmp_path, capsys):
    about = prepare("drawn", shapes(tmp_path), tmp_path, tmp_path / "out", 1)
    table = class_table(about)
    assert capsys.readouterr().out == table + "\n"
    lines = table.splitlines()
    assert lines[0] == "drawn: 63 train, 13 val, 14 test images of 24 × 32; split: official"
    assert [line.split()[0] for line in lines[1:]] == ["class", *about["classes"], "(ignored,"]
    shares = [[float(word) for word in line.replace("%", "").split()[-3:]] for line in lines[2:-1]]
    np.testing.assert_allclose(np.sum(shares, axis=0), 100, atol=0.05)
    assert len({len(line) for line in lines[2:]}) == 1, "columns align"


def test_an_archive_with_other_contents(tmp_path):
    (archive,) = archives_of("wbc")
    with zipfile.ZipFile(tmp_path / archive.filename, "w") as file:
        file.writestr("top/Dataset 1/001.bmp", b"something else")
    with pytest.raises(UserError, match="content digest over the members used should be"):
        prepare("cells", options_of(tmp_path, kind="wbc"), tmp_path, tmp_path / "data" / "out", 1)
    assert list((tmp_path / "data").iterdir()) == []


def test_real_cells(tmp_path):
    raw = Path(os.environ.get("SOFTREG_TEST_ARCHIVES", Path(__file__).parents[3] / "shared" / "datasets"))
    (archive,) = archives_of("wbc")
    if not (raw / archive.filename).is_file():
        pytest.skip("the archive of wbc is not here (SOFTREG_TEST_ARCHIVES)")
    about = prepare("cells", options_of(tmp_path, kind="wbc"), raw, tmp_path / "out", 2)
    assert about["size"] == [120, 120]
    assert {part: len(ids) for part, ids in about["ids"].items()} == {"train": 210, "val": 45, "test": 45}
    # Every pixel of the published masks, counted without the reader, and the padding.
    archives.verify(raw / archive.filename, archive, tmp_path / "members")
    masks = [np.asarray(Image.open(path)) for path in (tmp_path / "members").rglob("*.png")]
    found = sum(np.bincount(np.load(path).ravel(), minlength=256) for path in (tmp_path / "out").rglob("masks.npy"))
    published = sum(np.bincount(mask.ravel(), minlength=256) for mask in masks)
    assert found[:3].tolist() == published[[0, 128, 255]].tolist()
    assert found[IGNORE] == 300 * 120 * 120 - sum(mask.size for mask in masks)


def test_a_class_of_a_users_own_data_set_has_a_name_that_can_be_printed():
    with pytest.raises(UserError, match=r'^the class "a\\nb" of `datasets.own` has a control character; rename it$'):
        _check_classes("own", ["sky", "a\nb"], np.ones((4, 256), np.int64))
