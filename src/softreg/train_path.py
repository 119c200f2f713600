"""Training a path: the λ of one dataset × model × penalty × seed, one after another on one bench.

Each cell ends in one status. What another try may mend (a signal, a lost GPU, a full disk) is raised instead,
so that the engine retries; the cell then goes on from its checkpoint.
"""

from __future__ import annotations

import traceback
from collections.abc import Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

import pandas as pd
import torch
from safetensors.torch import save_file
from torch import Tensor

from softreg import models, penalties
from softreg.cells import Cell
from softreg.checkpoint import Progress
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

    Raises UserError where the study's model cannot be built, Interrupted when ``stop`` asks.
    """
    device = open_device(study.resources["gpu"], study.resources["threads"])
    try:
        bench = make_bench(study, path, data, classes, device)
    except Exception as error:
        outcome = _outcome(error)
        for cell in cells:
            _write_record(path, cell, outcome, device)
        return
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
        model = model.to(memory_format=torch.channels_last)
    train, val = open_training(data, path.fold, study.selection)
    crop = _crop(training["crop"], train.size, model.stride)
    initial = {name: tensor.clone() for name, tensor in model.state_dict().items()}
    weights = _reached(model, model.weights(penalty["weights"]), crop)
    if not weights:
        raise UserError(
            f"{study.file}: penalties.{path.penalty}.weights is {penalty['weights']!r}, but model {path.model} "
            "has no such weights; choose all, encoder or decoder"
        )
    return Bench(
        model=model,
        initial=initial,
        weights=weights,
        penalty=penalties.make(penalty),
        realisation=penalty["realisation"],
        objective=make_objective(training["objective"]),
        train=Batches(train, device),
        val=Batches(val, device),
        training=training,
        crop=crop,
        seed=path.seed,
        evaluation_batch=study.evaluation["batch_size"],
    )


def _reached(model: Segmenter, weights: list[Tensor], crop: tuple[int, int]) -> list[Tensor]:
    """Those of ``weights`` that the data term depends on.

    Libraries keep layers which no output passes through (a classifier's last one, stages beyond a smaller depth):
    their zeros would count as sparsity that cost nothing.
    """
    if not weights:
        return []
    model.eval()
    logits = model(torch.zeros(1, 3, *crop, device=weights[0].device))
    gradients = torch.autograd.grad(logits.float().sum(), weights, allow_unused=True)
    return [weight for weight, gradient in zip(weights, gradients, strict=True) if gradient is not None]


def _crop(crop: int | list[int] | None, size: tuple[int, int], stride: int) -> tuple[int, int]:
    """Height and width of the training images: the crop, or the whole image, up to what ``stride`` divides."""
    height, width = size if crop is None else (crop, crop) if isinstance(crop, int) else crop
    return height + -height % stride, width + -width % stride


@dataclass(frozen=True)
class _Outcome:
    """How a cell has ended: its status, and what its record says beside it."""

    status: str
    reason: str = ""
    log_tail: Sequence[str] = ()
    facts: dict[str, Any] = field(default_factory=dict)


def _train_cell(bench: Bench, path: TrainingPath, cell: Cell, stop: StopRequest, progress: PathProgress) -> None:
    cell.folder.mkdir(parents=True, exist_ok=True)
    checkpoint = cell.folder / "checkpoint.pt"
    weights = cell.folder / "weights.safetensors"
    weights.unlink(missing_ok=True)
    try:
        trainer = CellTrainer(bench, float(cell.lambda_), checkpoint, cell.key, stop, progress.epoch)
        progress.begin(cell.lambda_, trainer.progress.epoch)
        done = trainer.run()
        _write_history(cell.folder / "history.csv", done.history)
        save_weights(bench.model, weights)
        outcome = _Outcome("finished", facts=_facts(bench, done, weights))
    except Exception as error:
        outcome = _outcome(error)
        progress.say(f"λ={cell.lambda_}  {outcome.status}: {outcome.reason}")
    _write_record(path, cell, outcome, bench.train.device)
    checkpoint.unlink(missing_ok=True)
    if bench.train.device.type == "cuda":
        torch.cuda.empty_cache()


def _outcome(error: Exception) -> _Outcome:
    """How a cell ends that met ``error``; raises it where another try, or another study, is called for."""
    if isinstance(error, Diverged):
        return _Outcome("diverged", str(error))
    if isinstance(error, Interrupted | UserError):
        raise error
    memory = isinstance(error, torch.OutOfMemoryError | MemoryError) or _CPU_MEMORY in str(error)
    if not memory and (isinstance(error, OSError) or any(sign in str(error) for sign in _TRANSIENT)):
        raise error
    reason = f"{type(error).__name__}: {error}".splitlines()[0]
    log = "".join(traceback.format_exception(error)).splitlines()
    return _Outcome("out-of-memory" if memory else "failed", reason, log[-_LOG_TAIL:])


def _facts(bench: Bench, done: Progress, weights: Path) -> dict[str, Any]:
    return {
        "steps": done.epoch * bench.steps_per_epoch,
        "parameters": sum(parameter.numel() for parameter in bench.model.parameters()),
        "penalised": sum(weight.numel() for weight in bench.weights),
        **weight_summary(bench.weights),
        "weights_sha256": sha256_file(weights),
        "seconds": done.seconds,
    }


#: What only a finished cell can say.
_NO_FACTS = dict.fromkeys(
    ("steps", "parameters", "penalised", "exact_zeros", "norm_l1", "norm_l2", "weights_sha256", "seconds")
)


def _write_record(path: TrainingPath, cell: Cell, outcome: _Outcome, device: torch.device) -> None:
    record = {
        "status": outcome.status,
        "reason": outcome.reason,
        "log_tail": list(outcome.log_tail),
        "key": cell.key,
        **asdict(path),
        "lambda": cell.lambda_,
        **_NO_FACTS,
        **outcome.facts,
        "provenance": provenance(device_name(device)),
    }
    write_json(cell.folder / "cell.json", record)


def _write_history(file: Path, history: list[dict[str, Any]]) -> None:
    with whole_file(file) as temporary:
        pd.DataFrame(history).to_csv(temporary, index=False)


def save_weights(model: Segmenter, file: Path) -> None:
    """Write the model's state, normalisation included, as safetensors, whole or not at all."""
    state = {name: tensor.contiguous().cpu() for name, tensor in model.state_dict().items()}
    with whole_file(file) as temporary:
        save_file(state, temporary)
