"""Mean ranks of the penalties over data sets and models, with a critical difference: descriptive only."""

from __future__ import annotations

from functools import partial

import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from softreg.paper import stats
from softreg.paper.figures import layout, style
from softreg.paper.figures.layout import Figures, Page
from softreg.paper.questions import premise
from softreg.paper.questions.complexity import label_noise_pairs
from softreg.paper.questions.gain import distinct_tests
from softreg.paper.scores import Scores

TITLE = "Ranks of the penalties"
NAME = "ranks"
_FEWEST_SETS, _FEWEST_PENALTIES = 5, 3


def figures(scores: Scores) -> Figures:
    """One figure for the study; see `softreg.paper.figures`."""
    table = _complete(_table(scores))
    sets, penalties = _sets(table), table.shape[1]
    if sets < _FEWEST_SETS or penalties < _FEWEST_PENALTIES:
        sentence = (
            f"Ranks need at least {_FEWEST_PENALTIES} penalties with a test score on each of at least {_FEWEST_SETS} "
            f"data sets; there are {penalties} on {sets}: add data sets or penalties, or wait for the cells."
        )
        return [(NAME, TITLE, sentence)]
    ranks = stats.ranks(table)
    order = list(ranks.mean.sort_values(kind="stable").index)
    draw_panel = partial(_draw_panel, scores, table, ranks, order)
    page = Page(_numbers(table, ranks, order), draw_panel, _caption(scores, table, ranks), _alt(scores, ranks, order))
    return [(NAME, TITLE, [page])]


def _sets(table: pd.DataFrame) -> int:
    """How many data sets the blocks of ``table`` are of."""
    return table.index.get_level_values("dataset").nunique()


def _table(scores: Scores) -> pd.DataFrame:
    """Mean test mIoU, (blocks, penalties), a block being a data set and a model; nan where there is none.

    A data set that is another's twin but for its label noise is left out. The mean is over the evaluation seeds that
    all penalties of the block have: other seeds would be other luck.
    """
    means = {}
    for block, cells in distinct_tests(scores).groupby(["dataset", "model"]):
        means[block] = cells.pivot(index="seed", columns="penalty", values="miou").dropna().mean()
    table = pd.DataFrame(list(means.values()), pd.MultiIndex.from_tuples(means, names=["dataset", "model"]))
    return table.reindex(columns=scores.penalties)


def _complete(table: pd.DataFrame) -> pd.DataFrame:
    """The larger table without a hole: of all blocks and the penalties that each has, or of all penalties.

    A penalty or a block without any score is no hole.
    """
    table = table.dropna(axis=0, how="all").dropna(axis=1, how="all")
    all_blocks, all_penalties = table.dropna(axis=1), table.dropna(axis=0)
    small = _sets(all_blocks) < _FEWEST_SETS or all_blocks.shape[1] < _FEWEST_PENALTIES
    return all_penalties if small or all_penalties.size > all_blocks.size else all_blocks


def _numbers(table: pd.DataFrame, ranks: stats.Ranks, order: list[str]) -> pd.DataFrame:
    """The rank of each penalty in each block, beside its mean rank and the critical difference."""
    each = table.rank(axis=1, ascending=False)[order]
    long = each.reset_index().melt(id_vars=["dataset", "model"], var_name="penalty", value_name="rank")
    return long.assign(mean_rank=long["penalty"].map(ranks.mean), critical_difference=ranks.critical_difference)


def _draw_panel(scores: Scores, table: pd.DataFrame, ranks: stats.Ranks, order: list[str]) -> Figure:
    """A row for each penalty, the best on top: the ranks in grey, their mean, and the critical difference above."""
    looks = style.looks_of(scores)
    longest = max(len(scores.label(name)) for name in order)
    figure, ((axis,),) = layout.grid([""], 0.19 * (len(order) + 1.5) + 0.2, "rank by test mIoU (1 is best)")
    figure.set_figwidth(style.COLUMN if longest <= 24 else style.PAGE)
    each = table.rank(axis=1, ascending=False)
    for place, name in enumerate(order):
        axis.plot(each[name], np.full(len(each), place), "|", ms=6, mew=0.8, color="#b0b0b0", zorder=2)
        axis.plot([ranks.mean[name]], [place], looks[name].marker, ms=5, mew=0, color=looks[name].colour, zorder=3)
    _draw_difference(axis, ranks, order)
    axis.set_yticks(range(len(order)), [*map(scores.label, order)])
    axis.set_ylim(len(order) - 0.5, -2)
    axis.set_xlim(0.7, len(order) + 0.3)
    axis.locator_params(axis="x", integer=True, nbins=8)
    axis.tick_params(axis="y", length=0)
    axis.spines["left"].set_visible(False)
    return figure


def _draw_difference(axis: Axes, ranks: stats.Ranks, order: list[str]) -> None:
    """A bar of the critical difference from the best mean rank on, and what lies within it shaded."""
    best = float(ranks.mean[order[0]])
    end = min(best + ranks.critical_difference, len(order) + 0.3)
    axis.axvspan(best, end, color="#e8e8e8", lw=0, zorder=0)
    axis.plot([best, end], [-0.8, -0.8], color="black", lw=1, marker="|", ms=4, mew=1)
    middle = (1 + len(order)) / 2
    axis.text(middle, -1.1, f"critical difference {ranks.critical_difference:.2f}", ha="center", va="bottom")


def _caption(scores: Scores, table: pd.DataFrame, ranks: stats.Ranks) -> str:
    p = "p < 0.001" if ranks.p < 0.001 else f"p = {ranks.p:.3f}"
    tested = f" Friedman's test: {p}." if not np.isnan(ranks.p) else ""
    text = (
        f"Mean rank (coloured; 1 is best) of each of {table.shape[1]} penalties over {ranks.blocks} pairs of data set "
        "and model, whose ranks are the grey strokes, by mean test mIoU over the evaluation seeds that all penalties "
        f"of the pair have.{tested} Bar and shade: Nemenyi's critical difference at 0.05 from the best mean rank, "
        f"{ranks.critical_difference:.2f} ranks. Descriptive only: models of one data set are not independent, with "
        "few pairs this difference is most of the scale, and what lies within it is not shown to be equal."
    )
    left = [scores.label(name) for name in scores.penalties if name not in table.columns]
    if label_noise_pairs(scores.study["datasets"]):
        text += " A data set that differs from another in label noise alone has the same test images and is left out."
    if premise.unlearnt(scores):
        text += " Entries that do not beat predicting one class, or grey levels alone, are not ranked."
    return text + (f" Without a score on each of these pairs, so not ranked: {', '.join(left)}." if left else "")


def _alt(scores: Scores, ranks: stats.Ranks, order: list[str]) -> str:
    listed = "; ".join(f"{scores.label(name)} {ranks.mean[name]:.2f}" for name in order)
    return f"Dot plot of mean ranks over {ranks.blocks} pairs of data set and model: {listed}."
