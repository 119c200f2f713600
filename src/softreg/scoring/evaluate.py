"""Evaluation: the stored weights of a path's cells, at full image size, into score records and sums."""

from __future__ import annotations

import io
from collections.abc import Sequence
from itertools import product
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import torch
from PIL import Image
from safetensors.torch import load_file
from torch import Tensor

from softreg.errors import UserError
from softreg.files import sha256_file
from softreg.networks.cell_network import build_network, sized_by_strength
from softreg.networks.segmenter import LAST, Segmenter
from softreg.scoring import records
from softreg.scoring.boundary import boundary_sums
from softreg.scoring.corruptions import Corrupted
from softreg.study.cells import Cell
from softreg.study.config import Study
from softreg.study.matrix import TrainingPath
from softreg.training.device import open_device
from softreg.training.imageset import Batches, open_split, open_training
from softreg.training.validation import Sums, count, predict


class Evaluator:
    """Scores the cells of one path, each with one network that is built once; ``data`` is the prepared folder."""

    def __init__(self, study: Study, path: TrainingPath, data: Path, classes: int) -> None:
        self.study, self.path, self.data, self.classes = study, path, data, classes
        self.device = open_device(study.resources["gpu"], study.resources["threads"])
        self.model: Segmenter | None = None

    def validation(self, cells: Sequence[Cell]) -> pa.Table:
        """Sums of ``cells`` on the images that validate them: a split, or the path's fold."""
        images = Batches(open_training(self.data, self.path.fold, self.study.selection)[1], self.device)
        return records.joined([self._sums(cell, "val", self._scored(cell, images)) for cell in cells], records.SUMS)

    def final(self, cells: Sequence[Cell]) -> list[pa.Table]:
        """Records on test, with the predictions, and sums on train, test and corrupted test images."""
        schemas = (records.SCHEMA, records.SUMS)
        tables = zip(*map(self._final, cells), strict=True) if cells else ([], [])
        return [records.joined(parts, schema) for parts, schema in zip(tables, schemas, strict=True)]

    def _final(self, cell: Cell) -> tuple[pa.Table, pa.Table]:
        images, options = self._images("test"), self.study.evaluation
        scored = self._scored(cell, images, pictures=True)
        rows = [self._sums(cell, "train", self._scored(cell, self._images("train"))), self._sums(cell, "test", scored)]
        for kind, severity in product(options["corruptions"], options["severities"]):
            corrupted = self._scored(cell, Corrupted(images, kind, severity))
            rows.append(self._sums(cell, "test", corrupted, kind, severity))
        if self.study.training_of(self.path.model, self.path.penalty)["average"] is not None:
            rows.append(self._sums(cell, records.LAST_TEST, self._scored(cell, images, last=True)))
        return self._records(cell, list(images.source.ids), scored), records.joined(rows, records.SUMS)

    def revealed(self, cells: Sequence[Cell]) -> pa.Table:
        """Sums of ``cells`` of the sweep on test: for what is told once λ̂ has been selected."""
        images = self._images("test")
        return records.joined([self._sums(cell, "test", self._scored(cell, images)) for cell in cells], records.SUMS)

    def _images(self, split: str) -> Batches:
        return Batches(open_split(self.data, split), self.device)

    def _scored(self, cell: Cell, batches: Batches, pictures: bool = False, last: bool = False) -> Scored:
        return score(self._network(cell, last), batches, self.study.evaluation["batch_size"], pictures)

    def _records(self, cell: Cell, ids: list[str], scored: Scored) -> pa.Table:
        """The records of a cell on the images ``ids`` of test."""
        counted, shown = scored
        columns: dict[str, Any] = {name: [value] * len(ids) for name, value in self._place(cell, "test").items()}
        columns |= {"image": ids, "prediction": shown, **{name: list(counted[name]) for name in records.PIXELS}}
        return pa.table({name: columns[name] for name in records.SCHEMA.names}, schema=records.SCHEMA)

    def _place(self, cell: Cell, split: str) -> dict[str, Any]:
        """What names the rows of a cell on a split."""
        path = self.path
        group = {"phase": path.phase, "dataset": path.dataset, "model": path.model, "penalty": path.penalty}
        fold = -1 if path.fold is None else path.fold
        return {**group, "lambda": cell.lambda_, "seed": path.seed, "fold": fold, "split": split}

    def _network(self, cell: Cell, last: bool) -> Segmenter:
        """The network of a cell; with ``last``, one whose weights are an average has those of its last step instead."""
        if self.model is None or sized_by_strength(self.study, self.path):
            strength = cell.strength
            self.model = build_network(self.study, self.path, self.classes, strength, pretrained=False).to(self.device)
        weights = cell.folder / "weights.safetensors"
        record = cell.record()
        if record is None or sha256_file(weights) != record["weights_sha256"]:
            raise UserError(
                f"{weights} is not the file that its cell.json tells of; delete {cell.folder} and run the same again"
            )
        state = load_file(weights)
        after = {name.removeprefix(LAST): state.pop(name) for name in list(state) if name.startswith(LAST)}
        self.model.load_state_dict(after if last else state)
        return self.model

    def _sums(self, cell: Cell, split: str, scored: Scored, corruption: str = "", severity: int = 0) -> pa.Table:
        counted, shown = scored
        row = self._place(cell, split) | {"corruption": corruption, "severity": severity, "images": len(shown)}
        row |= {name: counted[name].sum(0).tolist() for name in records.COUNTED}
        return pa.Table.from_pylist([row], schema=records.SUMS)


Scored = tuple[dict[str, np.ndarray], list[bytes | None]]


def score(model: Segmenter, batches: Batches, batch_size: int, pictures: bool = False) -> Scored:
    """The columns `records.COUNTED` of all images of a set, each (n, …), and the predictions as PNG of class indices.

    Predictions are None where no ``pictures`` are asked for.
    """
    parts: list[Sums] = []
    rims: list[tuple[Tensor, Tensor]] = []
    shown: list[bytes | None] = []
    for logits, masks in predict(model, batches, batch_size):
        parts.append(count(logits, masks))
        classes = logits.argmax(dim=1).to(torch.uint8)
        rims.append(boundary_sums(classes, masks, logits.shape[1]))
        shown += [png(image) if pictures else None for image in classes.cpu().numpy()]
    counted = {name: torch.cat([part[name] for part in parts]).numpy() for name in parts[0]}
    both, either = (torch.cat(side).cpu().numpy() for side in zip(*rims, strict=True))
    return counted | {"boundary_both": both, "boundary_either": either}, shown


def png(array: np.ndarray) -> bytes:
    """An image (H, W) or (H, W, 3), uint8, as PNG."""
    buffer = io.BytesIO()
    Image.fromarray(array).save(buffer, format="png", optimize=True)
    return buffer.getvalue()
