"""What a step costs in time and memory against the number of penalised weights: one figure a data set."""

from __future__ import annotations

import math
from functools import partial

import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from softreg.paper.figures import layout, style
from softreg.paper.figures.layout import Figures, Page, Pages
from softreg.paper.questions import cost
from softreg.paper.scores import Scores

TITLE = "Cost against the number of weights"
_GIB = 2**30
_LEAST = 1.05
"""By what factor each axis of a cost reaches beyond its middle at least, so that noise does not fill it."""
_PANELS = {"seconds": "seconds a step", "seconds_ratio": "time / none's", "memory": "peak memory (GiB)"}


def figures(scores: Scores) -> Figures:
    """One figure for each data set; see `softreg.paper.figures`."""
    if not len(scores.timings):
        return [("cost", TITLE, "No cell has finished, so that no time is known: train the study first.")]
    compared = cost.ratios(scores)
    # Its network is another one for each strength, so that it would set the axis of weights.
    compared = compared[compared["kind"] != "small_dense"]
    return layout.of_datasets(scores, "cost", TITLE, partial(_pages, scores, compared))


def _pages(scores: Scores, compared: pd.DataFrame, dataset: str) -> Pages:
    rows, label = compared[compared["dataset"] == dataset], scores.label(dataset)
    if rows.empty:
        return f"No cell on {label} has finished, so that no time is known: train it first."
    if rows["model"].nunique() < 2:
        return f"One model on {label} shows no growth with the number of weights; the answer has its numbers."
    if rows["seconds_ratio"].mask(_not_in_turn(rows)).isna().all():
        return (
            f"No cells on {label} were trained in turn with the unpenalised ones, so that their times do not tell what "
            "a penalty costs from what else the machine did."
        )
    texts = _caption(scores, rows, label), _alt(scores, rows, label)
    return [Page(rows, partial(_draw_panels, scores, rows), *texts)]


def _draw_panels(scores: Scores, rows: pd.DataFrame) -> Figure:
    """Panels one above the other, seconds, their ratio and memory; those that have a value that can be trusted."""
    rows = rows.assign(seconds_ratio=rows["seconds_ratio"].mask(_not_in_turn(rows)), memory=rows["memory"] / _GIB)
    panels = [name for name in _PANELS if rows[name].notna().any()]
    labels, parts = [_PANELS[name] for name in panels], [1.0] * len(panels)
    figure, (axes,) = layout.grid([""], 1.45 * len(panels), "penalised weights", *labels, parts=parts, sharex=True)
    figure.set_figwidth(style.PAGE)
    for axis, panel in zip(axes, panels, strict=True):
        _draw_panel(axis, scores, rows, panel)
    figure.align_ylabels()
    layout.add_legend(figure, layout.handles_of(scores, rows, lw=0.6, ms=4))
    return figure


def _draw_panel(axis: Axes, scores: Scores, rows: pd.DataFrame, panel: str) -> None:
    """One quantity against the penalised weights, both log: a line an entry, entries set apart sideways."""
    axis.set(xscale="log", yscale="log")
    low, high, spread = _axis_of(rows)
    axis.set_xlim(low, high)
    penalties = layout.penalties_of(scores, rows)
    # Where a line shows the growth, setting its points aside would tilt it.
    spread = spread if rows["penalised"].nunique() == 1 or panel == "seconds_ratio" else 0.0
    for place, penalty in enumerate(penalties):
        part = rows[(rows["penalty"] == penalty) & rows[panel].notna()].sort_values("penalised")
        if part.empty:
            continue
        x = part["penalised"] * (high / low) ** (spread * layout.apart(place, len(penalties)) / len(penalties))
        look = style.looks_of(scores)[penalty]
        axis.plot(x, part[panel], **layout.marks(look) | {"lw": 0.6, "ms": 3.6, "zorder": 3})
        if panel == "seconds_ratio":
            bars = part.assign(x=x).dropna(subset="seconds_low")
            axis.vlines(bars["x"], bars["seconds_low"], bars["seconds_high"], color=look.colour, lw=0.8, zorder=2)
    if panel == "seconds_ratio":
        axis.axhline(1, color=style.REFERENCE_COLOUR, lw=0.7, zorder=1)
    _set_costs(axis, panel)


def _set_costs(axis: Axes, panel: str) -> None:
    """The ends and ticks of the axis of costs; the middle is that of its logarithm."""
    low, high = axis.get_ylim()
    low = min(low, 0.97) if panel == "seconds_ratio" else low
    middle = math.sqrt(low * high)
    axis.set_ylim(min(low, middle / _LEAST), max(high, middle * _LEAST))
    layout.round_ticks(axis.yaxis, 0.16)
    axis.yaxis.set_major_formatter("{x:.4g}")
    layout.show_powers(axis.xaxis)


def _axis_of(rows: pd.DataFrame) -> tuple[float, float, float]:
    """The ends of the axis of weights, and the part of it over which the entries of one size may be spread."""
    sizes = np.unique(rows["penalised"].to_numpy(float))
    margin = max((sizes[-1] / sizes[0]) ** 0.08, 1.5)
    low, high = sizes[0] / margin, sizes[-1] * margin
    gaps = np.diff(np.log(sizes)) / np.log(high / low)
    return low, high, float(np.clip(0.5 * gaps.min(), 0.03, 0.14)) if len(gaps) else 0.7


def _caption(scores: Scores, rows: pd.DataFrame, label: str) -> str:
    counts = rows.loc[rows["seconds_n"] > 0, "seconds_n"]
    text = (
        f"What training costs on {label} against the number of penalised weights, on log scales: seconds a step "
        "(median over the final's cells)"
    )
    if len(counts):
        text += (
            ", their ratio to the unpenalised cell of the same seed, update rule and device (median over seeds, "
            f"n = {layout.span(counts)}{_intervals(rows)})"
        )
    if rows["memory"].notna().any():
        text += ", and peak memory (median)"
    aside = "The ratios of" if rows["penalised"].nunique() > 1 else "The"
    text += f". Models: {_models(scores, rows)}. {aside} entries are set apart sideways; open markers are controls."
    if "small_dense" in scores.kinds.values():
        text += " The small dense network, of another size at each strength, is left out."
    if _not_in_turn(rows).any():
        text += (
            " Ratios of cells that, by their recorded times, were not trained in turn with the unpenalised ones are "
            "not shown: what else the machine did cannot be separated from the penalty."
        )
    devices = sorted({device for devices in rows["device"] for device in str(devices).split("; ")})
    text += f" Times are as the cells recorded them on {'; '.join(devices)}, noisy where a machine is shared."
    if any(device.startswith("CPU") for device in devices) and rows["memory"].notna().any():
        text += " On a CPU, memory is that of the whole process with its libraries."
    return text


def _intervals(rows: pd.DataFrame) -> str:
    """What bars the ratios of time have, to follow their n."""
    reached = rows["seconds_confidence"].min()
    if np.isnan(reached):
        return "" if _not_in_turn(rows).any() else ", hence no interval"
    return f", with the sign test's interval, of {100 * reached:.0f} % or more"


def _not_in_turn(rows: pd.DataFrame) -> pd.Series[bool]:
    """Which ratios of time have no interval in spite of several seeds."""
    return (rows["seconds_n"] > 1) & rows["seconds_low"].isna()


def _models(scores: Scores, rows: pd.DataFrame) -> str:
    """The models from the smallest, with the most weights that a penalty of theirs acts on."""
    sizes = rows.groupby("model")["penalised"].max().sort_values(kind="stable")
    return ", ".join(f"{scores.label(str(name))} ({size:,})" for name, size in sizes.items())


def _alt(scores: Scores, rows: pd.DataFrame, label: str) -> str:
    ratios = rows[rows["seconds_ratio"].notna()].groupby("penalty", sort=False)
    told = "; ".join(
        f"{scores.label(str(name))} {part.min():.3g} to {part.max():.3g}" for name, part in ratios["seconds_ratio"]
    )
    drawn = f"Line plots of seconds a step and memory against penalised weights on {label}."
    return f"{drawn} Ratios of time: {told or 'none'}."
