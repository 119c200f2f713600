import dataclasses
import math

import numpy as np
import pytest
from published import options_of

from softreg.data import datasets
from softreg.data.datasets.shapes import OUTLINES, Scene
from softreg.errors import UserError

PLAIN = Scene(seed=5, index=0, size=(96, 120), objects=6, classes=8, overlap=0, texture=0, noise=0, label_noise=0)
INDICES = range(40)


def drawn(index=0, **changes):
    return dataclasses.replace(PLAIN, index=index, **changes)()


def shape_pixels(**changes):
    return sum(np.count_nonzero(drawn(index, **changes)[1]) for index in INDICES)


def test_same_seed_and_index_same_image():
    image, mask = drawn(3, noise=0.1, texture=0.5)
    again, mask_again = drawn(3, noise=0.1, texture=0.5)
    assert image.dtype == mask.dtype == np.uint8
    assert (image.shape, mask.shape) == ((96, 120, 3), (96, 120))
    np.testing.assert_array_equal(image, again)
    np.testing.assert_array_equal(mask, mask_again)


@pytest.mark.parametrize("change", [{"index": 4}, {"seed": 6}])
def test_other_seed_or_index_other_scene(change):
    assert (drawn(**{"index": 3} | change)[1] != drawn(3)[1]).any()


@pytest.mark.parametrize("change", [{"noise": 0.3}, {"texture": 1.0}])
def test_noise_and_texture_change_the_image_and_not_the_mask(change):
    for index in INDICES:
        image, mask = drawn(index, **change)
        np.testing.assert_array_equal(mask, drawn(index)[1])
        assert (image != drawn(index)[0]).any()


def test_label_noise_changes_the_mask_and_not_the_image():
    changed = 0
    for index in INDICES:
        image, mask = drawn(index, label_noise=0.5)
        np.testing.assert_array_equal(image, drawn(index)[0])
        changed += (mask != drawn(index)[1]).any()
    assert changed > len(INDICES) / 2


def test_label_noise_is_its_share_of_the_shapes():
    wrong = total = 0
    for index in range(300):
        clean, noisy = (drawn(index, size=(24, 30), objects=1, label_noise=share)[1] for share in (0, 0.3))
        labels = np.unique(noisy[clean > 0])
        assert len(labels) == 1, "a shape has one label"
        wrong += int(labels[0] != clean.max())
        total += 1
    # Five standard deviations of a binomial share.
    assert abs(wrong / total - 0.3) < 5 * math.sqrt(0.3 * 0.7 / total)


def test_without_noise_and_texture_a_shape_has_one_colour():
    image, mask = drawn(1, objects=1)
    assert len(np.unique(image[mask > 0], axis=0)) == len(np.unique(image[mask == 0], axis=0)) == 1


def test_noise_has_the_standard_deviation_it_says():
    differences = [drawn(i, noise=0.05)[0].astype(float) - drawn(i)[0] for i in range(10)]
    inside = [d[(drawn(i)[0] > 60) & (drawn(i)[0] < 195)] for i, d in enumerate(differences)]
    assert np.std(np.concatenate(inside)) == pytest.approx(0.05 * 255, rel=0.02)


def test_overlap_hides_more_and_more():
    apart, near, stacked = (shape_pixels(overlap=overlap) for overlap in (0, 0.5, 1))
    assert apart > 1.05 * near > 1.1 * stacked


def test_without_overlap_no_shape_touches_another():
    for index in INDICES:
        scene = dataclasses.replace(PLAIN, index=index)
        draws = scene._random(0)
        ground = 0.15 + 0.7 * draws.random(3)
        draws.random(3)
        stencils = [inside for _, inside, _ in scene._shapes(draws, ground)]
        assert np.sum(stencils, axis=0).max() <= 1


def test_objects_is_the_most_in_an_image():
    counts = set()
    for index in range(60):
        image, mask = drawn(index, objects=3)
        counts.add(len(np.unique(image[mask > 0], axis=0)))
    assert counts == {1, 2, 3}


@pytest.mark.parametrize("name", OUTLINES)
def test_outlines_lie_in_the_unit_circle_and_fill_part_of_it(name):
    points = np.array(OUTLINES[name])
    assert np.hypot(*points.T).max() <= 1.0 + 1e-9
    x, y = points.T
    area = abs(np.dot(x, np.roll(y, -1)) - np.dot(y, np.roll(x, -1))) / 2
    assert 0.2 * math.pi < area < 0.75 * math.pi


def test_samples_parts_and_clean_test(tmp_path):
    options = options_of(tmp_path, "shapes", images=20, label_noise=1.0, split={"val": 0.2, "test": 0.3})
    samples = datasets.load("shapes").samples(options, tmp_path)
    assert [sample.split for sample in samples] == ["train"] * 10 + ["val"] * 4 + ["test"] * 6
    assert [sample.read.label_noise for sample in samples] == [1.0] * 14 + [0.0] * 6
    assert len({sample.id for sample in samples}) == 20


def test_every_class_is_drawn_and_none_beyond(tmp_path):
    options = options_of(tmp_path, "shapes", classes=5)
    dataset = datasets.load("shapes")
    assert list(dataset.labels(options)) == ["background", "ellipse", "triangle", "rectangle", "star"]
    seen = np.unique([np.unique(s.read()[1]).max() for s in dataset.samples(options, tmp_path)[:80]])
    assert seen.max() == 4


def test_more_classes_than_shapes(tmp_path):
    options = options_of(tmp_path, "shapes") | {"classes": 9}
    with pytest.raises(UserError, match="9 classes: with the background there are at most 8"):
        datasets.load("shapes").labels(options)
