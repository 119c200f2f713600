"""Join the scores of several studies, or of the parts of one, into one folder of scores. Imports no torch.

They may have been trained on different machines, by different people. A paper over all of them is right only if they
were trained and scored alike, so all that the studies say has to agree, but for their data sets and models; and no
network may be in two of them. Where one data set's outer folds are spread over parts, all of them have to be there.
"""

from __future__ import annotations

import sys
import tempfile
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import cached_property
from itertools import combinations
from pathlib import Path
from typing import Any

import pandas as pd
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from softreg.errors import UserError, few, show
from softreg.files import read_json, reading, write_json, write_text
from softreg.scoring import gather, looks, records
from softreg.study import parts
from softreg.study.cells import final_file

Facts = dict[str, Any]

_SECTIONS = ("datasets", "models")
"""What each study has its own of; an entry of the same name has to be the same."""
_FREE = ("name", "title", "resources", "figures", "mirrors", *_SECTIONS)
"""What changes no score; of ``resources`` all but ``gpu``, by which networks train in another precision."""
_PLACE = ["phase", *records.CELL]


@dataclass(frozen=True)
class _Source:
    """The scores of one study or part: their folder, and what its JSON files say."""

    folder: Path
    study: Facts
    provenance: Facts
    datasets: dict[str, Facts]

    @cached_property
    def folds(self) -> dict[str, set[int]]:
        """Of each data set, the outer folds that are here."""
        cells = self.table("cells.parquet").select(["dataset", "fold"]).to_pandas()
        return {str(name): {*mine} for name, mine in cells.groupby("dataset")["fold"]}

    @cached_property
    def contents(self) -> dict[tuple[str, str], Any]:
        """By data set and what it is, what makes it the same as another."""
        found: dict[tuple[str, str], Any] = {}
        for name, about in self.datasets.items():
            found |= {(name, key): about[key] for key in ("classes", "size")}
            # It is of a split, so another for each outer fold; what is told is that of the first one here.
            first = min(self.folds[name])
            found[name, f"content_digest{f' of fold {first}' if first >= 0 else ''}"] = about["content_digest"]
        return found

    def table(self, name: str) -> pa.Table:
        """The rows of a file; of a CSV file, all as text."""
        file = self.folder / name
        if not file.is_file():
            raise UserError(f"{file} is missing: gather the scores again, or fetch them again from where they are kept")
        with reading(file, "what was gathered"):
            if file.suffix == ".parquet":
                return pq.read_table(file)
            return pa.Table.from_pandas(pd.read_csv(file, dtype=str, keep_default_na=False), preserve_index=False)


def merge(sources: Sequence[Path], to: Path) -> Path:
    """Write ``to/scores/`` from the scores of the results folders ``sources`` and return it; say what may be amiss.

    Raises UserError where they do not fit together, or ``to`` holds scores already.
    """
    scores = to / "scores"
    if scores.exists():
        raise UserError(f"{scores} is there already: name another folder, or delete it")
    found = [_source(folder) for folder in sources]
    print(*_doubts(found), sep="", end="", file=sys.stderr)
    for first, other in combinations(found, 2):
        _demand_alike(first, other)
    cells = _tables(found, "cells.parquet")
    test = records.read([final_file(each.folder, name) for each in found for name in each.datasets])
    _demand_whole(found, cells.select(_PLACE).to_pandas(), test.select(["dataset", "fold", "image"]).to_pandas())
    study = _joined_study(found, to.resolve().name)
    to.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(prefix="merging-", dir=to) as folder:
        made = Path(folder) / "scores"
        _write_records(found, study, test, made)
        images = _images(found)
        records.write_parquet(images, made / "images.parquet")
        write_json(made / "datasets.json", _joined_datasets(found, images))
        _write_rows(found, made)
        write_json(made / "provenance.json", _joined_provenance([each.provenance for each in found]))
        write_json(made / "looks.json", looks.noted(*(each.folder / "looks.json" for each in found)))
        write_json(made / "study.json", study)
        made.rename(scores)
    return scores


def demand_finished(provenance: Facts, scores: Path) -> None:
    """Raise UserError where the folder ``scores``, with this ``provenance.json``, is of a study that goes on."""
    if provenance["partial"]:
        raise UserError(f"{scores} is partial; finish the study first, by `softreg run`")


def _doubts(found: Sequence[_Source]) -> Iterator[str]:
    """Lines on what may be an oversight: parts that are not here, and code that may train otherwise."""
    there: dict[tuple[str, int], set[int]] = {}
    for each in found:
        if part := parts.named(each.study["name"]):
            there.setdefault((part[0], part[2]), set()).add(part[1])
    for (name, of), mine in there.items():
        if lacking := sorted({*range(1, of + 1)} - mine):
            yield f"softreg: not among the folders: {', '.join(parts.name_of(name, part, of) for part in lacking)}\n"
    # Scores name the commit of each network; what its code trains alike has a digest in keys alone.
    first, *others = ((each.folder, [*each.provenance["cells"].get("commit", {})]) for each in found)
    if other := next((other for other in others if {*other[1]} != {*first[1]}), None):
        told = " and ".join(f"{folder.parent} by {few([one[:12] for one in mine])}" for folder, mine in (first, other))
        yield f"softreg: trained by other commits, which may train otherwise: {told}\n"


def _source(results: Path) -> _Source:
    if not results.is_dir():
        raise UserError(f"{results} is missing; give the folders of results that are to be merged")
    scores = results / "scores"
    if not (scores / "study.json").is_file():
        raise UserError(f"{results}: holds no scores/study.json; give the results of a study whose scores are gathered")
    gather.demand_records(scores)
    study, provenance, datasets = (_facts(scores / f"{name}.json") for name in ("study", "provenance", "datasets"))
    demand_finished(provenance, scores)
    return _Source(scores, study, provenance, datasets)


def _facts(file: Path) -> Facts:
    with reading(file, "what was gathered"):
        return dict(read_json(file))


def _demand_alike(first: _Source, other: _Source) -> None:
    """Raise UserError for the first thing in which two studies differ that decides scores."""
    if (a := first.provenance["softreg"]) != (b := other.provenance["softreg"]):
        raise UserError(
            f"{other.folder}: gathered by softreg {b}, and {first.folder} by {a}; gather both by one version"
        )
    pairs: list[tuple[tuple[str, ...], Any, Any]] = [((), _design(first.study), _design(other.study))]
    for section in _SECTIONS:
        one, two = first.study[section], other.study[section]
        pairs += [((section, name), one[name], two[name]) for name in one if name in two]
    for where, one, two in pairs:
        if differs := next(_differences(where, one, two), None):
            place, a, b = differs
            raise UserError(
                f"{other.folder}: {'.'.join(place)} is {show(b)}, and {show(a)} in {first.folder}: what is merged has "
                "to be of one design"
            )
    for (name, key), content in first.contents.items():
        if other.contents.get((name, key), content) != content:
            raise UserError(f"{other.folder}: {name} is not the data set of {first.folder}: {key} differs")
    digests = {content: name for (name, key), content in first.contents.items() if key.startswith("content_digest")}
    for (name, _), content in other.contents.items():
        # What is a list has no digest.
        same = digests.get(content, name) if isinstance(content, str) else name
        if same != name:
            raise UserError(f"{other.folder}: {name} is {same} of {first.folder} under another name: call it {same}")


def _design(study: Facts) -> Facts:
    """What has to be the same in all studies, beside data sets and models that two of them have."""
    kept = {key: value for key, value in study.items() if key not in _FREE}
    return kept | {"resources": {"gpu": study["resources"]["gpu"]}}


def _differences(where: tuple[str, ...], one: Any, two: Any) -> Iterator[tuple[tuple[str, ...], Any, Any]]:
    """The places in which two JSON values differ, with what is there; None where a key is lacking."""
    if isinstance(one, dict) and isinstance(two, dict):
        for key in dict.fromkeys([*one, *two]):
            yield from _differences((*where, key), one.get(key), two.get(key))
    elif one != two:
        yield where, one, two


def _tables(found: Sequence[_Source], name: str) -> pa.Table:
    """The rows of a file of all sources; raises UserError where one has other columns, as of another version."""
    tables = [each.table(name) for each in found]
    if other := next((each for each, mine in zip(found, tables, strict=True) if mine.schema != tables[0].schema), None):
        raise UserError(
            f"{other.folder / name} has other columns than in {found[0].folder}; gather both by one version"
        )
    return pa.concat_tables(tables)


def _demand_whole(found: Sequence[_Source], cells: pd.DataFrame, tests: pd.DataFrame) -> None:
    """Raise UserError where a network is in two sources, an outer fold in none, or an image tested in two folds."""
    twice = cells[cells.duplicated(_PLACE)]
    if len(twice):
        row = twice.iloc[0]
        raise UserError(
            f"{row['phase']} {row['dataset']}/{row['model']}/{row['penalty']} seed {row['seed']} is in two of the "
            "folders; name each part once"
        )
    folds = found[0].study["evaluation"]["folds"] or 0
    for (dataset, model), mine in cells.groupby(["dataset", "model"], sort=False)["fold"]:
        if lacking := sorted({*range(folds)} - {*mine}):
            raise UserError(
                f"no folder holds fold {', '.join(map(str, lacking))} of {dataset} and {model}; name all parts"
            )
    tests = tests.drop_duplicates()
    for _, row in tests[tests.duplicated(["dataset", "image"])].iterrows():
        raise UserError(f"{row['dataset']}: {row['image']} is tested in two folds; the parts have not the same images")


def _joined_study(found: Sequence[_Source], name: str) -> Facts:
    study = dict(found[0].study) | {"name": name}
    study["title"] = "; ".join(dict.fromkeys(each.study["title"] for each in found))
    for section in _SECTIONS:
        # Entries of one name are the same in all.
        study[section] = {key: entry for each in found for key, entry in each.study[section].items()}
    return study


def _images(found: Sequence[_Source]) -> pa.Table:
    rows = _tables(found, "images.parquet").to_pandas().drop_duplicates(["dataset", "split", "image"])
    return pa.Table.from_pandas(rows, schema=gather.IMAGES, preserve_index=False)


def _joined_datasets(found: Sequence[_Source], images: pa.Table) -> dict[str, Facts]:
    """The facts of each data set; of one whose outer folds are spread, with the test ``images`` of all of them."""
    about: dict[str, Facts] = {}
    for name in dict.fromkeys(name for each in found for name in each.datasets):
        holders = [each for each in found if name in each.folds]
        # The first fold's facts stand for all.
        first = min(holders, key=lambda each: min(each.folds[name]))
        spread = {*first.folds[name]} != set.union(*(each.folds[name] for each in holders))
        about[name] = gather.with_folds(first.datasets[name], images) if spread else first.datasets[name]
    return about


def _write_records(found: Sequence[_Source], study: Facts, test: pa.Table, scores: Path) -> None:
    records.write(_tables(found, "sums.parquet"), scores / "sums.parquet", records.SUMS)
    pictures = _tables(found, "examples.parquet")
    kept = _examples(study, test, pictures)
    gather.write_tested(test, kept, study["datasets"], scores)
    named = pictures.drop_columns("percentile").to_pandas().drop_duplicates(["dataset", "image"])
    rows = kept.merge(named, on=["dataset", "image"])
    table = pa.Table.from_pandas(rows, schema=gather.EXAMPLES, preserve_index=False)
    records.write_parquet(table, scores / "examples.parquet")


def _examples(study: Facts, test: pa.Table, pictures: pa.Table) -> pd.DataFrame:
    """Of each data set and model, the pictured images that are nearest to the percentiles of all.

    Each part has kept pictures of its own images alone.
    """
    at_hand = {*zip(pictures["dataset"].to_pylist(), pictures["image"].to_pylist(), strict=True)}
    predicted = test.filter(pc.is_valid(test["prediction"])).group_by(["dataset", "model", "image"]).aggregate([])
    rows = []
    for (dataset, _), mine in predicted.to_pandas().groupby(["dataset", "model"], sort=False):
        images = {image for image in mine["image"] if (dataset, image) in at_hand}
        rows.append(gather.examples_of(study, test, str(dataset), images))
    empty = pd.DataFrame(columns=["dataset", "image", "percentile"])
    return pd.concat([empty, *rows], ignore_index=True).drop_duplicates(["dataset", "image"])


def _write_rows(found: Sequence[_Source], scores: Path) -> None:
    """What has a row per cell, layer, epoch or group; the sweep first, as one study has it."""
    for name in ("cells.parquet", "layers.parquet", "histories.parquet"):
        table = _tables(found, name).sort_by([("phase", "descending")])
        records.write_parquet(table.combine_chunks(), scores / name)
    for name in ("timings.csv", "selection.csv"):
        rows = _tables(found, name).to_pandas()
        if name == "timings.csv":
            rows = rows.sort_values("phase", ascending=False, kind="stable")
        write_text(scores / name, rows.to_csv(index=False, lineterminator="\n"))


def _joined_provenance(found: Sequence[Facts]) -> Facts:
    """Values and how many cells have each, summed; the earliest and the latest time."""
    counts: dict[str, Counter[str]] = {}
    for each in found:
        for name, values in each["cells"].items():
            counts.setdefault(name, Counter()).update(values)
    cells = {name: dict(values.most_common(gather.MOST_FREQUENT)) for name, values in counts.items()}
    for name, end in (("trained from", min), ("trained until", max)):
        if name in counts:
            cells[name] = {end(counts[name]): counts[name].total()}
    return {**found[0], "cells": cells}
