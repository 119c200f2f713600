"""What questions share: differences to the reference, estimates over seeds and images, and how they are told."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from itertools import product
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from softreg.paper import stats
from softreg.paper.questions import answer as words
from softreg.paper.questions import premise
from softreg.paper.questions.answer import Answer, Judgement, Verdict
from softreg.paper.scores import Scores
from softreg.paper.stats import Crossed, Estimate

Floats = NDArray[np.float64]
Units = NDArray[np.int64]

NO_REFERENCE = "The study has no unpenalised entry to compare with: add `none:` to its `penalties`."
HELD = "The interval is over seeds, by t; test images are held fixed."


def nothing_paired(scores: Scores) -> str:
    """What is said where no seed has both sides of a difference."""
    return f"No evaluation seed has a test score both with and without a penalty yet: {scores.finish('final')}"


# Estimates.


def images_told(images: int, units: int) -> str:
    """Test images, and where they come in groups of how many: ``45 images``, ``13 groups (233 images)``."""
    told = plural(images, "image")
    return told if units == images else f"{plural(units, 'group')} ({told})"


def relative(scores: Scores, frame: pd.DataFrame, measures: Sequence[str]) -> pd.DataFrame:
    """``frame`` with each of ``measures`` less that of the unpenalised entry of the same update rule.

    Rows are paired by all other columns but ``lambda``, which is dropped, such as dataset, model and seed. A row
    without a partner is left out.
    """
    frame = frame.drop(columns="lambda", errors="ignore")
    treated = frame.assign(reference=frame["penalty"].map(scores.references))
    treated = treated[treated["reference"] != treated["penalty"]]
    keys = [name for name in treated.columns if name not in {*measures, "penalty"}]
    both = treated.merge(frame.rename(columns={"penalty": "reference"}), on=keys, suffixes=("", "_reference"))
    differences = {name: both[name] - both[f"{name}_reference"] for name in measures}
    return both.assign(**differences)[frame.columns].reset_index(drop=True)


def crossed_mean(values: Floats, units: Units | None = None) -> Estimate:
    """Mean of ``values`` (S, N) over seeds and N items, such as images, both drawn from a population.

    ``units`` (N,) number the items' units, from 0, each of which is drawn whole; without them an item is one. See
    `softreg.paper.stats.crossed_interval`. With one unit there is no interval.
    """
    weights = left_out(np.arange(values.shape[1]) if units is None else units)
    return crossed(values.mean(1), values @ weights.T / weights.sum(1))


def left_out(units: Units) -> Floats:
    """Weights of N items where each of their G units, numbered from 0, is left out in turn, (G, N).

    With one unit there is nothing left to weigh, and no row.
    """
    numbers = np.unique(units)
    weights: Floats = (numbers[:, None] != units).astype(np.float64)
    return weights if len(numbers) > 1 else weights[:0]


def crossed(by_seed: Floats, without: Floats) -> Estimate:
    """From a statistic of each seed, (S,), and that without each of N units in turn, (S, N)."""
    return stats.crossed_interval(Crossed(by_seed[None], without[None]), 0)


# Tables of estimates.


def columns_of(estimate: Estimate, level: float = 0.05) -> dict[str, float]:
    """An estimate as columns of a table: mean, low and high (95 %, or what ``level`` leaves), p, seeds."""
    interval = estimate.interval(1 - level)
    columns = {"mean": estimate.mean, "low": interval.low, "high": interval.high}
    return columns | {"p": estimate.p, "seeds": estimate.seeds}


def row_of(estimate: Estimate, level: float = 0.05) -> dict[str, float]:
    """`columns_of`, the ends of the 90 % interval (1 − 2 ``level``), and what the tests are made from.

    Added are low90, high90, se and df.
    """
    narrow, row = estimate.interval(1 - 2 * level), columns_of(estimate, level)
    return row | {"low90": narrow.low, "high90": narrow.high, "se": estimate.se, "df": estimate.df}


def word_of(row: Any, rope: float) -> str:
    """What the 95 % interval (low, high) and the 90 % interval (low90, high90) of a row say of "it is above 0".

    The first that holds: equivalent where the 90 % interval lies within ±rope, even if it leaves out 0, for such a
    difference is too small to matter; supported where the 95 % interval lies above 0; contradicted where it lies
    below 0; else, and where an end is nan, undecided.
    """
    if -rope < row.low90 and row.high90 < rope:
        return words.EQUIVALENT
    if row.low > 0:
        return words.SUPPORTED
    return words.CONTRADICTED if row.high < 0 else words.UNDECIDED


def adjusted_words(
    frame: pd.DataFrame, family: Sequence[str], rope: float | Sequence[float], level: float = 0.05
) -> pd.DataFrame:
    """``frame``, of rows with `row_of`, with the words of its verdicts on "it is above 0".

    Added are p_equivalence (within ±``rope``, of all rows or one for each; nan: none is declared), and by Holm among
    the rows that agree in the columns ``family``, or all, p_holm and p_equivalence_holm. A row is equivalent, supported
    or contradicted, the first that holds, where the adjusted p is below ``level``, which the rows' intervals were made
    with. se and df go.
    """
    if frame.empty:
        return frame
    tested = frame.assign(rope=rope)[["mean", "se", "df", "rope"]].itertuples(index=False, name=None)
    frame = frame.assign(p_equivalence=[stats.equivalence_p(*each) for each in tested])
    families = frame.groupby([*family] or (lambda _: 0), sort=False)
    holm = {f"{name}_holm": families[name].transform(stats.holm) for name in ("p", "p_equivalence")}
    frame = frame.assign(**holm).drop(columns=["se", "df"])
    return frame.assign(word=[_adjusted_word(row, level) for row in rows_of(frame)])


def _adjusted_word(row: Any, level: float) -> str:
    if row.p_equivalence_holm < level:
        return words.EQUIVALENT
    if not row.p_holm < level:
        return words.UNDECIDED
    return words.SUPPORTED if row.low > 0 else words.CONTRADICTED if row.high < 0 else words.UNDECIDED


def judged_words(
    scores: Scores,
    frame: pd.DataFrame,
    family: Sequence[str],
    rope: float | Sequence[float],
    level: float = 0.05,
) -> pd.DataFrame:
    """`adjusted_words` as `softreg.paper.questions.answer.judge` lets them stand, and why where it does not.

    Rows are of a penalty against the ``reference`` that they name, or else the unpenalised entry of its update rule;
    ``dataset`` may be several, with commas between them. The column ``seeds`` counts evaluation seeds.
    """
    frame = adjusted_words(frame, family, rope, level)
    if frame.empty:
        return frame
    found = [_judged(scores, row) for row in rows_of(frame.assign(rope=rope))]
    return frame.assign(word=[each.word for each in found], why=[each.why for each in found])


def _judged(scores: Scores, row: Any) -> Judgement:
    pair = (row.penalty, getattr(row, "reference", scores.references[row.penalty]))
    lacking = premise.lacking(scores, product(row.dataset.split(", "), [row.model], pair))
    return words.judge(row.word, row.seeds, (row.high90 - row.low90) / 2, row.rope, lacking)


def rows_of(frame: pd.DataFrame) -> Iterator[Any]:
    """The rows as named tuples; ``lambda``, which no attribute can be called, as ``lambda_``."""
    yield from frame.rename(columns={"lambda": "lambda_"}).itertuples(index=False)


def in_order(scores: Scores, frame: pd.DataFrame) -> Iterator[tuple[str, str, pd.DataFrame]]:
    """(model, penalty, its rows) of ``frame``, in the order to show, without those that have no row."""
    for model, penalty in product(scores.study["models"], scores.penalties):
        rows = frame[(frame["model"] == model) & (frame["penalty"] == penalty)]
        if len(rows):
            yield model, penalty, rows


# Questions in parts.


@dataclass(frozen=True)
class Part:
    """A part of an answer: its rows of numbers, with `adjusted_words`; the verdicts on some of them; their summary."""

    numbers: pd.DataFrame
    verdicts: list[Verdict]
    summary: str
    figure: str = ""


def in_parts(scores: Scores, head: Answer, parts: Sequence[Part]) -> Answer:
    """The answer that ``parts`` make together; absent where none has numbers. A part with verdicts shows its figure."""
    numbers = [part.numbers.drop(columns=["low90", "high90", "word", "why"]) for part in parts if len(part.numbers)]
    if not numbers:
        return replace(head, absent=nothing_paired(scores))
    return replace(
        head,
        summary=" ".join(part.summary for part in parts),
        verdicts=[verdict for part in parts for verdict in part.verdicts],
        numbers=pd.concat(numbers, ignore_index=True),
        figures=[part.figure for part in parts if part.verdicts and part.figure],
    )


# Words.


def signed(value: float) -> str:
    """A difference in points with its sign, two decimals; a zero that rounding made has none."""
    text = number(value)
    return "0.00" if text == "+0.00" else text


def number(value: float, digits: int = 2) -> str:
    """A signed number in prose."""
    return f"{round(value, digits) + 0.0:+.{digits}f}".replace("-", "−")


def plural(n: int, noun: str, many: str = "") -> str:
    """``n`` things: the noun in the plural (``many``, or with an s) unless there is one."""
    return f"{n} {noun if n == 1 else many or f'{noun}s'}"


def told(row: Any, unit: str = "points", digits: int = 2) -> str:
    """A row with `columns_of` in prose: ``+0.40 points (95 % interval +0.10 to +0.70, 10 seeds)``."""
    text, seeds = f"{number(row.mean, digits)} {unit}", plural(row.seeds, "seed")
    if np.isnan(row.low):
        return f"{text} ({seeds}, which gives no interval)"
    return f"{text} (95 % interval {number(row.low, digits)} to {number(row.high, digits)}, {seeds})"


def names_of(scores: Scores, row: Any) -> tuple[str, str]:
    """What a row's penalty and the unpenalised entry of its update rule are called."""
    return scores.label(row.penalty), scores.label(scores.references[row.penalty])


def ended(sentence: str, why: str) -> str:
    """A verdict's sentence, and after it why the verdict is refused, if it is."""
    return f"{sentence} {why}" if why else sentence


def concluded(text: str, found: Any) -> str:
    """``text`` with the word of a verdict, or why there is none, of a row or a `Judgement`."""
    return f"{text}. {found.why}" if found.why else f"{text}: {found.word}."


def p_text(p: float) -> str:
    """A p value as it is written after the letter p."""
    if np.isnan(p):
        return "undefined"
    return "< 0.001" if p < 0.001 else f"= {p:.3f}" if p < 0.9995 else "= 1"


def holm_of(p: float) -> str:
    """An adjusted p in prose, to follow an estimate; empty where there is none."""
    return "" if np.isnan(p) else f", Holm's p {p:.3f}"


def counted(verdicts: Sequence[Verdict], common: str = "") -> str:
    """How many verdicts have each word, with the subjects of the decided ones, such as ``supported in 1 (soft)``.

    ``common`` is the end that the subjects share and that goes without saying.
    """
    texts = []
    for word, n in words.word_counts(verdict.word for verdict in verdicts):
        subjects = dict.fromkeys(each.subject.removesuffix(common) for each in verdicts if each.word == word)
        decided = word in (words.SUPPORTED, words.CONTRADICTED)
        texts.append(f"{word} in {n}" + (f" ({', '.join(subjects)})" if decided else ""))
    return f"{', '.join(texts)} of {len(verdicts)}"
