"""H7: does a penalty make networks robust to corrupted images and to wrong labels, and is their confidence right?"""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pandas as pd

from softreg.paper import stats
from softreg.paper.questions import estimates
from softreg.paper.questions.answer import Answer, Verdict, opposite
from softreg.paper.questions.complexity import label_noise_pairs
from softreg.paper.questions.estimates import HELD, Part, counted, ended, holm_of, names_of, relative, rows_of, told
from softreg.paper.scores import Scores
from softreg.scoring.select import GROUP

CORRUPTED, MISLABELLED = ", corruptions", ", label noise"
"""Ends of subjects."""

HEAD = Answer(
    key="H7",
    question="Does a penalty make networks robust, and their confidence right?",
    claim="it is better than none there",
    estimand="What a penalty changes, relative to none: in mIoU on corrupted test images, and in what corruption costs "
    "of it; in its gain of test mIoU when training images are mislabelled; and in expected calibration error (ECE) and "
    "negative log likelihood (NLL) a pixel.",
    statistic="Mean difference to no penalty, paired by evaluation seed; on corrupted images of a mean over severities "
    "and then over corruptions. The verdict is on mIoU there: who scores less on the images as they are has less to "
    "lose.",
    interval="95 % t-interval over evaluation seeds; test images are held fixed. Holm's p is over the penalties and "
    "models of one data set and measure. Equivalence of ECE and NLL is judged only where the study declares regions "
    "for them, `statistics: {rope_ece: …, rope_nll: …}`, as the other is in points of mIoU.",
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


def answer(scores: Scores) -> Answer:
    """The answer to H7; see the module."""
    if scores.reference is None:
        return replace(HEAD, absent=estimates.NO_REFERENCE)
    return estimates.in_parts(scores, HEAD, [_corruptions(scores), _label_noise(scores), _calibration(scores)])


def conditions(scores: Scores) -> pd.DataFrame:
    """Test mIoU of the final cells under each corruption, in points, beside that of the images as they are.

    Columns: dataset, model, penalty, seed, corruption, severity, miou, drop (mIoU at severity 0 less it).
    """
    final = scores.final_sums[scores.final_sums["split"] == "test"]
    table = final[[*GROUP, "seed", "corruption", "severity"]].assign(miou=100 * final["miou"])
    plain = table[table["corruption"] == ""][[*GROUP, "seed", "miou"]]
    both = table[table["corruption"] != ""].merge(plain, on=[*GROUP, "seed"], suffixes=("", "_plain"))
    return both.assign(drop=both["miou_plain"] - both["miou"]).drop(columns="miou_plain")


def by_corruption(frame: pd.DataFrame) -> pd.DataFrame:
    """miou and drop of ``frame``, which has the columns of `conditions`, as means over the severities of a corruption.

    Where ``corruption`` is `ALL`, over the corruptions too.
    """
    by, measures = [*GROUP, "seed"], ["miou", "drop"]
    each = frame.groupby([*by, "corruption"], sort=False)[measures].mean().reset_index()
    every = each.groupby(by, sort=False)[measures].mean().reset_index().assign(corruption=ALL)
    return pd.concat([each, every], ignore_index=True)


def _long(changes: pd.DataFrame, keys: list[str], name: str) -> pd.DataFrame:
    """``changes`` with one ``value`` a row, where the column ``name`` says which of its columns but ``keys`` it is of.

    The values of one row stay together.
    """
    return changes.melt(keys, var_name=name, ignore_index=False).sort_index(kind="stable")


def _table(scores: Scores, changes: pd.DataFrame) -> pd.DataFrame:
    """The means over seeds of the ``value`` of ``changes``, for each part, data set, model, penalty and quantity.

    Columns: these, and those of `estimates.row_of` and `estimates.judged_words`; all but measures of calibration are
    judged by the region of mIoU.
    """
    names = ["part", *GROUP, "quantity"]
    rows = [
        dict(zip(names, key, strict=True)) | estimates.row_of(stats.over_seeds(values.to_numpy(), _limit(key)))
        for key, values in scores.ordered(changes).groupby(names, sort=False)["value"]
    ]
    rope = [scores.calibration_ropes.get(str(row["quantity"]), scores.rope) for row in rows]
    return estimates.judged_words(scores, pd.DataFrame(rows), ["part", "dataset", "quantity"], rope)


def _limit(names: tuple[Any, ...]) -> float:
    """The most that a difference can be, in points: of two scores 100, of two differences twice that; of nats, any."""
    part, quantity = names[0], names[-1]
    if quantity == "nll":
        return float("inf")
    return 100.0 if part == PARTS["miou"] or quantity == "ece" else 200.0


def _corruptions(scores: Scores) -> Part:
    changes = by_corruption(relative(scores, conditions(scores), ["miou", "drop"]))
    changes = changes.rename(columns=PARTS | {"corruption": "quantity"})
    numbers = _table(scores, _long(changes, [*GROUP, "seed", "quantity"], "part"))
    if numbers.empty:
        return Part(numbers, [], NO_CORRUPTION)
    over_all = numbers[numbers["quantity"] == ALL]
    both = (rows_of(over_all[over_all["part"] == part]) for part in PARTS.values())
    verdicts = [_of_corruption(scores, miou, drop) for miou, drop in zip(*both, strict=True)]
    text = "An entry's networks score more than those without a penalty on corrupted test images"
    return Part(numbers, verdicts, f"{text}: {counted(verdicts, CORRUPTED)} contrasts.", "robustness")


def _of_corruption(scores: Scores, miou: Any, drop: Any) -> Verdict:
    name, reference = names_of(scores, miou)
    sentence = (
        f"On corrupted test images (a mean over kinds and severities) the mIoU of {name} differs from that of "
        f"{reference} by {told(miou)}{holm_of(miou.p_holm)}; what corruption costs in mIoU by {told(drop)}. {HELD}"
    )
    return Verdict(miou.dataset, miou.model, f"{name}{CORRUPTED}", miou.word, ended(sentence, miou.why))


def _label_noise(scores: Scores) -> Part:
    gains = relative(scores, scores.final_test[[*GROUP, "seed"]].assign(gain=100 * scores.final_test["miou"]), ["gain"])
    numbers, verdicts = [pd.DataFrame()], []
    for clean, noisy in label_noise_pairs(scores.study["datasets"]):
        both = gains[gains["dataset"] == noisy].merge(
            gains[gains["dataset"] == clean], on=["model", "penalty", "seed"], suffixes=("", "_clean")
        )
        more = both.assign(part="label noise", quantity=f"gain less that on {clean}")
        numbers.append(_table(scores, more.assign(value=both["gain"] - both["gain_clean"])))
        verdicts += [_of_label_noise(scores, clean, noisy, row) for row in rows_of(numbers[-1])]
    text = "An entry gains more over no penalty where training images are mislabelled"
    summary = f"{text}: {counted(verdicts, MISLABELLED)} contrasts." if len(numbers) > 1 else NO_LABEL_NOISE
    return Part(pd.concat(numbers), verdicts, summary)


def _of_label_noise(scores: Scores, clean: str, noisy: str, row: Any) -> Verdict:
    name, reference = names_of(scores, row)
    less, more = (scores.study["datasets"][dataset]["label_noise"] for dataset in (clean, noisy))
    sentence = (
        f"With label noise {more:g} ({scores.label(noisy)}) in place of {less:g} ({scores.label(clean)}), the gain of "
        f"{name} over {reference} in test mIoU changes by {told(row)}{holm_of(row.p_holm)}. {HELD}"
    )
    return Verdict(noisy, row.model, f"{name}{MISLABELLED}", row.word, ended(sentence, row.why))


def calibration(scores: Scores) -> pd.DataFrame:
    """Columns dataset, model, penalty, seed, ece (points) and nll (nats) of the final on test."""
    final = scores.final_test
    return final[[*GROUP, "seed"]].assign(ece=100 * final["ece"], nll=final["nll"])


def _calibration(scores: Scores) -> Part:
    changes = relative(scores, calibration(scores), [*CALIBRATION])
    changes = _long(changes, [*GROUP, "seed"], "quantity").assign(part="calibration")
    numbers = _table(scores, changes)
    verdicts = [_of_calibration(scores, row) for row in rows_of(numbers) if row.seeds]
    text = "An entry's networks are better calibrated than those without a penalty, by ECE or NLL"
    summary = f"{text}: {counted(verdicts)} contrasts." if verdicts else estimates.nothing_paired(scores)
    return Part(numbers, verdicts, summary, "reliability")


def _of_calibration(scores: Scores, row: Any) -> Verdict:
    name, reference = names_of(scores, row)
    label, unit = CALIBRATION[row.quantity]
    change = f"{told(row, unit, 3)}{holm_of(row.p_holm)}"
    sentence = f"Relative to {reference}, {name} changes {label} on test by {change}. {HELD}"
    return Verdict(row.dataset, row.model, f"{label} with {name}", opposite(row.word), ended(sentence, row.why))
