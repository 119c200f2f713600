"""What a study with outer folds has gathered, joined over them: a seed of an entry is a network in each fold."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence

import numpy as np
import pandas as pd
import pyarrow as pa

from softreg.scoring import records
from softreg.scoring.select import GROUP


def complete(table: pa.Table, folds: int) -> pa.Table:
    """The rows of ``table``, of the final's networks, of seeds that have one in each of so many folds."""
    keys = [*GROUP, "seed"]
    names = table.select([*keys, "fold"]).to_pandas()
    kept = names.groupby(keys)["fold"].transform("nunique") == folds
    return table.filter(pa.array(kept, pa.bool_()))


def summed(sums: pa.Table) -> pa.Table:
    """Rows of `records.SUMS` of the final, those of all folds of a seed as one: of no fold, and of no one λ."""
    keys = ["phase", *GROUP, "seed", "split", "corruption", "severity"]
    rows = []
    for values, part in sums.to_pandas().groupby(keys, sort=False):
        counted = {name: np.sum([*part[name]], axis=0).tolist() for name in ("images", *records.COUNTED)}
        rows.append(dict(zip(keys, values, strict=True)) | {"lambda": "", "fold": -1} | counted)
    return pa.Table.from_pylist(rows, schema=records.SUMS)


def choice(selection: pd.DataFrame) -> pd.DataFrame:
    """The λ̂ of all folds of a group in one row: the one chosen most often, of several the strongest.

    ``val_miou_points`` is the mean over folds, ``val_se_points`` nan, as folds share images; n and expected are sums;
    at_edge says whether any λ̂ lies at an end of its grid; ``chosen`` lists those of all folds.
    """
    columns = [name for name in selection.columns if name != "fold"]
    rows = []
    for _, part in selection.sort_values("fold", kind="stable").groupby(GROUP, sort=False):
        told = [value for value in part["lambda"] if value]
        row = part.iloc[0][columns].to_dict() | {"lambda": most_often(told), "chosen": ", ".join(told)}
        row["lr"] = most_often(part["lr"].tolist())
        row |= {"val_miou_points": part["val_miou_points"].mean(), "val_se_points": np.nan}
        row["at_edge"] = bool(part["at_edge"].any())
        rows.append(row | {name: int(part[name].sum()) for name in ("n", "expected")})
    return pd.DataFrame(rows, columns=[*columns, "chosen"])


def span(lambdas: Sequence[str]) -> str:
    """The λ that several folds chose: ``1e-7 to 1e-5``, or the one; "" of none."""
    values = sorted({*lambdas} - {""}, key=float)
    return f"{values[0]} to {values[-1]}" if len(values) > 1 else "".join(values)


def most_often(lambdas: Sequence[str]) -> str:
    """The λ that occurs most often, of several the strongest; "" of none."""
    counted = Counter(value for value in lambdas if value)
    return max(counted, key=lambda value: (counted[value], float(value)), default="")
