"""The seven questions that a study answers, from its gathered scores alone.

A question's module has one function, ``answer(scores) -> Answer``, and keeps the numbers that its figure draws, so that
figure, table and verdict cannot differ. It imports no torch. What a study cannot answer is told, not shown empty.
"""

from __future__ import annotations

from softreg.paper.questions import complexity, cost, degeneracy, gain, regret, robustness, sparsity
from softreg.paper.questions.answer import Answer
from softreg.paper.scores import Scores


def answers(scores: Scores) -> list[Answer]:
    """The answers to all questions, H1 to H7; worked out once for each `Scores`."""
    # Kept with the object, as its cached properties are: an equal one may have read the folder at another time.
    kept = vars(scores)
    if "_answers" not in kept:
        modules = (gain, degeneracy, sparsity, complexity, cost, regret, robustness)
        kept["_answers"] = [module.answer(scores) for module in modules]
    found: list[Answer] = kept["_answers"]
    return found
