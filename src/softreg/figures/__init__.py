"""The figures of a study, drawn from its gathered scores alone.

Each lies as PDF, SVG and PNG beside a CSV of its numbers.

A figure module has one function, ``draw(scores, folder) -> list[Drawn | Absent]``. What cannot be drawn is
not drawn empty: an `Absent` says why, and the report prints it. ``figures.json`` lists both, in order.
"""

from __future__ import annotations

from dataclasses import asdict
from pathlib import Path

from softreg.files import write_json
from softreg.scores import Scores


def write_figures(scores: Path, out: Path) -> None:
    """Draw every figure of the scores in the folder ``scores`` into ``out/figures/``, with ``figures.json``.

    Raises `softreg.errors.UserError` where ``scores`` holds no gathered study.
    """
    from softreg.figures import degeneracy, gallery, lambda_curves, paired_difference

    loaded, folder = Scores(scores), out / "figures"
    modules = (lambda_curves, paired_difference, degeneracy, gallery)
    entries = [entry for module in modules for entry in module.draw(loaded, folder)]
    write_json(folder / "figures.json", [asdict(entry) for entry in entries])
