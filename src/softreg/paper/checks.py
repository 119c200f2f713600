"""What a study's checks found, and whether its grids reach down to no penalty.

A check is an entry of ``penalties`` that is trained and scored like the others, but says something of the study: a
placebo (a penalty at λ = 1e-12) that the code of a penalty alone changes nothing, a longer training that the schedule
was long enough.
"""

from __future__ import annotations

import math
from functools import lru_cache
from typing import Any

import pandas as pd

from softreg.paper.questions import gain, premise
from softreg.paper.questions.answer import FEWEST_SEEDS
from softreg.paper.questions.estimates import columns_of, plural
from softreg.paper.scores import Counts, Scores
from softreg.paper.stats import Estimate, over_seeds
from softreg.scoring.select import GROUP
from softreg.study.matrix import Group

COLUMNS = [*GROUP, "what", "reference", "difference", "low", "high", "seeds", "told"]
DIFFERS = "differs from"
"""What `in_words` begins with of a placebo that is not as none."""
WEAKEST = [*GROUP, "lambda", "difference", "low", "high", "seeds"]


@lru_cache(maxsize=1)
def table(scores: Scores) -> pd.DataFrame:
    """A row for each data set, model and check, in the order of the study: columns `COLUMNS`.

    ``what`` is the check in words. ``difference`` is its test mIoU less that of its ``reference``, in points, with the
    95 % interval (low, high) over seeds and images, as the differences of H1 have it; ``seeds`` are those that both
    have. Made once for each `Scores`, as is `weakest`.
    """
    every = Scores(scores.folder, checks=True)
    groups = [group for group in every.groups if group not in scores.groups]
    tested = {place: every.test_counts(*place) for place in dict.fromkeys(group[:2] for group in groups)}
    return pd.DataFrame([_row(every, group, tested[group[:2]]) for group in groups], columns=COLUMNS)


def _row(every: Scores, group: Group, counts: dict[str, Counts]) -> dict[str, Any]:
    entry, reference = every.study["penalties"][group[2]], every.references[group[2]]
    both = {name: counts[name] for name in (group[2], reference) if name in counts}
    found = gain.resample(every, group[0], both).estimate(group[2], reference) if len(both) == 2 else over_seeds([])
    judged = (premise.of_entry(every, (*group[:2], name), mine) for name, mine in both.items())
    lacking = next(filter(None, judged), None)
    words = lacking.word if lacking else in_words(found, entry, every.label(reference), every.rope)
    return _numbers(group, found) | {"reference": reference, "told": words, "what": _what(entry)}


def _numbers(group: Group, found: Estimate) -> dict[str, Any]:
    return dict(zip(GROUP, group, strict=True)) | columns_of(found) | {"difference": found.mean}


def _what(entry: dict[str, Any]) -> str:
    strength = "" if entry["kind"] == "none" else f" at λ = {entry['lambda'][0]}"
    epochs = entry["training"].get("epochs")
    return f"{entry['kind']}{strength}{f', {epochs} epochs' if epochs else ''}"


def in_words(found: Estimate, entry: dict[str, Any], reference: str, rope: float) -> str:
    """What the difference of a check says: nothing by its 90 % interval, something by its 95 % one, or neither."""
    if found.seeds < FEWEST_SEEDS:
        return f"{plural(found.seeds, 'seed')}: too few to tell"
    if math.isnan(found.se):
        return "nothing is told beyond these images"
    narrow, wide = found.interval(0.9), found.interval()
    if -rope < narrow.low and narrow.high < rope:
        return f"as {reference}, within ±{rope:g} points"
    if not (wide.low > 0 or wide.high < 0):
        return "undecided: more seeds or images would tell"
    if "epochs" in entry["training"]:
        return "better: trainings had not converged" if found.mean > 0 else "worse: more epochs overfit"
    return f"{DIFFERS} {reference}: differences of penalties hold more than the penalty"


@lru_cache(maxsize=1)
def weakest(scores: Scores) -> pd.DataFrame:
    """Of each entry that has several λ, the weakest against no penalty, on validation: columns `WEAKEST`.

    ``difference`` is in points of mIoU, paired by tuning seed, a mean with its 95 % t-interval over these. Near 0, the
    grid begins where the penalty does nothing; if not, weaker strengths are missing. Of entries whose reference has
    learnt nothing, there is no row: they would be near 0 whatever a penalty does.
    """
    seeds = scores.sweep_seeds.set_index([*GROUP, "lambda"])
    rows = []
    for dataset, model, name in scores.groups:
        grid, reference = scores.study["penalties"][name]["lambda"], scores.references[name]
        if len(grid) < 2 or not reference or (dataset, model, reference) in premise.unlearnt(scores):
            continue
        keys = (dataset, model, name, grid[0]), (dataset, model, reference, "0")
        mine, plain = (seeds[seeds.index == key].set_index("seed")["miou"] for key in keys)
        found = over_seeds(100 * (mine - plain).to_numpy(), 100)
        rows.append(_numbers((dataset, model, name), found) | {"lambda": grid[0]})
    return pd.DataFrame(rows, columns=WEAKEST)
