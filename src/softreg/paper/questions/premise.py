"""Whether networks have learnt anything: their test mIoU against that of predicting one class everywhere.

Which class is the best one, and what it scores, follows from the true pixels of each class, TP + FN, that score records
hold. A look-up table of grey levels would be the stricter rival of grey-level images, but records hold no images.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import replace
from functools import lru_cache
from itertools import product
from typing import Any

import numpy as np
import pandas as pd
import pyarrow.compute as pc
from numpy.typing import NDArray

from softreg.paper.scores import Counts, Scores
from softreg.scoring import records, stats
from softreg.scoring.select import GROUP

ONE_CLASS = "one class"
"""What the constant prediction is called in the place of a penalty; no entry of a study can have such a name."""

CONSTANT = [*GROUP, "class", "constant", "miou", "gain", "low", "high", "learnt"]


def constant_counts(counts: Counts) -> tuple[int, Counts]:
    """The best single class on these images, and the counts of predicting it for every pixel, for the same seeds.

    With T_c true pixels of class c, class k scores T_k / ΣT where it is true and 0 for the other classes that occur,
    so the class with the most pixels is the best.
    """
    truth = counts.tp + counts.fn
    best = int(truth[0].sum(axis=0).argmax())
    tp, fp, fn = np.zeros_like(truth), np.zeros_like(truth), truth.copy()
    tp[..., best], fn[..., best] = truth[..., best], 0
    fp[..., best] = truth.sum(-1) - truth[..., best]
    return best, replace(counts, tp=tp, fp=fp, fn=fn)


@lru_cache(maxsize=1)
def table(scores: Scores) -> pd.DataFrame:
    """A row for each data set, model and penalty with test scores of the final: columns `CONSTANT`.

    ``class`` is the best single class and ``constant`` its test mIoU; ``miou`` the entry's; ``gain`` the difference,
    with its 95 % interval over seeds and images, crossed, or over outer folds; in points. ``learnt`` is false where the
    interval is not above 0; without an interval it is true. Made once for each `Scores`.
    """
    rows = []
    for dataset, model in product(scores.study["datasets"], scores.study["models"]):
        names = scores.datasets.get(dataset, {}).get("classes", [])
        for penalty, counts in scores.test_counts(dataset, model).items():
            best, constant = constant_counts(counts)
            both = np.stack([np.stack(parts) for parts in zip(_parts(counts), _parts(constant), strict=True)])
            if scores.folds:
                sample = stats.fold_jackknife(both, counts.folds)
            else:
                units = scores.units(dataset, counts.images)
                sample = stats.crossed_jackknife(*stats.by_unit(both, units))
            found = stats.crossed_interval(sample, 0, 1).interval()
            score, least = (100 * float(each.mean()) for each in sample.scores)
            ends = {"gain": 100 * found.mean, "low": 100 * found.low, "high": 100 * found.high}
            row = {"dataset": dataset, "model": model, "penalty": penalty, "class": names[best]}
            rows.append(row | {"constant": least, "miou": score} | ends | {"learnt": not found.low <= 0})
    return pd.DataFrame(rows, columns=CONSTANT)


def _parts(counts: Counts) -> tuple[NDArray[np.int64], ...]:
    return counts.tp, counts.fp, counts.fn


@lru_cache(maxsize=1)
def unlearnt(scores: Scores) -> dict[tuple[str, str, str], str]:
    """Data set, model and penalty of each entry that does not beat one class, with a sentence that says so."""
    frame = table(scores)
    rows = frame[~frame["learnt"].astype(bool)].to_dict("records")
    return {(row["dataset"], row["model"], row["penalty"]): _sentence(scores, row) for row in rows}


def _sentence(scores: Scores, row: dict[Any, Any]) -> str:
    return (
        f"Not answered: on {scores.label(row['dataset'])} with {scores.label(row['model'])}, the test mIoU of "
        f"{scores.label(row['penalty'])}, {row['miou']:.2f}, is not above the {row['constant']:.2f} of predicting "
        f"{row['class']} everywhere (95 % interval of the difference {row['low']:+.2f} to {row['high']:+.2f})."
    )


def lacking(scores: Scores, datasets: Iterable[str], model: str, penalties: Iterable[str]) -> str:
    """The sentence on the first of these entries that has not learnt; empty where all have."""
    found = unlearnt(scores)
    sentences = (found.get((dataset, model, penalty), "") for dataset, penalty in product(datasets, penalties))
    return next(filter(None, sentences), "")


def learnt_only(scores: Scores, frame: pd.DataFrame) -> pd.DataFrame:
    """The rows of ``frame``, which has the columns of a group, whose entry has learnt."""
    left_out = set(unlearnt(scores))
    kept = [key not in left_out for key in frame[GROUP].itertuples(index=False, name=None)]
    return frame[np.array(kept, dtype=bool)]


@lru_cache(maxsize=1)
def on_validation(scores: Scores) -> dict[str, float]:
    """mIoU (points) of the best single class on the validation images of the sweep, by data set."""
    table = records.read([scores.folder / "sweep-val.parquet"], columns=[*records.CELL, "tp", "fp", "fn"])
    found = {}
    for dataset in scores.study["datasets"]:
        mine = table.filter(pc.field("dataset") == dataset)
        # The truth of all images is in the records of any network; under K-fold, of all folds of any seed.
        for name in ("model", "penalty", "lambda", "seed"):
            mine = mine.filter(pc.field(name) == mine[name][0]) if len(mine) else mine
        if len(mine):
            tp, _, fn = records.counts(mine)
            truth = (tp + fn).sum(0)
            found[dataset] = 100 * float(truth.max() / truth.sum() / np.count_nonzero(truth))
    return found
