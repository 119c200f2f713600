"""What a penalty's strength does to each layer's norm and share of exact zeros: one figure a data set and model.

A heat map holds four layers as well as sixty: a row a layer from the input down, a column a strength.
"""

from __future__ import annotations

import math
from functools import partial

import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.cm import ScalarMappable
from matplotlib.colors import Normalize
from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator

from softreg.paper.figures import layout, style
from softreg.paper.figures.layout import Figures, Page, Pages
from softreg.paper.scores import Scores

TITLE = "Layers along the strengths"
MOST_NORM = 2.0
"""The relative norm at which the colours end."""

_COLUMNS = 6
_LABEL = 0.125
"""Height of a line of 8-point type, and what a label needs, in inches."""
_WIDTH = 5.0
"""What is left of a page's width for the maps, in inches."""
_MEASURES = {
    "norm": ("PuOr_r", MOST_NORM, "norm / none", "max"),
    "zeros": ("Greens", 1, "exact zeros", "neither"),
}
"""The columns of `relative_layers` that are shown: colours, where these end, label, and whether values lie beyond."""
_KEYS = ["penalty", "lambda", "layer"]


def figures(scores: Scores) -> Figures:
    """One figure for each data set and model; see `softreg.paper.figures`."""
    if scores.reference is None:
        why = "The study has no entry of kind none to relate norms to: add one to its penalties."
        return [("layer_paths", TITLE, why)]
    return layout.of_models(scores, "layer_paths", TITLE, partial(_pages, scores))


def relative_layers(scores: Scores, dataset: str, model: str) -> pd.DataFrame:
    """Columns penalty, lambda, layer, norm, zeros, seeds: each strength above 0 of the sweep, layers in depth order.

    norm is ‖w‖₂ of the layer over that of the unpenalised network of the same update rule, seed and fold, nan where the
    latter is 0; zeros the share of its weights that are exactly 0; both are means over the ``seeds`` tuning seeds (and
    folds) that both have. A narrower network (small_dense) has other layers and is left out.
    """
    layers = scores.layers
    cells = layers[(layers["phase"] == "sweep") & (layers["dataset"] == dataset) & (layers["model"] == model)]
    kinds = cells["penalty"].map(scores.kinds)
    cells = cells.assign(
        reference=cells["penalty"].map(scores.references),
        zeros=cells["exact_zeros"] / cells["weights"],
        depth=cells.groupby(["penalty", "lambda", "seed", "fold"]).cumcount(),
    )
    unpenalised = cells.loc[kinds == "none", ["penalty", "seed", "fold", "layer", "norm_l2"]]
    plain = unpenalised.rename(columns={"penalty": "reference", "norm_l2": "plain"})
    treated = cells[~kinds.isin(["none", "small_dense"]) & (cells["lambda"].astype(float) > 0)]
    paired = treated.merge(plain, on=["reference", "seed", "fold", "layer"])
    paired = paired.assign(norm=paired["norm_l2"] / paired["plain"].where(paired["plain"] > 0))
    means = paired.groupby(_KEYS).agg(
        norm=("norm", "mean"), zeros=("zeros", "mean"), seeds=("seed", "nunique"), depth=("depth", "min")
    )
    return scores.ordered(means.reset_index(), "lambda", "depth").drop(columns="depth").reset_index(drop=True)


def _pages(scores: Scores, dataset: str, model: str, place: str) -> Pages:
    values = relative_layers(scores, dataset, model)
    if values.empty:
        return (
            f"The sweep has no finished cell both with and without a penalty for {place}: finish it, or add a strength "
            "above 0."
        )
    if values.groupby("penalty")["lambda"].nunique().max() < 2:
        return f"Each entry has one strength for {place}, which makes no path: add strengths to its lambda."
    texts = _caption(scores, values, model, place), _alt(scores, values, place)
    return [Page(values, partial(_draw_maps, scores, values), *texts)]


def _draw_maps(scores: Scores, values: pd.DataFrame) -> Figure:
    """For each penalty a map of norms and below it one of zeros, with the scales of all to the right."""
    tables = {name: part.set_index(["layer", "lambda"]) for name, part in values.groupby("penalty", sort=False)}
    titles = [style.wrapped(scores.label(str(name)), 12) for name in tables]
    most = min(_COLUMNS, int(_WIDTH / (0.066 * max(len(line) for title in titles for line in title.split("\n")))))
    rows, layers = math.ceil(len(titles) / most), values["layer"].unique()
    panel = min(max(_LABEL * len(layers), 0.55), 2.5, (style.TALL / rows - 0.9) / 2)
    figure, stacks = layout.grid(titles, 2 * panel + 0.75, "", "", "", most=most, parts=(1, 1), sharey=True)
    figure.set_figwidth(style.PAGE)
    strengths = values.groupby("penalty")["lambda"].nunique().max()
    every = math.ceil(len(layers) * _LABEL / panel), math.ceil(strengths * _LABEL * min(most, len(titles)) / _WIDTH)
    for stack, table in zip(stacks, tables.values(), strict=True):
        for axis, measure in zip(stack, _MEASURES, strict=True):
            shown = table[measure].unstack("lambda", sort=False).reindex(layers)
            _draw_map(axis, shown.rename(index=_short), measure, *every)
        stack[0].set_xticks([])
    figure.supxlabel("strength λ", fontsize="medium")
    for colours, end, label, extend in reversed(_MEASURES.values()):
        shades = ScalarMappable(Normalize(0, end), colours)
        axes = [axis for stack in stacks for axis in stack]
        bar = figure.colorbar(shades, ax=axes, label=label, extend=extend, ticks=MaxNLocator(2), aspect=25, pad=0.02)
        bar.outline.set_linewidth(0.6)
        if bar.solids is not None:
            bar.solids.set_rasterized(False)
    return figure


def _draw_map(axis: Axes, table: pd.DataFrame, measure: str, row: int, column: int) -> None:
    """One measure of a penalty, hatched where there is no number; every so many rows and columns have a label."""
    colours, end, *_ = _MEASURES[measure]
    axis.pcolormesh(table.to_numpy(float), cmap=colours, vmin=0, vmax=end)
    if table.isna().any(axis=None):
        axis.patch.set(hatch="//////", edgecolor="#999999", linewidth=0)
    axis.set_xticks(np.arange(0, table.shape[1], column) + 0.5, table.columns[::column], rotation=90)
    axis.set_yticks(np.arange(0, len(table), row) + 0.5, table.index[::row])
    axis.set_ylim(len(table), 0)
    axis.tick_params(length=2)
    axis.spines[:].set_visible(True)


def _short(layer: str) -> str:
    """The end of a name of more than 16 letters, from a dot on, which is what tells layers apart."""
    if len(layer) <= 16:
        return layer
    end = layer[-15:]
    return f"…{end.partition('.')[2] or end}"


def _caption(scores: Scores, values: pd.DataFrame, model: str, place: str) -> str:
    n = f"{layout.span(values['seeds'])} tuning seed{'s' * int(values['seeds'].max() > 1)}"
    layers = values["layer"].nunique()
    text = (
        f"What each strength of the sweep does to the {layers} layers of {place} (means over {n}): a "
        "column a strength, a row a layer, from the input at the top to the output. Above: the norm ‖w‖₂ of the layer "
        f"over that without a penalty at the same seed, colours ending at {MOST_NORM:g}. Below: the share of the "
        "layer's weights that are exactly zero. The strength is λ, or for a control its share."
    )
    if np.isnan(values["norm"]).any():
        text += " Hatched: the layer is all zero without a penalty."
    expected = {penalty for _, of, penalty in scores.groups if of == model and scores.kinds[penalty] != "none"}
    absent = [name for name in scores.penalties if name in expected - set(values["penalty"])]
    thin = [name for name in absent if scores.kinds[name] == "small_dense"]
    missing = [name for name in absent if name not in thin]
    if thin:
        text += f" As its layers are others, {layout.listed(scores, thin)} is not shown."
    return text + layout.left_out(scores, "Without a finished cell that has its unpenalised one", missing)


def _alt(scores: Scores, values: pd.DataFrame, place: str) -> str:
    told = []
    for penalty, part in values.groupby("penalty", sort=False):
        last = part[part["lambda"] == part["lambda"].iloc[-1]]
        norms, zeros = last["norm"], 100 * last["zeros"]
        told.append(
            f"{scores.label(str(penalty))} at {last['lambda'].iloc[0]}: norm {norms.min():.2f} to {norms.max():.2f} of "
            f"none's, zeros {zeros.min():.0f} to {zeros.max():.0f} %"
        )
    return f"Heat maps of layers against strengths, {place}. At the strongest, over layers: {'; '.join(told)}."
