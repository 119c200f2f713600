"""Against what people would use instead: a plain torch loop, and Lightning with segmentation-models-pytorch.

All train the same network from random weights on the same prepared images (shapes), for the same epochs, with Adam,
cross entropy, a cosine schedule, random flips, and mIoU on validation after each epoch. The peers are `peers/*.py`:
each trains one network in a process, SoftReg all λ of a path. Timed is the wall clock of whole processes, from start to
exit, on one core and on two (threads as many); images/s are those of the training steps alone. Ways take turns; ratios
are medians over the turns. With ``--gpu``, U-Net/ResNet-34 at 352 × 480, where SoftReg computes in bfloat16 and the
peers as torch does unasked.

Lightning is no dependency of SoftReg. Give a Python that has it (see `peers/requirements.txt`) as the only argument;
without one, and where this Python lacks it, that row is left out.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from importlib.util import find_spec
from pathlib import Path
from statistics import median
from time import perf_counter

import pandas as pd
from common import BIN, GPU, measure, print_table, sized, temporary_project, write_study

from softreg.running import places
from softreg.study.config import Study, load_study

PEERS = Path(__file__).parent / "peers"
#: On a GPU the size of CamVid's images, and fewer turns.
FULL = (400, (352, 480), 10, 16, 0.002) if GPU else (300, (64, 64), 4, 16, 0.002)
IMAGES, SIZE, EPOCHS, BATCH, LR = sized(FULL, (16, (32, 32), 1, 2, 0.002))
TURNS, NETWORKS = sized((1, 4) if GPU else (3, 4), (1, 2))
ON_CPU = {"unet": "tu-tf_efficientnet_lite0", "fpn": "tu-tf_mobilenetv3_small_minimal_100"}
ENCODERS = sized({"unet": "resnet34"} if GPU else ON_CPU, {"fpn": "resnet18"})
#: Architecture and cores.
SETTINGS = sized((("unet", 4),) if GPU else (("fpn", 1), ("unet", 1), ("unet", 2)), (("fpn", 1),))
LAMBDAS = [10.0**-power for power in range(9, 9 - NETWORKS, -1)]


@contextmanager
def on(cores: int) -> Iterator[None]:
    """Within it, processes that are started have so many cores."""
    before = os.sched_getaffinity(0)
    os.sched_setaffinity(0, sorted(before)[:cores])
    try:
        yield
    finally:
        os.sched_setaffinity(0, before)


def make_study(architecture: str, threads: int) -> Study:
    file = write_study(
        f"peers-{architecture}-{threads}",
        datasets={"shapes": {"images": IMAGES, "size": list(SIZE), "split": {"val": 0.25, "test": 0.25}}},
        models={
            "model": {"kind": "smp", "architecture": architecture, "encoder": ENCODERS[architecture], "weights": "none"}
        },
        penalties={"none": {}, "l1": {"lambda": LAMBDAS}},
        training={
            "epochs": EPOCHS,
            "batch_size": BATCH,
            "lr": LR,
            "optimizer": "adam",
            "schedule": "cosine",
            "augmentation": {"scale": None, "flip": True, "brightness": 0, "contrast": 0, "saturation": 0},
        },
        seeds={"tuning": [0], "evaluation": [100]},
        resources={"threads": threads, "gpu": GPU},
    )
    return load_study(file)


def softreg(study: Study, penalty: str) -> tuple[float, float, float]:
    """Seconds from start to exit; images/s of the steps, and validation mIoU, means over the path's networks."""
    folder = Path("results") / study.name
    subprocess.run(["rm", "-rf", folder], check=True)
    seconds = measure("softreg", "train", study.file, "sweep", f"shapes/model/{penalty}/seed0").seconds
    history = pd.concat([pd.read_csv(file) for file in folder.rglob("history.csv")])
    last = history[history["epoch"] == EPOCHS]
    return seconds, history["images_per_second"].mean(), last["val_miou"].mean()


def peer(python: str, script: str, study: Study, data: Path) -> tuple[float, float, float]:
    """The same of one network."""
    architecture = study.models["model"]["architecture"]
    given = {"architecture": architecture, "encoder": ENCODERS[architecture], "classes": 4}
    given |= {"epochs": EPOCHS, "batch": BATCH, "lr": LR, "threads": study.resources["threads"], "gpus": GPU}
    command = [python, PEERS / script, data.resolve(), *(f"--{key}={value}" for key, value in given.items())]
    started = perf_counter()
    done = subprocess.run(command, check=True, text=True, capture_output=True, cwd="peers")
    seconds = perf_counter() - started
    said = json.loads(done.stdout.splitlines()[-1])
    return seconds, said["images_per_second"], said["val_miou"]


def compare(architecture: str, cores: int, lightning: str | None) -> list[list[str]]:
    study = make_study(architecture, cores)
    data = Path(places.description(study, "shapes")).parent
    if not data.is_dir():
        measure("softreg", "prepare", study.file, "shapes")
    ways = {
        "SoftReg": lambda: softreg(study, "none"),
        f"SoftReg, {NETWORKS} λ of L1": lambda: softreg(study, "l1"),
        "plain torch": lambda: peer(str(BIN / "python"), "plain_torch.py", study, data),
    }
    if lightning:
        ways["Lightning"] = lambda: peer(lightning, "with_lightning.py", study, data)
    found = {name: [] for name in ways}
    with on(cores):
        for _ in range(TURNS):
            for name, way in ways.items():
                found[name].append(way())
    setting = f"{architecture}, {cores} core{'s' * (cores > 1)}"
    each = {name: NETWORKS if "λ" in name else 1 for name in ways}
    return [[f"{setting}: {name}", *figures(found[name], each[name], found["SoftReg"])] for name in ways]


def figures(runs: list[tuple[float, float, float]], networks: int, own: list[tuple[float, float, float]]) -> list[str]:
    seconds, images, miou = (median(column) for column in zip(*runs, strict=True))
    ratio = median(run[0] / networks / mine[0] for run, mine in zip(runs, own, strict=True))
    return [f"{seconds / networks:.1f}", f"{ratio:.2f}", f"{images:.1f}", f"{100 * miou:.1f}"]


def main() -> None:
    lightning = sys.argv[1] if len(sys.argv) > 1 else sys.executable if find_spec("lightning") else None
    with temporary_project():
        Path("peers").mkdir()
        rows = [row for name, cores in SETTINGS for row in compare(name, cores, lightning)]
    header = [
        f"{SIZE[0]} × {SIZE[1]}, batch {BATCH}, {EPOCHS} epochs",
        "s a network",
        "over SoftReg's",
        "images/s",
        "val mIoU",
    ]
    print_table(header, rows)


if __name__ == "__main__":
    main()
