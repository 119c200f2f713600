"""Whether networks have learnt anything: their test mIoU against that of predicting one class everywhere.

Which class is the best one, and what it scores, follows from the true pixels of each class, TP + FN, that score records
hold. For grey images there is a stricter rival: a table that gives each grey level the class that most of its training
pixels are of.
"""

from __future__ import annotations

import math
from collections.abc import Iterable
from dataclasses import replace
from functools import lru_cache
from itertools import product
from typing import Any

import numpy as np
import pandas as pd
import pyarrow.compute as pc

from softreg.paper import stats
from softreg.paper.questions.answer import AS_LOOKUP, NOT_LEARNT, Judgement
from softreg.paper.scores import Counts, Scores
from softreg.scoring import metrics, records
from softreg.scoring.select import GROUP
from softreg.study.matrix import Group

ONE_CLASS = "one class"
LOOKUP = "grey levels"
RIVALS = (ONE_CLASS, LOOKUP)
"""What the constant prediction, and the look-up table, are called in the place of a penalty; no entry of a study can
have such a name."""

CONSTANT = [*GROUP, "class", "constant", "lookup", "rival", "miou", "gain", "low", "high", "learnt"]


def constant_counts(counts: Counts) -> tuple[int, Counts]:
    """The best single class on these images, and the counts of predicting it for every pixel, for the same seeds.

    With T_c true pixels of class c, class k scores T_k / ΣT where it is true and 0 for the other classes that occur,
    so the class with the most pixels is the best.
    """
    hits, _, missed = counts.table
    truth = hits + missed
    best = int(truth[0].sum(axis=0).argmax())
    tp, fp, fn = table = np.stack([np.zeros_like(truth), np.zeros_like(truth), truth])
    tp[..., best], fn[..., best] = truth[..., best], 0
    fp[..., best] = truth.sum(-1) - truth[..., best]
    return best, replace(counts, table=table)


@lru_cache(maxsize=1)
def table(scores: Scores) -> pd.DataFrame:
    """A row for each data set, model and penalty with test scores of the final: columns `CONSTANT`.

    ``class`` is the best single class and ``constant`` its test mIoU, ``lookup`` that of a table of grey levels (nan
    where images have colours); ``rival`` names the better one. ``miou`` is the entry's, ``gain`` the difference to that
    rival, with its 95 % interval over seeds and images, or outer folds, crossed; in points. ``learnt`` is
    false where the interval is not above 0, or without one the gain itself. Made once for each `Scores`.
    """
    rows = []
    for dataset, model in product(scores.study["datasets"], scores.study["models"]):
        for penalty, counts in scores.test_counts(dataset, model).items():
            rows.append(_row(scores, (dataset, model, penalty), counts))
    return pd.DataFrame(rows, columns=CONSTANT)


def of_entry(scores: Scores, group: Group, counts: Counts) -> Judgement | None:
    """What is said of a network that has not learnt, of one data set, model and entry with these test ``counts``."""
    row = _row(scores, group, counts)
    return None if row["learnt"] else _judged(scores, row)


def _row(scores: Scores, group: Group, counts: Counts) -> dict[str, Any]:
    """The row of `table` on the entry with these ``counts``."""
    dataset, (best, constant) = group[0], constant_counts(counts)
    found = {ONE_CLASS: constant.table}
    if (looked_up := scores.looked_up(dataset, counts.images)) is not None:
        found[LOOKUP] = np.broadcast_to(looked_up[:, None], counts.table.shape)
    least = {name: 100 * float(metrics.miou(*each[:, 0])) for name, each in found.items()}
    rival = max(least, key=least.__getitem__)
    both = np.stack([counts.table, found[rival]], axis=1)
    units = counts.folds if scores.folds else scores.units(dataset, counts.images)
    sample = stats.crossed_jackknife(*stats.by_unit(both, units))
    gain = stats.crossed_interval(sample, 0, 1).times(100).interval()
    row = dict(zip(GROUP, group, strict=True)) | {"class": scores.datasets[dataset]["classes"][best], "rival": rival}
    row |= {"constant": least[ONE_CLASS], "lookup": least.get(LOOKUP, math.nan)}
    row |= {"miou": 100 * float(sample.scores[0].mean()), "gain": gain.mean, "low": gain.low, "high": gain.high}
    return row | {"learnt": (gain.mean if math.isnan(gain.low) else gain.low) > 0}


@lru_cache(maxsize=1)
def unlearnt(scores: Scores) -> dict[tuple[str, str, str], Judgement]:
    """Data set, model and penalty of each entry that does not beat its rival, with a sentence that says so."""
    frame = table(scores)
    rows = frame[~frame["learnt"].astype(bool)].to_dict("records")
    return {(row["dataset"], row["model"], row["penalty"]): _judged(scores, row) for row in rows}


def _judged(scores: Scores, row: dict[Any, Any]) -> Judgement:
    constant = row["rival"] == ONE_CLASS
    rival = f"predicting {row['class']} everywhere" if constant else "a table from grey level to class"
    told = f" (95 % interval of the difference {row['low']:+.2f} to {row['high']:+.2f})"
    sentence = (
        f"Not answered: on {scores.label(row['dataset'])} with {scores.label(row['model'])}, the test mIoU of "
        f"{scores.label(row['penalty'])}, {row['miou']:.2f}, is not above the "
        f"{row['constant' if constant else 'lookup']:.2f} of {rival}{'' if math.isnan(row['low']) else told}."
    )
    return Judgement(NOT_LEARNT if constant else AS_LOOKUP, sentence)


def lacking(scores: Scores, groups: Iterable[Group]) -> Judgement | None:
    """What `unlearnt` says of the first of these groups that has not learnt; None where all have."""
    return next(filter(None, map(unlearnt(scores).get, groups)), None)


def learnt_only(scores: Scores, frame: pd.DataFrame) -> pd.DataFrame:
    """The rows of ``frame``, which has the columns of a group, whose entry has learnt."""
    left_out = set(unlearnt(scores))
    kept = [key not in left_out for key in frame[GROUP].itertuples(index=False, name=None)]
    return frame[np.array(kept, dtype=bool)]


@lru_cache(maxsize=1)
def on_validation(scores: Scores) -> dict[str, float]:
    """mIoU (points) of the best single class on the validation images of the sweep, by data set."""
    table = scores.validated
    found = {}
    for dataset in scores.study["datasets"]:
        mine = table.filter(pc.field("dataset") == dataset)
        # The truth of all images is in the sums of any network; under K-fold, of all folds of any seed.
        for name in ("model", "penalty", "lambda", "seed"):
            mine = mine.filter(pc.field(name) == mine[name][0]) if len(mine) else mine
        if len(mine):
            tp, _, fn = records.counts(mine)
            truth = (tp + fn).sum(0)
            found[dataset] = 100 * float(truth.max() / truth.sum() / np.count_nonzero(truth))
    return found
