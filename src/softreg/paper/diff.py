"""Two versions of one study: what was asked differently, and which test scores changed, with intervals.

From the gathered scores of both alone. Where both have a seed in common, and the data are the same, they are compared
network by network and image by image, so that what they share cancels out; else as independent samples of seeds.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from scipy.stats import ttest_ind

from softreg.errors import UserError
from softreg.paper.scores import Counts, Scores
from softreg.scoring import stats
from softreg.scoring.select import GROUP

#: What says where and how fast a study runs or how it is shown, not what it is.
_IDLE = ("name", "title", "resources", "mirrors", "figures")


@dataclass(frozen=True)
class Difference:
    """Test mIoU of one group in both versions, in points, and B less A: ``pairing`` says how they were compared."""

    lambda_a: str
    lambda_b: str
    a: float
    b: float
    difference: float
    low: float
    high: float
    pairing: str


def open_scores(folder: Path) -> Scores:
    """The scores in a study's results, or in the folder ``scores`` itself. Raises UserError where there are none."""
    inner = folder / "scores"
    if not folder.is_dir():
        raise UserError(f"{folder}: no such folder; give the results of a study, or its folder of scores")
    return Scores(inner if inner.is_dir() else folder)


def diff(a: Path, b: Path) -> str:
    """What changed from the study in folder ``a`` to that in ``b``, as Markdown."""
    first, second = open_scores(a), open_scores(b)
    parts = [f"# {second.study['name']}: {b} against {a}"]
    parts.append(_asked(first, second))
    parts.append(_data(first, second))
    parts.append(_cells(first, second))
    parts.append(_table(first, second))
    return "\n\n".join(part for part in parts if part) + "\n"


def differences(a: Scores, b: Scores) -> pd.DataFrame:
    """A row for each dataset, model and penalty that has test scores in both; the fields of `Difference`."""
    rows = []
    for dataset, model in dict.fromkeys((d, m) for d, m, _ in a.groups):
        if (dataset, model) not in {(d, m) for d, m, _ in b.groups}:
            continue
        counts = a.test_counts(dataset, model), b.test_counts(dataset, model)
        same_data = _digest(a, dataset) == _digest(b, dataset)
        for penalty in counts[0]:
            if penalty in counts[1]:
                group = (dataset, model, penalty)
                compared = _compared(a, b, group, counts[0][penalty], counts[1][penalty], same_data)
                rows.append(dict(zip(GROUP, group, strict=True)) | vars(compared))
    return pd.DataFrame(rows, columns=[*GROUP, *Difference.__dataclass_fields__])


def _compared(
    a: Scores, b: Scores, group: tuple[str, str, str], first: Counts, second: Counts, same_data: bool
) -> Difference:
    chosen = _chosen(a, group), _chosen(b, group)
    means = _miou(a, group), _miou(b, group)
    told = chosen[0], chosen[1], float(means[0].mean()), float(means[1].mean())
    shared = sorted(set(first.seeds) & set(second.seeds))
    if _networks(a, group) == _networks(b, group) and same_data:
        return Difference(*told, told[3] - told[2], told[3] - told[2], told[3] - told[2], "the same networks")
    if len(shared) > 1 and same_data and first.images == second.images:
        pairs = [_of_seeds(first, shared), _of_seeds(second, shared)]
        tp, fp, fn = (np.stack(side) for side in zip(*pairs, strict=True))
        found = stats.crossed_interval(stats.crossed_jackknife(tp, fp, fn), 1, 0).interval()
        pairing = f"paired by {len(shared)} seeds and {len(first.images)} images"
        return Difference(*told, 100 * found.mean, 100 * found.low, 100 * found.high, pairing)
    return Difference(*told, *_welch(*means), f"unpaired, {len(means[0])} and {len(means[1])} seeds")


def _welch(a: pd.Series[float], b: pd.Series[float]) -> tuple[float, float, float]:
    """Mean difference and its 95 % interval of independent samples (Welch 1947); nan ends where either has one seed."""
    difference = float(b.mean() - a.mean())
    if min(len(a), len(b)) < 2:
        return difference, float("nan"), float("nan")
    interval = ttest_ind(b.to_numpy(), a.to_numpy(), equal_var=False).confidence_interval(0.95)
    return difference, float(interval.low), float(interval.high)


def _of_seeds(counts: Counts, seeds: list[int]) -> tuple[Any, Any, Any]:
    places = [counts.seeds.index(seed) for seed in seeds]
    return counts.tp[places], counts.fp[places], counts.fn[places]


def _miou(scores: Scores, group: tuple[str, str, str]) -> pd.Series[float]:
    tests = scores.final_test
    mine: pd.Series[float] = 100 * tests.loc[(tests[GROUP] == list(group)).all(axis=1), "miou"]
    return mine


def _networks(scores: Scores, group: tuple[str, str, str]) -> dict[int, str]:
    cells = scores.cells[(scores.cells["phase"] == "final") & (scores.cells["status"] == "finished")]
    mine = cells[(cells[GROUP] == list(group)).all(axis=1)]
    return dict(zip(mine["seed"], mine["weights_sha256"], strict=True))


def _chosen(scores: Scores, group: tuple[str, str, str]) -> str:
    rows = scores.selection[(scores.selection[GROUP] == list(group)).all(axis=1)]
    return str(rows["lambda"].iloc[0]) if len(rows) else ""


def _digest(scores: Scores, dataset: str) -> str:
    return str(scores.datasets.get(dataset, {}).get("content_digest"))


def _asked(a: Scores, b: Scores) -> str:
    """The options of the study that differ, one a line."""
    sides = [dict(_flat({key: each.study[key] for key in each.study if key not in _IDLE})) for each in (a, b)]
    names = dict.fromkeys([*sides[0], *sides[1]])
    changed = [name for name in names if sides[0].get(name) != sides[1].get(name)]
    if not changed:
        return "The studies ask for the same."
    lines = [f"- {name}: {_said(sides[0], name)} → {_said(sides[1], name)}" for name in changed]
    return "What the studies ask differently:\n\n" + "\n".join(lines)


def _flat(value: Mapping[str, Any], prefix: str = "") -> Iterator[tuple[str, Any]]:
    for name, inner in value.items():
        if isinstance(inner, Mapping) and inner:
            yield from _flat(inner, f"{prefix}{name}.")
        else:
            yield prefix + name, inner


def _said(side: dict[str, Any], name: str) -> str:
    return str(side[name]) if name in side else "not there"


def _data(a: Scores, b: Scores) -> str:
    both = [name for name in a.datasets if name in b.datasets]
    changed = [name for name in both if _digest(a, name) != _digest(b, name)]
    return f"The images or masks of {', '.join(changed)} changed, so nothing is paired there." if changed else ""


def _cells(a: Scores, b: Scores) -> str:
    told = []
    for scores, name in ((a, "A"), (b, "B")):
        finished = int((scores.cells["status"] == "finished").sum())
        partial = ", a partial study" if scores.provenance["partial"] else ""
        told.append(f"{name}: {finished} of {len(scores.cells)} cells finished{partial}")
    return "; ".join(told) + "."


def _table(a: Scores, b: Scores) -> str:
    frame = differences(a, b)
    if frame.empty:
        return "No data set, model and penalty has test scores in both."
    head = ["Data set", "Model", "Penalty", "λ̂ A", "λ̂ B", "Test mIoU A", "B", "B − A [95 % CI]", "Compared", "Change"]
    lines = [head, ["---"] * len(head), *(_row(row) for row in frame.to_dict("records"))]
    table = "\n".join(f"| {' | '.join(line)} |" for line in lines)
    note = (
        "Points of mIoU (0 to 100), means over the evaluation seeds. Paired intervals are over images × seeds, "
        "crossed; unpaired ones are Welch's over seeds, with the test images held fixed."
    )
    return f"{table}\n\n{note}"


def _row(row: Mapping[Any, Any]) -> list[str]:
    names = [row[name] for name in GROUP]
    scores = [f"{row['a']:.2f}", f"{row['b']:.2f}"]
    interval = f"{row['difference']:+.2f}"
    if not np.isnan(row["low"]):
        interval += f" [{row['low']:+.2f}, {row['high']:+.2f}]"
    return [*names, row["lambda_a"] or "–", row["lambda_b"] or "–", *scores, interval, row["pairing"], _word(row)]


def _word(row: Mapping[Any, Any]) -> str:
    if row["pairing"] == "the same networks":
        return "none"
    if np.isnan(row["low"]):
        return "not told: one seed"
    if row["low"] > 0:
        return "higher"
    return "lower" if row["high"] < 0 else "not told apart"
