"""Data terms against sums by hand, pixel by pixel in float64, and against three libraries' own."""

import numpy as np
import pytest
import segmentation_models_pytorch as smp
import torch
import torch.nn.functional as F
from torchvision.ops import sigmoid_focal_loss

from softreg.training.objectives import IGNORE, class_weights, cross_entropy, dice, focal, make_objective

CPU = torch.device("cpu")
SHARES = [0.5, 0.25, 0.2, 0.05]
WEIGHTED = ["cross_entropy", "cross_entropy_dice", "focal", "focal_dice"]
SMOOTHED = ["cross_entropy", "cross_entropy_dice", "squared_error", "smooth_l1"]
KINDS = [*WEIGHTED, "dice", "squared_error", "smooth_l1"]


def variants():
    """Every kind with each option that it takes: kind, rule of the class weights, label smoothing."""
    plain = [(kind, None, 0.0) for kind in KINDS]
    weighted = [(kind, rule, 0.0) for kind in WEIGHTED for rule in ("inverse_frequency", "median_frequency")]
    smoothed = [(kind, None, 0.2) for kind in SMOOTHED]
    return [*plain, *weighted, *smoothed, ("cross_entropy", "inverse_frequency", 0.2)]


def objective(kind, rule=None, smoothing=0.0, gamma=2.0, beta=0.3):
    spec = {"kind": kind, "beta": beta, "gamma": gamma, "class_weights": rule}
    return make_objective(spec, SHARES, CPU, smoothing)


@pytest.fixture
def float64():
    torch.set_default_dtype(torch.float64)
    yield
    torch.set_default_dtype(torch.float32)


def batch(classes=4, shown=4):
    """Logits with a gradient, and masks of the first ``shown`` classes with 12 pixels ignored."""
    generator = torch.Generator().manual_seed(1)
    logits = 2 * torch.randn(3, classes, 5, 6, generator=generator)
    masks = torch.randint(0, shown, (3, 5, 6), generator=generator).to(torch.uint8)
    masks[0, :2] = IGNORE
    return logits.requires_grad_(), masks


def pixel_loss(kind, p, t, w, smoothing):
    """The loss of one pixel with probabilities ``p`` and class ``t``, times its weight."""
    target = np.full(len(p), smoothing / len(p))
    target[t] += 1 - smoothing
    if kind == "cross_entropy":
        return -sum(w[c] * target[c] * np.log(p[c]) for c in range(len(p)))
    if kind == "focal":
        return -w[t] * (1 - p[t]) ** 2 * np.log(p[t])
    distances = [abs(p[c] - target[c]) for c in range(len(p))]
    if kind == "squared_error":
        return sum(d**2 for d in distances) / 2
    return sum(d**2 / 0.6 if d < 0.3 else d - 0.15 for d in distances)


def dice_by_hand(pixels, classes):
    losses = []
    for c in range(classes):
        own = [p[c] for p, t in pixels if t == c]
        if own:
            losses.append(1 - 2 * sum(own) / (sum(p[c] for p, _ in pixels) + len(own)))
    return np.mean(losses)


def by_hand(kind, rule, smoothing, logits, masks):
    """The data term as a sum over pixels."""
    values = np.moveaxis(logits.detach().numpy().astype(np.float64), 1, -1)
    rows = zip(np.exp(values).reshape(-1, values.shape[-1]), masks.flatten().tolist(), strict=True)
    pixels = [(row / row.sum(), t) for row, t in rows if t != IGNORE]
    scale = {None: 0, "inverse_frequency": 4 / sum(1 / s for s in SHARES), "median_frequency": 0.225}[rule]
    w = [scale / s for s in SHARES] if rule else [1] * 4
    name = kind.removesuffix("_dice")
    total = dice_by_hand(pixels, values.shape[-1]) if kind.endswith("dice") else 0
    if name != "dice":
        total += sum(pixel_loss(name, p, t, w, smoothing) for p, t in pixels) / sum(w[t] for _, t in pixels)
    return total


@pytest.mark.parametrize("shown", [4, 3], ids=["all classes", "one absent"])
@pytest.mark.parametrize("variant", variants(), ids=str)
def test_it_is_the_sum_by_hand_and_its_gradient_that_of_the_value(float64, variant, shown):
    logits, masks = batch(shown=shown)
    term = objective(*variant)
    np.testing.assert_allclose(term(logits, masks).item(), by_hand(*variant, logits, masks), rtol=1e-12)
    assert torch.autograd.gradcheck(lambda values: term(values, masks), logits)


@pytest.mark.parametrize("smoothing", [0.0, 0.3])
@pytest.mark.parametrize("rule", [None, "inverse_frequency", "median_frequency"])
def test_cross_entropy_is_torchs(rule, smoothing):
    logits, masks = batch()
    weights = class_weights(rule, SHARES, CPU)
    expected = F.cross_entropy(logits, masks.long(), weights, ignore_index=IGNORE, label_smoothing=smoothing)
    torch.testing.assert_close(objective("cross_entropy", rule, smoothing)(logits, masks), expected)


@pytest.mark.parametrize("gamma", [0.0, 0.5, 2.0])
def test_focal_of_two_classes_is_torchvisions_and_smps(gamma):
    logits, masks = batch(classes=2, shown=2)
    valid = masks != IGNORE
    margin, truth = (logits[:, 1] - logits[:, 0])[valid], masks[valid].float()
    found = focal(logits, masks, gamma)
    torch.testing.assert_close(found, sigmoid_focal_loss(margin, truth, alpha=-1, gamma=gamma, reduction="mean"))
    torch.testing.assert_close(found, smp.losses.FocalLoss("binary", gamma=gamma)(margin, truth))
    balanced = sigmoid_focal_loss(margin, truth, alpha=0.75, gamma=gamma, reduction="sum")
    expected = balanced / (0.25 + truth / 2).sum()
    torch.testing.assert_close(focal(logits, masks, gamma, torch.tensor([0.25, 0.75])), expected)


def test_focal_with_gamma_0_is_cross_entropy():
    torch.testing.assert_close(objective("focal", gamma=0.0)(*batch()), cross_entropy(*batch()))


def test_focal_has_a_finite_gradient_on_a_pixel_that_is_surely_right():
    logits = torch.tensor([40.0, 0.0]).view(1, 2, 1, 1).requires_grad_()
    focal(logits, torch.zeros(1, 1, 1, dtype=torch.uint8), gamma=0.5).backward()
    assert torch.all(logits.grad.abs() < 1e-6)


def test_dice_is_smps():
    logits, masks = batch()
    expected = smp.losses.DiceLoss("multiclass", ignore_index=IGNORE)(logits, masks.long())
    torch.testing.assert_close(dice(logits, masks), expected)


@pytest.mark.parametrize("beta", [0.1, 1.0])
def test_smooth_l1_is_torchs(beta):
    logits, masks = batch()
    probabilities = logits.softmax(1).permute(0, 2, 3, 1)[masks != IGNORE]
    truth = F.one_hot(masks[masks != IGNORE].long(), 4).float()
    expected = F.smooth_l1_loss(probabilities, truth, beta=beta, reduction="none").sum(1).mean()
    torch.testing.assert_close(objective("smooth_l1", beta=beta)(logits, masks), expected)


@pytest.mark.parametrize("variant", variants(), ids=str)
def test_ignored_pixels_have_no_gradient_and_no_influence(variant):
    logits, masks = batch()
    loss = objective(*variant)(logits, masks)
    loss.backward()
    ignored = (masks == IGNORE).unsqueeze(1).expand_as(logits)
    assert torch.all(logits.grad[ignored] == 0)
    assert torch.any(logits.grad[~ignored] != 0)
    assert objective(*variant)(logits.detach().masked_fill(ignored, 7.0), masks) == loss


@pytest.mark.parametrize("variant", variants(), ids=str)
def test_a_batch_without_valid_pixels_gives_zero(variant):
    logits = torch.randn(1, 4, 2, 2, requires_grad=True)
    loss = objective(*variant)(logits, torch.full((1, 2, 2), IGNORE, dtype=torch.uint8))
    loss.backward()
    assert loss.item() == 0
    assert torch.all(logits.grad == 0)


def test_class_weights():
    assert class_weights(None, SHARES, CPU) is None
    inverse = class_weights("inverse_frequency", SHARES, CPU)
    torch.testing.assert_close(inverse, torch.tensor([2.0, 4.0, 5.0, 20.0]) / 7.75)
    assert inverse.mean().item() == pytest.approx(1)
    by_median = class_weights("median_frequency", [0.5, 0.3, 0.2], CPU)
    torch.testing.assert_close(by_median, torch.tensor([0.6, 1.0, 1.5]))
