"""The figures of a study, drawn from its gathered scores alone.

Each lies as PDF, SVG and PNG beside a CSV of its numbers.

A figure module has one function, ``draw(scores, folder) -> list[Drawn | Absent]``. What cannot be drawn is
not drawn empty: an `Absent` says why, and the report prints it. ``figures.json`` lists both, in order.
"""

from __future__ import annotations

from dataclasses import asdict
from pathlib import Path

from softreg.files import write_json
from softreg.paper.scores import Scores

_ENDINGS = ("pdf", "svg", "png", "csv")


def write_figures(scores: Scores, out: Path) -> None:
    """Draw every figure of ``scores`` into ``out/figures/``, with ``figures.json``.

    Figures of an earlier run that are not drawn now are removed.
    """
    from softreg.paper.figures import (
        class_iou,
        complexity,
        cost,
        coverage,
        degeneracy,
        gallery,
        lambda_curves,
        layer_paths,
        paired_difference,
        pareto,
        ranks,
        regret,
        reliability,
        robustness,
        style,
    )

    modules = (
        *(lambda_curves, paired_difference, pareto, layer_paths, class_iou, degeneracy, complexity),
        *(regret, cost, robustness, reliability, ranks, coverage, gallery),
    )
    folder = out / "figures"
    entries = [entry for module in modules for entry in module.draw(scores, folder)]
    write_json(folder / "figures.json", [asdict(entry) for entry in entries])
    _remove_others(folder, {entry.name for entry in entries if isinstance(entry, style.Drawn)})


def _remove_others(folder: Path, names: set[str]) -> None:
    """Remove the figures in ``folder`` that are not among ``names``, and nothing else."""
    for ending in _ENDINGS:
        for file in folder.glob(f"*.{ending}"):
            if file.stem not in names:
                file.unlink()
