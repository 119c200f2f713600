"""The report's page, put together from its parts: one file that holds all that it needs."""

from __future__ import annotations

import json
import math
import re
from collections.abc import Sequence
from itertools import product
from pathlib import Path
from typing import Any

import pandas as pd
from jinja2 import Environment, PackageLoader, StrictUndefined
from markupsafe import Markup, escape

from softreg.paper import convergence, tables
from softreg.paper.questions.answer import Answer
from softreg.paper.questions.estimates import number, plural, rows_of
from softreg.paper.report import about, cards, cells, coverage, diagnosis
from softreg.paper.report.headline import headline, highest_place
from softreg.paper.scores import Scores
from softreg.study.lambdas import budgets
from softreg.study.matrix import race_told

_HERE = Path(__file__).parent


def render(scores: Scores, frame: pd.DataFrame, found: Sequence[Answer], figures: Path) -> str:
    """The page of a study, as HTML.

    ``frame`` is the main table (`softreg.paper.tables.main_frame`), ``found`` are the answers, ``figures`` the folder
    that `softreg.paper.figures` wrote. The same scores give the same text.
    """
    # Altair takes half a second to import: what imports this module to do something else does not wait for it.
    from softreg.paper.report import charts

    drawn = charts.charts(scores)
    return (
        _environment(scores)
        .get_template("template.html")
        .render(
            **_told(scores, frame, found, figures),
            swatches=charts.swatches(scores),
            panels=_panels(scores, drawn),
            style=Markup((_HERE / "style.css").read_text(encoding="utf-8")),
            script=Markup((_HERE / "report.js").read_text(encoding="utf-8")),
            vega=Markup(charts.javascript()),
            data=_as_script(_data(scores, drawn, charts.history_specifications())),
        )
    )


def _environment(scores: Scores) -> Environment:
    environment = Environment(
        loader=PackageLoader("softreg.paper.report", "."),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    environment.filters.update(plural=plural, fixed=tables.number, plain=about.plain, training=about.training)
    environment.filters.update(marked=_marked, breakable=_breakable, key=_key, sloped=_sloped)
    environment.globals["label"] = scores.label
    return environment


def _told(scores: Scores, frame: pd.DataFrame, found: Sequence[Answer], figures: Path) -> dict[str, Any]:
    """What the templates tell in words, tables and pictures."""
    items = diagnosis.items(scores)
    return cards.arranged(found, figures, highest_place(scores)) | {
        "scores": scores,
        "study": scores.study,
        "headline": headline(scores),
        "diagnosis": items,
        "doubts": sum(not item.well for item in items),
        "looks": scores.looks.plan(),
        "caption": tables.caption(scores, frame),
        "main": tables.MAIN,
        "secondary": tables.SECONDARY,
        "rows": list(rows_of(frame)),
        "phases": coverage.phases(scores),
        "missing": coverage.missing(scores.cells),
        "convergence": list(rows_of(convergence.table(scores))),
        "selection": about.selection(scores),
        "budgets": f"{budgets(scores.study['penalties'])} {race_told(scores.study)}".strip(),
        "provenance": about.provenance(scores.provenance["cells"]),
    }


def _panels(scores: Scores, drawn: Sequence[Any]) -> list[dict[str, Any]]:
    """For each data set and model, the charts that have points of it."""
    places = {chart.name: set(zip(chart.points["dataset"], chart.points["model"], strict=True)) for chart in drawn}
    panels = [
        {"dataset": place[0], "model": place[1], "charts": [chart for chart in drawn if place in places[chart.name]]}
        for place in product(scores.study["datasets"], scores.study["models"])
    ]
    return [panel for panel in panels if panel["charts"]]


def _data(scores: Scores, drawn: Sequence[Any], histories: dict[str, Any]) -> dict[str, Any]:
    """What the page's script reads."""
    text = ["dataset", "model", "penalty", "label", "lambda", "mark"]
    names = [*scores.study["datasets"], *scores.study["models"], *scores.study["penalties"]]
    return {
        "labels": {name: scores.label(name) for name in names},
        "charts": {
            each.name: {
                "title": each.title,
                "specification": each.specification,
                "points": cells.table(each.points, text),
            }
            for each in drawn
        },
        "histories_drawn": histories,
        "classes": {
            name: [[each, "#" + bytes(colour).hex()] for each, colour in zip(of["classes"], of["palette"], strict=True)]
            for name, of in scores.datasets.items()
        },
        **cells.embedded(scores),
    }


def _key(value: float) -> str:
    """The number that a cell is sorted by, as the page's script reads it: empty where there is none."""
    return "" if math.isnan(value) else f"{value:.9g}"


def _sloped(slope: tuple[float, float, float], digits: int) -> str:
    """A slope with its interval, as far as they are defined; a dash where there is none."""
    return "–" if math.isnan(slope[0]) else tables.interval(*slope, lambda value: number(value, digits))


def _breakable(name: str) -> Markup:
    """A name that may go on in the next line after an underscore or a hyphen."""
    return Markup(re.sub("[_-]", r"\g<0><wbr>", str(escape(name))))


def _marked(text: str) -> Markup:
    """``text``, escaped, with what stands between backticks as code."""
    parts = [Markup("<code>{}</code>" if at % 2 else "{}").format(part) for at, part in enumerate(text.split("`"))]
    return Markup("").join(parts)


def _as_script(data: dict[str, Any]) -> Markup:
    """``data`` as compact JSON in which no sign can end the element that it stands in."""
    text = json.dumps(data, ensure_ascii=False, separators=(",", ":"), allow_nan=False)
    return Markup(text.replace("<", "\\u003c"))
