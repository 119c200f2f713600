"""Telling how training comes along: a bar on a terminal, plain lines in a log."""

from __future__ import annotations

import sys
from collections.abc import Callable
from typing import Any

from tqdm import tqdm

Tell = Callable[..., None]
"""Takes facts of how far the training is, JSON values by name, for whoever watches it from elsewhere."""


class PathProgress:
    """Progress over all epochs of a path's cells, on standard error, and to ``tell``."""

    def __init__(self, path: str, cells: int, epochs: int, tell: Tell) -> None:
        self.path, self.epochs, self.tell = path, epochs, tell
        self.bar = tqdm(total=cells * epochs, desc=path, unit="epoch", disable=not sys.stderr.isatty())
        self.lambda_, self.cell = "", 0

    def begin(self, lambda_: str, epochs_done: int) -> None:
        """A cell begins, or goes on after ``epochs_done`` epochs."""
        self.lambda_ = lambda_
        self.cell += 1
        self.tell(cell=self.cell, strength=lambda_, epoch=epochs_done, epochs=self.epochs)
        self.bar.update(epochs_done)
        if epochs_done:
            self.say(f"λ={lambda_}: goes on after epoch {epochs_done}")

    def epoch(self, row: dict[str, Any]) -> None:
        """An epoch has ended with this row of the history."""
        self.bar.update()
        self.tell(epoch=row["epoch"], images_per_second=row["images_per_second"])
        miou = "" if row["val_miou"] is None else f"  val mIoU {row['val_miou']:.4f}"
        text = (
            f"λ={self.lambda_}  epoch {row['epoch']}/{self.epochs}  data term {row['data_term']:.4f}  "
            f"penalty {row['penalty']:.4g}{miou}  zeros {row['exact_zeros']}  {row['images_per_second']:.0f} images/s"
        )
        if self.bar.disable:
            self.say(text)
        else:
            self.bar.set_postfix_str(text)

    def say(self, text: str) -> None:
        """One line, wherever the output goes."""
        self.bar.write(f"{self.path}  {text}", file=sys.stderr)
        sys.stderr.flush()

    def close(self) -> None:
        """Leave the terminal as it should be."""
        self.bar.close()
