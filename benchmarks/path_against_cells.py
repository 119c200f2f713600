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
from typing import Any

from common import GPU, measure, print_table, ratio, sized, temporary_project, write_study

LAMBDAS = sized([1e-6, 3e-6, 1e-5, 3e-5, 1e-4, 3e-4, 1e-3, 3e-3], [1e-6, 3e-6])
TURNS, IMAGES, SIDE = sized((3, 90, 48), (1, 12, 16))
CONVNET = {"kind": "convnet"}
UNET = {"kind": "smp", "architecture": "unet", "encoder": "tu-tf_mobilenetv3_small_minimal_100"}
#: Name → model, epochs.
ALL = {"convnet, 1 epoch": (CONVNET, 1), "U-Net/MobileNet, 2 epochs": (UNET, 2)}
CASES = sized(ALL, {"convnet, 1 epoch": (CONVNET, 1)})


def write(name: str, model: dict[str, Any], epochs: int, lambdas: list[float]) -> Path:
    return write_study(
        name,
        datasets={"shapes": {"images": IMAGES, "size": [SIDE, SIDE]}},
        models={"model": model},
        penalties={"l1": {"lambda": lambdas}},
        training={"epochs": epochs, "batch_size": 8},
        seeds={"tuning": [0], "evaluation": [100]},
        resources={"gpu": GPU},
    )


def train(*studies: Path) -> float:
    """Seconds to train a sweep path of each study, one after another, from nothing."""
    shutil.rmtree("results", ignore_errors=True)
    return sum(measure("softreg", "train", study, "sweep", "shapes/model/l1/seed0").seconds for study in studies)


def compare(name: str) -> list[str]:
    path = write("path", *CASES[name], LAMBDAS)
    cells = [write(f"cell{number}", *CASES[name], [lambda_]) for number, lambda_ in enumerate(LAMBDAS)]
    measure("softreg", "prepare", path, "shapes")
    one, eight = zip(*((train(path), train(*cells)) for _ in range(TURNS)), strict=True)
    # One process holds one start-up and eight cells, eight processes eight of both.
    start_up = (median(eight) - median(one)) / (len(LAMBDAS) - 1)
    cell = median(eight) / len(LAMBDAS) - start_up
    numbers = (start_up, cell, median(one), median(eight), ratio(eight, one))
    return [name, *(f"{number:.2f}" for number in numbers)]


def main() -> None:
    with temporary_project():
        rows = [compare(name) for name in CASES]
    print_table(["cells", "start-up, s", "cell, s", "path, s", f"{len(LAMBDAS)} processes, s", "ratio"], rows)


if __name__ == "__main__":
    main()
