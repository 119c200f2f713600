"""Which trials a path trains: in the sweep all, or what a race has left of them; in the final λ̂.

A race (``selection: {search: halving}``) is run by the tuning seeds in their order. The first trains all trials of an
entry, each next the better half of those that are left, by their mean validation mIoU over the seeds so far. That is
successive halving (Jamieson and Talwalkar, 2016) with seeds for its budget. No test file is opened here.
"""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from softreg.study import matrix
from softreg.study.cells import chosen_trials, path_folder
from softreg.study.config import Study
from softreg.study.lambdas import Trial, trials_left, trials_of
from softreg.study.matrix import TrainingPath

if TYPE_CHECKING:
    import pandas as pd


def lambdas_of(study: Study, path: TrainingPath, results: Path) -> list[str]:
    """The trials of a path by name; in the final none where no cell of the sweep has finished.

    In a race, the paths of the seeds before it must have been scored. Raises UserError where λ̂ has not been selected.
    """
    if path.phase == "final":
        return chosen_trials(path.group, results)
    trials = [trial.name for trial in trials_of(study.penalties[path.penalty])]
    before = matrix.raced_before(study, path)
    return _raced(study, trials, before, results) if before else trials


def _raced(study: Study, trials: list[str], before: list[TrainingPath], results: Path) -> list[str]:
    """Those of ``trials`` that the paths ``before`` have left, in their order."""
    # They load what few commands need.
    from softreg.scoring import records, select

    files = [path_folder(results, path) / "val.parquet" for path in before]
    curve = select.curve(records.read(files, schema=records.SUMS), select.folds_of(study.selection))
    seeds = len({path.seed for path in before})
    left = best_half(curve, seeds, trials_left(len(trials), seeds))
    return [trial for trial in trials if trial in left]


def best_half(curve: pd.DataFrame, seeds: int, most: int) -> list[str]:
    """The best trials after so many seeds, ``most`` of them at most, from the best on.

    ``curve`` has the columns lambda, val_miou and seeds of `softreg.scoring.select.curve`. A trial that lacks the score
    of a seed has been dropped, has diverged or has failed, and is out. Among equals the strongest λ goes on, then the
    one whose name comes last, as in `softreg.scoring.select.choose`.
    """
    whole = curve[curve["seeds"] == seeds]
    strength = [float(Trial.named(name).lambda_) for name in whole["lambda"]]
    ranked = sorted(zip(whole["val_miou"], strength, whole["lambda"], strict=True), reverse=True)
    return [name for *_, name in ranked[:most]]
