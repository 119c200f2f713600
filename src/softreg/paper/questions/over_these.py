"""H1 over all data sets and models of a study, held fixed: what penalties do on these on average, and on no others."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import replace
from typing import Any

import numpy as np
import pandas as pd

from softreg.paper import checks
from softreg.paper.questions import answer as words
from softreg.paper.questions import estimates, gain, premise
from softreg.paper.questions.complexity import label_noise_pairs
from softreg.paper.questions.estimates import concluded, p_text, plural, row_of, rows_of, signed
from softreg.paper.scores import Scores
from softreg.paper.stats import Estimate, over_seeds

Place = tuple[str, str]

HERE, MODELS_HERE = "the data sets here", "their models"
"""In the place of names, where a verdict is a mean over those of the study; no entry can have such a name."""

COLUMNS = ["penalty", "reference", "primary", "n_datasets", "n_pairs", "difference", "low", "high", "low90", "high90"]
COLUMNS += ["p", "p_holm", "p_equivalence", "p_equivalence_holm", "word", "why"]


def table(scores: Scores) -> pd.DataFrame:
    """A row for each contrast that all pairs of data set and model have, where there are two or more: `COLUMNS`.

    The difference, in points of test mIoU, is the mean over data sets of the mean over their models. Its interval
    speaks of other training runs, and of other images of these data sets; with outer folds also of other splits, and of
    choosing λ again. Of one data set, what its models share (folds, images) is kept together; data sets are taken as
    independent. One of twins but for their label noise, which have the same test images, is left out. A contrast that
    a pair lacks is not answerable: a mean over the others would be of another question.
    """
    twins = [noisy for _, noisy in label_noise_pairs(scores.study["datasets"])]
    places = list(dict.fromkeys(group[:2] for group in scores.groups if group[0] not in twins))
    samples = gain.resampled(scores)
    if len(places) < 2 or any(scores.single_subject(dataset) for dataset, _ in places):
        return pd.DataFrame(columns=COLUMNS)
    first, *others = (gain.pairs(scores, *place) for place in places)
    shared = [each for each in first if all(each in other for other in others)]
    level, counts = scores.looks.level, {"n_datasets": len({dataset for dataset, _ in places}), "n_pairs": len(places)}
    rows = []
    for penalty, reference, primary in shared:
        lacks = _lacking(scores, places, penalty, reference)
        means = [] if lacks else _by_dataset({place: samples[place] for place in places}, penalty, reference)
        found = mean_of(means).times(100) if means else over_seeds([])
        names = {"penalty": penalty, "reference": reference, "primary": primary, "lacks": lacks}
        rows.append(names | counts | row_of(found, level))
    frame = estimates.adjusted_words(pd.DataFrame(rows), ["primary"], scores.rope, level)
    judged = [_judged(scores, places, row) for row in frame.itertuples()]
    frame = frame.assign(word=[each.word for each in judged], why=[each.why for each in judged])
    return frame.rename(columns={"mean": "difference"}).reindex(columns=COLUMNS)


def _by_dataset(samples: dict[Place, gain.Resampled], penalty: str, reference: str) -> list[Estimate]:
    """The mean difference over the models of each data set; none where models share no seed."""
    found = []
    for dataset in dict.fromkeys(dataset for dataset, _ in samples):
        mine = [sample for (name, _), sample in samples.items() if name == dataset]
        shared = set.intersection(*({*each.by_seed(penalty, reference).dropna().index} for each in mine))
        if not shared:
            return []
        found.append(_over_models(mine, penalty, reference, sorted(shared)))
    return found


def _over_models(samples: Sequence[gain.Resampled], penalty: str, reference: str, seeds: Sequence[int]) -> Estimate:
    """Of the networks of one data set: differences averaged over models by seed, the units of images being the same."""
    differences, without = [], []
    for each in samples:
        kept = np.isin(each.seeds, seeds)
        scores, by_seed = each.crossed.of(*map(each.penalties.index, (penalty, reference)))
        differences.append(scores[kept])
        without.append(by_seed[kept])
    return replace(estimates.crossed(np.mean(differences, axis=0), np.mean(without, axis=0)), limit=1.0)


def mean_of(means: Sequence[Estimate]) -> Estimate:
    """The mean of independent estimates, each of the same weight, with Satterthwaite's degrees of freedom (1946)."""
    variances = np.array([each.se**2 for each in means])
    freedom = np.array([each.df for each in means])
    # Without any spread, as of a penalty whose λ̂ is 0, any would do.
    df = float(variances.sum() ** 2 / (variances**2 / freedom).sum()) if variances.any() else float(freedom.min())
    mean, se = float(np.mean([each.mean for each in means])), float(np.sqrt(variances.sum())) / len(means)
    seeds, units = min(each.seeds for each in means), sum(each.units for each in means)
    return Estimate(mean, se, df, seeds, units, means[0].limit)


def sentence(scores: Scores, row: Any) -> str:
    """A row of `table` in words."""
    head = (
        f"Over the {plural(row.n_datasets, 'data set')} here and their models ({row.n_pairs} pairs), "
        f"{scores.label(row.penalty)} less {scores.label(row.reference)}"
    )
    if math.isnan(row.difference):
        return concluded(head, row)
    interval = f"{scores.looks.interval} interval {signed(row.low)} to {signed(row.high)}"
    adjusted = f"adjusted by Holm p {p_text(row.p_holm)}, of equivalence p {p_text(row.p_equivalence_holm)}"
    return concluded(f"{head}: {signed(row.difference)} points ({interval}; {adjusted})", row)


def _lacking(scores: Scores, places: Sequence[Place], penalty: str, reference: str) -> str:
    """The first data set and model that has no seed of both entries; empty where all have."""
    samples = gain.resampled(scores)
    lacking = (place for place in places if place not in samples or not samples[place].has(penalty, reference))
    return next((" with ".join(map(scores.label, place)) for place in lacking), "")


def _doubtful(scores: Scores, places: Sequence[Place]) -> str:
    """The first data set and model whose placebo differs from none; empty where none does."""
    rows = rows_of(checks.table(scores))
    odd = (row for row in rows if (row.dataset, row.model) in places and row.told.startswith(checks.DIFFERS))
    return next((f"{scores.label(row.dataset)} with {scores.label(row.model)}" for row in odd), "")


def _judged(scores: Scores, places: Sequence[Place], row: Any) -> words.Judgement:
    if row.lacks:
        pair = " and ".join(map(scores.label, (row.penalty, row.reference)))
        return words.Judgement(words.NOT_ANSWERABLE, f"Not answerable: {row.lacks} has no seed of both {pair}.")
    if where := _doubtful(scores, places):
        why = f"Not answerable: the placebo differs from none on {where}: differences are not of penalties alone."
        return words.Judgement(words.NOT_ANSWERABLE, why)
    lacking = premise.lacking(scores, [(*place, name) for place in places for name in (row.penalty, row.reference)])
    return words.judge(row.word, row.seeds, (row.high90 - row.low90) / 2, scores.rope, lacking)
