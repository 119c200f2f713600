"""The figures of a study, drawn from its gathered scores alone: PDF, SVG and PNG beside a CSV of the numbers.

A figure is one module here with one function, ``figures(scores) -> Figures``. To add one:

1. write ``figures`` so that it gives the stem of the files, a title, and pages: `layout.Page` has numbers, a function
   that draws them, caption, and text for those who do not see. `layout.of_datasets` asks for pages of each data set. A
   sentence in place of pages says why there is nothing to draw, and the report prints it;
2. take panels from `layout.grid`, lines from `layout.draw_line`, and the look of each penalty from `style.looks_of`;
   draw intervals as `softreg.paper.stats` gives them; differences to no penalty are a page of `forest`;
3. add the module to `_MODULES` below, at its place in the report. A question that names its stem in
   ``Answer.figures`` has the figure beside its answer.

What would say nothing is left out: costs of one model, ranks of few data sets, curves of one strength, intervals of
few seeds. ``figures.json`` lists drawn and absent ones, in order.
"""

from __future__ import annotations

import multiprocessing
import os
import sys
from concurrent.futures import ProcessPoolExecutor
from dataclasses import asdict
from pathlib import Path
from types import ModuleType

from softreg.files import write_json
from softreg.paper.figures import (
    class_iou,
    complexity,
    cost,
    degeneracy,
    gallery,
    lambda_curves,
    layer_paths,
    layout,
    paired_difference,
    pareto,
    ranks,
    regret,
    reliability,
    robustness,
)
from softreg.paper.figures.style import Drawn, Entries
from softreg.paper.scores import Scores

_MODULES: tuple[ModuleType, ...] = (
    *(lambda_curves, paired_difference, pareto, layer_paths, class_iou, degeneracy, complexity),
    *(regret, cost, robustness, reliability, ranks, gallery),
)
#: What is being drawn, which forked processes share: the scores, and the folder of the figures.
_work: tuple[Scores, Path]


def write_figures(scores: Scores, out: Path) -> None:
    """Draw every figure of ``scores`` into ``out/figures/``, with ``figures.json``, on all cores that may be used.

    Figures of an earlier run that are not drawn now are removed.
    """
    folder = out / "figures"
    entries = [entry for drawn in _draw(scores, folder) for entry in drawn]
    write_json(folder / "figures.json", [asdict(entry) for entry in entries])
    _remove_others(folder, {entry.name for entry in entries if isinstance(entry, Drawn)})


def _draw(scores: Scores, folder: Path) -> list[Entries]:
    """What each of `_MODULES` has drawn."""
    global _work
    _work = scores, folder
    # Only on Linux is it safe to fork, and only forked processes need not read and judge the scores again.
    cores = len(os.sched_getaffinity(0)) if sys.platform == "linux" else 1
    if cores == 1:
        return [_draw_module(place) for place in range(len(_MODULES))]
    with ProcessPoolExecutor(min(cores, len(_MODULES)), multiprocessing.get_context("fork")) as workers:
        return list(workers.map(_draw_module, range(len(_MODULES))))


def _draw_module(place: int) -> Entries:
    return write_module(_MODULES[place], *_work)


def write_module(module: ModuleType, scores: Scores, folder: Path) -> Entries:
    """Draw the figures of one module into ``folder``, one after the other, so that few are in memory."""
    return [entry for named in module.figures(scores) for entry in layout.write(folder, *named)]


def _remove_others(folder: Path, names: set[str]) -> None:
    """Remove the figures in ``folder`` that are not among ``names``, and nothing else."""
    for file in folder.iterdir():
        if file.suffix in (".pdf", ".svg", ".png", ".csv") and file.stem not in names:
            file.unlink()
