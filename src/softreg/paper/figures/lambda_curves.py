"""Validation mIoU against λ: one panel a model, one line a penalty, the λ that each rule would choose marked.

The axis of scores is that of the region of choice; where curves leave it, a slim panel below has all of them. Another
has the share of the penalised weights that is left. Comparators and controls, whose strength is a share and no λ, have
figures of their own.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import partial
from typing import Any

import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D

from softreg.paper.figures import layout, style
from softreg.paper.figures.layout import Figures, Page, Pages
from softreg.paper.questions.estimates import rows_of
from softreg.paper.scores import Scores
from softreg.scoring import select
from softreg.study.treatment import CONTROLS

TITLE = "Validation mIoU against λ"
_MOST = 4
"""Panels that a page can hold."""
_CURVE, _SLIM = 1.7, 0.4
"""Inches that a panel of scores takes, and a slim one below it."""
_SPREAD = 0.015
"""By how much of the axis neighbouring penalties are set apart, so that their error bars can be seen."""
_LEAST = 2.0
"""Regions of practical equivalence that the axis reaches below the scores to choose from, at least."""
_MARKED: dict[tuple[bool, bool], dict[str, Any]] = {
    (True, False): {"mfc": "white"},
    (True, True): {"fillstyle": "left", "markerfacecoloralt": "white"},
}
"""How a marker is filled, if not wholly: by whether its λ has the best mean, and is the strongest within an error."""
_MARK: dict[str, Any] = {"ls": "", "ms": 5.5, "mew": 0.9}

_BEST, _WITHIN = "λₘᵢₙ", "λ₁ₛₑ"


@dataclass(frozen=True)
class _Family:
    """Entries of a study's penalties that share an axis; the caption calls these ``strengths``."""

    stem: str
    title: str
    axis: str
    strengths: str
    scale: str
    members: list[str]


def figures(scores: Scores) -> Figures:
    """For each data set the figures of the penalties, and those of the controls if there are any."""
    for family in _families(scores):
        if family.members:
            yield from layout.of_datasets(scores, family.stem, family.title, partial(_pages, scores, family))


def _families(scores: Scores) -> tuple[_Family, _Family]:
    """The penalties, and the controls, that have a strength above 0: those that have a curve."""
    entries = scores.study["penalties"]
    curved = [name for name in scores.penalties if any(float(value) > 0 for value in entries[name]["lambda"])]
    penalties = [name for name in curved if scores.kinds[name] not in CONTROLS]
    controls = [name for name in curved if scores.kinds[name] in CONTROLS]
    strengths, title = "the strength λ of each penalty", "Validation mIoU against a control's strength"
    shares = "the strength of each comparator or control: the share dropped, smoothed, pruned or removed"
    return (
        _Family("lambda_curves", TITLE, "penalty strength λ", strengths, "log", penalties),
        _Family("control_curves", title, "strength", shares, "linear", controls),
    )


def _pages(scores: Scores, family: _Family, dataset: str) -> Pages:
    if all(len(scores.study["penalties"][name]["lambda"]) < 2 for name in family.members):
        return "Each entry has one strength, which makes no curve: add strengths to its lambda."
    points = _points(scores, dataset, family)
    if _strengths(points).empty:
        return f"No sweep cell with a λ above 0 has a validation score on {scores.label(dataset)} yet."
    pages = []
    for models in style.pages(layout.models_of(scores, _strengths(points)), _MOST):
        shown = points[points["model"].isin(models)]
        caption = _caption(scores, family, shown, dataset) + _lacking(scores, family, points)
        page = partial(_draw_panels, scores, family, shown, models)
        pages.append(Page(shown, page, caption, _alt(scores, shown, dataset)))
    return pages


def _draw_panels(scores: Scores, family: _Family, points: pd.DataFrame, models: list[str]) -> Figure:
    parts = {"mIoU (points)": _CURVE, "all": _SLIM, "kept (%)": _SLIM}
    ends = {model: _region(scores, points[points["model"] == model]) for model in models}
    if all((points.loc[points["model"] == model, "val_miou"] >= low).all() for model, (low, _) in ends.items()):
        del parts["all"]
    titles = [*map(scores.label, models)]
    height = sum(parts.values()) + 0.3 + 0.13 * (layout.lines_in(titles) - 1)
    figure, stacks = layout.grid(titles, height, family.axis, *parts, parts=[*parts.values()], sharex=True, most=2)
    for axes, model in zip(stacks, models, strict=True):
        axes[0].set_ylim(ends[model])
        _draw_panel(axes, scores, family, points[points["model"] == model])
    figure.align_ylabels()
    layout.add_legend(figure, _handles(scores, points), handlelength=2.2)
    return figure


def _region(scores: Scores, points: pd.DataFrame) -> tuple[float, float]:
    """The axis of scores of one model: all that was chosen, or could have been, and no penalty.

    It has half as much room again below these, and `_LEAST` regions of practical equivalence at least.
    """
    plain = points["lambda"].astype(float) == 0
    marked = points[plain | points["lambda_min"] | points["lambda_1se"] | points["chosen"]]
    least = float((marked["val_miou"] - marked["val_se"].fillna(0)).min())
    most = float((points["val_miou"] + points["val_se"].fillna(0)).max())
    low = least - max((most - least) / 2, _LEAST * scores.rope)
    return low, most + 0.05 * (most - low)


def _strengths(points: pd.DataFrame) -> pd.DataFrame:
    """The points that have a place on the axis."""
    return points[points["lambda"].astype(float) > 0]


def _points(scores: Scores, dataset: str, family: _Family) -> pd.DataFrame:
    """The curve's rows for one data set, scores in points (0 to 100).

    Beside the columns of `Scores.curves`: ``chosen`` where λ is λ̂; ``lambda_min`` at the λ of the best mean and
    ``lambda_1se`` at the strongest within one standard error of it.
    """
    shown = scores.curves["penalty"].isin([*family.members, *map(scores.references.get, family.members)])
    curves = scores.curves[(scores.curves["dataset"] == dataset) & shown].reset_index(drop=True)
    points = curves.assign(lambda_min=False, lambda_1se=False)
    cells = dict(list(scores.sweep_cells.groupby(select.GROUP)))
    for key, group in curves.groupby(select.GROUP):
        for column, rule in (("lambda_min", "best"), ("lambda_1se", "one_se")):
            points.loc[select.choose(group, cells[key], rule).name, column] = True
    points[["val_miou", "val_se"]] *= 100
    keys = [*select.GROUP, "lambda"]
    points["chosen"] = pd.MultiIndex.from_frame(points[keys]).isin(pd.MultiIndex.from_frame(scores.selection[keys]))
    return scores.ordered(points, "lambda").reset_index(drop=True)


def _references(scores: Scores, points: pd.DataFrame) -> list[str]:
    """The unpenalised entries that the others are to be compared with, in the order to show."""
    return [name for name in layout.penalties_of(scores, points) if scores.kinds[name] == "none"]


def _draw_panel(axes: list[Axes], scores: Scores, family: _Family, points: pd.DataFrame) -> None:
    """Of one model the curves, in slim axes all of them again where there are three axes, and what is kept."""
    curve, *whole, kept = axes
    _set_strengths(scores, curve, family)
    looks, swept = style.looks_of(scores), _strengths(points)
    swept = swept.assign(x=_set_apart(curve, swept), percent=100 * swept["kept"])
    lines = [*((axis, "val_miou") for axis in whole), (kept, "percent")]
    for name, mine in swept.groupby("penalty", sort=False):
        look = looks[str(name)]
        _draw_curve(curve, mine, look)
        for axis, values in lines:
            axis.plot(mine["x"], mine[values], color=look.colour, ls=look.line, lw=0.8)
    for name in _references(scores, points):
        _draw_reference(curve, points[points["penalty"] == name], looks[name])
    for axis, _ in lines:
        axis.locator_params(axis="y", nbins=2)
    kept.set(ylim=(-8, 108), yticks=[0, 100])
    curve.locator_params(axis="y", nbins=5)
    for axis in axes[:-1]:
        axis.tick_params(axis="x", labelbottom=False)


def _set_strengths(scores: Scores, axis: Axes, family: _Family) -> None:
    """The axis of strengths, with room beside those of the family."""
    axis.set_xscale(family.scale)
    if family.scale == "linear":
        axis.set_xlim(0, 1)
        axis.set_xticks([0, 0.5, 1], ["0", "0.5", "1"])
        return
    layout.show_powers(axis.xaxis)
    grids = [scores.study["penalties"][name]["lambda"] for name in family.members]
    values = [float(value) for grid in grids for value in grid if float(value) > 0]
    low, high = min(values), max(values)
    margin = max((high / low) ** 0.1, 1.6)
    axis.set_xlim(low / margin, high * margin)


def _set_apart(axis: Axes, points: pd.DataFrame) -> pd.Series[float]:
    """Strengths moved sideways by a part of the axis: not at all where no other penalty has that λ."""
    same = points.groupby("lambda")["penalty"]
    steps: pd.Series[float] = _SPREAD * layout.apart(same.cumcount(), same.transform("size"))
    values, (low, high) = points["lambda"].astype(float), axis.get_xlim()
    return values * (high / low) ** steps if axis.get_xscale() == "log" else values + (high - low) * steps


def _draw_curve(axis: Axes, points: pd.DataFrame, look: style.Look) -> None:
    """One penalty's means and marks, and the error bars of what lies on the axis."""
    error = points["val_se"].where(points["val_miou"] >= axis.get_ylim()[0])
    layout.draw_line(axis, look, points["x"], points["val_miou"], error, ms=2.5)
    for row in rows_of(points[points[["lambda_min", "lambda_1se", "chosen"]].any(axis=1)]):
        filled = _MARKED.get((row.lambda_min, row.lambda_1se), {})
        shape: dict[str, Any] = {"color": look.colour, "marker": look.marker, "zorder": 5}
        axis.plot([row.x], [row.val_miou], mec="black" if row.chosen else look.colour, **shape, **_MARK, **filled)


def _draw_reference(axis: Axes, points: pd.DataFrame, look: style.Look) -> None:
    for mean, error in points[["val_miou", "val_se"]].fillna(0).itertuples(index=False):
        axis.axhspan(mean - error, mean + error, color=look.colour, alpha=0.15, lw=0)
        axis.axhline(mean, color=look.colour, ls=look.line, lw=0.8)


def _handles(scores: Scores, points: pd.DataFrame) -> list[Line2D]:
    """What the legend names: penalties, references, test scores, and the marks that there are."""
    swept, looks = _strengths(points), style.looks_of(scores)
    handles = layout.handles_of(scores, swept)
    references = _references(scores, points)
    handles += [layout.handle(looks[name], scores.label(name), marker="", lw=0.8) for name in references]
    best, within = swept["lambda_min"], swept["lambda_1se"]
    marks = [
        ((True, False), "#888888", _BEST, best & ~within),
        ((False, True), "#888888", _WITHIN, within & ~best),
        ((True, True), "#888888", f"{_BEST} = {_WITHIN}", best & within),
        ((True, False), "black", "λ̂, chosen", points["chosen"]),
    ]
    grey: dict[str, Any] = {"color": "#888888", "marker": "o"}
    return handles + [
        Line2D([], [], label=text, mec=edge, **grey, **_MARK, **_MARKED.get(key, {}))
        for key, edge, text, there in marks
        if there.any()
    ]


def _caption(scores: Scores, family: _Family, points: pd.DataFrame, dataset: str) -> str:
    n = len(scores.study["seeds"]["tuning"])
    rule = "best mean" if scores.study["selection"]["rule"] == "best" else "strongest within one standard error"
    text = (
        f"Validation mIoU (points, 0 to 100) on {scores.label(dataset)} against {family.strengths} "
        f"({layout.errors_told(points['seeds'], 'tuning')}). "
        "Large markers: the λ with the best mean (λₘᵢₙ, open) and the strongest λ within one standard error "
        "of it (λ₁ₛₑ, filled; the error of differences paired by seed and fold); half-filled where these are one. "
        f"Outlined in black: λ̂, chosen on these scores (rule: {rule}). The axis is that of the region of choice; "
        "where curves leave it, the slim panel below has all of them. The lowest panel: the share of the penalised "
        "weights that is not zero. Points are set apart sideways a little where they would cover each other."
    )
    if scores.raced:
        text += " The race dropped λ from seed to seed: those with fewer seeds are means over the first, and unmarked."
    references = layout.listed(scores, _references(scores, points))
    return text + (f" Horizontal line{' and band' * (n > 1)}: {references}." if references else "")


def _lacking(scores: Scores, family: _Family, points: pd.DataFrame) -> str:
    """The sentences on penalties and models without a finished cell."""
    missing = [name for name in family.members if name not in set(points["penalty"])]
    return layout.left_out(scores, "Without a finished cell", missing) + layout.lacking(scores, set(points["model"]))


def _alt(scores: Scores, points: pd.DataFrame, dataset: str) -> str:
    chosen = _strengths(points[points["chosen"]])
    listed = "; ".join(
        f"{scores.label(row.model)} with {scores.label(row.penalty)}: {row.val_miou:.1f} at λ {row.lambda_}"
        for row in rows_of(chosen)
    )
    return f"Line plots of validation mIoU against λ on {scores.label(dataset)}. Chosen: {listed or 'none yet'}."
