"""Cells on disk: where a cell lies, the key of all that its weights depend on, and its record. Imports no torch."""

from __future__ import annotations

import functools
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from softreg.files import digest, read_json, sha256_file
from softreg.own.sources import is_own
from softreg.study.config import Study
from softreg.study.fingerprint import code_fingerprint, module_of
from softreg.study.matrix import TrainingPath
from softreg.study.treatment import CONTROLS

#: A status that training again with the same key would only repeat.
SETTLED = frozenset({"finished", "diverged"})
#: Training options that change no weight.
_IDLE_OPTIONS = frozenset({"checkpoint_seconds"})

#: Keys of a penalty's entry that say which cells there are, or that are told elsewhere in the key.
_KEYS_TOLD_ELSEWHERE = frozenset({"lambda", "models", "training"})


@dataclass(frozen=True)
class Cell:
    """One trained network: its folder, its λ as the study spells it, and its key."""

    folder: Path
    lambda_: str
    key: str

    def record(self) -> dict[str, Any] | None:
        """The content of ``cell.json`` if it was made under this key, else None."""
        try:
            record: dict[str, Any] = read_json(self.folder / "cell.json")
        except FileNotFoundError:
            return None
        return record if record["key"] == self.key else None

    def settled(self) -> bool:
        """Whether the cell has ended in a way that stands: its weights, where it has any, are there."""
        record = self.record()
        if record is None or record["status"] not in SETTLED:
            return False
        return record["status"] == "diverged" or (self.folder / "weights.safetensors").is_file()


def path_folder(results: Path, path: TrainingPath) -> Path:
    """The folder of a path; ``results`` is the study's own folder."""
    return results / path.phase / path.name


def path_spec(study: Study, path: TrainingPath) -> dict[str, Any]:
    """All that the study says which the weights of a path's cells depend on, apart from λ."""
    training = study.training_of(path.model, path.penalty)
    model = {key: value for key, value in study.models[path.model].items() if key != "training"}
    penalty = {key: value for key, value in study.penalties[path.penalty].items() if key not in _KEYS_TOLD_ELSEWHERE}
    return {
        "dataset": _placeless(study.datasets[path.dataset]),
        "model": _placeless(model),
        "files": [_files(model), _files(penalty)],
        "penalty": _placeless(penalty),
        "training": {key: value for key, value in training.items() if key not in _IDLE_OPTIONS},
        "seed": path.seed,
        "fold": None if path.fold is None else [path.fold, study.selection["folds"]],
        "threads": study.resources["threads"],
        # bfloat16 on a GPU, float32 on the CPU: not the same experiment.
        "gpu": study.resources["gpu"] > 0,
    }


def _placeless(entry: dict[str, Any]) -> dict[str, Any]:
    """An entry, without the folder or the package of a user's own class: its code is told elsewhere in the key."""
    return {**entry, "kind": entry["kind"].rpartition(":")[2]} if is_own(entry["kind"]) else entry


def _files(entry: dict[str, Any]) -> dict[str, str]:
    """The digests of the user's files that an entry's options name, such as pretrained weights."""
    options = {key: value for key, value in entry.items() if key != "kind" and isinstance(value, str)}
    return {key: _digest_of(Path(value)) for key, value in options.items() if Path(value).is_file()}


def _digest_of(file: Path) -> str:
    state = file.stat()
    return _sha256_of(file, state.st_size, state.st_mtime_ns)


@functools.cache
def _sha256_of(file: Path, size: int, modified: int) -> str:
    """SHA-256 of a file in this state: a study asks for it once a path."""
    return sha256_file(file)


def training_code(study: Study, path: TrainingPath) -> str:
    """The fingerprint of the code that trains a path."""
    penalty = study.penalties[path.penalty]["kind"]
    return _training_code(study.models[path.model]["kind"], "none" if penalty in CONTROLS else penalty)


def _training_code(model: str, penalty: str) -> str:
    return code_fingerprint("softreg.training.path", module_of("networks", model), module_of("penalties", penalty))


def make_cells(study: Study, path: TrainingPath, lambdas: list[str], results: Path, content_digest: str) -> list[Cell]:
    """The cells of a path, one per λ; ``content_digest`` is that of the prepared data."""
    common = {**path_spec(study, path), "code": training_code(study, path), "data": content_digest}
    folder = path_folder(results, path)
    return [Cell(folder / f"lambda-{lambda_}", lambda_, digest({**common, "lambda": lambda_})) for lambda_ in lambdas]
