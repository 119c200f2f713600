"""Selection of λ̂, from the validation scores of the tuning seeds and from nothing else.

No test file is opened here: what this module reads is ``sweep/**/val.parquet``.
"""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path

import numpy as np
import pandas as pd
import pyarrow as pa
from numpy.typing import NDArray

from softreg.errors import UserError
from softreg.files import reading, write_text
from softreg.scoring import records
from softreg.scoring.means import known, mean_of, standard_error
from softreg.study import matrix
from softreg.study.cells import choice_file
from softreg.study.config import Study
from softreg.study.lambdas import Trial
from softreg.study.matrix import Group

GROUP = ["dataset", "model", "penalty"]
COLUMNS = [*GROUP, "lambda", "lr", "val_miou_points", "val_se_points", "n", "expected", "at_edge", "rule", "scorer"]


def choices(results: Path, groups: Iterable[Group]) -> pd.DataFrame:
    """The λ̂ of each of ``groups``, from their files in the study's folder ``results``; `select_group` has the columns.

    Raises UserError where one has not been chosen.
    """
    files = [choice_file(results, group) for group in groups]
    if missing := [file for file in files if not file.is_file()]:
        raise UserError(f"{missing[0]}: not there: select λ first, or ask for the partial report.")
    return pd.concat(map(read_selection, files), ignore_index=True) if files else pd.DataFrame(columns=COLUMNS)


def select_group(study: Study, results: Path, group: Group) -> pd.DataFrame:
    """Choose λ̂ for one (dataset, model, penalty), and write it to the group's file; the row as a table.

    A λ can be chosen where each of its cells has a score; where one has none (it diverged, say), λ is out. If that
    leaves no λ, those with the most tuning seeds scored stand in, and ``n`` < ``expected`` shows it. A group without
    any score gets an empty λ. Rule ``best``: the highest mean over the tuning seeds, among equals the strongest, then
    the one whose name comes last; ``one_se``: see `one_se`. Where the entry lists learning rates, all this is of pairs
    of λ and learning rate.

    Columns: dataset, model, penalty, lambda, lr (empty where there is none to choose), val_miou_points (0 to 100),
    val_se_points, n and expected (cells with a score at λ̂, and cells it should have), at_edge (λ̂ is an end of its grid,
    other than 0: extend the grid), rule, scorer.
    Raises `UserError` where the scores of a path are not there.
    """
    table = records.read(_validation_files(study, results, group), schema=records.SUMS)
    frame = pd.DataFrame([_row(study, group, table)], columns=COLUMNS)
    file = choice_file(results, group)
    write_text(file, frame.to_csv(index=False, lineterminator="\n"))
    return read_selection(file)


def folds_of(selection: dict[str, object]) -> int:
    """How many cells score one λ and one seed, for a study's ``selection``: its folds, or one hold-out."""
    return int(str(selection["folds"])) if selection["scorer"] == "kfold" else 1


def read_selection(path: Path) -> pd.DataFrame:
    """A ``selection.csv``, λ as strings, an empty λ where none could be chosen."""
    text = {**dict.fromkeys(GROUP, str), "lambda": str, "lr": str}
    with reading(path, "a selection"):
        empty = {"val_miou_points": [""], "val_se_points": [""]}
        frame = pd.read_csv(path, dtype=text, keep_default_na=False, na_values=empty)
        # A file of an earlier version lacks one of these.
        return frame.astype({**dict.fromkeys(empty, float), "lr": str})


def by_seed(table: pa.Table, folds: int) -> pd.DataFrame:
    """Validation measures of each tuning seed at each λ, or trial, from the sums of the sweep.

    A seed's score is of its counts summed over all folds; a seed that lacks a fold, and would be of other images, has
    none. Columns: those of `records.of_sums`.
    """
    cells = table.select([*records.CELL]).group_by([*records.CELL]).aggregate([]).to_pandas()
    keys = [*GROUP, "lambda", "seed"]
    complete = cells.groupby(keys).size().rename("folds").reset_index().query("folds == @folds")
    return records.of_sums(table, keys).merge(complete[keys], on=keys)


def curve(table: pa.Table, folds: int) -> pd.DataFrame:
    """Mean validation mIoU of each λ, or trial, over the tuning seeds, of the scores of `by_seed`.

    Columns: dataset, model, penalty, lambda, val_miou, val_se (standard error over seeds), seeds (that have a score).
    """
    grouped = by_seed(table, folds).groupby([*GROUP, "lambda"])["miou"]
    return grouped.agg(val_miou="mean", val_se=standard_error, seeds="size").reset_index()


def choose(curves: pd.DataFrame, cells: pd.DataFrame, rule: str) -> pd.Series[float]:
    """The row of ``curves`` (one group's rows, one a λ) that ``rule`` chooses; see `select_group`.

    ``cells`` are the columns lambda, seed, fold and miou of single networks, which ``one_se`` goes by.
    """
    candidates = curves[curves["seeds"] == curves["seeds"].max()]
    strength = candidates["lambda"].map(lambda name: float(Trial.named(name).lambda_))
    candidates = candidates.assign(strength=strength).sort_values(["strength", "val_miou", "lambda"])
    place = int(np.flatnonzero(candidates["val_miou"] == candidates["val_miou"].max())[-1])
    if rule == "one_se":
        wide = cells.pivot(index="lambda", columns=["seed", "fold"], values="miou")
        place = one_se(wide.reindex(candidates["lambda"]).to_numpy(), place)
    row: pd.Series[float] = candidates.drop(columns="strength").iloc[place]
    return row


def one_se(scores: NDArray[np.float64], best: int) -> int:
    """Position of the strongest λ that is worse than the best, at position ``best``, by one standard error at most.

    ``scores`` (L, n) are those of L values of λ, from weak to strong, and of n networks (seed × fold), nan where there
    is none. The difference to the best is taken network by network, so that what a seed or a fold does to both cancels,
    and its standard error is s/√n. Of one network there is none, and the best stays.
    """
    differences = [known(scores[best] - each) for each in scores]
    within = [place for place, gap in enumerate(differences) if mean_of(gap) <= standard_error(gap)]
    return max([best, *within])


def _validation_files(study: Study, results: Path, group: Group) -> list[Path]:
    files = [results / "sweep" / path.name / "val.parquet" for path in matrix.sweep_paths(study, group)]
    missing = [file for file in files if not file.exists()]
    if missing:
        raise UserError(
            f"{missing[0]}: not there ({len(missing)} of {len(files)} paths of the sweep have no "
            "validation scores): finish the sweep before selecting λ."
        )
    return files


def _row(study: Study, group: Group, table: pa.Table) -> dict[str, object]:
    grid = study.penalties[group[2]]["lambda"]
    folds = folds_of(study.selection)
    curves = curve(table, folds)
    row: dict[str, object] = dict(zip(GROUP, group, strict=True))
    row |= {"lambda": "", "lr": "", "n": 0, "expected": folds * len(study.seeds["tuning"]), "at_edge": False}
    row |= {"rule": study.selection["rule"], "scorer": study.selection["scorer"]}
    if len(curves):
        cells = records.of_sums(table, ["lambda", "seed", "fold"])
        chosen = choose(curves, cells, study.selection["rule"])
        trial = Trial.named(str(chosen["lambda"]))
        row |= {"lambda": trial.lambda_, "lr": trial.lr}
        row |= {f"{name}_points": 100 * chosen[name] for name in ("val_miou", "val_se")}
        row |= {"n": folds * int(chosen["seeds"]), "at_edge": _at_edge(trial.lambda_, grid)}
    return row


def _at_edge(chosen: str, grid: list[str]) -> bool:
    """Whether a better λ may lie beyond the grid; below 0 there is none."""
    ends = {grid[0], grid[-1]} - {"0"}
    return len(grid) > 1 and chosen in ends
