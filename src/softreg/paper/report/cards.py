"""The answers to the questions as the page shows them first, and the drawn figures in the order of the questions."""

from __future__ import annotations

import base64
from collections.abc import Sequence
from pathlib import Path
from typing import Any
from urllib.parse import quote

from softreg.files import read_json
from softreg.paper.questions.answer import Answer, word_counts

MEANINGS = {
    "supported": "supported",
    "contradicted": "contradicted",
    "equivalent": "equivalent within ROPE",
    "undecided": "undecided at this n",
    "not answerable": "not answerable by this design",
    "not answered: predicts one class": "not answered: predicts one class",
    "not answered: as grey levels alone": "not answered: as grey levels alone",
}
"""Each word of a verdict as the page says it."""

_SAFE = " !$()*+,-./:;=?@[]_`{|}~"
"""What a data address may hold as it is, and needs no escape in HTML either."""


def cards(answers: Sequence[Answer], folder: Path) -> list[dict[str, Any]]:
    """One card for each answer, with the figures in ``folder`` (entries of its figures.json) that show it."""
    figures = read_json(folder / "figures.json")
    return [
        {"answer": each, "counts": counts(each), "figures": [entry for entry in figures if _shows(entry, each)]}
        for each in answers
    ]


def counts(*answers: Answer) -> list[tuple[str, int]]:
    """How often each word stands among the verdicts of ``answers``."""
    return word_counts(verdict.word for answer in answers for verdict in answer.verdicts)


def figures(answers: Sequence[Answer], folder: Path) -> list[dict[str, Any]]:
    """The figures listed in ``folder``, under the first question that names each; then the others; then the absent.

    Each part has ``title`` and ``figures``: what `softreg.paper.figures` says of each, with ``source``, a data address,
    for those that were drawn.
    """
    entries = read_json(folder / "figures.json")
    drawn = [entry | {"source": _source(folder / entry["name"])} for entry in entries if "name" in entry]
    parts: list[tuple[str, list[Any]]] = []
    for answer in answers:
        parts.append((f"{answer.key}. {answer.question}", [entry for entry in drawn if _shows(entry, answer)]))
        drawn = [entry for entry in drawn if not _shows(entry, answer)]
    parts += [("Further figures", drawn), ("Not drawn", [entry for entry in entries if "name" not in entry])]
    return [{"title": title, "figures": mine} for title, mine in parts if mine]


def _shows(entry: dict[str, Any], answer: Answer) -> bool:
    """Whether the figure of this entry of figures.json was drawn for ``answer``."""
    name = entry.get("name", "")
    return any(name == stem or name.startswith(f"{stem}-") for stem in answer.figures)


def _source(file: Path) -> str:
    """A picture as a data address: PNG for photographs, SVG for everything drawn."""
    if file.name.startswith("gallery-"):
        picture = base64.b64encode((file.parent / f"{file.name}.png").read_bytes()).decode("ascii")
        return f"data:image/png;base64,{picture}"
    drawing = (file.parent / f"{file.name}.svg").read_text(encoding="utf-8")
    return f"data:image/svg+xml,{quote(drawing, safe=_SAFE)}"
