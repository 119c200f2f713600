"""The main table: test mIoU with its uncertainty, exact zeros, λ̂, cost and coverage, by model and penalty."""

from __future__ import annotations

import math
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import pandas as pd

from softreg import stats
from softreg.files import write_text
from softreg.scores import Scores
from softreg.select import GROUP

MEASURES = ["miou_per_image", "dice", "pixel_accuracy", "ece", "nll"]
"""Secondary measures, each a mean over the evaluation seeds."""

HEADINGS = ["Model", "Penalty", "Test mIoU [95 % CI]", "Non-zero weights", "λ̂", "s per cell", "Finished"]


def main_frame(scores: Scores) -> pd.DataFrame:
    """The numbers of the main table, one row for each dataset × model × penalty, in the order of the study.

    Columns: dataset, model, penalty, lambda (empty: none chosen), test_miou, low, high (in points, 0 to 100; nan where
    not defined), seeds (with a score), the secondary measures (0 to 1; nll in nats), exact_zeros (share of the
    penalised weights), nonzero_weights (of all layers, penalised or not), macs_nonzero (multiply-adds for one image
    with a weight that is not zero; both means), seconds (of training a cell, mean), finished, expected (cells), other
    ("1 diverged"), cells (their folders).
    """
    tests, timings = scores.final_test, scores.timings
    timings = timings[timings["phase"] == "final"]
    cells = scores.cells[scores.cells["phase"] == "final"]
    nonzero = _nonzero(scores)
    rows = [_row(group, *(_of(frame, group) for frame in (cells, tests, timings, nonzero))) for group in scores.groups]
    return pd.DataFrame(rows)


def caption(scores: Scores, frame: pd.DataFrame) -> str:
    """What the numbers of the main table are: unit of resampling, n, and where λ̂ comes from."""
    seeds, rule = scores.study["seeds"], scores.study["selection"]["rule"]
    n = len(seeds["evaluation"])
    spread = (
        f"mean over {n} evaluation seeds with a 95 % t-interval; the seed (a training run) is the unit of resampling,"
        " the test images are held fixed"
        if n > 1
        else "one evaluation seed, so no interval can be given"
    )
    text = (
        f"Test mIoU in points (0 to 100), {spread}. λ̂ was chosen on validation scores of "
        f"{len(seeds['tuning'])} tuning seed{'s' * (len(seeds['tuning']) != 1)} only (rule: {rule.replace('_', '-')}). "
        "Non-zero weights: of convolutions and linear layers, mean over seeds; in brackets the share of zeros among "
        "the penalised ones. s per cell: seconds of training, as measured."
    )
    holes = int((frame["expected"] - frame["finished"]).sum())
    return text + (f" {holes} of {int(frame['expected'].sum())} cells did not finish." if holes else "")


def displayed(row: Any) -> list[str]:
    """The cells of one row of `main_frame` as text, in the order of `HEADINGS`."""
    finished = f"{row.finished} of {row.expected}" + (f" ({row.other})" if row.other else "")
    return [
        row.model,
        row.penalty,
        interval(row.test_miou, row.low, row.high),
        weights(row.nonzero_weights, row.exact_zeros),
        row.lambda_ or "–",
        number(row.seconds, 1),
        finished,
    ]


def shown_rows(frame: pd.DataFrame) -> Iterable[list[str]]:
    """`displayed` for each row of ``frame``."""
    return map(displayed, frame.rename(columns={"lambda": "lambda_"}).itertuples(index=False))


def number(value: float, digits: int) -> str:
    """``value`` with ``digits`` decimals; a dash where it is nan."""
    return "–" if math.isnan(value) else f"{value:.{digits}f}"


def interval(mean: float, low: float, high: float) -> str:
    """A mean in points with its interval, as far as they are defined."""
    if math.isnan(low):
        return number(mean, 2)
    return f"{mean:.2f} [{low:.2f}, {high:.2f}]"


def weights(count: float, zeros: float) -> str:
    """How many weights are not zero, and the share of those that are: ``44.1 k (50.2 % zeros)``."""
    if math.isnan(count):
        return number(count, 0)
    factor, unit = next(((f, u) for f, u in ((1e6, " M"), (1e3, " k")) if count >= f), (1.0, ""))
    shown = number(count / factor, 1 if unit else 0) + unit
    return shown if math.isnan(zeros) else f"{shown} ({number(100 * zeros, 1)} % zeros)"


def write_tables(scores: Path, out: Path) -> None:
    """Write ``out/tables/`` from the folder ``scores`` alone.

    main.csv (numbers), main.md, main_table.tex (for ``\\input``; needs booktabs and longtable) and main.tex (a
    document around it).
    """
    loaded = Scores(scores)
    frame = main_frame(loaded)
    folder = out / "tables"
    write_text(folder / "main.csv", frame.to_csv(index=False, lineterminator="\n"))
    write_text(folder / "main.md", _markdown(loaded, frame))
    write_text(folder / "main_table.tex", _latex(loaded, frame))
    write_text(folder / "main.tex", _DOCUMENT)


def _of(frame: pd.DataFrame, group: tuple[str, str, str]) -> pd.DataFrame:
    return frame[(frame[GROUP] == list(group)).all(axis=1)]


def _nonzero(scores: Scores) -> pd.DataFrame:
    """The number of weights that are not zero, of each finished cell of the final."""
    layers = scores.layers[scores.layers["phase"] == "final"]
    counts = layers.assign(nonzero=layers["weights"] - layers["exact_zeros"])
    return counts.groupby([*GROUP, "lambda", "seed"], sort=False)["nonzero"].sum().reset_index()


def _row(
    group: tuple[str, str, str],
    cells: pd.DataFrame,
    tests: pd.DataFrame,
    timings: pd.DataFrame,
    nonzero: pd.DataFrame,
) -> dict[str, Any]:
    finished = cells[cells["status"] == "finished"]
    miou = stats.mean_interval(100 * tests["miou"])
    others = cells.loc[cells["status"] != "finished", "status"].value_counts()
    chosen = str(cells["lambda"].iloc[0]) if len(cells) else ""
    return {
        **dict(zip(GROUP, group, strict=True)),
        "lambda": chosen,
        **{"test_miou": miou.mean, "low": miou.low, "high": miou.high, "seeds": miou.n},
        **{name: tests[name].mean() for name in MEASURES},
        "exact_zeros": (finished["exact_zeros"] / finished["penalised"].where(finished["penalised"] > 0)).mean(),
        "nonzero_weights": nonzero["nonzero"].mean(),
        "macs_nonzero": finished["macs_nonzero"].mean(),
        "seconds": timings["seconds"].mean(),
        "finished": len(finished),
        "expected": len(cells),
        "other": ", ".join(f"{count} {status}" for status, count in sorted(others.items())),
        "cells": f"final/{'/'.join(group)}/seed*/lambda-{chosen}" if chosen else "",
    }


def _markdown(scores: Scores, frame: pd.DataFrame) -> str:
    parts = [f"# {_md(scores.study['title'] or scores.study['name'])}", _md(caption(scores, frame))]
    for dataset, rows in frame.groupby("dataset", sort=False):
        lines = [HEADINGS, ["---", "---", "---:", "---:", "---:", "---:", "---"]]
        lines += [[_md(text) for text in row] for row in shown_rows(rows)]
        parts.append(f"## {_md(str(dataset))}")
        parts.append("\n".join(f"| {' | '.join(line)} |" for line in lines))
        if note := scores.datasets.get(str(dataset), {}).get("note"):
            parts.append(_md(note))
    return "\n\n".join(parts) + "\n"


def _md(text: str) -> str:
    for character in "\\`*_|<":
        text = text.replace(character, "\\" + character)
    return text


_DOCUMENT = r"""\documentclass[9pt]{extarticle}
\usepackage[margin=1.5cm]{geometry}
\usepackage{booktabs,longtable}
\begin{document}
\input{main_table}
\end{document}
"""

_TEX = {
    **{character: "\\" + character for character in "&%$#_{}"},
    "\\": r"\textbackslash{}",
    "~": r"\textasciitilde{}",
    "^": r"\textasciicircum{}",
    "<": r"\textless{}",
    ">": r"\textgreater{}",
    "λ̂": r"$\hat\lambda$",
    "λ": r"$\lambda$",
    "–": "--",
    "−": "$-$",
    "±": r"$\pm$",
    "×": r"$\times$",
    "≤": r"$\leq$",
    "≥": r"$\geq$",
    "…": r"\ldots{}",
}


def _tex(text: str) -> str:
    text = text.replace("λ̂", "\0")
    return "".join(_TEX["λ̂"] if character == "\0" else _TEX.get(character, character) for character in text)


def _latex(scores: Scores, frame: pd.DataFrame) -> str:
    parts = ["% Needs the packages booktabs and longtable.", r"{\footnotesize\setlength{\tabcolsep}{4pt}"]
    heading = " & ".join(map(_tex, HEADINGS)) + r" \\"
    for dataset, rows in frame.groupby("dataset", sort=False):
        note = scores.datasets.get(str(dataset), {}).get("note", "")
        about = _tex(f"{dataset}. {caption(scores, rows)} {note}".strip())
        parts += [r"\begin{longtable}{@{}llrrrrl@{}}", rf"\caption{{{about}}}\\", r"\toprule", heading]
        parts += [r"\midrule", r"\endfirsthead", r"\toprule", heading, r"\midrule", r"\endhead"]
        parts += [r"\bottomrule", r"\endfoot"]
        parts += [" & ".join(map(_tex, row)) + r" \\" for row in shown_rows(rows)]
        parts.append(r"\end{longtable}")
    return "\n".join([*parts, "}"]) + "\n"
