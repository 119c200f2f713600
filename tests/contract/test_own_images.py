"""A look at a user's files before any job: no wrong path, pair or mask that shows in a sample goes further."""

from pathlib import Path

import numpy as np
import pytest
import yaml
from PIL import Image

from softreg.cli import main
from softreg.contract.own_images import look, look_all
from softreg.errors import UserError
from softreg.study.config import load_study

STUDY = {"models": {"convnet": {}}, "penalties": {"none": {}}}


@pytest.fixture
def write(tmp_path, monkeypatch):
    """Writes 30 images with masks, and a study of them; its file."""
    monkeypatch.chdir(tmp_path)
    for name in ("images", "masks"):
        (tmp_path / name).mkdir()
        for number in range(30):
            level = 8 * number if name == "images" else number % 2
            Image.new("L", (16, 16), level).save(tmp_path / name / f"{number:02d}.png")

    def write(folds=None, **given):
        entry = {"kind": "folder", "images": "images", "masks": "masks", "classes": ["a", "b"]} | given
        study = STUDY | {"datasets": {"mine": entry}, "evaluation": {"folds": folds}}
        (tmp_path / "study.yaml").write_text(yaml.safe_dump(study))
        return tmp_path / "study.yaml"

    return write


def looked(file):
    return look("mine", load_study(file).datasets["mine"])


def test_good_files(write):
    Path("images/notes.txt").write_text("")
    done, left = looked(write())
    assert done == "mine: 30 images, 20 of them read without a fault"
    assert left.startswith("mine: 1 entry of images is left out")


def test_softreg_check_looks_once_whatever_the_folds_and_writes_nothing(write, tmp_path, capsys):
    study = str(write(folds=5))
    before = sorted(tmp_path.rglob("*"))
    assert main(["check", study]) == 0
    assert capsys.readouterr().out.count("mine: 30 images, 20 of them read without a fault") == 1
    assert sorted(tmp_path.rglob("*")) == before
    assert main(["check", str(write(masks="mask"))]) == 2
    said = capsys.readouterr()
    assert (said.out, said.err.count("\n")) == ("", 1)
    told = "mask, which `masks` of a folder data set names, is no folder"
    assert said.err == f"softreg: {study}: datasets.mine: {told}\n"


def test_what_is_wrong_with_each_data_set_is_a_line(write, capsys):
    file = write()
    study = yaml.safe_load(file.read_text())
    study["datasets"] |= {name: {**study["datasets"]["mine"], "images": name} for name in ("one", "two")}
    file.write_text(yaml.safe_dump(study))
    assert main(["check", str(file)]) == 2
    told = [line.partition(", which")[0] for line in capsys.readouterr().err.splitlines()]
    assert told == [f"softreg: {file}: datasets.{name}: {name}" for name in ("one", "two")]


def test_a_missing_table(write):
    with pytest.raises(UserError, match=r"t\.csv cannot be read as a CSV file"):
        looked(write(images=None, masks=None, table="t.csv"))


def test_values_that_no_class_has(write):
    for number in range(30):
        Image.fromarray(np.full((16, 16), 7, np.uint8)).save(f"masks/{number:02d}.png")
    with pytest.raises(UserError, match=r"20 of 20 images that were read are refused: masks/00\.png has the value 7"):
        looked(write())


def test_a_split_that_cannot_be(write):
    for part, name in (("train", "00"), ("val", "01"), ("test", "x")):
        Path(f"{part}.txt").write_text(name)
    lists = {f"{part}_list": f"{part}.txt" for part in ("train", "val", "test")}
    with pytest.raises(UserError, match=r"test\.txt names 'x', which is no image of mine"):
        looked(write(split={"rule": "list", **lists}))


def test_a_class_that_no_mask_shows_is_told(write):
    assert looked(write(classes=["a", "b", "c"]))[1:] == ["mine: none of those shows c"]


OWN = """
from functools import partial
import numpy as np
from softreg.data.base import Dataset, Sample

class Own(Dataset):
    title = citation = licence = "x"
    palette = {"a": (0, 0, 0), "b": (1, 1, 1)}
    def samples(self, options, root):
        return [Sample(f"{i // TWICE}", (8, 9), READ) for i in range(9)]

def read(i):
    return np.zeros((8, 9, 3), np.uint8), np.full((8, 9), i % 2, np.uint8)
"""


@pytest.mark.parametrize(
    ("twice", "read", "size", "message"),
    [
        (1, "partial(read, i)", [8, 9], None),
        (2, "partial(read, i)", [8, 9], "names the image '0' twice"),
        (1, "partial(read, i)", [8, 8], r"size` is \[8, 8\], smaller than images of up to 8 × 9"),
        (1, "lambda: read(1)", [8, 9], "9 of 9 images .* cannot be sent to another process"),
        (1, "lambda: (read(1)[0], read(1)[1] + 6)", [8, 9], "the mask of 0 has the value 7: accepted are 0 to 1"),
        (1, "partial(read, [])", [8, 9], r"\.py.*TypeError"),
    ],
)
def test_a_class_of_the_users_is_looked_at_too(write, tmp_path, twice, read, size, message):
    # Each under a name of its own, as a process imports a file once.
    file = Path(f"{tmp_path.name}.py")
    file.write_text(OWN.replace("TWICE", str(twice)).replace("READ", read))
    study = STUDY | {"datasets": {"mine": {"kind": f"{file}:Own", "size": size}}}
    Path("study.yaml").write_text(yaml.safe_dump(study))
    if message is None:
        assert looked(Path("study.yaml")) == ["mine: 9 images, 9 of them read without a fault"]
        return
    with pytest.raises(UserError, match=message):
        looked(Path("study.yaml"))


def grouped(tmp_path):
    """A table of the 30 images, in six groups; the keys of a data set of it."""
    lines = ["image,mask,group", *(f"images/{i:02d}.png,masks/{i:02d}.png,p{i % 6}" for i in range(30))]
    (tmp_path / "table.csv").write_text("\n".join(lines))
    return {"images": None, "masks": None, "table": "table.csv"}


@pytest.mark.parametrize(("rule", "torn"), [("fraction", 6), ("group", 0)])
def test_groups_that_a_split_tears_apart_are_told(write, tmp_path, rule, torn):
    file = write(**grouped(tmp_path), split={"rule": rule, "val": 0.4, "test": 0.3})
    found = [line for line in look_all(load_study(file)) if "groups" in line]
    expected = f"mine: {torn} of 6 groups have images in more than one part, so that scores are not for new groups"
    assert found == ([f"{expected}; `split: {{rule: group}}` keeps groups whole"] if torn else [])


def test_outer_folds_that_would_tear_groups_apart_are_refused(write, tmp_path, capsys):
    given = grouped(tmp_path)
    assert main(["check", str(write(3, **given))]) == 2
    told = "its images come in groups, which outer folds have to keep whole: use group"
    assert told in capsys.readouterr().err
    assert main(["check", str(write(3, **given, split={"rule": "group"}))]) == 0


def test_what_padding_costs_is_told(write):
    Image.new("L", (40, 40)).save("images/00.png")
    Image.new("L", (40, 40)).save("masks/00.png")
    # 30 × 1600 pixels of 1600 + 29 × 256.
    assert looked(write())[1].startswith("mine: padding all 30 images to 40 × 40 makes 0.00019 GB on disk, 5.32 times")


def test_a_size_that_is_too_small(write):
    with pytest.raises(UserError, match=r"`datasets\.mine\.size` is \[8, 8\], smaller than images of up to 16 × 16"):
        looked(write(size=[8, 8]))
