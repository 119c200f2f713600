"""H4: does a penalty overfit on complex scenes?

Drawn scenes answer it causally, as only the drawing differs between their data sets. Elsewhere the test images of one
data set are compared with each other, where complexity may stand for much else.
"""

from __future__ import annotations

import json
from dataclasses import dataclass
from itertools import pairwise

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from softreg.paper.questions.answer import Answer, Verdict
from softreg.paper.questions.estimates import (
    HELD,
    NO_REFERENCE,
    NOTHING_PAIRED,
    columns_of,
    counted,
    crossed,
    crossed_mean,
    holm_of,
    in_order,
    left_out,
    over_seeds,
    relative,
    told,
    with_holm,
    word_of,
)
from softreg.paper.scores import Counts, Scores
from softreg.scoring import metrics
from softreg.scoring.select import GROUP
from softreg.scoring.stats import Estimate

Floats = NDArray[np.float64]

COMPLEXITY = ("objects", "overlap", "texture", "noise")
"""Options of drawn scenes that make them more complex, the more there is of them."""
DRAWING = frozenset({*COMPLEXITY, "label_noise", "seed"})
"""Options of drawn scenes by which data sets may differ and still be compared for their complexity."""

SINGLE = ", single images"
"""End of the subjects of what single images say."""

BINS = 5
"""Bins of equally many images in which the gain is shown."""

ESTIMAND = (
    "By how much a penalty changes the gap between training and test mIoU, relative to no penalty, from the least to "
    "the most complex drawn scenes; and, without a causal reading, how its gain in the mIoU of a test image goes with "
    "that image's boundary density and number of classes."
)
STATISTIC = (
    "Drawn scenes, ordered by the options that they are drawn with: the least-squares slope of the paired change over "
    "the levels 1, 2, …, within each seed, times the number of steps. Images: the least-squares slope of the gain (a "
    "mean over seeds) over the images, times the distance between the 10th and 90th percentile."
)
INTERVAL = (
    "Drawn scenes: 95 % t-interval over evaluation seeds, test images held fixed. Images: 95 % interval over "
    "evaluation seeds and test images, crossed: the variance between seeds and that of leaving out each image in turn "
    "(jackknife). Holm's p is over the penalties and models of one comparison."
)


def answer(scores: Scores) -> Answer:
    """The answer to H4; see the module."""
    question = "Does the penalty overfit on complex scenes?"
    frame = ("H4", question, ESTIMAND, STATISTIC, INTERVAL)
    if scores.reference is None:
        return Answer(*frame, absent=NO_REFERENCE)
    drawn = [_of_family(scores, family) for family in families(scores)]
    images = [_of_images(scores, dataset) for dataset in scores.study["datasets"]]
    numbers = [part.numbers for part in (*drawn, *images) if len(part.numbers)]
    if not numbers:
        return Answer(*frame, absent=NOTHING_PAIRED)
    causal = [verdict for part in drawn for verdict in part.verdicts]
    observed = [verdict for part in images for verdict in part.verdicts]
    figures = ["complexity"] * bool(causal) + ["complexity_images"] * bool(observed)
    summary = f"{_causal_summary(causal)} {_observed_summary(observed)}".strip()
    return Answer(*frame, summary, [*causal, *observed], pd.concat(numbers, ignore_index=True), figures)


ONE_SET = (
    "The study has no two data sets of drawn scenes of which one is more complex and that are alike otherwise: add two "
    "of `kind: shapes` with other `objects` to its `datasets`."
)


@dataclass(frozen=True)
class _Part:
    numbers: pd.DataFrame
    verdicts: list[Verdict]


# Drawn scenes.


def families(scores: Scores) -> list[pd.Series[float]]:
    """Data sets of ever more complex drawn scenes: for each family the level of each data set, 1, 2 and so on.

    The members of a family differ in `DRAWING` only, and from one to the next no option of `COMPLEXITY` falls and at
    least one rises. Where some rise and others fall no order is given, and there is no family: the boundary density of
    the masks does not tell it, for overlap hides boundaries, and masks have neither texture nor noise. Of data sets
    that are alike in these options, the one with the least label noise is a member.
    """
    found: dict[str, dict[tuple[float, ...], str]] = {}
    drawn = {name: entry for name, entry in scores.study["datasets"].items() if entry["kind"] == "shapes"}
    for name, entry in sorted(drawn.items(), key=lambda item: item[1]["label_noise"]):
        kept = {key: value for key, value in entry.items() if key not in DRAWING}
        options = tuple(float(entry[key]) for key in COMPLEXITY)
        found.setdefault(_frozen(kept), {}).setdefault(options, name)
    chains = [sorted(members.items()) for members in found.values() if len(members) > 1]
    return [
        pd.Series(range(1, len(chain) + 1), index=[name for _, name in chain], dtype=float)
        for chain in chains
        if all((np.diff([low, high], axis=0) >= 0).all() for (low, _), (high, _) in pairwise(chain))
    ]


def label_noise_pairs(scores: Scores) -> list[tuple[str, str]]:
    """(clean, noisy): data sets of drawn scenes that are alike but for their label noise; clean has the least."""
    alike: dict[str, list[str]] = {}
    drawn = {name: entry for name, entry in scores.study["datasets"].items() if entry["kind"] == "shapes"}
    for name, entry in sorted(drawn.items(), key=lambda item: item[1]["label_noise"]):
        alike.setdefault(_frozen({key: value for key, value in entry.items() if key != "label_noise"}), []).append(name)
    noise = {name: entry["label_noise"] for name, entry in drawn.items()}
    return [(first, other) for first, *rest in alike.values() for other in rest if noise[other] > noise[first]]


def _frozen(options: dict[str, object]) -> str:
    return json.dumps(options, sort_keys=True)


def fits(scores: Scores) -> pd.DataFrame:
    """dataset, model, penalty, seed, gap (training − test mIoU) and test (mIoU) of the final cells, in points."""
    final = scores.sums[(scores.sums["phase"] == "final") & (scores.sums["corruption"] == "")]
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


def _of_family(scores: Scores, family: pd.Series[float]) -> _Part:
    own = fits(scores)
    changes = relative(scores, own[own["dataset"].isin(family.index)], ["gap", "test"])
    rows, estimates = [], {}
    for model, penalty, mine in in_order(scores, changes):
        names = {"part": "drawn scenes", "model": model, "penalty": penalty}
        for (measure, dataset), estimate in _at_each(mine, family).items():
            place = {"dataset": dataset, "quantity": f"change of {measure}", "level": family[dataset]}
            rows.append(names | place | columns_of(estimate))
        for measure in ("gap", "test"):
            estimates[model, penalty, measure] = over_seeds(rises(mine, family, measure))
            place = {"dataset": ", ".join(family.index), "quantity": f"rise of {measure}"}
            rows.append(names | place | columns_of(estimates[model, penalty, measure]))
    numbers = with_holm(pd.DataFrame(rows), ["quantity"])
    if numbers.empty:
        return _Part(numbers, [])
    told_p = numbers[numbers["quantity"] == "rise of gap"].set_index(["model", "penalty"])["p_holm"]
    verdicts = [
        _verdict(scores, family, model, penalty, gap, estimates[model, penalty, "test"], told_p[model, penalty])
        for (model, penalty, measure), gap in estimates.items()
        if measure == "gap" and gap.seeds
    ]
    return _Part(numbers, verdicts)


def _at_each(changes: pd.DataFrame, family: pd.Series[float]) -> dict[tuple[str, str], Estimate]:
    """(measure, dataset) → the mean change, of one model and penalty."""
    return {
        (measure, str(dataset)): over_seeds(changes.loc[changes["dataset"] == dataset, measure].to_numpy())
        for measure in ("gap", "test")
        for dataset in family.index
        if (changes["dataset"] == dataset).any()
    }


def _verdict(
    scores: Scores, family: pd.Series[float], model: str, penalty: str, gap: Estimate, test: Estimate, p: float
) -> Verdict:
    name, reference = scores.label(penalty), scores.label(scores.reference_of(penalty) or "")
    first, *_, last = (scores.label(str(dataset)) for dataset in family.index)
    sentence = (
        f"From the least to the most complex scenes ({first} to {last}, {len(family)} levels), the gap between "
        f"training and test mIoU with {name} changes, relative to {reference}, by {told(gap)}{holm_of(p)}; test mIoU "
        f"by {told(test)}. {HELD}"
    )
    return Verdict(", ".join(map(str, family.index)), model, name, word_of(gap, scores.rope, p), sentence)


def _causal_summary(verdicts: list[Verdict]) -> str:
    if not verdicts:
        return ONE_SET
    return (
        "On drawn scenes, an entry's gap between training and test mIoU, relative to no penalty, grows with "
        f"complexity: {counted(verdicts)} contrasts."
    )


# Test images of each data set.


@dataclass(frozen=True)
class Gains:
    """The gain of a penalty on each test image, image mIoU less the reference's, in points: ``values`` (S, N).

    ``density`` and ``classes`` (N,) are those of the images' true masks.
    """

    values: Floats
    density: Floats
    classes: Floats


def image_gains(scores: Scores, dataset: str, model: str) -> dict[str, Gains]:
    """`Gains` by penalty, over the seeds that it shares with its reference, without images that have no valid pixel."""
    counts = scores.test_counts(dataset, model)
    of_image = scores.images[(scores.images["dataset"] == dataset) & (scores.images["split"] == "test")]
    of_image = of_image.set_index("image")[["boundary_density", "classes"]]
    found = {}
    for penalty in scores.penalties:
        reference = scores.reference_of(penalty)
        if penalty == reference or penalty not in counts or reference not in counts:
            continue
        seeds = sorted(set(counts[penalty].seeds) & set(counts[reference].seeds))
        gain = _image_miou(counts[penalty], seeds) - _image_miou(counts[reference], seeds)
        masks = of_image.reindex(counts[penalty].images).to_numpy(dtype=np.float64)
        kept = ~np.isnan(gain).any(0) & ~np.isnan(masks).any(1)
        if seeds and kept.any():
            found[penalty] = Gains(100 * gain[:, kept], *masks[kept].T)
    return found


def _image_miou(counts: Counts, seeds: list[int]) -> Floats:
    """The mIoU of each image on its own, (S, N), of ``seeds``."""
    rows = [counts.seeds.index(seed) for seed in seeds]
    tp, fp, fn = (part[rows][..., None, :] for part in (counts.tp, counts.fp, counts.fn))
    values: Floats = metrics.miou(tp, fp, fn)
    return values


def rise_over_images(gains: Floats, covariate: Floats) -> Estimate:
    """By how much ``gains`` (S, N) rise from the 10th to the 90th percentile of ``covariate`` (N,), by least squares.

    The estimate is crossed, over seeds and images. Where the two percentiles agree, the rise is over the whole range;
    where the covariate does not vary it is nan.
    """
    low, high = np.percentile(covariate, [10, 90])
    span = high - low or np.ptp(covariate)
    if span == 0:
        return Estimate(float("nan"), float("nan"), float("nan"), len(gains), len(covariate))
    n = len(covariate)
    slope, without = (_slopes(gains, covariate - covariate.mean(), w) * span for w in (np.ones((1, n)), left_out(n)))
    return crossed(slope[:, 0], without)


def _slopes(gains: Floats, x: Floats, weights: Floats) -> Floats:
    """Least-squares slopes, (S, B), over images that are weighted by (B, N); where x is the same everywhere it is 0."""
    n, mean = weights.sum(1), weights @ x
    above = weights @ (gains * x).T - (weights @ gains.T) * (mean / n)[:, None]
    below = weights @ x**2 - mean**2 / n
    slopes: Floats = np.divide(above.T, below, out=np.zeros_like(above.T), where=below > 1e-12 * (x @ x))
    return slopes


def binned(scores: Scores, dataset: str) -> pd.DataFrame:
    """The gain in bins of boundary density that hold equally many images, for each model and penalty.

    Columns: model, penalty, bin (from 0), boundary_density (mean in the bin), images, and those of `columns_of`,
    crossed over seeds and the images of the bin.
    """
    rows = []
    for model in scores.study["models"]:
        for penalty, gains in image_gains(scores, dataset, model).items():
            places = _bins(gains.density)
            for place in range(places.max() + 1):
                inside = places == place
                estimate = crossed_mean(gains.values[:, inside])
                names = {"model": model, "penalty": penalty, "bin": place}
                names |= {"boundary_density": float(gains.density[inside].mean()), "images": int(inside.sum())}
                rows.append(names | columns_of(estimate))
    return pd.DataFrame(rows)


def _bins(density: Floats) -> NDArray[np.int64]:
    """The bin of each image: at most `BINS`, of five images or more where there are so many."""
    edges = np.unique(np.quantile(density, np.linspace(0, 1, min(BINS, max(1, len(density) // 5)) + 1)))
    places: NDArray[np.int64] = np.searchsorted(edges[1:-1], density, side="left")
    return np.unique(places, return_inverse=True)[1]


def _of_images(scores: Scores, dataset: str) -> _Part:
    rows, rises_found = [], []
    for model in scores.study["models"]:
        for penalty, gains in image_gains(scores, dataset, model).items():
            names = {"part": "images", "dataset": dataset, "model": model, "penalty": penalty}
            for covariate, values in (("boundary density", gains.density), ("classes", gains.classes)):
                rises_found.append(rise_over_images(gains.values, values))
                rows.append(names | {"quantity": f"rise of gain with {covariate}"} | columns_of(rises_found[-1]))
    numbers = with_holm(pd.DataFrame(rows), ["quantity"])
    verdicts = [
        _observed(scores, dataset, row["model"], row["penalty"], estimate, row["p_holm"])
        for row, estimate in zip(numbers.to_dict("records"), rises_found, strict=True)
        if row["quantity"] == "rise of gain with boundary density" and not np.isnan(estimate.mean)
    ]
    return _Part(numbers, verdicts)


def _observed(scores: Scores, dataset: str, model: str, penalty: str, rise: Estimate, p: float) -> Verdict:
    fall = Estimate(-rise.mean, rise.se, rise.df, rise.seeds, rise.images)
    reference = scores.label(scores.reference_of(penalty) or "")
    name = scores.label(penalty)
    sentence = (
        f"From the 10th to the 90th percentile of boundary density, the gain of {name} over {reference} in the mIoU "
        f"of a test image of {scores.label(dataset)} changes by {told(rise)}{holm_of(p)}; {rise.images} images and the "
        "seeds are crossed. This is an association, not causal."
    )
    return Verdict(dataset, model, f"{name}{SINGLE}", word_of(fall, scores.rope, p), sentence)


def _observed_summary(verdicts: list[Verdict]) -> str:
    if not verdicts:
        return "No data set has test images of several boundary densities, so nothing is said of single images."
    return (
        "Among the test images of each data set, an entry's gain is smaller where the boundary density is higher, "
        f"which is an association and not causal: {counted(verdicts, SINGLE)} contrasts."
    )
