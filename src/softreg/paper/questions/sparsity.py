"""H3: does a penalty give sparser weights at equal accuracy, and is that worth more than pruning or a small network?

All of it is about the sweep: each penalty's strengths, over the tuning seeds. The strength is chosen on validation
scores and judged on test scores. What counts as sparse is exact zeros among the weights of all layers, whether the
penalty acts on them or not.
"""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass

import numpy as np
import pandas as pd
from numpy.typing import ArrayLike, NDArray

from softreg.paper.questions.answer import CONTRADICTED, FEWEST_SEEDS, SUPPORTED, UNDECIDED, WORDS, Answer, Verdict
from softreg.paper.questions.estimates import signed
from softreg.paper.scores import Scores
from softreg.scoring import stats
from softreg.study.treatment import CONTROLS

MARGIN = 1.0
"""How many points of mIoU below no penalty still count as equal accuracy."""

FEWER = 0.01
"""The share of another network's non-zero weights that one must be without to count as sparser than it."""

SPARSE_CONTROLS = ("pruning", "small_dense")
"""Kinds of a study's ``penalties`` that reach few weights without a penalty."""

KEYS = ["dataset", "model", "penalty", "lambda"]
COMPARED = [
    *KEYS,
    "nonzero",
    "share",
    "val_miou",
    "test_miou",
    "on_front",
    "versus",
    "versus_kind",
    "versus_lambda",
    "versus_nonzero",
    "bracket",
    "difference",
    "low",
    "high",
    "n",
]

_QUESTION = "Does the penalty give sparser weights at equal accuracy?"
_ESTIMAND = (
    f"Of each penalty's swept strengths, the one with the fewest non-zero weights (over all layers) whose mean "
    f"validation mIoU is at most {MARGIN:g} point below that without a penalty: its share of the weights, and its test "
    "mIoU minus that without a penalty, and minus that of each control (pruning, a small dense network) just below and "
    f"just above it in non-zero weights. Less than {FEWER:.0%} of the weights does not count as sparser."
)
_STATISTIC = (
    "Mean difference in test mIoU, in points, paired by tuning seed; the Pareto front of mean test mIoU against "
    "non-zero weights is descriptive."
)
_INTERVAL = "95 % t-interval over tuning seeds, on the same test images; not adjusted for the number of comparisons."


def points(scores: Scores) -> pd.DataFrame:
    """One row for each swept strength that has finished cells, ordered as they are to be shown.

    Columns: `KEYS`, kind, reference (the unpenalised entry of the same update rule, "" if there is none), nonzero (mean
    number of non-zero weights of all layers), share (of the dense network's weights), val_miou, test_miou and test_se
    (points), seeds (that have a test score), complete (as many seeds as the entry's best-covered strength), front (not
    dominated by any complete point of its data set and model) and chosen (the sparsest within `MARGIN` of the reference
    on validation).
    """
    rows = _by_seed(scores).groupby(KEYS)
    frame = rows.agg(
        nonzero=("nonzero", "mean"),
        dense=("weights", "max"),
        test_miou=("miou", "mean"),
        test_se=("miou", stats.standard_error),
        seeds=("miou", "size"),
    ).reset_index()
    validation = scores.curves[[*KEYS, "val_miou"]]
    frame = frame.merge(validation.assign(val_miou=100 * validation["val_miou"]), on=KEYS, how="left")
    frame = _ordered(_described(frame, scores))
    return frame.assign(front=_fronts(frame), chosen=_choices(frame))


def seeds_of(scores: Scores) -> pd.DataFrame:
    """Columns `KEYS`, seed, nonzero, miou (test, points): one row for each swept strength and tuning seed."""
    return _by_seed(scores).drop(columns="weights")


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
    difference is that in test mIoU, in points, over the ``n`` seeds that both have.
    """
    by_seed = seeds_of(scores).set_index(KEYS)
    rows = [
        _compared(point, other, bracket, by_seed)
        for _, point in swept[swept["chosen"]].iterrows()
        for other, bracket in _others(point, swept)
    ]
    return pd.DataFrame(rows, columns=COMPARED)


def answer(scores: Scores) -> Answer:
    """The answer to H3; see `softreg.paper.questions`."""
    told = Answer("H3", _QUESTION, _ESTIMAND, _STATISTIC, _INTERVAL)
    entries = scores.study["penalties"]
    if scores.reference is None:
        return _absent(told, "The study has no entry of kind none to be as accurate as: add one to its penalties.")
    if not any(_is_subject(entry["kind"]) for entry in entries.values()):
        return _absent(told, "The study trains no penalty: add one, such as l1, to its penalties.")
    swept = points(scores)
    if not swept["kind"].map(_is_subject).any():
        return _absent(told, "No penalty's sweep has been scored on test yet: finish the sweep and gather again.")
    compared = comparisons(scores, swept)
    verdicts = _verdicts(scores, swept, compared)
    summary = _summary(scores, swept, compared, verdicts)
    return Answer(
        told.key, _QUESTION, _ESTIMAND, _STATISTIC, _INTERVAL, summary, verdicts, compared, ("pareto", "layer_paths")
    )


def _absent(told: Answer, reason: str) -> Answer:
    return Answer(told.key, told.question, told.estimand, told.statistic, told.interval, absent=reason)


def _is_subject(kind: str) -> bool:
    """Whether an entry of this kind puts a penalty on the weights."""
    return kind != "none" and kind not in CONTROLS


def _by_seed(scores: Scores) -> pd.DataFrame:
    """As `seeds_of`, with the network's number of weights; folds of one seed are averaged."""
    layers = scores.layers[scores.layers["phase"] == "sweep"]
    layers = layers.assign(nonzero=layers["weights"] - layers["exact_zeros"])
    cells = layers.groupby([*KEYS, "seed", "fold"])[["nonzero", "weights"]].sum()
    sums = scores.sums
    plain = sums[(sums["phase"] == "sweep") & (sums["split"] == "test") & (sums["corruption"] == "")]
    miou = 100 * plain.groupby([*KEYS, "seed"])["miou"].mean()
    return cells.groupby([*KEYS, "seed"]).mean().join(miou, how="inner").reset_index()


def _described(frame: pd.DataFrame, scores: Scores) -> pd.DataFrame:
    """With kind, reference, share and complete; ``dense`` becomes the number of weights of the whole network."""
    entries = scores.study["penalties"]
    kind = frame["penalty"].map({name: entry["kind"] for name, entry in entries.items()})
    whole = frame.assign(dense=frame["dense"].where(kind != "small_dense"))
    place = ["dataset", "model"]
    dense = whole.groupby(place)["dense"].transform("max").fillna(frame["dense"])
    return frame.assign(
        kind=kind,
        reference=frame["penalty"].map({name: scores.reference_of(name) or "" for name in entries}),
        dense=dense,
        share=frame["nonzero"] / dense,
        complete=frame["seeds"] == frame.groupby([*place, "penalty"])["seeds"].transform("max"),
        place=_places(frame, scores),
    )


def _places(frame: pd.DataFrame, scores: Scores) -> pd.Series[int]:
    """Where each row stands when shown: by data set, model and penalty."""
    lists = (list(scores.study["datasets"]), list(scores.study["models"]), scores.penalties)
    places = pd.Series(0, index=frame.index)
    for column, names in zip(("dataset", "model", "penalty"), lists, strict=True):
        # As integers, for where there is no row the mapped column is one of text.
        places = places * len(names) + frame[column].map({name: place for place, name in enumerate(names)}).astype(int)
    return places


def _ordered(frame: pd.DataFrame) -> pd.DataFrame:
    by = frame.assign(strength=frame["lambda"].astype(float)).sort_values(["place", "strength"], kind="stable")
    return by.drop(columns=["place", "strength"]).reset_index(drop=True)


def _fronts(frame: pd.DataFrame) -> pd.Series[bool]:
    front = pd.Series(False, index=frame.index)
    for _, part in frame[frame["complete"]].groupby(["dataset", "model"]):
        front[part.index] = non_dominated(part["nonzero"], part["test_miou"])
    return front


def _choices(frame: pd.DataFrame) -> pd.Series[bool]:
    """Of each entry that has a reference, the sparsest complete strength within `MARGIN` on validation.

    Among equally sparse ones, the best on validation.
    """
    plain = frame[frame["complete"] & (frame["kind"] == "none")]
    dense = plain.groupby(["dataset", "model", "penalty"])["val_miou"].max()
    chosen = pd.Series(False, index=frame.index)
    candidates = frame[frame["complete"] & (frame["kind"] != "none")]
    for (dataset, model, _), part in candidates.groupby(["dataset", "model", "penalty"], sort=False):
        least = dense.get((dataset, model, part["reference"].iloc[0]), np.nan) - MARGIN
        good = part[part["val_miou"] >= least].sort_values(["nonzero", "val_miou"], ascending=[True, False])
        chosen[good.index[:1]] = True
    return chosen


def _others(point: pd.Series, swept: pd.DataFrame) -> list[tuple[pd.Series, str]]:
    """The points that ``point`` is held against, each with its bracket."""
    near = swept[(swept["dataset"] == point["dataset"]) & (swept["model"] == point["model"]) & swept["complete"]]
    others = [(row, "reference") for _, row in near[near["penalty"] == point["reference"]].head(1).iterrows()]
    if not _is_subject(point["kind"]):
        return others
    for _, control in near[near["kind"].isin(SPARSE_CONTROLS)].groupby("penalty", sort=False):
        fewer, more = (
            control[control["nonzero"] <= point["nonzero"]],
            control[control["nonzero"] >= point["nonzero"]],
        )
        others += [(fewer.loc[fewer["val_miou"].idxmax()], "below")] if len(fewer) else []
        others += [(more.loc[more["nonzero"].idxmin()], "above")] if len(more) else []
    return others


def _compared(point: pd.Series, other: pd.Series, bracket: str, by_seed: pd.DataFrame) -> dict[str, object]:
    ours, theirs = (by_seed.loc[[tuple(one[KEYS])]].set_index("seed")["miou"] for one in (point, other))
    estimate = stats.mean_interval(stats.paired_difference(ours, theirs))
    row: dict[str, object] = {name: point[name] for name in (*KEYS, "nonzero", "share", "val_miou", "test_miou")}
    row |= {"on_front": bool(point["front"]), "versus": other["penalty"], "versus_kind": other["kind"]}
    row |= {"versus_lambda": other["lambda"], "versus_nonzero": other["nonzero"], "bracket": bracket}
    return row | {"difference": estimate.mean, "low": estimate.low, "high": estimate.high, "n": estimate.n}


@dataclass(frozen=True)
class _Case:
    """One penalty on one data set and model: its swept ``points``, the ``compared`` rows of the chosen one."""

    scores: Scores
    points: pd.DataFrame
    compared: pd.DataFrame
    dense: float
    controls: list[str]

    def name(self, penalty: object) -> str:
        return self.scores.label(str(penalty))

    def rows(self, *brackets: str) -> list[dict[str, object]]:
        rows = self.compared.itertuples(index=False, name=None)
        named = (dict(zip(self.compared.columns, row, strict=True)) for row in rows)
        return [row for row in named if row["bracket"] in brackets]


def _verdicts(scores: Scores, swept: pd.DataFrame, compared: pd.DataFrame) -> list[Verdict]:
    verdicts = []
    subjects = swept[swept["kind"].map(_is_subject)]
    for (dataset, model, penalty), part in subjects.groupby(["dataset", "model", "penalty"], sort=False):
        near = swept[(swept["dataset"] == dataset) & (swept["model"] == model)]
        plain = near.loc[near["penalty"] == part["reference"].iloc[0], "nonzero"]
        mine = compared[(compared[["dataset", "model", "penalty"]] == [dataset, model, penalty]).all(axis=1)]
        controls = near.loc[near["kind"].isin(SPARSE_CONTROLS), "penalty"].unique().tolist()
        case = _Case(scores, part, mine, float(plain.max()), controls)
        word, sentence = _judged(case)
        verdicts.append(Verdict(str(dataset), str(model), scores.label(str(penalty)), word, sentence))
    return verdicts


def _judged(case: _Case) -> tuple[str, str]:
    """The first of these that holds, as a word of `softreg.paper.questions.answer` and the sentence that tells why."""
    label = case.name(case.points["penalty"].iloc[0])
    if np.isnan(case.dense):
        return UNDECIDED, f"{label} has no unpenalised entry of its update rule with a score: add one of kind none."
    fewest = case.points["nonzero"].min()
    if fewest > (1 - FEWER) * case.dense:
        return CONTRADICTED, (
            f"{label} makes no network sparse: even the sparsest strength swept keeps {_percent(fewest / case.dense)} "
            "of the weights that are not zero without a penalty."
        )
    if case.compared.empty or case.compared["nonzero"].iloc[0] > (1 - FEWER) * case.dense:
        return UNDECIDED, (
            f"{label} is within {MARGIN:g} point of no penalty on validation at no strength that makes exact zeros: "
            "add weaker strengths to its grid."
        )
    reference = case.rows("reference")[0]
    told = _told(case, reference)
    if _value(reference, "n") < FEWEST_SEEDS:
        against = " ".join(_against(case, row) for row in case.rows("below", "above"))
        few = f"So few seeds decide no difference: give the study {FEWEST_SEEDS} tuning seeds or more."
        return UNDECIDED, " ".join(filter(None, [told, against, few]))
    if _value(reference, "high") < -MARGIN:
        return CONTRADICTED, f"{told} On test that is more than {MARGIN:g} point lost."
    if not case.controls:
        return UNDECIDED, (
            f"{told} Whether that is worth having needs a control: add pruning or small_dense to the study's penalties."
        )
    return _against_controls(case, told, _value(reference, "low") > -MARGIN)


def _against_controls(case: _Case, told: str, accurate: bool) -> tuple[str, str]:
    """The verdict of a point that is sparser than no penalty, given whether it is surely as accurate."""
    rope = case.scores.rope
    below, above = case.rows("below"), case.rows("above")
    sentences = " ".join([told, *(_against(case, row) for row in (*below, *above))])
    # A control with clearly fewer weights need not be better: it is enough that it is not worse by what matters.
    better = [row for row in below if _value(row, "high") < (rope if _is_fewer(row) else 0.0)]
    if better:
        names = " and ".join(case.name(row["versus"]) for row in better)
        return CONTRADICTED, (
            f"{sentences} So {names} gives as much, or at most {rope:g} points less, with no more weights."
        )
    level = {str(row["versus"]) for row in above if _value(row, "low") > -rope}
    if accurate and level == set(case.controls):
        return SUPPORTED, sentences
    beyond = [name for name in case.controls if name not in {str(row["versus"]) for row in above}]
    if beyond:
        share = float(case.compared["share"].iloc[0])
        names = " and ".join(map(case.name, beyond))
        hint = f"No strength of {names} leaves as many weights: add one of about {1 - share:.2g}."
    else:
        hint = "The intervals leave it open: more tuning seeds would narrow them."
    return UNDECIDED, f"{sentences} {hint}"


def _told(case: _Case, row: dict[str, object]) -> str:
    """What the chosen strength keeps of the weights, and of the score on test."""
    return (
        f"{case.name(row['penalty'])} at {row['lambda']}, its sparsest strength within {MARGIN:g} point of "
        f"{case.name(row['versus'])} on validation, keeps {_percent(_value(row, 'share'))} of the weights; its test "
        f"mIoU differs by {_interval(row)}."
    )


def _against(case: _Case, row: dict[str, object]) -> str:
    share = _value(row, "versus_nonzero") * _value(row, "share") / _value(row, "nonzero")
    return (
        f"Against {case.name(row['versus'])} at {row['versus_lambda']}, with {_percent(share)} of the weights: "
        f"{_interval(row)}."
    )


def _interval(row: dict[str, object]) -> str:
    mean, n = f"{signed(_value(row, 'difference'))} points", int(_value(row, "n"))
    if n < 2:
        return f"{mean} (one seed, so no interval)" if n else "nothing known, as no seed has both"
    ends = f"95 % interval {signed(_value(row, 'low'))} to {signed(_value(row, 'high'))}"
    return f"{mean} ({ends}, n = {n} tuning seeds)"


def _is_fewer(row: dict[str, object]) -> bool:
    return _value(row, "versus_nonzero") <= (1 - FEWER) * _value(row, "nonzero")


def _value(row: dict[str, object], name: str) -> float:
    return float(str(row[name]))


def _percent(share: float) -> str:
    return f"{100 * share:.3g} %"


def _summary(scores: Scores, swept: pd.DataFrame, compared: pd.DataFrame, verdicts: list[Verdict]) -> str:
    words = Counter(verdict.word for verdict in verdicts)
    counts = ", ".join(f"{words[word]} {word}" for word in WORDS if words[word])
    text = f"Sparser weights at equal accuracy, by penalty, data set and model: {counts} of {len(verdicts)}."
    return f"{text} {_front_told(scores, swept)} {_beaten_told(scores, swept, compared)}"


def _front_told(scores: Scores, swept: pd.DataFrame) -> str:
    on_front = Counter(swept.loc[swept["front"], "penalty"])
    listed = ", ".join(f"{scores.label(name)} ({on_front[name]})" for name in scores.penalties if on_front[name])
    return f"On the Pareto fronts of test mIoU against non-zero weights are, with their numbers of points: {listed}."


def _beaten_told(scores: Scores, swept: pd.DataFrame, compared: pd.DataFrame) -> str:
    """Whether any penalty beats a control that has at least as many weights."""
    if not swept["kind"].isin(SPARSE_CONTROLS).any():
        return "The study has neither pruning nor small_dense, so that no sparsity is shown to be useful: add them."
    sparse = compared["nonzero"] <= (1 - FEWER) * compared["versus_nonzero"].where(compared["bracket"] == "reference")
    keys = pd.MultiIndex.from_frame(compared[KEYS])
    above = compared[(compared["bracket"] == "above") & (compared["low"] > 0) & keys.isin(keys[sparse])]
    beaten = dict.fromkeys(
        f"{scores.label(penalty)} beats {scores.label(versus)}"
        for penalty, versus in above[["penalty", "versus"]].itertuples(index=False, name=None)
    )
    listed = ", ".join(beaten) or "no penalty beats a control"
    return f"With no more weights, at the strengths chosen, {listed} (95 % interval above 0)."
