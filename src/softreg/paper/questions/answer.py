"""What a question of the paper is answered with, and the words that a verdict may use."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field

import pandas as pd

SUPPORTED, CONTRADICTED, EQUIVALENT, UNDECIDED = "supported", "contradicted", "equivalent", "undecided"
NOT_ANSWERABLE, NOT_LEARNT = "not answerable", "not answered: predicts one class"
AS_LOOKUP = "not answered: as grey levels alone"
WORDS = (SUPPORTED, CONTRADICTED, EQUIVALENT, UNDECIDED, NOT_ANSWERABLE, NOT_LEARNT, AS_LOOKUP)
"""Of a claim: the data support it; contradict it; show a difference that does not matter; or do not tell, though they
might have. The design cannot tell, whatever the truth; or a network in the claim does no better than a constant, or
than a table from grey level to class."""

FEWEST_SEEDS = 5
"""With fewer there is no verdict: an interval over seeds rests on too few of them."""

FEWEST_DATASETS = 5
"""With fewer, nothing is said over all data sets: the unit is then the data set."""

OUTER_FOLDS = (
    "With outer folds, the images that one fold's λ is chosen on test another's: choices over the sweep are judged in "
    "studies of one split, without `evaluation: {folds: …}`."
)
RACED = (
    "The race between strengths (`selection: {search: halving}`) drops most of them after the first tuning seeds, and "
    "this question needs each strength with every seed: set `search: grid` in the study."
)


def unjudged(folds: bool, raced: bool) -> str:
    """Why no choice over the sweep can be judged, by outer ``folds`` or as strengths were ``raced``; else empty."""
    return OUTER_FOLDS if folds else RACED if raced else ""


@dataclass(frozen=True)
class Judgement:
    """The word of a verdict, and why it is not one that the interval gives: a sentence, empty where it is."""

    word: str
    why: str = ""


def judge(
    word: str,
    seeds: int,
    half: float = math.nan,
    rope: float = 0.0,
    unlearnt: Judgement | None = None,
    unit: str = "evaluation seed",
) -> Judgement:
    """What becomes of ``word``, which an interval gives: the one place where a verdict is refused.

    ``seeds`` are those of kind ``unit`` that the interval is over. ``unlearnt`` is what is said of a network of the
    claim that has learnt nothing (`premise`), None if all have. ``half`` is the half width of the interval by which
    equivalence within ±``rope`` is judged (nan: none): where it is not below ``rope``, no difference could have been
    shown to be too small to matter. What such an interval decides all the same, as the difference is large, stands.
    """
    if seeds < FEWEST_SEEDS:
        had = f"{seeds or 'no'} {unit}{'' if seeds == 1 else 's'}"
        return Judgement(NOT_ANSWERABLE, f"Not answerable by this design: {had}, where a verdict needs {FEWEST_SEEDS}.")
    if unlearnt:
        return unlearnt
    if word == UNDECIDED and 0 < rope <= half:
        why = (
            f"Not answerable by this design: an interval of ±{half:.2g} cannot lie within the ±{rope:g} that do not "
            "matter, whatever the truth."
        )
        return Judgement(NOT_ANSWERABLE, why)
    return Judgement(word)


def opposite(word: str) -> str:
    """The word on "it is below 0", given that on "it is above 0"."""
    return {SUPPORTED: CONTRADICTED, CONTRADICTED: SUPPORTED}.get(word, word)


@dataclass(frozen=True)
class Verdict:
    """What the numbers say of one claim in one place, such as soft against none for one data set and model.

    ``word`` is one of `WORDS`; ``sentence`` is written from the numbers, with interval and n, and ends with the reason
    where the verdict is refused (`judge`).
    """

    dataset: str
    model: str
    subject: str
    word: str
    sentence: str


@dataclass(frozen=True)
class Answer:
    """One question, how it is answered, and the answer.

    ``summary`` is one or two sentences over all ``verdicts``. ``numbers`` are the rows behind them, one table;
    ``figures`` the stems of the figures that show them (a figure ``stem-…`` belongs to ``stem``). Where the study lacks
    what the question needs, ``absent`` says so in one sentence that names what to add, and the rest is empty.
    ``claim`` is what "supported" says, to follow "that".
    """

    key: str
    question: str
    estimand: str
    statistic: str
    interval: str
    summary: str = ""
    verdicts: Sequence[Verdict] = ()
    numbers: pd.DataFrame = field(default_factory=pd.DataFrame)
    figures: Sequence[str] = ()
    absent: str = ""
    claim: str = ""


def word_counts(words: Iterable[str]) -> list[tuple[str, int]]:
    """How often each word occurs, in the order of `WORDS`; without those that do not."""
    found = Counter(words)
    return [(word, found[word]) for word in WORDS if found[word]]


def listed(words: Iterable[str], form: str = "{n} {word}") -> str:
    """`word_counts` in prose: ``2 supported, 1 undecided``."""
    return ", ".join(form.format(word=word, n=n) for word, n in word_counts(words))
