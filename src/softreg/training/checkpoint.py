"""Checkpoints of a cell in training: everything from which the rest of it follows bit by bit."""

from __future__ import annotations

import io
import zipfile
from collections.abc import Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

import torch

from softreg.files import whole_file


@dataclass
class Progress:
    """How far a cell has come.

    ``step`` counts the steps of ``epoch`` that are done, ``data_term`` sums the epoch's data terms so far,
    ``seconds`` is the time trained, ``layer_rates`` sums each layer's effective learning rate over the epochs (None
    where it has none), ``zeroed`` the weights that `softreg.training.zeroing` has set to zero, None before or where it
    has nothing to do. Random streams are functions of (seed, epoch, step) and need no state.
    """

    epoch: int = 0
    step: int = 0
    data_term: float = 0.0
    seconds: float = 0.0
    epoch_seconds: float = 0.0
    history: list[dict[str, Any]] = field(default_factory=list)
    layer_rates: list[float | None] = field(default_factory=list)
    zeroed: int | None = None

    def add_rates(self, rates: Sequence[float | None]) -> None:
        """Add one epoch's effective learning rates; a layer that has become all zero has none from then on."""
        before = self.layer_rates or [0.0] * len(rates)
        self.layer_rates = [
            None if old is None or rate is None else old + rate for old, rate in zip(before, rates, strict=True)
        ]


def save(
    file: Path,
    key: str,
    progress: Progress,
    model: torch.nn.Module,
    optimizer: torch.optim.Optimizer,
    others: Sequence[torch.Tensor] = (),
) -> None:
    """Write a checkpoint of the cell with this key, whole or not at all; ``others`` are what else it goes on from.

    Raises OSError where the disk is full.
    """
    state = {
        "key": key,
        "progress": asdict(progress),
        "model": model.state_dict(),
        "optimizer": optimizer.state_dict(),
        "others": list(others),
    }
    content = io.BytesIO()
    torch.save(state, content)
    with whole_file(file) as temporary:
        # torch's own writing reports a full disk without its error number.
        temporary.write_bytes(content.getbuffer())


def _read(file: Path, key: str) -> tuple[Progress, dict[str, Any]] | None:
    """Progress and all else in a checkpoint; None where it is not what was written, or not made under this key."""
    try:
        with zipfile.ZipFile(file) as parts:
            # By the checksums of its parts, which torch does not look at.
            if parts.testzip() is not None:
                return None
        state = torch.load(file, map_location="cpu", weights_only=True)
        return (Progress(**state["progress"]), state) if state["key"] == key else None
    except Exception:
        # Whichever of its many errors a damaged file meets: start over rather than stop.
        return None


def load(
    file: Path,
    key: str,
    model: torch.nn.Module,
    optimizer: torch.optim.Optimizer,
    others: Sequence[torch.Tensor] = (),
) -> Progress:
    """Restore a cell from its checkpoint; from the beginning if there is none, or none made under this key.

    All is written into the tensors that are there, as a captured step goes on with these.
    """
    if (read := _read(file, key)) is None:
        return Progress()
    progress, state = read
    model.load_state_dict(state["model"])
    _load(optimizer, state["optimizer"])
    for mine, stored in zip(others, state["others"], strict=True):
        mine.copy_(stored)
    return progress


def _load(optimizer: torch.optim.Optimizer, state: dict[str, Any]) -> None:
    """Load the state of an optimiser, whose own way is to replace tensors."""
    held = {parameter: dict(kept) for parameter, kept in optimizer.state.items()}
    optimizer.load_state_dict(state)
    for parameter, kept in held.items():
        loaded = optimizer.state[parameter]
        for name, tensor in kept.items():
            loaded[name] = tensor.copy_(loaded[name])
