"""H2: are penalties that are one at the size of a network's weights one in practice, where a study trains both?

The pairs: soft and L1 at the same λ; smooth L1 of λ, β and L2 of λ/β, which are the same function while no weight
exceeds β; soft(λ) and the elastic net (2λ, α ½), which are the same formula. All else of the two entries is the same.
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import replace
from decimal import Decimal
from typing import Any

import numpy as np
import pandas as pd

from softreg.paper.questions import answer as words
from softreg.paper.questions import premise
from softreg.paper.questions.answer import Answer, Judgement, Verdict, judge, listed
from softreg.paper.questions.estimates import concluded, p_text, plural, row_of, signed
from softreg.paper.scores import Scores
from softreg.paper.stats import Estimate, over_seeds
from softreg.scoring.select import GROUP
from softreg.study.lambdas import rates_of

HEAD = Answer(
    key="H2",
    question="Do smooth L1 and L2, or soft and L1, differ in practice?",
    claim="the two are one in practice",
    estimand="Mean difference in validation mIoU (points, 0 to 100) between two entries at matching strengths, over "
    "training runs like those drawn, on these validation images, within one data set and model, at each strength.",
    statistic="Mean paired difference over tuning seeds at each matching strength, by two one-sided t-tests against "
    "the region of practical equivalence. A pair is one (supported) where that holds at every strength, and is not "
    "(contradicted) where at some strength the interval, widened by Bonferroni's rule for the number of strengths, "
    "lies outside the region. Strengths at which one of the two is not above predicting one class are left out. Beside "
    "it, how many pairs of networks have the same bits.",
    interval="95 % t-interval of the paired differences; the seed (a training run) is resampled, validation images are "
    "fixed.",
)
ABSENT = (
    "The study trains no two entries at matching strengths: add l1 with the λ of soft, or smooth_l1 with β times the λ "
    "of l2."
)

SOFT_L1, HUBER_L2, IDENTITY = "soft − L1", "smooth L1 − L2", "soft(λ) − elastic net(2λ, α ½)"
UNDER_BETA = 0.01
"""Smooth L1 counts as quadratic where its measured value is less than this share below that of its quadratic branch."""

SIDES = ["penalty_a", "lambda_a", "penalty_b", "lambda_b"]
PLACE = ["dataset", "model", "pair", "beta", "strength", *SIDES]
ESTIMATES = [*PLACE, "n", "difference", "low", "high", "low90", "high90", "p_equivalence", "norm", "zeros", "beyond"]
ESTIMATES += ["same", "word"]
POINTS = [*PLACE, "seed", "difference", "norm", "zeros", "beyond", "above", "same"]
_SAME = ("realisation", "weights", "training")
_CLAIMS = {
    SOFT_L1: "the two are practically one at the same λ",
    HUBER_L2: "the two are one while the weights stay under β",
    IDENTITY: "the two are one formula",
}


def matches(penalties: dict[str, dict[str, Any]]) -> pd.DataFrame:
    """Pairs of (entry, λ) that should be one: pair, beta (nan without one), strength (of the second), and `SIDES`."""
    rows = [row for a in penalties for b in penalties for row in _matches(a, penalties[a], b, penalties[b])]
    return pd.DataFrame(rows, columns=["pair", "beta", "strength", *SIDES])


def _matches(first: str, a: dict[str, Any], second: str, b: dict[str, Any]) -> Iterator[tuple[Any, ...]]:
    # Where the learning rate is chosen with λ, the two may have been trained at different ones.
    if any(a.get(key) != b.get(key) for key in _SAME) or rates_of(a):
        return
    kinds, beta = (a["kind"], b["kind"]), math.nan
    # In decimals, as they are written: 3e-5/0.03 is 1e-3, but not so in binary fractions.
    if kinds == ("soft", "l1"):
        pair, factor = SOFT_L1, Decimal(1)
    elif kinds == ("soft", "elastic_net") and b["alpha"] == 0.5:
        pair, factor = IDENTITY, Decimal("0.5")
    elif kinds == ("smooth_l1", "l2"):
        pair, beta, factor = HUBER_L2, a["beta"], Decimal(str(a["beta"]))
    else:
        return
    for x in a["lambda"]:
        yield from ((pair, beta, y, first, x, second, y) for y in b["lambda"] if 0 < Decimal(x) == factor * Decimal(y))


def points(scores: Scores) -> pd.DataFrame:
    """For each pair, data set, model and tuning seed with both cells, by what they differ: columns `POINTS`.

    ``difference`` is in points of validation mIoU; ``norm`` the relative difference of ‖w‖₂; ``zeros`` that of the
    share of exact zeros in points; ``beyond`` by what share smooth L1 is less than its quadratic branch λ‖w‖²/2β, 0
    while no weight exceeds β and nan for the other pairs; ``above`` by how many points the worse of the two is above
    predicting one class; ``same`` whether the weights are the same bits. Where folds
    score, a seed has several networks: norm, zeros and beyond are of their sums, ``same`` of all of them.
    """
    keys = ["dataset", "model", "seed"]
    measured = scores.sweep_seeds[[*keys, "penalty", "lambda", "miou"]].merge(_networks(scores))
    both = matches(scores.study["penalties"])
    for side in "ab":
        mine = {name: f"{name}_{side}" for name in measured.columns if name not in keys}
        # The second side is matched by data set, model and seed too.
        both = both.merge(measured.rename(columns=mine))
    quadratic = both["lambda_a"].astype(float) * both["squares_a"] / (2 * both["beta"].astype(float))
    return both.assign(
        difference=100 * (both["miou_a"] - both["miou_b"]),
        norm=np.sqrt(both["squares_a"] / both["squares_b"]) - 1,
        zeros=100 * (both["zeros_a"] - both["zeros_b"]),
        beyond=1 - both["value_a"] / quadratic,
        above=100 * both[["miou_a", "miou_b"]].min(axis=1) - both["dataset"].map(premise.on_validation(scores)),
        same=both["bits_a"] == both["bits_b"],
    )[POINTS]


def _networks(scores: Scores) -> pd.DataFrame:
    """Of each finished cell of the sweep, its folds together: ‖w‖², λP(w), share of zeros, and digests of the bits."""
    cells = scores.finished("sweep").sort_values("fold")
    grouped = cells.assign(squares=cells["norm_l2"] ** 2).groupby([*GROUP, "lambda", "seed"])
    sums = grouped[["squares", "penalty_value", "exact_zeros", "penalised"]].sum()
    columns = {"squares": sums["squares"], "value": sums["penalty_value"]}
    columns |= {"zeros": sums["exact_zeros"] / sums["penalised"], "bits": grouped["weights_sha256"].agg(" ".join)}
    return pd.DataFrame(columns).reset_index()


def estimates(scores: Scores, found: pd.DataFrame) -> pd.DataFrame:
    """A row for each dataset, model, pair and strength of `points`, with what its seeds say of "practically one".

    Columns `ESTIMATES`: of `PLACE`; n (tuning seeds), difference, low, high (95 %), low90, high90, p_equivalence; norm,
    zeros, beyond (means); same (pairs of networks that are the same bits); word.
    """
    rows = []
    for names, part in found.groupby(PLACE, sort=False, dropna=False):
        mean = over_seeds(part["difference"], limit=100)
        row = dict(zip(PLACE, names, strict=True)) | row_of(mean) | {"p_equivalence": mean.equivalence_p(scores.rope)}
        row |= {name: part[name].mean() for name in ("norm", "zeros", "beyond")}
        rows.append(row | {"same": int(part["same"].sum()), "word": _word([mean], scores.rope)})
    return pd.DataFrame(rows).rename(columns={"seeds": "n", "mean": "difference"})[ESTIMATES]


def _word(means: list[Estimate], rope: float) -> str:
    """The verdict on "practically one" at all of the strengths whose mean paired differences these are.

    Equivalence has to hold at each, so needs no correction; a gap at any would contradict, so is corrected.
    """
    narrow = [mean.interval(0.9) for mean in means]
    if all(-rope < each.low and each.high < rope for each in narrow):
        return words.SUPPORTED
    wide = [mean.interval(1 - 0.05 / len(means)) for mean in means]
    return words.CONTRADICTED if any(each.low > rope or each.high < -rope for each in wide) else words.UNDECIDED


def answer(scores: Scores) -> Answer:
    """The answer to H2; see `softreg.paper.questions`."""
    if matches(scores.study["penalties"]).empty:
        return replace(HEAD, absent=ABSENT)
    if scores.raced:
        return replace(HEAD, absent=words.RACED)
    found = points(scores)
    if found.empty:
        return replace(HEAD, absent=f"No pair of matching cells has finished yet: {scores.finish('sweep')}")
    by = ["dataset", "model", "pair", "beta", "penalty_a", "penalty_b"]
    verdicts = [_verdict(scores, part) for _, part in found.groupby(by, sort=False, dropna=False)]
    numbers, summary = estimates(scores, found), _summary(found, verdicts)
    return replace(HEAD, summary=summary, verdicts=verdicts, numbers=numbers, figures=("degeneracy",))


def _verdict(scores: Scores, part: pd.DataFrame) -> Verdict:
    """Of two entries on one data set and model, all their matching strengths together."""
    dataset, model, pair, a, b = (part[name].iloc[0] for name in ("dataset", "model", "pair", "penalty_a", "penalty_b"))
    subject = f"{scores.label(a)} and {scores.label(b)}"
    place = f"On {scores.label(dataset)} with {scores.label(model)}, {subject}"
    learnt = _learnt(part)
    if learnt.empty:
        said = f"{place}: at no matching strength is validation mIoU above that of predicting one class."
        unlearnt = Judgement(words.NOT_LEARNT, said)
        refused = judge(words.UNDECIDED, part["seed"].nunique(), unlearnt=unlearnt, unit="tuning seed")
        return Verdict(dataset, model, subject, refused.word, refused.why)
    within = learnt if pair != HUBER_L2 else learnt[learnt["beyond"] < UNDER_BETA]
    if within.empty:
        said = (
            f"{place}: weights exceed β at every matching strength, so that the claim, {_CLAIMS[pair]}, is not tested; "
            f"the mean difference in validation mIoU is {signed(part['difference'].mean())} points "
            f"({_n(part)}), in ‖w‖₂ {100 * part['norm'].mean():+.1f} %: {words.UNDECIDED}."
        )
        return Verdict(dataset, model, subject, words.UNDECIDED, said)
    means = [over_seeds(values, limit=100) for _, values in within.groupby("strength", sort=False)["difference"]]
    found = _judged(scores, within, means)
    told = [_bits(within), *([] if within["same"].all() else _numbers(scores, means))]
    lost = {"their weights exceed β": len(learnt) - len(within)}
    lost["one of the two predicts one class"] = len(part) - len(learnt)
    told += [f"{count} of {len(part)} pairs are left out, as {why}" for why, count in lost.items() if count]
    sentence = f"{place} ({_CLAIMS[pair]}; {_n(within)}): {'; '.join(told)}"
    return Verdict(dataset, model, subject, found.word, concluded(sentence, found))


def _learnt(part: pd.DataFrame) -> pd.DataFrame:
    """The rows of `points` at strengths where both networks are above predicting one class.

    By their 95 % interval; of few seeds, whose interval says little, by their mean.
    """
    above = {strength: over_seeds(values).interval() for strength, values in part.groupby("strength")["above"]}
    least = {strength: each.low if each.n >= words.FEWEST_SEEDS else each.mean for strength, each in above.items()}
    return part[part["strength"].map(least) > 0]


def _judged(scores: Scores, part: pd.DataFrame, means: list[Estimate]) -> Judgement:
    """Of the strengths of a pair that are to be judged together. That all weights are the same bits needs no test."""
    if part["same"].all():
        return Judgement(words.SUPPORTED)
    half = max((each.high - each.low) / 2 for each in (mean.interval(0.9) for mean in means))
    seeds = min(mean.seeds for mean in means)
    return judge(_word(means, scores.rope), seeds, half, scores.rope, unit="tuning seed")


def _n(part: pd.DataFrame) -> str:
    seeds, strengths = part["seed"].nunique(), part["strength"].nunique()
    return f"{plural(seeds, 'tuning seed')} at {plural(strengths, 'matching strength')}"


def _bits(part: pd.DataFrame) -> str:
    same, n = int(part["same"].sum()), len(part)
    if same == n:
        return f"all {plural(n, 'pair')} of networks have the same weights, bit for bit"
    return f"{same or 'none'} of {plural(n, 'pair')} of networks {'has' if same == 1 else 'have'} the same weights"


def _numbers(scores: Scores, means: list[Estimate]) -> list[str]:
    """The equivalence at each strength, and the strength that is furthest from it.

    Its interval is the one that `_word` goes by: of all strengths together, by Bonferroni.
    """
    rope, level = scores.rope, 1 - 0.05 / len(means)
    tests = [(mean.equivalence_p(rope), mean.interval(level)) for mean in means]
    held = sum(p < 0.05 for p, _ in tests)
    told = [f"equivalent within ±{rope:g} points at {held} of {plural(len(tests), 'strength')}"]
    p, worst = max(tests, key=lambda test: (math.isnan(test[0]), test[0], abs(test[1].mean)))
    text = f"furthest from it: {signed(worst.mean)} points"
    if not math.isnan(worst.low):
        jointly = f" for all {len(tests)} strengths jointly" if len(tests) > 1 else ""
        text += f" (95 % interval{jointly} {signed(worst.low)} to {signed(worst.high)}, p of equivalence {p_text(p)})"
    else:
        text += f" from {plural(worst.n, 'seed')}, which gives no interval"
    return [*told, text]


def _summary(found: pd.DataFrame, verdicts: list[Verdict]) -> str:
    told = [verdict.word for verdict in verdicts]
    n = found.groupby(["dataset", "model"])["seed"].nunique()
    seeds = plural(n.max(), "tuning seed") if n.min() == n.max() else f"{n.min()} to {n.max()} tuning seeds"
    text = f"Of {plural(len(verdicts), 'pair')} of entries at matching strengths: {listed(told)} ({seeds})."
    identity = found[found["pair"] == IDENTITY]
    if len(identity):
        text += f" Of soft(λ) and the elastic net (2λ, α ½), {_bits(identity)}."
    if words.NOT_ANSWERABLE in told and n.max() < words.FEWEST_SEEDS:
        text += " So few seeds show only what is exact or large, and no small difference."
    return text
