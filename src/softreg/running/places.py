"""Where everything lies, below the working folder. Imports no torch."""

from __future__ import annotations

from pathlib import Path

from softreg.data.datasets import archives_of, prepared_folder
from softreg.own.sources import is_own, slug
from softreg.study.cells import final_file
from softreg.study.config import Study
from softreg.study.folds import joined
from softreg.study.matrix import Group

DATA = Path("data")
RESULTS = Path("results")
RECORDS = {"sweep": ("val.parquet",), "final": ("test.parquet", "sums.parquet")}
"""The files of score records in a path's folder, by phase; all but ``test.parquet`` hold sums."""
LOOKS = "looks.json"
"""The numbers of seeds at which a study was looked at."""
_SCORES = (
    "cells.parquet",
    "sums.parquet",
    "layers.parquet",
    "histories.parquet",
    "images.parquet",
    "examples.parquet",
    "timings.csv",
    "selection.csv",
    "datasets.json",
    "study.json",
    "provenance.json",
    LOOKS,
)
PAPER = ("report.html", "metrics.json", "figures", "tables")
"""What is written from scores, in a study's results."""


def results_folder(study: Study) -> Path:
    """Where everything that a study makes lies."""
    return RESULTS / study.name


def paper_folder(study: Study) -> Path:
    """Where a paper is made from existing scores: the study's results, or published ones where it has none here."""
    published = RESULTS / "published" / study.name
    own = results_folder(study)
    return published if (published / "scores").is_dir() and not (own / "scores").is_dir() else own


def scores_of(study: Study) -> tuple[str, ...]:
    """The files of a study's gathered scores."""
    return (*(final_file(Path(), name).name for name in joined(study.datasets)), *_SCORES)


def raw_folder(kind: str) -> Path:
    """Where the archives of a kind of data set lie, as published."""
    return DATA / "raw" / (slug(kind) if is_own(kind) else kind)


def archive_files(study: Study, dataset: str) -> list[str]:
    """The archives that a data set is prepared from."""
    kind = study.datasets[dataset]["kind"]
    return [(raw_folder(kind) / archive.filename).as_posix() for archive in archives_of(kind)]


def description(study: Study, dataset: str) -> Path:
    """The file that describes a prepared data set."""
    return prepared_folder(study, dataset) / "dataset.json"


def revealed(study: Study, group: Group) -> Path:
    """The scores on test of one group's sweep."""
    return results_folder(study).joinpath("sweep", *group, "sums.parquet")
