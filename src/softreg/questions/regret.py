"""H6: what does choosing λ by hold-out, K-fold, one-SE or random search cost in test mIoU, at equal budgets?

A budget is a number of networks trained. All is computed from the sweep, whose networks are scored on validation and,
once λ̂ stands, on test: choices are replayed on the tuning seeds but one, and their networks of that one are tested.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from itertools import combinations
from math import comb
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from softreg import records, select, stats
from softreg.questions import answer as words
from softreg.questions.answer import Answer, Verdict
from softreg.questions.estimates import columns_of, crossed_mean, number, over_seeds
from softreg.scores import Scores

Floats = NDArray[np.float64]

SUBSETS = 200
"""At most so many subsets of the tuning seeds are tried: all of them where there are no more."""

GRID, ONE_SE, KFOLD = "hold-out, whole grid", "one-SE rule, whole grid", "K-fold, whole grid"
RANDOM_ONE, RANDOM_ALL = "random search, one seed", "random search, all seeds"
STRATEGIES = (GRID, ONE_SE, RANDOM_ONE, RANDOM_ALL, KFOLD)
"""In the order to show. Random search draws from the λ of the grid, without replacement."""
AT_CHOSEN = "λ̂ selected"
ALL = ("all data sets", "all models")

QUESTION = "What does the way of choosing λ cost, at equal budgets?"
ESTIMAND = (
    "Test mIoU (points) lost by choosing λ on validation scores: that of the λ whose test mIoU is best on the other "
    "tuning seeds, less that of the λ chosen, both of a network of a seed that neither choice has seen."
)
STATISTIC = (
    "Mean over the held-out seeds and over the subsets of the other seeds that a budget pays for; over the draws of "
    "random search the mean is exact. The budget is the number of networks trained. Regret may be negative, for the "
    "best λ is not known from the same scores."
)
INTERVAL = (
    "95 % interval over held-out tuning seeds and penalties of one data set and model, crossed; with one penalty over "
    "seeds alone. Test images are held fixed."
)
FEW_SEEDS = (
    "Choices of λ are replayed on some tuning seeds and tested on another: give the study at least two, "
    "`seeds: {tuning: [0, 1]}`."
)
NO_TEST = "The networks of the sweep have no test scores yet, which are made once λ̂ stands: finish the study's sweep."
ONE_LAMBDA = "No penalty has two values of λ with all their scores: give one a grid, `lambda: [1e-5, 1e-4, 1e-3]`."
NO_FOLDS = "K-fold is not compared, as λ was scored by hold-out: set `selection: {scorer: kfold}` in the study."


def answer(scores: Scores) -> Answer:
    """The answer to H6; see the module."""
    frame = ("H6", QUESTION, ESTIMAND, STATISTIC, INTERVAL)
    if len(scores.study["seeds"]["tuning"]) < 2:
        return Answer(*frame, absent=FEW_SEEDS)
    replayed = sweeps(scores)
    found = regrets(replayed)
    if found.empty:
        return Answer(*frame, absent=absence(scores))
    table, gap = means(scores, found), gaps(scores, replayed)
    verdicts = [_verdict(scores, row) for row in claims(table).to_dict("records")]
    summary = f"{_summary(scores, table)} {_gap_summary(gap)}".strip()
    if scores.study["selection"]["scorer"] != "kfold":
        summary += f" {NO_FOLDS}"
    return Answer(*frame, summary, verdicts, pd.concat([table, gap], ignore_index=True), ["regret"])


def absence(scores: Scores) -> str:
    """Why no choice can be replayed, of a study that has tuning seeds enough."""
    return ONE_LAMBDA if (scores.sums["phase"] == "sweep").any() else NO_TEST


@dataclass(frozen=True)
class Sweep:
    """One group's sweep, scores in points: ``lambdas`` (L,), ascending, each of which all ``seeds`` (S,) have.

    ``folds`` (L, S, K) is the validation mIoU of single cells, ``val`` (L, S) that of all folds together, and ``test``
    (L, S) the mean over folds. Without folds K is 1.
    """

    lambdas: tuple[str, ...]
    seeds: tuple[int, ...]
    folds: Floats
    val: Floats
    test: Floats


def sweeps(scores: Scores) -> dict[tuple[str, str, str], Sweep]:
    """The `Sweep` of each group that has two λ or more with all their scores, and two seeds or more."""
    count = select.folds_of(scores.study["selection"])
    cells = _cells(scores)
    found = {}
    for group in scores.groups:
        rows = cells[(cells[select.GROUP] == list(group)).all(axis=1)]
        wide = rows.pivot(index="lambda", columns=["seed", "fold"], values=["val", "val_all", "test"]).dropna()
        seeds = rows["seed"].nunique()
        if len(wide) > 1 and seeds > 1 and wide.shape[1] == 3 * seeds * count:
            wide = wide.iloc[np.argsort(wide.index.astype(float), kind="stable")].sort_index(axis=1)
            shape = (len(wide), seeds, count)
            val, every, test = (wide[name].to_numpy().reshape(shape) for name in ("val", "val_all", "test"))
            names = tuple(sorted(rows["seed"].unique().tolist()))
            found[group] = Sweep(tuple(map(str, wide.index)), names, val, every[:, :, 0], test.mean(2))
    return found


def _cells(scores: Scores) -> pd.DataFrame:
    """Validation and test mIoU of each cell of the sweep, in points; val_all is that of a seed's folds together."""
    keys = [*select.GROUP, "lambda", "seed"]
    every = scores.sweep_seeds.rename(columns={"miou": "val_all"})[[*keys, "val_all"]]
    sums = scores.sums[(scores.sums["phase"] == "sweep") & (scores.sums["split"] == "test")]
    both = every.merge(sums.rename(columns={"miou": "test"})[[*keys, "fold", "test"]], on=keys)
    if scores.study["selection"]["scorer"] == "kfold":
        table = records.read([scores.folder / "sweep-val.parquet"], columns=select.SCORED)
        val = records.to_cells(table, [*keys, "fold"]).rename(columns={"miou": "val"})
        both = both.merge(val[[*keys, "fold", "val"]], on=[*keys, "fold"])
    else:
        both = both.assign(val=both["val_all"])
    both[["val", "val_all", "test"]] *= 100
    return both


def regrets(replayed: dict[tuple[str, str, str], Sweep]) -> pd.DataFrame:
    """dataset, model, penalty, seed (held out), strategy, step, budget and expected regret (points)."""
    rows = [
        (*group, seed, *found)
        for group, sweep in replayed.items()
        for place, seed in enumerate(sweep.seeds)
        for found in regret_of(sweep, place)
    ]
    return pd.DataFrame(rows, columns=[*select.GROUP, "seed", "strategy", "step", "budget", "regret"])


def regret_of(sweep: Sweep, held_out: int) -> Iterator[tuple[str, int, int, float]]:
    """(strategy, step, budget, expected regret) without the seed at ``held_out``, for all that the sweep can pay.

    ``step`` is the number of seeds, and of random search the number of λ drawn. The best λ is that of the highest mean
    test score on the other seeds, as in `softreg.stats.oracle_gap`.
    """
    size, seeds, folds = sweep.folds.shape
    others = [seed for seed in range(seeds) if seed != held_out]
    test = sweep.test[:, held_out]
    best = float(test[sweep.test[:, others].mean(1).argmax()])
    for m in range(1, len(others) + 1):
        subsets = _subsets(others, m)
        single = [sweep.folds[:, subset, fold] for subset in subsets for fold in range(folds)]
        yield GRID, m, size * m, best - _expected(single, test, size)
        if m > 1:
            yield ONE_SE, m, size * m, best - float(np.mean([test[_one_se(scores)] for scores in single]))
        if folds > 1:
            whole = [sweep.val[:, subset] for subset in subsets]
            yield KFOLD, m, size * m * folds, best - _expected(whole, test, size)
        strategy = RANDOM_ONE if m == 1 else RANDOM_ALL
        if m in (1, len(others)):
            yield from ((strategy, k, k * m, best - _expected(single, test, k)) for k in range(1, size + 1))


def _subsets(others: list[int], m: int) -> list[list[int]]:
    """Subsets of ``m`` seeds: all of them, or `SUBSETS` drawn ones where there are more."""
    if comb(len(others), m) <= SUBSETS:
        return [list(subset) for subset in combinations(others, m)]
    random = np.random.default_rng(0)
    return [sorted(random.choice(others, m, replace=False).tolist()) for _ in range(SUBSETS)]


def _expected(choices: list[Floats], test: Floats, k: int) -> float:
    """Mean test score of the λ with the best mean among ``k`` of the L, drawn without replacement.

    ``choices`` are scores (L, m) to choose by, over which the mean is taken too. The λ of rank r (from 0) is chosen
    where it is drawn and those before it are not: in C(L−1−r, k−1) of the C(L, k) draws.
    """
    size = len(test)
    chances = np.array([comb(size - 1 - rank, k - 1) / comb(size, k) for rank in range(size)])
    return float(np.mean([chances @ test[_ranked(scores)] for scores in choices]))


def _ranked(scores: Floats) -> NDArray[np.int64]:
    """Positions of λ from the best mean score to the worst; the strongest first among equals, as `select` has it."""
    order: NDArray[np.int64] = np.lexsort((-np.arange(len(scores)), -scores.mean(1)))
    return order


def _one_se(scores: Floats) -> int:
    """Position of the strongest λ whose mean is at least the best mean less its standard error, (L, m) → one."""
    best = _ranked(scores)[0]
    margin = stats.standard_error(scores[best])
    return int(np.flatnonzero(scores.mean(1) >= scores[best].mean() - margin).max())


def means(scores: Scores, found: pd.DataFrame) -> pd.DataFrame:
    """Mean regret of each strategy and step, of each penalty and over penalties (``penalty`` is then empty).

    Columns: dataset, model, penalty, strategy, step, budget (a mean where grids differ in size), penalties (how many),
    and those of `columns_of`. Of one penalty the interval is over seeds, else crossed. Over penalties a step is left
    out that one of them lacks; with several data sets or models it is also told over all, under `ALL`.
    """
    places = [([dataset], [model]) for dataset in scores.study["datasets"] for model in scores.study["models"]]
    if len(places) > 1:
        places.append((list(scores.study["datasets"]), list(scores.study["models"])))
    rows = []
    for datasets, models in places:
        part = found[found["dataset"].isin(datasets) & found["model"].isin(models)]
        one = len(datasets) == len(models) == 1
        names = {"dataset": datasets[0] if one else ALL[0], "model": models[0] if one else ALL[1]}
        rows += [names | row for row in _mean_rows(part, each=one)]
    return pd.DataFrame(rows)


def _mean_rows(part: pd.DataFrame, each: bool) -> Iterator[dict[str, object]]:
    """The rows of `means` in one place; ``each``: those of single penalties too."""
    groups = len(part[select.GROUP].drop_duplicates())
    for (strategy, step), mine in part.groupby(["strategy", "step"], sort=False):
        wide = mine.pivot(index="seed", columns=select.GROUP, values="regret")
        names = {"strategy": strategy, "step": step}
        for place, penalty in enumerate(wide.columns.get_level_values("penalty") if each else ()):
            budget = float(mine.loc[mine["penalty"] == penalty, "budget"].iloc[0])
            own = names | {"penalty": penalty, "budget": budget, "penalties": 1}
            yield own | columns_of(over_seeds(wide.iloc[:, place].to_numpy()))
        if wide.shape[1] == groups:
            over = names | {"penalty": "", "budget": float(mine["budget"].mean()), "penalties": groups}
            yield over | columns_of(crossed_mean(wide.dropna().to_numpy()))


def gaps(scores: Scores, replayed: dict[tuple[str, str, str], Sweep]) -> pd.DataFrame:
    """The oracle gap at the λ̂ selected, of each group: `softreg.stats.oracle_gap` on all tuning seeds, in points."""
    chosen = scores.selection.set_index(select.GROUP)["lambda"]
    rows = []
    for group, sweep in replayed.items():
        if chosen.get(group) not in sweep.lambdas:
            continue
        gap = stats.oracle_gap(sweep.test, sweep.lambdas.index(chosen[group]))
        honest = {"mean": gap.honest.mean, "low": gap.honest.low, "high": gap.honest.high, "seeds": gap.honest.n}
        names = dict(zip(select.GROUP, group, strict=True)) | {"strategy": AT_CHOSEN, "penalties": 1}
        rows.append(names | honest | {"apparent": gap.apparent})
    return pd.DataFrame(rows)


def claims(table: pd.DataFrame) -> pd.DataFrame:
    """The rows that get a verdict: whole grids with one seed and with all but one, random search within one grid."""
    pooled = table[table["penalty"] == ""]
    kept: list[pd.DataFrame] = []
    for _, part in pooled.groupby(["dataset", "model"], sort=False):
        grid = part.loc[(part["strategy"] == GRID) & (part["step"] == 1), "budget"].min()
        for strategy in STRATEGIES:
            mine = part[part["strategy"] == strategy]
            if strategy in (RANDOM_ONE, RANDOM_ALL):
                limit = grid / 2 if strategy == RANDOM_ONE else grid
                kept.append(mine[mine["budget"] <= limit].tail(1))
            else:
                kept.append(mine[mine["step"].isin([mine["step"].min(), mine["step"].max()])])
    return pd.concat(kept)


def word_of_cost(low: float, high: float, rope: float) -> str:
    """Of the claim that a cost is below ``rope``: by the ends of its 95 % interval; undecided where they are nan."""
    if high < rope:
        return words.SUPPORTED
    return words.CONTRADICTED if low > rope else words.UNDECIDED


def _verdict(scores: Scores, row: Mapping[Any, Any]) -> Verdict:
    count, mean, low, high = (row[name] for name in ("penalties", "mean", "low", "high"))
    networks = f"{row['budget']:.0f} network{'s' * (row['budget'] > 1)}"
    ends = "" if np.isnan(low) else f"95 % interval {number(low)} to {number(high)}, "
    over = "combinations of penalty, model and data set" if row["dataset"] == ALL[0] else "penalties"
    n = f"{row['seeds']} held-out tuning seeds" + (f" and {count} {over}, crossed" if count > 1 else "")
    name = str(row["strategy"])
    sentence = (
        f"{name[0].upper()}{name[1:]}, with {networks} a choice, costs {number(mean)} points of test mIoU "
        f"({ends}{n}; test images held fixed), where {scores.rope:g} points would matter."
    )
    word = word_of_cost(low, high, scores.rope)
    return Verdict(row["dataset"], row["model"], f"{name}, {networks}", word, sentence)


def _summary(scores: Scores, table: pd.DataFrame) -> str:
    judged_rows = claims(table)
    texts = []
    for strategy in STRATEGIES:
        mine = judged_rows[(judged_rows["strategy"] == strategy) & (judged_rows["dataset"] != ALL[0])]
        if mine.empty:
            continue
        judged = [word_of_cost(low, high, scores.rope) for low, high in zip(mine["low"], mine["high"], strict=True)]
        lowest, highest = number(mine["mean"].min()), number(mine["mean"].max())
        texts.append(f"{strategy} {lowest} to {highest} points ({judged.count(words.SUPPORTED)} of {len(judged)})")
    return (
        "Mean test mIoU lost by data set, model and budget, and in how many of them it is shown to be below the "
        f"{scores.rope:g} points that matter: {'; '.join(texts)}."
    )


def _gap_summary(gap: pd.DataFrame) -> str:
    if gap.empty:
        return ""
    return (
        f"At the λ̂ selected, the best λ would have gained {number(gap['mean'].mean())} points, a mean over {len(gap)} "
        f"choices ({number(gap['apparent'].mean())} if it could be told from the same scores)."
    )
