"""A path of the tiny study in training, without the stages around it."""

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import torch

from softreg.data.datasets import prepared_folder
from softreg.study.config import Study
from softreg.study.matrix import TrainingPath
from softreg.training.cell import Bench, CellTrainer
from softreg.training.path import make_bench
from softreg.training.stopping import StopRequest


def bench_of(study: Study, path: TrainingPath, strength: float = 0.0) -> Bench:
    """The bench of a path on the CPU."""
    return make_bench(study, path, prepared_folder(study, "shapes"), 4, torch.device("cpu"), strength)


def trainer(
    bench: Bench,
    strength: float,
    file: Path,
    stop: StopRequest | None = None,
    report: Callable[[dict[str, Any]], None] = lambda row: None,
) -> CellTrainer:
    """A trainer of one cell, whose checkpoint is ``file``."""
    return CellTrainer(bench, strength, file, "key", stop or StopRequest(), report)


def state(bench: Bench) -> dict[str, torch.Tensor]:
    """What the network holds now."""
    return {name: tensor.clone() for name, tensor in bench.model.state_dict().items()}


def same(first: Mapping[str, torch.Tensor], second: Mapping[str, torch.Tensor]) -> bool:
    """Whether two states are equal, bit by bit."""
    return first.keys() == second.keys() and all(torch.equal(tensor, second[name]) for name, tensor in first.items())
