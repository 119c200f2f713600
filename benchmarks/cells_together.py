"""Do small cells gain from being trained at once on one GPU? Twenty of them in 1, 2, 4 and more processes at a time.

The cells are of the convnet: five paths of four λ of L1 each, in processes of `softreg train` that all are admitted to
the one GPU. Timed is the wall clock from the first start to the last exit, of whole processes. On the CPU each process
has one thread, so that more at a time than there are cores gain nothing.
"""

from __future__ import annotations

import os
import shutil
from concurrent.futures import ThreadPoolExecutor
from time import perf_counter

from common import GPU, measure, print_table, sized, temporary_project, write_study

AT_ONCE, PATHS, LAMBDAS = sized(((1, 2, 5), 5, [1e-6, 1e-5, 1e-4, 1e-3]), ((1, 2), 2, [1e-6]))
IMAGES, SIDE, EPOCHS = sized((240, 64, 8), (12, 16, 1))


def train(study: os.PathLike[str], at_once: int) -> float:
    """Seconds to train all paths from nothing, so many at a time."""
    shutil.rmtree("results", ignore_errors=True)
    os.environ["SOFTREG_JOBS_PER_GPU"] = str(at_once)
    started = perf_counter()
    with ThreadPoolExecutor(at_once) as processes:
        paths = [f"shapes/convnet/l1/seed{seed}" for seed in range(PATHS)]
        list(processes.map(lambda path: measure("softreg", "train", study, "sweep", path), paths))
    return perf_counter() - started


def main() -> None:
    with temporary_project():
        study = write_study(
            "together",
            datasets={"shapes": {"images": IMAGES, "size": [SIDE, SIDE]}},
            models={"convnet": {}},
            penalties={"l1": {"lambda": LAMBDAS}},
            training={"epochs": EPOCHS, "batch_size": 8},
            seeds={"tuning": list(range(PATHS)), "evaluation": [100]},
            resources={"threads": 1, "gpu": GPU},
        )
        measure("softreg", "prepare", study, "shapes")
        seconds = {at_once: train(study, at_once) for at_once in AT_ONCE}
    rows = [
        [f"{PATHS * len(LAMBDAS)} cells, {at_once} at a time", f"{taken:.1f}", f"{seconds[1] / taken:.2f}"]
        for at_once, taken in seconds.items()
    ]
    print_table(["convnet", "s", "times as fast"], rows)


if __name__ == "__main__":
    main()
