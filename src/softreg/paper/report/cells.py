"""What the page's dialog shows of each cell: compact, as JSON values.

A table is a block of columns. A column of numbers is a list, null where undefined; a column of text has its ``values``
and, for each row, the ``codes`` that are places in them.
"""

from __future__ import annotations

import base64
import io
import math
from collections.abc import Iterable
from typing import Any

import numpy as np
import pandas as pd
from PIL import Image

from softreg.paper.report.about import plain, training
from softreg.paper.scores import Scores
from softreg.scoring.select import GROUP
from softreg.study.config import Study
from softreg.study.lambdas import rates_of

KEYS = ["phase", *GROUP, "lambda", "seed", "fold"]
_TEXT = ["phase", *GROUP, "lambda", "lr", "status", "reason", "log_tail", "key", "device", "commit", "time"]
_COUNTS = ["seed", "fold", "steps", "parameters", "penalised", "exact_zeros", "filters", "dead_filters", "peak_memory"]
_NUMBERS = ["kappa", "norm_l2", "effective_lr", "seconds", "images_per_second", "test_miou"]
_LARGEST = (160, 160)
"""Pixels of a picture in the dialog at most: a page of 400 cells holds hundreds of them."""


def embedded(scores: Scores) -> dict[str, Any]:
    """All that the dialog shows; each part is described where it is made."""
    cells = _measured(scores)
    places = {key: at for at, key in enumerate(cells[KEYS].itertuples(index=False, name=None))}
    return {
        "cells": table(cells[[*_TEXT, *_COUNTS, *_NUMBERS]], _TEXT),
        "histories": _histories(scores, places),
        "examples": _examples(scores),
        "predictions": _predictions(scores, places),
        "options": _options(scores),
    }


def table(frame: pd.DataFrame, text: Iterable[str]) -> dict[str, Any]:
    """``frame`` by column; the columns ``text`` hold strings, where a missing one is empty."""
    columns: dict[str, Any] = {}
    for name in frame.columns:
        if name in text:
            codes, values = pd.factorize(frame[name].fillna("").astype(str))
            columns[name] = {"values": list(values), "codes": codes.tolist()}
        else:
            columns[name] = rounded(frame[name])
    return columns


def rounded(values: Iterable[float]) -> list[float | int | None]:
    """``values`` with five significant digits, whole numbers as they are; None where not finite."""
    return [_rounded(float(value)) for value in values]


def _rounded(value: float) -> float | int | None:
    if not math.isfinite(value):
        return None
    return int(value) if value.is_integer() else float(f"{value:.5g}")


def _measured(scores: Scores) -> pd.DataFrame:
    """The study's cells in their order, with what was measured of each and its test mIoU, in points."""
    sums = scores.sums
    tests = sums[(sums["split"] == "test") & (sums["corruption"] == "")]
    tests = tests[KEYS].assign(test_miou=100 * tests["miou"])
    timings = scores.timings.astype(dict.fromkeys(("device", "commit", "time"), str))
    # Cells whose λ is not known yet are alike.
    merged = scores.cells.merge(timings, on=KEYS, how="left", validate="m:1")
    merged = merged.merge(scores.selection[[*GROUP, "lr"]], on=GROUP, how="left", validate="m:1")
    return merged.merge(tests, on=KEYS, how="left", validate="m:1")


def _histories(scores: Scores, places: dict[tuple[Any, ...], int]) -> dict[int, list[Any]]:
    """For each cell (its place in the table) its epochs, data terms, and validation mIoU in points."""
    return {
        places[key]: [part["epoch"].tolist(), rounded(part["data_term"]), rounded(100 * part["val_miou"])]
        for key, part in scores.histories.groupby(KEYS, sort=False)
    }


def _examples(scores: Scores) -> dict[str, list[dict[str, Any]]]:
    """For each data set its example images and their truth, as base64 of PNG."""
    found: dict[str, list[dict[str, Any]]] = {}
    for row in scores.examples.to_pylist():
        about = scores.datasets[row["dataset"]]
        picture = Image.open(io.BytesIO(row["image_png"])).convert("RGB")
        picture.thumbnail(_LARGEST, Image.Resampling.LANCZOS)
        truth = _coloured(row["truth_png"], about["palette"])
        named = {"image": row["image"], "percentile": row["percentile"]}
        found.setdefault(row["dataset"], []).append(named | {"picture": _base64(picture), "truth": truth})
    return found


def _predictions(scores: Scores, places: dict[tuple[Any, ...], int]) -> dict[int, dict[str, str]]:
    """For each final cell, by image, what it predicts of the examples, as base64 of PNG."""
    found: dict[int, dict[str, str]] = {}
    for row in scores.predictions().to_dict("records"):
        of_cell = found.setdefault(places["final", *(row[name] for name in KEYS[1:])], {})
        of_cell[row["image"]] = _coloured(row["prediction"], scores.datasets[row["dataset"]]["palette"])
    return found


def _coloured(png: bytes, palette: list[list[int]]) -> str:
    """A mask of class indices as a picture in the palette's colours, ignored pixels grey."""
    picture = Image.fromarray(np.asarray(Image.open(io.BytesIO(png))))
    picture.thumbnail(_LARGEST, Image.Resampling.NEAREST)
    colours = np.full((256, 3), 200, np.uint8)
    colours[: len(palette)] = palette
    picture.putpalette(colours.tobytes())
    return _base64(picture)


def _base64(picture: Image.Image) -> str:
    buffer = io.BytesIO()
    picture.save(buffer, "PNG", optimize=True)
    return base64.b64encode(buffer.getvalue()).decode("ascii")


def _options(scores: Scores) -> dict[str, Any]:
    """What the study says of each entry, in words, and how each pair of model and penalty is trained.

    ``trained`` are the different lists of options, ``training`` the place of each pair's among them.
    """
    # A study's training of one pair is resolved in one place; the file's own place plays no part in it.
    study = Study(file=scores.folder / "study.json", **scores.study)
    trained: list[list[tuple[str, str]]] = []
    places: dict[str, dict[str, int]] = {}
    for model, penalty in sorted({(model, penalty) for _, model, penalty in scores.groups}):
        # Where λ and the learning rate are chosen together, each cell tells its own.
        left_out = {"lr"} if rates_of(study.penalties[penalty]) else set()
        given = study.training_of(model, penalty)
        options = training({name: value for name, value in given.items() if name not in left_out})
        trained += [options] if options not in trained else []
        places.setdefault(model, {})[penalty] = trained.index(options)
    entries = {
        section: {name: plain(entry) for name, entry in scores.study[section].items()}
        for section in ("datasets", "models", "penalties")
    }
    return entries | {"trained": trained, "training": places}
