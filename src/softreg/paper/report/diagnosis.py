"""What to know before the answer is believed: one item for each thing that can be wrong with a study."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import Any

from softreg.paper import checks, convergence
from softreg.paper.questions import premise
from softreg.paper.questions.estimates import plural, rows_of
from softreg.paper.report import about, coverage
from softreg.paper.scores import Scores
from softreg.paper.tables import difference
from softreg.scoring.select import GROUP
from softreg.study.roles import NO_CHECKS


@dataclass(frozen=True)
class Item:
    """One line: whether all is ``well``, what was found, ``details``, and the ``section`` with the numbers."""

    well: bool
    text: str
    details: tuple[str, ...] = ()
    section: str = ""


def items(scores: Scores) -> list[Item]:
    """The items of a study, doubts first."""
    found = [
        *_data(scores),
        _finished(scores),
        _learnt(scores),
        _edges(scores),
        *_choices(scores),
        _checks(scores),
        _convergence(scores),
        _looks(scores),
    ]
    return sorted(found, key=lambda item: item.well)


def _data(scores: Scores) -> list[Item]:
    """What is to be said of a data set: that it is small, say, or that a group is in more than one part."""
    remarks = {
        name: [about.get("note"), *about.get("remarks", []), _torn(scores, name)]
        for name, about in scores.datasets.items()
    }
    return [
        Item(False, f"Data, {scores.label(name)}: {str(text).rstrip('.')}.", section="data-sets")
        for name, texts in remarks.items()
        for text in filter(None, texts)
    ]


def _torn(scores: Scores, dataset: str) -> str:
    """That groups of test images have other images in training; empty where none has."""
    if scores.folds:
        # They keep groups whole: what trains in the first one tests in others.
        return ""
    images = scores.images[scores.images["dataset"] == dataset]
    trained, tested = (set(images.loc[images["split"] == part, "group"].dropna()) for part in ("train", "test"))
    torn = f"{len(trained & tested)} of {len(tested)} groups of test images have other images in training"
    return f"{torn}, so that scores are not for new groups" if trained & tested else ""


def _finished(scores: Scores) -> Item:
    text = coverage.holes(scores)
    if scores.provenance["partial"]:
        told = f"Partial report. {f'{text}. ' if text else ''}Numbers may change; do not cite them."
        return Item(False, told, section="coverage")
    return Item(not text, f"{text or f'All {len(scores.cells)} cells finished'}.", section="coverage")


def _learnt(scores: Scores) -> Item:
    found, every = premise.unlearnt(scores), len(premise.table(scores))
    trivial = "predicting one class everywhere, or a table from grey level to class"
    if not found:
        beaten = "All networks of the final beat" if every else "No network is tested yet against"
        return Item(bool(every), f"{beaten} {trivial}.")
    text = f"{len(found)} of {every} entries have not learnt: their networks do not beat {trivial}."
    return Item(False, text, tuple(judged.why for judged in found.values()), "results")


def _edges(scores: Scores) -> Item:
    """Entries whose λ̂ lies at an end of its grid, or whose learning rate does."""
    count, chosen = scores.selection["at_edge"].sum(), (scores.selection["lambda"] != "").sum()
    if edges := _grouped(scores, about.edges):
        text = (
            f"{count} of {chosen} λ̂ are at an end of the grid" if count else "A learning rate is at an end of its list"
        )
        return Item(False, f"{text}, so that a better one may be beyond it.", edges, "selection")
    text = "No λ̂ is at an end of its grid." if chosen else "No λ has been chosen yet."
    return Item(bool(chosen), text, (), "selection")


def _choices(scores: Scores) -> list[Item]:
    """Other doubts of a choice, where there are any."""
    doubts = _grouped(scores, about.doubts)
    return [Item(False, "Some choices of λ rest on little.", doubts, "selection")] if doubts else []


def _grouped(scores: Scores, hints: Callable[[dict[Any, Any], dict[str, Any]], list[str]]) -> tuple[str, ...]:
    """Each hint with the entries that it is about."""
    found: dict[str, list[str]] = {}
    for row in scores.selection.to_dict("records"):
        for hint in hints(row, scores.study["penalties"][row["penalty"]]):
            found.setdefault(hint, []).append(_named(scores, [row[name] for name in GROUP]))
    return tuple(f"{hint}: {', '.join(entries)}." for hint, entries in found.items())


def _named(scores: Scores, group: Iterable[str]) -> str:
    """An entry with its data set and model, as far as there are several."""
    dataset, model, penalty = group
    return " ".join([*about.place(scores, dataset, model), scores.label(penalty)])


def _checks(scores: Scores) -> Item:
    """Placebo and longer trainings."""
    rows = list(rows_of(checks.table(scores)))
    told = tuple(
        f"{_named(scores, row[:3])} ({row.what}): {difference(row)} points, {plural(row.seeds, 'seed')}; {row.told}."
        for row in rows
    )
    if not rows:
        return Item(False, "No placebo and no longer training was run.", (NO_CHECKS,))
    odd = sum(not row.told.startswith("as ") for row in rows)
    text = f"{odd} of {plural(len(rows), 'check')} {'is' if odd == 1 else 'are'} not shown to be as none."
    return Item(not odd, text if odd else f"{plural(len(rows), 'check')} shown to be as none.", told)


def _convergence(scores: Scores) -> Item:
    text = convergence.summary(scores)
    improving = (convergence.table(scores)["state"] == convergence.IMPROVING).any()
    return Item(bool(text) and not improving, text or "No final has finished yet.", (), "convergence")


def _looks(scores: Scores) -> Item:
    text = scores.looks.departures()
    return Item(not text, text or "All looks at the results were planned.")
