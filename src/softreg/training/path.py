"""Training a path: the λ of one dataset × model × penalty × seed, one after another on one bench.

Each cell ends in one status. What another try may mend (a signal, a lost GPU, a full disk) is raised instead,
so that the engine retries; the cell then goes on from its checkpoint.
"""

from __future__ import annotations

import csv
import gc
import traceback
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path
from typing import Any

import torch
from safetensors.torch import save
from torch import Tensor

from softreg import penalties
from softreg.errors import UserError
from softreg.files import read_json, sha256_file, whole_file
from softreg.networks import probe
from softreg.networks.cell_network import build_network, sized_by_strength
from softreg.networks.layers import Layer
from softreg.networks.randomness import seed_global
from softreg.networks.segmenter import LAST, Segmenter
from softreg.networks.thin import NotThin
from softreg.own.blame import OwnFault, machine_failed, out_of_memory
from softreg.study.cells import Cell
from softreg.study.config import Study
from softreg.study.matrix import TrainingPath
from softreg.training.cell import Bench, CellTrainer, Diverged
from softreg.training.checkpoint import Progress
from softreg.training.device import begin_memory_peak, device_name, open_device, peak_memory
from softreg.training.diagnostics import Layers, layer_rows, summary, weight_summary
from softreg.training.imageset import Batches, ImageSet, open_training
from softreg.training.progress import PathProgress, Tell
from softreg.training.provenance import provenance
from softreg.training.regulariser import Regulariser
from softreg.training.stopping import Interrupted, StopRequest

_LOG_TAIL = 20


@dataclass(frozen=True)
class _Outcome:
    """How a cell has ended: its status, and what its record says beside it."""

    status: str
    reason: str = ""
    log_tail: Sequence[str] = ()
    facts: dict[str, Any] = field(default_factory=dict)


def train_cells(
    study: Study,
    path: TrainingPath,
    cells: Sequence[Cell],
    data: Path,
    classes: int,
    stop: StopRequest,
    tell: Tell,
    eager: bool = False,
) -> None:
    """Train ``cells``, which belong to ``path``, on the prepared data in ``data``; each leaves its record.

    ``tell`` hears how far it is. With ``eager``, steps are not captured in a CUDA graph.

    Raises UserError where the study's model cannot be built, Interrupted when ``stop`` asks.
    """
    device = open_device(study.resources["gpu"], study.resources["threads"])
    progress = PathProgress(path.name, len(cells), study.training_of(path.model, path.penalty)["epochs"], tell)
    bench = None
    try:
        for cell in cells:
            stop.check()
            try:
                if bench is None or sized_by_strength(study, path):
                    # Given up before the next one is made: both need not fit on the device.
                    bench = None
                    bench = replace(
                        make_bench(study, path, data, classes, device, cell.strength), eager=eager, say=progress.say
                    )
            except Exception as error:
                _write_record(path, cell, _outcome(error), device)
                continue
            _train_cell(_at_rate(bench, cell), path, cell, stop, progress)
    finally:
        progress.close()


def make_bench(
    study: Study, path: TrainingPath, data: Path, classes: int, device: torch.device, strength: float = 0.0
) -> Bench:
    """The model, data and penalty of a path, on ``device``; ``strength`` matters where it sets the network's size."""
    # A bench of before and its step refer to each other, and keep a GPU's memory until they are found.
    gc.collect()
    training = study.training_of(path.model, path.penalty)
    entry = study.penalties[path.penalty]
    seed_global(path.seed, "init")
    model = build_network(study, path, classes, strength).to(device)
    train, val = open_training(data, path.fold, study.selection)
    crop = crop_of(training["crop"], train.size, model.stride)
    initial = {name: tensor.clone() for name, tensor in model.state_dict().items()}
    layers = _layers(model, crop, val.size)
    return Bench(
        model=model,
        initial=initial,
        layers=layers,
        regulariser=_regulariser(study, path, model, layers, crop),
        kind=entry["kind"],
        prune_between=tuple(entry["between"]) if entry["kind"] == "pruning" else (1.0, 1.0),
        class_shares=_class_shares(study, path, read_json(data / "dataset.json"), train),
        train=Batches(train, device),
        val=Batches(val, device),
        training=training,
        crop=crop,
        seed=path.seed,
        evaluation_batch=study.evaluation["batch_size"],
    )


def _class_shares(study: Study, path: TrainingPath, about: Mapping[str, Any], train: ImageSet) -> list[float]:
    """Each class's share of the pixels that the path trains on; ``about`` tells of the data set and its own split."""
    if path.fold is None:
        shares: list[float] = about["class_shares"]["train"]
        return shares
    shares = train.class_shares(len(about["classes"]))
    if missing := [name for name, share in zip(about["classes"], shares, strict=True) if not share > 0]:
        raise UserError(
            f"{study.file}: selection.folds is {study.selection['folds']}, and fold {path.fold} of {path.dataset} "
            f"leaves no pixel of the class {missing[0]!r} to train on; give another number, or `scorer: holdout`"
        )
    return shares


def _layers(model: Segmenter, crop: tuple[int, int], size: tuple[int, int]) -> Layers:
    """The layers that the data term depends on; ``size`` is that of the images that are scored."""
    layers = probe.reached(model, model.layers(), crop)
    return Layers(layers, probe.normalised(model, layers, crop), probe.positions(model, layers, size))


def _regulariser(
    study: Study, path: TrainingPath, model: Segmenter, layers: Layers, crop: tuple[int, int]
) -> Regulariser:
    """The path's penalty on the part of the layers, or of all parameters, that the study names."""
    entry = study.penalties[path.penalty]
    chosen = _chosen(model, layers, entry["weights"])
    demand_place(study, path, model, chosen)
    penalty = penalties.make(entry)
    origin = _origin(model, chosen) if penalty.origin == "pretrained" else None
    others = _others(model, chosen, crop) if entry["weights"] == "everything" else []
    return Regulariser(penalty, entry.get("realisation", "proximal"), chosen, origin, others)


def demand_place(study: Study, path: TrainingPath, model: Segmenter, chosen: Sequence[Layer]) -> None:
    """Raise UserError where the path's penalty has nothing in the model to act on; ``chosen`` are the layers."""
    entry = study.penalties[path.penalty]
    if entry["kind"] == "dropout" and model.head is None:
        raise UserError(
            f"{study.file}: penalties.{path.penalty} drops what enters the network's last layer, which model "
            f"{path.model} does not name; give it as `head` in its class, or name other models under `models`"
        )
    if not chosen:
        raise UserError(
            f"{study.file}: penalties.{path.penalty}.weights is {entry['weights']!r}, but model {path.model} "
            "has no such weights; choose all, encoder or decoder, or name other models under `models`"
        )


def _others(model: Segmenter, layers: Sequence[Layer], crop: tuple[int, int]) -> list[Tensor]:
    """The biases, and the parameters of normalisation."""
    weights = {id(layer.weight) for layer in layers}
    return [parameter for parameter in probe.parameters_reached(model, crop) if id(parameter) not in weights]


def _chosen(model: Segmenter, layers: Layers, part: str) -> list[Layer]:
    if part == "everything":
        return list(layers.layers)
    if part == "normalised":
        return [layer for layer, normalised in zip(layers.layers, layers.normalised, strict=True) if normalised]
    named = {layer.name for layer in model.layers(part)}
    return [layer for layer in layers.layers if layer.name in named]


def _origin(model: Segmenter, layers: Sequence[Layer]) -> list[Tensor]:
    """The pretrained weights of each layer, or zeros where it starts from random ones."""
    return [
        layer.weight.detach().clone()
        if model.pretrained and model.in_encoder(layer)
        else torch.zeros_like(layer.weight)
        for layer in layers
    ]


def crop_of(crop: int | list[int] | None, size: tuple[int, int], stride: int) -> tuple[int, int]:
    """Height and width of the training images: the crop, or the whole image, up to what ``stride`` divides."""
    height, width = size if crop is None else (crop, crop) if isinstance(crop, int) else crop
    return height + -height % stride, width + -width % stride


def _at_rate(bench: Bench, cell: Cell) -> Bench:
    """The bench with the cell's own learning rate, where the path tries several."""
    lr = cell.trial.lr
    return replace(bench, training={**bench.training, "lr": float(lr)}) if lr else bench


def _train_cell(bench: Bench, path: TrainingPath, cell: Cell, stop: StopRequest, progress: PathProgress) -> None:
    cell.folder.mkdir(parents=True, exist_ok=True)
    checkpoint = cell.folder / "checkpoint.pt"
    weights = cell.folder / "weights.safetensors"
    # The record first: it must not speak of weights that it has not seen.
    (cell.folder / "cell.json").unlink(missing_ok=True)
    weights.unlink(missing_ok=True)
    begin_memory_peak(bench.train.device)
    try:
        trainer = CellTrainer(bench, cell.strength, checkpoint, cell.key, stop, progress.epoch)
        progress.begin(cell.lambda_, trainer.progress.epoch)
        done = trainer.run()
        _write_csv(cell.folder / "history.csv", done.history)
        last = {} if trainer.average is None else _state(bench.model, LAST)
        with trainer.averaged():
            rows = layer_rows(bench.layers, bench.regulariser, trainer.treatment.lambda_, trainer.mean_rates())
            _write_csv(cell.folder / "layers.csv", rows)
            save_weights(bench.model, weights, last)
            outcome = _Outcome("finished", facts=_facts(bench, done, weights) | summary(rows, trainer.kappa()))
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
    log = "".join(traceback.format_exception(error)).splitlines()[-_LOG_TAIL:]
    if isinstance(error, NotThin | OwnFault):
        # The network does not allow this strength, others it may; or this entry's code has a fault, others' may not.
        return _Outcome("failed", str(error), log)
    memory = out_of_memory(error)
    if isinstance(error, Interrupted | UserError) or (
        not memory and (isinstance(error, OSError) or machine_failed(error))
    ):
        raise error
    reason = f"{type(error).__name__}: {error}".splitlines()[0]
    return _Outcome("out-of-memory" if memory else "failed", reason, log)


def _facts(bench: Bench, done: Progress, weights: Path) -> dict[str, Any]:
    return {
        "steps": done.epoch * bench.steps_per_epoch,
        "parameters": sum(parameter.numel() for parameter in bench.model.parameters()),
        "penalised": sum(weight.numel() for weight in bench.regulariser.weights),
        **weight_summary(bench.regulariser.weights),
        "zeroed": done.zeroed,
        "weights_sha256": sha256_file(weights),
        "seconds": done.seconds,
        "peak_memory": peak_memory(bench.train.device),
    }


#: What only a finished cell can say.
_NO_FACTS = dict.fromkeys(
    (
        "steps",
        "parameters",
        "penalised",
        "exact_zeros",
        "near_zeros",
        "zeroed",
        "norm_l1",
        "norm_l2",
        "filters",
        "dead_filters",
        "penalty_value",
        "macs",
        "macs_nonzero",
        "effective_lr",
        "kappa",
        "weights_sha256",
        "seconds",
        "peak_memory",
    )
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
    cell.end(record)


def _write_csv(file: Path, rows: list[dict[str, Any]]) -> None:
    with whole_file(file) as temporary, temporary.open("w", encoding="utf-8", newline="") as stream:
        writer = csv.DictWriter(stream, rows[0], lineterminator="\n")
        writer.writeheader()
        writer.writerows(rows)


def save_weights(model: Segmenter, file: Path, last: Mapping[str, Tensor] | None = None) -> None:
    """Write the model's state, normalisation included, as safetensors, whole or not at all.

    Of an averaged network, ``last`` is the state after the last step, under names that begin with `LAST`.
    """
    with whole_file(file) as temporary:
        # Python's own writing tells of a full disk by its error number.
        temporary.write_bytes(save({**_state(model), **(last or {})}))


def _state(model: Segmenter, prefix: str = "") -> dict[str, Tensor]:
    # Copied, as the network goes on to hold other weights.
    return {f"{prefix}{name}": tensor.contiguous().cpu().clone() for name, tensor in model.state_dict().items()}
