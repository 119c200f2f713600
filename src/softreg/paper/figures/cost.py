"""What a step costs in time and memory against the number of penalised weights: one figure a data set."""

from __future__ import annotations

import math
from pathlib import Path

import numpy as np
import pandas as pd
import seaborn as sns
from matplotlib import pyplot as plt
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from matplotlib.ticker import FixedLocator, FuncFormatter, NullLocator

from softreg.paper.figures import style
from softreg.paper.figures.style import Absent, Drawn
from softreg.paper.questions import cost
from softreg.paper.scores import Scores
from softreg.study.treatment import CONTROLS

TITLE = "Cost against the number of weights"
_GIB = 2**30
_LEAST = 1.05
"""By what factor each axis of a cost reaches beyond its middle at least, so that noise does not fill it."""
_PANELS = {"seconds": "seconds a step", "seconds_ratio": "time / none's", "memory": "peak memory (GiB)"}


def draw(scores: Scores, folder: Path) -> list[Drawn | Absent]:
    """One figure for each data set; see `softreg.paper.figures`."""
    if not len(scores.timings):
        return [Absent(TITLE, "No cell has finished, so that no time is known: train the study first.")]
    compared = cost.ratios(scores)
    # Its network is another one for each strength, so that it would set the axis of weights.
    compared = compared[compared["kind"] != "small_dense"]
    return [
        _draw_dataset(scores, compared[compared["dataset"] == dataset], dataset, folder)
        for dataset in scores.study["datasets"]
    ]


def _draw_dataset(scores: Scores, rows: pd.DataFrame, dataset: str, folder: Path) -> Drawn | Absent:
    label = scores.label(dataset)
    title = f"{TITLE}: {label}"
    if rows.empty:
        return Absent(title, f"No cell on {label} has finished, so that no time is known: train it first.")
    name = f"cost-{dataset}"
    with style.paper(name):
        figure = _draw_panels(scores, rows)
        width = style.save(figure, folder, name, rows)
    return Drawn(name, width, title, _caption(scores, rows, label), _alt(scores, rows, label))


def _draw_panels(scores: Scores, rows: pd.DataFrame) -> Figure:
    """Panels one above the other, seconds, their ratio and memory; those that have a value that can be trusted."""
    rows = rows.assign(seconds_ratio=rows["seconds_ratio"].mask(_not_in_turn(rows)))
    panels = [name for name in _PANELS if rows[name].notna().any()]
    penalties = [name for name in scores.penalties if name in set(rows["penalty"])]
    handles = _handles(scores, rows, penalties)
    legend = style.columns_for([str(handle.get_label()) for handle in handles], style.PAGE)
    height = 1.45 * len(panels) + 0.17 * math.ceil(len(handles) / legend) + 0.35
    figure, axes = plt.subplots(
        len(panels), 1, figsize=(style.PAGE, height), sharex=True, squeeze=False, layout="constrained"
    )
    for axis, panel in zip(axes[:, 0], panels, strict=True):
        _draw_panel(axis, scores, rows, panel, penalties)
    axes[-1, 0].set_xlabel("penalised weights")
    figure.align_ylabels()
    figure.legend(handles=handles, loc="outside lower center", ncols=legend, frameon=False)
    return figure


def _draw_panel(axis: Axes, scores: Scores, rows: pd.DataFrame, panel: str, penalties: list[str]) -> None:
    """One quantity against the penalised weights, both log: a line an entry, entries set apart sideways."""
    axis.set_xscale("log")
    axis.set_yscale("log")
    low, high, spread = _axis_of(rows)
    axis.set_xlim(low, high)
    looks = style.looks_of(scores)
    alone = rows["penalised"].nunique() == 1
    for place, penalty in enumerate(penalties):
        part = rows[(rows["penalty"] == penalty) & rows[panel].notna()].sort_values("penalised")
        if part.empty:
            continue
        # Where a line shows the growth, setting its points aside would tilt it.
        aside = (place - (len(penalties) - 1) / 2) / len(penalties) if alone or panel == "seconds_ratio" else 0.0
        x = part["penalised"].to_numpy() * (high / low) ** (spread * aside)
        y = part[panel].to_numpy() / (_GIB if panel == "memory" else 1)
        look, control = looks[penalty], part["kind"].iloc[0] in CONTROLS
        face = {"mfc": "white", "mew": 0.8} if control else {"mew": 0}
        axis.plot(x, y, color=look.colour, ls=look.line, lw=0.6, marker=look.marker, ms=3.6, zorder=3, **face)
        if panel == "seconds_ratio":
            known = part["seconds_low"].notna().to_numpy()
            low_ends, high_ends = (part.loc[known, f"seconds_{end}"] for end in ("low", "high"))
            axis.vlines(x[known], low_ends, high_ends, color=look.colour, lw=0.8, zorder=2)
    if panel == "seconds_ratio":
        axis.axhline(1, color=style.REFERENCE_COLOUR, lw=0.7, zorder=1)
    axis.set_ylabel(_PANELS[panel])
    if alone:
        size = int(rows["penalised"].iloc[0])
        axis.set_xticks([size], [f"{size:,}"])
        axis.xaxis.set_minor_locator(NullLocator())
    low, high = axis.get_ylim()
    low = min(low, 0.97) if panel == "seconds_ratio" else low
    axis.set_ylim(min(low, math.sqrt(low * high) / _LEAST), max(high, math.sqrt(low * high) * _LEAST))
    _ticks(axis)
    sns.despine(ax=axis)


def _axis_of(rows: pd.DataFrame) -> tuple[float, float, float]:
    """The ends of the axis of weights, and the part of it over which the entries of one size may be spread."""
    sizes = np.unique(rows["penalised"].to_numpy(float))
    margin = max((sizes[-1] / sizes[0]) ** 0.08, 1.5)
    low, high = sizes[0] / margin, sizes[-1] * margin
    gaps = np.diff(np.log(sizes)) / np.log(high / low)
    return low, high, float(np.clip(0.5 * gaps.min(), 0.03, 0.14)) if len(gaps) else 0.7


def _ticks(axis: Axes) -> None:
    """Round numbers between the ends of the logarithmic axis y, also where it holds no power of ten."""
    low, high = axis.get_ylim()
    ratio = high / low
    if ratio < 3:
        step = 10 ** math.floor(math.log10(high - low))
        step *= next(factor for factor in (0.2, 0.5, 1, 2, 5) if (high - low) / (factor * step) <= 6)
        ticks = [step * place for place in range(math.ceil(low / step), math.floor(high / step) + 1)]
    else:
        steps = (1, 2, 5) if ratio < 30 else (1, 3) if ratio < 300 else (1,)
        powers = range(math.floor(math.log10(low)), math.ceil(math.log10(high)) + 1)
        ticks = [step * 10.0**power for power in powers for step in steps if low <= step * 10.0**power <= high]
    axis.yaxis.set_major_locator(FixedLocator(ticks))
    axis.yaxis.set_minor_locator(NullLocator())
    axis.yaxis.set_major_formatter(FuncFormatter(lambda value, _: f"{value:.4g}"))


def _handles(scores: Scores, rows: pd.DataFrame, penalties: list[str]) -> list[Line2D]:
    looks, kinds = style.looks_of(scores), dict(zip(rows["penalty"], rows["kind"], strict=True))
    handles = []
    for name in penalties:
        look = looks[name]
        face = {"mfc": "white", "mew": 0.8} if kinds[name] in CONTROLS else {"mew": 0}
        handles.append(
            Line2D(
                [],
                [],
                color=look.colour,
                ls=look.line,
                lw=0.6,
                marker=look.marker,
                ms=4,
                label=scores.label(name),
                **face,
            )
        )
    return handles


def _caption(scores: Scores, rows: pd.DataFrame, label: str) -> str:
    counts = rows.loc[rows["seconds_n"] > 0, "seconds_n"]
    text = (
        f"What training costs on {label} against the number of penalised weights, on log scales: seconds a step "
        "(median over the final's cells)"
    )
    if len(counts):
        n = f"{counts.min()}" if counts.min() == counts.max() else f"{counts.min()} to {counts.max()}"
        text += (
            ", their ratio to the unpenalised cell of the same seed, update rule and device (median over seeds, "
            f"n = {n}{_intervals(rows)})"
        )
    if rows["memory"].notna().any():
        text += ", and peak memory (median)"
    aside = "The ratios of" if rows["penalised"].nunique() > 1 else "The"
    text += f". Models: {_models(scores, rows)}. {aside} entries are set apart sideways; open markers are controls."
    if any(entry["kind"] == "small_dense" for entry in scores.study["penalties"].values()):
        text += " The small dense network, of another size at each strength, is left out."
    if _not_in_turn(rows).any():
        text += (
            " Ratios of cells that, as far as their times tell, were not trained in turn with the unpenalised ones are "
            "not shown: what else the machine did then is not told apart from the penalty."
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
