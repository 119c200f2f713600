"""The report of a study: one HTML file without need of a network, and metrics.json; from scores alone.

`page` puts it together. `headline` writes the sentence that it begins with, `diagnosis` the box beside the first
figure; `cards` (answers and figures), `coverage` and `about` work out what its other parts tell, `charts` (with
`points`) and `cells` what its script draws and opens.

- A question needs nothing here: its card is made of its `Answer`.
- A column of a table of results is one entry of `MAIN` or `SECONDARY` in `softreg.paper.tables`.
- A doubt about a study is one function of `diagnosis`, and is told nowhere else.
- A section is a ``<section>`` in one of the templates (in the order of template.html), and what it tells in ``_told``
  of `page`.
- What a reader can press, filter or sort is in report.js, what it looks like in style.css.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pandas as pd

from softreg.files import write_json, write_text
from softreg.paper import tables
from softreg.paper.figures import write_figures
from softreg.paper.questions import answers
from softreg.paper.questions.answer import Answer
from softreg.paper.report import cards, page
from softreg.paper.scores import Scores


def write_report(scores: Scores, out: Path) -> None:
    """Write ``out/report.html`` and ``out/metrics.json``.

    The figures are those of ``out/figures/``; where there are none yet, they are drawn first.
    """
    figures = out / "figures"
    if not (figures / "figures.json").exists():
        write_figures(scores, out)
    frame = tables.main_frame(scores)
    found = answers(scores)
    write_json(out / "metrics.json", metrics(scores, frame, found))
    write_text(out / "report.html", page.render(scores, frame, found, figures))


def metrics(scores: Scores, frame: pd.DataFrame, found: Sequence[Answer]) -> dict[str, Any]:
    """The numbers of the main table by data set, model and penalty, null where undefined; verdicts by question.

    Names end in their unit; points are 0 to 100. ``verdicts`` counts how often each word occurs.
    """
    names = ["lambda", "test_miou_points", "low_points", "high_points", *tables.DIFFERENCE, "seeds"]
    names += [*tables.MEASURES.values(), "exact_zeros_share", "nonzero_weights", "macs_nonzero", "finished", "expected"]
    nested: dict[str, Any] = {}
    for row in frame.to_dict("records"):
        of_model = nested.setdefault(row["dataset"], {}).setdefault(row["model"], {})
        of_model[row["penalty"]] = {name: None if pd.isna(row[name]) else row[name] for name in names}
    verdicts = {answer.key: dict(cards.counts(answer)) for answer in found}
    facts = {"study": scores.study["name"], "partial": scores.provenance["partial"]}
    return facts | {"datasets": nested, "verdicts": verdicts}
