"""H3: does a penalty give sparser weights at equal accuracy, and is that worth more than pruning or a small network?

All of it is about the sweep: each penalty's strengths, over the tuning seeds. The strength is chosen on validation
scores and judged on test scores, of a seed that had no part in the choice. What counts as sparse is exact zeros among
the weights of all layers, whether the penalty acts on them or not, of the network that is scored. Where a proximal step
makes them, training sets them by the mean gradient (`softreg.training.zeroing`); where it did not yet, the answer says
that they depend on the batch.
"""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Iterator
from dataclasses import replace
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import ArrayLike, NDArray

from softreg.paper import stats
from softreg.paper.questions import answer as words
from softreg.paper.questions import premise
from softreg.paper.questions.answer import Answer, Verdict, judge, listed, unjudged
from softreg.paper.questions.estimates import ended, rows_of, signed
from softreg.paper.scores import Scores
from softreg.paper.stats import Interval
from softreg.scoring.means import standard_error
from softreg.scoring.select import GROUP
from softreg.study.treatment import CONTROLS

MARGIN = 1.0
"""How many points of mIoU below no penalty still count as equal accuracy."""

FEWER = 0.01
"""The share of another network's non-zero weights that one must be without to count as sparser than it."""

_SMOOTH = frozenset({"l2", "l2_sp", "smooth_l1"})
"""Kinds whose prox sets no weight to zero; earlier versions' networks have zeros under them, in silent units."""

SPARSE_CONTROLS = ("pruning", "small_dense")
"""Kinds of a study's ``penalties`` that reach few weights without a penalty."""

KEYS = [*GROUP, "lambda"]
OF_POINT = ["nonzero", "share", "val_miou", "test_miou", "on_front"]
PAIR = [*GROUP, "versus", "bracket"]
OF_VERSUS = ["versus", "versus_kind", "versus_lambda", "versus_nonzero", "bracket"]
COMPARED = [*KEYS, *OF_POINT, *OF_VERSUS, "difference", "low", "high", "n"]

HEAD = Answer(
    key="H3",
    question="Does a penalty give sparser networks at equal accuracy?",
    claim="it is as accurate as none, and no control is with as few weights",
    estimand="Of each penalty's swept strengths, the one with the fewest non-zero weights (over all layers) whose mean "
    f"validation mIoU is at most {MARGIN:g} point below that without a penalty: its share of the weights, and its test "
    "mIoU minus that without a penalty, and minus that of each control (pruning, a small dense network) just below and "
    "just above it in non-zero weights. Zero is what is exactly 0 in the network that is scored; less than "
    f"{FEWER:.0%} of the weights does not count as sparser.",
    statistic="Mean difference in test mIoU, in points, paired by tuning seed, each seed at the strengths that the "
    "other seeds' scores and weights choose; the strength and share of weights shown are of all seeds. The Pareto "
    "front of mean test mIoU against non-zero weights is descriptive.",
    interval="95 % t-interval over held-out tuning seeds, whose variance is widened for the seeds that the choices "
    "share, as by a correlation of 1/12 (Nadeau and Bengio 2003), on the same test images; not adjusted for the "
    "number of comparisons.",
)
NOTHING = Interval(math.nan, math.nan, math.nan, 0)
NO_REFERENCE = "The study has no entry of kind none to be as accurate as: add one to its penalties."
NO_TEST = "No penalty's sweep has been scored on test yet: "


def points(scores: Scores) -> pd.DataFrame:
    """One row for each swept strength that has finished cells, ordered as they are to be shown.

    Columns: `KEYS`, kind, reference (the unpenalised entry of the same update rule, "" if there is none), nonzero (mean
    number of non-zero weights of all layers), share (of the dense network's weights), val_miou, test_miou and test_se
    (points), seeds (that have a test score), complete (as many seeds as the entry's best-covered strength), front (not
    dominated by any complete point of its data set and model) and chosen (the sparsest within `MARGIN` of the reference
    on validation).
    """
    by_seed = _by_seed(scores).groupby(KEYS)
    frame = by_seed.agg(nonzero=("nonzero", "mean"), dense=("weights", "max"), test_miou=("miou", "mean"))
    frame = frame.assign(test_se=by_seed["miou"].agg(standard_error), seeds=by_seed.size())
    validation = 100 * scores.curves.set_index(KEYS)["val_miou"]
    frame = scores.ordered(frame.join(validation).reset_index(), "lambda").reset_index(drop=True)
    frame["kind"] = frame["penalty"].map(scores.kinds)
    frame["reference"] = frame["penalty"].map(scores.references)
    # The whole network has the weights of any entry but small_dense.
    whole = frame.assign(dense=frame["dense"].where(frame["kind"] != "small_dense"))
    frame["dense"] = whole.groupby(["dataset", "model"])["dense"].transform("max").fillna(frame["dense"])
    frame["share"] = frame["nonzero"] / frame["dense"]
    frame["complete"] = frame["seeds"] == frame.groupby(GROUP)["seeds"].transform("max")
    return frame.assign(front=_fronts(frame), chosen=_choices(frame))


def non_dominated(nonzero: ArrayLike, miou: ArrayLike) -> NDArray[np.bool_]:
    """Whether no other point has at most as many weights and at least the score, and is better in one: (N,) twice."""
    weights, score = np.asarray(nonzero, dtype=np.float64), np.asarray(miou, dtype=np.float64)
    no_worse = (weights[:, None] <= weights) & (score[:, None] >= score)
    better = (weights[:, None] < weights) | (score[:, None] > score)
    dominated: NDArray[np.bool_] = np.any(no_worse & better, axis=0)
    return ~dominated


def comparisons(scores: Scores, swept: pd.DataFrame) -> pd.DataFrame:
    """Each chosen point of ``swept`` (`points`) against no penalty and the controls: columns `COMPARED`.

    ``bracket`` says which point of ``versus`` it is held against: "reference"; "below", of a control's strengths with
    at most as many non-zero weights the best on validation; "above", of those with at least as many the sparsest. The
    difference is that in test mIoU, in points, over the ``n`` seeds of `held_out`.
    """
    found = _pairs(swept[swept["complete"]]).rename(columns={"front": "on_front"})
    differences = held_out(scores, swept).groupby(PAIR)["difference"]
    by_pair = {pair: stats.held_out_mean(values.to_numpy()).interval() for pair, values in differences}
    intervals = [by_pair.get(pair, NOTHING) for pair in found[PAIR].itertuples(index=False, name=None)]
    columns = pd.DataFrame(map(vars, intervals), columns=["mean", "low", "high", "n"], index=found.index)
    return found.join(columns.rename(columns={"mean": "difference"}))[COMPARED]


def held_out(scores: Scores, swept: pd.DataFrame) -> pd.DataFrame:
    """The differences in test mIoU (points) behind `comparisons`: columns `PAIR`, seed, difference.

    Point, control and bracket are chosen anew without each seed, by what the other seeds have, and differ on that seed:
    networks that took part in a choice would make it look too good.
    """
    by_seed = _by_seed(scores)
    names = swept.loc[swept["complete"], [*KEYS, "kind", "reference"]]
    found = [pd.DataFrame(columns=[*PAIR, "seed", "difference"])]
    for seed, own in by_seed.groupby("seed"):
        rest = by_seed[by_seed["seed"] != seed].groupby(KEYS)[["nonzero", "val_miou"]].mean().reset_index()
        frame = names.merge(rest, on=KEYS).assign(complete=True)
        theirs = own[[*KEYS, "miou"]].rename(columns={"penalty": "versus", "lambda": "versus_lambda"})
        both = _pairs(frame.assign(chosen=_choices(frame))).merge(own[[*KEYS, "miou"]], on=KEYS)
        both = both.merge(theirs, on=["dataset", "model", "versus", "versus_lambda"], suffixes=("", "_versus"))
        found.append(both.assign(seed=seed, difference=both["miou"] - both["miou_versus"])[found[0].columns])
    return pd.concat(found, ignore_index=True).astype({"difference": float})


def answer(scores: Scores) -> Answer:
    """The answer to H3; see `softreg.paper.questions`."""
    if scores.reference is None:
        return replace(HEAD, absent=NO_REFERENCE)
    if not any(map(_is_subject, scores.kinds.values())):
        return replace(HEAD, absent="The study trains no penalty: add one, such as l1, to its penalties.")
    if why := unjudged(bool(scores.folds), scores.raced):
        return replace(HEAD, absent=why)
    swept = points(scores)
    if not swept["kind"].map(_is_subject).any():
        return replace(HEAD, absent=NO_TEST + scores.finish("sweep"))
    compared = comparisons(scores, swept)
    verdicts = list(_verdicts(scores, swept, compared))
    counts = f"{listed(verdict.word for verdict in verdicts)} of {len(verdicts)}"
    summary = (
        f"Sparser weights at equal accuracy, by penalty, data set and model: {counts}. {_front_told(scores, swept)} "
        f"{_beaten_told(scores, swept, compared)}{_noise_told(scores)}"
    )
    return replace(HEAD, summary=summary, verdicts=verdicts, numbers=compared, figures=("pareto", "layer_paths"))


def _is_subject(kind: str) -> bool:
    """Whether an entry of this kind puts a penalty on the weights."""
    return kind != "none" and kind not in CONTROLS


def _by_seed(scores: Scores) -> pd.DataFrame:
    """Columns `KEYS`, seed, nonzero and weights (of all layers), miou (test) and val_miou (points), over folds."""
    keys = [*KEYS, "seed"]
    weights = scores.weights[scores.weights["phase"] == "sweep"].groupby(keys)[["nonzero", "weights"]].mean()
    validation = 100 * scores.sweep_seeds.set_index(keys)["miou"].rename("val_miou")
    tests = 100 * scores.sweep_test.groupby(keys)["miou"].mean()
    return weights.join([tests, validation], how="inner").reset_index()


def _fronts(frame: pd.DataFrame) -> pd.Series[bool]:
    front = pd.Series(False, index=frame.index)
    for _, part in frame[frame["complete"]].groupby(["dataset", "model"]):
        front[part.index] = non_dominated(part["nonzero"], part["test_miou"])
    return front


def _choices(frame: pd.DataFrame) -> pd.Series[bool]:
    """Of each entry that has a reference, the sparsest complete strength within `MARGIN` on validation.

    Among equally sparse ones, the best on validation.
    """
    complete = frame[frame["complete"]]
    dense = complete[complete["kind"] == "none"].groupby(GROUP)["val_miou"].max()
    chosen = pd.Series(False, index=frame.index)
    for (dataset, model, _), part in complete[complete["kind"] != "none"].groupby(GROUP, sort=False):
        least = dense.get((dataset, model, part["reference"].iloc[0]), np.nan) - MARGIN
        good = part[part["val_miou"] >= least].sort_values(["nonzero", "val_miou"], ascending=[True, False])
        chosen[good.index[:1]] = True
    return chosen


def _pairs(points: pd.DataFrame) -> pd.DataFrame:
    """Each chosen one of ``points`` beside each that it is held against: the columns of ``points``, and `OF_VERSUS`."""
    rows = []
    for _, near in points.groupby(["dataset", "model"], sort=False):
        for point in near[near["chosen"]].to_dict("records"):
            for bracket, others in _others(point, near):
                versus = others[["penalty", "kind", "lambda", "nonzero"]].head(1).to_numpy()
                rows += [point | dict(zip(OF_VERSUS, (*each, bracket), strict=True)) for each in versus]
    return pd.DataFrame(rows, columns=[*points.columns, *OF_VERSUS])


def _others(point: dict[Any, Any], near: pd.DataFrame) -> Iterator[tuple[str, pd.DataFrame]]:
    """Each bracket of ``point``, and the rows of ``near``, its data set and model, the first of which it holds."""
    yield "reference", near[near["penalty"] == point["reference"]]
    controls = near[near["kind"].isin(SPARSE_CONTROLS if _is_subject(point["kind"]) else ())]
    for _, control in controls.groupby("penalty", sort=False):
        yield "below", control[control["nonzero"] <= point["nonzero"]].nlargest(1, "val_miou")
        yield "above", control[control["nonzero"] >= point["nonzero"]].nsmallest(1, "nonzero")


def _verdicts(scores: Scores, swept: pd.DataFrame, compared: pd.DataFrame) -> Iterator[Verdict]:
    for (dataset, model), near in swept.groupby(["dataset", "model"], sort=False):
        controls = near.loc[near["kind"].isin(SPARSE_CONTROLS), "penalty"].unique().tolist()
        for penalty, part in near[near["kind"].map(_is_subject)].groupby("penalty", sort=False):
            dense = near.loc[near["penalty"] == part["reference"].iloc[0], "nonzero"].max()
            mine = compared[(compared[GROUP] == [dataset, model, penalty]).all(axis=1)]
            rows = list(rows_of(mine))
            word, sentence = _judged(scores, part, rows, dense, controls)
            lacking = premise.lacking(scores, [(str(dataset), str(model), part["reference"].iloc[0])])
            # Equal accuracy goes by the 95 % interval against no penalty.
            half = (rows[0].high - rows[0].low) / 2 if rows else math.nan
            found = judge(word, int(part["seeds"].max()), half, MARGIN, lacking, "tuning seed")
            yield Verdict(str(dataset), str(model), scores.label(str(penalty)), found.word, ended(sentence, found.why))


def _judged(
    scores: Scores, points: pd.DataFrame, rows: list[Any], dense: float, controls: list[str]
) -> tuple[str, str]:
    """Of one penalty's swept ``points`` and its ``rows`` of `comparisons`: a word, and the sentence that tells why.

    The first of these that holds. ``dense`` is the number of weights without a penalty. The first of the rows, if there
    are any, is that against it.
    """
    label = scores.label(points["penalty"].iloc[0])
    if np.isnan(dense):
        return (
            words.NOT_ANSWERABLE,
            f"{label} has no unpenalised entry of its update rule with a score: add one of kind none.",
        )
    fewest = points["nonzero"].min()
    if fewest > (1 - FEWER) * dense:
        return words.CONTRADICTED, (
            f"{label} makes no network sparse: even the sparsest strength swept keeps {_percent(fewest / dense)} "
            "of the weights that are not zero without a penalty."
        )
    if not rows or rows[0].nonzero > (1 - FEWER) * dense:
        return words.UNDECIDED, (
            f"{label} is within {MARGIN:g} point of no penalty on validation at no strength that makes exact zeros: "
            "add weaker strengths to its grid."
        )
    reference, *others = rows
    told = _told(scores, reference)
    if reference.n < words.FEWEST_SEEDS:
        return words.UNDECIDED, " ".join([told, *(_against(scores, row) for row in others)])
    if reference.high < -MARGIN:
        return words.CONTRADICTED, f"{told} On test that is more than {MARGIN:g} point lost."
    if not controls:
        return words.NOT_ANSWERABLE, (
            f"{told} Whether that is worth having needs a control: add pruning or small_dense to the study's penalties."
        )
    word, reason = _against_controls(scores, reference, others, controls)
    others = sorted(others, key=lambda row: row.bracket == "above")
    return word, " ".join([told, *(_against(scores, row) for row in others), *reason])


def _against_controls(scores: Scores, reference: Any, rows: list[Any], controls: list[str]) -> tuple[str, list[str]]:
    """The word on a point that is sparser than no penalty, by its row against that and those against the controls."""
    rope = scores.rope
    # A control with clearly fewer weights need not be better: it is enough that it is not worse by what matters.
    better = [
        scores.label(row.versus)
        for row in rows
        if row.bracket == "below" and row.high < (rope if row.versus_nonzero <= (1 - FEWER) * row.nonzero else 0.0)
    ]
    if better:
        named = " and ".join(better)
        return words.CONTRADICTED, [f"So {named} gives as much, or at most {rope:g} points less, with no more weights."]
    above = [row for row in rows if row.bracket == "above"]
    if reference.low > -MARGIN and {row.versus for row in above if row.low > -rope} == set(controls):
        return words.SUPPORTED, []
    beyond = [scores.label(name) for name in controls if name not in {row.versus for row in above}]
    if not beyond:
        return words.UNDECIDED, ["The intervals leave it open: more tuning seeds would narrow them."]
    strength = f"{1 - reference.share:.2g}"
    return words.UNDECIDED, [
        f"No strength of {' and '.join(beyond)} leaves as many weights: add one of about {strength}."
    ]


def _told(scores: Scores, row: Any) -> str:
    """What the chosen strength keeps of the weights, and of the score on test."""
    return (
        f"{scores.label(row.penalty)} at {row.lambda_}, its sparsest strength within {MARGIN:g} point of "
        f"{scores.label(row.versus)} on validation, keeps {_percent(row.share)} of the weights; its test mIoU differs "
        f"by {_interval(row)}."
    )


def _against(scores: Scores, row: Any) -> str:
    share = row.versus_nonzero * row.share / row.nonzero
    place = f"{scores.label(row.versus)} at {row.versus_lambda}"
    return f"Against {place}, with {_percent(share)} of the weights: {_interval(row)}."


def _interval(row: Any) -> str:
    mean = f"{signed(row.difference)} points"
    if row.n < 2:
        return f"{mean} (one seed, so no interval)" if row.n else "nothing known, as no seed is left to test the choice"
    return f"{mean} (95 % interval {signed(row.low)} to {signed(row.high)}, n = {row.n} held-out tuning seeds)"


def _percent(share: float) -> str:
    return f"{100 * share:.3g} %"


def _front_told(scores: Scores, swept: pd.DataFrame) -> str:
    on_front = Counter(swept.loc[swept["front"], "penalty"])
    points = ", ".join(f"{scores.label(name)} ({on_front[name]})" for name in scores.penalties if on_front[name])
    return f"On the Pareto fronts of test mIoU against non-zero weights are, with their numbers of points: {points}."


def _beaten_told(scores: Scores, swept: pd.DataFrame, compared: pd.DataFrame) -> str:
    """Whether any penalty beats a control that has at least as many weights."""
    if not swept["kind"].isin(SPARSE_CONTROLS).any():
        return "The study has neither pruning nor small_dense, so that no sparsity is shown to be useful: add them."
    fewer = compared["nonzero"] <= (1 - FEWER) * compared["versus_nonzero"]
    sparse = compared.loc[(compared["bracket"] == "reference") & fewer, KEYS]
    above = compared[(compared["bracket"] == "above") & (compared["low"] > 0)].merge(sparse)
    beaten = dict.fromkeys(f"{scores.label(r.penalty)} beats {scores.label(r.versus)}" for r in rows_of(above))
    told = ", ".join(beaten) or "no penalty beats a control"
    return f"With no more weights, at the strengths chosen, {told} (95 % interval above 0)."


def _noise_told(scores: Scores) -> str:
    """A sentence on the penalties whose exact zeros no mean gradient has set; empty where there are none."""
    cells = scores.finished("sweep")
    entries = {name: entry for name, entry in scores.study["penalties"].items() if entry["kind"] not in _SMOOTH}
    proximal = [name for name, entry in entries.items() if entry.get("realisation") == "proximal"]
    sparse = cells["exact_zeros"] > FEWER * cells["penalised"]
    noisy = sparse & cells["penalty"].isin(proximal) & cells["zeroed"].isna()
    named = [scores.label(name) for name in proximal if name in set(cells.loc[noisy, "penalty"])]
    if not named:
        return ""
    return (
        f" How many weights of {', '.join(named)} are exactly zero depends on the batch size and momentum: the version "
        "that trained them did not set zeros by the mean gradient yet."
    )
