"""The tables of a study: test mIoU with its uncertainty by model and penalty, and the contrasts behind the verdicts."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Sequence
from pathlib import Path
from typing import Any

import pandas as pd

from softreg.files import write_text
from softreg.paper import typeset
from softreg.paper.questions import answers, gain
from softreg.paper.questions.answer import Answer
from softreg.paper.questions.estimates import rows_of, signed
from softreg.paper.scores import Scores
from softreg.paper.typeset import Block
from softreg.scoring.select import GROUP

MEASURES = ["miou_per_image", "dice", "boundary_iou", "pixel_accuracy", "ece", "nll"]
"""Secondary measures, each a mean over the evaluation seeds."""

HEADINGS = ["Model", "Penalty", "Test mIoU [95 % CI]", "First in", "Non-zero weights", "λ̂", "s per cell", "Finished"]
CONTRAST_HEADINGS = ["Model", "Contrast", "Difference [95 % CI]", "p (Holm)", "p (signs)", "p (equiv.)", "n", "Verdict"]
QUESTION_HEADINGS = ["Data set", "Model", "Subject", "Verdict", "In numbers"]
_LABELS = {"dataset": "dataset_label", "model": "model_label", "penalty": "penalty_label"}


def main_frame(scores: Scores) -> pd.DataFrame:
    """The numbers of the main table, one row for each dataset × model × penalty, in the order to show.

    Columns: dataset, model, penalty, lambda (empty: none chosen), test_miou, low, high (in points, 0 to 100; the 95 %
    interval over images and seeds, nan where not defined), seeds (with a score), images (of test), best (not to be told
    from the best mean of its data set and model), first (share of bootstrap resamples of images × seeds in which it has
    the best mean of its data set and model), the secondary measures (0 to 1; nll in nats), exact_zeros (share of
    the penalised weights), nonzero_weights (of all layers, penalised or not), macs_nonzero (multiply-adds for one image
    with a weight that is not zero; both means), seconds (of training a cell, mean), finished, expected (cells), other
    ("1 diverged"), cells (their folders), and what to call the first three: dataset_label, model_label, penalty_label.
    """
    tests, timings = scores.final_test, scores.timings
    timings = timings[timings["phase"] == "final"]
    cells = scores.cells[scores.cells["phase"] == "final"]
    frames = [(frame, _by_group(frame)) for frame in (cells, tests, timings, _nonzero(scores))]
    rows = []
    for group in sorted(scores.groups, key=_order(scores)):
        parts = (groups.get(group, frame.iloc[:0]) for frame, groups in frames)
        labels = {column: scores.label(name) for column, name in zip(_LABELS.values(), group, strict=True)}
        rows.append(_row(group, gain.resampled(scores).get(group[:2]), *parts) | labels)
    return pd.DataFrame(rows)


def _order(scores: Scores) -> Callable[[tuple[str, str, str]], tuple[int, ...]]:
    """The place of a group among those of the study, by data set, model, and penalty as they are to be shown."""
    names = (list(scores.study["datasets"]), list(scores.study["models"]), scores.penalties)
    return lambda group: tuple(each.index(name) for each, name in zip(names, group, strict=True))


def caption(scores: Scores, frame: pd.DataFrame) -> str:
    """What the numbers of the main table are: units of resampling, n, what is bold, and where λ̂ comes from."""
    seeds, rule = scores.study["seeds"], scores.study["selection"]["rule"]
    text = (
        f"Test mIoU in points (0 to 100), {_spread(scores, frame)} λ̂ was chosen on validation scores of "
        f"{len(seeds['tuning'])} tuning seed{'s' * (len(seeds['tuning']) != 1)} only (rule: {rule.replace('_', '-')}). "
        "Non-zero weights: of convolutions and linear layers, mean over seeds; in brackets the share of zeros among "
        "the penalised ones. s per cell: seconds of training, as measured."
    )
    holes = int((frame["expected"] - frame["finished"]).sum())
    return text + (f" {holes} of {int(frame['expected'].sum())} cells did not finish." if holes else "")


def _spread(scores: Scores, frame: pd.DataFrame) -> str:
    n = len(scores.study["seeds"]["evaluation"])
    if n == 1:
        return "one evaluation seed, so no interval can be given and nothing is set in bold."
    counts = {str(row.dataset_label): row.images for row in rows_of(frame) if row.images}
    images = ", ".join(f"{count} of {name}" if len(counts) > 1 else f"{count}" for name, count in counts.items())
    return (
        f"mean over {n} evaluation seeds with a 95 % interval over seeds and images, crossed: seeds (training runs) "
        f"and test images{f' ({images})' if images else ''} are the units of resampling. Bold: the best mean of a "
        "data set and model, and all that tie with it, as the 95 % interval of their paired difference to it, not "
        "corrected for multiple comparisons, includes 0. First in: share of 10,000 bootstrap resamples of images × "
        "seeds in which the mean is the best."
    )


def displayed(row: Any) -> list[str]:
    """The cells of one row of `main_frame` as text, in the order of `HEADINGS`."""
    finished = f"{row.finished} of {row.expected}" + (f" ({row.other})" if row.other else "")
    return [
        row.model_label,
        row.penalty_label,
        interval(row.test_miou, row.low, row.high),
        share(row.first),
        weights(row.nonzero_weights, row.exact_zeros),
        row.lambda_ or "–",
        number(row.seconds, 1),
        finished,
    ]


def shown_rows(frame: pd.DataFrame) -> Iterable[list[str]]:
    """`displayed` for each row of ``frame``."""
    return map(displayed, rows_of(frame))


def contrasts_caption(scores: Scores, frame: pd.DataFrame) -> str:
    """What the numbers of the table of contrasts, of rows of `gain.contrasts`, are."""
    return (
        "Differences in test mIoU (points, 0 to 100) between entries of the study, each at its λ̂, paired by seed and "
        "image, with the 95 % interval over seeds and images, crossed (n: seeds × images, the units of resampling). "
        "p (Holm): of no difference, adjusted within the primary contrasts of a data set and model, marked *"
        f"{'' if frame['primary'].all() else ', and within the others, which are secondary'}. p (signs): by sign flips "
        "over seeds, on these images alone. p (equiv.): that the difference is beyond "
        f"±{scores.rope:g} points, by two one-sided tests. The verdict is on the claim that the difference is above 0: "
        "by the 95 % interval shown together with p (Holm), and by the 90 % interval for equivalence."
    )


def contrast_rows(scores: Scores, frame: pd.DataFrame) -> list[list[str]]:
    """The cells of each row of `gain.contrasts` as text, in the order of `CONTRAST_HEADINGS`."""
    return [
        [
            scores.label(row.model),
            f"{scores.label(row.penalty)} − {scores.label(row.reference)}{'*' if row.primary else ''}",
            _signed_interval(row.difference, row.low, row.high),
            *(_p(value) for value in (row.p_holm, row.p_seed, row.p_equivalence)),
            f"{row.n_seeds} × {row.n_images}",
            row.word,
        ]
        for row in rows_of(frame)
    ]


def _signed_interval(mean: float, low: float, high: float) -> str:
    return signed(mean) if math.isnan(low) else f"{signed(mean)} [{signed(low)}, {signed(high)}]"


def _p(value: float) -> str:
    return "<0.001" if value < 0.001 else number(value, 3)


def number(value: float, digits: int) -> str:
    """``value`` with ``digits`` decimals; a dash where it is nan."""
    return "–" if math.isnan(value) else f"{value:.{digits}f}"


def interval(mean: float, low: float, high: float) -> str:
    """A mean in points with its interval, as far as they are defined."""
    if math.isnan(low):
        return number(mean, 2)
    return f"{mean:.2f} [{low:.2f}, {high:.2f}]"


def share(value: float) -> str:
    """A share (0 to 1) in percent; a dash where it is nan."""
    return "–" if math.isnan(value) else f"{100 * value:.0f} %"


def weights(count: float, zeros: float) -> str:
    """How many weights are not zero, and the share of those that are: ``44.1 k (50.2 % zeros)``."""
    if math.isnan(count):
        return number(count, 0)
    factor, unit = next(((f, u) for f, u in ((1e6, " M"), (1e3, " k")) if count >= f), (1.0, ""))
    shown = number(count / factor, 1 if unit else 0) + unit
    return shown if math.isnan(zeros) else f"{shown} ({number(100 * zeros, 1)} % zeros)"


def write_tables(scores: Scores, out: Path) -> None:
    """Write ``out/tables/``: main, contrasts and questions, and the numbers behind each question, such as H1.csv.

    Each of the three as .csv (numbers), .md, _table.tex (for ``\\input``; needs array, booktabs and longtable) and .tex
    (a document around it).
    """
    frame, contrasts, found = main_frame(scores), gain.contrasts(scores), answers(scores)
    folder, title = out / "tables", scores.study["title"] or scores.study["name"]
    _write_csv(folder, "main", frame.drop(columns=[*_LABELS.values()]))
    typeset.write(folder, "main", title, _main_blocks(scores, frame))
    _write_csv(folder, "contrasts", contrasts)
    typeset.write(folder, "contrasts", title, _contrast_blocks(scores, contrasts), _NOTHING)
    _write_csv(folder, "questions", _verdicts(found))
    typeset.write(folder, "questions", title, _question_blocks(scores, found))
    for answer in found:
        _write_csv(folder, answer.key, answer.numbers)


def _main_blocks(scores: Scores, frame: pd.DataFrame) -> list[Block]:
    column = HEADINGS.index("Test mIoU [95 % CI]")
    return [
        Block(
            scores.label(str(dataset)),
            caption(scores, rows),
            HEADINGS,
            "llrrrrrl",
            list(shown_rows(rows)),
            frozenset((place, column) for place, best in enumerate(rows["best"]) if best),
            scores.datasets.get(str(dataset), {}).get("note", ""),
        )
        for dataset, rows in frame.groupby("dataset", sort=False)
    ]


def _contrast_blocks(scores: Scores, frame: pd.DataFrame) -> list[Block]:
    return [
        Block(
            scores.label(str(dataset)),
            contrasts_caption(scores, rows),
            CONTRAST_HEADINGS,
            "llrrrrrl",
            contrast_rows(scores, rows),
            note=scores.datasets.get(str(dataset), {}).get("note", ""),
        )
        for dataset, rows in frame.groupby("dataset", sort=False)
    ]


def _question_blocks(scores: Scores, found: Sequence[Answer]) -> list[Block]:
    return [
        Block(
            f"{answer.key}. {answer.question}",
            _told(answer),
            QUESTION_HEADINGS,
            "nnnlp",
            [
                [scores.label(each.dataset), scores.label(each.model), each.subject, each.word, each.sentence]
                for each in answer.verdicts
            ],
        )
        for answer in found
    ]


def _told(answer: Answer) -> str:
    """What a question lacks, what it found, and how; without verdicts and summary only what it lacks."""
    if not answer.summary:
        return answer.absent
    parts = [answer.absent, answer.summary, answer.estimand, answer.statistic, answer.interval]
    return " ".join(filter(None, parts))


def _verdicts(found: Sequence[Answer]) -> pd.DataFrame:
    """All verdicts, one a row: question, dataset, model, subject, word, sentence."""
    rows = [{"question": answer.key, **vars(each)} for answer in found for each in answer.verdicts]
    return pd.DataFrame(rows, columns=["question", "dataset", "model", "subject", "word", "sentence"])


def _write_csv(folder: Path, name: str, numbers: pd.DataFrame) -> None:
    write_text(folder / f"{name}.csv", numbers.to_csv(index=False, lineterminator="\n"))


_NOTHING = "No two entries of the study can be compared yet: it needs an unpenalised entry (kind none) and test scores."


def _by_group(frame: pd.DataFrame) -> dict[Any, pd.DataFrame]:
    """The rows of each (dataset, model, penalty) that has some."""
    return dict(list(frame.groupby(GROUP, sort=False)))


def _nonzero(scores: Scores) -> pd.DataFrame:
    """The number of weights that are not zero, of each finished cell of the final."""
    layers = scores.layers[scores.layers["phase"] == "final"]
    counts = layers.assign(nonzero=layers["weights"] - layers["exact_zeros"])
    return counts.groupby([*GROUP, "lambda", "seed"], sort=False)["nonzero"].sum().reset_index()


def _row(
    group: tuple[str, str, str],
    sample: gain.Resampled | None,
    cells: pd.DataFrame,
    tests: pd.DataFrame,
    timings: pd.DataFrame,
    nonzero: pd.DataFrame,
) -> dict[str, Any]:
    finished = cells[cells["status"] == "finished"]
    others = cells.loc[cells["status"] != "finished", "status"].value_counts()
    chosen = str(cells["lambda"].iloc[0]) if len(cells) else ""
    return {
        **dict(zip(GROUP, group, strict=True)),
        "lambda": chosen,
        **_miou(sample, group[2]),
        **{name: tests[name].astype(float).mean() for name in MEASURES},
        "exact_zeros": (finished["exact_zeros"] / finished["penalised"].where(finished["penalised"] > 0)).mean(),
        "nonzero_weights": nonzero["nonzero"].mean(),
        "macs_nonzero": finished["macs_nonzero"].mean(),
        "seconds": timings["seconds"].mean(),
        "finished": len(finished),
        "expected": len(cells),
        "other": ", ".join(f"{count} {status}" for status, count in sorted(others.items())),
        "cells": f"final/{'/'.join(group)}/seed*/lambda-{chosen}" if chosen else "",
    }


def _miou(sample: gain.Resampled | None, penalty: str) -> dict[str, Any]:
    """Test mIoU with its interval, and whether it ties with the best of the data set and model."""
    nan = math.nan
    if sample is None or penalty not in sample.penalties:
        return {"test_miou": nan, "low": nan, "high": nan, "seeds": 0, "images": 0, "best": False, "first": nan}
    found = sample.estimate(penalty).interval()
    gap = sample.estimate(penalty, sample.best).interval()
    return {
        **{"test_miou": found.mean, "low": found.low, "high": found.high},
        **{"seeds": found.n, "images": sample.crossed.images},
        # Without an interval (one seed) nothing is called the best, nor a tie.
        "best": bool(gap.low <= 0 <= gap.high),
        "first": sample.first[penalty],
    }
