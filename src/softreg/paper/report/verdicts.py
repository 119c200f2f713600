"""The answers to the questions as the page shows them first: cards with words counted."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from typing import Any

from softreg.paper.questions.answer import WORDS, Answer
from softreg.paper.report.pictures import shows
from softreg.paper.scores import Scores

MEANINGS = {
    "supported": "supported",
    "contradicted": "contradicted",
    "equivalent": "equivalent within ROPE",
    "undecided": "undecided at this n",
}
"""Each word of a verdict as the page says it."""


def cards(scores: Scores, answers: Sequence[Answer], figures: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """One card for each answer, with those of ``figures`` (entries of figures.json) that show it."""
    return [
        {
            "answer": answer,
            "counts": counts(answer),
            "figures": [entry for entry in figures if shows(entry, answer)],
            "rows": [
                {
                    "place": [scores.label(name) if name else "all" for name in (each.dataset, each.model)],
                    "verdict": each,
                    "subject": scores.label(each.subject),
                }
                for each in answer.verdicts
            ],
        }
        for answer in answers
    ]


def counts(*answers: Answer) -> list[tuple[str, int]]:
    """How often each word stands among the verdicts of ``answers``, in the order of `WORDS`; without zeros."""
    found = Counter(verdict.word for answer in answers for verdict in answer.verdicts)
    return [(word, found[word]) for word in WORDS if found[word]]
