"""The interactive charts: their points, their Vega-Lite specifications, and the JavaScript that draws them.

A specification names data, ``points``, and parameters that the page's script sets: ``shown``, the penalties that the
filters let through, and the ends of its axes. Each drawing is of one data set and one model.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from functools import cache
from typing import Any

import altair as alt
import pandas as pd
import vl_convert

from softreg.paper.figures.style import Look, looks_of
from softreg.paper.report import points
from softreg.paper.scores import Scores
from softreg.study.treatment import CONTROLS

_SHAPES = {
    "o": "M-1,0A1,1,0,1,1,1,0A1,1,0,1,1,-1,0Z",
    "s": "M-.85,-.85H.85V.85H-.85Z",
    "D": "M0,-1L1,0L0,1L-1,0Z",
    "^": "M0,-1L1,.8H-1Z",
    "v": "M0,1L1,-.8H-1Z",
    "P": "M-.35,-1H.35V-.35H1V.35H.35V1H-.35V.35H-1V-.35H-.35Z",
    "X": "M-1,-.55L-.55,-1L0,-.45L.55,-1L1,-.55L.45,0L1,.55L.55,1L0,.45L-.55,1L-1,.55L-.45,0Z",
    "*": "M0,-1L.26,-.36L.95,-.31L.42,.14L.59,.81L0,.44L-.59,.81L-.42,.14L-.95,-.31L-.26,-.36Z",
    "<": "M-1,0L.8,-1V1Z",
    ">": "M1,0L-.8,-1V1Z",
    "h": "M0,-1L.87,-.5V.5L0,1L-.87,.5V-.5Z",
    "d": "M0,-1L.6,0L0,1L-.6,0Z",
}
"""Each marker of `softreg.paper.figures.style` as a path within -1 to 1, so that page and figures show the same."""

_DASHES = {"-": [1, 0], "--": [5, 3], ":": [1, 2], "-.": [5, 2, 1, 2]}
_FONT = "system-ui, 'Segoe UI', Helvetica, Arial, 'DejaVu Sans', sans-serif"
_HEIGHT = 230
_ENDS = {"bottom": 0, "top": 100, "left": 0, "right": 100}
"""The parameters that are ends of axes."""


@dataclass(frozen=True)
class Chart:
    """One kind of chart: its points, one row each, and how they are drawn."""

    name: str
    title: str
    points: pd.DataFrame
    specification: dict[str, Any]


def charts(scores: Scores) -> list[Chart]:
    """The charts that have points: mIoU against λ, against the strength of controls, and the Pareto chart."""
    looks = looks_of(scores)
    splits = {"validation": points.validation(scores), "test": points.test(scores)}
    title = "Test mIoU against share of non-zero weights"
    found: list[Chart | None] = [
        *(_against_strength(scores, looks, split, rows, controls=False) for split, rows in splits.items()),
        Chart("pareto", title, points.pareto(scores), _pareto(looks)),
        *(_against_strength(scores, looks, split, rows, controls=True) for split, rows in splits.items()),
    ]
    return [chart for chart in found if chart is not None and len(chart.points)]


def _against_strength(
    scores: Scores, looks: dict[str, Look], split: str, rows: pd.DataFrame, controls: bool
) -> Chart | None:
    """A chart of the penalties on a logarithmic axis, or of the controls, whose strength is a share; None without λ.

    A data set and model with nothing but the unpenalised network has no points.
    """
    family = [name for name in scores.penalties if (scores.kinds[name] in CONTROLS) is controls]
    mine = rows[rows["penalty"].isin([*family, scores.reference])]
    places = mine.loc[mine["lambda"].astype(float) > 0, ["dataset", "model"]].drop_duplicates()
    if places.empty:
        return None
    mine = mine.merge(places)
    strength = mine["lambda"].astype(float)
    axis = "strength of a control" if controls else "penalty strength λ"
    x = _share(axis) if controls else _logarithmic(axis, strength)
    return Chart(
        f"{split}-{'strength' if controls else 'lambda'}",
        f"{split.capitalize()} mIoU against {axis}",
        points.placed(mine, family, log=not controls),
        _curve(looks, x, f"{split} mIoU"),
    )


def history_specifications() -> dict[str, dict[str, Any]]:
    """How a cell's data term and its validation mIoU by epoch are drawn; points: epoch, value."""
    return {
        "data_term": _history("data_term", "data term", ".4~g"),
        "val_miou": _history("val_miou", "validation mIoU (points)", ".2f"),
    }


def swatches(scores: Scores) -> dict[str, dict[str, str]]:
    """Colour, marker (a path within -1 to 1) and dashes of each penalty, for a legend."""
    return {
        name: {"colour": look.colour, "path": _SHAPES[look.marker], "dash": _dash(look)}
        for name, look in looks_of(scores).items()
    }


@cache
def javascript() -> str:
    """Vega, Vega-Lite and Vega-Embed, as one script that sets ``vegaEmbed`` and needs no network."""
    version = ".".join(alt.SCHEMA_VERSION.removeprefix("v").split(".")[:2])
    bundle = vl_convert.javascript_bundle("window.vegaEmbed = vegaEmbed;", vl_version=version)
    return f"(()=>{{{bundle}}})();"


def _dash(look: Look) -> str:
    return "" if look.line == "-" else " ".join(str(part / 2) for part in _DASHES[look.line])


def _share(title: str) -> alt.X:
    return alt.X("x:Q", title=title, scale=alt.Scale(domain=[0, 1]), axis=alt.Axis(labelOverlap=True, tickCount=5))


def _logarithmic(title: str, strength: pd.Series[float]) -> alt.X:
    """An axis over the values of λ, labelled at powers of ten, or where it spans few of them, at the values."""
    positive = sorted({value for value in strength if value > 0})
    low, high = positive[0], positive[-1]
    margin = max((high / low) ** 0.08, 1.6)
    decades = [float(f"1e{power}") for power in range(math.ceil(math.log10(low)), math.floor(math.log10(high)) + 1)]
    scale = alt.Scale(type="log", domain=[low / margin, high * margin], nice=False)
    axis = alt.Axis(values=decades if len(decades) > 1 else positive, format="~e", labelOverlap=True)
    return alt.X("x:Q", title=title, scale=scale, axis=axis)


def _curve(looks: dict[str, Look], x: alt.X, measure: str) -> dict[str, Any]:
    """Lines with error bars over λ; what has no λ is a horizontal line with a band."""
    y = _miou(measure)
    lines = _base(looks).transform_filter("datum.x > 0")
    level = _base(looks).transform_filter("datum.x == 0").encode(y=y)
    tooltip = _tooltip(measure)
    return _specification(
        level.mark_rect(opacity=0.12).encode(y2="high:Q").transform_calculate(miou="datum.low"),
        level.mark_rule(strokeWidth=1.5).encode(tooltip=tooltip, description="text:N"),
        *_marks(lines, looks, x, y, tooltip, connected=True),
    )


def _pareto(looks: dict[str, Look]) -> dict[str, Any]:
    """Points of the sweep joined by lines, and the final at λ̂ outlined."""
    scale = alt.Scale(domain=[alt.ExprRef("left"), alt.ExprRef("right")], nice=False, zero=False)
    x = alt.X("x:Q", title="non-zero weights (%)", scale=scale, axis=alt.Axis(labelOverlap=True, tickCount=5))
    tooltip = [*_tooltip("test mIoU"), alt.Tooltip("x:Q", title="non-zero weights (%)", format=".2f")]
    return _specification(*_marks(_base(looks), looks, x, _miou("test mIoU"), tooltip, connected=False))


def _history(name: str, title: str, digits: str) -> dict[str, Any]:
    scale = alt.Scale(zero=False)
    # Vega also puts ticks between whole epochs where there are few.
    whole = "datum.value % 1 == 0 ? datum.label : ''"
    axis = alt.Axis(tickCount=6, grid=False, ticks=False, format="d", labelExpr=whole, labelPadding=4)
    chart = (
        alt.Chart(alt.NamedData("points"), height=150, width="container", name=name)
        .mark_line(color="#0b5394", point=alt.OverlayMarkDef(color="#0b5394", size=30))
        .encode(
            alt.X("epoch:Q", title="epoch", axis=axis, scale=scale),
            alt.Y("value:Q", title=title, scale=scale),
            tooltip=[alt.Tooltip("epoch:Q", title="epoch"), alt.Tooltip("value:Q", title=title, format=digits)],
        )
    )
    return _plain(chart)


def _base(looks: dict[str, Look]) -> alt.Chart:
    """A chart of the penalties that the filters let through, in their colours, each point with its own sentence."""
    colours = alt.Scale(domain=list(looks), range=[look.colour for look in looks.values()])
    sentence = (
        "datum.label + ', ' + (datum.x > 0 || datum.lambda != '0' ? 'λ ' + datum.lambda + ': ' : '') "
        "+ format(datum.miou, '.2f') + (datum.mark ? ', chosen' : '')"
    )
    error = "isValid(datum.se) ? format(datum.se, '.2f') : '–'"
    return (
        alt.Chart(alt.NamedData("points"))
        .encode(color=alt.Color("penalty:N", scale=colours, legend=None))
        .transform_filter("indexof(shown, datum.penalty) >= 0")
        .transform_calculate(text=sentence, error=error, chosen="datum.mark ? 'yes' : 'no'")
    )


def _marks(
    base: alt.Chart, looks: dict[str, Look], x: alt.X, y: alt.Y, tooltip: list[alt.Tooltip], connected: bool
) -> list[alt.Chart]:
    """Lines, error bars and points, those at λ̂ larger and outlined."""
    dashes = alt.Scale(domain=list(looks), range=[_DASHES[look.line] for look in looks.values()])
    shapes = alt.Scale(domain=list(looks), range=[_SHAPES[look.marker] for look in looks.values()])
    chosen = "datum.mark === 'chosen'"
    placed = base.encode(x=x, y=y)
    line = placed if connected else placed.transform_filter("datum.mark != 'chosen'")
    return [
        line.mark_line(strokeWidth=1.5, opacity=1 if connected else 0.35).encode(
            strokeDash=alt.StrokeDash("penalty:N", scale=dashes, legend=None)
        ),
        placed.mark_rule(strokeWidth=1).encode(y=alt.Y("low:Q"), y2="high:Q"),
        placed.mark_point(filled=True, opacity=1, cursor="pointer").encode(
            shape=alt.Shape("penalty:N", scale=shapes, legend=None),
            size=alt.condition(chosen, alt.value(110), alt.value(45)),
            stroke=alt.condition(chosen, alt.value("black"), alt.value("transparent")),
            strokeWidth=alt.value(1.2),
            tooltip=tooltip,
            description="text:N",
        ),
    ]


def _miou(measure: str) -> alt.Y:
    """The axis of mIoU, whose ends are the parameters ``bottom`` and ``top``."""
    scale = alt.Scale(domain=[alt.ExprRef("bottom"), alt.ExprRef("top")], nice=False, zero=False)
    return alt.Y("miou:Q", title=f"{measure} (points)", scale=scale, axis=alt.Axis(tickCount=5))


def _tooltip(measure: str) -> list[alt.Tooltip]:
    return [
        alt.Tooltip("label:N", title="penalty"),
        alt.Tooltip("lambda:N", title="λ"),
        alt.Tooltip("miou:Q", title=measure, format=".2f"),
        alt.Tooltip("error:N", title="standard error"),
        alt.Tooltip("seeds:Q", title="seeds"),
        alt.Tooltip("chosen:N", title="chosen as λ̂"),
    ]


def _specification(*layers: alt.Chart) -> dict[str, Any]:
    ends = [alt.param(name=name, value=value) for name, value in _ENDS.items()]
    chart = alt.LayerChart(layer=list(layers), width="container", height=_HEIGHT)
    return _plain(chart.add_params(alt.param(name="shown", value=[]), *ends))


def _plain(chart: alt.Chart | alt.LayerChart) -> dict[str, Any]:
    """The specification as JSON values, in the page's fonts, without the address of its schema."""
    styled = (
        chart.configure(font=_FONT)
        .configure_view(stroke=None)
        .configure_axis(
            labelFontSize=11,
            titleFontSize=11,
            titleFontWeight="normal",
            titlePadding=8,
            gridColor="#ececec",
            domainColor="#888",
        )
    )
    specification: dict[str, Any] = styled.to_dict()
    del specification["$schema"]
    return specification
