"""The tables of results: what each row shows, and by which number it is sorted."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import pandas as pd

from softreg.paper import tables
from softreg.scoring.select import GROUP

Row = dict[Any, Any]


@dataclass(frozen=True)
class Column:
    """A column: its heading, the text of a row of `tables.main_frame`, and the number that it is sorted by."""

    heading: str
    text: Callable[[Row], str]
    number: Callable[[Row], float]


def _measured(heading: str, name: str, factor: float, digits: int) -> Column:
    def value(row: Row) -> float:
        return float(factor * row[name])

    return Column(heading, lambda row: tables.number(value(row), digits), value)


MAIN = [
    Column(
        "Test mIoU [95 % CI]",
        lambda row: tables.interval(row["test_miou"], row["low"], row["high"]),
        lambda row: row["test_miou"],
    ),
    Column("First in", lambda row: tables.share(row["first"]), lambda row: row["first"]),
    Column(
        "Non-zero weights",
        lambda row: tables.weights(row["nonzero_weights"], row["exact_zeros"]),
        lambda row: row["nonzero_weights"],
    ),
    Column("λ̂", lambda row: row["lambda"] or "–", lambda row: float(row["lambda"] or "nan")),
    _measured("s per cell", "seconds", 1, 1),
    Column(
        "Finished",
        lambda row: f"{row['finished']} of {row['expected']}" + (f" ({row['other']})" if row["other"] else ""),
        lambda row: row["finished"],
    ),
]
SECONDARY = [
    _measured("mIoU per image", "miou_per_image", 100, 2),
    _measured("Dice", "dice", 100, 2),
    _measured("Boundary IoU", "boundary_iou", 100, 2),
    _measured("Pixel accuracy", "pixel_accuracy", 100, 2),
    _measured("ECE", "ece", 100, 2),
    _measured("NLL (nats)", "nll", 1, 3),
]


def rows(frame: pd.DataFrame, columns: list[Column]) -> list[dict[str, Any]]:
    """The rows of ``frame`` for the page: names and labels of the group, (text, sort key) for each column, and best."""
    return [
        {
            "group": [row[key] for key in GROUP],
            "labels": [row[f"{key}_label"] for key in GROUP],
            "best": row["best"],
            "cells": [(column.text(row), _key(column, row)) for column in columns],
        }
        for row in frame.to_dict("records")
    ]


def _key(column: Column, row: Row) -> str:
    """The number to sort by, as the page's script reads it: empty where there is none."""
    value = column.number(row)
    return "" if math.isnan(value) else f"{value:.9g}"
