"""Forest of paired differences in test mIoU: of each penalty to none, and of soft to its rivals, with verdicts.

The numbers are those of `softreg.paper.questions.gain`.
"""

from __future__ import annotations

from functools import partial
from typing import Any, cast

import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from matplotlib.patches import Patch

from softreg.paper.figures import forest, layout, style
from softreg.paper.figures.layout import Figures, Page, Pages
from softreg.paper.questions import answer as words
from softreg.paper.questions import gain
from softreg.paper.questions.estimates import images_told, rows_of
from softreg.paper.scores import Scores

TITLE = "Paired differences in test mIoU"
VERDICTS: dict[str, tuple[str, dict[str, Any]]] = {
    words.SUPPORTED: ("above 0", {"marker": ">", "mfc": "black"}),
    words.CONTRADICTED: ("below 0", {"marker": "<", "mfc": "black"}),
    words.EQUIVALENT: ("equivalent", {"marker": "s", "mfc": "black"}),
    words.UNDECIDED: ("undecided", {"marker": "o", "mfc": "white"}),
    words.NOT_ANSWERABLE: ("not answerable", {"marker": "D", "mfc": "white"}),
    words.NOT_LEARNT: ("predicts one class", {"marker": "X", "mfc": "white"}),
    words.AS_LOOKUP: ("as grey levels alone", {"marker": "P", "mfc": "white"}),
}
"""How a mean is drawn, by its verdict, and what the legend calls it."""
_MEAN: dict[str, Any] = {"ls": "", "mec": "black", "ms": 3.6, "mew": 0.7}
HEAD = 0.2
"""Inches of the titles and ticks of a panel."""
_SEEDS = 0.07
"""Inches that the marks of seeds take of a row, beside the mean and its interval."""


def figures(scores: Scores) -> Figures:
    """One figure for each data set, or several where its models do not fit on a page; see `softreg.paper.figures`."""
    return layout.of_datasets(scores, "paired_difference", TITLE, partial(_pages, scores))


def _pages(scores: Scores, dataset: str) -> Pages:
    if not any(gain.pairs(scores, d, m) for d, m, _ in scores.groups if d == dataset):
        return gain.UNPAIRED
    rows = gain.contrasts(scores)
    rows = rows[rows["dataset"] == dataset].drop(columns="dataset").rename(columns={"difference": "mean"})
    if rows.empty:
        lacking = "No evaluation seed has a test score on both sides of a contrast"
        return f"{lacking} on {scores.label(dataset)} yet: {scores.finish('final')}"
    points = gain.seed_differences(scores)
    numbers = points[points["dataset"] == dataset].merge(rows, on=["model", "penalty", "reference"])
    pages: list[Page] = []
    for models in style.pages(layout.models_of(scores, rows), layout.most_panels(_height(scores, rows))):
        shown = numbers[numbers["model"].isin(models)]
        caption = _caption(scores, shown) + (_lacking(scores, dataset, rows) if not pages else "")
        pages.append(Page(shown, partial(_draw_panels, scores, shown, models), caption, _alt(scores, shown)))
    return pages


def _height(scores: Scores, numbers: pd.DataFrame) -> float:
    """Inches of one panel."""
    labels = [_row_label(scores, *pair) for pair in _places(scores, numbers)]
    return (forest.row_height(labels) + _SEEDS) * (len(labels) + 0.5) + HEAD


def _draw_panels(scores: Scores, numbers: pd.DataFrame, models: list[str]) -> Figure:
    titles, height = [*map(scores.label, models)], _height(scores, numbers)
    figure, stacks = layout.grid(titles, height, "", sharex=True, sharey=True)
    figure.set_figwidth(style.PAGE)
    places = _places(scores, numbers)
    for (axis,), model in zip(stacks, models, strict=True):
        _draw_panel(axis, scores, numbers[numbers["model"] == model], places)
    # The title of the legend, which all panels have in common, stands where each would have its label.
    layout.add_legend(figure, _handles(numbers), 0.3, handlelength=1.2, title="difference in test mIoU (points)")
    return figure


def _places(scores: Scores, numbers: pd.DataFrame) -> dict[tuple[str, str], float]:
    """Where the row of each (penalty, reference) is, from the top; between those to none and the others is a gap."""
    pairs = dict.fromkeys(zip(numbers["penalty"], numbers["reference"], strict=True))
    rivals = {pair: scores.kinds[pair[1]] != "none" for pair in pairs}
    gap = 0.0 if all(rivals.values()) else 0.5
    return {pair: place + gap * rivals[pair] for place, pair in enumerate(sorted(pairs, key=rivals.__getitem__))}


def _draw_panel(axis: Axes, scores: Scores, numbers: pd.DataFrame, places: dict[tuple[str, str], float]) -> None:
    layout.show_rope(axis, scores, upright=True)
    looks = style.looks_of(scores)
    for key, part in numbers.groupby(["penalty", "reference"], sort=False):
        pair = cast(tuple[str, str], key)
        look, place, first = looks[pair[0]], places[pair], part.iloc[0]
        above, below = place - 0.22, place + 0.12
        axis.plot(part["difference"], [above] * len(part), look.marker, ms=2.6, mew=0, alpha=0.7, color=look.colour)
        axis.plot([first["low"], first["high"]], [below, below], color="black", lw=0.9, zorder=4)
        axis.plot([first["mean"]], [below], zorder=5, **_MEAN, **VERDICTS[first["word"]][1])
    forest.set_lines(axis, [*places.values()], [_row_label(scores, *pair) for pair in places])
    axis.locator_params(axis="x", nbins=5)


def _row_label(scores: Scores, penalty: str, reference: str) -> str:
    if scores.kinds[reference] == "none":
        return style.wrapped(scores.label(penalty), 22)
    return style.wrapped(f"{scores.label(penalty)} − {scores.label(reference)}", 22)


def _handles(numbers: pd.DataFrame) -> list[Any]:
    seen = set(numbers["word"])
    means = [Line2D([], [], label=label, **_MEAN, **mark) for word, (label, mark) in VERDICTS.items() if word in seen]
    return [*means, Patch(color=layout.ROPE_COLOUR, label="practically equivalent")]


def _caption(scores: Scores, numbers: pd.DataFrame) -> str:
    rows = numbers.drop_duplicates(["model", "penalty", "reference"])
    dataset, seeds = str(rows["dataset"].iloc[0]), layout.span(rows["n_seeds"])
    images = images_told(*rows[["n_images", "n_groups"]].max())
    kinds = rows["reference"].map(scores.kinds)
    rivals, reference = (kinds != "none").any(), layout.told_reference(scores, rows[kinds == "none"])
    text = (
        f"Test mIoU on {scores.label(dataset)} of each penalty at its λ̂ less that of {reference}"
        f"{', and of soft less its rivals (lower rows)' if rivals else ''}, in points (0 to 100): each coloured point "
        f"is one evaluation seed (n = {seeds}), the black marker below them the mean"
    )
    text += (
        f", the line its {scores.looks.interval} interval over {_units(scores, seeds, images)}. The "
        "marker's form is the verdict, which needs Holm's p as well, adjusted for the number of rows as the interval "
        "is not."
        if rows["low"].notna().any()
        else "; one seed, or images of one group alone, give no interval."
    )
    return text + f" Grey: the region of practical equivalence, ±{scores.rope:g} points, set in advance."


def _units(scores: Scores, seeds: str, images: str) -> str:
    """What the intervals are over."""
    if scores.folds:
        return f"{seeds} seeds and {scores.folds} outer folds, crossed, each fold with a split and a λ̂ of its own"
    return f"seeds and images, both units of resampling, crossed ({seeds} seeds × {images})"


def _lacking(scores: Scores, dataset: str, rows: pd.DataFrame) -> str:
    """What of the study a reader may look for in vain."""
    text, references = "", scores.references
    alone = [name for name in scores.penalties if scores.kinds[name] != "none" and not references[name]]
    if alone:
        names = layout.listed(scores, alone)
        text += f" Without an unpenalised entry of the same update rule, so not shown against none: {names}."
    shown = set(rows[["model", "penalty", "reference"]].itertuples(index=False, name=None))
    asked = [(model, *pair[:2]) for model in scores.study["models"] for pair in gain.pairs(scores, dataset, model)]
    missing = [
        f"{scores.label(model)} with {scores.label(penalty)} against {scores.label(reference)}"
        for model, penalty, reference in dict.fromkeys(asked)
        if (model, penalty, reference) not in shown
    ]
    return text + (f" Without a pair of finished cells, so not shown: {', '.join(missing)}." if missing else "")


def _alt(scores: Scores, numbers: pd.DataFrame) -> str:
    rows = numbers.drop_duplicates(["model", "penalty", "reference"])
    listed = "; ".join(
        f"{scores.label(r.model)}, {scores.label(r.penalty)} less {scores.label(r.reference)}: {r.mean:+.2f}, {r.word}"
        for r in rows_of(rows)
    )
    return f"Forest plot of paired differences in test mIoU, means in points. {listed}."
