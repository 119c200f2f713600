"""What a study needs for each question, what it lacks, and what it will be able to show."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from softreg.paper import stats
from softreg.paper.design.published import TestSet
from softreg.paper.design.widths import FEWEST_GROUPS, Design, span
from softreg.paper.questions import complexity, cost, degeneracy, sparsity
from softreg.paper.questions.answer import FEWEST_DATASETS, FEWEST_SEEDS, NOT_ANSWERABLE
from softreg.paper.questions.estimates import plural
from softreg.study import matrix

ANSWERABLE, IN_PART, LARGE, UNKNOWN = "answerable", "in part", "large differences only", "not known yet"
"""Beside `NOT_ANSWERABLE`: all its claims can be decided whatever the truth; some; none that is close to nothing; or
which is known once the data are prepared."""

LACKING = ""
"""The word of a part of a question that the study lacks."""

OUTER_FOLDS = "with outer folds, the images that one fold's λ is chosen on test another's"
RACED = "the race (`search: halving`) drops most strengths after the first seeds; `search: grid` keeps all"

NO_REFERENCE = "no entry of kind none has the same `training` (optimiser, learning rates, schedule): add one"


@dataclass(frozen=True)
class Finding:
    """What a study can decide of one question: a word, and the reason in one sentence without its stop."""

    key: str
    title: str
    word: str
    reason: str


def findings(design: Design) -> Iterator[Finding]:
    """Of H1 to H7."""
    titles = ("gain", "one in practice", "sparsity", "complex scenes", "cost", "choice of λ", "robustness, calibration")
    judges = (_gain, _degeneracy, _sparsity, _complexity, _cost, _regret, _robustness)
    unpaired = _few(design.evaluation, "evaluation") if design.referenced else NO_REFERENCE
    for number, (title, judge) in enumerate(zip(titles, judges, strict=True), start=1):
        lacks = unpaired if judge in (_gain, _complexity, _robustness) else ""
        yield Finding(f"H{number}", title, *((NOT_ANSWERABLE, lacks) if lacks else judge(design)))


def _few(count: int, phase: str) -> str:
    """That there are fewer seeds than a verdict needs; empty where there are enough."""
    if count >= FEWEST_SEEDS:
        return ""
    return f"{plural(count, f'{phase} seed')}, where a verdict needs {FEWEST_SEEDS}"


def _held(where: str, widths: Sequence[float], limit: float, what: str) -> tuple[str, str]:
    """The word by how many of ``widths`` are below ``limit``, and that in prose, after ``where``."""
    if not widths:
        return ANSWERABLE, f"{where}: its half widths are not known yet, and have to be below ±{limit:g}"
    good = sum(width < limit for width in widths)
    word = ANSWERABLE if good == len(widths) else IN_PART if good else LARGE
    shown = f"{good or 'none'} of {len(widths)} {what}"
    return word, f"{where}: equivalence within ±{limit:g} can be shown in {shown} (half width {span(widths)})"


def _gain(design: Design) -> tuple[str, str]:
    # Twins but for their label noise have the same test images.
    places = len(design.study.datasets) - len(complexity.label_noise_pairs(design.study.datasets))
    over_all = f"over data sets not answerable, with {places} of {FEWEST_DATASETS}" if places < FEWEST_DATASETS else ""
    if torn := _torn(design):
        where, widths = f"of these very images, {design.evaluation} seeds", design.fixed(design.evaluation)
        _, fixed = _held(where, widths, design.rope, "primary contrasts")
        return NOT_ANSWERABLE, "; ".join(filter(None, [torn, fixed, over_all]))
    known = dict.fromkeys(_images(test) for test in design.tests.values())
    n = f"{design.evaluation} seeds × {' or '.join(known)}"
    word, text = _held(n, design.half_widths(), design.rope, "primary contrasts")
    if all(test.images is None for test in design.tests.values()):
        word, text = UNKNOWN, f"{n}: what this can show is known once the data are prepared, by `snakemake data`"
    return word, "; ".join(filter(None, [text, _unreferenced(design), _seeds_needed(design), over_all]))


def _unreferenced(design: Design) -> str:
    """Which entries no difference is taken of, as no unpenalised entry is trained as they are."""
    left = [name for name, kind in design.kinds.items() if kind != "none" and name not in design.referenced]
    return f"not of {' and '.join(left)}: add an entry of kind none with the same training" if left else ""


def _images(test: TestSet) -> str:
    """What is resampled of a data set."""
    if test.groups is not None:
        return f"{test.groups} groups of test images"
    return f"{test.images} test images" if test.images else "an unknown number of test images"


def _torn(design: Design) -> str:
    """That the test images of all data sets come in too few groups; empty where they do not."""
    torn = {name: test.groups for name, test in design.tests.items() if test.groups and test.groups < FEWEST_GROUPS}
    if len(torn) < len(design.study.datasets):
        return ""
    told = " and ".join(f"those of {name} are of {plural(count, 'group')}" for name, count in torn.items())
    return f"to speak of other test images, {FEWEST_GROUPS} groups of them are needed, and {told}"


def _seeds_needed(design: Design) -> str:
    """How many seeds would show equivalence, where the design has fewer."""
    needed = design.seeds_needed()
    more = sorted(count for count in needed if count is not None and count > design.evaluation)
    texts = []
    if more:
        ends = " to ".join(dict.fromkeys(map(str, (more[0], more[-1]))))
        texts.append(f"{ends} seeds in {len(more)} of them")
    if never := needed.count(None):
        texts.append(f"more test images in {never}")
    return f"to show it in four cases of five takes {' and '.join(texts)}" if texts else ""


def _degeneracy(design: Design) -> tuple[str, str]:
    pairs = degeneracy.matches(design.study.penalties)
    if pairs.empty:
        return NOT_ANSWERABLE, "no two entries at matching strengths, such as l1 with the λ of soft"
    if matrix.is_race(vars(design.study)):
        return NOT_ANSWERABLE, RACED
    if few := _few(design.tuning, "tuning"):
        return NOT_ANSWERABLE, f"{few}; only that weights are the same bits can be shown"
    widths = design.observed("H2", "n > 1", design.tuning, "n") or design.fixed(design.tuning)
    where = f"{design.tuning} tuning seeds, {len(pairs)} matching strengths"
    return _held(where, widths, design.rope, "matching strengths")


def _sparsity(design: Design) -> tuple[str, str]:
    if not design.subjects or not design.referenced:
        return NOT_ANSWERABLE, "needs a penalty and an entry of kind none with the same `training`"
    if why := _unjudged(design):
        return NOT_ANSWERABLE, why
    controls = {*design.kinds.values()} & {*sparsity.SPARSE_CONTROLS}
    lacks = _few(design.tuning, "tuning"), "" if controls else "no pruning or small_dense to hold it against"
    if any(lacks):
        return NOT_ANSWERABLE, "; ".join(filter(None, lacks))
    shared = stats.HELD_OUT_SHARED
    widths = design.observed("H3", "bracket == 'reference'", design.tuning, "n", shared) or design.fixed(design.tuning)
    return _held(f"{design.tuning} tuning seeds", widths, sparsity.MARGIN, "penalties")


def _unjudged(design: Design) -> str:
    """Why choices over the sweep cannot be judged; empty where they can."""
    if design.study.evaluation["folds"]:
        return OUTER_FOLDS
    return RACED if matrix.is_race(vars(design.study)) else ""


def _complexity(design: Design) -> tuple[str, str]:
    levels = [len(family) for family in complexity.families(design.study.datasets)]
    drawn = LACKING, "not by drawn scenes, as no two data sets of kind shapes differ in complexity alone"
    if levels:
        widths = design.observed("H4", "quantity == 'rise of gap'", design.evaluation)
        drawn = _held(f"drawn scenes at {max(levels)} levels", widths, design.rope, "drawn contrasts")
    if torn := _torn(design):
        return _together([drawn, (LACKING, f"nor by single images: {torn}")])
    widths = design.observed("H4", "quantity == 'rise of gain with boundary density'", design.evaluation)
    where = "by single images, without a causal reading"
    return _together([drawn, _held(where, widths, design.rope, "contrasts")])


def _cost(design: Design) -> tuple[str, str]:
    sizes = len(design.study.models)
    if sizes < cost.FEWEST_SIZES:
        return NOT_ANSWERABLE, f"{plural(sizes, 'model')}, where a slope needs {cost.FEWEST_SIZES} of other sizes"
    if few := _few(design.evaluation, "evaluation"):
        return NOT_ANSWERABLE, few
    numbers = design.numbers.get("H5")
    widths: list[float] = []
    if numbers is not None and "seconds_slope_low" in numbers:
        slopes = numbers.dropna(subset="seconds_slope_low").drop_duplicates(["dataset", "penalty"])
        ends = ((slopes[f"{name}_slope_high"] - slopes[f"{name}_slope_low"]) / 2 for name in ("seconds", "memory"))
        widths = [float(value) for each in ends for value in each.dropna()]
    where = f"{sizes} models, {design.evaluation} seeds; cells have to be trained in turn"
    return _held(where, widths, cost.SLOPE_ROPE, "slopes")


def _regret(design: Design) -> tuple[str, str]:
    if why := _unjudged(design):
        return NOT_ANSWERABLE, why
    grids = [len(design.study.penalties[name]["lambda"]) for name in design.subjects]
    if max(grids, default=0) < 2:
        return NOT_ANSWERABLE, "no penalty has two λ to choose from"
    if few := _few(design.tuning, "tuning"):
        return NOT_ANSWERABLE, few
    widths = design.observed("H6", "penalty == ''", design.tuning)
    folds = "" if design.study.selection["scorer"] == "kfold" else "; not K-fold, as λ is scored by hold-out"
    most = " to ".join(dict.fromkeys(map(str, (min(grids), max(grids)))))
    word, text = _held(f"{design.tuning} tuning seeds, {most} λ", widths, design.rope, "comparisons")
    return word, f"{text}{folds}"


def _robustness(design: Design) -> tuple[str, str]:
    found = []
    corrupted = bool(design.study.evaluation["corruptions"])
    if corrupted:
        query = "part == 'miou under corruption' and quantity == 'all'"
        widths = design.observed("H7", query, design.evaluation) or design.fixed(design.evaluation)
        found.append(_held("corruptions", widths, design.rope, "contrasts"))
    noisy = bool(complexity.label_noise_pairs(design.study.datasets))
    lacking = [name for name, has in (("corruptions", corrupted), ("label noise", noisy)) if not has]
    found += [(LACKING, f"no {' and no '.join(lacking)} in the study")] if lacking else []
    word, text = _calibration(design)
    return _together([*found, (word, f"calibration: {text}")])


def _calibration(design: Design) -> tuple[str, str]:
    ropes = {name: design.study.statistics[f"rope_{name}"] for name in ("ece", "nll")}
    if None in ropes.values():
        return LARGE, "a difference can be shown, but not that there is none without `rope_ece` and `rope_nll`"
    found = []
    for name, rope in ropes.items():
        widths = design.observed("H7", f"part == 'calibration' and quantity == '{name}'", design.evaluation)
        found.append(_held(name.upper(), widths, rope, "contrasts"))
    return _together(found)


def _together(parts: Sequence[tuple[str, str]]) -> tuple[str, str]:
    """One word for a question in parts, and all its texts; a part that the study lacks has the word `LACKING`."""
    words, text = {word for word, _ in parts}, "; ".join(text for _, text in parts)
    if words == {LACKING}:
        return NOT_ANSWERABLE, text
    if words == {ANSWERABLE}:
        return ANSWERABLE, text
    return (LARGE if words - {LACKING} == {LARGE} else IN_PART), text
