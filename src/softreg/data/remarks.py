"""What preparing tells of a data set: pictures that parts share, and images in no part, counted and named."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from softreg.data.base import Sample
from softreg.errors import few


def unlisted(samples: Sequence[Sample], parts: Mapping[str, Sequence[Sample]]) -> list[str]:
    """A sentence on the images that are in no part, if there are any."""
    used = {sample.id for members in parts.values() for sample in members}
    left = [sample.id for sample in samples if sample.id not in used]
    count = "1 image is" if len(left) == 1 else f"{len(left)} images are"
    return [f"{count} in no list and left out: {few(left)}"] if left else []


def shared(parts: Mapping[str, Sequence[Sample]], prints: Mapping[str, Sequence[bytes]]) -> list[str]:
    """A sentence on the pictures that lie in several parts, if there are any; ``prints`` are digests of them."""
    places: dict[bytes, list[tuple[str, str]]] = {}
    for part, samples in parts.items():
        for sample, print_ in zip(samples, prints[part], strict=True):
            places.setdefault(print_, []).append((sample.id, part))
    torn = [found for found in places.values() if len({part for _, part in found}) > 1]
    if not torn:
        return []
    named = few([" = ".join(f"{id_} ({part})" for id_, part in found) for found in torn], "; ")
    count = "1 picture lies" if len(torn) == 1 else f"{len(torn)} pictures lie"
    return [f"{count} in more than one part, pixel for pixel: {named}; scores on them say little of new images"]
