"""A synthetic study whose sparsity, norms, times and memory are set by hand: `synthetic` gives all cells the same."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq
import synthetic

from softreg.paper.scores import Scores
from softreg.scoring import gather

Row = dict[str, Any]


def make_scores(
    root: Path,
    statuses: dict[tuple[str, str, int], str] | None = None,
    images: int = 6,
    trained: bool = True,
    **changes: Any,
) -> Scores:
    """The gathered scores of a synthetic study with ``changes`` to its sections, or what there is before it is trained.

    ``statuses`` and ``images`` are those of `synthetic.make_results`.
    """
    study = synthetic.make_study(root, **changes)
    if not trained:
        return Scores(synthetic.gather_part(study, root / "results", root / "data"))
    synthetic.make_results(study, root, images, statuses=statuses)
    return Scores(gather.gather(study, root / "results", root / "data"))


def set_layers(scores: Scores, rows: Callable[[Row], list[Row]]) -> Scores:
    """Each layer row replaced by those that ``rows`` makes of it."""
    table = pq.read_table(scores.folder / "layers.parquet").to_pylist()
    made = [new for row in table for new in rows(row)]
    pq.write_table(pa.Table.from_pylist(made, schema=gather.LAYERS), scores.folder / "layers.parquet")
    return Scores(scores.folder)


def set_cells(scores: Scores, change: Callable[[Row], Row]) -> Scores:
    """Each cell's row updated with what ``change`` makes of it."""
    table = pq.read_table(scores.folder / "cells.parquet").to_pylist()
    made = [row | change(row) for row in table]
    pq.write_table(pa.Table.from_pylist(made, schema=gather.CELLS), scores.folder / "cells.parquet")
    return Scores(scores.folder)


def set_timings(scores: Scores, change: Callable[[Row], Row]) -> Scores:
    """Each row of timings.csv updated with what ``change`` makes of it."""
    rows = [row | change(row) for row in scores.timings.to_dict("records")]
    pd.DataFrame(rows).to_csv(scores.folder / "timings.csv", index=False)
    return Scores(scores.folder)
