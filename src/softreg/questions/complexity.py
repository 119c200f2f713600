"""H4: does a penalty overfit on complex scenes?

Drawn scenes answer it causally, as only the drawing differs between their data sets. Elsewhere the test images of one
data set are compared with each other, where complexity may stand for much else.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import lru_cache

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from softreg import metrics, stats
from softreg.questions import answer as words
from softreg.questions.answer import Answer, Verdict
from softreg.scores import Counts, Scores
from softreg.select import GROUP
from softreg.stats import Crossed, Estimate

Floats = NDArray[np.float64]

DRAWING = frozenset({"objects", "overlap", "texture", "noise", "label_noise", "seed"})
"""Options of drawn scenes by which data sets may differ and still be compared for their complexity."""

BINS = 5
"""Bins of equally many images in which the gain is shown."""

RESAMPLES = 2000
"""Enough for a standard error, which is all that is taken from them."""

ESTIMAND = (
    "By how much a penalty changes the gap between training and test mIoU, relative to no penalty, from the least to "
    "the most complex drawn scenes; and, without a causal reading, how its gain in the mIoU of a test image goes with "
    "that image's boundary density and number of classes."
)
STATISTIC = (
    "Drawn scenes: the least-squares slope of the paired change over the mean boundary density of the test masks, "
    "within each seed, times the range of densities. Images: the least-squares slope of the gain (a mean over seeds) "
    "over the images, times the distance between the 10th and 90th percentile."
)
INTERVAL = (
    "Drawn scenes: 95 % t-interval over evaluation seeds, test images held fixed. Images: 95 % interval over "
    f"evaluation seeds and test images, crossed, from {RESAMPLES} resamples of the images. Holm's p is over the "
    "penalties and models of one comparison."
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


NO_REFERENCE = "The study has no unpenalised entry to compare with: add `none:` to its `penalties`."
NOTHING_PAIRED = "No evaluation seed has a test score both with and without a penalty yet: finish the study's final."
ONE_SET = (
    "The study has no two data sets of drawn scenes that differ in complexity alone: add two of `kind: shapes` with "
    "other `objects` to its `datasets`."
)


HELD = "Seeds were resampled, by t; test images are held fixed."


@dataclass(frozen=True)
class _Part:
    numbers: pd.DataFrame
    verdicts: list[Verdict]


# Shared by questions: differences to the reference, estimates and how they are told.


def relative(scores: Scores, frame: pd.DataFrame, measures: Sequence[str]) -> pd.DataFrame:
    """``frame`` with each of ``measures`` less that of the unpenalised entry of the same update rule.

    Rows are paired by all other columns but ``lambda``, which is dropped, such as dataset, model and seed. A row
    without a partner is left out.
    """
    frame = frame.drop(columns="lambda", errors="ignore")
    references = {name: scores.reference_of(name) for name in scores.study["penalties"]}
    treated = frame.assign(reference=frame["penalty"].map(references))
    treated = treated[treated["reference"].notna() & (treated["reference"] != treated["penalty"])]
    keys = [name for name in treated.columns if name not in {*measures, "penalty"}]
    both = treated.merge(frame.rename(columns={"penalty": "reference"}), on=keys, suffixes=("", "_reference"))
    differences = {name: both[name] - both[f"{name}_reference"] for name in measures}
    return both.assign(**differences)[frame.columns].reset_index(drop=True)


def over_seeds(values: Sequence[float] | Floats, images: int = 0) -> Estimate:
    """Mean of independent values, one a seed, (S,), with s/√S and S − 1 degrees of freedom; nan is left out."""
    given = np.asarray(values, dtype=np.float64)
    sample = given[~np.isnan(given)]
    mean = float(sample.mean()) if len(sample) else float("nan")
    return Estimate(mean, stats.standard_error(sample), len(sample) - 1, len(sample), images)


def crossed_mean(values: Floats) -> Estimate:
    """Mean of ``values`` (S, N) over seeds and N items, such as images, both drawn from a population.

    See `softreg.stats.crossed_interval`. With one item it is the estimate over seeds alone.
    """
    items = values.shape[1]
    if items == 1:
        return over_seeds(values[:, 0], 1)
    return _crossed(values.mean(1), values @ resampled(items).T / items, items)


@lru_cache(maxsize=4)
def resampled(items: int) -> Floats:
    """How often each of `RESAMPLES` resamples takes each item: (B, N), always the same for the same N."""
    random = np.random.default_rng(0)
    weights: Floats = random.multinomial(items, np.full(items, 1 / items), size=RESAMPLES).astype(np.float64)
    weights.setflags(write=False)
    return weights


def _crossed(by_seed: Floats, resamples: Floats, items: int) -> Estimate:
    """From a statistic of each seed, (S,), and that on resampled items, (S, B)."""
    crossed = Crossed(by_seed[None], resamples[None], np.ones((resamples.shape[1], len(by_seed))), items)
    return stats.crossed_interval(crossed, 0)


def word_of(estimate: Estimate, rope: float) -> str:
    """The verdict on "it is above 0"; see `softreg.stats.verdict`."""
    wide, narrow = estimate.interval(0.95), estimate.interval(0.90)
    return stats.verdict(wide.low, wide.high, narrow.low, narrow.high, rope)


def number(value: float, digits: int = 2) -> str:
    """A signed number in prose."""
    return f"{round(value, digits) + 0.0:+.{digits}f}".replace("-", "−")


def told(estimate: Estimate, unit: str = "points", digits: int = 2) -> str:
    """An estimate with its interval and n, such as ``+0.40 points (95 % interval +0.10 to +0.70, 10 seeds)``."""
    text, interval = f"{number(estimate.mean, digits)} {unit}", estimate.interval()
    seeds = f"{estimate.seeds} seed{'s' * (estimate.seeds != 1)}"
    if np.isnan(interval.low):
        return f"{text} ({seeds}, which gives no interval)"
    return f"{text} (95 % interval {number(interval.low, digits)} to {number(interval.high, digits)}, {seeds})"


def columns_of(estimate: Estimate) -> dict[str, float]:
    """An estimate as columns of a table: mean, low and high (95 %), p, seeds."""
    interval = estimate.interval()
    columns = {"mean": estimate.mean, "low": interval.low, "high": interval.high}
    return columns | {"p": estimate.p, "seeds": estimate.seeds}


def counted(verdicts: Sequence[Verdict]) -> str:
    """How many verdicts have each word, with the penalties of the decided ones, such as ``supported in 1 (soft)``."""
    texts = []
    for word in words.WORDS:
        subjects = [verdict.subject for verdict in verdicts if verdict.word == word]
        listed = f" ({', '.join(dict.fromkeys(subjects))})" if word in (words.SUPPORTED, words.CONTRADICTED) else ""
        texts += [f"{word} in {len(subjects)}{listed}"] if subjects else []
    return f"{', '.join(texts)} of {len(verdicts)}"


def with_holm(numbers: pd.DataFrame, family: Sequence[str]) -> pd.DataFrame:
    """``numbers`` with p_holm: p adjusted among the rows that agree in the columns ``family``."""
    if numbers.empty:
        return numbers
    return numbers.assign(p_holm=numbers.groupby([*family], sort=False)["p"].transform(stats.holm))


def in_order(scores: Scores, frame: pd.DataFrame) -> Iterator[tuple[str, str, pd.DataFrame]]:
    """(model, penalty, its rows) of ``frame``, in the order to show, without those that have no row."""
    for model in scores.study["models"]:
        for penalty in scores.penalties:
            rows = frame[(frame["model"] == model) & (frame["penalty"] == penalty)]
            if len(rows):
                yield model, penalty, rows


# Drawn scenes.


def families(scores: Scores) -> list[pd.Series[float]]:
    """Data sets of drawn scenes to be compared: for each family the mean boundary density of the test masks.

    The index are names of data sets, of ascending density. The members of a family differ in `DRAWING` only, and there
    are at least two densities. Of data sets that differ in label noise alone, the one with the least is a member.
    """
    images = scores.images[scores.images["split"] == "test"]
    densities = images.groupby("dataset")["boundary_density"].mean()
    found: dict[str, dict[str, str]] = {}
    drawn = {name: entry for name, entry in scores.study["datasets"].items() if entry["kind"] == "shapes"}
    for name, entry in sorted(drawn.items(), key=lambda item: item[1]["label_noise"]):
        if name in densities.index:
            kept = {key: value for key, value in entry.items() if key not in DRAWING}
            drawing = {key: value for key, value in entry.items() if key != "label_noise"}
            found.setdefault(_frozen(kept), {}).setdefault(_frozen(drawing), name)
    compared = [densities.loc[[*members.values()]].sort_values(kind="stable") for members in found.values()]
    return [family for family in compared if family.nunique() > 1]


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
    """By how much ``measure`` rises over the range of densities of ``family``, for each seed that has all data sets.

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
            place = {"dataset": dataset, "quantity": f"change of {measure}", "boundary_density": family[dataset]}
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
    ends = f"boundary density {100 * family.iloc[0]:.1f} % to {100 * family.iloc[-1]:.1f} %"
    sentence = (
        f"From the least to the most complex scenes ({ends}), the gap between training and test mIoU with {name} "
        f"changes, relative to {reference}, by {told(gap)}{holm_of(p)}; test mIoU by {told(test)}. {HELD}"
    )
    return Verdict(", ".join(map(str, family.index)), model, name, word_of(gap, scores.rope), sentence)


def holm_of(p: float) -> str:
    """An adjusted p in prose, to follow an estimate; empty where there is none."""
    return "" if np.isnan(p) else f", Holm's p {p:.3f}"


def _causal_summary(verdicts: list[Verdict]) -> str:
    if not verdicts:
        return ONE_SET
    return (
        "On drawn scenes, that a penalty's gap between training and test mIoU, relative to no penalty, grows with "
        f"complexity is {counted(verdicts)} contrasts."
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
    slope, resamples = (_slopes(gains, covariate - covariate.mean(), w) * span for w in (np.ones((1, n)), resampled(n)))
    return _crossed(slope[:, 0], resamples, n)


def _slopes(gains: Floats, x: Floats, weights: Floats) -> Floats:
    """Least-squares slopes, (S, B), over images that are weighted by (B, N); a resample of one x only has slope 0."""
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
    rows, verdicts = [], []
    for model in scores.study["models"]:
        for penalty, gains in image_gains(scores, dataset, model).items():
            names = {"part": "images", "dataset": dataset, "model": model, "penalty": penalty}
            for covariate, values in (("boundary density", gains.density), ("classes", gains.classes)):
                estimate = rise_over_images(gains.values, values)
                rows.append(names | {"quantity": f"rise of gain with {covariate}"} | columns_of(estimate))
                if covariate == "boundary density" and not np.isnan(estimate.mean):
                    verdicts.append(_observed(scores, dataset, model, penalty, estimate))
    return _Part(with_holm(pd.DataFrame(rows), ["quantity"]), verdicts)


def _observed(scores: Scores, dataset: str, model: str, penalty: str, rise: Estimate) -> Verdict:
    fall = Estimate(-rise.mean, rise.se, rise.df, rise.seeds, rise.images)
    reference = scores.label(scores.reference_of(penalty) or "")
    name = scores.label(penalty)
    sentence = (
        f"From the 10th to the 90th percentile of boundary density, the gain of {name} over {reference} in the mIoU "
        f"of a test image of {scores.label(dataset)} changes by {told(rise)}; {rise.images} images and the seeds were "
        "resampled, crossed. This is an association, not causal."
    )
    return Verdict(dataset, model, f"{name}, single images", word_of(fall, scores.rope), sentence)


def _observed_summary(verdicts: list[Verdict]) -> str:
    if not verdicts:
        return "No data set has test images of several boundary densities, so nothing is said of single images."
    return (
        "Among the test images of each data set, that a penalty's gain is smaller where the boundary density is higher "
        f"is {counted(verdicts)} contrasts, which is an association and not causal."
    )
