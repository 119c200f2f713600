"""The drawn figures: the one that the page begins with, those of each question, and the others."""

from __future__ import annotations

import base64
from collections.abc import Sequence
from pathlib import Path
from typing import Any
from urllib.parse import quote

from softreg.files import read_json
from softreg.paper.questions.answer import Answer, word_counts

_SAFE = " !$()*+,-./:;=?@[]_`{|}~"
"""What a data address may hold as it is, and needs no escape in HTML either."""


def arranged(answers: Sequence[Answer], folder: Path, dataset: str) -> dict[str, Any]:
    """The entries of figures.json in ``folder`` by their place on the page, each drawn one in one place.

    ``first`` is the forest plot of ``dataset``, None where there is none; ``cards`` have each answer with its
    ``figures``, and whether ``first`` is of it; ``further`` are those of no question, ``absent`` those that were not
    drawn. A drawn one has ``source``, a data address.
    """
    entries = read_json(folder / "figures.json")
    drawn = [entry | {"source": _source(folder / entry["name"])} for entry in entries if "name" in entry]
    forests = [f"paired_difference-{dataset}", f"paired_difference-{dataset}-1"]
    first = next((entry for entry in drawn if entry["name"] in forests), None)
    rest, cards = [entry for entry in drawn if entry is not first], []
    for answer in answers:
        mine = [entry for entry in rest if _shows(entry, answer)]
        rest = [entry for entry in rest if entry not in mine]
        of_first = first is not None and _shows(first, answer)
        cards.append({"answer": answer, "counts": counts(answer), "figures": mine, "of_first": of_first})
    absent = [entry for entry in entries if "name" not in entry]
    return {"first": first, "cards": cards, "further": rest, "absent": absent}


def counts(answer: Answer) -> list[tuple[str, int]]:
    """How often each word is among the verdicts of ``answer``."""
    return word_counts(verdict.word for verdict in answer.verdicts)


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
