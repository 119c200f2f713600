"""What a study says, in words: options of its entries, times and sizes."""

from __future__ import annotations

from typing import Any

_WORDS = {"lr": "learning rate", "lambda": "λ", "mem_mb": "memory (MB)"}


def word(name: str) -> str:
    """A key of a study as it reads in a sentence."""
    return _WORDS.get(name, name.replace("_", " "))


def plain(value: Any) -> str:
    """A value of a study in words; of a block of keys, what has no value is left out."""
    if isinstance(value, dict):
        said = {name: inner for name, inner in value.items() if inner not in (None, {}, "")}
        return "; ".join(f"{word(name)} {plain(inner)}" for name, inner in said.items())
    if isinstance(value, list):
        return ", ".join(map(plain, value))
    if value is None:
        return "–"
    return ("yes" if value else "no") if isinstance(value, bool) else str(value)


def training(options: dict[str, Any]) -> list[tuple[str, str]]:
    """Options of training, each with its value; without what changes no result."""
    return [(word(name), plain(value)) for name, value in options.items() if name != "checkpoint_seconds"]


def plural(count: int, one: str, many: str = "") -> str:
    """``2 seeds``, ``1 seed``."""
    return f"{count} {one if count == 1 else many or one + 's'}"
