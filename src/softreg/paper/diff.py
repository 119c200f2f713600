"""Two versions of one study: what was asked differently, and which test scores changed, with intervals.

From the gathered scores of both alone. Where both have a seed in common, and the data are the same, they are compared
network by network and image by image, so that what they share cancels out; else as independent samples of seeds.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from scipy.stats import ttest_ind

from softreg.errors import UserError
from softreg.paper.questions import gain
from softreg.paper.questions.estimates import images_told, rows_of
from softreg.paper.scores import Counts, Scores
from softreg.scoring.select import GROUP

_IDLE = ("name", "title", "resources", "mirrors", "figures")
"""What says where and how fast a study runs or how it is shown, not what it is."""

COLUMNS = [*GROUP, "lambda_a", "lambda_b", "a", "b", "difference", "low", "high", "pairing"]
HEAD = ["Data set", "Model", "Penalty", "λ̂ A", "λ̂ B", "Test mIoU A", "B", "B − A [95 % CI]", "Compared", "Change"]
NOTE = (
    "Points of mIoU (0 to 100), means over the evaluation seeds. Paired intervals are over images, or groups of them, "
    "× seeds, crossed; unpaired ones are Welch's over seeds, with the test images held fixed."
)
SAME = "the same networks"


def open_scores(folder: Path) -> Scores:
    """The scores in a study's results, or in the folder ``scores`` itself. Raises UserError where there are none."""
    inner = folder / "scores"
    if not folder.is_dir():
        raise UserError(f"{folder}: no such folder; give the results of a study, or its folder of scores")
    return Scores(inner if inner.is_dir() else folder)


def diff(a: Path, b: Path) -> str:
    """What changed from the study in folder ``a`` to that in ``b``, as Markdown."""
    sides = open_scores(a), open_scores(b)
    parts = [f"# {sides[1].study['name']}: {b} against {a}"]
    parts += [part(*sides) for part in (_asked, _data, _cells, _table)]
    return "\n\n".join(filter(None, parts)) + "\n"


def differences(a: Scores, b: Scores) -> pd.DataFrame:
    """A row for each dataset, model and penalty that has test scores in both: columns `COLUMNS`.

    Test mIoU of both versions in points, and B less A with its 95 % interval; ``pairing`` says how they were compared.
    """
    rows = []
    for dataset, model in dict.fromkeys((d, m) for d, m, _ in a.groups):
        counts = a.test_counts(dataset, model), b.test_counts(dataset, model)
        for penalty in counts[0]:
            if penalty in counts[1]:
                group = (dataset, model, penalty)
                chosen = ["".join(_of(side.selection, group)["lambda"].head(1)) for side in (a, b)]
                rows.append((*group, *chosen, *_compared(a, b, group, counts[0][penalty], counts[1][penalty])))
    return pd.DataFrame(rows, columns=COLUMNS)


def _compared(a: Scores, b: Scores, group: tuple[str, str, str], first: Counts, second: Counts) -> tuple[Any, ...]:
    """The columns of `differences` from ``a`` on."""
    scores = [100 * _of(side.final_test, group)["miou"] for side in (a, b)]
    means = [float(each.mean()) for each in scores]
    ended = [_of(side.finished("final"), group) for side in (a, b)]
    networks = [each.set_index(["seed", "fold"])["weights_sha256"].to_dict() for each in ended]
    same_data = _digest(a, group[0]) == _digest(b, group[0])
    if networks[0] == networks[1] and same_data:
        return *means, *[means[1] - means[0]] * 3, SAME
    if len({*first.seeds} & {*second.seeds}) > 1 and same_data and first.images == second.images:
        sample = gain.resample(b, group[0], {"a": first, "b": second})
        found = sample.estimate("b", "a").interval()
        images = images_told(sample.images, sample.counts[0].shape[2])
        return *means, found.mean, found.low, found.high, f"paired by {found.n} seeds and {images}"
    return *means, *_welch(*scores), f"unpaired, {len(scores[0])} and {len(scores[1])} seeds"


def _welch(a: pd.Series[float], b: pd.Series[float]) -> tuple[float, float, float]:
    """Mean difference and its 95 % interval of independent samples (Welch 1947); nan ends where either has one seed."""
    difference = float(b.mean() - a.mean())
    if min(len(a), len(b)) < 2:
        return difference, float("nan"), float("nan")
    interval = ttest_ind(b.to_numpy(), a.to_numpy(), equal_var=False).confidence_interval(0.95)
    return difference, float(interval.low), float(interval.high)


def _of(frame: pd.DataFrame, group: tuple[str, str, str]) -> pd.DataFrame:
    return frame[(frame[GROUP] == list(group)).all(axis=1)]


def _digest(scores: Scores, dataset: str) -> str:
    return str(scores.datasets.get(dataset, {}).get("content_digest"))


def _asked(a: Scores, b: Scores) -> str:
    """The options of the study that differ, one a line."""
    asked = [{key: each.study[key] for key in each.study if key not in _IDLE} for each in (a, b)]
    one, other = (pd.json_normalize(options).iloc[0].to_dict() for options in asked)
    lines = [
        f"- {name}: {one.get(name, 'not there')} → {other.get(name, 'not there')}"
        for name in one | other
        if one.get(name) != other.get(name)
    ]
    return "\n".join(["What the studies ask differently:\n", *lines]) if lines else "The studies ask for the same."


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
    lines = [HEAD, ["---"] * len(HEAD), *map(_row, rows_of(differences(a, b)))]
    if len(lines) == 2:
        return "No data set, model and penalty has test scores in both."
    return "\n".join(f"| {' | '.join(line)} |" for line in lines) + f"\n\n{NOTE}"


def _row(row: Any) -> list[str]:
    interval = f"{row.difference:+.2f}"
    if not np.isnan(row.low):
        interval += f" [{row.low:+.2f}, {row.high:+.2f}]"
    lambdas = [strength or "–" for strength in (row.lambda_a, row.lambda_b)]
    names = [row.dataset, row.model, row.penalty, *lambdas]
    return [*names, f"{row.a:.2f}", f"{row.b:.2f}", interval, row.pairing, _word(row)]


def _word(row: Any) -> str:
    if row.pairing == SAME:
        return "none"
    if np.isnan(row.low):
        return "not known: one seed, or images of one subject"
    if row.low > 0:
        return "higher"
    return "lower" if row.high < 0 else "no difference shown"
