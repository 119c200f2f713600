"""The contract of a data set: it passes what is right, and each fault is found by the rule that names it."""

from __future__ import annotations

from dataclasses import replace
from functools import partial
from itertools import count
from pathlib import Path

import numpy as np
import pytest

from softreg.contract.dataset import READ, check_dataset, spread
from softreg.data import datasets
from softreg.data.base import Dataset, Sample

OPTIONS = {"kind": "own.py:Own", "size": None, "fit": "pad", "split": {}}
_CALLS = count()


def read(index):
    mask = np.zeros((16, 24), np.uint8)
    mask[index % 8 :, 4:20] = 1
    return np.full((16, 24, 3), index, np.uint8), mask


class Own(Dataset):
    title, citation, licence = "Own", "nobody", "none"
    palette = {"background": (0, 0, 0), "thing": (255, 0, 0)}  # noqa: RUF012

    def samples(self, options, root):
        return [Sample(f"{index:02d}", (16, 24), partial(read, index)) for index in range(30)]


def changed(**changes):
    """The data set with every sample changed."""

    class Changed(Own):
        def samples(self, options, root):
            return [replace(sample, **changes) for sample in super().samples(options, root)]

    return Changed


def stated(**attributes):
    """The data set with other attributes."""
    return type("Stated", (Own,), attributes)


def broken(dataset, root):
    return {finding.rule: finding.about for finding in check_dataset(dataset, OPTIONS, root) if not finding.kept}


def test_what_is_right_passes(tmp_path):
    assert broken(Own(), tmp_path) == {}


def test_drawn_shapes_pass(tmp_path):
    options = {"size": [32, 32], "split": {"val": 0.2, "test": 0.2}, "images": 12, "objects": 4, "classes": 3}
    options |= {"overlap": 0.2, "texture": 0.1, "noise": 0.1, "label_noise": 0.0, "seed": 0}
    found = check_dataset(datasets.load("shapes"), options, tmp_path)
    assert [finding for finding in found if not finding.kept] == []


class Shuffled(Own):
    def samples(self, options, root):
        listed = super().samples(options, root)
        return listed[:: 1 if next(_CALLS) % 2 else -1]


class Twice(Own):
    def samples(self, options, root):
        return super().samples(options, root) * 2


class Empty(Own):
    def samples(self, options, root):
        return []


class Tuples(Own):
    def samples(self, options, root):
        return [("a", "b")]


class Failing(Own):
    def samples(self, options, root):
        raise KeyError("folder")


class Lambdas(Own):
    def samples(self, options, root):
        return [replace(sample, read=lambda: read(1)) for sample in super().samples(options, root)]


def as_floats():
    image, mask = read(1)
    return image / 255, mask


def as_grey():
    image, mask = read(1)
    return image[..., 0], mask


def as_list():
    image, mask = read(1)
    return image.tolist(), mask


def beyond():
    image, mask = read(1)
    return image, mask * 2


def one_class():
    image, mask = read(1)
    return image, mask * 0


def ignored():
    image, mask = read(1)
    return image, np.where(mask == 1, 1, np.uint8(255))


def drawn():
    image, mask = read(1)
    return np.random.default_rng().integers(0, 256, image.shape, np.uint8), mask


@pytest.mark.parametrize(
    ("dataset", "rule", "words"),
    [
        (Shuffled, "samples", "the same order"),
        (Twice, "samples", "ids that stand once, but not of 00, 01"),
        (Empty, "samples", "a list of 0 samples"),
        (Tuples, "samples", ""),
        (Failing, "samples", "raised KeyError: 'folder'"),
        (changed(id=7), "samples", "texts"),
        (changed(split="training"), "samples", "splits training: train, val, test"),
        (changed(group=7), "samples", "groups"),
        (changed(size=(24, 16)), "read", "the shape (16, 24, 3); give (24, 16, 3)"),
        (changed(read=as_floats), "read", "its image is of float64; give uint8"),
        (changed(read=as_grey), "read", "its image has the shape (16, 24)"),
        (changed(read=as_list), "read", "its image is list"),
        (changed(read=drawn), "read", "read twice"),
        (changed(read=beyond), "masks", "0 to 1, or 255 to ignore, but not of 2"),
        (Lambdas, "workers", "functools.partial"),
        (stated(licence=""), "declaration", "licence"),
        (stated(palette={"one": (0, 0, 0)}), "classes", "1 classes"),
        (stated(palette={"a": (0, 0, 0), "b": (0, 0, 300)}), "classes", "but not of b"),
        (stated(palette={"a": (0, 0, 0), "b": (0, 0, 0)}), "classes", "tell the classes apart, but not of b"),
    ],
)
def test_each_fault_is_found_by_its_rule(dataset, rule, words, tmp_path):
    faults = [
        finding.about
        for finding in check_dataset(dataset(), OPTIONS, tmp_path)
        if not finding.kept and finding.rule == rule
    ]
    assert [about for about in faults if words in about], faults


def test_a_class_that_no_mask_shows_is_found_where_all_were_read(tmp_path):
    class Few(changed(read=one_class)):
        def samples(self, options, root):
            return super().samples(options, root)[:READ]

    assert broken(Few(), tmp_path) == {"masks": "every class occurs, but not of thing"}


def test_a_class_may_be_in_the_masks_that_were_not_read(tmp_path):
    found = check_dataset(changed(read=one_class)(), OPTIONS, tmp_path)
    assert [finding for finding in found if not finding.kept] == []
    assert [finding for finding in found if "but not of thing; 20 of 30 masks were read" in finding.about]


def test_ignored_pixels_are_no_class(tmp_path):
    assert set(broken(changed(read=ignored)(), tmp_path)) == set()


def test_a_missing_palette_is_found(tmp_path):
    class Bare(Dataset):
        title, citation, licence = "Bare", "nobody", "none"

        def samples(self, options, root):
            return Own().samples(options, root)

    assert "palette" in broken(Bare(), tmp_path)["classes"]


def test_archives_are_not_fetched(tmp_path):
    class Published(Own):
        archives = datasets.archives_of("wbc")

    found = check_dataset(Published(), OPTIONS, tmp_path)
    assert {finding.rule for finding in found} == {"declaration", "classes", "samples"}
    assert found[-1].kept
    assert "archives first: segmentation_WBC" in found[-1].about


def test_samples_are_spread_over_all():
    samples = Own().samples({}, Path())
    assert spread(samples, 50) == samples
    assert [sample.id for sample in spread(samples, 3)] == ["00", "10", "20"]
