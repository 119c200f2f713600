"""Rims against erosion by SciPy, and a case counted by hand."""

import numpy as np
import pytest
import torch
from scipy.ndimage import binary_erosion

from softreg.scoring import metrics
from softreg.scoring.boundary import boundary_sums, rim_width
from softreg.training.objectives import IGNORE


def _rim(mask, width):
    """The mask less what is left of it after ``width`` erosions by a 3 x 3 square, outside of the image being false."""
    return mask & ~binary_erosion(mask, np.ones((3, 3), bool), iterations=width, border_value=0)


@pytest.mark.parametrize("size", [(20, 30), (90, 120)])
def test_sums_are_those_of_eroded_masks(size):
    random = np.random.default_rng(3)
    coarse = random.integers(0, 3, (4, 2, *(side // 10 for side in size)), dtype=np.uint8)
    truth, guess = np.kron(coarse, np.ones((10, 10), np.uint8)).transpose(1, 0, 2, 3)
    truth[:, :7, :9] = IGNORE
    both, either = boundary_sums(torch.from_numpy(guess.copy()), torch.from_numpy(truth.copy()), 3)
    width = rim_width(*size)
    assert width == (1 if size == (20, 30) else 3)
    for image in range(4):
        seen = np.where(truth[image] == IGNORE, IGNORE, guess[image])
        for label in range(3):
            rims = _rim(truth[image] == label, width), _rim(seen == label, width)
            assert both[image, label] == (rims[0] & rims[1]).sum()
            assert either[image, label] == (rims[0] | rims[1]).sum()


def test_boundary_iou_by_hand():
    """A square of 3 x 3 in 8 x 8 against the same square one pixel to the right; the rim is one pixel wide."""
    truth = torch.zeros(1, 8, 8, dtype=torch.uint8)
    guess = truth.clone()
    truth[0, 2:5, 2:5] = 1
    guess[0, 2:5, 3:6] = 1
    both, either = boundary_sums(guess, truth, 2)
    # Each rim is the square without its middle, 8 pixels; columns 3 and 4 are common but for the two middles.
    assert (both[0, 1], either[0, 1]) == (4, 12)
    iou = metrics.boundary_iou(both.numpy(), either.numpy())
    background = both[0, 0].item() / either[0, 0].item()
    assert iou == pytest.approx((4 / 12 + background) / 2)


def test_the_same_prediction_has_a_boundary_iou_of_one():
    masks = torch.tensor([[[0, 0, 1], [0, 1, 1], [IGNORE, 1, 1]]], dtype=torch.uint8)
    both, either = boundary_sums(torch.where(masks == IGNORE, 0, masks), masks, 2)
    assert torch.equal(both, either)
    assert int(both.sum()) == 8
