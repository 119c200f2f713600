"""H6: what does choosing λ by hold-out, K-fold, one-SE or random search lose in test mIoU, at equal budgets?

A budget is a number of networks trained. All is computed from the sweep, whose networks are scored on validation and,
once λ̂ stands, on test: choices are replayed on the tuning seeds but one, and their networks of that one are tested.
The λ that they are held against is chosen in the same way by test scores, so is a noisy one itself: the loss to it is
no bound on the loss to the λ that is truly best.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from functools import lru_cache
from itertools import combinations, product
from math import comb
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from softreg.paper import stats
from softreg.paper.questions import answer as words
from softreg.paper.questions import estimates, premise
from softreg.paper.questions.answer import Answer, Verdict, listed
from softreg.paper.questions.estimates import number, plural, row_of, rows_of
from softreg.paper.scores import Scores
from softreg.paper.stats import Estimate, over_seeds
from softreg.scoring import select
from softreg.study.lambdas import rates_of
from softreg.study.treatment import CONTROLS

Floats = NDArray[np.float64]

ROUNDING = 1e-9
"""Points of mIoU. Means of equal scores differ by some 1e-14."""

SUBSETS = 200
"""At most so many subsets of the tuning seeds are tried: all of them where there are no more."""

GRID, ONE_SE, KFOLD = "hold-out, whole grid", "one-SE rule, whole grid", "K-fold, whole grid"
RANDOM_ONE, RANDOM_ALL = "random search, one seed", "random search, all seeds"
STRATEGIES = (GRID, ONE_SE, RANDOM_ONE, RANDOM_ALL, KFOLD)
"""In the order to show. Random search draws from the λ of the grid, without replacement."""
AT_CHOSEN = "λ̂ as selected"
ALL = ("all data sets", "all models")

CONTRASTS = ((KFOLD, GRID), (ONE_SE, GRID), (RANDOM_ALL, GRID), (RANDOM_ALL, RANDOM_ONE))
"""Strategies that are compared where they can spend the same; random search then draws less than the whole grid."""

HEAD = Answer(
    key="H6",
    question="How much does the choice of λ lose?",
    claim="what is lost is below what matters",
    estimand="Test mIoU (points) lost by choosing λ on validation scores instead of test scores: that of the λ whose "
    "test mIoU is best on the other tuning seeds, less that of the λ chosen, both of a network of a seed that neither "
    "choice has seen. The first is a choice by few seeds too, so this is no bound on what is lost to the λ that is "
    "truly best.",
    statistic="Mean over the held-out seeds and over the subsets of the other seeds that a budget pays for; over the "
    "draws of random search the mean is exact. The budget is the number of networks trained; two ways are compared, "
    "paired by held-out seed and penalty, at the largest budget that both can spend. Controls and comparators are left "
    f"out. A difference is decided from {words.FEWEST_SEEDS} tuning seeds on.",
    interval="95 % interval over held-out tuning seeds and penalties of one data set and model, crossed; with one "
    "penalty over seeds alone, whose variance is widened for the seeds that the choices share, as by a correlation of "
    "1/12 (Nadeau and Bengio 2003). Where all are equal there is none. Test images are held fixed.",
)
FEW_SEEDS = (
    "Choices of λ are replayed on some tuning seeds and tested on another: give the study at least two, "
    "`seeds: {tuning: [0, 1]}`."
)
RATES = (
    "Where an entry lists learning rates, the scores of the sweep are those at the chosen rate, by which no choice "
    "of λ can be replayed; no other entry has two values of λ with all their scores."
)
NO_TEST = "The networks of the sweep have no test scores yet, which are made once λ̂ is chosen: "
ONE_LAMBDA = "No penalty has two values of λ with all their scores: give one a grid, `lambda: [1e-5, 1e-4, 1e-3]`."
NO_FOLDS = "K-fold is not compared, as λ was scored by hold-out: set `selection: {scorer: kfold}` in the study."


def answer(scores: Scores) -> Answer:
    """The answer to H6; see the module."""
    if why := unanswerable(scores):
        return replace(HEAD, absent=why)
    replayed, found, table = worked_out(scores)
    if found.empty:
        return replace(HEAD, absent=absence(scores))
    gap, compared = gaps(scores, replayed), comparisons(found)
    between = [_compared(scores, row) for row in rows_of(compared)]
    parts = [_summary(scores, table, gap), _compared_summary(between, int(table["seeds"].max()))]
    parts += [NO_FOLDS] if scores.study["selection"]["scorer"] != "kfold" else []
    return replace(
        HEAD,
        summary=" ".join(filter(None, parts)),
        verdicts=[*(_verdict(scores, row) for row in rows_of(claims(table))), *between],
        numbers=pd.concat([table, compared, gap], ignore_index=True),
        figures=["regret"],
    )


@lru_cache(maxsize=1)
def worked_out(scores: Scores) -> tuple[dict[tuple[str, str, str], Sweep], pd.DataFrame, pd.DataFrame]:
    """`sweeps`, their `regrets` and the `means` of these; worked out once for each `Scores`."""
    replayed = sweeps(scores)
    found = regrets(replayed)
    return replayed, found, found if found.empty else means(scores, found)


def unanswerable(scores: Scores) -> str:
    """Why the design of a study lets no choice be replayed; "" where it does."""
    few = FEW_SEEDS if len(scores.study["seeds"]["tuning"]) < 2 else ""
    return words.unjudged(bool(scores.folds), scores.raced) or few


def absence(scores: Scores) -> str:
    """Why no choice can be replayed, of a study that has tuning seeds enough."""
    if any(map(rates_of, scores.study["penalties"].values())):
        return RATES
    return ONE_LAMBDA if len(scores.sweep_test) else NO_TEST + scores.finish("sweep")


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
    """The `Sweep` of each penalty's group that has two λ or more with all their scores, and two seeds or more.

    Controls and comparators are no penalties, and choosing their strength loses points on another scale. Where an entry
    lists learning rates, gathered scores hold those of the chosen one alone, by which no choice can be replayed.
    """
    count = select.folds_of(scores.study["selection"])
    cells: dict[Any, pd.DataFrame] = dict(list(_cells(scores).groupby(select.GROUP)))
    found = {}
    for group in scores.groups:
        if scores.kinds[group[2]] in CONTROLS or group not in cells or rates_of(scores.study["penalties"][group[2]]):
            continue
        rows = cells[group]
        wide = rows.pivot(index="lambda", columns=["seed", "fold"], values=["val", "val_all", "test"]).dropna()
        seeds = sorted(rows["seed"].unique().tolist())
        if len(wide) > 1 and len(seeds) > 1 and wide.shape[1] == 3 * len(seeds) * count:
            wide = wide.iloc[np.argsort(wide.index.astype(float), kind="stable")].sort_index(axis=1)
            shape = (len(wide), len(seeds), count)
            val, every, test = (wide[name].to_numpy().reshape(shape) for name in ("val", "val_all", "test"))
            found[group] = Sweep(tuple(map(str, wide.index)), tuple(seeds), val, every[:, :, 0], test.mean(2))
    return found


def _cells(scores: Scores) -> pd.DataFrame:
    """Validation and test mIoU of each cell of the sweep, in points; val_all is that of a seed's folds together."""
    keys = [*select.GROUP, "lambda", "seed"]
    every = scores.sweep_seeds.rename(columns={"miou": "val_all"})[[*keys, "val_all"]]
    val, test = (
        frame.rename(columns={"miou": name})[[*keys, "fold", name]]
        for name, frame in (("val", scores.sweep_cells), ("test", scores.sweep_test))
    )
    cells = every.merge(test, on=keys).merge(val, on=[*keys, "fold"])
    cells[["val", "val_all", "test"]] *= 100
    return cells


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
    test score on the other seeds, as in `softreg.paper.stats.oracle_gap`.
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
            strongest = [select.one_se(scores, _ranked(scores)[0]) for scores in single]
            yield ONE_SE, m, size * m, best - float(np.mean(test[strongest]))
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


def means(scores: Scores, found: pd.DataFrame) -> pd.DataFrame:
    """Mean regret of each strategy and step, of each penalty and over penalties (``penalty`` is then empty).

    Columns: dataset, model, penalty, strategy, step, budget (a mean where grids differ in size), penalties and datasets
    (how many), and those of `estimates.columns_of`. Of one penalty the interval is over seeds, else crossed. Over
    penalties a step is left out that one of them lacks; with several data sets or models it is also given over all,
    under `ALL`, with the data sets as units.
    """
    rows = []
    for (dataset, model), part in found.groupby(["dataset", "model"], sort=False):
        rows += [{"dataset": dataset, "model": model, "datasets": 1} | row for row in _mean_rows(part)]
    if len(scores.study["datasets"]) * len(scores.study["models"]) > 1:
        rows += [{"dataset": ALL[0], "model": ALL[1]} | row for row in _rows_over_all(found)]
    return pd.DataFrame(rows)


def _rows_over_all(found: pd.DataFrame) -> Iterator[dict[str, object]]:
    """The rows of `means` over all data sets, of each strategy and step that all groups have."""
    groups = len(found[select.GROUP].drop_duplicates())
    for (strategy, step), mine in found.groupby(["strategy", "step"], sort=False):
        if len(mine[select.GROUP].drop_duplicates()) == groups:
            by_dataset = mine.groupby("dataset")["regret"].mean()
            names = {"strategy": strategy, "step": step, "penalty": "", "budget": float(mine["budget"].mean())}
            n = {"penalties": groups, "datasets": len(by_dataset), "seeds": mine["seed"].nunique()}
            yield names | estimates.columns_of(over_seeds(by_dataset.to_numpy())) | n


def _mean_rows(part: pd.DataFrame) -> Iterator[dict[str, object]]:
    """The rows of `means` in one place, those of single penalties too."""
    groups = part["penalty"].nunique()
    for (strategy, step), mine in part.groupby(["strategy", "step"], sort=False):
        names = {"strategy": strategy, "step": step}
        single = mine.groupby("penalty", sort=False)
        for penalty, own in single:
            yield names | {"penalty": penalty} | _mean(own, "regret", estimates.columns_of)
        if len(single) == groups and (over := _mean(mine, "regret", estimates.columns_of)):
            yield names | {"penalty": ""} | over


def _mean(rows: pd.DataFrame, value: str, columns: Callable[[Estimate], dict[str, float]]) -> dict[str, Any]:
    """The mean ``value`` of ``rows`` in ``columns``, with its budget and n; empty where penalties share no seed."""
    wide = rows.pivot(index="seed", columns="penalty", values=value)[rows["penalty"].unique()].dropna()
    n = {"budget": float(rows["budget"].mean()), "penalties": wide.shape[1]}
    return n | columns(over_held_out(wide.to_numpy())) if len(wide) else {}


def over_held_out(values: Floats) -> Estimate:
    """Mean of ``values`` (S, P) over held-out seeds and penalties.

    For one penalty `softreg.paper.stats.held_out_mean`. Where no value differs there is no interval: that a choice
    was the same for these seeds does not show that it always is.
    """
    estimate = estimates.crossed_mean(values) if values.shape[1] > 1 else stats.held_out_mean(values[:, 0])
    return replace(estimate, se=float("nan")) if np.ptp(values) < ROUNDING else estimate


def comparisons(found: pd.DataFrame) -> pd.DataFrame:
    """By how much less the first strategy of each of `CONTRASTS` loses than the second, where both can spend the same.

    Columns: dataset, model, penalty (empty), strategy, against, budget (a mean over penalties), penalties, and those
    of `row_of`. Of ``found``, which is of `regrets`; each penalty at the largest budget that both have.
    """
    rows = []
    for ((dataset, model), part), (first, second) in product(
        found.groupby(["dataset", "model"], sort=False), CONTRASTS
    ):
        if mean := _mean(_at_equal_budgets(part, first, second), "saved", row_of):
            names = {"dataset": dataset, "model": model, "penalty": "", "strategy": first, "against": second}
            rows.append(names | mean)
    return pd.DataFrame(rows)


def _at_equal_budgets(part: pd.DataFrame, first: str, second: str) -> pd.DataFrame:
    """penalty, seed, budget and saved (points): the second's regret less the first's."""
    # Random search over the whole grid is the grid.
    whole = part.loc[part["strategy"] == RANDOM_ONE].groupby("penalty")["step"].max()
    random = part["strategy"].isin([RANDOM_ONE, RANDOM_ALL])
    part = part[~random | (part["step"] < part["penalty"].map(whole))]
    keys = ["penalty", "seed", "budget"]
    own, other = (part.loc[part["strategy"] == name, [*keys, "regret"]] for name in (first, second))
    both = own.merge(other, on=keys, suffixes=("", "_second"))
    both = both[both["budget"] == both.groupby("penalty")["budget"].transform("max")]
    return both.assign(saved=both["regret_second"] - both["regret"]).sort_values("penalty", kind="stable")


def gaps(scores: Scores, replayed: dict[tuple[str, str, str], Sweep]) -> pd.DataFrame:
    """The oracle gap (points) of each group at the λ̂ that the study's rule selects by all tuning seeds but one.

    See `softreg.paper.stats.oracle_gap`: it is tested on the seed that is left.
    """
    rows = []
    for group, sweep in replayed.items():
        chosen = [selected(sweep, seed, scores.study["selection"]["rule"]) for seed in range(len(sweep.seeds))]
        gap = vars(stats.oracle_gap(sweep.test, chosen))
        if gap["high"] - gap["low"] < ROUNDING:  # all equal, as in `over_held_out`
            gap = gap | {"low": float("nan"), "high": float("nan")}
        rows.append(dict(zip(select.GROUP, group, strict=True)) | {"strategy": AT_CHOSEN, "penalties": 1} | gap)
    return pd.DataFrame(rows).rename(columns={"n": "seeds"})


def selected(sweep: Sweep, held_out: int, rule: str) -> int:
    """Position of the λ̂ that ``rule`` selects without the seed at ``held_out``, by all folds."""
    others = [seed for seed in range(len(sweep.seeds)) if seed != held_out]
    best = int(_ranked(sweep.val[:, others])[0])
    return best if rule == "best" else select.one_se(sweep.folds[:, others].reshape(len(sweep.lambdas), -1), best)


def claims(table: pd.DataFrame) -> pd.DataFrame:
    """The rows that get a verdict: whole grids with one seed and with all but one, random search within one grid."""
    kept = [table.iloc[:0]]
    for _, part in table[table["penalty"] == ""].groupby(["dataset", "model"], sort=False):
        grid = part.loc[(part["strategy"] == GRID) & (part["step"] == 1), "budget"].min()
        limits = {RANDOM_ONE: grid / 2, RANDOM_ALL: grid}
        for strategy in STRATEGIES:
            mine = part[part["strategy"] == strategy]
            if strategy in limits:
                kept.append(mine[mine["budget"] <= limits[strategy]].tail(1))
            else:
                kept.append(mine[mine["step"].isin([mine["step"].min(), mine["step"].max()])])
    return pd.concat(kept)


def word_of_loss(low: float, high: float, rope: float) -> str:
    """Of the claim that a loss is below ``rope``: by its 95 % interval; undecided without one."""
    if high < rope:
        return words.SUPPORTED
    return words.CONTRADICTED if low > rope else words.UNDECIDED


def _judged(scores: Scores, row: Any) -> words.Judgement:
    """Of a row of `claims` or of `comparisons`, which has ``against``."""
    if hasattr(row, "against"):
        word, half = estimates.word_of(row, scores.rope), (row.high90 - row.low90) / 2
    else:
        word, half = word_of_loss(row.low, row.high, scores.rope), (row.high - row.low) / 2
    places = [group for group in scores.groups if row.dataset == ALL[0] or group[:2] == (row.dataset, row.model)]
    lacking = premise.lacking(scores, [group for group in places if scores.kinds[group[2]] not in CONTROLS])
    return words.judge(word, row.seeds, half, scores.rope, lacking, "tuning seed")


def _verdict(scores: Scores, row: Any) -> Verdict:
    name, networks, found = row.strategy, _networks(row.budget), _judged(scores, row)
    sentence = (
        f"{name[0].upper()}{name[1:]}, with {networks} a choice: test mIoU of the λ that the other seeds' test scores "
        f"choose, less that of its own, is {_told(row)}; {scores.rope:g} points would matter."
    )
    if row.dataset == ALL[0] and row.datasets < words.FEWEST_DATASETS:
        few = (
            f"Not answerable by this design: the unit is the data set, and a verdict needs {words.FEWEST_DATASETS} of "
            "them."
        )
        found = words.Judgement(words.NOT_ANSWERABLE, few)
    return Verdict(row.dataset, row.model, f"{name}, {networks}", found.word, estimates.ended(sentence, found.why))


def _compared(scores: Scores, row: Any) -> Verdict:
    found = _judged(scores, row)
    sentence = (
        f"At {_networks(row.budget)} a choice, test mIoU of the λ chosen by {row.strategy} less that of the λ chosen "
        f"by {row.against} is {_told(row)}."
    )
    return Verdict(
        row.dataset, row.model, f"{row.strategy} above {row.against}", found.word, estimates.ended(sentence, found.why)
    )


def _networks(budget: float) -> str:
    """A budget in prose; where grids differ in size it is a mean over penalties."""
    return plural(int(budget), "network") if budget == round(budget) else f"a mean of {budget:.1f} networks"


def _told(row: Any) -> str:
    """The mean of a row in prose, with its interval and n."""
    over_all = row.dataset == ALL[0]
    ends = f"95 % interval {number(row.low)} to {number(row.high)}"
    if np.isnan(row.low):
        ends = "no interval, as all are equal" if row.seeds > 1 and not over_all else "no interval"
    n = plural(row.seeds, "held-out tuning seed")
    if over_all:
        n = f"{plural(row.datasets, 'data set')}, each a mean over its models, penalties and held-out seeds"
    elif row.penalties > 1:
        n += f" and {row.penalties} penalties, crossed"
    return f"{number(row.mean)} points ({ends}, {n}; test images held fixed)"


def _summary(scores: Scores, table: pd.DataFrame, gap: pd.DataFrame) -> str:
    judged = claims(table)
    texts = []
    for strategy in STRATEGIES:
        mine = judged[(judged["strategy"] == strategy) & (judged["dataset"] != ALL[0])]
        if len(mine):
            told = [_judged(scores, row).word for row in rows_of(mine)]
            ends = dict.fromkeys(number(end) for end in (mine["mean"].min(), mine["mean"].max()))
            texts.append(f"{strategy} {' to '.join(ends)} ({told.count(words.SUPPORTED)} of {len(told)})")
    if len(gap):
        mean = f"{number(gap['mean'].mean())}, a mean over {len(gap)} groups"
        texts.append(f"λ̂ as the study selects it, by all seeds but the one tested, {mean}")
    return (
        "Points of test mIoU lost against a choice by test scores, itself a noisy one, over data sets, models and "
        f"budgets (and how often shown to be below the {scores.rope:g} that matter): {'; '.join(texts)}."
    )


def _compared_summary(verdicts: list[Verdict], seeds: int) -> str:
    """How often each contrast of two strategies got which word, or how many seeds that needs."""
    if seeds < words.FEWEST_SEEDS:
        return f"No difference is decided: that needs {words.FEWEST_SEEDS} tuning seeds or more, and there are {seeds}."
    told = [
        f"{subject}: {listed((each.word for each in verdicts if each.subject == subject), '{word} in {n}')}"
        for subject in dict.fromkeys(each.subject for each in verdicts)
    ]
    return f"At equal budgets, {'; '.join(told)}." if told else ""
