"""A table from grey level to class, against counts by brute force and scikit-learn's confusion matrices."""

from collections import Counter

import numpy as np
import pytest
from sklearn.metrics import confusion_matrix

from softreg.scoring.lookup import counts_of

CLASSES = 3


@pytest.fixture
def folder(tmp_path):
    """Grey images whose classes depend on their few levels, with ignored pixels; test has a level that train lacks."""
    random = np.random.default_rng(0)
    for split, count, levels in (("train", 4, [10, 60, 200]), ("test", 3, [10, 60, 200, 255])):
        grey = random.choice(levels, size=(count, 8, 9)).astype(np.uint8)
        masks = np.where(random.random(grey.shape) < 0.7, grey // 90, random.integers(0, CLASSES, grey.shape))
        masks[random.random(grey.shape) < 0.1] = 255
        (tmp_path / split).mkdir()
        np.save(tmp_path / split / "images.npy", np.repeat(grey[..., None], 3, axis=3))
        np.save(tmp_path / split / "masks.npy", masks.astype(np.uint8))
    return tmp_path


def test_counts_are_those_of_the_most_frequent_class_of_each_level(folder):
    images, masks = (np.load(folder / "train" / f"{name}.npy") for name in ("images", "masks"))
    valid = masks != 255
    pairs = Counter(zip(images[..., 0][valid].tolist(), masks[valid].tolist(), strict=True))
    most = Counter(masks[valid].tolist()).most_common(1)[0][0]
    table = {level: max(range(CLASSES), key=lambda c: pairs[level, c]) for level in (10, 60, 200)} | {255: most}
    found = counts_of(folder, CLASSES)
    images, masks = (np.load(folder / "test" / f"{name}.npy") for name in ("images", "masks"))
    for row, (image, mask) in enumerate(zip(images[..., 0], masks, strict=True)):
        valid = mask != 255
        both = confusion_matrix(mask[valid], [table[level] for level in image[valid]], labels=range(CLASSES))
        assert found["tp"][row].tolist() == np.diag(both).tolist()
        assert found["fp"][row].tolist() == (both.sum(0) - np.diag(both)).tolist()
        assert found["fn"][row].tolist() == (both.sum(1) - np.diag(both)).tolist()


@pytest.mark.parametrize("split", ["train", "test"])
def test_images_with_a_colour_have_none(folder, split):
    images = np.load(folder / split / "images.npy")
    images[-1, -1, -1, 1] ^= 1
    np.save(folder / split / "images.npy", images)
    assert counts_of(folder, CLASSES) is None
