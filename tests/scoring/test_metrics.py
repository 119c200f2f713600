"""Against scikit-learn, torchmetrics and loops over pixels, with ignored pixels and a class that never occurs."""

import numpy as np
import pytest
import torch
from numpy.testing import assert_allclose
from sklearn.metrics import accuracy_score, confusion_matrix, f1_score, jaccard_score, log_loss
from torchmetrics.classification import MulticlassCalibrationError, MulticlassConfusionMatrix, MulticlassJaccardIndex

from softreg.scoring import metrics

CLASSES, ABSENT, IGNORE = 5, 3, 255


@pytest.fixture
def masks():
    rng = np.random.default_rng(0)
    present = [c for c in range(CLASSES) if c != ABSENT]
    truth = rng.choice(present, (4, 10, 12), p=[0.5, 0.3, 0.15, 0.05])
    predicted = np.where(rng.random(truth.shape) < 0.7, truth, rng.choice(present, truth.shape))
    truth[rng.random(truth.shape) < 0.1] = IGNORE
    return truth, predicted


def counts_of(truth, predicted):
    """TP, FP, FN (N, C), a pixel at a time."""
    tp, fp, fn = np.zeros((3, len(truth), CLASSES), np.int64)
    for place, t in np.ndenumerate(truth):
        p = predicted[place]
        if t == IGNORE:
            continue
        if t == p:
            tp[place[0], t] += 1
        else:
            fp[place[0], p] += 1
            fn[place[0], t] += 1
    return tp, fp, fn


def test_miou_agrees_with_torchmetrics(masks):
    truth, predicted = (torch.from_numpy(mask) for mask in masks)
    ours = float(metrics.miou(*counts_of(*masks)))
    # torchmetrics computes in float32, so its own number can agree to 1e-6 only ...
    theirs = MulticlassJaccardIndex(CLASSES, average="macro", ignore_index=IGNORE)(predicted, truth)
    assert_allclose(ours, float(theirs), atol=1e-6)
    # ... and its confusion matrix, taken in float64, to 1e-12.
    table = MulticlassConfusionMatrix(CLASSES, ignore_index=IGNORE)(predicted, truth).double()
    hits = table.diag()
    union = table.sum(0) + table.sum(1) - hits
    assert union[ABSENT] == 0
    assert_allclose(ours, float((hits / union)[union > 0].mean()), rtol=0, atol=1e-12)


def test_dataset_measures_agree_with_scikit_learn(masks):
    truth, predicted = masks
    valid = truth != IGNORE
    tp, fp, fn = counts_of(truth, predicted)
    present = [c for c in range(CLASSES) if c != ABSENT]
    flat = truth[valid], predicted[valid]
    per_class = metrics.iou_per_class(tp.sum(0), fp.sum(0), fn.sum(0))
    assert_allclose(per_class[present], jaccard_score(*flat, labels=present, average=None), atol=1e-12)
    assert np.isnan(per_class[ABSENT])
    assert_allclose(metrics.dice(tp, fp, fn), f1_score(*flat, labels=present, average="macro"), atol=1e-12)
    assert_allclose(metrics.pixel_accuracy(tp, fn), accuracy_score(*flat), atol=1e-12)
    assert_allclose(tp.sum(0), np.diag(confusion_matrix(*flat, labels=range(CLASSES))))


def test_miou_per_image_is_the_mean_of_each_images_own(masks):
    truth, predicted = masks
    one_by_one = []
    for t, p in zip(truth, predicted, strict=True):
        t, p = t[t != IGNORE], p[t != IGNORE]
        one_by_one.append(jaccard_score(t, p, labels=np.union1d(t, p), average="macro"))
    counted = counts_of(truth, predicted)
    assert_allclose(metrics.miou_per_image(*counted), np.mean(one_by_one), atol=1e-12)
    assert abs(float(metrics.miou(*counted)) - np.mean(one_by_one)) > 1e-4  # the two are not the same measure


def test_leading_axes_are_kept(masks):
    tp, fp, fn = counts_of(*masks)
    swapped = [np.stack([array, array[::-1] * 2]) for array in (tp, fp, fn)]
    assert metrics.miou(*swapped).shape == (2,)
    assert_allclose(metrics.miou(*swapped), metrics.miou(tp, fp, fn), atol=1e-12)


def test_calibration_error_agrees_with_torchmetrics():
    generator = torch.Generator().manual_seed(0)
    scores = torch.randn(2, CLASSES, 400, generator=generator, dtype=torch.float64).mul(2).softmax(1)
    truth = torch.randint(CLASSES, (2, 400), generator=generator)
    confidence, predicted = scores.max(1)
    bins = np.minimum((confidence.numpy() * 15).astype(int), 14)
    count, correct, summed = np.zeros((3, 2, 15))
    for image in range(2):
        np.add.at(count[image], bins[image], 1)
        np.add.at(correct[image], bins[image], (predicted == truth)[image].numpy())
        np.add.at(summed[image], bins[image], confidence[image].numpy())
    theirs = MulticlassCalibrationError(CLASSES, n_bins=15, norm="l1")(scores, truth)
    assert_allclose(metrics.ece(count, correct, summed), float(theirs), atol=1e-5)


def test_nll_agrees_with_scikit_learn():
    rng = np.random.default_rng(0)
    scores = rng.dirichlet(np.ones(CLASSES), (3, 50))
    truth = rng.integers(CLASSES, size=(3, 50))
    sums = -np.log(np.take_along_axis(scores, truth[..., None], -1)).sum((1, 2))
    expected = log_loss(truth.ravel(), scores.reshape(-1, CLASSES), labels=range(CLASSES))
    assert_allclose(metrics.nll(sums, [50, 50, 50]), expected, atol=1e-12)


def test_nothing_to_count_is_nan():
    nothing = np.zeros((2, 3), np.int64)
    for value in (
        metrics.miou(nothing, nothing, nothing),
        metrics.miou_per_image(nothing, nothing, nothing),
        metrics.dice(nothing, nothing, nothing),
        metrics.pixel_accuracy(nothing, nothing),
        metrics.ece(nothing, nothing, nothing),
        metrics.nll([0.0, 0.0], [0, 0]),
    ):
        assert np.isnan(value)


def test_an_image_without_valid_pixels_does_not_count():
    tp, fp, fn = (np.array(rows) for rows in ([[3, 0], [0, 0]], [[0, 1], [0, 0]], [[1, 0], [0, 0]]))
    assert float(metrics.miou_per_image(tp, fp, fn)) == pytest.approx((3 / 4 + 0) / 2)
