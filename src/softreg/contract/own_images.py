"""A look at the files of a study before any job: all headers and a sample of the pixels, of the kind ``folder``."""

from __future__ import annotations

from pathlib import Path

from softreg.contract.dataset import READ, spread
from softreg.data import datasets
from softreg.data.base import Options, Sample
from softreg.data.remarks import unlisted
from softreg.data.sizes import common_size, padding_told
from softreg.data.split import assign
from softreg.errors import each


def look(name: str, options: Options) -> list[str]:
    """Lines on the data set ``name`` with the ``options`` of a study's entry. Raises UserError for what is wrong.

    Folders, table, pairs, sizes, formats and the split are all looked at; of the pixels, only some images'.
    """
    dataset = datasets.load("folder")
    samples = dataset.samples(options, Path())
    parts, _ = assign(name, samples, options["split"])
    told = padding_told(samples, common_size(name, samples, options), options["fit"])
    some = spread(samples, READ)
    each(_read, some, "images that were read")
    done = f"{len(samples)} images, {len(some)} of them read without a fault"
    return [f"{name}: {line}" for line in [done, *told, *dataset.remarks(options), *unlisted(samples, parts)]]


def _read(sample: Sample) -> None:
    sample.read()
