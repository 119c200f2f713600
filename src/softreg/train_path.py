"""Training a path: the λ of one dataset × model × penalty × seed, one after another on one bench.

Each cell ends in one status. What another try may mend (a signal, a lost GPU, a full disk) is raised instead,
so that the engine retries; the cell then goes on from its checkpoint.
"""

from __future__ import annotations

import sys
import traceback
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pandas as pd
import torch
from safetensors.torch import save_file

from softreg import models, penalties
from softreg.cells import Cell
from softreg.config import Study
from softreg.device import device_name, open_device
from softreg.errors import UserError
from softreg.files import sha256_file, whole_file, write_json
from softreg.imageset import Batches, open_training
from softreg.matrix import TrainingPath
from softreg.models.segmenter import Segmenter
from softreg.objectives import make_objective
from softreg.progress import PathProgress
from softreg.provenance import provenance
from softreg.randomness import seed_global
from softreg.stopping import Interrupted, StopRequest
from softreg.train import Bench, CellTrainer, Diverged, weight_summary

_LOG_TAIL = 20
#: Signs in an error's text that the machine failed, not the training.
_TRANSIENT = ("CUDA error", "CUBLAS_STATUS", "CUDNN_STATUS", "NCCL", "No space left")
_CPU_MEMORY = "DefaultCPUAllocator"


def train_cells(
    study: Study, path: TrainingPath, cells: Sequence[Cell], data: Path, classes: int, stop: StopRequest
) -> None:
    """Train ``cells``, which belong to ``path``, on the prepared data in ``data``; each leaves its record.

    Raises UserError where the model cannot be built, Interrupted when ``stop`` asks.
    """
    device = open_device(study.resources["gpu"], study.resources["threads"])
    bench = make_bench(study, path, data, classes, device)
    progress = PathProgress(path.name, len(cells), bench.training["epochs"])
    try:
        for cell in cells:
            stop.check()
            _train_cell(bench, path, cell, stop, progress)
    finally:
        progress.close()


def make_bench(study: Study, path: TrainingPath, data: Path, classes: int, device: torch.device) -> Bench:
    """The model, data, penalty and objective of a path, on ``device``."""
    training = study.training_of(path.model)
    penalty = study.penalties[path.penalty]
    seed_global(path.seed, "init")
    model = models.build(study.models[path.model], classes).to(device)
    if device.type == "cuda":
        model = model.to(memory_format=torch.channels_last)  # type: ignore[call-overload]
    train, val = open_training(data, path.fold, study.selection)
    weights = model.weights(penalty["weights"])
    if not weights:
        raise UserError(
            f"{study.file}: penalties.{path.penalty}.weights is {penalty['weights']!r}, but model {path.model} "
            "has no such weights; choose all, encoder or decoder"
        )
    return Bench(
        model=model,
        initial={name: tensor.clone() for name, tensor in model.state_dict().items()},
        weights=weights,
        penalty=penalties.make(penalty),
        realisation=penalty["realisation"],
        objective=make_objective(training["objective"]),
        train=Batches(train, device),
        val=Batches(val, device),
        training=training,
        crop=_crop(training["crop"], train.size, model.stride),
        seed=path.seed,
        evaluation_batch=study.evaluation["batch_size"],
    )


def _crop(crop: int | list[int] | None, size: tuple[int, int], stride: int) -> tuple[int, int]:
    """Height and width of the training images: the crop, or the whole image, up to what ``stride`` divides."""
    height, width = size if crop is None else (crop, crop) if isinstance(crop, int) else crop
    return height + -height % stride, width + -width % stride


def _train_cell(
    bench: Bench, path: TrainingPath, cell: Cell, stop: StopRequest, progress: PathProgress
) -> None:
    cell.folder.mkdir(parents=True, exist_ok=True)
    checkpoint = cell.folder / "checkpoint.pt"
    seconds, steps = 0.0, 0
    status, reason, tail = "finished", "", ""
    try:
        trainer = CellTrainer(bench, float(cell.lambda_), checkpoint, cell.key, stop, progress.epoch)
        progress.begin(cell.lambda_, trainer.progress.epoch)
        done = trainer.run()
        seconds, steps = done.seconds, done.epoch * bench.steps_per_epoch
        _write_history(cell.folder / "history.csv", done.history)
    except Interrupted:
        raise
    except Diverged as error:
        status, reason = "diverged", str(error)
        _write_history(cell.folder / "history.csv", trainer.progress.history)
    except Exception as error:
        status = _status(error)
        reason, tail = f"{type(error).__name__}: {error}".splitlines()[0], traceback.format_exc()
    if status != "finished":
        progress.say(f"λ={cell.lambda_}  {status}: {reason}")
    _write_record(bench, path, cell, status, reason, tail, seconds, steps)
    checkpoint.unlink(missing_ok=True)
    if bench.train.device.type == "cuda":
        torch.cuda.empty_cache()


def _status(error: Exception) -> str:
    """The status that an error ends a cell in; raises it where another try may go well."""
    if isinstance(error, torch.OutOfMemoryError | MemoryError) or _CPU_MEMORY in str(error):
        return "out-of-memory"
    if isinstance(error, OSError) or any(sign in str(error) for sign in _TRANSIENT):
        raise error
    return "failed"


def _write_history(file: Path, history: list[dict[str, Any]]) -> None:
    with whole_file(file) as temporary:
        pd.DataFrame(history).to_csv(temporary, index=False)


def _write_record(
    bench: Bench,
    path: TrainingPath,
    cell: Cell,
    status: str,
    reason: str,
    tail: str,
    seconds: float,
    steps: int,
) -> None:
    weights = cell.folder / "weights.safetensors"
    weights.unlink(missing_ok=True)
    if status == "finished":
        save_weights(bench.model, weights)
    record = {
        "status": status,
        "reason": reason,
        "log_tail": tail.splitlines()[-_LOG_TAIL:],
        "key": cell.key,
        "phase": path.phase,
        "dataset": path.dataset,
        "model": path.model,
        "penalty": path.penalty,
        "lambda": cell.lambda_,
        "seed": path.seed,
        "fold": path.fold,
        "steps": steps,
        "parameters": sum(parameter.numel() for parameter in bench.model.parameters()),
        "penalised": sum(weight.numel() for weight in bench.weights),
        **(weight_summary(bench.weights) if status == "finished" else {}),
        "weights_sha256": sha256_file(weights) if status == "finished" else None,
        "seconds": seconds,
        "provenance": provenance(device_name(bench.train.device)),
    }
    write_json(cell.folder / "cell.json", record)


def save_weights(model: Segmenter, file: Path) -> None:
    """Write the network's state as safetensors, whole or not at all."""
    state = {name: tensor.contiguous().cpu() for name, tensor in model.network.state_dict().items()}
    with whole_file(file) as temporary:
        save_file(state, temporary)


def warn_no_gpu(study: Study) -> None:
    """Say on standard error that a study which asks for a GPU computes without one."""
    if study.resources["gpu"] and not torch.cuda.is_available():
        print(f"{study.file}: resources.gpu is 1 but torch sees no GPU; training on the CPU", file=sys.stderr)
