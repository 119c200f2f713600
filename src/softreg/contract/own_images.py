"""A look at a study's own data before any job: all headers and a sample of the pixels."""

from __future__ import annotations

import pickle
from collections import Counter
from collections.abc import Sequence
from functools import partial
from pathlib import Path

import numpy as np

from softreg.contract.dataset import READ, spread
from softreg.data import datasets
from softreg.data.base import IGNORE, Options, Sample
from softreg.data.prepare import check_ids, read_checked
from softreg.data.remarks import unlisted
from softreg.data.sizes import common_size, padding_told
from softreg.data.split import Parts, assign
from softreg.errors import UserError, each
from softreg.own.sources import is_own
from softreg.study.config import Study
from softreg.study.folds import Entries, place_of


def look_all(study: Study) -> list[str]:
    """As `look`, of each data set of a study that is the user's. Raises UserError with a sentence for each data set."""
    lines, faults = list[str](), list[str]()
    entries: Entries = {}
    for name, entry in study.datasets.items():
        # Of outer folds, the first.
        entries.setdefault(place_of(study.datasets, name)[0], entry)
    for name, entry in entries.items():
        try:
            lines += look(name, entry) if _can_look(entry["kind"]) else []
        except UserError as error:
            faults.append(f"{study.file}: datasets.{name}: {error}")
    if faults:
        raise UserError(*faults)
    return lines


def _can_look(kind: str) -> bool:
    """Whether a kind is the user's: folders or a table, or a class of theirs whose images need no archive."""
    return kind == "folder" or (is_own(kind) and not datasets.archives_of(kind))


def look(name: str, options: Options) -> list[str]:
    """Lines on the data set ``name`` with the ``options`` of a study's entry. Raises UserError for what is wrong.

    Folders, table, pairs, sizes, formats and the split are all looked at; of the pixels, only some images'.
    """
    dataset = datasets.load(options["kind"], options)
    samples = datasets.samples_of(dataset, options, Path())
    check_ids(name, samples)
    parts, _ = assign(name, samples, options["split"])
    told = padding_told(samples, common_size(name, samples, options), options["fit"])
    classes, some = list(dataset.labels(options)), spread(samples, READ)
    values = each(partial(_values, len(classes)), some, "images that were read")
    done = f"{len(samples)} images, {len(some)} of them read without a fault"
    seen = set().union(*values)
    lines = [done, *told, *_unseen(classes, seen), *dataset.remarks(options), *unlisted(samples, parts), *_torn(parts)]
    return [f"{name}: {line}" for line in lines]


def _values(classes: int, sample: Sample) -> set[int]:
    _, mask = read_checked(sample, classes)
    # Other processes will read it: raises UserError where a user's read cannot be sent there.
    pickle.dumps(sample)
    return set(np.unique(mask).tolist()) - {IGNORE}


def _unseen(classes: Sequence[str], seen: set[int]) -> list[str]:
    """A sentence on the classes that no mask has shown."""
    missing = [name for index, name in enumerate(classes) if index not in seen]
    return [f"none of those shows {', '.join(missing)}"] if missing else []


def _torn(parts: Parts) -> list[str]:
    """A sentence on the groups whose images are in several parts."""
    groups = [{sample.group for sample in members} - {None} for members in parts.values()]
    count = Counter(group for part in groups for group in part)
    torn = sum(number > 1 for number in count.values())
    text = f"{torn} of {len(count)} groups have images in more than one part, so that scores are not for new groups"
    return [f"{text}; `split: {{rule: group}}` keeps groups whole"] if torn else []
