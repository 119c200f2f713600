"""Parts of a study, for machines that share no disk: ``config/wbc-a.yaml:2/5`` is the second of five. Imports no torch.

A part is a study of its own, with some of the data sets, or of the outer folds of one, and with results in a folder of
its own. `softreg.scoring.merge` joins the scores of all parts to those that the whole study would have.
"""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

from softreg.errors import UserError

_NAME = re.compile(r"(.+\.ya?ml):(\d+)/(\d+)")


def of(path: Path) -> tuple[Path, tuple[int, int] | None]:
    """The file of a study, and which part of how many ``path`` names; None for the whole."""
    match = _NAME.fullmatch(path.as_posix())
    return (Path(match[1]), (int(match[2]), int(match[3]))) if match else (path, None)


def name_of(study: str, part: int, of: int) -> str:
    """What a part is called, as a folder of results."""
    return f"{study}-part-{part}-of-{of}"


def named(name: str) -> tuple[str, int, int] | None:
    """The study, the part and of how many that `name_of` has made ``name`` of; None for the name of a whole."""
    match = re.fullmatch(r"(.+)-part-(\d+)-of-(\d+)", name)
    return (match[1], int(match[2]), int(match[3])) if match else None


def datasets_of(datasets: dict[str, dict[str, Any]], path: Path, part: int, of: int) -> dict[str, dict[str, Any]]:
    """The entries of a part: as many as in each other, or one more, in the order of the study.

    Raises UserError where there is no such part.
    """
    if not 1 <= part <= of <= len(datasets):
        raise UserError(
            f"{path}: a study is parted by data set and outer fold, and this one has {len(datasets)}; "
            f"give 1/{len(datasets)} to {len(datasets)}/{len(datasets)}, or fewer parts"
        )
    names = list(datasets)
    ends = [round(place * len(names) / of) for place in (part - 1, part)]
    return {name: datasets[name] for name in names[slice(*ends)]}
