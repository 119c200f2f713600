"""Gather a study's scores into one small folder, enough for every table and figure without a GPU or the data.

``scores/`` holds the score records, one row for each cell the study asks for (with its status), the example images,
what was run on what, and when the study was looked at. All but ``timings.csv`` and ``provenance.json``, which are
measured, and ``looks.json``, are the same bytes for the same results.
"""

from __future__ import annotations

import dataclasses
import io
from collections import Counter, defaultdict
from collections.abc import Collection, Iterable, Iterator, Mapping
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
from softreg.files import altered, read_json, reading, write_json, write_text
from softreg.scoring import complexity, looks, lookup, metrics, records, select
from softreg.scoring.origin import Origin, current, origin_of, still_current
from softreg.scoring.race import lambdas_of
from softreg.scoring.records import fields
from softreg.study import folds, matrix
from softreg.study.cells import Cell, final_file, make_cells, path_folder
from softreg.study.config import Study
from softreg.study.keys import scoring_key
from softreg.study.lambdas import Trial, rates_of
from softreg.study.matrix import Group, TrainingPath

NOT_RUN = "not run"
"""Status, in ``cells.parquet``, of a cell that the study asks for and that has not ended."""

CELLS = pa.schema(
    [
        *records.PLACE,
        *fields(pa.string(), "status", "reason", "log_tail", "key"),
        *fields(pa.int64(), "steps", "parameters", "penalised", "exact_zeros", "near_zeros", "zeroed"),
        *fields(pa.float64(), "norm_l1", "norm_l2"),
        *fields(pa.int64(), "filters", "dead_filters"),
        *fields(pa.float64(), "penalty_value"),
        *fields(pa.int64(), "macs", "macs_nonzero"),
        *fields(pa.float64(), "effective_lr", "kappa"),
        *fields(pa.string(), "weights_sha256"),
    ]
)

LAYERS = pa.schema(
    [
        *records.PLACE,
        *fields(pa.string(), "layer"),
        *fields(pa.bool_(), "penalised", "normalised"),
        *fields(pa.int64(), "filters", "dead_filters", "weights", "exact_zeros", "near_zeros"),
        *fields(pa.float64(), "norm_l1", "norm_l2", "penalty_value", "effective_lr"),
        *fields(pa.int64(), "macs", "macs_nonzero"),
    ]
)
"""One row for each layer of each finished cell; `softreg.training.diagnostics.layer_rows` says what the columns are."""

HISTORIES = pa.schema(
    [
        *records.PLACE,
        *fields(pa.int64(), "epoch", "step"),
        *fields(pa.float64(), "data_term", "penalty_value", "val_miou"),
        *fields(pa.int64(), "exact_zeros"),
        *fields(pa.float64(), "lr"),
    ]
)
"""One row for each epoch of each finished cell, as its ``history.csv`` has it."""

IMAGES = pa.schema(
    [
        *fields(pa.string(), "dataset", "split", "image", "group"),
        *fields(pa.float64(), "boundary_density"),
        *fields(pa.int64(), "classes"),
        *fields(pa.list_(pa.int64()), "lookup_tp", "lookup_fp", "lookup_fn"),
    ]
)
"""What each image belongs to, such as a patient, or null; how complex its mask is: `softreg.scoring.complexity`; and of
grey test images what a table from grey level to class scores: `softreg.scoring.lookup`."""

EXAMPLES = pa.schema(
    [
        *fields(pa.string(), "dataset", "image"),
        *fields(pa.int64(), "percentile"),
        *fields(pa.binary(), "image_png", "truth_png"),
    ]
)
"""The test images at three percentiles of the score without a penalty: shown, so never picked by hand."""

PERCENTILES = (10, 50, 90)

MOST_FREQUENT = 5
"""How many values of an item of provenance are kept."""

Facts = dict[str, Any]
"""What a ``cell.json`` says."""

Places = dict[str, tuple[str, int]]
"""Of each entry of a study's data sets, `softreg.study.folds.place_of` it."""


@dataclasses.dataclass(frozen=True)
class _Path:
    """A path with its cells, each with its record if it has ended under the cell's key.

    ``place`` is its data set and outer fold; ``lr`` the learning rate that was chosen, empty where there is none to
    choose.
    """

    path: TrainingPath
    place: tuple[str, int]
    cells: list[tuple[Cell, Facts | None]]
    lr: str

    @property
    def shown(self) -> list[tuple[Cell, Facts | None]]:
        """The cells at the learning rate that was chosen: those that tables and figures tell of."""
        return [(cell, facts) for cell, facts in self.cells if cell.trial.lr == self.lr]

    @property
    def chosen(self) -> bool:
        """Whether its λ are known."""
        return all(cell.lambda_ for cell, _ in self.cells)

    def origin(self, scoring: str) -> Origin:
        """What its records should be made from."""
        return origin_of(self.cells, scoring)

    def names(self, cell: Cell) -> dict[str, Any]:
        """What names one of its cells that are shown."""
        path, (dataset, outer) = self.path, self.place
        fold = outer if path.fold is None else path.fold
        group = {"phase": path.phase, "dataset": dataset, "model": path.model, "penalty": path.penalty}
        return {**group, "lambda": cell.trial.lambda_, "seed": path.seed, "fold": fold}


@dataclasses.dataclass(frozen=True)
class _File:
    """A file of records: their schema, what it should be made from, and at which lr it is shown."""

    schema: pa.Schema
    file: Path
    origin: Origin
    lr: str


class Mixed(UserError):
    """Results of several versions of a study, or none, where those of one are to be gathered; ``places`` are theirs."""

    def __init__(self, places: list[Path], of: int) -> None:
        self.places = places
        super().__init__(
            f"{places[0]} is missing, or of another version of the study, its data or the code ({len(places)} of {of} "
            "such files): finish the study first, or ask for the partial report."
        )


def gather(study: Study, results: Path, data: Path, selected: Collection[Group] | None = None) -> Path:
    """Write ``results/<study>/scores/`` and return it; of a part, ``results/<study>/partial/scores/``.

    The data sets that outer folds have made of one are told as that one, and the fold of each network is told with it.
    ``results`` and ``data`` are the project's folders of these names. With ``selected``, the groups whose λ̂ stands,
    what has ended so far is taken, of the study as it is now; every other cell is listed as "not run".
    Raises `Mixed` where something is missing or of another version of the study, and all is asked for.
    """
    partial = selected is not None
    root = results / study.name
    scores = root / "partial" / "scores" if partial else root / "scores"
    prepared = {name: data / "prepared" / prepared_folder(study, name).name for name in study.datasets}
    chosen = matrix.groups(study) if selected is None else selected
    selection = select.choices(root, chosen)
    paths = list(_paths(study, root, prepared, selection))
    files = list(_record_files(study, root, paths))
    if not partial:
        _demand(paths, files)
        write_text(root / "selection.csv", selection.to_csv(index=False, lineterminator="\n"))
    places = {name: folds.place_of(study.datasets, name) for name in study.datasets}
    # Whoever publishes the folder publishes all of it: nothing of other data sets, or of another version, stays there.
    for old in scores.glob("*.parquet"):
        old.unlink()
    test = _joined(records.SCHEMA, files, places)
    datasets = folds.joined(study.datasets)
    examples = pd.concat([examples_of(vars(study), test, name) for name in datasets], ignore_index=True)
    write_tested(test, examples, datasets, scores)
    records.write(_joined(records.SUMS, files, places), scores / "sums.parquet", records.SUMS)
    _gather_cells(paths, scores, partial)
    _gather_datasets(prepared, places, scores, examples)
    _note_look(root, scores, len(study.seeds["evaluation"]) if not partial else _finals(paths), partial)
    write_json(scores / "study.json", study.to_dict() | {"datasets": datasets})
    selection = _placed(selection, places)
    write_text(scores / "selection.csv", selection.to_csv(index=False, lineterminator="\n"))
    return scores


def _note_look(root: Path, scores: Path, seeds: int, partial: bool) -> None:
    """Add to the record of looks, which is kept beside the scores and goes with them."""
    kept = root / "looks.json"
    made = looks.with_one(looks.noted(kept, root / "scores" / "looks.json"), seeds, partial)
    looks.keep(kept, made)
    write_json(scores / "looks.json", made)


def _finals(paths: list[_Path]) -> int:
    """How many evaluation seeds have a network of the final."""
    ended = (each for each in paths if each.path.phase == "final" and any(facts for _, facts in each.cells))
    return len({each.path.seed for each in ended})


def lacking(scores: Path) -> list[Path]:
    """The files of records that are not in gathered ``scores``, which have a ``study.json``: of an earlier version."""
    study = scores / "study.json"
    with reading(study, "a study"):
        files = [scores / "sums.parquet", *(final_file(scores, name) for name in read_json(study)["datasets"])]
    return [file for file in files if not file.is_file()]


def demand_records(scores: Path) -> None:
    """Raise UserError where gathered ``scores`` are `lacking` a file."""
    if bad := lacking(scores):
        raise UserError(
            f"{bad[0]} is missing: the scores are not whole, or an earlier version gathered them; gather them again by "
            "`snakemake scores`, or fetch them again from where they are kept"
        )


def unfinished(scores: Path) -> str:
    """A sentence on the cells that did not finish, with the first reason; empty where all did."""
    cells = pq.read_table(scores / "cells.parquet", columns=["status", "reason"]).to_pandas()
    others = cells[cells["status"] != "finished"]
    if others.empty:
        return ""
    counts = ", ".join(f"{count} {status}" for status, count in sorted(others["status"].value_counts().items()))
    reason = next((text for text in others.loc[others["status"] != NOT_RUN, "reason"] if text), "")
    return f"{len(others)} of {len(cells)} cells did not finish ({counts}): {reason or 'see the report'}"


def _paths(study: Study, root: Path, prepared: dict[str, Path], selection: pd.DataFrame) -> Iterator[_Path]:
    """All paths of the study, with the cells that they have now; without λ where these are not known yet.

    They are not in the final of a group without λ̂, nor in a race before the earlier seeds are scored. As long as no
    learning rate has been chosen, the first is shown.
    """
    rates = selection.set_index(select.GROUP)["lr"].to_dict()
    scored: set[TrainingPath] = set()
    described = {name: folder / "dataset.json" for name, folder in prepared.items()}
    content = {name: read_json(file)["content_digest"] if file.is_file() else "" for name, file in described.items()}
    for path in (*matrix.sweep_paths(study), *matrix.final_paths(study)):
        known = path.group in rates if path.phase == "final" else scored.issuperset(matrix.raced_before(study, path))
        lambdas = lambdas_of(study, path, root) if known else [""] * matrix.networks_of(study, path)
        if path.phase == "final" and not lambdas:
            lambdas = [""]
        cells = make_cells(study, path, lambdas, root, content[path.dataset])
        lr = rates.get(path.group) or next(iter(rates_of(study.penalties[path.penalty])), "")
        place = folds.place_of(study.datasets, path.dataset)
        found = _Path(path, place, [(cell, _ended(cell)) for cell in cells], "" if "" in lambdas else lr)
        if matrix.is_race(vars(study)) and path.phase == "sweep" and _is_scored(study, root, found):
            scored.add(path)
        yield found


def _ended(cell: Cell) -> Facts | None:
    """What is told of a cell if what is gathered of it, all but its weights, is as it was written."""
    bad = altered(cell.folder / "cell.json", lambda file: file.suffix == ".csv")
    return cell.record() if all(file.suffix == ".safetensors" for file in bad) else None


def _is_scored(study: Study, root: Path, each: _Path) -> bool:
    """Whether all cells of a path of the sweep have ended, and its records are theirs."""
    origin = each.origin(scoring_key(study, "sweep", each.path.model))
    ended = all(facts is not None for _, facts in each.cells)
    return ended and current(path_folder(root, each.path) / "val.parquet", origin)


def _record_files(study: Study, root: Path, paths: list[_Path]) -> Iterator[_File]:
    """Each file of records."""
    sweeps: dict[Group, list[_Path]] = defaultdict(list)
    for each in paths:
        scoring = scoring_key(study, each.path.phase, each.path.model)
        folder = path_folder(root, each.path)
        if each.path.phase == "sweep":
            sweeps[each.path.group].append(each)
            yield _File(records.SUMS, folder / "val.parquet", each.origin(scoring), each.lr)
        elif each.chosen:
            for schema, name in ((records.SCHEMA, "test"), (records.SUMS, "sums")):
                yield _File(schema, folder / f"{name}.parquet", each.origin(scoring), each.lr)
    known = {each.path.group for each in paths if each.path.phase == "final" and each.chosen}
    for group, members in sweeps.items():
        if group in known:
            cells = [cell for each in members for cell in each.cells]
            origin = origin_of(cells, scoring_key(study, "sweep", group[1]))
            yield _File(records.SUMS, root.joinpath("sweep", *group, "sums.parquet"), origin, members[0].lr)


def _joined(schema: pa.Schema, files: list[_File], places: Places) -> pa.Table:
    """The rows of all files of ``schema``, those alone that are of the study as it is now, and shown."""
    mine = (each for each in files if each.schema is schema)
    tables = (_at_rate(still_current(each.file, each.origin, schema), each.lr) for each in mine)
    return records.joined((_with_place(table, places) for table in tables), schema)


def _at_rate(table: pa.Table, lr: str) -> pa.Table:
    """The rows at a learning rate, by their λ alone."""
    if not lr:
        return table
    trials = [Trial.named(name) for name in table["lambda"].to_pylist()]
    lambdas = pa.array([trial.lambda_ for trial in trials], pa.string())
    renamed = table.set_column(table.column_names.index("lambda"), "lambda", lambdas)
    return renamed.filter(pa.array([trial.lr == lr for trial in trials], pa.bool_()))


def _with_place(table: pa.Table, places: Places) -> pa.Table:
    """Records of one data set, as those of the one that it is an outer fold of."""
    dataset, fold = places[table["dataset"][0].as_py()] if len(table) else ("", -1)
    for name, value in {"dataset": dataset, "fold": fold}.items() if fold >= 0 else ():
        at = table.schema.get_field_index(name)
        table = table.set_column(at, table.schema.field(at), pa.repeat(value, len(table)))
    return table


def _placed(selection: pd.DataFrame, places: Places) -> pd.DataFrame:
    """The λ̂ of all groups, with their outer fold where there are any."""
    if all(fold < 0 for _, fold in places.values()):
        return selection
    found = [places[name] for name in selection["dataset"]]
    return selection.assign(dataset=[name for name, _ in found], fold=[fold for _, fold in found])


def examples_of(
    study: Mapping[str, Any], test: pa.Table, dataset: str, at_hand: Collection[str] | None = None
) -> pd.DataFrame:
    """The test images of a data set at `PERCENTILES` of the score without a penalty: dataset, image, percentile.

    The score is the image's own mIoU, a mean over models and seeds; where the study has no entry of kind none, over all
    penalties. Where only some images are ``at_hand``, the nearest of these.
    """
    plain = [name for name, entry in study["penalties"].items() if entry["kind"] == "none"] or list(study["penalties"])
    mine = test.filter(pc.and_(pc.equal(test["dataset"], dataset), pc.is_in(test["penalty"], pa.array(plain))))
    own = metrics.miou(*(rows[:, None, :] for rows in records.counts(mine))).tolist() if len(mine) else []
    scored = pd.DataFrame({"image": mine["image"].to_pylist(), "miou": own})
    ranked = scored.groupby("image")["miou"].mean().sort_values(kind="stable").index
    places = [place for place, image in enumerate(ranked) if at_hand is None or image in at_hand]
    rows = []
    for percentile in PERCENTILES if places else ():
        wanted = round(percentile / 100 * (len(ranked) - 1))
        rows.append((dataset, ranked[min(places, key=lambda place: abs(place - wanted))], percentile))
    return pd.DataFrame(rows, columns=["dataset", "image", "percentile"]).drop_duplicates(["dataset", "image"])


def write_tested(test: pa.Table, examples: pd.DataFrame, datasets: Iterable[str], scores: Path) -> None:
    """Write the records of the final on test, with the predictions of the examples alone: a file for each data set.

    With many images they are by far the largest part of the scores.
    """
    table = _shown(test, examples)
    for name in datasets:
        records.write(table.filter(pc.equal(table["dataset"], name)), final_file(scores, name))


def _shown(table: pa.Table, examples: pd.DataFrame) -> pa.Table:
    kept = set(examples[["dataset", "image"]].itertuples(index=False, name=None))
    places = zip(table["dataset"].to_pylist(), table["image"].to_pylist(), strict=True)
    mask = pa.array([place in kept for place in places], pa.bool_())
    pictures = pc.if_else(mask, table["prediction"].combine_chunks(), pa.scalar(None, pa.binary()))
    return table.set_column(table.column_names.index("prediction"), "prediction", pictures)


def _demand(paths: list[_Path], files: list[_File]) -> None:
    """Before anything is written: all must be there, and of the study as it is now."""
    cells = [cell for each in paths if each.chosen for cell in each.cells]
    states = [(cell.folder / "cell.json", facts is not None) for cell, facts in cells]
    states += [(each.file, current(each.file, each.origin)) for each in files]
    if wrong := [place for place, good in states if not good]:
        raise Mixed(wrong, len(states))


def _gather_cells(paths: list[_Path], scores: Path, partial: bool) -> None:
    cells = [(each.names(cell), cell, facts) for each in paths for cell, facts in each.shown]
    rows = [_flat(names, facts) for names, _, facts in cells]
    records.write_parquet(pa.Table.from_pylist(rows, schema=CELLS), scores / "cells.parquet")
    ended = [(names, cell.folder, facts) for names, cell, facts in cells if facts]
    finished = [each for each in ended if each[2]["status"] == "finished"]
    records.write_parquet(_rows(finished, "layers.csv", LAYERS), scores / "layers.parquet")
    records.write_parquet(_rows(finished, "history.csv", HISTORIES), scores / "histories.parquet")
    timings = pd.DataFrame([_timing(*each) for each in finished], columns=TIMINGS)
    write_text(scores / "timings.csv", timings.to_csv(index=False, lineterminator="\n"))
    provenance = _provenance([facts["provenance"] for *_, facts in ended])
    write_json(scores / "provenance.json", {"softreg": __version__, "partial": partial, "cells": provenance})


def _flat(names: dict[str, Any], facts: Facts | None) -> dict[str, Any]:
    if facts is None:
        unknown = {"sweep": "the race has not come to it yet", "final": "no λ was chosen for it"}
        reason = "" if names["lambda"] else unknown[names["phase"]]
        return {**names, "status": NOT_RUN, "reason": reason, "log_tail": ""}
    kept = {name: facts.get(name) for name in CELLS.names if name not in names}
    return {**names, **kept, "log_tail": "\n".join(facts["log_tail"])}


def _rows(cells: list[tuple[dict[str, Any], Path, Facts]], name: str, schema: pa.Schema) -> pa.Table:
    """The rows of every cell's CSV file ``name``, with what names the cell."""
    if not cells:
        return schema.empty_table()
    parts = [pd.read_csv(folder / name) for _, folder, _ in cells]
    rows = pd.concat(parts, ignore_index=True)
    if name == "history.csv":
        rows = rows.rename(columns={"penalty": "penalty_value"})
    named = pd.DataFrame([names for names, *_ in cells]).loc[np.repeat(np.arange(len(cells)), list(map(len, parts)))]
    rows = pd.concat([rows, named.reset_index(drop=True)], axis=1).reindex(columns=schema.names)
    return pa.Table.from_pandas(rows, schema=schema, preserve_index=False)


TIMINGS = [*CELLS.names[:7], "seconds", "images_per_second", "peak_memory", "device", "commit", "time"]


def _timing(names: dict[str, Any], folder: Path, facts: Facts) -> dict[str, Any]:
    rate = float(pd.read_csv(folder / "history.csv")["images_per_second"].median())
    measured = {"seconds": facts["seconds"], "images_per_second": rate, "peak_memory": facts.get("peak_memory")}
    origin = {name: str(facts["provenance"].get(name, "")) for name in ("device", "commit", "time")}
    return {**names, **measured, **origin}


def _provenance(cells: list[dict[str, Any]]) -> dict[str, dict[str, int]]:
    """For each item of provenance, its values and how many cells have each: the most frequent five.

    Of the times, which all differ, the first and the last.
    """
    told = pd.json_normalize(cells)
    counts = {name: Counter(told[name].dropna().map(str)) for name in sorted(map(str, told))}
    times = sorted(counts.pop("time", ()))
    ends = {"trained from": {times[0]: len(cells)}, "trained until": {times[-1]: len(cells)}} if times else {}
    return ends | {name: dict(values.most_common(MOST_FREQUENT)) for name, values in counts.items()}


def _gather_datasets(prepared: dict[str, Path], places: Places, scores: Path, examples: pd.DataFrame) -> None:
    about: dict[str, Facts] = {}
    pictures, images = [], [IMAGES.empty_table()]
    for entry, folder in prepared.items():
        if not (folder / "dataset.json").exists():
            continue
        facts = read_json(folder / "dataset.json")
        ids, groups = facts.pop("ids"), facts.pop("groups")
        facts.pop("arrays", None)
        name, fold = places[entry]
        counts = {
            "images": {split: len(names) for split, names in ids.items()},
            "groups": {split: len({*names} - {None}) for split, names in groups.items()},
        }
        # Of outer folds, each image tests once, and the first fold stands for what all train on.
        for split in ("train", "test") if fold < 1 else ("test",):
            rows = complexity.of_masks(np.load(folder / split / "masks.npy", mmap_mode="r"), len(facts["classes"]))
            columns = {"dataset": name, "split": split, "image": ids[split], "group": groups[split]}
            looked_up = lookup.counts_of(folder, len(facts["classes"])) if split == "test" else None
            columns |= {f"lookup_{key}": list(looked_up[key]) if looked_up else None for key in ("tp", "fp", "fn")}
            images.append(pa.Table.from_pandas(rows.assign(**columns)[IMAGES.names], IMAGES, preserve_index=False))
        if name in about:
            about[name] = with_folds(about[name], pa.concat_tables(images))
        else:
            about[name] = facts | {"name": name} | counts
        pictures += list(_pictures(name, folder / "test", ids["test"], examples))
    write_json(scores / "datasets.json", about)
    records.write_parquet(pa.concat_tables(images), scores / "images.parquet")
    records.write_parquet(pa.Table.from_pylist(pictures, schema=EXAMPLES), scores / "examples.parquet")


def with_folds(about: Facts, images: pa.Table) -> Facts:
    """The facts of a data set by its first outer fold, with all folds whose test images are in ``images``."""
    more = "; the other folds alike"
    tests = images.filter(pc.and_(pc.equal(images["dataset"], about["name"]), pc.equal(images["split"], "test")))
    counts = {"images": len(tests), "groups": pc.count_distinct(tests["group"]).as_py()}
    rule = {"split_rule": about["split_rule"].removesuffix(more) + more}
    return about | rule | {key: about[key] | {"test": count} for key, count in counts.items()}


def _pictures(dataset: str, folder: Path, ids: list[str], examples: pd.DataFrame) -> Iterator[dict[str, Any]]:
    images = np.load(folder / "images.npy", mmap_mode="r")
    masks = np.load(folder / "masks.npy", mmap_mode="r")
    mine = examples[examples["dataset"] == dataset]
    for image, percentile in zip(mine["image"], mine["percentile"], strict=True):
        if image not in ids:
            # Another outer fold's.
            continue
        row = ids.index(image)
        pictures = {"image_png": _png(images[row]), "truth_png": _png(masks[row])}
        yield {"dataset": dataset, "image": image, "percentile": percentile, **pictures}


def _png(pixels: np.ndarray[Any, Any]) -> bytes:
    buffer = io.BytesIO()
    Image.fromarray(np.ascontiguousarray(pixels)).save(buffer, "PNG")
    return buffer.getvalue()
