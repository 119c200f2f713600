"""Validation mIoU against λ: one panel a model, one line a penalty, the λ that each rule would choose marked.

Below each panel, what share of the penalised weights is left. Test scores of the same cells, which were made once λ̂
stood, are in grey. Comparators and controls, whose strength is a share and no λ, have figures of their own.
"""

from __future__ import annotations

import math
import re
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import seaborn as sns
from matplotlib import pyplot as plt
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from matplotlib.ticker import NullLocator
from numpy.typing import NDArray

from softreg.paper.figures import style
from softreg.paper.figures.style import Absent, Drawn
from softreg.paper.scores import Scores
from softreg.scoring import select
from softreg.study.treatment import CONTROLS

TITLE = "Validation mIoU against λ"
_SPREAD = 0.022
"""By how much of the axis neighbouring penalties are set apart, so that their error bars can be seen."""
_PANELS, _MODELS = 6, 9
"""Up to so many panels all shares of the penalties stand in one figure; models of one figure."""
_CURVE, _KEPT = 1.3, 0.52
"""Inches that a panel of scores takes, and the slim one below it."""
_TEST_COLOUR = "#a6a6a6"
_STRENGTHS = {
    "log": "the strength λ of each penalty",
    "linear": "the strength of each comparator or control: the share dropped, smoothed, pruned or removed",
}
_MARKED = {"lambda_min": "none", "lambda_1se": "full", "both": "left"}
"""How a marker is filled: at the λ of the best mean, at the strongest within a standard error, where these are one."""

_BEST, _WITHIN = r"$\mathregular{λ_{min}}$", r"$\mathregular{λ_{1SE}}$"
_UNSET = re.compile(r"\\mathregular|[${}_]")
"""What of a formula takes no room."""


@dataclass(frozen=True)
class _Family:
    """Entries of a study's penalties that share an axis."""

    stem: str
    title: str
    axis: str
    scale: str
    members: list[str]


def draw(scores: Scores, folder: Path) -> list[Drawn | Absent]:
    """For each data set the figures of the penalties, and those of the controls if there are any."""
    families = [family for family in _families(scores) if family.members]
    return [
        entry
        for dataset in scores.study["datasets"]
        for family in families
        for entry in _draw_dataset(scores, dataset, family, folder)
    ]


def _families(scores: Scores) -> tuple[_Family, _Family]:
    """The penalties, and the controls, that have a strength above 0: those that have a curve."""
    entries = scores.study["penalties"]
    curved = [name for name in scores.penalties if any(float(value) > 0 for value in entries[name]["lambda"])]
    penalties = [name for name in curved if entries[name]["kind"] not in CONTROLS]
    controls = [name for name in curved if entries[name]["kind"] in CONTROLS]
    return (
        _Family("lambda_curves", TITLE, "penalty strength λ", "log", penalties),
        _Family("control_curves", "Validation mIoU against a control's strength", "strength", "linear", controls),
    )


def _draw_dataset(scores: Scores, dataset: str, family: _Family, folder: Path) -> list[Drawn | Absent]:
    title = f"{family.title}: {scores.label(dataset)}"
    points = _points(scores, dataset, family)
    if not (points["lambda"].astype(float) > 0).any():
        sentence = f"No sweep cell with a λ above 0 has a validation score on {scores.label(dataset)} yet."
        return [Absent(title, sentence)]
    parts = _parts(scores, family, points)
    entries: list[Drawn | Absent] = []
    for place, (models, shares) in enumerate(parts):
        name = style.numbered(f"{family.stem}-{dataset}", place, len(parts))
        compared = _with_references(scores, [penalty for share in shares for penalty in share])
        shown = points[points["model"].isin(models) & points["penalty"].isin(compared)]
        with style.paper(name):
            figure = _draw_panels(scores, family, shown, models, shares)
            width = style.save(figure, folder, name, shown)
        of = f" ({place + 1} of {len(parts)})" if len(parts) > 1 else ""
        caption = _caption(scores, family, shown, dataset) + _shares_told(shares)
        if place == len(parts) - 1:
            caption += _lacking(scores, family, points)
        entries.append(Drawn(name, width, title + of, caption, _alt(scores, shown, dataset)))
    return entries


def _parts(scores: Scores, family: _Family, points: pd.DataFrame) -> list[tuple[list[str], list[list[str]]]]:
    """What each figure shows: models, and the penalties in shares that are each small enough for one panel."""
    trained = set(points.loc[points["penalty"].isin(family.members), "model"])
    models = [name for name in scores.study["models"] if name in trained]
    shares = style.pages([name for name in family.members if name in set(points["penalty"])], style.DISTINCT)
    if len(models) * len(shares) <= _PANELS:
        return [(models, shares)]
    return [(some, [share]) for share in shares for some in style.pages(models, _MODELS)]


def _references(scores: Scores, penalties: list[str]) -> list[str]:
    """The unpenalised entries that ``penalties`` are to be compared with, in the order to show."""
    found = {scores.reference_of(name) for name in penalties}
    return [name for name in scores.penalties if name in found]


def _with_references(scores: Scores, penalties: list[str]) -> list[str]:
    return [*_references(scores, penalties), *penalties]


def _draw_panels(
    scores: Scores, family: _Family, points: pd.DataFrame, models: list[str], shares: list[list[str]]
) -> Figure:
    """A panel for each model; where there are several shares of the penalties, for each model and share."""
    rows, columns = style.grid_of(len(models))
    lines = rows * len(shares)
    width = style.PAGE if columns > 1 else style.COLUMN
    handles = _handles(scores, family, points)
    legend = style.columns_for([_UNSET.sub("", str(handle.get_label())) for handle in handles], width)
    titles = max(style.wrapped(scores.label(model), 26).count("\n") for model in models)
    height = lines * (_CURVE + _KEPT + 0.13 * titles) + 0.17 * math.ceil(len(handles) / legend) + 0.35
    figure, axes = plt.subplots(
        2 * lines,
        columns,
        figsize=(width, height),
        height_ratios=[_CURVE, _KEPT - 0.15] * lines,
        sharex=True,
        squeeze=False,
        layout="constrained",
    )
    for place, share in enumerate(shares):
        upper, lower = (axes[2 * place * rows + part : 2 * (place + 1) * rows : 2] for part in (0, 1))
        for curve, kept, model in zip(upper.flat, lower.flat, models, strict=False):
            _draw_panel(curve, kept, scores, family, points[points["model"] == model], model, share)
    _label_axes(axes, family, len(models) == 1)
    figure.align_ylabels()
    figure.legend(handles=handles, loc="outside lower center", ncols=legend, frameon=False, handlelength=2.2)
    return figure


def _label_axes(axes: NDArray[Any], family: _Family, alone: bool) -> None:
    """Labels at the left and at the bottom; panels of one model have one scale, as they differ by penalty alone."""
    left, lowest = style.outer(axes)
    if alone:
        for axis in left[2::2]:
            axis.sharey(left[0])
        left[0].autoscale(axis="y")
    for curve, kept in zip(left[::2], left[1::2], strict=True):
        curve.set_ylabel("mIoU (points)")
        kept.set_ylabel("kept (%)")
    for axis in lowest:
        axis.set_xlabel(family.axis)


def _points(scores: Scores, dataset: str, family: _Family) -> pd.DataFrame:
    """The curve's rows for one data set, scores in points (0 to 100).

    Beside the columns of `Scores.curves`: ``chosen`` where λ is λ̂; ``lambda_min`` at the λ of the best mean and
    ``lambda_1se`` at the strongest within one standard error of it; ``test_miou``, the mean over ``test_cells`` of the
    sweep.
    """
    shown = scores.curves["penalty"].isin(_with_references(scores, family.members))
    curves = scores.curves[(scores.curves["dataset"] == dataset) & shown].reset_index(drop=True)
    marks = pd.DataFrame({"lambda_min": False, "lambda_1se": False}, index=curves.index)
    for _, group in curves.groupby(select.GROUP):
        for column, rule in (("lambda_min", "best"), ("lambda_1se", "one_se")):
            marks.loc[select.choose(group, rule).name, column] = True
    curves = pd.concat([curves, marks], axis=1)
    curves[["val_miou", "val_se"]] *= 100
    keys = [*select.GROUP, "lambda"]
    points = curves.merge(scores.selection[keys].assign(chosen=True), on=keys, how="left")
    points = points.merge(_test_scores(scores), on=keys, how="left")
    points["chosen"] = points["chosen"].notna()
    order = {name: place for place, name in enumerate(scores.penalties)}
    by = [points["model"], points["penalty"].map(order), points["lambda"].astype(float)]
    return points.iloc[np.lexsort(by[::-1])].reset_index(drop=True)


def _test_scores(scores: Scores) -> pd.DataFrame:
    sums = scores.sums
    sweep = sums[(sums["phase"] == "sweep") & (sums["split"] == "test") & (sums["corruption"] == "")]
    grouped = (100 * sweep["miou"]).groupby([sweep[key] for key in (*select.GROUP, "lambda")])
    return grouped.agg(test_miou="mean", test_cells="size").reset_index()


def _draw_panel(
    curve: Axes,
    kept: Axes,
    scores: Scores,
    family: _Family,
    points: pd.DataFrame,
    model: str,
    penalties: list[str],
) -> None:
    if points[points["penalty"].isin(penalties)].empty:
        return  # no entry of this share is trained on the model: the panel is taken out
    curve.set_title(style.wrapped(scores.label(model), 26))
    grids = [scores.study["penalties"][name]["lambda"] for name in family.members]
    _set_strengths(curve, family, [float(value) for grid in grids for value in grid])
    looks, aside = style.looks_of(scores), _places(points, penalties)
    for name in penalties:
        mine = points[(points["penalty"] == name) & (points["lambda"].astype(float) > 0)]
        x = _shifted(curve, mine["lambda"].astype(float).to_numpy(), np.array([aside[name, v] for v in mine["lambda"]]))
        _draw_curve(curve, mine, looks[name], x)
        look = looks[name]
        kept.plot(x, 100 * mine["kept"], color=look.colour, ls=look.line, marker=look.marker, ms=2, mew=0)
    for name in _references(scores, penalties):
        _draw_reference(curve, points[points["penalty"] == name], looks[name])
    kept.set_ylim(-8, 108)
    kept.set_yticks([0, 100])
    curve.locator_params(axis="y", nbins=5)
    curve.tick_params(axis="x", labelbottom=False)
    for axis in (curve, kept):
        sns.despine(ax=axis)


def _set_strengths(axis: Axes, family: _Family, values: list[float]) -> None:
    axis.set_xscale(family.scale)
    if family.scale == "linear":
        axis.set_xlim(0, 1)
        axis.set_xticks([0, 0.5, 1], ["0", "0.5", "1"])
        return
    # Ticks between the powers of ten take most of the time of drawing, and tell little.
    axis.xaxis.set_minor_locator(NullLocator())
    low, high = min(value for value in values if value > 0), max(values)
    margin = max((high / low) ** 0.1, 1.6)
    axis.set_xlim(low / margin, high * margin)


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


def _draw_curve(axis: Axes, points: pd.DataFrame, look: style.Look, x: NDArray[np.floating[Any]]) -> None:
    """One penalty's means, error bars, marks and, in grey beneath, test scores."""
    grey: dict[str, Any] = {"color": _TEST_COLOUR, "lw": 0.7, "zorder": 1.5}
    axis.plot(x, points["test_miou"], ls=look.line, marker=look.marker, ms=2, mew=0, **grey)
    y, error = points["val_miou"].to_numpy(), points["val_se"].fillna(0).to_numpy()
    axis.errorbar(x, y, error, color=look.colour, ls=look.line, marker=look.marker, ms=2.5, mew=0, elinewidth=0.6)
    marks = points[["lambda_min", "lambda_1se", "chosen"]].itertuples(index=False, name=None)
    for place, (best, within, chosen) in enumerate(marks):
        if best or within or chosen:
            filled = _MARKED["both" if best and within else "lambda_min" if best else "lambda_1se"]
            _mark(axis, x[place], y[place], look, filled, chosen)


def _mark(axis: Axes, x: float, y: float, look: style.Look, filled: str, chosen: bool) -> None:
    # White beneath, so that an empty or half-filled marker hides the line.
    axis.plot([x], [y], look.marker, ms=5.5, color="white", mew=0, clip_on=False, zorder=4)
    axis.plot(
        [x],
        [y],
        look.marker,
        ms=5.5,
        color=look.colour,
        fillstyle=filled,
        markerfacecoloralt="white",
        mec="black" if chosen else look.colour,
        mew=0.9,
        clip_on=False,
        zorder=5,
    )


def _draw_reference(axis: Axes, points: pd.DataFrame, look: style.Look) -> None:
    for mean, error in points[["val_miou", "val_se"]].fillna(0).itertuples(index=False):
        axis.axhspan(mean - error, mean + error, color=look.colour, alpha=0.15, lw=0)
        axis.axhline(mean, color=look.colour, ls=look.line, lw=0.8)


def _handles(scores: Scores, family: _Family, points: pd.DataFrame) -> list[Line2D]:
    """What the legend names: penalties, references, test scores, and the marks that there are."""
    seen, handles = set(points["penalty"]), []
    for name in [*family.members, *_references(scores, family.members)]:
        if name in seen:
            look = style.looks_of(scores)[name]
            line = Line2D([], [], color=look.colour, ls=look.line, lw=0.8, label=scores.label(name))
            if name in family.members:
                line.set(lw=1, marker=look.marker, ms=3.5, mew=0)
            handles.append(line)
    if points["test_miou"].notna().any():
        handles.append(Line2D([], [], color=_TEST_COLOUR, lw=0.7, label="test"))
    shown = points[points["lambda"].astype(float) > 0]
    both = shown["lambda_min"] & shown["lambda_1se"]
    marks = [
        ("lambda_min", _BEST, shown["lambda_min"] & ~both),
        ("lambda_1se", _WITHIN, shown["lambda_1se"] & ~both),
        ("both", f"{_BEST} = {_WITHIN}", both),
    ]
    handles += [_mark_handle(text, _MARKED[key], "#888888") for key, text, there in marks if there.any()]
    return handles + ([_mark_handle("λ̂, chosen", "none", "black")] if points["chosen"].any() else [])


def _mark_handle(label: str, filled: str, edge: str) -> Line2D:
    look: dict[str, Any] = {"fillstyle": filled, "markerfacecoloralt": "white", "mec": edge, "mew": 0.9}
    return Line2D([], [], ls="", marker="o", ms=5.5, color="#888888", label=label, **look)


def _caption(scores: Scores, family: _Family, points: pd.DataFrame, dataset: str) -> str:
    n = len(scores.study["seeds"]["tuning"])
    error = f"mean ± standard error over n = {n} tuning seeds" if n > 1 else "one tuning seed, hence no error bars"
    rule = "best mean" if scores.study["selection"]["rule"] == "best" else "strongest within one standard error"
    text = (
        f"Validation mIoU (points, 0 to 100) on {scores.label(dataset)} against {_STRENGTHS[family.scale]} ({error}). "
        "Large markers: the λ with the best mean (λ_min, open) and the strongest λ whose mean is within one standard "
        "error of the best (λ_1SE, filled); half-filled where these are one. "
        f"Outlined in black: λ̂, chosen on these scores (rule: {rule}). Small panels: the share of the penalised "
        "weights that is not zero. Points are set apart sideways a little where they would cover each other."
    )
    if points["test_miou"].notna().any():
        text += " Grey: test mIoU of the same cells (mean), made once λ̂ had been chosen and used for no choice."
    seen = set(points["penalty"])
    references = [scores.label(name) for name in _references(scores, family.members) if name in seen]
    return text + (f" Horizontal line{' and band' * (n > 1)}: {', '.join(references)}." if references else "")


def _shares_told(shares: list[list[str]]) -> str:
    return " Each model has several panels, each with a share of the penalties." if len(shares) > 1 else ""


def _lacking(scores: Scores, family: _Family, points: pd.DataFrame) -> str:
    """The sentences on penalties and models without a finished cell."""
    missing = [scores.label(name) for name in family.members if name not in set(points["penalty"])]
    text = f" Without a finished cell, so not shown: {', '.join(missing)}." if missing else ""
    lacking = [scores.label(name) for name in scores.study["models"] if name not in set(points["model"])]
    return text + (f" No finished cells yet, so not shown: {', '.join(lacking)}." if lacking else "")


def _alt(scores: Scores, points: pd.DataFrame, dataset: str) -> str:
    chosen = points[points["chosen"] & (points["lambda"].astype(float) > 0)]
    columns = chosen[["model", "penalty", "val_miou", "lambda"]].itertuples(index=False, name=None)
    peaks = [f"{scores.label(m)} with {scores.label(p)}: {mean:.1f} at λ {value}" for m, p, mean, value in columns]
    listed = "; ".join(peaks) or "none yet"
    return f"Line plots of validation mIoU against λ on {scores.label(dataset)}. Chosen: {listed}."
