"""H7: does a penalty make networks robust to corrupted images and to wrong labels, and is their confidence right?"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import pandas as pd

from softreg.paper.questions import answer as words
from softreg.paper.questions.answer import Answer, Verdict
from softreg.paper.questions.complexity import label_noise_pairs
from softreg.paper.questions.estimates import (
    HELD,
    NO_REFERENCE,
    NOTHING_PAIRED,
    columns_of,
    counted,
    holm_of,
    in_order,
    over_seeds,
    relative,
    told,
    with_holm,
    word_of,
)
from softreg.paper.scores import Scores
from softreg.scoring.select import GROUP
from softreg.scoring.stats import Estimate

CORRUPTED, MISLABELLED = ", corruptions", ", label noise"
"""Ends of subjects."""

QUESTION = "Does the penalty make networks robust, and is their confidence right?"
ESTIMAND = (
    "What a penalty changes, relative to none: in mIoU on corrupted test images, and in what corruption costs of it; "
    "in its gain of test mIoU when training images are mislabelled; and in expected calibration error (ECE) and "
    "negative log likelihood (NLL) a pixel."
)
STATISTIC = (
    "Mean difference to no penalty, paired by evaluation seed; on corrupted images of a mean over severities and then "
    "over corruptions. The verdict is on mIoU there: who scores less on the images as they are has less to lose."
)
INTERVAL = (
    "95 % t-interval over evaluation seeds; test images are held fixed. Holm's p is over the penalties and models of "
    "one data set and measure. The region of practical equivalence is in points of mIoU, so it does not apply to "
    "calibration, where a difference counts if Holm's p is below 0.05."
)
NO_CORRUPTION = (
    "No network was tested on corrupted images: add `evaluation: {corruptions: [noise, blur, contrast, jpeg]}` to "
    "the study."
)
NO_LABEL_NOISE = (
    "The study has no two data sets of drawn scenes that differ in label noise alone: add a copy of one of "
    "`kind: shapes` with `label_noise: 0.2` to its `datasets`."
)
ALL = "all"
"""In the place of a corruption: the mean over all of them."""

PARTS = {"miou": "miou under corruption", "drop": "drop under corruption"}
"""What the numbers call the measures under corruption."""

CALIBRATION = {"ece": ("ECE", "points"), "nll": ("NLL", "nats")}
"""Measures of calibration, of which less is better, and how they are told."""
SCALE = {"ece": 100.0, "nll": 1.0}


def answer(scores: Scores) -> Answer:
    """The answer to H7; see the module."""
    frame = ("H7", QUESTION, ESTIMAND, STATISTIC, INTERVAL)
    if scores.reference is None:
        return Answer(*frame, absent=NO_REFERENCE)
    parts = [_corruptions(scores), _label_noise(scores), _calibration(scores)]
    numbers = [part.numbers for part in parts if len(part.numbers)]
    if not numbers:
        return Answer(*frame, absent=NOTHING_PAIRED)
    figures = ["robustness"] * bool(len(parts[0].numbers)) + ["reliability"] * bool(len(parts[2].numbers))
    verdicts = [verdict for part in parts for verdict in part.verdicts]
    summary = " ".join(part.summary for part in parts)
    return Answer(*frame, summary, verdicts, pd.concat(numbers, ignore_index=True), figures)


@dataclass(frozen=True)
class _Part:
    numbers: pd.DataFrame
    verdicts: list[Verdict]
    summary: str


def conditions(scores: Scores) -> pd.DataFrame:
    """Test mIoU of the final cells under each corruption, in points, beside that of the images as they are.

    Columns: dataset, model, penalty, seed, corruption, severity, miou, drop (mIoU at severity 0 less it).
    """
    final = scores.sums[(scores.sums["phase"] == "final") & (scores.sums["split"] == "test")]
    table = final[[*GROUP, "seed", "corruption", "severity"]].assign(miou=100 * final["miou"])
    plain = table[table["corruption"] == ""][[*GROUP, "seed", "miou"]]
    both = table[table["corruption"] != ""].merge(plain, on=[*GROUP, "seed"], suffixes=("", "_plain"))
    return both.assign(drop=both["miou_plain"] - both["miou"]).drop(columns="miou_plain")


def changes_by_corruption(scores: Scores) -> pd.DataFrame:
    """Relative to no penalty, in points: dataset, model, penalty, seed, corruption, miou (on corrupted images), drop.

    Means over the severities of a corruption; where ``corruption`` is `ALL`, over the corruptions too.
    """
    changes = relative(scores, conditions(scores), ["miou", "drop"])
    by = [*GROUP, "seed"]
    each = changes.groupby([*by, "corruption"], sort=False)[["miou", "drop"]].mean().reset_index()
    every = each.groupby(by, sort=False)[["miou", "drop"]].mean().reset_index().assign(corruption=ALL)
    return pd.concat([each, every], ignore_index=True)


def _corruptions(scores: Scores) -> _Part:
    changes = changes_by_corruption(scores)
    rows, over_all = [], []
    for dataset in scores.study["datasets"]:
        for model, penalty, mine in in_order(scores, changes[changes["dataset"] == dataset]):
            for corruption, values in mine.groupby("corruption", sort=False):
                found = {name: over_seeds(values[name].to_numpy()) for name in ("miou", "drop")}
                names = {"dataset": dataset, "model": model, "penalty": penalty, "quantity": str(corruption)}
                rows += [{"part": PARTS[name]} | names | columns_of(estimate) for name, estimate in found.items()]
                over_all += [found] if corruption == ALL else []
    numbers = with_holm(pd.DataFrame(rows), ["part", "dataset", "quantity"])
    if numbers.empty:
        return _Part(numbers, [], NO_CORRUPTION)
    judged = numbers[(numbers["part"] == PARTS["miou"]) & (numbers["quantity"] == ALL)].to_dict("records")
    verdicts = [_of_corruption(scores, row, **found) for row, found in zip(judged, over_all, strict=True)]
    text = "An entry's networks score more than those without a penalty on corrupted test images"
    return _Part(numbers, verdicts, f"{text}: {counted(verdicts, CORRUPTED)} contrasts.")


def _of_corruption(scores: Scores, row: Mapping[Any, Any], miou: Estimate, drop: Estimate) -> Verdict:
    name, reference = scores.label(row["penalty"]), scores.label(scores.reference_of(row["penalty"]) or "")
    p = row["p_holm"]
    sentence = (
        f"On corrupted test images (a mean over kinds and severities) the mIoU of {name} differs from that of "
        f"{reference} by {told(miou)}{holm_of(p)}; what corruption costs in mIoU by {told(drop)}. {HELD}"
    )
    return Verdict(row["dataset"], row["model"], f"{name}{CORRUPTED}", word_of(miou, scores.rope, p), sentence)


def _label_noise(scores: Scores) -> _Part:
    final = scores.final_test[[*GROUP, "seed"]].assign(gain=100 * scores.final_test["miou"])
    gains = relative(scores, final, ["gain"])
    rows, found = [], []
    for clean, noisy in label_noise_pairs(scores):
        keys = ["model", "penalty", "seed"]
        both = gains[gains["dataset"] == noisy].merge(
            gains[gains["dataset"] == clean], on=keys, suffixes=("", "_clean")
        )
        for model, penalty, mine in in_order(scores, both.assign(more=both["gain"] - both["gain_clean"])):
            estimate = over_seeds(mine["more"].to_numpy())
            names = {"part": "label noise", "dataset": noisy, "model": model, "penalty": penalty}
            rows.append(names | {"quantity": f"gain less that on {clean}"} | columns_of(estimate))
            found.append(((clean, noisy), estimate))
    numbers = with_holm(pd.DataFrame(rows), ["dataset", "quantity"])
    verdicts = [
        _of_label_noise(scores, pair, row, estimate)
        for row, (pair, estimate) in zip(numbers.to_dict("records"), found, strict=True)
    ]
    if not label_noise_pairs(scores):
        return _Part(numbers, verdicts, NO_LABEL_NOISE)
    text = "An entry gains more over no penalty where training images are mislabelled"
    return _Part(numbers, verdicts, f"{text}: {counted(verdicts, MISLABELLED)} contrasts.")


def _of_label_noise(scores: Scores, pair: tuple[str, str], row: Mapping[Any, Any], estimate: Estimate) -> Verdict:
    clean, noisy = map(scores.label, pair)
    options = [scores.study["datasets"][name]["label_noise"] for name in pair]
    name, reference = scores.label(row["penalty"]), scores.label(scores.reference_of(row["penalty"]) or "")
    sentence = (
        f"With label noise {options[1]:g} ({noisy}) in place of {options[0]:g} ({clean}), the gain of {name} over "
        f"{reference} in test mIoU changes by {told(estimate)}{holm_of(row['p_holm'])}. {HELD}"
    )
    word = word_of(estimate, scores.rope, row["p_holm"])
    return Verdict(pair[1], row["model"], f"{name}{MISLABELLED}", word, sentence)


def _calibration(scores: Scores) -> _Part:
    final = scores.final_test
    scaled = final[[*GROUP, "seed"]].assign(**{name: SCALE[name] * final[name] for name in CALIBRATION})
    changes = relative(scores, scaled, [*CALIBRATION])
    rows, estimates = [], []
    for dataset in scores.study["datasets"]:
        for model, penalty, mine in in_order(scores, changes[changes["dataset"] == dataset]):
            names = {"part": "calibration", "dataset": dataset, "model": model, "penalty": penalty}
            for measure in CALIBRATION:
                estimates.append(over_seeds(mine[measure].to_numpy()))
                rows.append(names | {"quantity": measure} | columns_of(estimates[-1]))
    numbers = with_holm(pd.DataFrame(rows), ["dataset", "quantity"])
    verdicts = [
        _of_calibration(scores, row, estimate)
        for row, estimate in zip(numbers.to_dict("records"), estimates, strict=True)
        if estimate.seeds
    ]
    if not verdicts:
        return _Part(numbers, verdicts, NOTHING_PAIRED)
    text = "An entry's networks are better calibrated than those without a penalty, by ECE or NLL"
    return _Part(numbers, verdicts, f"{text}: {counted(verdicts)} contrasts.")


def _of_calibration(scores: Scores, row: Mapping[Any, Any], estimate: Estimate) -> Verdict:
    p = row["p_holm"]
    word = words.UNDECIDED
    if p < 0.05:
        word = words.SUPPORTED if estimate.mean < 0 else words.CONTRADICTED
    label, unit = CALIBRATION[row["quantity"]]
    name, reference = scores.label(row["penalty"]), scores.label(scores.reference_of(row["penalty"]) or "")
    sentence = (
        f"Relative to {reference}, {name} changes {label} on test by {told(estimate, unit, 3)}{holm_of(p)}. {HELD}"
    )
    return Verdict(row["dataset"], row["model"], f"{label} with {name}", word, sentence)
