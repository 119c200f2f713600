"""The sentence that a report begins with: whether a penalty is shown to help, and the number behind it."""

from __future__ import annotations

import math
from typing import Any

import pandas as pd

from softreg.paper.looks import listed
from softreg.paper.questions import answers, gain, premise
from softreg.paper.questions.answer import CONTRADICTED, EQUIVALENT, FEWEST_SEEDS, NOT_ANSWERABLE, SUPPORTED
from softreg.paper.questions.estimates import plural, rows_of, signed
from softreg.paper.report import about
from softreg.paper.scores import Scores
from softreg.paper.tables import against_none
from softreg.study.treatment import CONTROLS


def differences(scores: Scores) -> pd.DataFrame:
    """The differences of penalties to none, rows of `gain.contrasts` with ``learnt``: without controls, as pruning."""
    frame = gain.to_none(scores)
    frame = frame[~frame["penalty"].map(scores.kinds).isin(CONTROLS)]
    pairs = ([(row.dataset, row.model, name) for name in (row.penalty, row.reference)] for row in rows_of(frame))
    return frame.assign(learnt=[premise.lacking(scores, pair) is None for pair in pairs])


def highest(rows: pd.DataFrame) -> Any:
    """The row of the highest difference: of those shown to be above 0, else of networks that have learnt, else any."""
    kept = rows.assign(shown=rows["word"] == SUPPORTED)
    best = kept.sort_values(["shown", "learnt", "difference"], kind="stable").tail(1)
    return next(rows_of(best), None)


def highest_place(scores: Scores) -> str:
    """The data set that the headline's number is of, or the study's first."""
    best = highest(differences(scores))
    return str(best.dataset if best else next(iter(scores.study["datasets"])))


def headline(scores: Scores) -> str:
    """What the differences to none say together, whatever state the study is in."""
    rows = differences(scores)
    if (best := highest(rows)) is None:
        return _nothing(scores)
    text = f"{_lead(scores, rows)}: the highest {_of(rows, best)} is {_number(scores, best)}.{_beside(scores, rows)}"
    return text + (_elsewhere(scores) if (rows["word"] == NOT_ANSWERABLE).all() else "")


def _of(rows: pd.DataFrame, best: Any) -> str:
    """Among what ``best`` is the highest: others may lie higher that are not shown, or of what has not learnt."""
    judged = " that can be judged" if rows["learnt"].any() and not rows["learnt"].all() else ""
    return "shown" if best.shown else f"difference{judged}"


def _nothing(scores: Scores) -> str:
    """What is said without any difference."""
    if any(_asked(scores)):
        return f"No penalty can be compared with none yet: {scores.finish('final')}"
    return (
        "No penalty can be compared with none: the study trains no penalty beside an unpenalised entry (kind none) of "
        "the same update rule."
    )


def _asked(scores: Scores) -> list[tuple[str, ...]]:
    """The differences that the study asks for: data set, model, penalty."""
    kinds, groups = scores.kinds, scores.groups
    return [
        group
        for group in groups
        if kinds[group[2]] not in ("none", *CONTROLS) and (*group[:2], scores.references[group[2]]) in groups
    ]


def _lead(scores: Scores, rows: pd.DataFrame) -> str:
    """The answer in words, to go before the highest difference."""
    if not rows["learnt"].any():
        return (
            "Nothing is shown of any penalty, as every difference to none is of a network that does no better than one "
            "class everywhere or a table from grey level to class"
        )
    up, down, same = ((rows["word"] == word).sum() for word in (SUPPORTED, CONTRADICTED, EQUIVALENT))
    of, none = f"of {plural(len(rows), 'difference')} to none", "No penalty is shown to help"
    if up:
        return f"{up} {of} {_are(up)} shown to be above 0{f' and {down} below' if down else ''}"
    if down:
        return f"{none}, and {down} {of} {_are(down)} shown to be below 0"
    if (rows["word"] == NOT_ANSWERABLE).all():
        return f"{none}{_impossible(scores, rows)}"
    if same:
        return f"{none}, and {same} {of} {_are(same)} shown to be too small to matter (within ±{scores.rope:g} points)"
    return none


def _are(count: int) -> str:
    return "is" if count == 1 else "are"


def _impossible(scores: Scores, rows: pd.DataFrame) -> str:
    """Why no verdict was possible, to follow "shown to help"; empty where intervals are just wide."""
    if (seeds := int(rows["n_seeds"].max())) < FEWEST_SEEDS:
        return f", nor could be with {plural(seeds, 'evaluation seed')}, where a verdict needs {FEWEST_SEEDS}"
    subjects = {scores.single_subject(name) for name in rows["dataset"]}
    return "" if "" in subjects else f", nor could be, as all test images show {' or '.join(sorted(subjects))}"


def _elsewhere(scores: Scores) -> str:
    """A sentence on the questions that a study decides which cannot say whether a penalty helps."""
    decided = {SUPPORTED, CONTRADICTED, EQUIVALENT}
    keys = [each.key for each in answers(scores) if decided & {verdict.word for verdict in each.verdicts}]
    return f" What this study does decide is under {listed(keys)}." if keys else ""


def _number(scores: Scores, row: Any) -> str:
    """A difference with its interval, of what, and its verdict."""
    ends = "" if math.isnan(row.low) else f" [{scores.looks.interval} CI {signed(row.low)}, {signed(row.high)}]"
    told = about.place(scores, row.dataset, row.model)
    place = f" on {' with '.join(told)}" if told else ""
    verdict = "" if row.word == SUPPORTED else f", {against_none(row.word)}"
    return f"{signed(row.difference)} points of test mIoU{ends}, {scores.label(row.penalty)}{place}{verdict}"


def _beside(scores: Scores, rows: pd.DataFrame) -> str:
    """Further sentences: what is not judged, what is missing, and the verdicts over data sets."""
    unlearnt = int((~rows["learnt"]).sum()) if rows["learnt"].any() else 0
    missing = len(_asked(scores)) - len(rows)
    pooled = gain.pooled(scores)
    controls = pooled["penalty"].map(scores.kinds).isin(CONTROLS)
    pooled = pooled[pooled["word"].notna() & (pooled["word"] != NOT_ANSWERABLE) & ~controls]
    text = f" {unlearnt} of {len(rows)} cannot be judged, as a network in them has not learnt." if unlearnt else ""
    text += f" {missing} more {'has' if missing == 1 else 'have'} no pair of finished networks." if missing else ""
    if (best := next(rows_of(pooled.sort_values("difference").tail(1)), None)) is not None:
        told = f"{signed(best.difference)} points [95 % CI {signed(best.low)}, {signed(best.high)}]"
        text += (
            f" Over {best.datasets:g} data sets the highest mean difference is {told}, {scores.label(best.penalty)}, "
            f"{against_none(best.word)}."
        )
    return text
