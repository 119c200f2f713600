"""The tables of a study: test mIoU with its uncertainty by model and penalty, and the contrasts behind the verdicts."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass, replace
from functools import lru_cache
from itertools import groupby
from pathlib import Path
from typing import Any

import pandas as pd

from softreg.files import write_text
from softreg.paper import checks, convergence, folded, typeset
from softreg.paper.questions import answer as words
from softreg.paper.questions import answers, gain, premise
from softreg.paper.questions.answer import Answer, Verdict
from softreg.paper.questions.estimates import images_told, plural, rows_of, signed
from softreg.paper.scores import Scores, others
from softreg.paper.stats import over_seeds
from softreg.paper.typeset import Block
from softreg.scoring.select import GROUP
from softreg.study.lambdas import Trial

MEASURES = {name: f"{name}_points" for name in ("miou_per_image", "dice", "boundary_iou", "pixel_accuracy", "ece")}
MEASURES["nll"] = "nll_nats"
"""Secondary measures, each a mean over the evaluation seeds, and what their columns are called; points are 0 to 100."""

_POINTS = ["difference", "mean", "low", "high", "low90", "high90", "se", "detectable", "test_miou", "val_miou"]
_POINTS += ["val", "val_slope", "val_low", "val_high"]
"""Columns of tables that are points of mIoU (0 to 100), as their names in CSV say."""

DIFFERENCE = ["difference_points", "difference_low_points", "difference_high_points", "verdict"]

CONTRAST_HEADINGS = ["Model", "Contrast", "Difference [95 % CI]", "p (Holm)", "p (signs)", "p (equiv.)", "n", "Verdict"]
QUESTION_HEADINGS = ["Data set", "Model", "Subject", "Verdict", "In numbers"]
_LABELS = {"dataset": "dataset_label", "model": "model_label", "penalty": "penalty_label"}
_NOTHING = "No two entries of the study can be compared yet: it needs an unpenalised entry (kind none) and test scores."


# How numbers are told.


def number(value: float, digits: int) -> str:
    """``value`` with ``digits`` decimals; a dash where it is nan."""
    return "–" if math.isnan(value) else f"{value:.{digits}f}"


def interval(
    mean: float, low: float, high: float, told: Callable[[float], str] = lambda value: number(value, 2)
) -> str:
    """A mean in points with its interval, as far as they are defined; a dash where there is none."""
    if math.isnan(mean):
        return "–"
    return told(mean) if math.isnan(low) else f"{told(mean)} [{told(low)}, {told(high)}]"


def difference(row: Any) -> str:
    """The columns difference, low and high of a row, in points."""
    return interval(row.difference, row.low, row.high, signed)


def share(value: float) -> str:
    """A share (0 to 1) in percent; a dash where it is nan."""
    return "–" if math.isnan(value) else f"{100 * value:.0f} %"


def weights(count: float, zeros: float) -> str:
    """How many weights are not zero, and the share of those that are: ``44.1 k (50.2 % zeros)``."""
    if math.isnan(count):
        return "–"
    shown = f"{count:.0f}"
    if count >= 1e3:
        shown = f"{count / 1e6:.1f} M" if count >= 1e6 else f"{count / 1e3:.1f} k"
    return shown if math.isnan(zeros) else f"{shown} ({number(100 * zeros, 1)} % zeros)"


def _chosen(lambdas: str, lr: str) -> str:
    return f"{lambdas}, learning rate {lr}" if lr else lambdas or "–"


@dataclass(frozen=True)
class Column:
    """A column: its heading, the text of a row of `main_frame`, and the number that it is sorted by in the report.

    ``shown`` says whether a row's text is set in bold.
    """

    heading: str
    text: Callable[[Any], str]
    number: Callable[[Any], float]
    shown: Callable[[Any], bool] = lambda row: False


def _measured(heading: str, name: str, digits: int = 2) -> Column:
    return Column(heading, lambda row: number(getattr(row, name), digits), lambda row: float(getattr(row, name)))


def against_none(word: str) -> str:
    """A verdict on "the difference to none is above 0" as it stands beside that difference."""
    told = {words.SUPPORTED: "above none", words.CONTRADICTED: "below none"}
    return told.get(word, word.removeprefix("not answered: "))


MAIN = [
    Column(
        "Test mIoU [95 % CI]",
        lambda row: interval(row.test_miou_points, row.low_points, row.high_points),
        lambda row: row.test_miou_points,
    ),
    Column(
        "Difference to none [95 % CI]",
        lambda row: interval(row.difference_points, row.difference_low_points, row.difference_high_points, signed),
        lambda row: row.difference_points,
        lambda row: row.verdict in (words.SUPPORTED, words.CONTRADICTED),
    ),
    Column("Verdict", lambda row: against_none(row.verdict) or "–", lambda row: row.difference_points),
    Column("λ̂", lambda row: _chosen(row.lambdas, row.lr), lambda row: float(row.lambda_ or "nan")),
    Column(
        "Non-zero weights",
        lambda row: weights(row.nonzero_weights, row.exact_zeros_share),
        lambda row: row.nonzero_weights,
    ),
    Column(
        "Finished",
        lambda row: (
            f"{row.finished} of {row.expected}" + (f" ({row.other})" if row.other else "") if row.expected else "–"
        ),
        lambda row: row.finished,
    ),
]
SECONDARY = [
    _measured("mIoU per image", "miou_per_image_points"),
    _measured("Dice", "dice_points"),
    _measured("Boundary IoU", "boundary_iou_points"),
    _measured("Pixel accuracy", "pixel_accuracy_points"),
    _measured("ECE", "ece_points"),
    _measured("NLL (nats)", "nll_nats", 3),
    Column("First in", lambda row: share(row.first_share), lambda row: row.first_share),
    _measured("s per cell", "seconds", 1),
]


# The main table.


@lru_cache(maxsize=1)
def main_frame(scores: Scores) -> pd.DataFrame:
    """The numbers of the main table, one row for each dataset × model × penalty, in the order to show.

    After the penalties of each data set and model that has scores comes the row of predicting one class everywhere
    (`premise.ONE_CLASS`), and of grey images that of a table from grey level to class (`premise.LOOKUP`): the test
    mIoU, and nan for what they do not have.

    Columns: dataset, model, penalty, lambda (empty: none chosen; of outer folds the one chosen most often), lambdas
    (``1e-7 to 1e-5`` where folds have chosen others), lr (empty: not chosen with λ), test_miou_points,
    low_points, high_points (0 to 100; the 95 % interval over images and seeds, nan where not defined), seeds (with a
    score), images (of test), groups (that these come in, or their number where each is its own), `DIFFERENCE` (to none,
    with its interval, and H1's verdict; nan and empty of none itself), first_share (of bootstrap resamples of
    images × seeds, those in which it has the best mean of its data set and model), learnt (whether it is above the
    better of these; where not, it is not first), the secondary measures (see `MEASURES`), exact_zeros_share (of the
    penalised weights), nonzero_weights (of all layers, penalised or not), macs_nonzero (multiply-adds for one image
    with a weight that is not zero; both means), seconds (of training a cell, mean), finished, expected (cells), other
    ("1 diverged"), cells (their folders), and what to call the first three: dataset_label, model_label, penalty_label.
    """
    final = [frame[frame["phase"] == "final"] for frame in (scores.cells, scores.timings, scores.weights)]
    parts = [(dict(list(frame.groupby(GROUP))), frame.iloc[:0]) for frame in (scores.final_test, *final)]
    rates = scores.selection.set_index(GROUP)["lr"].to_dict()
    groups = scores.ordered(pd.DataFrame(scores.groups, columns=GROUP)).itertuples(index=False, name=None)
    rows = []
    for place, mine in groupby(groups, key=lambda group: group[:2]):
        sample = gain.resampled(scores).get(place)
        for group in mine:
            row: dict[str, Any] = dict(zip(GROUP, group, strict=True))
            row |= _row(group, rates.get(group, ""), sample, *(each.get(group, none) for each, none in parts))
            learnt = group not in premise.unlearnt(scores)
            # What has not learnt has no rank.
            rows.append(row | {"learnt": learnt} | ({} if learnt else {"first_share": math.nan}))
        rows += _constant(scores, place)
    differences = gain.to_none(scores)[[*GROUP, "difference", "low", "high", "word"]]
    differences.columns = pd.Index([*GROUP, *DIFFERENCE])
    frame = pd.DataFrame(rows).merge(differences, on=GROUP, how="left")
    frame["verdict"] = frame["verdict"].astype(object).fillna("")
    labels = {label: frame[name].map(scores.label) for name, label in _LABELS.items()}
    return frame.assign(**labels)


def _constant(scores: Scores, place: tuple[str, ...]) -> list[dict[str, Any]]:
    """The rows of what asks nothing of an image but its grey levels, of a data set and model that has scores."""
    frame = premise.table(scores)
    known = frame[(frame["dataset"] == place[0]) & (frame["model"] == place[1])]
    counted = {"seeds": 0, "images": 0, "groups": 0, "finished": 0, "expected": 0, "learnt": False}
    told = {"lambda": "", "lambdas": "", "lr": "", "other": "", "cells": ""}
    found = zip(premise.RIVALS, known[["constant", "lookup"]].head(1).to_numpy().ravel(), strict=False)
    return [
        told | dict(zip(GROUP, (*place, name), strict=True)) | counted | {"test_miou_points": value}
        for name, value in found
        if not math.isnan(value)
    ]


def _row(
    group: tuple[str, ...],
    lr: str,
    sample: gain.Resampled | None,
    tests: pd.DataFrame,
    cells: pd.DataFrame,
    timings: pd.DataFrame,
    counts: pd.DataFrame,
) -> dict[str, Any]:
    finished = cells[cells["status"] == "finished"]
    # Of outer folds, each of which has its own, the one chosen most often.
    chosen = folded.most_often(cells["lambda"].tolist())
    folds, strengths = cells["fold"].nunique() > 1, cells["lambda"].nunique() > 1
    folder = f"final/{group[0]}{'-fold*' if folds else ''}/{group[1]}/{group[2]}"
    return {
        "lambda": chosen,
        "lambdas": folded.span(cells["lambda"].tolist()),
        "lr": lr,
        **_miou(sample, group[2]),
        **{told: (1 if name == "nll" else 100) * tests[name].astype(float).mean() for name, told in MEASURES.items()},
        "exact_zeros_share": (finished["exact_zeros"] / finished["penalised"].where(finished["penalised"] > 0)).mean(),
        "nonzero_weights": counts["nonzero"].mean(),
        "macs_nonzero": finished["macs_nonzero"].mean(),
        "seconds": timings["seconds"].mean(),
        "finished": len(finished),
        "expected": len(cells),
        "other": others(cells["status"]),
        "cells": f"{folder}/seed*/lambda-{'*' if strengths else Trial(chosen, lr).name}" if chosen else "",
    }


def _miou(sample: gain.Resampled | None, penalty: str) -> dict[str, Any]:
    """Test mIoU with its interval, and how often it is the best of the data set and model."""
    names = ["test_miou_points", "low_points", "high_points", "first_share"]
    if sample is None or penalty not in sample.penalties:
        return dict.fromkeys(names, math.nan) | {"seeds": 0, "images": 0, "groups": 0}
    found = sample.estimate(penalty).score_interval(100)
    counts = {"seeds": found.n, "images": sample.images, "groups": sample.over_units.units}
    return dict(zip(names, (found.mean, found.low, found.high, sample.first[penalty]), strict=True)) | counts


def caption(scores: Scores, frame: pd.DataFrame) -> str:
    """What the numbers of the main table are: units of resampling, n, what is bold, and where λ̂ comes from."""
    rule = scores.study["selection"]["rule"].replace("_", "-")
    seeds = plural(len(scores.study["seeds"]["tuning"]), "tuning seed")
    rule += ", by halving" if scores.raced else ""
    greys = " Grey levels: giving each grey level the class that most of its training pixels are of."
    text = (
        f"Test mIoU in points (0 to 100), {_spread(scores, frame)} λ̂ was chosen on validation scores of {seeds} only "
        f"(rule: {rule}). Non-zero weights: of convolutions and linear layers, mean over seeds; in brackets the share "
        "of zeros among the penalised ones. One class: predicting the most frequent class of the test images "
        f"everywhere.{greys if premise.LOOKUP in set(frame['penalty']) else ''}"
    )
    return text + _averaging(scores, frame)


def _averaging(scores: Scores, frame: pd.DataFrame) -> str:
    """What averaging the weights has changed, of each row of the main table whose networks are averaged."""
    told = []
    for group, cells in frame[GROUP].merge(scores.averaged, on=GROUP).groupby(GROUP, sort=False):
        gain = over_seeds((100 * (cells["average"] - cells["last"])).to_numpy()).interval()
        names = " ".join(scores.label(str(name)) for name in group[1:])
        told.append(f"{names} {interval(gain.mean, gain.low, gain.high, signed)}")
    if not told:
        return ""
    return (
        " Scored are averages of the weights over steps; what they score more than the last weights, with the 95 % "
        f"interval over seeds: {', '.join(told)}."
    )


def _doubts(frame: pd.DataFrame) -> str:
    """What the report says in its diagnosis, for a table that stands alone: what has not learnt, and lost cells."""
    holes = int((frame["expected"] - frame["finished"]).sum())
    lost = f" {holes} of {int(frame['expected'].sum())} cells did not finish." if holes else ""
    count = int((~frame["learnt"].astype(bool) & ~frame["penalty"].isin(premise.RIVALS)).sum())
    if not count:
        return lost
    entries = "1 entry is" if count == 1 else f"{count} entries are"
    return f" {entries} not above that, by the 95 % interval of the difference, and so without verdict.{lost}"


def _spread(scores: Scores, frame: pd.DataFrame) -> str:
    n = len(scores.study["seeds"]["evaluation"])
    most = "up to " if scores.study["seeds"]["fewer"] else ""
    if n == 1:
        return "one evaluation seed, so no interval can be given and nothing is set in bold."
    return (
        f"mean over {most}{plural(n, 'evaluation seed')} with a 95 % interval {_over(scores, frame)}. "
        "Difference to none: paired by seed and image, with the verdict of H1; bold where it is shown to be above or "
        "below 0, by Holm's p too."
    )


def _over(scores: Scores, frame: pd.DataFrame) -> str:
    """What the intervals of test mIoU are over."""
    if scores.folds:
        return (
            f"over seeds and {scores.folds} outer folds, crossed, each fold with a split, a λ̂ and networks of its own"
        )
    units = _units(scores, frame)
    crossed = f"seeds (training runs) and {units} are the units of resampling"
    return f"over seeds and images, crossed: {crossed}, and λ̂ is held fixed"


def _units(scores: Scores, frame: pd.DataFrame) -> str:
    """What of the images of each data set is resampled, and of how many."""
    rows = {row.dataset: row for row in rows_of(frame) if row.images}
    told = []
    for name, row in rows.items():
        of = f" of {row.dataset_label}" if len(rows) > 1 else ""
        if subject := scores.single_subject(name):
            told.append(f"no test images{of} ({row.images}, all of {subject}, so that nothing is inferred to others)")
        elif row.groups == row.images:
            told.append(f"test images{of} ({row.images}, taken as independent, as none is known to belong to a group)")
        else:
            told.append(f"groups of test images{of} ({images_told(row.images, row.groups)})")
    return ", ".join(told) or "test images"


def shown_rows(frame: pd.DataFrame) -> list[list[str]]:
    """The cells of each row of `main_frame` as text: model, penalty, and the columns `MAIN`."""
    return [[row.model_label, row.penalty_label, *(column.text(row) for column in MAIN)] for row in rows_of(frame)]


# The other tables, and all of them as files.


def contrasts_caption(scores: Scores, frame: pd.DataFrame) -> str:
    """What the numbers of the table of contrasts, of rows of `gain.contrasts`, are."""
    units = (
        "over seeds and images, crossed (n: seeds × images, the units of resampling; where images come in groups, "
        "seeds × groups, and the images in brackets)"
    )
    over = f"over seeds and {scores.folds} outer folds, crossed (n: seeds × images)" if scores.folds else units
    return (
        "Differences in test mIoU (points, 0 to 100) between entries of the study, each at its λ̂, paired by seed and "
        f"image, with the {scores.looks.interval} interval {over}. "
        "p (Holm): of no difference, adjusted within the primary contrasts of a data set and model, marked *"
        f"{'' if frame['primary'].all() else ', and within the others, which are secondary'}. p (signs): by sign flips "
        "over seeds, on these images alone. p (equiv.): that the difference is beyond "
        f"±{scores.rope:g} points, by two one-sided tests, adjusted like p (Holm). The verdict is on the claim that "
        f"the difference is above 0: equivalent where p (equiv.) is below {scores.looks.level:.3g}, else by the "
        f"{scores.looks.interval} interval shown together with p (Holm), which has to be below it too. "
        f"{scores.looks.departures()}"
    ).strip()


def contrast_rows(scores: Scores, frame: pd.DataFrame) -> list[list[str]]:
    """The cells of each row of `gain.contrasts` as text, in the order of `CONTRAST_HEADINGS`."""
    return [
        [
            scores.label(row.model),
            f"{scores.label(row.penalty)} − {scores.label(row.reference)}{'*' if row.primary else ''}",
            difference(row),
            *("<0.001" if p < 0.001 else number(p, 3) for p in (row.p_holm, row.p_seed, row.p_equivalence_holm)),
            f"{row.n_seeds} × {row.n_groups}" + (f" ({row.n_images})" if row.n_groups != row.n_images else ""),
            row.word,
        ]
        for row in rows_of(frame)
    ]


def write_tables(scores: Scores, out: Path) -> None:
    """Write ``out/tables/``: main, contrasts and questions, and the numbers behind each question, such as H1.csv,
    where there are any.

    Each of the three as .csv (numbers), .md, _table.tex (for ``\\input``; needs array, booktabs and longtable) and .tex
    (a document around it). convergence.csv, checks.csv and weakest.csv have what the report's diagnosis shows.
    """
    frame, contrasts, found = main_frame(scores), gain.contrasts(scores), answers(scores)
    verdicts = pd.DataFrame([{"question": answer.key} | vars(each) for answer in found for each in answer.verdicts])
    numbers = {answer.key: answer.numbers for answer in found} | {
        "main": frame.drop(columns=[*_LABELS.values()]),
        "contrasts": contrasts,
        "convergence": convergence.table(scores),
        "checks": checks.table(scores),
        "weakest": checks.weakest(scores),
        "questions": verdicts.reindex(columns=["question", *Verdict.__dataclass_fields__]),
    }
    for name, table in numbers.items():
        file = out / "tables" / f"{name}.csv"
        if len(table):
            write_text(file, typeset.csv(_with_units(name, table)))
        else:
            file.unlink(missing_ok=True)
    blocks = {
        "main": _by_dataset(scores, frame, _main_block),
        "contrasts": _by_dataset(scores, contrasts, _contrast_block),
        "questions": [_question_block(scores, answer) for answer in found],
    }
    for name, each in blocks.items():
        typeset.write(out / "tables", name, scores.study["title"] or scores.study["name"], each, _NOTHING)


def _with_units(name: str, table: pd.DataFrame) -> pd.DataFrame:
    """The numbers of a table, with the unit of each in a name or in a column."""
    if name == "H5":
        # Of ratios and slopes there is none.
        return table.rename(columns={"memory": "memory_bytes"})
    if name == "H7":
        return table.assign(unit=table["quantity"].map({"nll": "nats"}).fillna("points"))
    return table.rename(columns={each: f"{each}_points" for each in _POINTS})


def _by_dataset(scores: Scores, frame: pd.DataFrame, block: Callable[[Scores, pd.DataFrame], Block]) -> list[Block]:
    """For each data set the table that ``block`` makes of its rows, under its name and with what is noted of it."""
    notes = {name: about.get("note", "") for name, about in scores.datasets.items()}
    return [
        replace(block(scores, rows), heading=scores.label(str(name)), note=notes.get(str(name), ""))
        for name, rows in frame.groupby("dataset", sort=False)
    ]


def _main_block(scores: Scores, rows: pd.DataFrame) -> Block:
    bold = frozenset(
        (at, 2 + column) for at, row in enumerate(rows_of(rows)) for column, each in enumerate(MAIN) if each.shown(row)
    )
    headings = ["Model", "Penalty", *(column.heading for column in MAIN)]
    return Block("", caption(scores, rows) + _doubts(rows), headings, "nnrrnrrn", shown_rows(rows), bold)


def _contrast_block(scores: Scores, rows: pd.DataFrame) -> Block:
    return Block("", contrasts_caption(scores, rows), CONTRAST_HEADINGS, "llrrrrrn", contrast_rows(scores, rows))


def _question_block(scores: Scores, answer: Answer) -> Block:
    rows = [[scores.label(v.dataset), scores.label(v.model), v.subject, v.word, v.sentence] for v in answer.verdicts]
    return Block(f"{answer.key}. {answer.question}", _told(answer), QUESTION_HEADINGS, "nnnlp", rows)


def _told(answer: Answer) -> str:
    """What a question lacks, what it found, and how; without verdicts and summary only what it lacks."""
    if not answer.summary:
        return answer.absent
    parts = [answer.absent, answer.summary, answer.estimand, answer.statistic, answer.interval]
    return " ".join(filter(None, parts))
