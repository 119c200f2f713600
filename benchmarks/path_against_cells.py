"""Is a path worth its process? Eight λ trained by one `softreg train`, against eight `softreg train` of one λ each.

Both train the same eight cells: same data, model, seed and λ. Timed is the wall clock of whole processes, from their
start to their exit, with interpreter, imports, reading data, validation, checkpoints and writing of results. The two
take turns; the ratio is the median over the turns. Preparing the data is not timed.

What a path saves is seven start-ups, so that the ratio falls as cells get longer: (8·s + 8·t)/(s + 8·t) for a start-up
of s and a cell of t seconds. It is 2 where t = 0.75·s.
"""

from __future__ import annotations

import shutil
from pathlib import Path
from statistics import median

from common import measure, print_table, ratio, temporary_project, write_study

LAMBDAS = [1e-6, 3e-6, 1e-5, 3e-5, 1e-4, 3e-4, 1e-3, 3e-3]
TURNS = 3
UNET = {"kind": "smp", "architecture": "unet", "encoder": "tu-mobilenetv3_small_minimal_100"}
#: Name → model, epochs: from cells that take no time to cells of some seconds.
CASES = {"convnet": ({}, 1), "convnet-longer": ({"kind": "convnet"}, 8), "unet-mobilenet": (UNET, 4)}


def study(name: str, model: dict, epochs: int, lambdas: list[float]) -> Path:
    return write_study(
        name,
        datasets={"shapes": {"images": 120, "size": [48, 48]}},
        models={"convnet" if not model else "model": model},
        penalties={"l1": {"lambda": lambdas}},
        training={"epochs": epochs, "batch_size": 8},
        seeds={"tuning": [0], "evaluation": [100]},
    )


def train(*files: Path, model: str) -> float:
    """Seconds to train a sweep path of each study, one after another, from nothing."""
    shutil.rmtree("results", ignore_errors=True)
    return sum(measure("softreg", "train", file, "sweep", f"shapes/{model}/l1/seed0").seconds for file in files)


def compare(name: str) -> list[str]:
    model, epochs = CASES[name]
    path = study("path", model, epochs, LAMBDAS)
    cells = [study(f"cell{number}", model, epochs, [lambda_]) for number, lambda_ in enumerate(LAMBDAS)]
    measure("softreg", "prepare", path, "shapes")
    key = "model" if model else "convnet"
    one, eight = zip(*((train(path, model=key), train(*cells, model=key)) for _ in range(TURNS)), strict=True)
    # One process holds one start-up and eight cells, eight processes eight of both.
    start_up = (median(eight) - median(one)) / (len(LAMBDAS) - 1)
    cell = median(eight) / len(LAMBDAS) - start_up
    numbers = (cell, start_up, median(one), median(eight), ratio(eight, one))
    return [name, *(f"{number:.2f}" for number in numbers)]


def main() -> None:
    with temporary_project():
        rows = [compare(name) for name in CASES]
    print_table(["cells", "s a cell", "s a start-up", "path, s", "8 processes, s", "ratio"], rows)


if __name__ == "__main__":
    main()
