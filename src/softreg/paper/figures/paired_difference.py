"""Forest of paired differences in test mIoU: of each penalty to none, and of soft to its rivals, with verdicts.

The numbers are those of `softreg.paper.questions.gain`.
"""

from __future__ import annotations

import math
from pathlib import Path
from typing import Any, cast

import pandas as pd
import seaborn as sns
from matplotlib import pyplot as plt
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from matplotlib.patches import Patch

from softreg.paper.figures import style
from softreg.paper.figures.style import Absent, Drawn
from softreg.paper.questions import gain
from softreg.paper.questions.answer import CONTRADICTED, EQUIVALENT, SUPPORTED, UNDECIDED
from softreg.paper.scores import Scores

TITLE = "Paired differences in test mIoU"
VERDICTS: dict[str, tuple[str, dict[str, Any]]] = {
    SUPPORTED: ("above 0", {"marker": ">", "mfc": "black"}),
    CONTRADICTED: ("below 0", {"marker": "<", "mfc": "black"}),
    EQUIVALENT: ("equivalent", {"marker": "s", "mfc": "black"}),
    UNDECIDED: ("undecided", {"marker": "o", "mfc": "white"}),
}
"""How a mean is drawn, by its verdict, and what the legend calls it."""
TALLEST = 8.6
"""Inches of a figure on a page with its caption; what does not fit goes on to the next figure."""
ROW, HEAD = 0.23, 0.42


def draw(scores: Scores, folder: Path) -> list[Drawn | Absent]:
    """One figure for each data set, or several where its models do not fit on a page; see `softreg.paper.figures`."""
    return [entry for dataset in scores.study["datasets"] for entry in _draw_dataset(scores, dataset, folder)]


def _draw_dataset(scores: Scores, dataset: str, folder: Path) -> list[Drawn | Absent]:
    title = f"{TITLE}: {scores.label(dataset)}"
    asked = {(d, m): gain.pairs(scores, d, m) for d, m, _ in scores.groups if d == dataset}
    if not any(asked.values()):
        reason = (
            "No entry has a reference: add an unpenalised one (kind none) of the same update rule to the penalties."
        )
        return [Absent(title, reason)]
    rows = gain.contrasts(scores)
    rows = rows[rows["dataset"] == dataset]
    if rows.empty:
        lacking = "No evaluation seed has a test score on both sides of a contrast"
        return [Absent(title, f"{lacking} on {scores.label(dataset)} yet: finish the study's final phase.")]
    points = gain.seed_differences(scores)
    numbers = points[points["dataset"] == dataset].merge(
        rows.drop(columns="dataset").rename(columns={"difference": "mean"}), on=["model", "penalty", "reference"]
    )
    pages = _pages([name for name in scores.study["models"] if name in set(rows["model"])], _height(rows))
    return [
        _draw_page(scores, numbers[numbers["model"].isin(models)], models, folder, page, len(pages))
        for page, models in enumerate(pages, start=1)
    ]


def _contrasts_of(numbers: pd.DataFrame) -> list[tuple[str, str]]:
    """(penalty, reference) of each row that some panel has."""
    return list(dict.fromkeys(zip(numbers["penalty"], numbers["reference"], strict=True)))


def _height(numbers: pd.DataFrame) -> float:
    """Inches of one panel."""
    return ROW * len(_contrasts_of(numbers)) + HEAD


def _pages(models: list[str], height: float) -> list[list[str]]:
    """The models by figure, as evenly as they go: three panels abreast, as many rows as a page holds."""
    most = 3 * max(1, int((TALLEST - 0.7) / height))
    count = math.ceil(len(models) / most)
    size = math.ceil(len(models) / count)
    return [models[start : start + size] for start in range(0, len(models), size)]


def _draw_page(
    scores: Scores, numbers: pd.DataFrame, models: list[str], folder: Path, page: int, pages: int
) -> Drawn | Absent:
    dataset = str(numbers["dataset"].iloc[0])
    name = f"paired_difference-{dataset}" + (f"-{page}" if page > 1 else "")
    title = f"{TITLE}: {scores.label(dataset)}" + (f" ({page} of {pages})" if pages > 1 else "")
    with style.paper(name):
        figure = _draw_panels(scores, numbers, models)
        width = style.save(figure, folder, name, numbers)
    return Drawn(name, width, title, _caption(scores, numbers, models, page), _alt(scores, numbers))


def _draw_panels(scores: Scores, numbers: pd.DataFrame, models: list[str]) -> Figure:
    rows, columns = style.grid_of(len(models))
    width = style.PAGE if columns > 1 else style.COLUMN
    figure, axes = plt.subplots(
        rows,
        columns,
        figsize=(width, _height(numbers) * rows + (0.7 if columns > 1 else 1.05)),
        sharex=True,
        sharey=True,
        squeeze=False,
        layout="constrained",
    )
    places = _places(scores, numbers)
    for axis, model in zip(axes.flat, models, strict=False):
        _draw_panel(axis, scores, numbers[numbers["model"] == model], places, model)
    for axis in style.outer(axes)[1]:
        axis.set_xlabel("difference (points)")
    handles = _handles(numbers)
    fits = style.columns_for([str(handle.get_label()) for handle in handles], width, 0.3)
    figure.legend(handles=handles, loc="outside lower center", ncols=fits, frameon=False, handlelength=1.2)
    return figure


def _places(scores: Scores, numbers: pd.DataFrame) -> dict[tuple[str, str], float]:
    """Where each contrast's row lies, from the top; between those to none and the others there is a gap."""
    entries = scores.study["penalties"]
    pairs = _contrasts_of(numbers)
    plain = [pair for pair in pairs if entries[pair[1]]["kind"] == "none"]
    others = [pair for pair in pairs if entries[pair[1]]["kind"] != "none"]
    gap = 0.5 * (len(plain) > 0)
    return {pair: float(place) for place, pair in enumerate(plain)} | {
        pair: len(plain) + gap + place for place, pair in enumerate(others)
    }


def _draw_panel(
    axis: Axes, scores: Scores, numbers: pd.DataFrame, places: dict[tuple[str, str], float], model: str
) -> None:
    axis.set_title(style.wrapped(scores.label(model), 26))
    axis.axvspan(-scores.rope, scores.rope, color="#dddddd", lw=0, zorder=0)
    axis.axvline(0, color=style.REFERENCE_COLOUR, lw=0.6, zorder=1)
    looks = style.looks_of(scores)
    for key, part in numbers.groupby(["penalty", "reference"], sort=False):
        pair = cast(tuple[str, str], key)
        look, place, first = looks[pair[0]], places[pair], part.iloc[0]
        above, below = place - 0.2, place + 0.17
        axis.plot(part["difference"], [above] * len(part), look.marker, ms=3, mew=0, alpha=0.6, color=look.colour)
        if not math.isnan(first["low"]):
            axis.plot([first["low"], first["high"]], [below, below], color="black", lw=0.9, zorder=4)
        axis.plot([first["mean"]], [below], ls="", mec="black", ms=3.6, mew=0.7, zorder=5, **_marker(first["word"]))
    axis.set_yticks([*places.values()], [_row_label(scores, *pair) for pair in places], linespacing=0.9)
    axis.set_ylim(max(places.values()) + 0.6, -0.6)
    axis.locator_params(axis="x", nbins=5)
    axis.tick_params(axis="y", length=0)
    sns.despine(ax=axis, left=True)


def _marker(word: str) -> dict[str, Any]:
    return VERDICTS[word][1]


def _row_label(scores: Scores, penalty: str, reference: str) -> str:
    if scores.study["penalties"][reference]["kind"] == "none":
        return style.wrapped(scores.label(penalty), 22)
    return style.wrapped(f"{scores.label(penalty)} − {scores.label(reference)}", 22)


def _handles(numbers: pd.DataFrame) -> list[Any]:
    seen = set(numbers["word"])
    means: list[Any] = [
        Line2D([], [], ls="", mec="black", ms=3.6, mew=0.7, label=label, **marker)
        for word, (label, marker) in VERDICTS.items()
        if word in seen
    ]
    return [*means, Patch(color="#dddddd", label="practically equivalent")]


def _range(values: pd.Series[Any]) -> str:
    return f"{values.min()}" if values.min() == values.max() else f"{values.min()} to {values.max()}"


def _caption(scores: Scores, numbers: pd.DataFrame, models: list[str], page: int) -> str:
    rows = numbers.drop_duplicates(["model", "penalty", "reference"])
    dataset, seeds, images = str(rows["dataset"].iloc[0]), rows["n_seeds"], _range(rows["n_images"])
    entries = scores.study["penalties"]
    rivals = any(entries[name]["kind"] != "none" for name in rows["reference"])
    text = (
        f"Test mIoU on {scores.label(dataset)} of each penalty at its λ̂ less that of {_references(scores, rows)}"
        f"{', and of soft less its rivals (lower rows)' if rivals else ''}, in points (0 to 100): each coloured point "
        f"is one evaluation seed (n = {_range(seeds)}), the black marker below them the mean"
    )
    text += (
        f", the line its 95 % interval over seeds and images, both units of resampling, crossed ({_range(seeds)} seeds "
        f"× {images} images). The marker's form is the verdict, which needs Holm's p as well, adjusted for the number "
        "of rows as the interval is not."
        if rows["low"].notna().any()
        else "; one seed, or one image, gives no interval."
    )
    text += f" Grey: the region of practical equivalence, ±{scores.rope:g} points, set in advance."
    return text + (_lacking(scores, dataset) if page == 1 else "")


def _references(scores: Scores, rows: pd.DataFrame) -> str:
    """The unpenalised entry that differences are taken from, or what chooses it where there are several."""
    kinds = {name: entry["kind"] for name, entry in scores.study["penalties"].items()}
    found = {name for name in rows["reference"] if kinds[name] == "none"}
    return scores.label(found.pop()) if len(found) == 1 else "the unpenalised entry of the same update rule"


def _lacking(scores: Scores, dataset: str) -> str:
    """What of the study a reader may look for in vain."""
    text, entries = "", scores.study["penalties"]
    alone = [n for n in scores.penalties if entries[n]["kind"] != "none" and scores.reference_of(n) is None]
    if alone:
        names = ", ".join(map(scores.label, alone))
        text += f" Without an unpenalised entry of the same update rule, so not shown against none: {names}."
    rows = gain.contrasts(scores)
    shown = set(
        rows.loc[rows["dataset"] == dataset, ["model", "penalty", "reference"]].itertuples(index=False, name=None)
    )
    missing: dict[str, None] = {}
    for model in scores.study["models"]:
        for penalty, reference, _ in gain.pairs(scores, dataset, model):
            if (model, penalty, reference) not in shown:
                against = scores.label(reference)
                missing[f"{scores.label(model)} with {scores.label(penalty)} against {against}"] = None
    return text + (f" Without a pair of finished cells, so not shown: {', '.join(missing)}." if missing else "")


def _alt(scores: Scores, numbers: pd.DataFrame) -> str:
    rows = numbers.drop_duplicates(["model", "penalty", "reference"])
    listed = "; ".join(
        f"{scores.label(r.model)}, {scores.label(r.penalty)} less {scores.label(r.reference)}: {r.mean:+.2f}, {r.word}"
        for r in gain.rows_of(rows)
    )
    return f"Forest plot of paired differences in test mIoU, means in points. {listed}."
