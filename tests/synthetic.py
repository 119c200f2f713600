"""A study's results with known effects, without training: cell records and score records as they are on disk."""

from __future__ import annotations

import io
import re
import shutil
import tempfile
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import yaml
from PIL import Image

from softreg.data.datasets import prepared_folder
from softreg.files import seal, write_json, write_text
from softreg.scoring import gather, records
from softreg.scoring.origin import origin_of
from softreg.scoring.race import lambdas_of
from softreg.scoring.select import select_group
from softreg.study import matrix
from softreg.study.cells import Cell, choice_file, make_cells
from softreg.study.config import Study, load_study
from softreg.study.keys import scoring_key
from softreg.study.matrix import TrainingPath

BINS = 15
CONTENT = "0" * 64
"""The digest of the prepared data's content."""
CORRUPTED = [("noise", 1), ("noise", 3), ("noise", 5), ("blur", 1), ("blur", 3), ("blur", 5)]
"""The conditions that the final's networks are tested under, beside the images as they are."""

HISTORY = (
    "epoch,step,data_term,penalty,val_miou,exact_zeros,norm_l1,norm_l2,lr,images_per_second\n"
    "1,10,0.9,0.1,,0,12.0,1.6,0.01,90\n"
    "2,20,0.6,0.1,0.5,10,12.2,1.5,0.005,100\n"
    "3,30,0.5,0.1,0.6,20,12.5,1.5,0.001,110\n"
)

GRID = ["1e-5", "1e-4", "1e-3"]
#: Error rate of a cell: the lowest at 1e-4, so that this is λ̂ for every penalty.
ERROR = {"0": 0.30, "1e-5": 0.28, "1e-4": 0.20, "1e-3": 0.40}
CLASSES = [
    "sky",
    "building",
    "pole",
    "road",
    "pavement",
    "tree",
    "sign_symbol",
    "fence",
    "car",
    "pedestrian",
    "bicyclist",
]

#: What has been made in this process, to be copied: many tests begin with the same study.
_MADE: dict[str, tempfile.TemporaryDirectory[str]] = {}


def make_study(root: Path, **changes: Any) -> Study:
    """One dataset, one model, three penalties (none, l1, l2) and 2 + 3 seeds, with ``changes`` to its sections.

    Unless told otherwise, an entry of kind l2 is called by its name alone.
    """
    sections: dict[str, Any] = {
        "name": "tiny",
        "datasets": {"brain": {}},
        "models": {"convnet": {}},
        "penalties": {"none": {}, "l1": {"lambda": [1e-5, 1e-4, 1e-3]}, "l2": {"lambda": [1e-5, 1e-4, 1e-3]}},
        "seeds": {"tuning": [0, 1], "evaluation": [100, 101, 102]},
    }
    file = root / "study.yaml"
    sections |= changes
    ridges = [name for name, entry in sections["penalties"].items() if (entry or {}).get("kind", name) == "l2"]
    sections.setdefault("figures", {"style": {"names": {name: name for name in ridges}}})
    write_text(file, yaml.safe_dump(sections, sort_keys=False))
    return load_study(file)


def make_results(
    study: Study,
    root: Path,
    images: int = 6,
    classes: int = 3,
    size: tuple[int, int] = (24, 32),
    statuses: dict[tuple[str, str, int], str] | None = None,
) -> None:
    """Prepared data, the sweep, the selection and the final below ``root/data`` and ``root/results``.

    ``statuses`` maps (penalty, λ, seed) to another status than finished; such a cell has no scores.
    """
    asked = repr((study.to_dict(), images, classes, size, statuses, ERROR))
    if asked not in _MADE:
        _MADE[asked] = tempfile.TemporaryDirectory(prefix="softreg-synthetic-")
        _make_results(study, Path(_MADE[asked].name), images, classes, size, statuses or {})
    for part in ("data", "results"):
        shutil.copytree(Path(_MADE[asked].name, part), root / part, dirs_exist_ok=True)


def _make_results(
    study: Study,
    root: Path,
    images: int,
    classes: int,
    size: tuple[int, int],
    statuses: dict[tuple[str, str, int], str],
) -> None:
    for name in study.datasets:
        make_prepared(study, name, root / "data", images, classes, size)
    results = root / "results" / study.name
    for path in matrix.sweep_paths(study):
        make_path(study, path, lambdas_of(study, path, results), results, images, classes, size, statuses)
    for group in matrix.groups(study):
        select_group(study, results, group)
    for group in matrix.groups(study):
        make_revealed(study, group, results, images, classes, size, statuses)
    for path in matrix.final_paths(study):
        make_path(study, path, lambdas_of(study, path, results), results, images, classes, size, statuses)


def make_prepared(study: Study, name: str, data: Path, images: int, classes: int, size: tuple[int, int]) -> None:
    """A prepared data set of vertical stripes, one class each, with a corner of ignored pixels."""
    folder = data / "prepared" / prepared_folder(study, name).name
    palette = np.random.default_rng(7).integers(0, 256, (classes, 3))
    ids = {split: image_names(name, split, images) for split in ("train", "val", "test")}
    for split in ids:
        masks = np.stack([truth(index, classes, size) for index in range(images)])
        noise = np.random.default_rng(1).integers(-30, 30, (images, *size, 3))
        pixels = np.clip(palette[np.where(masks == 255, 0, masks)] + noise, 0, 255).astype(np.uint8)
        (folder / split).mkdir(parents=True)
        np.save(folder / split / "images.npy", pixels)
        np.save(folder / split / "masks.npy", masks)
    note = "One averaged brain: a smoke test, never a ranking." if name == "brain" else ""
    facts = {
        "name": name,
        "kind": study.datasets[name]["kind"],
        "citation": "A. Author (2018) & others",
        "licence": "CC0",
    }
    facts |= {"note": note, "classes": CLASSES[:classes], "palette": palette.tolist(), "size": list(size)}
    facts |= {"mean": [0.5] * 3, "std": [0.2] * 3, "split_rule": "as published", "ids": ids}
    facts["groups"] = {part: [None] * len(names) for part, names in ids.items()}
    shares = {split: [1 / classes] * classes for split in ids}
    facts |= {
        "class_shares": shares,
        "ignore_share": dict.fromkeys(ids, 0.05),
        "content_digest": CONTENT,
        "options": {},
    }
    write_json(folder / "dataset.json", facts)


def image_names(dataset: str, split: str, images: int) -> list[str]:
    """The images of a part; of an outer fold, others than another's."""
    return [f"{split}{index:03d}{fold_tail(dataset)}" for index in range(images)]


def fold_tail(dataset: str) -> str:
    """How the name of an outer fold's data set ends, "" of any other."""
    return "".join(re.findall(r"-fold\d+$", dataset))


def truth(index: int, classes: int, size: tuple[int, int]) -> np.ndarray:
    """The mask of image ``index``: stripes that move with the index, 255 in a corner."""
    columns = (np.arange(size[1]) * classes // size[1] + index) % classes
    mask = np.tile(columns, (size[0], 1)).astype(np.uint8)
    mask[: size[0] // 4, : size[1] // 4] = 255
    return mask


def make_path(
    study: Study,
    path: TrainingPath,
    grid: Sequence[str],
    results: Path,
    images: int,
    classes: int,
    size: tuple[int, int],
    statuses: dict[tuple[str, str, int], str],
) -> None:
    """One path's cell.json and history.csv for each λ; in the sweep its val.parquet, in the final its two files."""
    folder = results / path.phase / path.name
    finished = []
    cells = make_cells(study, path, grid, results, CONTENT)
    for cell in cells:
        value = cell.lambda_
        status = statuses.get((path.penalty, value, path.seed), "finished")
        finished += [value] * (status == "finished")
        seal(folder / f"lambda-{value}" / "cell.json", cell_facts(path, value, status) | {"key": cell.key}, [])
        write_text(folder / f"lambda-{value}" / "history.csv", HISTORY)
        write_text(folder / f"lambda-{value}" / "layers.csv", layer_rows(path, value))
    origin = _origin(study, path, cells)
    conditions = [("val", "", 0)]
    if path.phase == "final":
        tables = [score_rows(path, value, images, classes, size) for value in finished]
        records.write(records.joined(tables, records.SCHEMA), folder / "test.parquet", made_from=origin)
        conditions = [("train", "", 0), ("test", "", 0), *(("test", *place) for place in CORRUPTED)]
    sums = [sums_row(path, value, *c, images, classes, size) for value in finished for c in conditions]
    file = folder / ("sums.parquet" if path.phase == "final" else "val.parquet")
    records.write(pa.Table.from_pylist(sums, records.SUMS), file, records.SUMS, origin)


def sign(study: Study, results: Path) -> None:
    """Say of all score records that they are of the networks that the cells tell of now, after an edit of these."""
    for file in results.rglob("*.parquet"):
        phase, dataset, model, penalty, *seed = file.relative_to(results).parts[:-1]
        group = (dataset, model, penalty)
        paths = matrix.sweep_paths(study, group) if phase == "sweep" else matrix.final_paths(study, group)
        mine = [path for path in paths if not seed or path.name.endswith(f"/{seed[0]}")]
        cells = [
            cell
            for path in mine
            for cell in make_cells(study, path, lambdas_of(study, path, results), results, CONTENT)
        ]
        schema = records.SCHEMA if file.name == "test.parquet" else records.SUMS
        records.write(records.read([file], schema=schema), file, schema, _origin(study, mine[0], cells))


def _origin(study: Study, path: TrainingPath, cells: Sequence[Cell]) -> dict[str, Any]:
    return origin_of([(cell, cell.record()) for cell in cells], scoring_key(study, path.phase, path.model))


def make_revealed(
    study: Study,
    group: tuple[str, str, str],
    results: Path,
    images: int,
    classes: int,
    size: tuple[int, int],
    statuses: dict[tuple[str, str, int], str],
) -> None:
    """The sums of a group's sweep on test."""
    rows = [
        sums_row(path, value, "test", "", 0, images, classes, size)
        for path in matrix.sweep_paths(study, group)
        for value in lambdas_of(study, path, results)
        if statuses.get((path.penalty, value, path.seed), "finished") == "finished"
    ]
    paths = matrix.sweep_paths(study, group)
    cells = [
        cell for path in paths for cell in make_cells(study, path, lambdas_of(study, path, results), results, CONTENT)
    ]
    place = results.joinpath("sweep", *group) / "sums.parquet"
    records.write(pa.Table.from_pylist(rows, records.SUMS), place, records.SUMS, _origin(study, paths[0], cells))


def cell_facts(path: TrainingPath, value: str, status: str) -> dict[str, Any]:
    """What train records of a cell: a tenth of the penalised weights exactly zero for l1, none for others."""
    facts: dict[str, Any] = {
        "status": status,
        "reason": "",
        "log_tail": [],
        "key": "ab" * 32,
        "phase": path.phase,
    }
    facts |= {"dataset": path.dataset, "model": path.model, "penalty": path.penalty, "lambda": value}
    facts |= {"seed": path.seed, "fold": path.fold, "steps": 100, "parameters": 1100, "penalised": 1000}
    if status == "finished":
        zeros = 100 if "l1" in path.penalty else 0
        facts |= {"exact_zeros": zeros, "near_zeros": zeros + 7, "norm_l1": 12.5, "norm_l2": 1.5}
        facts |= {"zeroed": zeros // 4 if zeros else None}
        facts |= {"filters": 20, "dead_filters": zeros // 50, "penalty_value": 12.5 * float(value)}
        facts |= {"macs": 4000, "macs_nonzero": 4000 - 4 * zeros, "effective_lr": 0.02, "kappa": 3 * float(value)}
    else:
        facts |= {
            "reason": f"the loss was {'nan' if status == 'diverged' else 'lost'} at step 40",
            "log_tail": ["step 40"],
        }
    device = {
        "device": "CPU, 2 cores",
        "commit": "c" * 40,
        "time": f"2026-01-01T00:00:{path.seed % 60:02d}+00:00",
    }
    versions = {"torch": "2.15.0", "softreg": "0.1.0"}
    weights = {"weights_sha256": "0" * 64 if status == "finished" else None, "seconds": 12.0 + path.seed % 3}
    weights |= {"peak_memory": 900_000_000}
    return facts | weights | {"provenance": device | {"python": "3.11.7", "versions": versions}}


def layer_rows(path: TrainingPath, value: str) -> str:
    """layers.csv of a cell whose network has one layer."""
    facts = cell_facts(path, value, "finished")
    columns = ("filters", "dead_filters", "exact_zeros", "near_zeros", "norm_l1", "norm_l2", "effective_lr", "macs")
    row = {"layer": "encoder.0", "penalised": True, "normalised": True, "weights": facts["penalised"]}
    row |= {name: facts[name] for name in (*columns, "macs_nonzero")} | {"penalty_value": facts["penalty_value"]}
    return f"{','.join(row)}\n{','.join(map(str, row.values()))}\n"


def score_rows(path: TrainingPath, value: str, images: int, classes: int, size: tuple[int, int]) -> pa.Table:
    """Records on test of a cell whose share of wrong pixels is ERROR[λ], moved a little by seed and penalty."""
    counted, wrong, own = _counted(path, value, images, classes, size, 0.0)
    fold = -1 if path.fold is None else path.fold
    same = {"dataset": path.dataset, "model": path.model, "penalty": path.penalty, "lambda": value}
    columns: dict[str, Any] = {name: [text] * images for name, text in same.items()}
    columns |= {"seed": [path.seed] * images, "fold": [fold] * images, "split": ["test"] * images}
    columns |= {"image": image_names(path.dataset, "test", images)}
    columns |= {name: list(array) for name, array in counted.items()}
    columns["prediction"] = [prediction(index, classes, size, wrong, own) for index in range(images)]
    return pa.table({name: columns[name] for name in records.SCHEMA.names}, schema=records.SCHEMA)


def _counted(
    path: TrainingPath, value: str, images: int, classes: int, size: tuple[int, int], change: float
) -> tuple[dict[str, np.ndarray], float, np.random.Generator]:
    """The columns `records.COUNTED` of a cell's images, its share of wrong pixels, and what to draw more from."""
    # The parts of the draw that seeds and penalties have in common make paired differences smaller than the spread.
    tail = fold_tail(path.dataset).encode()
    shared = np.random.default_rng([path.seed, len(path.model), *tail])
    own = np.random.default_rng([path.seed, *path.penalty.encode(), *path.model.encode(), *value.encode(), *tail])
    wrong = np.clip(ERROR.get(value, 0.25) + change + shared.normal(0, 0.02) + own.normal(0, 0.004), 0.01, 0.99)
    total = size[0] * size[1] // classes
    fn = own.binomial(total, wrong, (images, classes))
    fp = np.roll(fn, 1, axis=1)
    count = own.multinomial(total * classes, np.full(BINS, 1 / BINS), images)
    counted = {"tp": total - fn, "fp": fp, "fn": fn}
    counted |= {"boundary_both": (total - fn) // 4, "boundary_either": (total + fp) // 4 + 1}
    counted |= {"nll_sum": own.uniform(1, 2, images) * total, "pixels": np.full(images, total * classes)}
    counted |= {"bin_count": count, "bin_correct": count // 2}
    counted |= {"bin_confidence": count * ((np.arange(BINS) + 0.5) / BINS)}
    return counted, wrong, own


def sums_row(
    path: TrainingPath,
    value: str,
    split: str,
    corruption: str,
    severity: int,
    images: int,
    classes: int,
    size: tuple[int, int],
) -> dict[str, Any]:
    """The sums of `score_rows`; other images score better, and each severity makes 3 % more of the pixels wrong."""
    change = {"train": -0.05, "val": -0.02}.get(split, 0.03 * severity)
    counted, *_ = _counted(path, value, images, classes, size, change)
    fold = -1 if path.fold is None else path.fold
    row = {"phase": path.phase, "dataset": path.dataset, "model": path.model, "penalty": path.penalty}
    row |= {"lambda": value, "seed": path.seed, "fold": fold, "split": split}
    row |= {"corruption": corruption, "severity": severity, "images": images}
    return row | {name: array.sum(0).tolist() for name, array in counted.items()}


def prediction(index: int, classes: int, size: tuple[int, int], wrong: float, rng: np.random.Generator) -> bytes:
    """The truth with a share of its blocks given another class, as PNG."""
    mask = truth(index, classes, size)
    mask = np.where(mask == 255, 0, mask)
    block = max(1, size[0] // 24)
    coarse = rng.random((size[0] // block + 1, size[1] // block + 1)) < wrong
    flip = np.kron(coarse, np.ones((block, block), bool))[: size[0], : size[1]]
    buffer = io.BytesIO()
    Image.fromarray(np.where(flip, (mask + 1) % classes, mask).astype(np.uint8)).save(buffer, "PNG")
    return buffer.getvalue()


def gather_part(study: Study, results: Path, data: Path) -> Path:
    """What has ended so far, with every λ̂ that lies there."""
    there = [group for group in matrix.groups(study) if choice_file(results / study.name, group).is_file()]
    return gather.gather(study, results, data, there)
