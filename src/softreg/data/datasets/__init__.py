"""Data sets, one file each: the file's name is the ``kind``, and the file is its registration.

A file defines one subclass of :class:`softreg.data.base.Dataset`, which lists the samples of a data set
and says how each is read; :mod:`softreg.data.prepare` does the rest. Importing this package loads no reader and no
heavy library. A user's own file is named by its path and class instead.
"""

from __future__ import annotations

import importlib
import inspect
import pkgutil
from pathlib import Path
from typing import TYPE_CHECKING

from softreg.errors import UserError
from softreg.files import digest
from softreg.own import classes
from softreg.own.sources import is_own

if TYPE_CHECKING:
    from softreg.data.archives import Archive
    from softreg.data.base import Dataset, Options, Sample
    from softreg.study.config import Study

#: Where prepared data sets lie, relative to the working folder.
PREPARED = Path("data/prepared")
ARRAYS = tuple(f"{part}/{name}.npy" for part in ("train", "val", "test") for name in ("images", "masks"))
"""The arrays of one, by their paths in its folder."""


def kinds() -> list[str]:
    """The known kinds, sorted; found by file name, so that nothing is imported."""
    return sorted(module.name for module in pkgutil.iter_modules(__path__))


def class_of(kind: str) -> type[Dataset]:
    """The class of that kind; only its file is imported. Raises :class:`UserError` for an unknown kind."""
    from softreg.data.base import Dataset

    if is_own(kind):
        # A data set is abstract, and none the less what is asked for.
        return classes.load(kind, Dataset)  # type: ignore[type-abstract]
    if kind not in kinds():
        raise UserError(f"`datasets` names the unknown kind {kind!r}: known are {', '.join(kinds())}")
    module = importlib.import_module(f"{__name__}.{kind}")
    (found,) = (
        member
        for _, member in inspect.getmembers(module, inspect.isclass)
        if issubclass(member, Dataset) and member.__module__ == module.__name__
    )
    return found


def load(kind: str, options: Options | None = None) -> Dataset:
    """The data set of that kind; a user's own takes its constructor's keywords from the ``options`` of its entry."""
    if is_own(kind):
        from softreg.data import own

        return own.load({**(options or {}), "kind": kind})
    return class_of(kind)()


def archives_of(kind: str) -> tuple[Archive, ...]:
    """The archives that a kind is published in; empty where it is generated or lies in the user's folders."""
    return class_of(kind).archives


def samples_of(dataset: Dataset, options: Options, root: Path) -> list[Sample]:
    """All samples of a data set, in a fixed order; those of a user's own are checked as they are read.

    ``options`` and ``root`` are as :meth:`Dataset.samples` takes them.
    """
    if is_own(options["kind"]):
        from softreg.data import own

        return own.samples(dataset, options, root)
    return dataset.samples(options, root)


def prepared_folder(study: Study, dataset: str) -> Path:
    """``data/prepared/<dataset>-<digest>``: the digest is of the options, so that other options are another folder."""
    return PREPARED / f"{dataset}-{digest(study.datasets[dataset])[:12]}"
