"""Calibration: what steps and images cost on this machine, where no cell of a study has been trained yet.

Each data set × model is timed in fresh processes, as many at once as jobs will run at a time, since they share the
machine's memory and caches. No torch here: the processes, `softreg.running.stopwatch`, import it.
"""

from __future__ import annotations

import json
import os
import statistics
import subprocess
import sys
import time
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from softreg.errors import UserError
from softreg.files import digest, read_json, write_json
from softreg.running import gpu, places
from softreg.study import matrix
from softreg.study.config import Study
from softreg.study.keys import group_spec

_MOST_AT_ONCE = 8
#: Of training: what may change without another calibration, as it only says how often what is timed happens.
_COUNTS = frozenset({"epochs", "validate_every", "warmup_epochs", "schedule", "lr", "checkpoint_seconds"})


def calibrate(study: Study, jobs: int) -> None:
    """Time every data set × model of a study, ``jobs`` at a time, and write ``calibration.json`` into its results.

    The file holds ``time``, ``device``, ``jobs`` and, for each data set × model, seconds: of ``startup``; ``steps``,
    one step with each penalty; ``cell`` and ``epoch``, what comes with each beside; ``validation`` of an image;
    ``scoring`` of an image; and ``weights_bytes``, ``peak_memory``, and the ``share`` of its core that training had.
    Raises UserError where data are not prepared.
    """
    for dataset in study.datasets:
        if not places.description(study, dataset).is_file():
            raise UserError(
                f"{places.description(study, dataset)} is missing; run "
                f"`snakemake data --config study={study.file}` or `softreg prepare {study.file} {dataset}` first"
            )
    count = 1 if study.resources["gpu"] else max(1, min(jobs, _MOST_AT_ONCE))
    parts = {}
    # The processes that measure see the one device that is leased here.
    with gpu.turn(study.resources["gpu"]):
        for dataset, model in pairs(study):
            print(f"calibrating {dataset} × {model}", file=sys.stderr)
            parts[f"{dataset}/{model}"] = {"key": key(study, dataset, model), **_measured(study, dataset, model, count)}
    device = next(iter(parts.values()))["device"]
    now = datetime.now(UTC).isoformat(timespec="seconds")
    write_json(file_of(study), {"time": now, "device": device, "jobs": count, "parts": parts})


def read(study: Study) -> dict[str, Any]:
    """The study's calibration; without parts where there is none."""
    return dict(read_json(file_of(study))) if file_of(study).is_file() else {"parts": {}}


def file_of(study: Study) -> Path:
    """Where the calibration of a study lies."""
    return places.results_folder(study) / "calibration.json"


def pairs(study: Study) -> list[tuple[str, str]]:
    """Each data set × model that the study trains."""
    return list(dict.fromkeys((dataset, model) for dataset, model, _ in matrix.groups(study)))


def key(study: Study, dataset: str, model: str) -> str:
    """Changes when what was timed does: the images, the network, the batches."""
    spec = group_spec(study, (dataset, model, next(iter(study.penalties))))
    training = {name: value for name, value in study.training_of(model).items() if name not in _COUNTS}
    kept = {name: spec[name] for name in ("dataset", "model", "threads", "gpu")}
    return digest([kept, training, study.evaluation["batch_size"], study.evaluation["corruptions"]])


def _measured(study: Study, dataset: str, model: str, count: int) -> Any:
    """What ``count`` processes at once measure: the median of each figure."""
    command = [sys.executable, "-m", "softreg.running.stopwatch", str(study.file), dataset, model]
    environment = {**os.environ, "SOFTREG_BEGUN": str(time.time())}
    children = [
        subprocess.Popen(command, env=environment, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
        for _ in range(count)
    ]
    ended = [(child, *child.communicate()) for child in children]
    for child, _, told in ended:
        if child.returncode:
            raise UserError(told.strip().splitlines()[-1].removeprefix("softreg: ") if told.strip() else "stopped")
    return _medians([json.loads(output) for _, output, _ in ended])


def _medians(values: list[Any]) -> Any:
    first = values[0]
    if isinstance(first, dict):
        return {name: _medians([value[name] for value in values if name in value]) for name in first}
    return statistics.median(values) if isinstance(first, int | float) else first
