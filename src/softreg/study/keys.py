"""What results depend on, as JSON values and digests: what the study says, and the code. Imports no torch.

`softreg.study.cells` makes the key of one network of it, `softreg.running.graph` those of whole jobs.
"""

from __future__ import annotations

import functools
from pathlib import Path
from typing import Any

from softreg.files import digest, sha256_file
from softreg.own.sources import is_own
from softreg.study.config import Study
from softreg.study.fingerprint import code_fingerprint, module_of
from softreg.study.matrix import Group, TrainingPath
from softreg.study.treatment import CONTROLS

#: Training options that change no weight.
_IDLE_OPTIONS = frozenset({"checkpoint_seconds"})
#: Keys of a penalty's entry that say which cells there are or what for, or that are told elsewhere in the key.
_KEYS_TOLD_ELSEWHERE = frozenset({"lambda", "models", "training", "check"})


def path_spec(study: Study, path: TrainingPath) -> dict[str, Any]:
    """All that the study says which the weights of a path's cells depend on, apart from λ."""
    fold = None if path.fold is None else [path.fold, study.selection["folds"]]
    return {**group_spec(study, path.group), "seed": path.seed, "fold": fold}


def group_spec(study: Study, group: Group) -> dict[str, Any]:
    """What `path_spec` says of all paths of a group."""
    dataset, model, penalty = group
    training = study.training_of(model, penalty)
    network = {key: value for key, value in study.models[model].items() if key != "training"}
    entry = {key: value for key, value in study.penalties[penalty].items() if key not in _KEYS_TOLD_ELSEWHERE}
    return {
        "dataset": _placeless(study.datasets[dataset]),
        "model": _placeless(network),
        "files": [_files(network), _files(entry)],
        "penalty": _placeless(entry),
        "training": {key: value for key, value in training.items() if key not in _IDLE_OPTIONS},
        "threads": study.resources["threads"],
        # bfloat16 on a GPU, float32 on the CPU: not the same experiment.
        "gpu": study.resources["gpu"] > 0,
    }


def training_code(study: Study, group: Group) -> str:
    """The fingerprint of the code that trains a group."""
    penalty = study.penalties[group[2]]["kind"]
    model = module_of("networks", study.models[group[1]]["kind"])
    return code_fingerprint(
        "softreg.training.path", model, module_of("penalties", "none" if penalty in CONTROLS else penalty)
    )


def scoring_key(study: Study, phase: str, model: str) -> str:
    """Changes when networks of a model must be scored again; the sweep knows no corruptions."""
    # Outer folds are told by the data.
    final = {key: value for key, value in study.evaluation.items() if key != "folds"}
    options = final if phase == "final" else {"batch_size": study.evaluation["batch_size"]}
    code = code_fingerprint("softreg.scoring.evaluate", module_of("networks", study.models[model]["kind"]))
    return digest([options, study.resources["gpu"] > 0, code])


def _placeless(entry: dict[str, Any]) -> dict[str, Any]:
    """An entry, without the folder or the package of a user's own class: its code is told elsewhere in the key."""
    return {**entry, "kind": entry["kind"].rpartition(":")[2]} if is_own(entry["kind"]) else entry


def _files(entry: dict[str, Any]) -> dict[str, str]:
    """The digests of the user's files that an entry's options name, such as pretrained weights."""
    options = {key: Path(value) for key, value in entry.items() if key != "kind" and isinstance(value, str)}
    files = {key: (file, file.stat()) for key, file in options.items() if file.is_file()}
    return {key: _sha256_of(file, state.st_size, state.st_mtime_ns) for key, (file, state) in files.items()}


@functools.cache
def _sha256_of(file: Path, size: int, modified: int) -> str:
    """SHA-256 of a file in this state: a study asks for it once a group."""
    return sha256_file(file)
