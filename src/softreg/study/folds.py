"""Outer folds: a data set of which each image is a test image once, as one data set for each fold. Imports no torch.

A study that gives ``evaluation.folds`` is read as one with the data sets wbc-fold0, wbc-fold1, … in the place of wbc.
So each fold has data, a sweep, a λ̂ and a final of its own, and nothing before `softreg.scoring.gather` knows more of
folds than a data set's split. What is gathered is of wbc again, each network with its fold.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

Entries = dict[str, dict[str, Any]]
#: Rules of a split that say how images, or groups of them, are drawn.
DRAWN = ("fraction", "group", "blocks")


def name_of(dataset: str, fold: int) -> str:
    """What the data set of one fold is called."""
    return f"{dataset}-fold{fold}"


def one_each(folds: int | None, name: str, entry: dict[str, Any]) -> Entries:
    """A data set (its entry as written) as one for each fold; one that states its fold stays as it is."""
    split = entry.get("split") or {}
    if folds is None or not isinstance(split, dict) or split.get("fold") is not None:
        return {name: entry}
    return {
        name_of(name, fold): {"kind": name, **entry, "split": {**split, "fold": [fold, folds]}} for fold in range(folds)
    }


def place_of(datasets: Mapping[str, Mapping[str, Any]], name: str) -> tuple[str, int]:
    """The data set that entry ``name`` of a study is a fold of, and which; itself and -1 where it is none."""
    fold = datasets[name]["split"]["fold"]
    if fold is None or not name.endswith(suffix := name_of("", fold[0])):
        return name, -1
    return name.removesuffix(suffix), fold[0]


def joined(datasets: Entries) -> Entries:
    """The data sets that `one_each` has made the folds ``datasets`` of."""
    entries: Entries = {}
    for name, entry in datasets.items():
        base, fold = place_of(datasets, name)
        split = entry["split"] if fold < 0 else {**entry["split"], "fold": None}
        entries.setdefault(base, {**entry, "split": split})
    return entries
