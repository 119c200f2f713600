"""What a penalty's strength does to each layer's norm and share of exact zeros: one figure a data set and model.

A heat map holds four layers as well as sixty: a row a layer from the input down, a column a strength.
"""

from __future__ import annotations

import math
import re
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

import matplotlib
import numpy as np
import pandas as pd
from matplotlib import pyplot as plt
from matplotlib.axes import Axes
from matplotlib.colors import Normalize
from matplotlib.figure import Figure
from matplotlib.patches import Rectangle

from softreg.paper.figures import style
from softreg.paper.figures.style import Absent, Drawn
from softreg.paper.scores import Scores

TITLE = "Layers along the strengths"
MOST_NORM = 2.0
"""The relative norm at which the colours end."""

_COLUMNS = 6
_LABEL = 0.125
"""Height of a line of 8-point type, and what a label needs, in inches."""
_WIDTH = 5.0
"""What is left of a page's width for the maps, in inches."""
_TALLEST = 8.8
"""Height of a figure on a page of its own, in inches."""
_GAP = 0.025
"""Half the gap between two maps, as a part of one."""


@dataclass(frozen=True)
class _Measure:
    """A column of `relative_layers` and how it is coloured."""

    column: str
    label: str
    colours: str
    limits: Normalize
    extend: Literal["max", "neither"]


_MEASURES = (
    _Measure("norm", "norm / none", "PuOr_r", Normalize(0, MOST_NORM), "max"),
    _Measure("zeros", "exact zeros", "Greens", Normalize(0, 1), "neither"),
)
_KEYS = ["penalty", "lambda", "layer"]


def draw(scores: Scores, folder: Path) -> list[Drawn | Absent]:
    """One figure for each data set and model; see `softreg.paper.figures`."""
    if scores.reference is None:
        return [Absent(TITLE, "The study has no entry of kind none to relate norms to: add one to its penalties.")]
    trained = dict.fromkeys((dataset, model) for dataset, model, _ in scores.groups)
    return [_draw_group(scores, dataset, model, folder) for dataset, model in trained]


def relative_layers(scores: Scores, dataset: str, model: str) -> pd.DataFrame:
    """Columns penalty, lambda, layer, norm, zeros, seeds: each strength above 0 of the sweep, layers in depth order.

    norm is ‖w‖₂ of the layer over that of the unpenalised network of the same update rule, seed and fold, nan where the
    latter is 0; zeros the share of its weights that are exactly 0; both are means over the ``seeds`` tuning seeds (and
    folds) that both have. A narrower network (small_dense) has other layers and is left out.
    """
    layers = scores.layers
    mine = (layers["phase"] == "sweep") & (layers["dataset"] == dataset) & (layers["model"] == model)
    cells = layers[mine]
    entries = scores.study["penalties"]
    kinds = {name: entry["kind"] for name, entry in entries.items()}
    cells = cells.assign(
        kind=cells["penalty"].map(kinds),
        reference=cells["penalty"].map({name: scores.reference_of(name) for name in entries}),
        zeros=cells["exact_zeros"] / cells["weights"],
        depth=cells.groupby(["penalty", "lambda", "seed", "fold"]).cumcount(),
    )
    unpenalised = cells.loc[cells["kind"] == "none", ["penalty", "seed", "fold", "layer", "norm_l2"]]
    plain = unpenalised.rename(columns={"penalty": "reference", "norm_l2": "plain"})
    treated = cells[~cells["kind"].isin(["none", "small_dense"]) & (cells["lambda"].astype(float) > 0)]
    paired = treated.merge(plain, on=["reference", "seed", "fold", "layer"])
    paired = paired.assign(norm=paired["norm_l2"] / paired["plain"].where(paired["plain"] > 0))
    means = paired.groupby(_KEYS).agg(
        norm=("norm", "mean"), zeros=("zeros", "mean"), seeds=("seed", "nunique"), depth=("depth", "min")
    )
    means = means.reset_index()
    places = means["penalty"].map({name: place for place, name in enumerate(scores.penalties)})
    by = means.assign(place=places, strength=means["lambda"].astype(float)).sort_values(["place", "strength", "depth"])
    return by[[*_KEYS, "norm", "zeros", "seeds"]].reset_index(drop=True)


def _draw_group(scores: Scores, dataset: str, model: str, folder: Path) -> Drawn | Absent:
    place = f"{scores.label(dataset)}, {scores.label(model)}"
    title = f"{TITLE}: {place}"
    values = relative_layers(scores, dataset, model)
    if values.empty:
        return Absent(
            title,
            f"The sweep has no finished cell both with and without a penalty for {place}: finish it, or add a strength "
            "above 0.",
        )
    name = f"layer_paths-{dataset}-{model}"
    with style.paper(name):
        figure = _draw_blocks(scores, values)
        width = style.save(figure, folder, name, values)
    return Drawn(name, width, title, _caption(scores, values, model, place), _alt(scores, values, place))


def _draw_blocks(scores: Scores, values: pd.DataFrame) -> Figure:
    """The penalties side by side, norms above zeros; where they do not fit the width, such rows again below."""
    penalties = list(dict.fromkeys(values["penalty"]))
    layers = list(dict.fromkeys(values["layer"]))
    names = {name: _broken(scores.label(name)) for name in penalties}
    fit = int(_WIDTH / (0.064 * max(len(line) for name in names.values() for line in name.split("\n")) + 0.05))
    blocks = math.ceil(len(penalties) / min(max(fit, 1), _COLUMNS))
    columns = math.ceil(len(penalties) / blocks)
    panel = min(max(_LABEL * len(layers), 0.55), 1.75, (_TALLEST / blocks - 0.9) / 2)
    figure, axes = plt.subplots(
        2 * blocks, 1, figsize=(style.PAGE, blocks * (2 * panel + 0.9) + 0.25), squeeze=False, layout="constrained"
    )
    for block in range(blocks):
        share = penalties[block * columns : (block + 1) * columns]
        for row, axis in enumerate(axes[2 * block : 2 * block + 2, 0]):
            for column, penalty in enumerate(share):
                _draw_map(axis, values[values["penalty"] == penalty], layers, column, _MEASURES[row])
                if row == 0:
                    axis.text(column + 0.5, -0.04 * len(layers), names[penalty], ha="center", va="bottom")
            _label_axes(axis, values, share if row else [], layers, columns, panel)
            _draw_bar(figure, axis, _MEASURES[row])
    axes[-1, 0].set_xlabel("strength λ")
    return figure


def _draw_map(axis: Axes, values: pd.DataFrame, layers: list[str], column: int, measure: _Measure) -> None:
    """One penalty's heat map between ``column`` and the next, less a gap; nan is hatched."""
    table = values.pivot(index="layer", columns="lambda", values=measure.column)
    cells = table.reindex(index=layers, columns=list(dict.fromkeys(values["lambda"]))).to_numpy(float)
    left, right = column + _GAP, column + 1 - _GAP
    corner, width = (left, 0), right - left
    if np.isnan(cells).any():
        axis.add_patch(Rectangle(corner, width, len(layers), fc="white", ec="#999999", lw=0, hatch="//////"))
    # Not imshow, whose image would be one in the PDF too.
    edges = np.linspace(left, right, cells.shape[1] + 1), np.arange(len(layers) + 1)
    axis.pcolormesh(*edges, np.ma.masked_invalid(cells), cmap=measure.colours, norm=measure.limits, antialiased=False)
    axis.add_patch(Rectangle(corner, width, len(layers), fill=False, ec="black", lw=0.6, clip_on=False))


def _label_axes(
    axis: Axes, values: pd.DataFrame, penalties: list[str], layers: list[str], columns: int, panel: float
) -> None:
    """The names of layers, and below the maps of ``penalties`` their strengths: as many as there is room for."""
    axis.set_xlim(0, columns)
    axis.set_ylim(len(layers), 0)
    for spine in axis.spines.values():
        spine.set_visible(False)
    rows = range(0, len(layers), math.ceil(len(layers) * _LABEL / panel))
    axis.set_yticks([row + 0.5 for row in rows], [_short(layers[row]) for row in rows])
    ticks: dict[float, str] = {}
    for column, penalty in enumerate(penalties):
        names = list(dict.fromkeys(values.loc[values["penalty"] == penalty, "lambda"]))
        step = math.ceil(len(names) * _LABEL / (_WIDTH / columns))
        for place in range(0, len(names), step):
            ticks[column + _GAP + (1 - 2 * _GAP) * (place + 0.5) / len(names)] = names[place]
    axis.set_xticks(list(ticks), list(ticks.values()), rotation=90)
    axis.tick_params(length=2)


def _short(layer: str, length: int = 16) -> str:
    """The end of a long name, from a dot on, which is what tells layers apart."""
    if len(layer) <= length:
        return layer
    end = layer[1 - length :]
    return f"…{end.partition('.')[2] or end}"


def _broken(label: str, length: int = 12) -> str:
    """A label in lines of at most ``length`` where it has a hyphen, an underscore or a space to break after."""
    lines = [""]
    for part in re.findall(r"[^-_ ]*[-_ ]?", label):
        if lines[-1] and len(lines[-1] + part) > length:
            lines.append("")
        lines[-1] += part
    return "\n".join(lines)


def _draw_bar(figure: Figure, axis: Axes, measure: _Measure) -> None:
    mappable = matplotlib.cm.ScalarMappable(measure.limits, measure.colours)
    bar = figure.colorbar(mappable, ax=axis, extend=measure.extend, aspect=12, pad=0.01, label=measure.label)
    if bar.solids is not None:
        bar.solids.set_rasterized(False)
    bar.locator = matplotlib.ticker.MaxNLocator(2)
    bar.update_ticks()
    bar.outline.set_linewidth(0.6)


def _caption(scores: Scores, values: pd.DataFrame, model: str, place: str) -> str:
    low, high = int(values["seeds"].min()), int(values["seeds"].max())
    n = f"{high} tuning seed{'s' * (high > 1)}" if low == high else f"{low} to {high} tuning seeds"
    layers = values["layer"].nunique()
    text = (
        f"What each strength of the sweep does to the {layers} layers of the network on {place} (means over {n}): a "
        "column a strength, a row a layer, from the input at the top to the output. Above: the norm ‖w‖₂ of the layer "
        f"over that without a penalty at the same seed, colours ending at {MOST_NORM:g}. Below: the share of the "
        "layer's weights that are exactly zero. The strength is λ, or for a control its share."
    )
    if np.isnan(values["norm"]).any():
        text += " Hatched: the layer is all zero without a penalty."
    kinds = {name: entry["kind"] for name, entry in scores.study["penalties"].items()}
    expected = {name for _, name_of_model, name in scores.groups if name_of_model == model and kinds[name] != "none"}
    seen = set(values["penalty"])
    thin = [name for name in scores.penalties if name in expected - seen and kinds[name] == "small_dense"]
    missing = [name for name in scores.penalties if name in expected - seen and kinds[name] != "small_dense"]
    if thin:
        text += f" As its layers are others, {_listed(scores, thin)} is not shown."
    if missing:
        text += f" Without a finished cell that has its unpenalised one, so not shown: {_listed(scores, missing)}."
    return text


def _listed(scores: Scores, names: list[str]) -> str:
    return ", ".join(map(scores.label, names))


def _alt(scores: Scores, values: pd.DataFrame, place: str) -> str:
    told = []
    for penalty, part in values.groupby("penalty", sort=False):
        last = part[part["lambda"] == part["lambda"].iloc[-1]]
        norms, zeros = last["norm"], 100 * last["zeros"]
        told.append(
            f"{scores.label(str(penalty))} at {last['lambda'].iloc[0]}: norm {norms.min():.2f} to {norms.max():.2f} of "
            f"none's, zeros {zeros.min():.0f} to {zeros.max():.0f} %"
        )
    return f"Heat maps of layers against strengths on {place}. At the strongest, over layers: {'; '.join(told)}."
