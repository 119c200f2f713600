"""H1: does a penalty at λ̂ improve test mIoU over none, and the article's soft over L1, L2 and decoupled decay?"""

from __future__ import annotations

import math
from dataclasses import dataclass, replace
from functools import cached_property, lru_cache
from itertools import product
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from softreg.paper import folded, stats
from softreg.paper.questions import estimates, premise
from softreg.paper.questions.answer import FEWEST_DATASETS, NOT_ANSWERABLE, Answer, Verdict, listed
from softreg.paper.questions.complexity import label_noise_pairs
from softreg.paper.questions.estimates import p_text, plural, row_of, rows_of, signed
from softreg.paper.scores import Counts, Scores
from softreg.paper.stats import over_seeds
from softreg.scoring.select import GROUP
from softreg.study.matrix import Group
from softreg.study.treatment import CONTROLS

Table = NDArray[np.int64]

HEAD = Answer(
    key="H1",
    question="Does a penalty help?",
    claim="its test mIoU is above that of none, or of the penalty that it is compared with",
    estimand="Mean difference in test mIoU (points, 0 to 100) between two entries of the study, each at its λ̂, over "
    "training runs and test images like those drawn, within one data set and model.",
    statistic="Mean paired difference over evaluation seeds, the counts summed over all test images before a ratio is "
    "taken. p from its t statistic, adjusted by Holm within the primary contrasts of one data set and model, and "
    "within the secondary ones, and so is the p of two one-sided tests of equivalence; beside it the sign-flip p over "
    "seeds on these test images.",
    interval="95 % interval over seeds and images, crossed: seeds (training runs) and test images, or the groups that "
    "they come in (patients, videos, blocks), are the units of resampling, paired by both; the variance is that "
    "between seeds and that of leaving out each image or group in turn (jackknife), with t of Satterthwaite's degrees "
    "of freedom. λ̂ is held fixed: it is for networks at the λ̂ chosen here, not for choosing it again.",
)

BY_FOLD = (
    "95 % interval over seeds and outer folds, crossed, each fold with a λ̂, networks and test images of its own: the "
    "variance is that between seeds and that of leaving out each fold in turn (jackknife), with t of Satterthwaite's "
    "degrees of freedom. So the choice of λ, the split, trainings and images are part of it; counts are summed over "
    "the test images of all folds before a ratio is taken."
)

UNPAIRED = "No entry has a reference: add an unpenalised one (kind none) of the same update rule to the penalties."

SOFT = "soft"
RIVALS = ("l1", "l2", "decoupled_decay")
"""Kinds that soft is held against beside none."""
ALL_DATASETS, ALL_MODELS = "all data sets", "all models"
"""In the place of names, where a verdict is over all of them; no entry of a study can have such a name."""

COLUMNS = [*GROUP, "reference", "primary", "n_seeds", "n_images", "n_groups", "difference", "low", "high", "low90"]
COLUMNS += ["high90", "p", "p_seed", "p_holm", "p_equivalence", "p_equivalence_holm", "correlation", "detectable"]
COLUMNS += ["word", "why", "lambda", "reference_lambda"]
POOLED = ["penalty", "reference", "difference", "low", "high", "p", "p_holm", "word", "datasets", "rank"]
POOLED += ["critical_difference"]


@dataclass(frozen=True)
class Resampled:
    """The scores of one data set and model, on the ``images`` of test and on these less one unit in turn.

    A unit is a group of images, or an image without one. The axes P and S of ``crossed``, and of the ``counts`` (TP, FP
    and FN; 3, P, S, units, C), follow ``penalties`` and ``seeds``; nan where a penalty lacks the seed. With outer
    folds, these are the units of ``crossed``.
    """

    penalties: list[str]
    seeds: list[int]
    images: int
    counts: Table
    crossed: stats.Crossed

    def estimate(self, penalty: str, reference: str | None = None) -> stats.Estimate:
        """Mean test mIoU, or its mean difference to ``reference``, in points, over the seeds that have it."""
        part = self.part(self.crossed, *filter(None, (penalty, reference)))
        if not part.scores.size:
            return stats.Estimate(math.nan, math.nan, math.nan, 0, part.units)
        found = stats.crossed_interval(part, 0, None if reference is None else 1)
        return replace(found, limit=1.0).times(100)

    def has(self, penalty: str, reference: str) -> bool:
        """Whether a seed has both."""
        return {penalty, reference} <= {*self.penalties} and bool(self.by_seed(penalty, reference).notna().any())

    def part(self, crossed: stats.Crossed, *penalties: str) -> stats.Crossed:
        """``crossed``, or `over_units`, of these penalties alone, on the seeds that all of them have."""
        places = [self.penalties.index(name) for name in penalties]
        kept = ~np.isnan(crossed.scores[places]).any(axis=0)
        return replace(crossed, scores=crossed.scores[places][:, kept], by_seed=crossed.by_seed[places][:, kept])

    @cached_property
    def over_units(self) -> stats.Crossed:
        """`crossed`, less one unit in turn also where that leaves out outer folds."""
        return self.crossed if self.crossed.units == self.counts.shape[3] else stats.crossed_jackknife(*self.counts)

    @cached_property
    def first(self) -> dict[str, float]:
        """Share of the bootstrap's resamples in which a penalty has the best mean; a resample with a tie is divided.

        Over the seeds that all penalties have; nan where they share less than two, or all images are of one unit.
        """
        shared = ~np.isnan(self.crossed.scores).any(axis=0)
        if shared.sum() < 2 or self.crossed.units < 2:
            return dict.fromkeys(self.penalties, math.nan)
        means = stats.bootstrap_means(*self.counts[:, :, shared])
        first = means == means.max(axis=0)
        return dict(zip(self.penalties, (first / first.sum(axis=0)).mean(axis=1).tolist(), strict=True))

    def by_seed(self, penalty: str, reference: str | None = None) -> pd.Series[float]:
        """Test mIoU by seed, or its difference to ``reference``, in points; nan where there is none."""
        values = self.crossed.scores[self.penalties.index(penalty)]
        if reference is not None:
            values = values - self.crossed.scores[self.penalties.index(reference)]
        return pd.Series(100 * values, index=self.seeds)


@lru_cache(maxsize=1)
def resampled(scores: Scores) -> dict[tuple[str, str], Resampled]:
    """`Resampled` of each (data set, model) that has test scores; made once for each `Scores`."""
    places = product(scores.study["datasets"], scores.study["models"])
    return {place: resample(scores, place[0], counts) for place in places if (counts := scores.test_counts(*place))}


def resample(scores: Scores, dataset: str, counts: dict[str, Counts]) -> Resampled:
    """`Resampled` of the entries of one data set and model whose test ``counts`` these are; at least one."""
    first = next(iter(counts.values()))
    seeds = sorted({seed for each in counts.values() for seed in each.seeds})
    whole = np.zeros((3, len(counts), len(seeds), *first.table.shape[2:]), np.int64)
    for place, each in enumerate(counts.values()):
        # A seed that an entry lacks has no pixel there, so that its mIoU is nan.
        whole[:, place, np.searchsorted(seeds, each.seeds)] = each.table
    units = stats.by_unit(whole, scores.units(dataset, first.images))
    crossed = stats.crossed_jackknife(*(stats.by_unit(whole, first.folds) if scores.folds else units))
    return Resampled(list(counts), seeds, len(first.images), units, crossed)


def pairs(scores: Scores, dataset: str, model: str) -> list[tuple[str, str, bool]]:
    """The contrasts of one data set and model: penalty, reference, and whether it is primary.

    Each entry is held against the unpenalised one of the same update rule, and soft also against the `RIVALS` that act
    on the same weights by the same update rule. Primary are those of soft; where there is no soft, all.
    """
    entries, kinds, groups = scores.study["penalties"], scores.kinds, set(scores.groups)
    trained = [name for name in scores.penalties if (dataset, model, name) in groups]
    softs = [name for name in trained if kinds[name] == SOFT]
    found = []
    for name in trained:
        plain = scores.references[name]
        if kinds[name] != "none" and plain in trained:
            found.append((name, plain, name in softs or not softs))
        for kind, rival in product(RIVALS if name in softs else (), trained):
            alike = all(entries[rival][key] == entries[name][key] for key in ("training", "weights"))
            found += [(name, rival, True)] if kinds[rival] == kind and alike else []
    return found


@lru_cache(maxsize=1)
def contrasts(scores: Scores) -> pd.DataFrame:
    """A row for each contrast with a seed that both sides have; made once for each `Scores`.

    Columns: dataset, model, penalty, reference, primary, n_seeds, n_images, n_groups (that these images come in, or
    their number where each is its own); difference in points of test mIoU with its 95 % interval (low, high) and its
    90 % interval, over groups and seeds; p of no difference by the same t statistic, p_seed by sign flips over seeds on
    these images, p_equivalence, p_holm and p_equivalence_holm (adjusted within the primary or the secondary
    contrasts that the study asks of its data set and model, tested yet or not); correlation of the two over seeds;
    detectable (the difference found with 80 % power at this n); word (a verdict on "the difference is above 0", by
    adjusted p) and why (it is refused, if it is), lambda and reference_lambda. nan where not defined. With several
    planned looks, intervals are those of the level of each.
    """
    chosen = scores.selection.set_index(GROUP)["lambda"].to_dict()
    rows = []
    for (dataset, model), sample in resampled(scores).items():
        for penalty, reference, primary in pairs(scores, dataset, model):
            names = {"dataset": dataset, "model": model, "primary": primary}
            names["lambda"] = chosen.get((dataset, model, penalty), "")
            names["reference_lambda"] = chosen.get((dataset, model, reference), "")
            rows.append(names | _contrast(sample, penalty, reference, scores.looks.level))
    frame = estimates.judged_words(
        scores, pd.DataFrame(rows), ["dataset", "model", "primary"], scores.rope, scores.looks.level
    )
    frame = frame.rename(columns={"mean": "difference", "seeds": "n_seeds"}).reindex(columns=COLUMNS)
    frame = frame[frame["n_seeds"] > 0].reset_index(drop=True)
    of_one = frame["dataset"].isin([name for name in scores.study["datasets"] if scores.single_subject(name)])
    return frame.assign(word=frame["word"].mask(of_one, NOT_ANSWERABLE))


def to_none(scores: Scores) -> pd.DataFrame:
    """The rows of `contrasts` against an unpenalised entry."""
    frame = contrasts(scores)
    return frame[frame["reference"].map(scores.kinds) == "none"]


def _contrast(sample: Resampled, penalty: str, reference: str, level: float) -> dict[str, Any]:
    names = {"penalty": penalty, "reference": reference, "n_images": sample.images, "n_groups": sample.over_units.units}
    if not sample.has(penalty, reference):
        return names | row_of(over_seeds([]), level)
    estimate, by_seed = sample.estimate(penalty, reference), sample.by_seed
    return (
        names
        | row_of(estimate, level)
        | {
            "p_seed": stats.sign_flip_p(by_seed(penalty, reference)),
            "correlation": stats.pair_correlation(by_seed(penalty), by_seed(reference)),
            "detectable": stats.detectable_effect(estimate.se, estimate.df, alpha=level),
        }
    )


def seed_differences(scores: Scores) -> pd.DataFrame:
    """Columns dataset, model, penalty, reference, seed, difference (points): the pairs behind `contrasts`."""
    samples, parts = resampled(scores), []
    for row in rows_of(contrasts(scores)):
        values = samples[row.dataset, row.model].by_seed(row.penalty, row.reference).dropna()
        names = {name: getattr(row, name) for name in (*GROUP, "reference")}
        parts.append(pd.DataFrame({**names, "seed": values.index, "difference": values.to_numpy()}))
    columns = [*GROUP, "reference", "seed", "difference"]
    return pd.concat(parts, ignore_index=True) if parts else pd.DataFrame(columns=columns)


def pooled(scores: Scores) -> pd.DataFrame:
    """The penalties over all data sets, empty where there is one pair of data set and model: columns `POOLED`.

    difference, low, high, p, p_holm (over the penalties) and word: of the t-test over ``datasets``, each the mean over
    its models of the penalty less the unpenalised entry of its update rule. The data set is the unit: its models and
    seeds share what a penalty does to it. With fewer than `FEWEST_DATASETS` the word is "not answerable". A data set
    that is another's twin but for its label noise has the same test images, and is left out, as are entries that have
    not learnt. Differences are paired by seed. rank: mean over pairs of data set and model, 1 the best, of the entries
    that all pairs have, with Nemenyi's critical_difference; descriptive only. nan where not defined.
    """
    tests = distinct_tests(scores)
    tests = tests.assign(score=100 * tests["miou"].astype(float))
    by_seed = tests.pivot_table(index=["dataset", "model", "seed"], columns="penalty", values="score", aggfunc="mean")
    table = by_seed.groupby(["dataset", "model"]).mean()
    if len(table) < 2:
        return pd.DataFrame(columns=POOLED)
    ranks = stats.ranks(table.dropna(axis=1))
    frame = over_datasets(scores, by_seed)
    order = [name for name in scores.penalties if name in set(frame["penalty"]) | set(ranks.mean.index)]
    frame = frame.set_index("penalty").reindex(order).rename_axis("penalty").reset_index()
    return frame.assign(rank=frame["penalty"].map(ranks.mean), critical_difference=ranks.critical_difference)[POOLED]


def over_datasets(scores: Scores, table: pd.DataFrame) -> pd.DataFrame:
    """The columns of `pooled` but those of ranks, of a ``table`` (points) of data set × model × seed by penalty.

    Of a table without seeds, a mean over them stands for each pair of data set and model.
    """
    rows = []
    for name in (each for each in scores.penalties if scores.kinds[each] != "none" and each in table):
        if (plain := scores.references[name]) in table:
            means = (table[name] - table[plain]).groupby(["dataset", "model"]).mean().groupby("dataset").mean().dropna()
            row = row_of(over_seeds(means.to_numpy(), limit=100))
            rows += [row | {"penalty": name, "reference": plain}] if len(means) else []
    frame = estimates.adjusted_words(pd.DataFrame(rows), [], scores.rope)
    if frame.empty:
        return pd.DataFrame(columns=POOLED)
    frame = frame.rename(columns={"mean": "difference", "seeds": "datasets"})
    return frame.assign(word=frame["word"].mask(frame["datasets"] < FEWEST_DATASETS, NOT_ANSWERABLE))


def distinct_tests(scores: Scores) -> pd.DataFrame:
    """The final's test scores to sum up over data sets: of one of twins but for their label noise, and what has learnt.

    Twins have the same test images, which would count twice.
    """
    twins = [noisy for _, noisy in label_noise_pairs(scores.study["datasets"])]
    return premise.learnt_only(scores, scores.final_test[~scores.final_test["dataset"].isin(twins)])


def answer(scores: Scores) -> Answer:
    """The answer to H1; see `softreg.paper.questions`."""
    # It is made from what is here.
    from softreg.paper.questions import over_these

    frame, over_all = contrasts(scores), pooled(scores)
    if frame.empty:
        return replace(HEAD, absent=_absent(scores))
    over_all = over_all.assign(dataset=ALL_DATASETS, model=ALL_MODELS, role="over data sets; rank descriptive")
    here = over_these.table(scores)
    here = here.assign(dataset=over_these.HERE, model=over_these.MODELS_HERE, role="mean over these")
    told = (frame, sentence), (over_all[over_all["word"].notna()], _pooled_sentence), (here, over_these.sentence)
    verdicts = [
        Verdict(row.dataset, row.model, _subject(scores, row), row.word, in_words(scores, row))
        for rows, in_words in told
        for row in rows_of(rows)
    ]
    tables = [frame.assign(role=np.where(frame["primary"], "primary", "secondary")), over_all]
    tables.append(here.drop(columns=["primary", "n_datasets", "n_pairs"]))
    parts = scores.looks.plan(), _counted(scores, frame), _pooled_summary(scores, over_all)
    head = replace(HEAD, interval=BY_FOLD) if scores.folds else HEAD
    return replace(
        head,
        summary=" ".join(filter(None, parts)),
        verdicts=verdicts,
        numbers=pd.concat([table for table in tables if len(table)], ignore_index=True),
        figures=("paired_difference",),
    )


def _absent(scores: Scores) -> str:
    if not any(pairs(scores, dataset, model) for dataset, model, _ in scores.groups):
        return UNPAIRED
    return f"No evaluation seed has a test score on both sides of a contrast yet: {scores.finish('final')}"


def _subject(scores: Scores, row: Any) -> str:
    return f"{scores.label(row.penalty)} against {scores.label(row.reference)}"


def sentence(scores: Scores, row: Any) -> str:
    """A row of `contrasts` (``lambda`` renamed ``lambda_``) in words, with every number that its verdict rests on."""
    text = (
        f"On {scores.label(row.dataset)} with {scores.label(row.model)}, {_at(scores, row, row.penalty, row.lambda_)} "
        f"less {_at(scores, row, row.reference, row.reference_lambda)}: {signed(row.difference)} points of test mIoU"
    )
    seeds, images = plural(row.n_seeds, "seed"), estimates.images_told(row.n_images, row.n_groups)
    if subject := scores.single_subject(row.dataset):
        of_one = f"All {row.n_images} test images show {subject}, which stands for no other"
        return estimates.concluded(f"{text} from {seeds}. {of_one}", row)
    if math.isnan(row.low):
        return estimates.concluded(f"{text} from {seeds} and {images} of test, which gives no interval", row)
    parts = [
        f"{text} ({scores.looks.interval} interval {signed(row.low)} to {signed(row.high)} over {_units(scores, row)})",
        f"p {p_text(row.p)}, adjusted by Holm over the {'primary' if row.primary else 'secondary'} contrasts "
        f"p {p_text(row.p_holm)}",
        f"sign-flip p over seeds {p_text(row.p_seed)}",
        f"p of equivalence within ±{scores.rope:g} points {p_text(row.p_equivalence)}, adjusted in the same way "
        f"{p_text(row.p_equivalence_holm)}",
    ]
    if not math.isnan(row.correlation):
        parts.append(f"correlation of the pairs {signed(row.correlation)}")
    if not math.isnan(row.detectable):
        parts.append(f"80 % power at this n needs a difference of {row.detectable:.2f} points")
    return estimates.concluded("; ".join(parts), row)


def _units(scores: Scores, row: Any) -> str:
    """What the interval of a contrast is over."""
    seeds = plural(row.n_seeds, "seed")
    if scores.folds:
        return f"{seeds} × {scores.folds} outer folds of {plural(row.n_images, 'image')}, crossed"
    return f"{seeds} × {estimates.images_told(row.n_images, row.n_groups)}, crossed"


@lru_cache(maxsize=1)
def _over_folds(scores: Scores) -> dict[Group, str]:
    """The λ̂ of all outer folds of each group, as `folded.span` shows them; empty where there are no folds."""
    rows = rows_of(scores.selection) if scores.folds else ()
    return {(row.dataset, row.model, row.penalty): folded.span(row.chosen.split(", ")) for row in rows}


def _at(scores: Scores, row: Any, name: str, strength: str) -> str:
    """An entry with its chosen strength, or those of all folds where they have chosen others; none has none to tell."""
    kind = scores.kinds[name]
    if kind == "none":
        return scores.label(name)
    several = _over_folds(scores).get((row.dataset, row.model, name), strength)
    if several != strength:
        return f"{scores.label(name)} (λ̂ {several})"
    told = f"strength {float(strength):g}" if kind in CONTROLS else f"λ̂ {strength}"
    return f"{scores.label(name)} ({told})"


def _pooled_sentence(scores: Scores, row: Any) -> str:
    n, subject = plural(int(row.datasets), "data set"), _subject(scores, row)
    text = f"Over {n}, each a mean over its models and seeds, {subject}: {signed(row.difference)} points"
    if row.word == NOT_ANSWERABLE:
        return (
            f"{text}. Not answerable by this design: the unit is the data set, and a verdict needs {FEWEST_DATASETS} "
            f"of them; here are {int(row.datasets)}."
        )
    return (
        f"{text} (95 % interval {signed(row.low)} to {signed(row.high)} by t over data sets, p {p_text(row.p)}, "
        f"adjusted by Holm over the penalties p {p_text(row.p_holm)}): {row.word}."
    )


def _counted(scores: Scores, frame: pd.DataFrame) -> str:
    """How often each pair of the primary contrasts got which word."""
    primary = frame[frame["primary"]].groupby(["penalty", "reference"], sort=False)["word"]
    told = [
        f"{scores.label(str(penalty))} above {scores.label(str(reference))}: "
        f"{listed(words, '{word} in {n}')} of {len(words)}"
        for (penalty, reference), words in primary
    ]
    return f"Verdicts by pair of data set and model: {'; '.join(told)}."


def _pooled_summary(scores: Scores, frame: pd.DataFrame) -> str:
    ranked = frame.dropna(subset=["rank", "critical_difference"]).sort_values("rank", kind="stable")
    if ranked.empty:
        return ""
    ranks = ", ".join(f"{scores.label(row.penalty)} {row.rank:.1f}" for row in rows_of(ranked))
    critical = ranked["critical_difference"].iloc[0]
    return (
        f"Mean ranks over the pairs of data set and model, descriptive only: {ranks}; Nemenyi's critical difference is "
        f"{critical:.1f}."
    )
