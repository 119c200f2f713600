"""H5: what does a penalty cost in time and memory, and does that grow with the number of weights?

Times are those that each cell recorded while it trained, on whatever else the machine was doing; they are not a
benchmark. A penalty's cell is compared with the unpenalised one of the same seed on the same kind of device; where the
two kinds were not trained in turn (`in_turn`), the ratio of their times has no interval and decides nothing. What a
step takes does not depend on what a network has learnt, so that this question has no such premise.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import ArrayLike
from scipy import stats as scipy_stats

from softreg.paper import stats
from softreg.paper.questions.answer import Answer, Verdict, judge, listed
from softreg.paper.questions.estimates import ended, row_of, rows_of, word_of
from softreg.paper.scores import Scores
from softreg.scoring import records
from softreg.scoring.means import known
from softreg.scoring.select import GROUP

FEWEST_SIZES = 3
"""Numbers of penalised weights that a slope needs."""

SLOPE_ROPE = 0.02
"""Half width of the slopes that do not matter: over a tenfold number of weights the ratio changes by under 5 %."""

MEASURES = {"seconds": "seconds per step", "memory": "peak memory"}
"""What is compared, and what it is called."""

_DECIDES = {"seconds": "seconds_low", "memory": "memory_ratio"}
"""The column that is known where a ratio may enter a slope: a time needs its interval."""

ENDS = ("", "_ratio", "_low", "_high", "_confidence", "_n")
COLUMNS = [*GROUP, "kind", "reference", "penalised", "device", *(name + end for name in MEASURES for end in ENDS)]
SLOPES = ["dataset", "penalty", "measure", "slope", "low", "high", "low90", "high90", "models", "seeds"]
_KEYS = ["phase", *records.CELL]

HEAD = Answer(
    key="H5",
    question="What does a penalty cost in time and memory?",
    claim="its cost relative to none grows with the number of weights",
    estimand="Seconds per training step and peak memory of each penalty at its λ̂ over those without one, for the same "
    "data set, model, evaluation seed, update rule and device; and the slope of that ratio's logarithm on the "
    "logarithm of the number of penalised weights, over a study's models. Claim: the slope is above 0. A slope within "
    f"±{SLOPE_ROPE:g} does not matter: the ratio then changes by under 5 % over ten times the weights.",
    statistic="Median over evaluation seeds of the ratio; slope by least squares through the models' medians.",
    interval="Of a ratio, the sign test's interval between order statistics over seeds, of at least 95 % from 6 seeds "
    "on and the whole range with fewer; of a slope, the 95 % t-interval over models, of models − 2 degrees of freedom. "
    "Where, in the order in which cells ended, the two sides alternate less often than there are pairs, what else the "
    "machine did cannot be separated from the penalty: such a ratio of times has no interval and enters no slope.",
)


@dataclass(frozen=True)
class MedianInterval:
    """A median of ``n`` values, and order statistics that hold the population's with at least ``confidence``."""

    median: float
    low: float
    high: float
    confidence: float
    n: int


def median_interval(values: ArrayLike) -> MedianInterval:
    """The sign test's 95 % interval of a median, free of any assumption on the spread; nan values are left out.

    The k-th smallest and k-th largest value, for the largest k with P(B < k) ≤ 0.025 where B is binomial (n, ½). With
    fewer than 6 values, too few for that, the smallest and the largest: the ``confidence`` returned is what is reached,
    1 − 2 P(B < k). Of one value there is no interval.
    """
    sample = np.sort(known(values))
    n, nan = len(sample), float("nan")
    if n < 2:
        return MedianInterval(float(sample[0]) if n else nan, nan, nan, nan, n)
    below = scipy_stats.binom.cdf(np.arange(n), n, 0.5)  # P(B ≤ k − 1) for k = 1, 2, …
    k = max(1, int((below <= 0.025 + 1e-12).sum()))
    reached = float(1 - 2 * below[k - 1])
    return MedianInterval(float(np.median(sample)), float(sample[k - 1]), float(sample[n - k]), reached, n)


def in_turn(treated: pd.Series[pd.Timestamp], reference: pd.Series[pd.Timestamp]) -> bool:
    """Whether paired cells, in the order in which they ended, alternate between the sides as often as there are pairs.

    Pairs trained one after the other do, whichever cell of each comes first, and two blocks alternate once. It is false
    of a single pair, and where a time is unknown.
    """
    times = pd.concat([treated, reference])
    if len(treated) < 2 or times.isna().any():
        return False
    sides = np.repeat([0, 1], [len(treated), len(reference)])[times.argsort(kind="stable")]
    return int(np.count_nonzero(np.diff(sides))) >= len(treated)


def cells(scores: Scores) -> pd.DataFrame:
    """One row for each finished cell of the final: its names, device, time, penalised, seconds (a step), memory (B).

    Of the final alone, whose processes train one cell each: a path of the sweep warms up once, and its peak of memory
    can only rise from one λ to the next. ``memory`` is nan where no peak was recorded; ``time`` is when the cell ended
    (UTC), NaT where that was not recorded.
    """
    timings = scores.timings[scores.timings["phase"] == "final"].reset_index(drop=True)
    ended = pd.to_datetime(timings.reindex(columns=["time"])["time"], utc=True, format="ISO8601", errors="coerce")
    measured = {name: pd.to_numeric(timings[name], errors="coerce") for name in ("seconds", "peak_memory")}
    facts = scores.cells[[*_KEYS, "steps", "penalised"]].dropna()
    frame = timings[[*_KEYS, "device"]].assign(time=ended, **measured).merge(facts, on=_KEYS)
    frame["seconds"] = (frame["seconds"] / frame["steps"].where(frame["steps"] > 0)).where(frame["seconds"] > 0)
    frame = frame.rename(columns={"peak_memory": "memory"}).astype({"penalised": int}).dropna(subset="seconds")
    return frame[[*_KEYS, "device", "time", "penalised", "seconds", "memory"]].reset_index(drop=True)


def ratios(scores: Scores) -> pd.DataFrame:
    """One row for each data set, model, penalty and number of penalised weights, in the order to show.

    Columns: dataset, model, penalty, kind, reference, penalised, device; and for seconds and memory (`MEASURES`) the
    median over all cells (s, bytes), ``…_ratio`` to the reference with ``…_low``, ``…_high``, ``…_confidence`` and
    ``…_n`` (seeds), nan where there is no pair. The interval of seconds is nan too where cells were not trained
    `in_turn`. Only small_dense has several sizes: its ratio is that of a smaller network.
    """
    keys = [*GROUP, "penalised"]
    measured = cells(scores)
    pairs = _pairs(scores, measured)
    by_key = dict(list(pairs.groupby(keys)))
    rows = []
    for key, part in measured.groupby(keys):
        row = dict(zip(keys, key, strict=True)) | {"device": "; ".join(sorted(set(part["device"])))}
        for measure in MEASURES:
            values = _ratio_of(by_key.get(key, pairs.iloc[:0]), measure)
            row |= {f"{measure}{end}": v for end, v in zip(ENDS, (part[measure].median(), *values), strict=True)}
        rows.append(row)
    frame = pd.DataFrame(rows, columns=COLUMNS)
    named = frame.assign(kind=frame["penalty"].map(scores.kinds), reference=frame["penalty"].map(scores.references))
    return scores.ordered(named, "penalised").reset_index(drop=True)


def slopes(compared: pd.DataFrame) -> pd.DataFrame:
    """Of `ratios`, for each data set, penalty and measure over at least `FEWEST_SIZES` sizes of models.

    Ratios of seconds without an interval are left out.
    Columns: dataset, penalty, measure, slope, low, high (95 %), low90, high90, models, seeds (the fewest of a ratio).
    """
    rows = []
    penalised = compared[~compared["kind"].isin(["none", "small_dense"])]
    for (dataset, penalty), part in penalised.groupby(["dataset", "penalty"], sort=False):
        for measure in MEASURES:
            known = part[part[_DECIDES[measure]].notna()]
            if known["penalised"].nunique() >= FEWEST_SIZES:
                names = {"dataset": dataset, "penalty": penalty, "measure": measure}
                slope = _slope(known["penalised"], known[f"{measure}_ratio"])
                rows.append(names | slope | {"seeds": int(known[f"{measure}_n"].min())})
    return pd.DataFrame(rows, columns=SLOPES)


def answer(scores: Scores) -> Answer:
    """The answer to H5; see `softreg.paper.questions`. Without a slope, the ratios are told all the same."""
    if scores.reference is None:
        return replace(HEAD, absent="The study has no entry of kind none to compare times with: add one to penalties.")
    compared = ratios(scores)
    if not compared["seconds_ratio"].notna().any():
        why = "No penalty has a finished cell and an unpenalised one of its seed, update rule and device: train both."
        return replace(HEAD, absent=why)
    found = slopes(compared)
    verdicts = [_judged(scores, row) for row in rows_of(found)]
    counts = listed(verdict.word for verdict in verdicts)
    told = f"That the relative cost grows with the number of weights is, by penalty and measure: {counts}. "
    return replace(
        HEAD,
        summary=f"{told if verdicts else ''}{_ratios_told(scores, compared)} {_caveat(compared)}",
        verdicts=verdicts,
        numbers=_numbers(compared, found),
        figures=("cost",),
        absent="" if verdicts else _no_slope(compared),
    )


def _pairs(scores: Scores, measured: pd.DataFrame) -> pd.DataFrame:
    """One row for each cell that has a reference.

    Columns: `GROUP`, penalised, seed, time, time_plain (the reference's), and seconds and memory, the logarithm of the
    ratio to the reference.
    """
    kinds, references = (measured["penalty"].map(of) for of in (scores.kinds, scores.references))
    plain = measured[kinds == "none"].drop(columns=["lambda", "penalised"]).rename(columns={"penalty": "reference"})
    treated = measured.assign(reference=references)[kinds != "none"]
    keys = ["phase", "dataset", "model", "seed", "fold", "device", "reference"]
    both = treated.merge(plain, on=keys, suffixes=("", "_plain"))
    logs = {name: np.log(both[name] / both[f"{name}_plain"]) for name in MEASURES}
    return both[[*GROUP, "penalised", "seed", "time", "time_plain"]].assign(**logs)


def _ratio_of(pairs: pd.DataFrame, measure: str) -> tuple[float, ...]:
    """The median ratio of ``pairs``, its interval (low, high, confidence), nan where it has none, and n."""
    found = median_interval(pairs.groupby("seed")[measure].mean())
    if measure == "seconds" and not in_turn(pairs["time"], pairs["time_plain"]):
        found = replace(found, low=float("nan"), high=float("nan"), confidence=float("nan"))
    return *np.exp([found.median, found.low, found.high]).tolist(), found.confidence, found.n


def _slope(weights: pd.Series[int], ratio: pd.Series[float]) -> dict[str, float]:
    """Least squares of log10 ratio on log10 weights, with t-intervals of 95 % and 90 %."""
    fit = scipy_stats.linregress(np.log10(weights), np.log10(ratio))
    error = float(np.nan_to_num(fit.stderr))  # SciPy has nan where all ratios are equal
    row = row_of(stats.Estimate(float(fit.slope), error, len(weights) - 2, len(weights), 0))
    return {"slope": row["mean"], "models": len(weights)} | row


def _numbers(compared: pd.DataFrame, found: pd.DataFrame) -> pd.DataFrame:
    """The ratios, each with the slopes of its data set and penalty."""
    numbers = compared
    for measure in MEASURES:
        mine = found[found["measure"] == measure].drop(columns=["measure", "low90", "high90", "seeds"])
        names = {name: f"{measure}_slope{'_' + name if name != 'slope' else ''}" for name in mine.columns[2:]}
        numbers = numbers.merge(mine.rename(columns=names), on=["dataset", "penalty"], how="left")
    return numbers


def _judged(scores: Scores, row: Any) -> Verdict:
    label, measure = scores.label(row.penalty), MEASURES[row.measure]
    sentence = (
        f"Over {row.models} models on {scores.label(row.dataset)}, ten times the penalised weights multiply the "
        f"ratio of {measure} of {label} to that without a penalty by {10**row.slope:.3g} (slope {row.slope:+.3f}, 95 % "
        f"t-interval {row.low:+.3f} to {row.high:+.3f}, n = {row.models} models)."
    )
    found = judge(word_of(row, SLOPE_ROPE), row.seeds, (row.high90 - row.low90) / 2, SLOPE_ROPE)
    return Verdict(row.dataset, f"{row.models} models", f"{label}, {measure}", found.word, ended(sentence, found.why))


def _ratios_told(scores: Scores, compared: pd.DataFrame) -> str:
    """The least and the most that a penalty costs, of its medians over seeds, and why times are left out."""
    known = _known(compared)
    if known.empty:
        return "No entry but small_dense has a ratio."
    ordered = known[known["seconds_low"].notna()].sort_values("seconds_ratio", kind="stable")
    sentences = []
    if len(ordered):
        least, most = (_ratio(scores, ordered.iloc[place], "seconds") for place in (0, -1))
        text = "The time of a step, as a multiple of that without a penalty, is least with"
        sentences.append(f"{text} {least} and most with {most}.")
    if len(ordered) < len(known):
        some = f"{len(known) - len(ordered)} of {len(known)} time ratios have no interval and are left out"
        sentences.append(f"{some if len(ordered) else 'No time ratio can be trusted'}: {_why_no_interval(known)}.")
    memory = known[known["memory_ratio"].notna()].sort_values("memory_ratio", kind="stable")
    if memory.empty:
        return " ".join([*sentences, "No peak of memory was recorded."])
    return " ".join([*sentences, f"Peak memory is most with {_ratio(scores, memory.iloc[-1], 'memory')}."])


def _known(compared: pd.DataFrame) -> pd.DataFrame:
    """The rows with a ratio of times that a penalty has caused, and not a smaller network."""
    return compared[compared["seconds_ratio"].notna() & (compared["kind"] != "small_dense")]


def _ratio(scores: Scores, row: pd.Series[Any], measure: str) -> str:
    value, n = row[f"{measure}_ratio"], int(row[f"{measure}_n"])
    low, high, confidence = (row[f"{measure}_{name}"] for name in ("low", "high", "confidence"))
    place = f"{scores.label(row['penalty'])}, {scores.label(row['model'])} on {scores.label(row['dataset'])}"
    interval = f"{low:.3g} to {high:.3g}, a {100 * confidence:.0f} % interval by the sign test, n = {n} seeds"
    return f"{place}: {value:.3g} ({interval if n > 1 else 'one seed, so no interval'})"


def _why_no_interval(known: pd.DataFrame) -> str:
    """Of ratios of which some have no interval of seconds."""
    if known.loc[known["seconds_low"].isna(), "seconds_n"].max() < 2:
        return "one evaluation seed has no interval; add seeds"
    return (
        "by their recorded times, cells with a penalty were trained at other times than those without, so that "
        "what else the machine did cannot be separated from the penalty; train them in turn, see config/cost.yaml"
    )


def _no_slope(compared: pd.DataFrame) -> str:
    """Why there is no slope: too few sizes of models or, with enough of them, no times to be trusted."""
    known = _known(compared)
    most = max(known.groupby(["dataset", "penalty"])["penalised"].nunique(), default=0)
    why = f"is not known: {_why_no_interval(known)}."
    if most < FEWEST_SIZES:
        why = (
            f"can be shown only where a penalty is trained on models of at least {FEWEST_SIZES} different sizes, and "
            f"here the most is {most}: add models, such as smp encoders of other sizes."
        )
    return f"Whether the relative cost grows with the number of weights {why}"


def _caveat(compared: pd.DataFrame) -> str:
    devices = sorted({device for devices in compared["device"] for device in str(devices).split("; ")})
    text = f"Times are as the cells recorded them on {'; '.join(devices)}, noisy where a machine is shared."
    if any(device.startswith("CPU") for device in devices):
        text += (
            " On a CPU, peak memory is that of the whole process with its libraries, so that ratios are nearer to 1."
        )
    return text
