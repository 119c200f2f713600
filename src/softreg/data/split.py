"""Splitting the samples of a data set into train, val and test. Every rule is a function of the ids and the
seed alone.

Random orders come from SHA-256 of seed and id, not from a random generator: they are the same on every
platform and with every library version, and adding an image moves no other image to another part except at
the two borders.
"""

from __future__ import annotations

import hashlib
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path

from softreg.data.base import PARTS, Options, Sample, lines_of
from softreg.data.tables import as_id
from softreg.errors import UserError, is_control, refuse, show

Parts = dict[str, list[Sample]]

#: Random orders of the groups that are tried; the one whose parts come nearest to the fractions is taken.
GROUP_TRIALS = 200


def assign(name: str, samples: Sequence[Sample], split: Options) -> tuple[Parts, str]:
    """The samples of each part, in their given order, and the rule in words; ``split`` as in a study.

    Raises :class:`UserError` where the rule lacks a split, group or image that it needs, for an empty part, and for
    names with control characters or in no Unicode, which no record could hold nor log show.
    """
    names = {text: None for sample in samples for text in (sample.id, sample.group or "")}
    wrong = [text for text in names if any(map(is_control, text))]
    refuse(
        [f"the image or group {show(text)} of {name} has a control character; rename it" for text in wrong],
        len(names),
        "names",
    )
    rule = _folded if split["fold"] is not None else _RULES[split["rule"]]
    part_of, words = rule(name, samples, split)
    parts: Parts = {part: [sample for sample in samples if part_of.get(sample.id) == part] for part in PARTS}
    for part, members in parts.items():
        if not members:
            raise UserError(
                f"`datasets.{name}.split` ({words}) leaves no image of {len(samples)} for {part}: "
                "change the shares, the rule or the seed"
            )
    return parts, words


def shuffled(ids: Sequence[str], seed: int | str) -> list[str]:
    """The ids in a random order that depends on the set of ids and the seed only."""
    return sorted(ids, key=lambda id_: (hashlib.sha256(f"{seed}:{id_}".encode()).digest(), id_))


def shares(split: Options) -> tuple[float, float]:
    """The shares of val and test."""
    return float(split["val"]), float(split["test"])


def _official(name: str, samples: Sequence[Sample], split: Options) -> tuple[dict[str, str], str]:
    part_of = {sample.id: sample.split for sample in samples if sample.split is not None}
    if not part_of:
        raise UserError(
            f"`datasets.{name}.split.rule` is 'official', but this data set has no published split: "
            "use fraction, list or group"
        )
    if without := [sample.id for sample in samples if sample.split is None]:
        raise UserError(f"`datasets.{name}` has no split for the image {without[0]}: name one for all or for none")
    if "val" in part_of.values():
        return part_of, "official"
    val, seed = float(split["val"]), int(split["seed"])
    train = shuffled([id_ for id_, part in part_of.items() if part == "train"], seed)
    part_of |= dict.fromkeys(train[: round(val * len(train))], "val")
    return part_of, f"official test; val is a share of {val:g} of the published training part, seed {seed}"


def _fraction(name: str, samples: Sequence[Sample], split: Options) -> tuple[dict[str, str], str]:
    (val, test), seed = shares(split), int(split["seed"])
    order = shuffled([sample.id for sample in samples], seed)
    first, second = round(val * len(order)), round((val + test) * len(order))
    part_of = dict.fromkeys(order[:first], "val") | dict.fromkeys(order[first:second], "test")
    part_of |= dict.fromkeys(order[second:], "train")
    return part_of, f"random, val {val:g} and test {test:g}, seed {seed}"


def _list(name: str, samples: Sequence[Sample], split: Options) -> tuple[dict[str, str], str]:
    known = {sample.id for sample in samples}
    part_of: dict[str, str] = {}
    for part in PARTS:
        path = Path(split[f"{part}_list"])
        for line in lines_of(path):
            id_ = line if line in known else as_id(line)
            if id_ not in known:
                example = min(known, default="none")
                raise UserError(f"{path} names {line!r}, which is no image of {name} (an id looks like {example!r})")
            if id_ in part_of:
                raise UserError(f"{path} names {id_!r}, which is already in {part_of[id_]}: list each image once")
            part_of[id_] = part
    return part_of, "lists; images in no list are left out"


def _group(name: str, samples: Sequence[Sample], split: Options) -> tuple[dict[str, str], str]:
    (val, test), seed, rule = shares(split), int(split["seed"]), split["rule"]
    groups = _groups(name, samples, rule)
    sizes = Counter(groups.values())
    if len(sizes) < len(PARTS):
        raise UserError(f"`datasets.{name}.split.rule` is {rule!r}, which needs three groups: there are {len(sizes)}")
    targets = {
        "train": (1 - val - test) * len(samples),
        "val": val * len(samples),
        "test": test * len(samples),
    }
    best = _best_deal(sizes, targets, str(seed))
    part_of = {id_: best[group] for id_, group in groups.items()}
    return part_of, f"whole {rule.removesuffix('s')}s, val {val:g} and test {test:g}, seed {seed}"


def _folded(name: str, samples: Sequence[Sample], split: Options) -> tuple[dict[str, str], str]:
    """One of several outer folds tests: images or, by ``group`` and ``blocks``, whole groups. val is drawn of the rest.

    Which fold an image is in depends on its id (or its group), the seed and the number of folds alone.
    """
    (fold, of), val, seed = split["fold"], float(split["val"]), int(split["seed"])
    rule = str(split["rule"])
    whole = rule != "fraction"
    if not whole and any(sample.group for sample in samples):
        raise UserError(
            f"`datasets.{name}.split.rule` is 'fraction', but its images come in groups, which outer folds have to "
            "keep whole: use group"
        )
    groups = _groups(name, samples, rule) if whole else {sample.id: sample.id for sample in samples}
    sizes = Counter(groups.values())
    # Beside the fold that tests, two are to be had for train and val.
    if len(sizes) < (needed := max(of, len(PARTS))):
        noun = f"{rule.removesuffix('s')}s, which stay together" if whole else "images"
        raise UserError(f"`datasets.{name}` has {len(sizes)} {noun}: {of} outer folds need at least {needed}")
    fold_of = _folds(sizes, of, seed)
    rest = {group: size for group, size in sizes.items() if fold_of[group] != fold}
    targets = {"train": sum(rest.values()) - val * len(samples), "val": val * len(samples)}
    dealt = _best_deal(rest, targets, f"{seed}.{fold}") if whole else _drawn(list(rest), targets, f"{seed}.{fold}")
    part_of = {id_: dealt.get(group, "test") for id_, group in groups.items()}
    unit = f"whole {rule.removesuffix('s')}s" if whole else "random"
    return part_of, f"{unit}, outer fold {fold} of 0 to {of - 1} tests, val {val:g}, seed {seed}"


def _groups(name: str, samples: Sequence[Sample], rule: str) -> dict[str, str]:
    """The group of each image's id."""
    for sample in samples:
        if sample.group is None:
            raise UserError(f"`datasets.{name}.split.rule` is {rule!r}, but the image {sample.id} has no group")
    return {sample.id: str(sample.group) for sample in samples}


def _folds(sizes: Mapping[str, int], folds: int, seed: int) -> dict[str, int]:
    """The fold of each group: in random order, the largest first, each to the smallest fold."""
    filled = [0] * folds
    fold_of = {}
    for group in sorted(shuffled(list(sizes), f"folds.{seed}"), key=lambda group: -sizes[group]):
        fold_of[group] = filled.index(min(filled))
        filled[fold_of[group]] += sizes[group]
    return fold_of


def _drawn(ids: Sequence[str], targets: Mapping[str, float], seed: str) -> dict[str, str]:
    """Give val as many images as it should have, and train the others."""
    order, count = shuffled(ids, seed), round(targets["val"])
    return dict.fromkeys(order[:count], "val") | dict.fromkeys(order[count:], "train")


def _best_deal(sizes: Mapping[str, int], targets: Mapping[str, float], seed: str) -> dict[str, str]:
    """The part of each group, by the random order whose parts come nearest to ``targets`` (images)."""
    trials = (_deal(shuffled(list(sizes), f"{seed}.{trial}"), sizes, targets) for trial in range(GROUP_TRIALS))
    return min(trials, key=lambda dealt: _distance(dealt, sizes, targets))


def _deal(order: Sequence[str], sizes: Mapping[str, int], targets: Mapping[str, float]) -> dict[str, str]:
    """Give each group, in order, to the part that lacks most."""
    lacking, dealt = dict(targets), {}
    for group in order:
        part = max(targets, key=lambda part: lacking[part])
        dealt[group] = part
        lacking[part] -= sizes[group]
    return dealt


def _distance(dealt: Mapping[str, str], sizes: Mapping[str, int], targets: Mapping[str, float]) -> tuple[int, float]:
    """How far the parts are from their targets: empty parts first, then images."""
    got = dict.fromkeys(targets, 0)
    for group, part in dealt.items():
        got[part] += sizes[group]
    return sum(size == 0 for size in got.values()), sum(abs(got[part] - targets[part]) for part in targets)


_RULES: dict[str, Callable[[str, Sequence[Sample], Options], tuple[dict[str, str], str]]] = {
    "official": _official,
    "fraction": _fraction,
    "list": _list,
    "group": _group,
    # What a block is, and which images are in one, is the data set's to say.
    "blocks": _group,
}
