"""Score records: the counts from which every number in a paper is computed.

They are sufficient statistics. Of each network on each image of test, TP, FP and FN per class: from these come all
intervals over images. Of each network on a whole split, sums: of these counts, of the pixels of the classes' rims, and
for likelihood and calibration. No times and no machine names are among them, so that the same study on the same machine
gives the same bytes.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq
from numpy.typing import NDArray

from softreg.files import reading, whole_file
from softreg.scoring import metrics

if TYPE_CHECKING:
    import pandas as pd

CELL = ("dataset", "model", "penalty", "lambda", "seed", "fold")
"""The columns that name a cell within a phase; ``fold`` is -1 where there are no folds."""

LAST_TEST = "test-last"
"""The split of sums on test of the last weights, beside those of their average, which is what is scored otherwise."""

LEVEL = 15
"""Of zstd: a twentieth smaller than by default, for files that are written once and published."""


def fields(kind: pa.DataType, *names: str) -> list[pa.Field]:
    """Columns ``names`` of one type."""
    return [pa.field(name, kind) for name in names]


_CELL = [*fields(pa.string(), *CELL[:4]), *fields(pa.int64(), *CELL[4:])]
PIXELS = ("tp", "fp", "fn")
"""The columns of counts of one image."""
_PIXELS = fields(pa.list_(pa.int64()), *PIXELS)
_COUNTS = [
    *_PIXELS,
    *fields(pa.list_(pa.int64()), "boundary_both", "boundary_either"),
    *fields(pa.float64(), "nll_sum"),
    *fields(pa.int64(), "pixels"),
    *fields(pa.list_(pa.int64()), "bin_count", "bin_correct"),
    *fields(pa.list_(pa.float64()), "bin_confidence"),
]
COUNTED = tuple(field.name for field in _COUNTS)
"""The columns that are counts or sums over pixels."""

SCHEMA = pa.schema([*_CELL, *fields(pa.string(), "split", "image"), *_PIXELS, *fields(pa.binary(), "prediction")])
"""Counts of one image of test, for one cell of the final."""

SCORED = [name for name in SCHEMA.names if name != "prediction"]
"""The columns that scoring reads: all but the pictures."""

PLACE = [*fields(pa.string(), "phase"), *_CELL]
"""The columns that name a cell."""

_CONDITION = [*PLACE, *fields(pa.string(), "split", "corruption"), *fields(pa.int64(), "severity")]
CONDITION = tuple(field.name for field in _CONDITION)
"""The columns that name a row of `SUMS`."""

SUMS = pa.schema([*_CONDITION, *fields(pa.int64(), "images"), *_COUNTS])
"""Counts summed over all images of a split, for one cell; ``corruption`` is empty where the images are as they are."""

#: The key of a file's metadata that holds what its records are made from.
_ORIGIN = b"softreg"
_UNSORTED = {*COUNTED, "images", "prediction"}
MEASURES: dict[str, tuple[Callable[..., metrics.Floats], tuple[str, ...]]] = {
    "miou": (metrics.miou, PIXELS),
    "miou_per_image": (metrics.miou_per_image, PIXELS),
    "dice": (metrics.dice, PIXELS),
    "boundary_iou": (metrics.boundary_iou, ("boundary_both", "boundary_either")),
    "pixel_accuracy": (metrics.pixel_accuracy, ("tp", "fn")),
    "ece": (metrics.ece, ("bin_count", "bin_correct", "bin_confidence")),
    "nll": (metrics.nll, ("nll_sum", "pixels")),
}
"""What is computed from which counts."""
_OF_IMAGES = [name for name, (_, columns) in MEASURES.items() if {*columns} <= {*PIXELS}]


def joined(tables: Iterable[pa.Table], schema: pa.Schema) -> pa.Table:
    """All rows of ``tables``; without one, the empty table of ``schema``."""
    return pa.concat_tables([schema.empty_table(), *tables])


def write(
    table: pa.Table, path: Path, schema: pa.Schema = SCHEMA, made_from: Mapping[str, object] | None = None
) -> None:
    """Write records, or with ``schema`` `SUMS` sums, to ``path``, rows sorted: the same rows give the same bytes.

    ``made_from``, JSON values, is kept in the file, for `origin`.
    Raises ``pa.ArrowInvalid`` or ``KeyError`` where ``table`` does not fit ``schema``.
    """
    order = [(name, "ascending") for name in schema.names if name not in _UNSORTED]
    table = table.select(schema.names).cast(schema).sort_by(order).combine_chunks()
    if made_from is not None:
        table = table.replace_schema_metadata({_ORIGIN: json.dumps(made_from, sort_keys=True)})
    write_parquet(table, path)


def origin(path: Path) -> dict[str, Any]:
    """What `write` was told that the records in ``path`` are made from; empty where there is no such file, or it says
    nothing of that.
    """
    try:
        told = pq.read_schema(path).metadata or {}
        made_from: dict[str, Any] = json.loads(told.get(_ORIGIN, b"{}"))
        return made_from
    except (OSError, ValueError):
        return {}


def write_parquet(table: pa.Table, path: Path) -> None:
    """Write any ``table``: whole or not at all, and packed as everything that is published."""
    with whole_file(path) as temporary:
        pq.write_table(table, temporary, compression="zstd", compression_level=LEVEL)


def read(paths: Iterable[Path], columns: Sequence[str] | None = None, schema: pa.Schema = SCHEMA) -> pa.Table:
    """The records (or, with ``schema`` `SUMS`, sums) in ``paths``, one after another; only ``columns`` where given.

    Raises `UserError` for a file that does not hold them.
    """
    names = list(columns or schema.names)
    schema = pa.schema([schema.field(name) for name in names])
    tables = [_read_one(path, names, schema) for path in paths]
    return pa.concat_tables(tables) if tables else schema.empty_table()


def counts(table: pa.Table) -> tuple[NDArray[np.int64], NDArray[np.int64], NDArray[np.int64]]:
    """TP, FP and FN, each (rows, C) int64, without a copy where the columns lie in one chunk.

    Raises ``ValueError`` where rows differ in their number of classes: pass the rows of one dataset.
    """
    return matrix(table, "tp"), matrix(table, "fp"), matrix(table, "fn")


def matrix(table: pa.Table, column: str) -> NDArray[np.int64]:
    """A list column as an array (rows, length), read-only, of the column's own type.

    Raises ``ValueError`` where the lists differ in length.
    """
    chunks = table.column(column)
    lists = chunks.chunk(0) if chunks.num_chunks == 1 else chunks.combine_chunks()
    lengths = pc.unique(pc.list_value_length(lists))
    if len(lengths) > 1:
        raise ValueError(f"the lists in column {column} differ in length: {sorted(lengths.to_pylist())}")
    values = lists.flatten().to_numpy(zero_copy_only=True)
    rows: NDArray[np.int64] = values.reshape(len(lists), -1) if len(lists) else values.reshape(0, 0)
    return rows


def to_cells(table: pa.Table, keys: Sequence[str] = CELL) -> pd.DataFrame:
    """One row for each value of ``keys``, sorted, with its measures over all images of ``table``, which is of `SCHEMA`.

    Columns: ``keys``, those of `MEASURES` that are of `PIXELS`, images (their number).
    Without ``fold`` among the keys, the counts of all folds are summed before a ratio is taken.
    """
    return _measured(table, keys, [*_OF_IMAGES, "images"])


def of_sums(table: pa.Table, keys: Sequence[str] = CONDITION) -> pd.DataFrame:
    """One row for each value of ``keys``, sorted, with its measures, of ``table``, which is of `SUMS`.

    Columns: ``keys``, `MEASURES` but miou_per_image, which needs single images, images (their number).
    Counts are summed before a ratio is taken, as by `to_cells`.
    """
    return _measured(table, keys, [*(name for name in MEASURES if name != "miou_per_image"), "images"])


def _read_one(path: Path, names: list[str], schema: pa.Schema) -> pa.Table:
    with reading(path, "score records"):
        return pq.read_table(path, columns=names, partitioning=None).select(names).cast(schema)


def _measured(table: pa.Table, keys: Sequence[str], measures: Sequence[str]) -> pd.DataFrame:
    """``measures`` of the rows of each value of ``keys``: by data set, as these differ in their number of classes."""
    import pandas as pd

    frames = [
        _of_one_dataset(table.filter(pc.equal(table["dataset"], name)), list(keys), measures)
        for name in sorted(pc.unique(table["dataset"]).to_pylist())
    ]
    return pd.concat(frames, ignore_index=True) if frames else pd.DataFrame(columns=[*keys, *measures])


def _of_one_dataset(table: pa.Table, keys: list[str], measures: Sequence[str]) -> pd.DataFrame:
    import pandas as pd

    names = table.select(keys).to_pandas()
    group = names.groupby(keys).ngroup().to_numpy()
    order = np.argsort(group, kind="stable")
    starts = np.flatnonzero(np.diff(group[order], prepend=-1))
    arrays = {column: _column(table, column)[order] for column in (*COUNTED, "images") if column in table.column_names}
    rows = [
        _measures({name: array[first:last] for name, array in arrays.items()}, measures)
        for first, last in zip(starts, [*starts[1:], len(order)], strict=True)
    ]
    named: pd.DataFrame = names.iloc[order[starts]].reset_index(drop=True)
    return pd.concat([named, pd.DataFrame(rows, columns=list(measures))], axis=1)


def _column(table: pa.Table, name: str) -> NDArray[np.int64]:
    if pa.types.is_list(SUMS.field(name).type):
        return matrix(table, name)
    values: NDArray[np.int64] = table[name].to_numpy()
    return values


def _measures(of: dict[str, NDArray[np.int64]], names: Sequence[str]) -> dict[str, float]:
    wanted = {name: MEASURES[name] for name in names if name != "images"}
    found = {name: float(measure(*(of[each] for each in columns))) for name, (measure, columns) in wanted.items()}
    return found | {"images": int(of["images"].sum()) if "images" in of else len(of["tp"])}
