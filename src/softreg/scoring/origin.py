"""Which networks score records were made from, and by what: written with them, and held against what there is now."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

import pyarrow as pa

from softreg.scoring import records
from softreg.study.cells import Cell

Origin = dict[str, Any]
"""``scoring``, the key of how networks were scored, and ``networks``: each one's key and the digest of its weights, by
its folder's last two names."""


def origin_of(cells: Iterable[tuple[Cell, dict[str, Any] | None]], scoring: str) -> Origin:
    """What records of these cells, each with its record, are made from: those that have finished."""
    return {
        "scoring": scoring,
        "networks": {
            name_of(cell): [cell.key, record["weights_sha256"]]
            for cell, record in cells
            if record is not None and record["status"] == "finished"
        },
    }


def name_of(cell: Cell) -> str:
    """What an `Origin` calls a cell's network, unique within its group and phase."""
    return "/".join(cell.folder.parts[-2:])


def current(file: Path, wanted: Origin) -> bool:
    """Whether the records in ``file`` are those of all ``wanted`` networks and of no other."""
    return file.is_file() and records.origin(file) == wanted


def still_current(file: Path, wanted: Origin, schema: pa.Schema = records.SCHEMA) -> pa.Table:
    """The rows in ``file`` that are of ``wanted`` networks as they are now; none where there is no such file."""
    told = records.origin(file)
    if not told or told["scoring"] != wanted["scoring"]:
        return schema.empty_table()
    kept = {name for name, network in told["networks"].items() if wanted["networks"].get(name) == network}
    table = records.read([file], schema=schema)
    return table.filter(pa.array([name in kept for name in networks_of(table)], pa.bool_()))


def held_by_all(files: Mapping[Path, pa.Schema], wanted: Origin) -> list[pa.Table]:
    """The rows in each file of those networks that all of them hold as `still_current` does."""
    tables = [still_current(file, wanted, schema) for file, schema in files.items()]
    names = [list(networks_of(table)) for table in tables]
    common = set.intersection(*map(set, names))
    masks = [pa.array([name in common for name in mine], pa.bool_()) for mine in names]
    return [table.filter(mask) for table, mask in zip(tables, masks, strict=True)]


def networks_of(table: pa.Table) -> Iterable[str]:
    """The network of each row, as an `Origin` names it."""
    columns = (table[name].to_pylist() for name in ("seed", "fold", "lambda"))
    for seed, fold, lambda_ in zip(*columns, strict=True):
        yield f"seed{seed}{'' if fold < 0 else f'-fold{fold}'}/lambda-{lambda_}"
