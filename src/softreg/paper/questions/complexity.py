"""H4: does a penalty overfit on complex scenes?

Drawn scenes answer it causally, as only the drawing differs between their data sets. Elsewhere the test images of one
data set are compared with each other, where complexity may stand for much else.
"""

from __future__ import annotations

import json
from collections.abc import Collection, Mapping
from dataclasses import dataclass, replace
from itertools import pairwise, product
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from softreg.paper.questions import estimates
from softreg.paper.questions.answer import Answer, Verdict, opposite
from softreg.paper.questions.estimates import Floats, Part, Units, holm_of, row_of, rows_of, told
from softreg.paper.scores import Counts, Scores
from softreg.paper.stats import Estimate, over_seeds
from softreg.scoring import metrics
from softreg.scoring.select import GROUP

Datasets = Mapping[str, Mapping[str, Any]]
"""The entries of a study's ``datasets`` by name."""

COMPLEXITY = ("objects", "overlap", "texture", "noise")
"""Options of drawn scenes that make them more complex, the more there is of them."""
DRAWING = frozenset({*COMPLEXITY, "label_noise", "seed"})
"""Options of drawn scenes by which data sets may differ and still be compared for their complexity."""

SINGLE = ", single images"
"""End of the subjects of what single images say."""

LIMITS = {"gap": 200.0, "test": 100.0}
"""The most, in points, that a gap between training and test mIoU, or a test mIoU, can change."""

BINS = 5
"""Bins of equally many images in which the gain is shown."""

HEAD = Answer(
    key="H4",
    question="Does a penalty overfit on complex scenes?",
    claim="it overfits more, or gains less, where scenes are more complex",
    estimand="By how much a penalty changes the gap between training and test mIoU, relative to no penalty, from the "
    "least to the most complex drawn scenes; and, without a causal reading, how its gain in the mIoU of a test image "
    "goes with that image's boundary density and number of classes.",
    statistic="Drawn scenes, ordered by the options that they are drawn with: the least-squares slope of the paired "
    "change over the levels 1, 2, …, within each seed, times the number of steps. Images: the least-squares slope of "
    "the gain (a mean over seeds) over the images, times the distance between the 10th and 90th percentile.",
    interval="Drawn scenes: 95 % t-interval over evaluation seeds, test images held fixed. Images: 95 % interval over "
    "evaluation seeds and test images, crossed: the variance between seeds and that of leaving out each image, or "
    "group of images, in turn (jackknife). Holm's p is over the penalties and models of one comparison.",
)
ONE_SET = (
    "The study has no two data sets of drawn scenes of which one is more complex and that are alike otherwise: add two "
    "of `kind: shapes` with other `objects` to its `datasets`."
)


def answer(scores: Scores) -> Answer:
    """The answer to H4; see the module."""
    if scores.reference is None:
        return replace(HEAD, absent=estimates.NO_REFERENCE)
    return estimates.in_parts(scores, HEAD, [_drawn(scores), _observed(scores)])


# Drawn scenes.


def families(datasets: Datasets) -> list[pd.Series[float]]:
    """Data sets of ever more complex drawn scenes: for each family the level of each data set, 1, 2 and so on.

    The members of a family differ in `DRAWING` only, and from one to the next no option of `COMPLEXITY` falls and at
    least one rises. Where some rise and others fall no order is given, and there is no family: the boundary density of
    the masks does not tell it, for overlap hides boundaries, and masks have neither texture nor noise. Of data sets
    that are alike in these options, the one with the least label noise is a member.
    """
    found = []
    for members in _alike(datasets, DRAWING):
        options = {name: tuple(float(datasets[name][key]) for key in COMPLEXITY) for name in members}
        # Of equal options the first stays, which has the least label noise.
        chain = sorted({option: name for name, option in reversed(options.items())}.items())
        rising = all((np.diff([low, high], axis=0) >= 0).all() for (low, _), (high, _) in pairwise(chain))
        if len(chain) > 1 and rising:
            found.append(pd.Series(np.arange(1.0, len(chain) + 1), index=[name for _, name in chain]))
    return found


def label_noise_pairs(datasets: Datasets) -> list[tuple[str, str]]:
    """(clean, noisy): data sets of drawn scenes that are alike but for their label noise; clean has the least."""
    alike = _alike(datasets, {"label_noise"})
    noise = {name: datasets[name]["label_noise"] for members in alike for name in members}
    return [(first, other) for first, *rest in alike for other in rest if noise[other] > noise[first]]


def _alike(datasets: Datasets, free: Collection[str]) -> list[list[str]]:
    """Data sets of drawn scenes that differ in options ``free`` only, together; those of less label noise first."""
    drawn = [(name, entry) for name, entry in datasets.items() if entry["kind"] == "shapes"]
    found: dict[str, list[str]] = {}
    for name, entry in sorted(drawn, key=lambda item: item[1]["label_noise"]):
        kept = {key: value for key, value in entry.items() if key not in free}
        found.setdefault(json.dumps(kept, sort_keys=True), []).append(name)
    return list(found.values())


def fits(scores: Scores) -> pd.DataFrame:
    """dataset, model, penalty, seed, gap (training − test mIoU) and test (mIoU) of the final cells, in points."""
    final = scores.final_sums[scores.final_sums["corruption"] == ""]
    wide = final.pivot(index=[*GROUP, "seed"], columns="split", values="miou").reindex(columns=["train", "test"])
    table = pd.DataFrame({"gap": 100 * (wide["train"] - wide["test"]), "test": 100 * wide["test"]})
    return table.dropna().reset_index()


def rises(changes: pd.DataFrame, family: pd.Series[float], measure: str) -> Floats:
    """By how much ``measure`` rises from the first to the last level of ``family``, for each seed with all data sets.

    ``changes`` are the rows of one model and penalty. The least-squares slope is taken within a seed: what the data
    sets of a seed share cancels.
    """
    by_seed = changes.pivot(index="seed", columns="dataset", values=measure).reindex(columns=family.index).dropna()
    away = family.to_numpy() - family.mean()
    rise: Floats = by_seed.to_numpy() @ away / (away @ away) * np.ptp(family.to_numpy())
    return rise


def _drawn(scores: Scores) -> Part:
    numbers, verdicts = [pd.DataFrame()], []
    for family in families(scores.study["datasets"]):
        numbers.append(found := _changes(scores, family))
        if len(found):
            both = (rows_of(found[found["quantity"] == f"rise of {measure}"]) for measure in ("gap", "test"))
            verdicts += [_verdict(scores, family, gap, test) for gap, test in zip(*both, strict=True) if gap.seeds]
    text = (
        "On drawn scenes, an entry's gap between training and test mIoU, relative to no penalty, grows with complexity"
    )
    summary = f"{text}: {estimates.counted(verdicts)} contrasts." if verdicts else ONE_SET
    return Part(pd.concat(numbers), verdicts, summary, "complexity")


def _changes(scores: Scores, family: pd.Series[float]) -> pd.DataFrame:
    """The change of the gap and of test mIoU in each data set, and how both rise, for each model and penalty."""
    own = fits(scores)
    rows = []
    changes = estimates.relative(scores, own[own["dataset"].isin(family.index)], ["gap", "test"])
    for model, penalty, mine in estimates.in_order(scores, changes):
        names = {"part": "drawn scenes", "model": model, "penalty": penalty}
        for measure, (dataset, level) in product(("gap", "test"), family.items()):
            values = mine.loc[mine["dataset"] == dataset, measure]
            place = {"dataset": dataset, "quantity": f"change of {measure}", "level": level}
            rows += [names | place | row_of(over_seeds(values.to_numpy(), LIMITS[measure]))] if len(values) else []
        for measure in ("gap", "test"):
            place = {"dataset": ", ".join(family.index), "quantity": f"rise of {measure}"}
            rows.append(names | place | row_of(over_seeds(rises(mine, family, measure))))
    return estimates.judged_words(scores, pd.DataFrame(rows), ["quantity"], scores.rope)


def _verdict(scores: Scores, family: pd.Series[float], gap: Any, test: Any) -> Verdict:
    """Of the rows of `_changes` that say how the two measures of one penalty rise."""
    name, reference = estimates.names_of(scores, gap)
    first, *_, last = (scores.label(str(dataset)) for dataset in family.index)
    sentence = (
        f"From the least to the most complex scenes ({first} to {last}, {len(family)} levels), the gap between "
        f"training and test mIoU with {name} changes, relative to {reference}, by {told(gap)}{holm_of(gap.p_holm)}; "
        f"test mIoU by {told(test)}. {estimates.HELD}"
    )
    return Verdict(gap.dataset, gap.model, name, gap.word, estimates.ended(sentence, gap.why))


# Test images of each data set.


@dataclass(frozen=True)
class Gains:
    """The gain of a penalty on each test image, image mIoU less the reference's, in points: ``values`` (S, N).

    ``density`` and ``classes`` (N,) are those of the images' true masks, ``units`` (N,) what the images belong to.
    """

    values: Floats
    density: Floats
    classes: Floats
    units: Units


def image_gains(scores: Scores, dataset: str, model: str) -> dict[str, Gains]:
    """`Gains` by penalty, over the seeds that it shares with its reference, without images that have no valid pixel."""
    counts = scores.test_counts(dataset, model)
    found = {}
    for penalty in scores.penalties:
        reference = scores.references[penalty]
        if penalty == reference or penalty not in counts or reference not in counts:
            continue
        seeds = sorted(set(counts[penalty].seeds) & set(counts[reference].seeds))
        gain = _image_miou(counts[penalty], seeds) - _image_miou(counts[reference], seeds)
        masks = scores.tested(dataset, counts[penalty].images)[["boundary_density", "classes"]].to_numpy(np.float64)
        kept = ~np.isnan(gain).any(0) & ~np.isnan(masks).any(1)
        if seeds and kept.any():
            units = scores.units(dataset, counts[penalty].images)[kept]
            density, classes = masks[kept].T
            found[penalty] = Gains(100 * gain[:, kept], density, classes, units)
    return found


def _image_miou(counts: Counts, seeds: list[int]) -> Floats:
    """The mIoU of each image on its own, (S, N), of ``seeds``."""
    rows = [counts.seeds.index(seed) for seed in seeds]
    values: Floats = metrics.miou(*counts.table[:, rows][..., None, :])
    return values


def rise_over_images(gains: Floats, covariate: Floats, units: Units) -> Estimate:
    """By how much ``gains`` (S, N) rise from the 10th to the 90th percentile of ``covariate`` (N,), by least squares.

    The estimate is crossed, over seeds and the ``units`` (N,) of the images. Where the two percentiles agree,
    the rise is over the whole range; where the covariate does not vary it is nan.
    """
    low, high = np.percentile(covariate, [10, 90])
    span = high - low or np.ptp(covariate)
    if span == 0:
        return Estimate(float("nan"), float("nan"), float("nan"), len(gains), len(np.unique(units)))
    slope, without = (
        _slopes(gains, covariate - covariate.mean(), w) * span
        for w in (np.ones((1, len(covariate))), estimates.left_out(units))
    )
    return estimates.crossed(slope[:, 0], without)


def _slopes(gains: Floats, x: Floats, weights: Floats) -> Floats:
    """Least-squares slopes, (S, B), over images that are weighted by (B, N); where x is the same everywhere it is 0."""
    n, mean = weights.sum(1), weights @ x
    above = weights @ (gains * x).T - (weights @ gains.T) * (mean / n)[:, None]
    below = weights @ x**2 - mean**2 / n
    slopes: Floats = np.divide(above.T, below, out=np.zeros_like(above.T), where=below > 1e-12 * (x @ x))
    return slopes


def binned(scores: Scores, dataset: str) -> pd.DataFrame:
    """The gain in bins of boundary density that hold equally many images, for each model and penalty.

    Columns: model, penalty, bin (from 0), boundary_density (mean in the bin), images, groups (or images, where each
    is its own), and those of `estimates.columns_of`, crossed over seeds and the groups in the bin.
    """
    rows = []
    for model in scores.study["models"]:
        for penalty, gains in image_gains(scores, dataset, model).items():
            places = _bins(gains.density)
            for place in range(places.max() + 1):
                inside = places == place
                names = {"model": model, "penalty": penalty, "bin": place}
                names |= {"boundary_density": float(gains.density[inside].mean()), "images": int(inside.sum())}
                estimate = estimates.crossed_mean(gains.values[:, inside], gains.units[inside])
                rows.append(names | {"groups": estimate.units} | estimates.columns_of(estimate))
    return pd.DataFrame(rows)


def _bins(density: Floats) -> NDArray[np.int64]:
    """The bin of each image: at most `BINS`, of five images or more where there are so many."""
    edges = np.unique(np.quantile(density, np.linspace(0, 1, min(BINS, max(1, len(density) // 5)) + 1)))
    places: NDArray[np.int64] = np.searchsorted(edges[1:-1], density, side="left")
    return np.unique(places, return_inverse=True)[1]


def _observed(scores: Scores) -> Part:
    numbers = pd.concat([_rises_over_images(scores, dataset) for dataset in scores.study["datasets"]])
    of_density = (row for row in rows_of(numbers) if row.quantity == "rise of gain with boundary density")
    verdicts = [_association(scores, row) for row in of_density if not np.isnan(row.mean)]
    summary = "No data set has test images of several boundary densities, so nothing is said of single images."
    if verdicts:
        summary = (
            "Among the test images of each data set, an entry's gain is smaller where the boundary density is higher, "
            f"which is an association and not causal: {estimates.counted(verdicts, SINGLE)} contrasts."
        )
    return Part(numbers, verdicts, summary, "complexity_images")


def _rises_over_images(scores: Scores, dataset: str) -> pd.DataFrame:
    """`rise_over_images` by boundary density and by number of classes, for each model and penalty."""
    rows = []
    for model in scores.study["models"]:
        for penalty, gains in image_gains(scores, dataset, model).items():
            names = {"part": "images", "dataset": dataset, "model": model, "penalty": penalty}
            for covariate, values in (("boundary density", gains.density), ("classes", gains.classes)):
                rise = rise_over_images(gains.values, values, gains.units)
                n = {"images": len(values), "groups": rise.units}
                rows.append(names | {"quantity": f"rise of gain with {covariate}"} | n | row_of(rise))
    return estimates.judged_words(scores, pd.DataFrame(rows), ["quantity"], scores.rope)


def _association(scores: Scores, rise: Any) -> Verdict:
    """On the claim that the gain falls, of a row of `_rises_over_images`."""
    name, reference = estimates.names_of(scores, rise)
    sentence = (
        f"From the 10th to the 90th percentile of boundary density, the gain of {name} over {reference} in the mIoU "
        f"of a test image of {scores.label(rise.dataset)} changes by {told(rise)}{holm_of(rise.p_holm)}; "
        f"{estimates.images_told(rise.images, rise.groups)} and the seeds are crossed. This is an association, not "
        "causal."
    )
    return Verdict(
        rise.dataset, rise.model, f"{name}{SINGLE}", opposite(rise.word), estimates.ended(sentence, rise.why)
    )
