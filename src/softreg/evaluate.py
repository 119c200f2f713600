"""Evaluation: the stored weights of a path's cells on one split, at full image size, into score records."""

from __future__ import annotations

import io
from collections.abc import Sequence
from dataclasses import fields
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import torch
from PIL import Image
from safetensors.torch import load_file

from softreg import records
from softreg.cells import Cell
from softreg.config import Study
from softreg.device import open_device
from softreg.imageset import Batches, ImageSet, open_split, open_training
from softreg.matrix import TrainingPath
from softreg.models.segmenter import Segmenter
from softreg.network import build_network, sized_by_strength
from softreg.scoring import Sums, count, predict

_PER_IMAGE = {
    "tp": "tp",
    "fp": "fp",
    "fn": "fn",
    "nll_sum": "nll",
    "pixels": "pixels",
    "bin_count": "bin_count",
    "bin_correct": "bin_correct",
    "bin_confidence": "bin_confidence",
}


def evaluate_cells(
    study: Study, path: TrainingPath, cells: Sequence[Cell], split: str, data: Path, classes: int
) -> pa.Table:
    """The score records of the finished ones among ``cells`` on ``split``; none where none has finished."""
    device = open_device(study.resources["gpu"], study.resources["threads"])
    images = _images(study, path, split, data)
    batches = Batches(images, device)
    shown = records.example_indices(len(images)) if (path.phase, split) == ("final", "test") else []
    tables = [records.empty()]
    model = None
    for cell in cells:
        if model is None or sized_by_strength(study, path):
            model = build_network(study, path, classes, float(cell.lambda_), pretrained=False).to(device)
        model.load_state_dict(load_file(cell.folder / "weights.safetensors"))
        sums, pictures = score(model, batches, study.evaluation["batch_size"], shown)
        tables.append(_records(path, cell, split, images.ids, sums, pictures))
    return pa.concat_tables(tables)


def score(model: Segmenter, batches: Batches, batch_size: int, shown: Sequence[int]) -> tuple[Sums, dict[int, bytes]]:
    """The sums of all images of a set, and the predictions for those ``shown``, as PNG of class indices."""
    parts: list[Sums] = []
    pictures: dict[int, bytes] = {}
    first = 0
    for logits, masks in predict(model, batches, batch_size):
        parts.append(count(logits, masks))
        for index in shown:
            if first <= index < first + len(logits):
                pictures[index] = png(logits[index - first].argmax(dim=0).to(torch.uint8).cpu().numpy())
        first += len(logits)
    return Sums(*(torch.cat([getattr(part, field.name) for part in parts]) for field in fields(Sums))), pictures


def _images(study: Study, path: TrainingPath, split: str, data: Path) -> ImageSet:
    if path.fold is None:
        return open_split(data, split)
    return open_training(data, path.fold, study.selection)[1]


def _records(
    path: TrainingPath, cell: Cell, split: str, ids: Sequence[str], sums: Sums, pictures: dict[int, bytes]
) -> pa.Table:
    count = len(ids)
    same = {
        "dataset": path.dataset,
        "model": path.model,
        "penalty": path.penalty,
        "lambda": cell.lambda_,
        "seed": path.seed,
        "fold": -1 if path.fold is None else path.fold,
        "split": split,
    }
    columns: dict[str, Any] = {name: [value] * count for name, value in same.items()}
    columns["image"] = list(ids)
    columns.update({name: list(getattr(sums, source).numpy()) for name, source in _PER_IMAGE.items()})
    columns["prediction"] = [pictures.get(index) for index in range(count)]
    return pa.table(columns, schema=records.SCHEMA)


def png(array: np.ndarray) -> bytes:
    """An image (H, W) or (H, W, 3), uint8, as PNG."""
    buffer = io.BytesIO()
    Image.fromarray(array).save(buffer, format="png", optimize=True)
    return buffer.getvalue()
