"""Calibration errors, less those without a penalty: one figure a data set; beside it what no penalty has itself."""

from __future__ import annotations

import pandas as pd

from softreg.paper.figures import forest, layout
from softreg.paper.figures.layout import Figures
from softreg.paper.questions import estimates
from softreg.paper.questions.robustness import CALIBRATION, calibration
from softreg.paper.scores import Scores

TITLE = "Calibration of the networks' confidence, less that without a penalty"
_NAMES = {name: f"{label} ({unit})" for name, (label, unit) in CALIBRATION.items()}


def figures(scores: Scores) -> Figures:
    """One figure for each data set; of many models, several."""
    return forest.figures(scores, "reliability", TITLE, numbers, _texts, unit=False)


def numbers(scores: Scores, dataset: str) -> pd.DataFrame:
    """`forest.paired` of the expected calibration error (points) and the negative log likelihood (nats)."""
    measured = calibration(scores).rename(columns=_NAMES)
    mine = measured[measured["dataset"] == dataset].drop(columns="dataset")
    values = mine.melt(["model", "penalty", "seed"], var_name="quantity")
    return forest.paired(scores, values, {_NAMES["ece"]: 100.0})


def _texts(scores: Scores, dataset: str, rows: pd.DataFrame) -> tuple[str, str]:
    caption = (
        f"Expected calibration error (ECE: how far confidence is from accuracy, in points) and negative log likelihood "
        f"(NLL, in nats a pixel) on the test images of {scores.label(dataset)}, of each penalty at its λ̂ less that of "
        f"{layout.told_reference(scores, rows)} at the same seed (mean and {layout.t_told(rows['seeds'])}). Less is "
        "better. The values without a penalty are above each panel."
    )
    listed = "; ".join(
        f"{scores.label(row.model)}, {scores.label(row.penalty)} {row.quantity} {row.mean:+.3f}"
        for row in estimates.rows_of(rows)
    )
    return caption, f"Forest plots of differences in calibration to no penalty on {scores.label(dataset)}: {listed}."
