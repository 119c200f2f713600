"""Test mIoU on corrupted images, less that without a penalty: one figure a data set, a panel a corruption."""

from __future__ import annotations

import pandas as pd

from softreg.paper.figures import forest, layout
from softreg.paper.figures.layout import Figures
from softreg.paper.questions.robustness import ALL, NO_CORRUPTION, by_corruption, conditions
from softreg.paper.scores import Scores

TITLE = "Test mIoU on corrupted images, less that without a penalty"


def figures(scores: Scores) -> Figures:
    """One figure for each data set; of many models, several."""
    if conditions(scores).empty:
        return [("robustness", TITLE, NO_CORRUPTION)]
    return forest.figures(scores, "robustness", TITLE, numbers, _texts, rope=True)


def numbers(scores: Scores, dataset: str) -> pd.DataFrame:
    """`forest.paired` of mIoU (points), a mean over severities, for each corruption and for all of them."""
    tested = conditions(scores)
    mine = tested[tested["dataset"] == dataset]
    values = by_corruption(mine)
    if mine["corruption"].nunique() == 1:
        values = values[values["corruption"] != ALL]
    values = values.drop(columns=["dataset", "drop"]).rename(columns={"miou": "value", "corruption": "quantity"})
    return forest.paired(scores, values, dict.fromkeys(values["quantity"], 100.0))


def _texts(scores: Scores, dataset: str, rows: pd.DataFrame) -> tuple[str, str]:
    caption = (
        f"Test mIoU on corrupted images of {scores.label(dataset)} (a mean over the severities; {ALL}: over the "
        f"corruptions too) of each penalty at its λ̂ less that of {layout.told_reference(scores, rows)} at the same "
        f"seed, in points (mean and {layout.t_told(rows['seeds'])}). The mIoU without a penalty stands above each "
        f"panel. Grey: the region of practical equivalence, ±{scores.rope:g} points."
    )
    means = rows.groupby(["model", "penalty"], sort=False)["mean"].agg(["min", "max"]).reset_index()
    listed = "; ".join(f"{scores.label(m)}, {scores.label(p)} {a:+.2f} to {b:+.2f}" for m, p, a, b in means.to_numpy())
    return caption, (
        f"Forest plots of differences in test mIoU to no penalty under corruption on {scores.label(dataset)}, in "
        f"points. Least and greatest over corruptions: {listed}."
    )
