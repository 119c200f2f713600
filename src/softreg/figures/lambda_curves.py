"""Validation mIoU against λ: one figure a data set, one panel a model, one line a penalty, λ̂ marked.

Comparators and controls, whose strength is a share and no λ, have a figure of their own.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from pathlib import Path
from typing import Any, cast

import numpy as np
import pandas as pd
import seaborn as sns
from matplotlib import pyplot as plt
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from numpy.typing import NDArray

from softreg.figures import style
from softreg.figures.style import Absent, Drawn
from softreg.scores import Scores
from softreg.treatment import CONTROLS

TITLE = "Validation mIoU against λ"
_SPREAD = 0.022
"""By how much of the axis neighbouring penalties are set apart, so that their error bars can be seen."""
_STRENGTHS = {
    "log": "the strength λ of each penalty",
    "linear": "the strength of each comparator or control: the share dropped, smoothed, pruned or removed",
}


@dataclass(frozen=True)
class _Family:
    """Entries of a study's penalties that share an axis."""

    stem: str
    title: str
    axis: str
    scale: str
    members: list[str]


def draw(scores: Scores, folder: Path) -> list[Drawn | Absent]:
    """For each data set one figure of the penalties, and one of the controls if there are any."""
    families = [family for family in _families(scores) if family.members]
    return [
        _draw_dataset(scores, dataset, family, folder) for dataset in scores.study["datasets"] for family in families
    ]


def _families(scores: Scores) -> tuple[_Family, _Family]:
    """The penalties, and the controls, that have a strength above 0: those that have a curve."""
    entries = scores.study["penalties"].items()
    curved = {name: entry["kind"] for name, entry in entries if any(float(value) > 0 for value in entry["lambda"])}
    penalties = [name for name, kind in curved.items() if kind not in CONTROLS]
    controls = [name for name, kind in curved.items() if kind in CONTROLS]
    return (
        _Family("lambda_curves", TITLE, "penalty strength λ", "log", penalties),
        _Family("control_curves", "Validation mIoU against a control's strength", "strength", "linear", controls),
    )


def _draw_dataset(scores: Scores, dataset: str, family: _Family, folder: Path) -> Drawn | Absent:
    title = f"{family.title}: {dataset}"
    points = _points(scores, dataset, family)
    models = [name for name in scores.study["models"] if name in set(points["model"])]
    if not (points["lambda"].astype(float) > 0).any():
        return Absent(title, f"No sweep cell with a λ above 0 has a validation score on {dataset} yet.")
    name = f"{family.stem}-{dataset}"
    with style.paper(name):
        figure = _draw_panels(scores, family, points, models)
        width = style.save(figure, folder, name, points)
    return Drawn(name, width, title, _caption(scores, family, models, dataset), _alt(points, dataset))


def _draw_panels(scores: Scores, family: _Family, points: pd.DataFrame, models: list[str]) -> Figure:
    """A panel for each model; where there are many penalties, for each model and share of them."""
    shares = _shares([name for name in family.members if name in set(points["penalty"])])
    rows, columns = style.grid_of(len(models))
    width = style.PAGE if columns > 1 else style.COLUMN
    handles = _handles(scores, family, points)
    legend = style.columns_for([str(handle.get_label()) for handle in handles], width)
    height = (
        (1.6 if rows * len(shares) > 1 else 1.9) * rows * len(shares) + 0.17 * math.ceil(len(handles) / legend) + 0.35
    )
    figure, axes = plt.subplots(
        rows * len(shares),
        columns,
        figsize=(width, height),
        sharex=True,
        sharey=len(models) == 1,
        squeeze=False,
        layout="constrained",
    )
    for place, share in enumerate(shares):
        for axis, model in zip(axes[place * rows : (place + 1) * rows].flat, models, strict=False):
            _draw_panel(axis, scores, family, points[points["model"] == model], model, share)
    left, lowest = style.outer(axes)
    for axis in left:
        axis.set_ylabel("validation mIoU")
    for axis in lowest:
        axis.set_xlabel(family.axis)
    figure.legend(handles=handles, loc="outside lower center", ncols=legend, frameon=False)
    return figure


def _shares(penalties: list[str]) -> list[list[str]]:
    """The penalties in shares, as even as they can be, each small enough for one panel."""
    count = math.ceil(len(penalties) / style.DISTINCT)
    size = math.ceil(len(penalties) / count)
    return [penalties[start : start + size] for start in range(0, len(penalties), size)]


def _points(scores: Scores, dataset: str, family: _Family) -> pd.DataFrame:
    """The curve's rows for one data set, in points (0 to 100), with ``chosen`` where λ is λ̂."""
    shown = scores.curves["penalty"].isin([*family.members, scores.reference])
    curves = scores.curves[(scores.curves["dataset"] == dataset) & shown].copy()
    curves[["val_miou", "val_se"]] *= 100
    keys = ["dataset", "model", "penalty", "lambda"]
    chosen = scores.selection[keys].assign(chosen=True)
    points = curves.merge(chosen, on=keys, how="left")
    points["chosen"] = points["chosen"].notna()
    order = {name: place for place, name in enumerate(scores.study["penalties"])}
    by = [points["model"], points["penalty"].map(order), points["lambda"].astype(float)]
    return points.iloc[np.lexsort(by[::-1])].reset_index(drop=True)


def _draw_panel(
    axis: Axes, scores: Scores, family: _Family, points: pd.DataFrame, model: str, penalties: list[str]
) -> None:
    axis.set_xscale(family.scale)
    axis.set_title(style.wrapped(model, 26))
    values = [float(value) for name in family.members for value in scores.study["penalties"][name]["lambda"]]
    low, high = min(value for value in values if value > 0), max(values)
    if family.scale == "log":
        margin = max((high / low) ** 0.1, 1.6)
        axis.set_xlim(low / margin, high * margin)
    else:
        axis.set_xlim(0, 1)
    places = _places(points, penalties)
    for penalty in penalties:
        _draw_curve(axis, family, points[points["penalty"] == penalty], penalty, places)
    _draw_reference(axis, points[points["penalty"] == scores.reference])
    axis.locator_params(axis="y", nbins=5)
    sns.despine(ax=axis)


def _places(points: pd.DataFrame, penalties: list[str]) -> dict[tuple[str, str], float]:
    """By how many steps (penalty, λ) is set aside: not at all where no other penalty has that λ."""
    shared = points[points["penalty"].isin(penalties)].groupby("lambda")["penalty"].agg(list)
    return {
        (name, str(value)): place - (len(names) - 1) / 2
        for value, names in shared.items()
        for place, name in enumerate(names)
    }


def _shifted(
    axis: Axes, values: NDArray[np.floating[Any]], places: NDArray[np.floating[Any]]
) -> NDArray[np.floating[Any]]:
    """``values`` moved sideways by a part of the axis."""
    low, high = axis.get_xlim()
    if axis.get_xscale() == "log":
        moved: NDArray[np.floating[Any]] = values * (high / low) ** (_SPREAD * places)
        return moved
    return values + (high - low) * _SPREAD * places


def _draw_curve(
    axis: Axes, family: _Family, points: pd.DataFrame, penalty: str, places: dict[tuple[str, str], float]
) -> None:
    look = style.looks(family.members)[penalty]
    points = points[points["lambda"].astype(float) > 0]
    aside = np.array([places[penalty, value] for value in points["lambda"]])
    x = _shifted(axis, points["lambda"].astype(float).to_numpy(), aside)
    y, error = points["val_miou"].to_numpy(), points["val_se"].fillna(0).to_numpy()
    axis.errorbar(x, y, error, color=look.colour, ls=look.line, marker=look.marker, ms=3, mew=0, elinewidth=0.6)
    chosen = points["chosen"].to_numpy()
    if chosen.any():  # an empty line would take room at the figure's corner
        outline: dict[str, Any] = {"mec": "black", "mew": 0.7, "clip_on": False, "zorder": 5}
        axis.plot(x[chosen], y[chosen], look.marker, ms=5, color=look.colour, **outline)


def _draw_reference(axis: Axes, points: pd.DataFrame) -> None:
    for mean, error in points[["val_miou", "val_se"]].fillna(0).itertuples(index=False):
        axis.axhspan(mean - error, mean + error, color=style.REFERENCE_COLOUR, alpha=0.15, lw=0)
        axis.axhline(mean, color=style.REFERENCE_COLOUR, lw=0.8)


def _handles(scores: Scores, family: _Family, points: pd.DataFrame) -> list[Line2D]:
    looks, seen = style.looks(family.members), set(points["penalty"])
    handles = [
        Line2D([], [], color=look.colour, ls=look.line, marker=look.marker, ms=3.5, mew=0, label=name)
        for name, look in looks.items()
        if name in seen
    ]
    if scores.reference in seen:
        handles.append(Line2D([], [], color=style.REFERENCE_COLOUR, lw=0.8, label=cast(str, scores.reference)))
    if points["chosen"].any():
        handles.append(Line2D([], [], ls="", marker="o", ms=5, mfc="none", mec="black", mew=0.7, label="λ̂ (chosen)"))
    return handles


def _caption(scores: Scores, family: _Family, models: list[str], dataset: str) -> str:
    n = len(scores.study["seeds"]["tuning"])
    error = f"mean ± standard error over {n} tuning seeds" if n > 1 else "one tuning seed, hence no error bars"
    rule = str(scores.study["selection"]["rule"]).replace("_", "-")
    text = (
        f"Validation mIoU (points, 0 to 100) on {dataset} against {_STRENGTHS[family.scale]} "
        f"({error}). Outlined markers: λ̂, chosen on these scores (rule: {rule}). Points are set apart "
        "sideways a little where they would cover each other."
    )
    if scores.reference:
        text += f" Horizontal line{' and band' * (n > 1)}: {scores.reference}."
    if len(family.members) > style.DISTINCT:
        text += " Each model has several panels, each with a share of the penalties."
    seen = set(scores.curves.loc[scores.curves["dataset"] == dataset, "penalty"])
    missing = [name for name in family.members if name not in seen]
    if missing:
        text += f" Without a finished cell, so not shown: {', '.join(missing)}."
    lacking = [name for name in scores.study["models"] if name not in models]
    return text + (f" No finished cells yet, so not shown: {', '.join(lacking)}." if lacking else "")


def _alt(points: pd.DataFrame, dataset: str) -> str:
    chosen = points[points["chosen"] & (points["lambda"].astype(float) > 0)]
    columns = chosen[["model", "penalty", "val_miou", "lambda"]].itertuples(index=False, name=None)
    peaks = [f"{model} with {penalty}: {mean:.1f} at λ {value}" for model, penalty, mean, value in columns]
    return f"Line plots of validation mIoU against λ on {dataset}. Chosen: {'; '.join(peaks) or 'none yet'}."
