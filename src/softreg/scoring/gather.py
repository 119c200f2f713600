"""Gather a study's scores into one small folder, enough for every table and figure without a GPU or the data.

``scores/`` holds the score records, one row for each cell the study asks for (with its status), the example images,
and what was run on what. All but ``timings.csv`` and ``provenance.json``, which are measured, are the
same bytes for the same results.
"""

from __future__ import annotations

import dataclasses
import io
import json
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq
from PIL import Image

from softreg import __version__
from softreg.data.datasets import prepared_folder
from softreg.errors import UserError
from softreg.files import read_json, write_json, write_text
from softreg.scoring import complexity, metrics, records, select
from softreg.study import matrix
from softreg.study.config import Study

NOT_RUN = "not run"
"""Status, in ``cells.parquet``, of a cell that the study asks for and that has not ended."""

CELLS = pa.schema(
    [
        ("phase", pa.string()),
        ("dataset", pa.string()),
        ("model", pa.string()),
        ("penalty", pa.string()),
        ("lambda", pa.string()),
        ("seed", pa.int64()),
        ("fold", pa.int64()),
        ("status", pa.string()),
        ("reason", pa.string()),
        ("log_tail", pa.string()),
        ("key", pa.string()),
        ("steps", pa.int64()),
        ("parameters", pa.int64()),
        ("penalised", pa.int64()),
        ("exact_zeros", pa.int64()),
        ("near_zeros", pa.int64()),
        ("norm_l1", pa.float64()),
        ("norm_l2", pa.float64()),
        ("filters", pa.int64()),
        ("dead_filters", pa.int64()),
        ("penalty_value", pa.float64()),
        ("macs", pa.int64()),
        ("macs_nonzero", pa.int64()),
        ("effective_lr", pa.float64()),
        ("kappa", pa.float64()),
        ("weights_sha256", pa.string()),
    ]
)

LAYERS = pa.schema(
    [
        *(CELLS.field(name) for name in ("phase", "dataset", "model", "penalty", "lambda", "seed", "fold")),
        ("layer", pa.string()),
        ("penalised", pa.bool_()),
        ("normalised", pa.bool_()),
        ("filters", pa.int64()),
        ("dead_filters", pa.int64()),
        ("weights", pa.int64()),
        ("exact_zeros", pa.int64()),
        ("near_zeros", pa.int64()),
        ("norm_l1", pa.float64()),
        ("norm_l2", pa.float64()),
        ("penalty_value", pa.float64()),
        ("effective_lr", pa.float64()),
        ("macs", pa.int64()),
        ("macs_nonzero", pa.int64()),
    ]
)
"""One row for each layer of each finished cell; `softreg.training.diagnostics.layer_rows` says what the columns are."""

HISTORIES = pa.schema(
    [
        *(CELLS.field(name) for name in ("phase", "dataset", "model", "penalty", "lambda", "seed", "fold")),
        ("epoch", pa.int64()),
        ("step", pa.int64()),
        ("data_term", pa.float64()),
        ("penalty_value", pa.float64()),
        ("val_miou", pa.float64()),
        ("exact_zeros", pa.int64()),
        ("lr", pa.float64()),
    ]
)
"""One row for each epoch of each finished cell, as its ``history.csv`` has it."""

IMAGES = pa.schema(
    [
        ("dataset", pa.string()),
        ("split", pa.string()),
        ("image", pa.string()),
        ("boundary_density", pa.float64()),
        ("classes", pa.int64()),
    ]
)
"""How complex each image's true mask is; see `softreg.scoring.complexity`."""

EXAMPLES = pa.schema(
    [
        ("dataset", pa.string()),
        ("image", pa.string()),
        ("percentile", pa.int64()),
        ("image_png", pa.binary()),
        ("truth_png", pa.binary()),
    ]
)
"""The test images at three percentiles of the score without a penalty: shown, so never picked by hand."""

PERCENTILES = (10, 50, 90)


@dataclasses.dataclass(frozen=True)
class _Cell:
    path: matrix.TrainingPath
    lambda_: str
    folder: Path

    @property
    def names(self) -> dict[str, Any]:
        path = self.path
        fold = -1 if path.fold is None else path.fold
        group = {"phase": path.phase, "dataset": path.dataset, "model": path.model, "penalty": path.penalty}
        return {**group, "lambda": self.lambda_, "seed": path.seed, "fold": fold}


def gather(study: Study, results: Path, data: Path, partial: bool = False) -> Path:
    """Write ``results/<study>/scores/`` and return it; with ``partial``, ``results/<study>/partial/scores/``.

    ``results`` and ``data`` are the project's folders of these names. Partial takes what has ended so far;
    every other cell is listed as "not run".
    Raises `UserError` where something is missing and ``partial`` is false.
    """
    root = results / study.name
    scores = root / "partial" / "scores" if partial else root / "scores"
    selection = _selection(root / "selection.csv", partial)
    files = _record_files(study, root, selection)
    cells = list(_expected_cells(study, root, selection))
    prepared = {name: data / "prepared" / prepared_folder(study, name).name for name in study.datasets}
    if not partial:
        _demand(
            [file for group in files.values() for file in group]
            + [cell.folder / "cell.json" for cell in cells if cell.lambda_]
            + [folder / "dataset.json" for folder in prepared.values()]
        )
    tables = {}
    for name, group in files.items():
        schema = records.SUMS if name == "sums" else records.SCHEMA
        table = records.read([file for file in group if file.exists()], schema=schema)
        tables[name] = _current(table, name, selection)
    examples = _examples(study, tables["final-test"])
    tables["final-test"] = _shown(tables["final-test"], examples)
    for name, table in tables.items():
        records.write(table, scores / f"{name}.parquet", records.SUMS if name == "sums" else records.SCHEMA)
    _gather_cells(cells, scores, partial)
    _gather_datasets(prepared, scores, examples)
    write_json(scores / "study.json", study.to_dict())
    write_text(scores / "selection.csv", selection.to_csv(index=False, lineterminator="\n"))
    return scores


def unfinished(scores: Path) -> str:
    """A sentence on the cells that did not finish, with the first reason; empty where all did."""
    cells = pq.read_table(scores / "cells.parquet", columns=["status", "reason"]).to_pandas()
    others = cells[cells["status"] != "finished"]
    if others.empty:
        return ""
    counts = ", ".join(f"{count} {status}" for status, count in sorted(others["status"].value_counts().items()))
    reason = next((text for text in others["reason"] if text), "")
    return f"{len(others)} of {len(cells)} cells did not finish ({counts}): {reason or 'see the report'}"


def _selection(path: Path, partial: bool) -> pd.DataFrame:
    if path.exists():
        return select.read_selection(path)
    if partial:
        return pd.DataFrame(columns=select.COLUMNS)
    raise UserError(f"{path}: not there: select λ first, or ask for the partial report.")


def _record_files(study: Study, root: Path, selection: pd.DataFrame) -> dict[str, list[Path]]:
    """The records of each gathered file; final paths without a λ̂ have none."""
    chosen = _chosen(selection)
    sweep = [root / "sweep" / path.name for path in matrix.sweep_paths(study)]
    final = [root / "final" / path.name for path in matrix.final_paths(study) if _group(path) in chosen]
    return {
        "sweep-val": [folder / "val.parquet" for folder in sweep],
        "final-val": [folder / "val.parquet" for folder in final],
        "final-test": [folder / "test.parquet" for folder in final],
        "sums": [root.joinpath("sweep", *group) / "sums.parquet" for group in matrix.groups(study) if group in chosen]
        + [folder / "sums.parquet" for folder in final],
    }


def _current(table: pa.Table, name: str, selection: pd.DataFrame) -> pa.Table:
    """Without the final's records of a λ that is no longer chosen: in a partial run they await their successor."""
    if name == "sweep-val":
        return table
    chosen = _chosen(selection)
    columns = [table[key].to_pylist() for key in ("dataset", "model", "penalty", "lambda")]
    kept = pa.array([chosen.get((d, m, p)) == λ for d, m, p, λ in zip(*columns, strict=True)], pa.bool_())
    if "phase" in table.column_names:
        kept = pc.or_(kept, pc.equal(table["phase"], "sweep"))
    return table.filter(kept)


def _examples(study: Study, test: pa.Table) -> pd.DataFrame:
    """For each data set, the test images at `PERCENTILES` of the score without a penalty: dataset, image, percentile.

    The score is the image's own mIoU, a mean over models and seeds; where the study has no entry of kind none, over all
    penalties.
    """
    plain = [name for name, entry in study.penalties.items() if entry["kind"] == "none"] or list(study.penalties)
    rows = []
    for dataset in study.datasets:
        mine = test.filter(pc.and_(pc.equal(test["dataset"], dataset), pc.is_in(test["penalty"], pa.array(plain))))
        if not len(mine):
            continue
        scored = pd.DataFrame({"image": mine["image"].to_pylist(), "miou": _image_miou(mine)})
        ranked = scored.groupby("image")["miou"].mean().sort_values(kind="stable")
        places = [round(percentile / 100 * (len(ranked) - 1)) for percentile in PERCENTILES]
        rows += [(dataset, ranked.index[place], p) for place, p in zip(places, PERCENTILES, strict=True)]
    return pd.DataFrame(rows, columns=["dataset", "image", "percentile"]).drop_duplicates(["dataset", "image"])


def _image_miou(table: pa.Table) -> np.ndarray[Any, Any]:
    """The mIoU of each row on its own."""
    counts = (rows[:, None, :] for rows in records.counts(table))
    return metrics.miou(*counts)


def _shown(table: pa.Table, examples: pd.DataFrame) -> pa.Table:
    """``table`` with the predictions of the examples alone."""
    kept = set(examples[["dataset", "image"]].itertuples(index=False, name=None))
    places = zip(table["dataset"].to_pylist(), table["image"].to_pylist(), strict=True)
    mask = pa.array([place in kept for place in places], pa.bool_())
    pictures = pc.if_else(mask, table["prediction"].combine_chunks(), pa.scalar(None, pa.binary()))
    return table.set_column(table.column_names.index("prediction"), "prediction", pictures)


def _demand(files: list[Path]) -> None:
    """Before anything is written: all of ``files`` must be there."""
    missing = [file for file in files if not file.exists()]
    if missing:
        raise UserError(
            f"{missing[0]}: not there ({len(missing)} of {len(files)} files of the study are missing): "
            "finish the study first, or ask for the partial report."
        )


def _group(path: matrix.TrainingPath) -> tuple[str, str, str]:
    return path.dataset, path.model, path.penalty


def _chosen(selection: pd.DataFrame) -> dict[tuple[str, str, str], str]:
    """λ̂ by dataset, model and penalty; groups for which none could be chosen are left out."""
    keys = selection[select.GROUP].itertuples(index=False, name=None)
    return {(d, m, p): λ for (d, m, p), λ in zip(keys, selection["lambda"], strict=True) if λ}


def _expected_cells(study: Study, root: Path, selection: pd.DataFrame) -> Iterator[_Cell]:
    chosen = _chosen(selection)
    for path in matrix.sweep_paths(study):
        for value in study.penalties[path.penalty]["lambda"]:
            yield _Cell(path, value, root / "sweep" / path.name / f"lambda-{value}")
    for path in matrix.final_paths(study):
        value = chosen.get(_group(path), "")
        yield _Cell(path, value, root / "final" / path.name / f"lambda-{value}")


def _gather_cells(cells: list[_Cell], scores: Path, partial: bool) -> None:
    facts = [_facts(cell) for cell in cells]
    rows = [_flat(cell, fact) for cell, fact in zip(cells, facts, strict=True)]
    records.write_parquet(pa.Table.from_pylist(rows, schema=CELLS), scores / "cells.parquet")
    ended = [(cell, fact) for cell, fact in zip(cells, facts, strict=True) if fact]
    finished = [(cell, fact) for cell, fact in ended if fact["status"] == "finished"]
    records.write_parquet(_layers([cell for cell, _ in finished]), scores / "layers.parquet")
    records.write_parquet(_histories([cell for cell, _ in finished]), scores / "histories.parquet")
    timings = pd.DataFrame([_timing(cell, fact) for cell, fact in finished], columns=TIMINGS)
    write_text(scores / "timings.csv", timings.to_csv(index=False, lineterminator="\n"))
    provenance = _provenance([fact["provenance"] for _, fact in ended])
    write_json(scores / "provenance.json", {"softreg": __version__, "partial": partial, "cells": provenance})


def _facts(cell: _Cell) -> dict[str, Any] | None:
    path = cell.folder / "cell.json"
    try:
        facts: dict[str, Any] | None = read_json(path) if cell.lambda_ and path.exists() else None
    except json.JSONDecodeError as error:
        raise UserError(f"{path}: is not JSON ({error}); delete its folder and train it again.") from error
    return facts


def _flat(cell: _Cell, facts: dict[str, Any] | None) -> dict[str, Any]:
    if facts is None:
        reason = "" if cell.lambda_ else "no λ was chosen for it"
        return {**cell.names, "status": NOT_RUN, "reason": reason, "log_tail": ""}
    kept = {name: facts.get(name) for name in CELLS.names if name not in cell.names}
    return {**cell.names, **kept, "log_tail": "\n".join(facts["log_tail"])}


def _layers(cells: list[_Cell]) -> pa.Table:
    tables = [LAYERS.empty_table()]
    for cell in cells:
        rows = pd.read_csv(cell.folder / "layers.csv").assign(**cell.names)
        tables.append(pa.Table.from_pandas(rows[LAYERS.names], schema=LAYERS, preserve_index=False))
    return pa.concat_tables(tables)


def _histories(cells: list[_Cell]) -> pa.Table:
    tables = [HISTORIES.empty_table()]
    for cell in cells:
        history = cell.folder / "history.csv"
        if history.exists():
            rows = pd.read_csv(history).rename(columns={"penalty": "penalty_value"}).assign(**cell.names)
            rows = rows.reindex(columns=HISTORIES.names)
            tables.append(pa.Table.from_pandas(rows, schema=HISTORIES, preserve_index=False))
    return pa.concat_tables(tables)


TIMINGS = [*CELLS.names[:7], "seconds", "images_per_second", "peak_memory", "device", "commit", "time"]


def _timing(cell: _Cell, facts: dict[str, Any]) -> dict[str, Any]:
    rate = float("nan")
    history = cell.folder / "history.csv"
    if history.exists():
        rate = float(pd.read_csv(history)["images_per_second"].median())
    measured = {"seconds": facts["seconds"], "images_per_second": rate, "peak_memory": facts.get("peak_memory")}
    origin = {name: str(facts["provenance"].get(name, "")) for name in ("device", "commit", "time")}
    return {**cell.names, **measured, **origin}


def _provenance(cells: list[dict[str, Any]]) -> dict[str, dict[str, int]]:
    """For each item of provenance, its values and how many cells have each: the most frequent five.

    Of the times, which all differ, the first and the last.
    """
    seen: dict[str, Counter[str]] = {}
    for provenance in cells:
        for name, value in _leaves(provenance):
            seen.setdefault(name, Counter())[str(value)] += 1
    times = sorted(seen.pop("time", {}))
    ends = {"trained from": {times[0]: len(cells)}, "trained until": {times[-1]: len(cells)}} if times else {}
    return ends | {name: dict(values.most_common(5)) for name, values in sorted(seen.items())}


def _leaves(value: dict[str, Any], prefix: str = "") -> Iterator[tuple[str, Any]]:
    for name, inner in value.items():
        if isinstance(inner, dict):
            yield from _leaves(inner, f"{prefix}{name}.")
        else:
            yield prefix + name, inner


def _gather_datasets(prepared: dict[str, Path], scores: Path, examples: pd.DataFrame) -> None:
    about, pictures, images = {}, [], [IMAGES.empty_table()]
    for name, folder in prepared.items():
        if not (folder / "dataset.json").exists():
            continue
        facts = read_json(folder / "dataset.json")
        ids = facts.pop("ids")
        del facts["groups"]
        about[name] = facts | {"images": {split: len(names) for split, names in ids.items()}}
        for split in ("train", "test"):
            rows = complexity.of_masks(np.load(folder / split / "masks.npy", mmap_mode="r"), len(facts["classes"]))
            columns = {"dataset": [name] * len(rows), "split": [split] * len(rows), "image": ids[split]}
            images.append(pa.Table.from_pandas(rows.assign(**columns)[IMAGES.names], IMAGES, preserve_index=False))
        pictures += list(_pictures(name, folder / "test", ids["test"], examples))
    write_json(scores / "datasets.json", about)
    records.write_parquet(pa.concat_tables(images), scores / "images.parquet")
    records.write_parquet(pa.Table.from_pylist(pictures, schema=EXAMPLES), scores / "examples.parquet")


def _pictures(dataset: str, folder: Path, ids: list[str], examples: pd.DataFrame) -> Iterator[dict[str, Any]]:
    images = np.load(folder / "images.npy", mmap_mode="r")
    masks = np.load(folder / "masks.npy", mmap_mode="r")
    mine = examples[examples["dataset"] == dataset]
    for image, percentile in zip(mine["image"], mine["percentile"], strict=True):
        row = ids.index(image)
        pictures = {"image_png": _png(images[row]), "truth_png": _png(masks[row])}
        yield {"dataset": dataset, "image": image, "percentile": percentile, **pictures}


def _png(pixels: np.ndarray[Any, Any]) -> bytes:
    buffer = io.BytesIO()
    Image.fromarray(np.ascontiguousarray(pixels)).save(buffer, "PNG")
    return buffer.getvalue()
