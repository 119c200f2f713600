"""The seven questions that a study answers, from its gathered scores alone.

A question's module has one function, ``answer(scores) -> Answer``, and keeps the numbers that its figure draws, so that
figure, table and verdict cannot differ. It imports no torch. What a study cannot answer is told, not shown empty.

To add a question, write a module that has

- ``HEAD``, an `Answer` with its key, a question that a newcomer understands, what "supported" claims, and estimand,
  statistic and interval in words;
- functions that return tables, one row for each thing estimated; `estimates` has what questions share: differences to
  the reference, estimates over seeds or over seeds and images, p values adjusted by Holm, and the words for numbers;
  every word of a verdict passes `answer.judge`, which refuses it without its premise (`premise`, seeds, precision);
- ``answer``, which returns ``HEAD`` with what was found, or with one sentence in ``absent`` that names what to add;

and list the module in `answers`. Its table, its card in the report and its verdicts need nothing else; a figure is a
module of `softreg.paper.figures`, whose stem the answer names. A test works its numbers out in another way.
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
