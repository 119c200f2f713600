"""What the arrays of a prepared data set are, by their digests. Imports no torch."""

from __future__ import annotations

from pathlib import Path

from softreg.data.base import PARTS
from softreg.files import read_json, sha256_file


def digests(folder: Path) -> dict[str, str]:
    """SHA-256 of each array of a prepared data set, by its path in ``folder``."""
    names = [f"{part}/{name}.npy" for part in PARTS for name in ("images", "masks")]
    return {name: sha256_file(folder / name) for name in names}


def intact(folder: Path) -> bool:
    """Whether the arrays in ``folder`` are those that were written when the data set was prepared."""
    try:
        return bool(read_json(folder / "dataset.json")["arrays"] == digests(folder))
    except (OSError, ValueError, KeyError, TypeError):
        return False
