"""The seven questions that a study answers, from its gathered scores alone.

A question's module has one function, ``answer(scores) -> Answer``, and keeps the numbers that its figure draws, so that
figure, table and verdict cannot differ. It imports no torch. What a study cannot answer is told, not shown empty.
"""

from __future__ import annotations

from functools import lru_cache

from softreg.paper.questions import complexity, cost, degeneracy, gain, regret, robustness, sparsity
from softreg.paper.questions.answer import Answer
from softreg.paper.scores import Scores


@lru_cache(maxsize=1)
def answers(scores: Scores) -> list[Answer]:
    """The answers to all questions, H1 to H7; worked out once for each `Scores`."""
    modules = (gain, degeneracy, sparsity, complexity, cost, regret, robustness)
    return [module.answer(scores) for module in modules]
