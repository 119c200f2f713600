"""A user's own data set, held to what preparing takes for granted: a wrong array is told and never written."""

from __future__ import annotations

import pickle
from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np

from softreg.data.base import Array, Dataset, Options, Sample
from softreg.data.datasets import class_of
from softreg.errors import UserError
from softreg.own import classes
from softreg.own.blame import blamed
from softreg.own.sources import locate

#: What a report prints of a data set.
STATED = ("title", "citation", "licence")


def load(entry: Options) -> Dataset:
    """The data set of a study's entry. Raises UserError where it does not state what a report prints."""
    dataset = classes.create(entry, Dataset)  # type: ignore[type-abstract]
    missing = next((key for key in STATED if not getattr(dataset, key, None)), None)
    if missing is None and not hasattr(dataset, "palette") and type(dataset).labels is Dataset.labels:
        missing = "palette"
    if missing is not None:
        file, name = locate(entry["kind"]).file, type(dataset).__name__
        raise UserError(f"{file}: {name} has no {missing}; give it one, as an attribute of the class")
    return dataset


def samples(dataset: Dataset, options: Options, root: Path) -> list[Sample]:
    """The samples of a user's data set, whose reads tell an error as one of the user's file."""
    file = locate(options["kind"]).file
    with blamed(file, dataset.samples):
        found = list(dataset.samples(options, root))
    wrong = next((sample for sample in found if not isinstance(sample, Sample)), None)
    if wrong is not None:
        raise UserError(f"{file}: samples() lists {wrong!r:.80}; give objects of softreg.data.base.Sample")
    return [replace(sample, read=CheckedRead(options["kind"], file, sample)) for sample in found]


@dataclass
class CheckedRead:
    """Reads ``sample`` and checks what it gives.

    It is sent to other processes, where nobody has imported the user's file yet: it brings its kind with it.
    """

    kind: str
    file: Path
    sample: Sample

    def __call__(self) -> tuple[Array, Array]:
        """The image and the mask. Raises UserError where reading fails, or gives other than what a Sample says."""
        with blamed(self.file, getattr(self.sample.read, "func", self.sample.read)):
            image, mask = self.sample.read()
        problem = flaw(self.sample, image, mask)
        if problem is not None:
            raise UserError(f"{self.file}: the image {self.sample.id}: {problem}")
        return image, mask

    def __reduce__(self) -> tuple[Callable[..., CheckedRead], tuple[str, Path, bytes]]:
        """What makes the same object elsewhere. Raises UserError where the user's read cannot be sent."""
        try:
            return _restored, (self.kind, self.file, pickle.dumps(self.sample))
        except Exception as error:  # pickle raises what it meets: TypeError, AttributeError and its own.
            raise UserError(
                f"{self.file}: the read of the image {self.sample.id} cannot be sent to another process ({error}); "
                "make it functools.partial of a function of the file, never a lambda"
            ) from error


def _restored(kind: str, file: Path, sample: bytes) -> CheckedRead:
    # Which imports the user's file, by the name that the sample's read is found under.
    class_of(kind)
    return CheckedRead(kind, file, pickle.loads(sample))


def flaw(sample: Sample, image: Any, mask: Any) -> str | None:
    """What is wrong with the arrays that a read gives and what to do, or None."""
    shapes = {"image": (image, (*sample.size, 3)), "mask": (mask, tuple(sample.size))}
    for name, (array, shape) in shapes.items():
        if not isinstance(array, np.ndarray):
            return f"its {name} is {type(array).__name__}; give an array of NumPy"
        if array.dtype != np.uint8:
            return f"its {name} is of {array.dtype}; give uint8"
        if array.shape != shape:
            return f"its {name} has the shape {array.shape}; give {shape}, as its size is {tuple(sample.size)}"
    return None
