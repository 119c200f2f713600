"""Corruptions against what their levels say, and their independence of how images are batched."""

import numpy as np
import pytest
import torch
from scipy.ndimage import gaussian_filter
from torchvision.transforms.v2 import functional as torchvisions

from softreg.scoring.corruptions import LEVELS, corrupt

IMAGES = torch.rand(4, 3, 40, 30, generator=torch.Generator().manual_seed(0)) * 0.6 + 0.2


@pytest.mark.parametrize("kind", LEVELS)
def test_each_severity_changes_more_than_the_one_before(kind):
    changes = [(corrupt(IMAGES, kind, severity, 0) - IMAGES).abs().mean().item() for severity in range(1, 6)]
    assert changes == sorted(changes)
    assert changes[0] > 0
    again = corrupt(IMAGES, kind, 5, 0)
    assert torch.equal(again, corrupt(IMAGES, kind, 5, 0))
    assert again.min() >= 0
    assert again.max() <= 1


def test_noise_belongs_to_the_image_and_not_to_its_batch():
    whole = corrupt(IMAGES, "noise", 3, 10)
    parts = torch.cat([corrupt(IMAGES[:1], "noise", 3, 10), corrupt(IMAGES[1:], "noise", 3, 11)])
    assert torch.equal(whole, parts)
    grey = torch.full((1, 3, 200, 200), 0.5)
    assert (corrupt(grey, "noise", 2, 0) - grey).std().item() == pytest.approx(LEVELS["noise"][1], rel=0.02)


def test_blur_is_scipys_gaussian():
    sigma = LEVELS["blur"][2] * np.hypot(40, 30)
    expected = gaussian_filter(IMAGES.numpy(), (0, 0, sigma, sigma), mode="mirror", truncate=np.ceil(3 * sigma) / sigma)
    assert np.abs(corrupt(IMAGES, "blur", 3, 0).numpy() - expected).max() < 1e-5


@pytest.mark.parametrize("severity", range(1, 6))
def test_blur_and_contrast_are_torchvisions_bit_by_bit(severity):
    sigma = LEVELS["blur"][severity - 1] * float(np.hypot(40, 30))
    blurred = torchvisions.gaussian_blur(IMAGES, [2 * int(np.ceil(3 * sigma)) + 1] * 2, [sigma, sigma])
    assert torch.equal(corrupt(IMAGES, "blur", severity, 0), blurred)
    faded = torchvisions.adjust_contrast(IMAGES, LEVELS["contrast"][severity - 1])
    assert torch.equal(corrupt(IMAGES, "contrast", severity, 0), faded)


def test_brightness_and_contrast_by_hand():
    image = torch.tensor([0.2, 0.6]).view(1, 1, 1, 2).expand(1, 3, 1, 2)
    assert corrupt(image, "brightness", 2, 0)[0, 0, 0].tolist() == pytest.approx([0.4, 0.8])
    # Towards the mean grey of 0.4, to half.
    assert corrupt(image, "contrast", 2, 0)[0, 0, 0].tolist() == pytest.approx([0.3, 0.5], abs=1e-4)
