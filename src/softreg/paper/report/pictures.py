"""The drawn figures as the page embeds them, in the order of the questions that they answer."""

from __future__ import annotations

import base64
from collections.abc import Sequence
from pathlib import Path
from typing import Any
from urllib.parse import quote

from softreg.files import read_json
from softreg.paper.questions.answer import Answer

_SAFE = " !$()*+,-./:;=?@[]_`{|}~"
"""What a data address may hold as it is, and needs no escape in HTML either."""


def listed(folder: Path) -> list[dict[str, Any]]:
    """The entries of figures.json in ``folder``."""
    entries: list[dict[str, Any]] = read_json(folder / "figures.json")
    return entries


def by_question(answers: Sequence[Answer], folder: Path) -> list[dict[str, Any]]:
    """The figures listed in ``folder``, under the first question that names each; then the others; then the absent.

    Each part has ``title`` and ``figures``: what `softreg.paper.figures` says of each, with ``source``, a data address, for
    those that were drawn.
    """
    entries = listed(folder)
    drawn = [entry for entry in entries if "name" in entry]
    parts: list[dict[str, Any]] = []
    for answer in answers:
        mine = [entry for entry in drawn if shows(entry, answer)]
        drawn = [entry for entry in drawn if entry not in mine]
        parts.append({"title": f"{answer.key}. {answer.question}", "figures": mine})
    parts.append({"title": "Further figures", "figures": drawn})
    parts.append({"title": "Not drawn", "figures": [each for each in entries if "name" not in each]})
    return [
        part | {"figures": [_embedded(each, folder) for each in part["figures"]]} for part in parts if part["figures"]
    ]


def shows(entry: dict[str, Any], answer: Answer) -> bool:
    """Whether the figure of this entry of figures.json was drawn for ``answer``."""
    name = entry.get("name", "")
    return any(name == stem or name.startswith(f"{stem}-") for stem in answer.figures)


def _embedded(entry: dict[str, Any], folder: Path) -> dict[str, Any]:
    """A figure's texts, with its picture as a data address: PNG for photographs, SVG for everything drawn."""
    if "name" not in entry:
        return entry
    if entry["name"].startswith("gallery-"):
        picture = base64.b64encode((folder / f"{entry['name']}.png").read_bytes()).decode("ascii")
        return entry | {"source": f"data:image/png;base64,{picture}"}
    drawing = (folder / f"{entry['name']}.svg").read_text(encoding="utf-8")
    return entry | {"source": f"data:image/svg+xml,{quote(drawing, safe=_SAFE)}"}
