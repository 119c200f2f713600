"""What questions share: differences to the reference, estimates over seeds and images, and how they are told."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from softreg.paper.questions import answer as words
from softreg.paper.questions.answer import Verdict
from softreg.paper.scores import Scores
from softreg.scoring import stats
from softreg.scoring.stats import Crossed, Estimate

Floats = NDArray[np.float64]

NO_REFERENCE = "The study has no unpenalised entry to compare with: add `none:` to its `penalties`."
NOTHING_PAIRED = "No evaluation seed has a test score both with and without a penalty yet: finish the study's final."
HELD = "The interval is over seeds, by t; test images are held fixed."


def relative(scores: Scores, frame: pd.DataFrame, measures: Sequence[str]) -> pd.DataFrame:
    """``frame`` with each of ``measures`` less that of the unpenalised entry of the same update rule.

    Rows are paired by all other columns but ``lambda``, which is dropped, such as dataset, model and seed. A row
    without a partner is left out.
    """
    frame = frame.drop(columns="lambda", errors="ignore")
    references = {name: scores.reference_of(name) for name in scores.study["penalties"]}
    treated = frame.assign(reference=frame["penalty"].map(references))
    treated = treated[treated["reference"].notna() & (treated["reference"] != treated["penalty"])]
    keys = [name for name in treated.columns if name not in {*measures, "penalty"}]
    both = treated.merge(frame.rename(columns={"penalty": "reference"}), on=keys, suffixes=("", "_reference"))
    differences = {name: both[name] - both[f"{name}_reference"] for name in measures}
    return both.assign(**differences)[frame.columns].reset_index(drop=True)


def over_seeds(values: Sequence[float] | Floats, images: int = 0) -> Estimate:
    """Mean of independent values, one a seed, (S,), with s/√S and S − 1 degrees of freedom; nan is left out."""
    given = np.asarray(values, dtype=np.float64)
    sample = given[~np.isnan(given)]
    mean = float(sample.mean()) if len(sample) else float("nan")
    return Estimate(mean, stats.standard_error(sample), len(sample) - 1, len(sample), images)


def crossed_mean(values: Floats) -> Estimate:
    """Mean of ``values`` (S, N) over seeds and N items, such as images, both drawn from a population.

    See `softreg.scoring.stats.crossed_interval`. With one item it is the estimate over seeds alone.
    """
    items = values.shape[1]
    if items == 1:
        return over_seeds(values[:, 0], 1)
    return crossed(values.mean(1), values @ left_out(items) / items)


def left_out(items: int) -> Floats:
    """Weights of N items where each is left out in turn, (N, N); a row sums to N."""
    weights: Floats = (1 - np.eye(items)) * items / (items - 1)
    return weights


def crossed(by_seed: Floats, without: Floats) -> Estimate:
    """From a statistic of each seed, (S,), and that without each of N items in turn, (S, N)."""
    sample = Crossed(by_seed[None], without[None], np.empty((0, len(by_seed))), without.shape[1], jackknife=True)
    return stats.crossed_interval(sample, 0)


def word_of(estimate: Estimate, rope: float, p_holm: float) -> str:
    """The verdict on "it is above 0"; see `softreg.scoring.stats.verdict` and `softreg.paper.questions.answer.adjusted`."""
    wide, narrow = estimate.interval(0.95), estimate.interval(0.90)
    return words.adjusted(stats.verdict(wide.low, wide.high, narrow.low, narrow.high, rope), p_holm)


def number(value: float, digits: int = 2) -> str:
    """A signed number in prose."""
    return f"{round(value, digits) + 0.0:+.{digits}f}".replace("-", "−")


def told(estimate: Estimate, unit: str = "points", digits: int = 2) -> str:
    """An estimate with its interval and n, such as ``+0.40 points (95 % interval +0.10 to +0.70, 10 seeds)``."""
    text, interval = f"{number(estimate.mean, digits)} {unit}", estimate.interval()
    seeds = f"{estimate.seeds} seed{'s' * (estimate.seeds != 1)}"
    if np.isnan(interval.low):
        return f"{text} ({seeds}, which gives no interval)"
    return f"{text} (95 % interval {number(interval.low, digits)} to {number(interval.high, digits)}, {seeds})"


def columns_of(estimate: Estimate) -> dict[str, float]:
    """An estimate as columns of a table: mean, low and high (95 %), p, seeds."""
    interval = estimate.interval()
    columns = {"mean": estimate.mean, "low": interval.low, "high": interval.high}
    return columns | {"p": estimate.p, "seeds": estimate.seeds}


def counted(verdicts: Sequence[Verdict], common: str = "") -> str:
    """How many verdicts have each word, with the subjects of the decided ones, such as ``supported in 1 (soft)``.

    ``common`` is the end that the subjects share and that goes without saying.
    """
    texts = []
    for word in words.WORDS:
        subjects = [verdict.subject.removesuffix(common) for verdict in verdicts if verdict.word == word]
        listed = f" ({', '.join(dict.fromkeys(subjects))})" if word in (words.SUPPORTED, words.CONTRADICTED) else ""
        texts += [f"{word} in {len(subjects)}{listed}"] if subjects else []
    return f"{', '.join(texts)} of {len(verdicts)}"


def with_holm(numbers: pd.DataFrame, family: Sequence[str]) -> pd.DataFrame:
    """``numbers`` with p_holm: p adjusted among the rows that agree in the columns ``family``."""
    if numbers.empty:
        return numbers
    return numbers.assign(p_holm=numbers.groupby([*family], sort=False)["p"].transform(stats.holm))


def in_order(scores: Scores, frame: pd.DataFrame) -> Iterator[tuple[str, str, pd.DataFrame]]:
    """(model, penalty, its rows) of ``frame``, in the order to show, without those that have no row."""
    for model in scores.study["models"]:
        for penalty in scores.penalties:
            rows = frame[(frame["model"] == model) & (frame["penalty"] == penalty)]
            if len(rows):
                yield model, penalty, rows


def holm_of(p: float) -> str:
    """An adjusted p in prose, to follow an estimate; empty where there is none."""
    return "" if np.isnan(p) else f", Holm's p {p:.3f}"
