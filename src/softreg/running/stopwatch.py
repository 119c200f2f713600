"""One data set × model timed: some steps of the real training, with each penalty, and some images scored.

``python -m softreg.running.stopwatch STUDY DATASET MODEL`` prints what it measured as JSON;
`softreg.running.calibrate` starts it in a fresh process, as a job has one, and says in SOFTREG_BEGUN when.
"""

from __future__ import annotations

import json
import os
import signal
import statistics
import sys
import tempfile
import time
from collections.abc import Callable, Sequence
from contextlib import suppress
from dataclasses import replace
from pathlib import Path
from typing import Any

import torch

from softreg.data.datasets import prepared_folder
from softreg.errors import UserError
from softreg.files import read_json
from softreg.networks.segmenter import Segmenter
from softreg.scoring.corruptions import Corrupted
from softreg.scoring.evaluate import score
from softreg.study.config import Study, load_study
from softreg.study.matrix import TrainingPath, sweep_paths
from softreg.training import checkpoint
from softreg.training.cell import Bench, CellTrainer
from softreg.training.device import device_name, open_device, peak_memory
from softreg.training.diagnostics import layer_rows, weight_summary
from softreg.training.imageset import Batches, open_split
from softreg.training.path import make_bench, save_weights
from softreg.training.stopping import Interrupted, StopRequest
from softreg.training.validation import validation_miou

BEGUN = "SOFTREG_BEGUN"
"""The time, by `time.time`, at which the process was started: variable of the environment."""
STEPS_SECONDS = 10.0
"""For the steps with all penalties together; those that no time is left for stay out."""
FEWEST, MOST = 3, 60


class _Stopwatch(StopRequest):
    """Times the steps of a training, which asks it after each of them, and stops it when enough are timed."""

    def __init__(self, budget: float) -> None:
        self.trainer: CellTrainer | None = None
        self.ends = time.perf_counter() + budget
        self.seconds: list[float] = []
        self.before = 0.0

    @property
    def signal(self) -> int | None:  # type: ignore[override]
        """The signal to stop by, or None. A step has just ended."""
        assert self.trainer is not None
        if self.trainer.bench.train.device.type == "cuda":
            torch.cuda.synchronize()
        progress = self.trainer.progress
        self.seconds.append(progress.epoch_seconds - (self.before if progress.step > 1 else 0.0))
        self.before = progress.epoch_seconds
        return signal.SIGTERM if self._enough() else None

    def check(self) -> None:
        """Raise Interrupted if enough are timed."""
        if self._enough():
            raise Interrupted

    def seconds_a_step(self) -> float:
        """The mean without the first step, which warms up: a slow step is part of what a training takes."""
        return statistics.mean(self.seconds[1:] or self.seconds)

    def _enough(self) -> bool:
        timed = len(self.seconds) - 1
        return timed >= MOST or (timed >= FEWEST and time.perf_counter() > self.ends)


def measure(study: Study, dataset: str, model: str) -> dict[str, Any]:
    """What `softreg.running.calibrate` describes. Raises UserError where nothing of it can be trained here."""
    data = prepared_folder(study, dataset)
    device = open_device(study.resources["gpu"], study.resources["threads"])
    paths = {path.penalty: path for path in sweep_paths(study) if (path.dataset, path.model) == (dataset, model)}
    steps, costs, network = _train_each(study, list(paths.values()), data, device)
    if network is None:
        raise UserError(f"{study.file}: no penalty of {dataset} × {model} can be trained here, for the reasons above")
    images = {split: Batches(open_split(data, split), device) for split in ("val", "test")}
    validation = _validation(network, images["val"], study.evaluation["batch_size"])
    scoring = _scoring(network, images["test"], study.evaluation)
    measured = {**costs, "steps": steps, "validation": validation, "scoring": scoring}
    return measured | {"device": device_name(device), "peak_memory": peak_memory(device)}


def _train_each(
    study: Study, paths: Sequence[TrainingPath], data: Path, device: torch.device
) -> tuple[dict[str, float], dict[str, float], Segmenter | None]:
    """Seconds a step with each penalty, the other costs of a training, and the last network trained."""
    classes = len(read_json(data / "dataset.json")["classes"])
    steps: dict[str, float] = {}
    costs: dict[str, float] = {}
    network = None
    ends = time.perf_counter() + STEPS_SECONDS
    for place, path in enumerate(paths):
        budget = (ends - time.perf_counter()) / (len(paths) - place)
        if steps and budget <= 0:
            break
        grid = study.penalties[path.penalty]["lambda"]
        strength = float(grid[len(grid) // 2])
        try:
            bench = make_bench(study, path, data, classes, device, strength)
            costs.setdefault("startup", time.time() - float(os.environ[BEGUN]))
            steps[path.penalty], found = _train(bench, strength, budget)
        except (UserError, ValueError, RuntimeError) as error:
            # A network that cannot be trained is recorded as failed, in no time; the others tell the cost.
            print(f"softreg: {path.penalty}: {error}", file=sys.stderr)
            continue
        costs, network = {**costs, **found}, bench.model
    return steps, costs, network


def _train(bench: Bench, strength: float, budget: float) -> tuple[float, dict[str, float]]:
    """Seconds a step, and of what comes with a cell and an epoch; bytes of the weights; the share of a core had."""
    stop = _Stopwatch(budget)
    with tempfile.TemporaryDirectory() as folder:
        file, weights = Path(folder) / "checkpoint.pt", Path(folder) / "weights.safetensors"
        began = time.perf_counter()
        stop.trainer = trainer = CellTrainer(bench, strength, file, "", stop, lambda row: None)
        made = time.perf_counter() - began
        running, computing = time.perf_counter(), time.thread_time()
        with suppress(Interrupted):
            trainer.run()
        share = (time.thread_time() - computing) / (time.perf_counter() - running)
        save = _seconds(lambda: checkpoint.save(file, "", trainer.progress, bench.model, trainer.optimizer))
        look = _seconds(lambda: (weight_summary(bench.regulariser.weights), bench.regulariser.value()))
        rates = [None] * len(bench.layers.layers)
        rows = _seconds(lambda: layer_rows(bench.layers, bench.regulariser, strength, rates))
        store = _seconds(lambda: save_weights(bench.model, weights))
        size = weights.stat().st_size
    costs = {"cell": made + rows + store, "epoch": save + look, "weights_bytes": size, "share": share}
    return stop.seconds_a_step(), costs


def _validation(network: Segmenter, images: Batches, batch_size: int) -> float:
    """Seconds an image of a validation."""
    few = _first(images, batch_size)
    validation_miou(network, few, batch_size, lambda: None)
    return _seconds(lambda: validation_miou(network, few, batch_size, lambda: None)) / len(few.source)


def _scoring(network: Segmenter, images: Batches, options: dict[str, Any]) -> dict[str, float]:
    """Seconds an image of scoring: plain, with the predictions kept, and under each corruption."""
    size, (severity, *_) = options["batch_size"], options["severities"]
    few = _first(images, size)

    def seconds(batches: Batches, pictures: bool = False) -> float:
        return _seconds(lambda: score(network, batches, size, pictures)) / len(few.source)

    plain = {"plain": seconds(few), "pictures": seconds(few, pictures=True)}
    return plain | {kind: seconds(Corrupted(few, kind, severity)) for kind in options["corruptions"]}


def _first(images: Batches, count: int) -> Batches:
    """The first ``count`` images alone."""
    source = images.source
    return Batches(replace(source, rows=source.rows[:count], ids=source.ids[:count]), images.device)


def _seconds(run: Callable[[], Any]) -> float:
    began = time.perf_counter()
    run()
    if torch.cuda.is_available():
        torch.cuda.synchronize()
    return time.perf_counter() - began


def main(file: str, dataset: str, model: str) -> int:
    """Print what was measured as JSON; 2 where there is a sentence to tell instead."""
    try:
        print(json.dumps(measure(load_study(Path(file)), dataset, model)))
    except UserError as error:
        print(f"softreg: {error}", file=sys.stderr)
        return 2
    return 0


if __name__ == "__main__":
    sys.exit(main(*sys.argv[1:]))
