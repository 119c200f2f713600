"""Are several seeds worth one process? Ten finals of one network each in one `softreg train`, against ten of one each.

Both train and score the same networks for one epoch, on val and test, from nothing but data and λ̂. Timed is the wall
clock of whole processes, with the CPU time beside it; the two take turns, and the ratio is the median over the turns.
"""

from __future__ import annotations

import shutil
from pathlib import Path
from statistics import median

from common import Run, measure, print_table, ratio, sized, temporary_project, write_study

SEEDS, TURNS = sized((range(100, 110), 3), (range(100, 102), 1))
GROUP = "shapes/convnet/l1"
STUDY = {
    "datasets": {"shapes": {"images": 48, "size": [48, 48]}},
    "models": {"convnet": {}},
    "penalties": {"l1": {"lambda": [1e-5]}},
    "training": {"epochs": 1, "batch_size": 8},
    "seeds": {"tuning": [0], "evaluation": list(SEEDS)},
}


def train(file: Path, together: bool) -> Run:
    """Train all finals, in one process or in one each."""
    shutil.rmtree(f"results/{file.stem}/final", ignore_errors=True)
    paths = [f"{GROUP}/seed{seed}" for seed in SEEDS]
    runs = [measure("softreg", "train", file, "final", *some) for some in ([paths] if together else zip(paths))]
    return Run(sum(run.seconds for run in runs), sum(run.cpu_seconds for run in runs), max(run.peak_mb for run in runs))


def main() -> None:
    with temporary_project():
        file = write_study("seeds", **STUDY)
        measure("softreg", "prepare", file, "shapes")
        measure("softreg", "train", file, "sweep", f"{GROUP}/seed0")
        measure("softreg", "select", file, GROUP)
        turns = [(train(file, True), train(file, False)) for _ in range(TURNS)]
    rows = []
    for name in ("seconds", "cpu_seconds"):
        one, each = zip(*((getattr(run, name) for run in turn) for turn in turns), strict=True)
        rows.append([name, f"{median(one):.2f}", f"{median(each):.2f}", f"{ratio(each, one):.2f}"])
    print_table([f"{len(SEEDS)} finals of one epoch", "one process", "one each", "ratio"], rows)


if __name__ == "__main__":
    main()
