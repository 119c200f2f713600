"""The folder ``scores/`` that `softreg.gather` writes, in memory: all that tables, figures and report read."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq

from softreg import matrix, records, select
from softreg.errors import UserError
from softreg.files import read_json


@dataclass(frozen=True)
class Scores:
    """A study's gathered scores, each part read when first asked for."""

    folder: Path

    def __post_init__(self) -> None:
        if not (self.folder / "study.json").exists():
            raise UserError(f"{self.folder}: holds no study.json: gather the study's scores first.")
        if not (self.folder / "layers.parquet").exists():
            raise UserError(
                f"{self.folder}: holds no layers.parquet, as an earlier version gathered it; gather the scores again."
            )

    @cached_property
    def study(self) -> dict[str, Any]:
        """The study as validated, every default filled in."""
        value: dict[str, Any] = read_json(self.folder / "study.json")
        return value

    @cached_property
    def datasets(self) -> dict[str, dict[str, Any]]:
        """What is known of each data set, by its name in the study."""
        value: dict[str, dict[str, Any]] = read_json(self.folder / "datasets.json")
        return value

    @cached_property
    def provenance(self) -> dict[str, Any]:
        """``softreg`` (version), ``partial``, and ``cells``: value → number of cells, for each item."""
        value: dict[str, Any] = read_json(self.folder / "provenance.json")
        return value

    @cached_property
    def selection(self) -> pd.DataFrame:
        """λ̂ by dataset, model and penalty; the columns of `softreg.select.select`."""
        return select.read_selection(self.folder / "selection.csv")

    @cached_property
    def cells(self) -> pd.DataFrame:
        """One row for each cell the study asks for, with its status; columns of `softreg.gather.CELLS`."""
        frame: pd.DataFrame = pq.read_table(self.folder / "cells.parquet").to_pandas()
        return frame

    @cached_property
    def layers(self) -> pd.DataFrame:
        """One row for each layer of each finished cell; columns of `softreg.gather.LAYERS`."""
        frame: pd.DataFrame = pq.read_table(self.folder / "layers.parquet").to_pandas()
        return frame

    @cached_property
    def timings(self) -> pd.DataFrame:
        """Measured seconds and images a second of each finished cell."""
        return pd.read_csv(self.folder / "timings.csv", dtype={"lambda": str}, keep_default_na=False)

    @cached_property
    def curves(self) -> pd.DataFrame:
        """Mean validation mIoU by λ over the tuning seeds, and what the penalty did to the weights.

        The columns of `softreg.select.curve`, and as means over the sweep's finished cells: zeros, near_zeros and
        dead_filters (shares of the penalised weights and filters), kappa (λΣη), effective_lr (nan where no layer is
        normalised) and macs_nonzero (share of the network's multiply-adds).
        """
        table = records.read([self.folder / "sweep-val.parquet"], columns=select.SCORED)
        curves = select.curve(table, select.folds_of(self.study["selection"]))
        return curves.merge(self._effects(), on=[*select.GROUP, "lambda"], how="left")

    def _effects(self) -> pd.DataFrame:
        cells = self.cells[(self.cells["phase"] == "sweep") & (self.cells["status"] == "finished")]
        effects = cells.assign(
            zeros=cells["exact_zeros"] / cells["penalised"],
            near_zeros=cells["near_zeros"] / cells["penalised"],
            dead_filters=cells["dead_filters"] / cells["filters"],
            macs_nonzero=cells["macs_nonzero"] / cells["macs"],
        )
        columns = ["zeros", "near_zeros", "dead_filters", "kappa", "effective_lr", "macs_nonzero"]
        return effects.groupby([*select.GROUP, "lambda"], sort=False)[columns].mean().reset_index()

    @cached_property
    def sweep_seeds(self) -> pd.DataFrame:
        """Validation measures of each tuning seed at each λ over all its folds; the columns of `records.to_cells`."""
        table = records.read([self.folder / "sweep-val.parquet"], columns=select.SCORED)
        return records.to_cells(table, [*select.GROUP, "lambda", "seed"])

    @cached_property
    def final_test(self) -> pd.DataFrame:
        """Test measures of each final cell; the columns of `softreg.records.to_cells`."""
        return records.to_cells(records.read([self.folder / "final-test.parquet"], columns=select.SCORED))

    @cached_property
    def examples(self) -> pa.Table:
        """The example images and their truth, as PNG."""
        return pq.read_table(self.folder / "examples.parquet")

    def predictions(self) -> pd.DataFrame:
        """The stored predictions of the final cells: records.CELL, image, prediction (PNG)."""
        columns = [*records.CELL, "image", "prediction"]
        table = records.read([self.folder / "final-test.parquet"], columns=columns)
        frame: pd.DataFrame = table.filter(table["prediction"].is_valid()).to_pandas()
        return frame

    @property
    def groups(self) -> list[tuple[str, str, str]]:
        """Each (dataset, model, penalty) of the study, in the order of its file."""
        return matrix.groups_of(self.study)

    def reference_of(self, penalty: str) -> str | None:
        """The unpenalised entry that is trained by the same update rule as ``penalty``, if the study has one."""
        entries = self.study["penalties"]
        rule = entries[penalty]["training"]
        return next(
            (name for name, each in entries.items() if each["kind"] == "none" and each["training"] == rule), None
        )

    @property
    def reference(self) -> str | None:
        """The study's unpenalised entry: the first penalty of kind ``none``, if it has one."""
        return next((name for name, entry in self.study["penalties"].items() if entry["kind"] == "none"), None)
