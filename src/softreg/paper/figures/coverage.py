"""What has finished of an incomplete study: cells of each data set, model and penalty, in sweep and final."""

from __future__ import annotations

from collections import Counter
from functools import partial
from pathlib import Path
from typing import Any

import pandas as pd
import seaborn as sns
from matplotlib import pyplot as plt
from matplotlib.figure import Figure

from softreg.paper.figures import layout, style
from softreg.paper.figures.layout import Page
from softreg.paper.figures.style import Absent, Entries
from softreg.paper.scores import Scores

TITLE = "Finished cells"
_PHASES = {"sweep": "sweep, tuning seeds", "final": "final, evaluation seeds"}
_FINISHED = "finished"
_COLUMNS, _ROWS = 12, 16
"""Penalties and models that a page can hold."""
_LOOK: dict[str, Any] = {
    "cmap": sns.blend_palette(["#ffffff", "#8ab6d8"], as_cmap=True),
    **{"vmin": 0, "vmax": 1, "cbar": False, "fmt": "", "annot_kws": {"color": "black", "fontsize": 8}},
    **{"linewidths": 0.4, "linecolor": "#888888", "xticklabels": True, "yticklabels": True},
}
_MOST_REASONS = 4


def draw(scores: Scores, folder: Path) -> Entries:
    """One figure for the study, or several where it does not fit on a page; none where every cell has finished."""
    counts = _counts(scores)
    if counts.empty:
        return [Absent(TITLE, "The study asks for no cell: add a data set, a model and a penalty to it.")]
    if (counts["finished"] == counts["expected"]).all():
        return [Absent(TITLE, f"All {counts['expected'].sum()} cells of the study have finished.")]
    of = pd.MultiIndex.from_frame(counts[["dataset", "model"]])
    pages = []
    for penalties in style.pages(layout.penalties_of(scores, counts), _COLUMNS):
        for places in style.pages(list(dict.fromkeys(of)), _ROWS):
            shown = counts[counts["penalty"].isin(penalties) & of.isin(places)]
            pages.append(Page(shown, partial(_draw_page, scores, shown), _caption(scores, shown), _alt(scores, shown)))
    return layout.write(folder, "coverage", TITLE, pages)


def _counts(scores: Scores) -> pd.DataFrame:
    """Columns phase, dataset, model, penalty, finished, expected: numbers of cells that the study asks for."""
    cells = scores.cells.assign(finished=scores.cells["status"] == _FINISHED)
    grouped = cells.groupby(["phase", "dataset", "model", "penalty"], sort=False)["finished"]
    return grouped.agg(finished="sum", expected="size").reset_index()


def _draw_page(scores: Scores, counts: pd.DataFrame) -> Figure:
    """The sweep above, the final below: shade and numbers of each cell, nothing where the study asks for none."""
    penalties, several = layout.penalties_of(scores, counts), counts["dataset"].nunique() > 1
    done, asked = counts["finished"], counts["expected"]
    # A step, so that one missing of many is seen.
    shade = (0.6 * done / asked).mask(done == asked, 1.0)
    cells = counts.assign(shade=shade, text=done.astype(str) + "/" + asked.astype(str))
    longest = max(len(scores.label(name)) for name in penalties)
    rows = len(counts[["dataset", "model"]].drop_duplicates())
    size = style.PAGE, 2 * (0.165 * rows + 0.3) + 0.068 * longest + 0.15
    figure, axes = plt.subplots(2, 1, figsize=size, sharex=True, layout="constrained")
    for axis, (phase, title) in zip(axes, _PHASES.items(), strict=True):
        mine, keys = cells[cells["phase"] == phase], ["dataset", "model"]
        values, texts = (
            mine.pivot_table(index=keys, columns="penalty", values=part, aggfunc="first", sort=False).reindex(
                columns=penalties
            )
            for part in ("shade", "text")
        )
        names = [f"{scores.label(d)}, {scores.label(m)}" if several else scores.label(m) for d, m in values.index]
        values = values.set_axis(names).set_axis([*map(scores.label, penalties)], axis=1)
        sns.heatmap(values, ax=axis, annot=texts.to_numpy(), **_LOOK)
        axis.set(title=title, xlabel="", ylabel="")
        axis.tick_params(length=0, rotation=0)
    axes[-1].tick_params(axis="x", rotation=90 if longest > 6 else 0)
    return figure


def _caption(scores: Scores, counts: pd.DataFrame) -> str:
    one = counts["dataset"].unique()
    rows = f"model (rows) on {scores.label(one[0])}" if len(one) == 1 else "data set and model (rows)"
    cells = scores.cells
    text = (
        f"Finished cells of those that the study asks for, by {rows} and penalty (columns): above the sweep over λ "
        "with the tuning seeds, below the final at λ̂ with the evaluation seeds. The darker, the more have finished; "
        "empty: none asked for. In the whole study "
        f"{(cells['status'] == _FINISHED).sum()} of {len(cells)} have finished"
    )
    others = cells[cells["status"] != _FINISHED]
    return f"{text}; {_reasons(others)}." if len(others) else f"{text}."


def _reasons(cells: pd.DataFrame) -> str:
    """How many cells ended otherwise, by status, and a reason of each, the most frequent first."""
    counted = Counter(cells["status"])
    told = []
    for status, count in sorted(counted.items(), key=lambda item: (-item[1], item[0]))[:_MOST_REASONS]:
        reasons = Counter(reason for reason in cells.loc[cells["status"] == status, "reason"] if reason)
        ranked = sorted(reasons, key=lambda reason: (-reasons[reason], reason))
        example = f" ({'such as: ' if len(ranked) > 1 else ''}{ranked[0].rstrip('.')})" if ranked else ""
        told.append(f"{count} {status}{example}")
    return ", ".join(told)


def _alt(scores: Scores, counts: pd.DataFrame) -> str:
    partial = counts[counts["finished"] < counts["expected"]]
    rows = partial[["phase", "dataset", "model", "penalty", "finished", "expected"]].itertuples(index=False, name=None)
    listed = "; ".join(
        f"{phase}, {scores.label(d)}, {scores.label(m)}, {scores.label(p)}: {finished} of {expected}"
        for phase, d, m, p, finished, expected in rows
    )
    return f"Matrix of finished cells. Incomplete: {listed or 'none'}."
