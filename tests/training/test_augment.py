"""Augmentation: what it must leave alone, exactly; and what it must do, pixel by pixel."""

import pytest
import torch

from softreg.training.augment import _cut, _resample, augment, draw
from softreg.training.objectives import IGNORE

OFF = {"scale": None, "flip": False, "brightness": 0.0, "contrast": 0.0, "saturation": 0.0}


def _batch(count=6, height=20, width=30, classes=5):
    generator = torch.Generator().manual_seed(0)
    masks = torch.randint(0, classes, (count, height, width), generator=generator).to(torch.uint8)
    # The image tells its mask, so that any pixel which moves without its label is found out.
    images = (masks.float() / 10).unsqueeze(1).repeat(1, 3, 1, 1)
    return images, masks


def _run(options, crop, seed=0, batch=None):
    images, masks = batch or _batch()
    drawn = draw(len(images), torch.Generator().manual_seed(seed))
    return augment(images, masks, crop, {**OFF, **options}, drawn)


def test_switched_off_it_changes_nothing():
    images, masks = _batch()
    found_images, found_masks = _run({}, (20, 30))
    assert torch.equal(found_images, images)
    assert torch.equal(found_masks, masks)


def test_crops_are_windows_of_the_image():
    _, masks = _batch()
    images, crops = _run({}, (8, 11))
    assert torch.equal(images[:, 0], crops.float() / 10)
    for mask, crop in zip(masks, crops, strict=True):
        windows = mask.unfold(0, 8, 1).unfold(1, 11, 1)
        assert (windows == crop).all(dim=(2, 3)).any()


def test_flips_turn_image_and_mask_alike_and_about_half_of_them():
    batch = _batch(count=200, height=4, width=6)
    _, masks = batch
    images, flipped = _run({"flip": True}, (4, 6), batch=batch)
    assert torch.equal(images[:, 0], flipped.float() / 10)
    mirrored = (flipped == masks.flip(2)).all(dim=(1, 2))
    assert torch.all(mirrored | (flipped == masks).all(dim=(1, 2)))
    assert 70 < int(mirrored.sum()) < 130


def test_what_lies_outside_the_image_is_ignored():
    _, masks = _run({}, (26, 40))
    assert torch.all((masks == IGNORE).sum(dim=(1, 2)) == 26 * 40 - 20 * 30)
    assert set(masks.unique().tolist()) == {0, 1, 2, 3, 4, IGNORE}


@pytest.mark.parametrize("crop", [(8, 11), (20, 30), (26, 40), (26, 11)])
def test_without_a_scale_it_takes_the_windows_and_flips_that_resampling_would(crop):
    options = {**OFF, "flip": True}
    draws = torch.rand(50, 7, dtype=torch.float64).unbind(1)
    images, masks = _batch(count=50)
    # At scale 1, from corners on whole pixels, resampling falls on the pixels' centres.
    (height, width), whole = masks.shape[1:], list(draws)
    for axis, (length, size) in enumerate(zip((height, width), crop, strict=True), start=1):
        room = length - size
        whole[axis] = (room * draws[axis]).round() / room if room else draws[axis]
    expected = _resample(images, masks, crop, {**options, "scale": (1.0, 1.0)}, tuple(whole))
    found = _cut(images, masks, crop, options, draws)
    torch.testing.assert_close(found[0], expected[0], rtol=0, atol=1e-5)
    assert torch.equal(found[1], expected[1])


def test_a_scale_of_one_is_no_scale():
    assert torch.equal(_run({"scale": [1.0, 1.0]}, (8, 11))[0], _run({}, (8, 11))[0])


def test_scale_two_enlarges_each_pixel_to_four():
    _, masks = _run({"scale": [2.0, 2.0]}, (40, 60))
    assert torch.equal(masks[:, ::2, ::2], _batch()[1])
    assert torch.equal(masks[:, 1::2, 1::2], _batch()[1])


def test_ignored_pixels_stay_ignored():
    images, masks = _batch()
    masks[:, :, :7] = IGNORE
    _, found = _run({}, (20, 30), batch=(images, masks))
    assert torch.equal(found == IGNORE, masks == IGNORE)


def test_brightness_multiplies_and_stays_in_range():
    images = torch.full((50, 3, 2, 2), 0.4)
    masks = torch.zeros(50, 2, 2, dtype=torch.uint8)
    found, _ = _run({"brightness": 0.5}, (2, 2), batch=(images, masks))
    ratio = found[:, 0, 0, 0] / 0.4
    assert 0.5 <= ratio.min() < 0.6
    assert 1.4 < ratio.max() <= 1.5
    assert torch.all((found >= 0) & (found <= 1))


def test_saturation_moves_colours_about_their_grey():
    colour = torch.tensor([0.8, 0.4, 0.2]).view(1, 3, 1, 1).expand(20, 3, 2, 2)
    masks = torch.zeros(20, 2, 2, dtype=torch.uint8)
    found, _ = _run({"saturation": 0.9}, (2, 2), batch=(colour, masks))
    grey = torch.tensor([0.299, 0.587, 0.114]) @ torch.tensor([0.8, 0.4, 0.2])
    factors = (found[:, :, 0, 0] - grey) / (torch.tensor([0.8, 0.4, 0.2]) - grey)
    inside = (found[:, :, 0, 0] > 0) & (found[:, :, 0, 0] < 1)
    for row, kept in zip(factors, inside, strict=True):
        assert row[kept].max() - row[kept].min() < 1e-3


def test_switching_the_flip_on_moves_no_crop():
    plain = _run({}, (8, 11), seed=5)[1]
    flipped = _run({"flip": True}, (8, 11), seed=5)[1]
    same = (flipped == plain).all(dim=(1, 2)) | (flipped == plain.flip(2)).all(dim=(1, 2))
    assert torch.all(same)


@pytest.mark.parametrize("seed", [1, 2])
def test_the_generator_decides(seed):
    options = {"scale": [0.5, 2.0], "flip": True, "brightness": 0.2, "contrast": 0.2, "saturation": 0.2}
    first = _run(options, (16, 16), seed)
    assert all(torch.equal(a, b) for a, b in zip(first, _run(options, (16, 16), seed), strict=True))
    assert not torch.equal(first[1], _run(options, (16, 16), seed + 10)[1])
