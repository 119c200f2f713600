"""Data terms against torch's own, segmentation-models-pytorch's, and sums by hand."""

import pytest
import segmentation_models_pytorch as smp
import torch
import torch.nn.functional as F

from softreg.objectives import IGNORE, cross_entropy, dice, make_objective, smooth_l1, squared_error


@pytest.fixture
def batch():
    generator = torch.Generator().manual_seed(1)
    logits = torch.randn(3, 4, 5, 6, generator=generator, requires_grad=True)
    masks = torch.randint(0, 4, (3, 5, 6), generator=generator).to(torch.uint8)
    masks[0, :2] = IGNORE
    return logits, masks


def _valid_rows(logits, masks):
    """Softmax and one-hot truth of the valid pixels, (pixels, C)."""
    chosen = masks != IGNORE
    probabilities = logits.softmax(1).permute(0, 2, 3, 1)[chosen]
    return probabilities, F.one_hot(masks[chosen].long(), logits.shape[1]).float()


def test_cross_entropy_is_torchs(batch):
    logits, masks = batch
    expected = F.cross_entropy(logits, masks.long(), ignore_index=IGNORE)
    torch.testing.assert_close(cross_entropy(logits, masks), expected)


def test_dice_is_smps(batch):
    logits, masks = batch
    expected = smp.losses.DiceLoss("multiclass", ignore_index=IGNORE)(logits, masks.long())
    torch.testing.assert_close(dice(logits, masks), expected)


def test_dice_leaves_out_classes_that_the_batch_does_not_show():
    logits = torch.tensor([[[[9.0]], [[-9.0]], [[-9.0]]]])
    masks = torch.zeros(1, 1, 1, dtype=torch.uint8)
    assert dice(logits, masks).item() == pytest.approx(0, abs=1e-6)


def test_squared_error_is_half_the_sum_over_classes(batch):
    probabilities, truth = _valid_rows(*batch)
    expected = 0.5 * (probabilities - truth).square().sum(1).mean()
    torch.testing.assert_close(squared_error(*batch), expected)


@pytest.mark.parametrize("beta", [0.1, 0.5, 1.0])
def test_smooth_l1_is_torchs(batch, beta):
    probabilities, truth = _valid_rows(*batch)
    expected = F.smooth_l1_loss(probabilities, truth, beta=beta, reduction="none").sum(1).mean()
    torch.testing.assert_close(smooth_l1(*batch, beta), expected)


@pytest.mark.parametrize("kind", ["cross_entropy", "cross_entropy_dice", "squared_error", "smooth_l1"])
def test_every_objective_ignores_ignored_pixels_and_has_a_gradient(batch, kind):
    logits, masks = batch
    objective = make_objective({"kind": kind, "beta": 0.5})
    objective(logits, masks).backward()
    ignored = (masks == IGNORE).unsqueeze(1).expand_as(logits)
    assert torch.all(logits.grad[ignored] == 0)
    assert torch.any(logits.grad[~ignored] != 0)


@pytest.mark.parametrize("kind", ["cross_entropy", "cross_entropy_dice", "squared_error", "smooth_l1"])
def test_a_batch_without_valid_pixels_gives_zero(kind):
    logits = torch.randn(1, 3, 2, 2, requires_grad=True)
    masks = torch.full((1, 2, 2), IGNORE, dtype=torch.uint8)
    loss = make_objective({"kind": kind, "beta": 0.5})(logits, masks)
    loss.backward()
    assert loss.item() == 0
    assert torch.all(logits.grad == 0)
