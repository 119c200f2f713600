"""The contract of a data set: its list of samples, and the arrays of some twenty of them."""

from __future__ import annotations

import pickle
from collections import Counter
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from softreg.contract.findings import Finding, held_to
from softreg.data.base import IGNORE, PARTS, Dataset, Options, Sample
from softreg.data.own import STATED, flaw
from softreg.errors import few, is_control

#: At most so many samples are read, evenly spaced over all.
READ = 20


def check_dataset(dataset: Dataset, options: Options, root: Path) -> list[Finding]:
    """All findings on a data set with the ``options`` of a study's entry, in the order of a table.

    ``root`` is where its archives' members lie; an empty folder will do for one without archives. Where there are
    archives and the folder is empty, only what needs no image is checked.
    """
    findings = held_to({"declaration": _declaration, "classes": _classes}, dataset, options)
    if dataset.archives and not any(root.iterdir()):
        names = ", ".join(archive.filename for archive in dataset.archives)
        return [*findings, Finding(True, f"not checked, as they need the archives first: {names}", rule="samples")]
    listing = held_to({"samples": _samples}, dataset, options, root)
    findings += listing
    if all(finding.kept for finding in listing):
        samples = dataset.samples(options, root)
        findings += held_to({"read": _reads}, dataset, options, spread(samples, READ), len(samples))
    return findings


def spread(samples: Sequence[Sample], count: int) -> list[Sample]:
    """At most ``count`` of the samples, evenly spaced."""
    step = max(1.0, len(samples) / count)
    return [samples[int(step * number)] for number in range(min(count, len(samples)))]


def _declaration(dataset: Dataset, options: Options) -> Iterator[Finding]:
    for key in STATED:
        text = getattr(dataset, key, None)
        yield Finding(isinstance(text, str) and bool(text), f"{key} {text!r}: a text, for the report")


def _classes(dataset: Dataset, options: Options) -> Iterator[Finding]:
    labels = dataset.labels(options)
    about = f"{len(labels)} classes: 2 to {IGNORE}, each with a name"
    named = all(isinstance(name, str) and name and not any(map(is_control, name)) for name in labels)
    yield Finding(2 <= len(labels) <= IGNORE and named, about)
    wrong = [name for name, colour in labels.items() if not _is_colour(colour)]
    yield Finding(not wrong, f"colours of three whole numbers from 0 to 255{_but(wrong)}")
    colours = [tuple(colour) for colour in labels.values()]
    twice = [name for index, name in enumerate(labels) if colours[index] in colours[:index]]
    yield Finding(not twice, f"colours that tell the classes apart{_but(twice)}")


def _is_colour(colour: Any) -> bool:
    return len(colour) == 3 and all(isinstance(level, int) and 0 <= level <= 255 for level in colour)


def _but(names: Sequence[str]) -> str:
    return f", but not of {few(names)}" if names else ""


def _samples(dataset: Dataset, options: Options, root: Path) -> Iterator[Finding]:
    first, second = dataset.samples(options, root), dataset.samples(options, root)
    listed = isinstance(first, list) and all(isinstance(sample, Sample) for sample in first)
    yield Finding(listed and len(first) > 0, f"a list of {len(first)} samples, which may not be empty")
    same = [sample.id for sample in first] == [sample.id for sample in second]
    yield Finding(same, "listed twice: the same ids in the same order; sort what a folder lists")
    twice = [str(id_) for id_, times in Counter(sample.id for sample in first).items() if times > 1]
    yield Finding(not twice, f"ids that stand once{_but(twice)}")
    named = all(isinstance(sample.id, str) and sample.id for sample in first)
    yield Finding(named, "ids that are texts")
    yield from _parts(first)


def _parts(samples: Sequence[Sample]) -> Iterator[Finding]:
    splits = {sample.split for sample in samples}
    about = f"splits {', '.join(sorted(map(str, splits)))}: {', '.join(PARTS)}, or None for all"
    yield Finding(splits == {None} or splits <= set(PARTS), about)
    grouped = all(sample.group is None or isinstance(sample.group, str) for sample in samples)
    yield Finding(grouped, "groups that are texts or None")


def _reads(dataset: Dataset, options: Options, samples: Sequence[Sample], total: int) -> Iterator[Finding]:
    arrays = [sample.read() for sample in samples]
    flaws = [
        f"{sample.id}: {problem}"
        for sample, pair in zip(samples, arrays, strict=True)
        if (problem := flaw(sample, *pair))
    ]
    if flaws:
        yield Finding(False, flaws[0])
        return
    yield Finding(True, f"{len(samples)} of {total} images: uint8 of the sample's size")
    same = all(map(np.array_equal, arrays[0], samples[0].read()))
    yield Finding(same, "read twice: the same image and mask; seed what is drawn")
    yield from held_to({"masks": _values}, list(dataset.labels(options)), [mask for _, mask in arrays], total)
    yield from held_to({"workers": _sent}, samples[0])


def _values(labels: Sequence[str], masks: Sequence[Any], total: int) -> Iterator[Finding]:
    found = {int(value) for mask in masks for value in np.unique(mask)} - {IGNORE}
    wrong = sorted(value for value in found if value >= len(labels))
    about = f"masks of 0 to {len(labels) - 1}, or {IGNORE} to ignore{_but(list(map(str, wrong)))}"
    yield Finding(not wrong, about)
    missing = [label for index, label in enumerate(labels) if index not in found]
    whole = len(masks) == total
    about = f"every class occurs{_but(missing)}" + ("" if whole else f"; {len(masks)} of {total} masks were read")
    # What some of the images do not show may be in the others: then preparing will tell.
    yield Finding(not missing or not whole, about)


def _sent(sample: Sample) -> Iterator[Finding]:
    """Other processes read the images: what reads them must pass through pickle."""
    try:
        sent = pickle.dumps(sample)
    except Exception as error:  # pickle raises what it meets: TypeError, AttributeError and its own.
        remedy = "read by functools.partial of a function of the file"
        yield Finding(False, f"cannot be sent to another process ({error}); {remedy}")
        return
    restored = pickle.loads(sent)
    same = all(map(np.array_equal, sample.read(), restored.read()))
    yield Finding(same, "a read that was sent to another process gives the same")
