"""The seven questions that a study answers, from its gathered scores alone.

A question's module has one function, ``answer(scores) -> Answer``, and keeps the numbers that its figure draws, so that
figure, table and verdict cannot differ. It imports no torch. What a study cannot answer is told, not shown empty.
"""

from __future__ import annotations

from importlib import import_module

from softreg.questions.answer import Answer
from softreg.scores import Scores

MODULES = ("gain", "degeneracy", "sparsity", "complexity", "cost", "regret", "robustness")
"""H1 to H7, in order."""


def answers(scores: Scores) -> list[Answer]:
    """The answers to all questions, H1 to H7."""
    return [import_module(f"softreg.questions.{name}").answer(scores) for name in MODULES]
