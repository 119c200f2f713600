"""What is known of a study before it has scores: published variances, and how many test images a data set has.

The variances are those of paired differences in test mIoU to no penalty, on white blood cells (results/published/wbc):
means over its penalties at their λ̂, with the images' excess kurtosis. ``python benchmarks/variances.py`` works them
out. Another data set, network or schedule has others: they are a first guess, good enough to tell ten seeds from a
hundred.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from softreg.paper.stats import Spread

SCRATCH = Spread(seed=2.43, image=1.24, both=11.40, kurtosis=3.02)
"""Of the small network, trained from scratch for five epochs; in points² of mIoU."""
PRETRAINED = Spread(seed=0.11, image=0.96, both=3.18, kurtosis=14.69)
"""Of the pretrained U-Net, trained for three epochs."""

_TOTAL = {"wbc": 300, "nuclei": 664, "kvasir": 1000}
"""Images of data sets that a study splits by shares."""


@dataclass(frozen=True)
class TestSet:
    """How many test images a data set has, and of how many groups, such as videos; None: not known, or no groups."""

    images: int | None
    groups: int | None = None

    @property
    def units(self) -> int | None:
        """What an interval resamples: groups where there are any."""
        return self.images if self.groups is None else self.groups


_OFFICIAL = {
    "camvid": TestSet(233, 13),
    "oxford_pet": TestSet(3669),
    "voc2012": TestSet(1449),
    "brain": TestSet(None, 1),
}
"""Of published splits; those of camvid are frames of 13 blocks of 20 s, and all slices are of one brain."""


def spread_for(model: Mapping[str, Any]) -> Spread:
    """The published variances nearest to an entry of a study's ``models``."""
    return PRETRAINED if model["kind"] == "smp" and model["weights"] != "none" else SCRATCH


def test_set(dataset: Mapping[str, Any]) -> TestSet:
    """What is known of an entry of a study's ``datasets`` before it is prepared."""
    kind, split = dataset["kind"], dataset["split"]
    total = dataset["images"] if kind == "shapes" else _TOTAL.get(kind)
    if total is not None and split["rule"] != "list":
        return TestSet(round(total * split["test"]))
    return _OFFICIAL.get(kind, TestSet(None)) if split["rule"] == "official" else TestSet(None)
