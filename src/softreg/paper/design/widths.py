"""A study as a design: its contrasts, seeds and test images, and how wide its intervals will be."""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

import pandas as pd
from scipy.stats import t

from softreg.data.datasets import prepared_folder
from softreg.files import read_json
from softreg.paper import stats
from softreg.paper.design.published import TestSet, spread_for, test_set
from softreg.paper.questions import answers, gain, premise
from softreg.paper.scores import Scores
from softreg.paper.stats import Spread
from softreg.scoring.gather import lacking
from softreg.scoring.looks import level_of
from softreg.study import matrix
from softreg.study.config import Study
from softreg.study.roles import reference_of
from softreg.study.treatment import CONTROLS

FEWEST_GROUPS = 5
"""Groups of test images from which on something is said of others like them."""

_SEEDS = (5, 6, 8, 10, 12, 15, 20, 25, 30, 40, 50, 60, 80, 100, 150, 200, 300)
"""Numbers of seeds to suggest."""

POWER = 0.8


@dataclass(frozen=True)
class Contrast:
    """A primary contrast of H1 in one place, with the variances of its difference, in points²."""

    dataset: str
    model: str
    penalty: str
    reference: str
    spread: Spread


@dataclass(frozen=True)
class Design:
    """A study, and its own scores where it has any that can be compared."""

    study: Study
    scores: Scores | None = None

    @classmethod
    def of(cls, study: Study, folder: Path) -> Design:
        """The design of ``study``, whose gathered scores lie in ``folder``, if it is there."""
        if not (folder / "study.json").is_file() or lacking(folder):
            return cls(study)
        scores = Scores(folder)
        return cls(study, scores if len(scores.final_test) else None)

    @property
    def rope(self) -> float:
        """Half width of the region of practical equivalence, in points of mIoU."""
        return float(self.study.statistics["rope"])

    @property
    def evaluation(self) -> int:
        """Seeds of the final."""
        return len(self.study.seeds["evaluation"])

    @property
    def tuning(self) -> int:
        """Seeds of the sweep."""
        return len(self.study.seeds["tuning"])

    @property
    def kinds(self) -> dict[str, str]:
        """The kind of each entry of ``penalties``."""
        return {name: entry["kind"] for name, entry in self.study.penalties.items()}

    @property
    def subjects(self) -> list[str]:
        """Entries that put a penalty on the weights."""
        return [name for name, kind in self.kinds.items() if kind != "none" and kind not in CONTROLS]

    @property
    def referenced(self) -> list[str]:
        """Entries that have an unpenalised one of their update rule."""
        plain = self.study.penalties
        return [name for name, kind in self.kinds.items() if kind != "none" and reference_of(plain, name)]

    @cached_property
    def tests(self) -> dict[str, TestSet]:
        """The test images of each data set, as it was prepared, gathered or published."""
        return {name: self._test(name) for name in self.study.datasets}

    def _test(self, name: str) -> TestSet:
        file = prepared_folder(self.study, name) / "dataset.json"
        samples = gain.resampled(self.scores) if self.scores is not None else {}
        if sample := next((each for (dataset, _), each in samples.items() if dataset == name), None):
            images, units = sample.images, sample.over_units.units
            return TestSet(images, units if units < images else None)
        if file.is_file():
            about = read_json(file)
            groups = set(about["groups"]["test"])
            count = None if None in groups else len(groups)
            return TestSet(len(about["ids"]["test"]), 1 if about.get("single_subject") else count)
        return test_set(self.study.datasets[name])

    def heading(self) -> str:
        """What the lines below it rest on."""
        source = "published variances, a first guess" if self.scores is None else "this study's own scores"
        text = f"What {self.study.name} can decide (expected half widths of 90 % intervals by {source}):"
        if self.scores is not None and (left_out := len(premise.unlearnt(self.scores))):
            text += f"\n{left_out} of its entries do not beat one class, or grey levels alone, and get no verdict"
        return text

    @cached_property
    def contrasts(self) -> list[Contrast]:
        """The primary contrasts of H1 with their variances, of entries that have learnt as far as is known."""
        return list(self._guessed() if self.scores is None else self._own(self.scores))

    def _guessed(self) -> Iterator[Contrast]:
        softs = [name for name in self.referenced if self.kinds[name] == gain.SOFT]
        for dataset, model, penalty in matrix.groups(self.study):
            if penalty in (softs or self.referenced):
                reference = str(reference_of(self.study.penalties, penalty))
                yield Contrast(dataset, model, penalty, reference, spread_for(self.study.models[model]))

    def _own(self, scores: Scores) -> Iterator[Contrast]:
        asked = set(matrix.groups(self.study))
        for (dataset, model), sample in gain.resampled(scores).items():
            for penalty, reference, primary in gain.pairs(scores, dataset, model):
                if not {(dataset, model, penalty), (dataset, model, reference)} <= asked:
                    # The study has changed since.
                    continue
                lacking = premise.lacking(scores, [(dataset, model, name) for name in (penalty, reference)])
                if primary and not lacking and {penalty, reference} <= set(sample.penalties):
                    spread = _spread(sample, penalty, reference)
                    yield from [Contrast(dataset, model, penalty, reference, spread)] if spread else []

    def half_widths(self) -> list[float]:
        """Of the contrasts whose number of test images is known, half the width of the interval that shows equivalence.

        It is the 90 % interval, and a wider one where several looks are planned.
        """
        confidence = 1 - 2 * level_of(tuple(self.study.statistics["looks"] or ()))
        return [each.spread.half_width(self._seeds_of(each), units, confidence) for each, units in self._counted()]

    def _counted(self) -> Iterator[tuple[Contrast, int]]:
        """The contrasts with two units of test images or more, and how many these are."""
        for each in self.contrasts:
            if (units := self.tests[each.dataset].units or 0) > 1:
                yield each, units

    def _seeds_of(self, contrast: Contrast) -> int:
        """Evaluation seeds that both sides of a contrast have."""
        sides = (matrix.evaluation_seeds(self.study, name) for name in (contrast.penalty, contrast.reference))
        return len(set.intersection(*map(set, sides)))

    def seeds_needed(self) -> list[int | None]:
        """Of the same contrasts, evaluation seeds that show equivalence at no difference with a chance of 80 %.

        None where no number of seeds does, on these test images.
        """
        return [
            next((n for n in _SEEDS if each.spread.equivalence_power(n, units, self.rope) >= POWER), None)
            for each, units in self._counted()
        ]

    def fixed(self, seeds: int) -> list[float]:
        """Half widths of 90 % intervals of the contrasts over ``seeds`` alone, on fixed images."""
        if seeds < 2:
            return []
        found = []
        for each in self.contrasts:
            images = self.tests[each.dataset].images
            variance = each.spread.seed + (each.spread.both / images if images else 0.0)
            found.append(float(t.ppf(0.95, seeds - 1)) * math.sqrt(variance / seeds))
        return found

    @cached_property
    def numbers(self) -> dict[str, pd.DataFrame]:
        """The numbers behind each question, of the study's own scores; empty without."""
        if self.scores is None:
            return {}
        return {answer.key: answer.numbers for answer in answers(self.scores)}

    def observed(self, key: str, query: str, seeds: int, count: str = "seeds", shared: float = 0.0) -> list[float]:
        """Half widths of 90 % intervals over ``seeds``, from the rows of a question that ``query`` finds.

        Their 95 % intervals, over as many seeds as their column ``count`` says, are taken to be t-intervals, of the
        variance s² · (1/S + ``shared``).
        """
        numbers = self.numbers.get(key)
        if numbers is None or numbers.empty or seeds < 2:
            return []
        rows = numbers.query(query)
        rows = rows[rows["low"].notna() & (rows[count] > 1)]
        if self.scores is not None and "penalty" in rows:
            rows = premise.learnt_only(self.scores, rows)
        halves = (rows["high"] - rows["low"]) / 2
        return [_narrowed(*each, seeds, shared) for each in zip(halves, rows[count].astype(int), strict=True)]


def _spread(sample: gain.Resampled, penalty: str, reference: str) -> Spread | None:
    """The variances of a difference in points², over the seeds that both have; None where they are fewer than two."""
    # Half widths are those of one split.
    part = sample.part(sample.over_units, penalty, reference)
    if min(part.by_seed.shape[1:]) < 2:
        return None
    spread = stats.spread_of(part, 0, 1)
    return Spread(1e4 * spread.seed, 1e4 * spread.image, 1e4 * spread.both, spread.kurtosis)


def _narrowed(half: float, seeds: int, planned: int, shared: float) -> float:
    """The half width of a 95 % t-interval over ``seeds`` as that of a 90 % one over ``planned``; see `observed`."""
    deviation = half / float(t.ppf(0.975, seeds - 1)) / math.sqrt(1 / seeds + shared)
    return float(t.ppf(0.95, planned - 1)) * deviation * math.sqrt(1 / planned + shared)


def span(values: Sequence[float]) -> str:
    """The least and the most, such as ``±0.18 to ±1.4``."""
    ends = dict.fromkeys(f"±{value:.2g}" for value in (min(values), max(values)))
    return " to ".join(ends)
