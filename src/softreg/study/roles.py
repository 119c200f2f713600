"""What an entry of a study's ``penalties`` is there for: to be compared, as their reference, or as a check.

A check, such as a placebo, is trained and scored as all entries are; but it says something of the study, and is no part
of its comparisons. Studies are read as their JSON values here. Imports no torch.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

Entries = Mapping[str, Mapping[str, Any]]
"""The entries of ``penalties`` by name."""

NO_CHECKS = (
    "The study trains no checks. A placebo, such as `placebo: {kind: l1, lambda: [1e-12], check: true}` among its "
    "penalties, would show that the code of a penalty alone changes nothing; an entry of kind none with more epochs, "
    "that the schedule was long enough."
)


def compared(penalties: Entries) -> list[str]:
    """The entries that the study compares, in its order."""
    return [name for name, entry in penalties.items() if not entry["check"]]


def checks_told(penalties: Entries) -> str:
    """Which checks the study trains, or which it could, in a sentence or two."""
    names = [name for name in penalties if name not in compared(penalties)]
    return f"Checks beside them: {', '.join(names)}." if names else NO_CHECKS


def reference_of(penalties: Entries, name: str) -> str | None:
    """The unpenalised entry that is trained by the same update rule as the entry ``name``, if there is one.

    It is no check itself, though a check, which may train for other epochs, has one too.
    """
    rule = _update_rule(penalties[name])
    plain = (each for each in compared(penalties) if penalties[each]["kind"] == "none")
    return next((each for each in plain if _update_rule(penalties[each]) == rule), None)


def _update_rule(entry: Mapping[str, Any]) -> dict[str, Any]:
    return {key: value for key, value in entry["training"].items() if key != "epochs"}
