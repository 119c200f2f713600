"""Cells on disk: where a cell lies, the key of all that its weights depend on, and its record. Imports no torch."""

from __future__ import annotations

import csv
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from softreg.errors import UserError
from softreg.files import altered, digest, seal, sealed
from softreg.study.config import Study
from softreg.study.keys import path_spec, training_code
from softreg.study.lambdas import Trial
from softreg.study.matrix import Group, TrainingPath

#: A status that training again with the same key would only repeat.
SETTLED = frozenset({"finished", "diverged"})
PARTS = ("weights.safetensors", "history.csv", "layers.csv")
"""What a finished cell leaves beside its record."""


@dataclass(frozen=True)
class Cell:
    """One trained network: its folder, the name of its trial, which is its λ as the study spells it, and its key.

    Where λ and the learning rate are chosen together, the name has both; see `softreg.study.lambdas.Trial`.
    """

    folder: Path
    lambda_: str
    key: str

    @property
    def trial(self) -> Trial:
        """Its λ and, where the study lists several, its learning rate."""
        return Trial.named(self.lambda_)

    @property
    def strength(self) -> float:
        """Its λ as a number."""
        return float(self.trial.lambda_)

    def record(self) -> dict[str, Any] | None:
        """The content of ``cell.json`` if it is what was written, under this key; else None: it is trained again."""
        record = sealed(self.folder / "cell.json")
        return record if record is not None and record.get("key") == self.key else None

    def settled(self, reads: Callable[[Path], bool] = lambda file: False) -> bool:
        """Whether the cell has ended in a way that stands: its weights, where it has any, are those that were written.

        ``reads`` is that of `softreg.files.altered`.
        """
        record = self.record()
        return record is not None and record["status"] in SETTLED and not altered(self.folder / "cell.json", reads)

    def files(self) -> list[Path]:
        """What it has left: its record, and what the record lists."""
        return [self.folder / name for name in ("cell.json", *(self.record() or {}).get("files", {}))]

    def end(self, record: Mapping[str, Any]) -> None:
        """Leave the cell's record, once all that it speaks of is on disk."""
        parts = [self.folder / name for name in PARTS] if record["status"] == "finished" else []
        seal(self.folder / "cell.json", record, parts)


def path_folder(results: Path, path: TrainingPath) -> Path:
    """The folder of a path; ``results`` is the study's own folder."""
    return results / path.phase / path.name


def choice_file(results: Path, group: Group) -> Path:
    """Where one group's λ̂ stands; ``results`` is the study's own folder."""
    return results.joinpath("selection", *group[:2], f"{group[2]}.csv")


def final_file(scores: Path, dataset: str) -> Path:
    """Where the records of the final on the test images of one data set are, of gathered ``scores``."""
    return scores / f"final-test-{dataset}.parquet"


def chosen_trials(group: Group, results: Path) -> list[str]:
    """λ̂ of a group, the trial by name; none where no cell of its sweep has finished.

    Raises UserError where it has not been selected.
    """
    file = choice_file(results, group)
    try:
        with file.open(encoding="utf-8", newline="") as rows:
            chosen = next(csv.DictReader(rows))
            lambda_, lr = chosen["lambda"], chosen["lr"]
    except FileNotFoundError:
        raise UserError(f"{file} is missing; select λ from the sweep first") from None
    except (StopIteration, KeyError, UnicodeDecodeError):
        raise UserError(f"{file} is damaged; delete it and run `snakemake` again") from None
    return [Trial(lambda_, lr).name] if lambda_ else []


def make_cells(
    study: Study, path: TrainingPath, lambdas: Sequence[str], results: Path, content_digest: str
) -> list[Cell]:
    """The cells of a path, one per trial, of ``lambdas`` by name; ``content_digest`` is that of the prepared data."""
    common = {**path_spec(study, path), "code": training_code(study, path.group), "data": content_digest}
    folder = path_folder(results, path)
    return [Cell(folder / f"lambda-{name}", name, digest(_with_trial(common, Trial.named(name)))) for name in lambdas]


def _with_trial(common: dict[str, Any], trial: Trial) -> dict[str, Any]:
    training = common["training"] | ({"lr": float(trial.lr)} if trial.lr else {})
    return {**common, "training": training, "lambda": trial.lambda_}
