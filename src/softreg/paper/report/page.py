"""The report's page, put together from its parts: one file that holds all that it needs."""

from __future__ import annotations

import json
import re
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pandas as pd
from jinja2 import Environment, PackageLoader, StrictUndefined
from markupsafe import Markup, escape

from softreg.paper import tables
from softreg.paper.questions.answer import Answer
from softreg.paper.report import about, cells, coverage, pictures, results, verdicts
from softreg.paper.report.words import plural
from softreg.paper.scores import Scores

_HERE = Path(__file__).parent


def render(scores: Scores, frame: pd.DataFrame, answers: Sequence[Answer], figures: Path) -> str:
    """The page of a study, as HTML.

    ``frame`` is the main table (`softreg.paper.tables.main_frame`), ``figures`` the folder that `softreg.paper.figures` wrote.
    The same scores give the same text.
    """
    # Altair takes half a second to import: what imports this module to do something else does not wait for it.
    from softreg.paper.report import charts

    drawn = charts.charts(scores)
    environment = Environment(
        loader=PackageLoader("softreg.paper.report", "."),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    environment.filters["plural"] = lambda count, one, many="": plural(count, one, many)
    environment.filters["marked"] = _marked
    environment.filters["breakable"] = _breakable
    environment.globals["label"] = scores.label
    context = {
        **_told(scores, frame, answers, figures),
        "swatches": charts.swatches(scores),
        "panels": _panels(scores, drawn),
        "style": Markup((_HERE / "style.css").read_text(encoding="utf-8")),
        "script": Markup((_HERE / "report.js").read_text(encoding="utf-8")),
        "vega": Markup(charts.javascript()),
        "data": _as_script(_data(scores, drawn, charts.history_specifications())),
    }
    return environment.get_template("template.html").render(context)


def _told(scores: Scores, frame: pd.DataFrame, answers: Sequence[Answer], figures: Path) -> dict[str, Any]:
    """What the templates tell in words, tables and pictures."""
    noted = [name for name in scores.study["datasets"] if scores.datasets.get(name, {}).get("note")]
    return {
        "study": scores.study,
        "partial": scores.provenance["partial"],
        "penalties": scores.penalties,
        "rope": scores.rope,
        "cards": verdicts.cards(scores, answers, pictures.listed(figures)),
        "counts": verdicts.counts(*answers),
        "words": verdicts.MEANINGS,
        "caption": tables.caption(scores, frame),
        "tables": [
            {"name": "scores", "title": "Test scores", "columns": results.MAIN},
            {"name": "secondary", "title": "Secondary measures", "columns": results.SECONDARY},
        ],
        "rows": {
            "scores": results.rows(frame, results.MAIN),
            "secondary": results.rows(frame, results.SECONDARY),
        },
        "notes": {name: scores.datasets[name]["note"] for name in noted},
        "phases": coverage.phases(scores.cells),
        "matrices": coverage.matrices(scores),
        "missing": coverage.missing(scores.cells),
        "cell_count": len(scores.cells),
        "figures": pictures.by_question(answers, figures),
        "about": about.study(scores),
        "selection": about.selection(scores),
        "datasets": scores.datasets,
        "provenance": about.provenance(scores.provenance["cells"]),
        "version": scores.provenance["softreg"],
    }


def _panels(scores: Scores, drawn: Sequence[Any]) -> list[dict[str, Any]]:
    """For each data set and model, the charts that have points of it."""
    panels = []
    for dataset in scores.study["datasets"]:
        for model in scores.study["models"]:
            mine = [
                chart
                for chart in drawn
                if ((chart.points["dataset"] == dataset) & (chart.points["model"] == model)).any()
            ]
            panels.append({"dataset": dataset, "model": model, "charts": mine})
    return [panel for panel in panels if panel["charts"]]


def _data(scores: Scores, drawn: Sequence[Any], histories: dict[str, Any]) -> dict[str, Any]:
    """What the page's script reads."""
    text = ["dataset", "model", "penalty", "label", "lambda", "mark"]
    names = [*scores.study["datasets"], *scores.study["models"], *scores.study["penalties"]]
    return {
        "labels": {name: scores.label(name) for name in names},
        "charts": {
            chart.name: {
                "title": chart.title,
                "specification": chart.specification,
                "points": cells.table(chart.points, text),
            }
            for chart in drawn
        },
        "histories_drawn": histories,
        "classes": {
            name: [[each, "#" + bytes(colour).hex()] for each, colour in zip(of["classes"], of["palette"], strict=True)]
            for name, of in scores.datasets.items()
        },
        **cells.embedded(scores),
    }


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
