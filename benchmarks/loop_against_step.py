"""What does the training loop cost beside the network? Images/s of the real loop against the bare step.

The loop is `CellTrainer._train_epoch` as `softreg train` runs it: order, reading, augmentation, network, data term,
optimiser and penalty (L1, proximal), with checkpoints off. The bare step is forward, data term, backward and optimiser
of the same model on one batch that already lies on the device: no data, no augmentation, no penalty.

Timed are whole epochs, loop and bare step taking turns; validation, summaries, start-up and a first epoch of each are
not. On the CPU (one thread) the clock is the process's own CPU time, so that other processes' share is left out; on
CUDA it is the wall clock around synchronised epochs. The ratio is the median over the turns.
"""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from statistics import median

import torch
from common import GPU, measure, print_table, ratio, seconds, sized, temporary_project, write_study

from softreg.networks.randomness import generator
from softreg.running import places
from softreg.study.config import Study, load_study
from softreg.study.matrix import TrainingPath
from softreg.training.augment import augment, draw
from softreg.training.cell import Bench, CellTrainer
from softreg.training.checkpoint import Progress
from softreg.training.device import open_device
from softreg.training.objectives import make_objective
from softreg.training.optim import make_optimizer
from softreg.training.path import make_bench
from softreg.training.stopping import StopRequest
from softreg.training.validation import autocast

BATCH, TURNS, SIDES = sized((16, 15, (64, 128)), (2, 1, (16,)))
SMP = {"kind": "smp", "weights": "none"}
MODELS = {
    "convnet": {},
    "fpn-mobilenetv3-small": {**SMP, "architecture": "fpn", "encoder": "tu-tf_mobilenetv3_small_minimal_100"},
    "unet-lite0": {**SMP, "architecture": "unet", "encoder": "tu-tf_efficientnet_lite0"},
}
#: Model → steps in an epoch on the CPU, for about a second each.
STEPS = sized({"convnet": 4, "fpn-mobilenetv3-small": 4, "unet-lite0": 2}, {"convnet": 1})
#: A GPU is faster by far.
CUDA_FACTOR = sized(32, 1)


def make_study(steps: int, side: int, gpu: int) -> Study:
    images = BATCH * steps
    file = write_study(
        f"loop-{steps}-{side}",
        datasets={"shapes": {"images": images * 2, "size": [side, side], "split": {"val": 0.25, "test": 0.25}}},
        models=MODELS,
        penalties={"l1": {"lambda": [1e-5]}},
        training={"batch_size": BATCH, "lr": 0.01, "checkpoint_seconds": 1e6},
        seeds={"tuning": [0], "evaluation": [100]},
        resources={"threads": 1, "gpu": gpu},
    )
    return load_study(file)


def bench_of(study: Study, model: str, device: torch.device) -> Bench:
    folder = Path(places.description(study, "shapes")).parent
    if not folder.is_dir():
        measure("softreg", "prepare", study.file, "shapes")
    return make_bench(study, TrainingPath("sweep", "shapes", model, "l1", 0), folder, 4, device)


def loop_epoch(bench: Bench) -> Callable[[], None]:
    """A whole epoch of the loop."""
    trainer = CellTrainer(bench, 1e-5, Path("none.pt"), "", StopRequest(), lambda row: None)

    def run() -> None:
        trainer.progress = Progress()
        trainer._train_epoch()

    return run


def bare_epoch(bench: Bench) -> Callable[[], None]:
    """As many bare steps as an epoch has."""
    optimizer = make_optimizer(list(bench.model.parameters()), bench.training)
    images, masks = bench.train(torch.arange(bench.batch_size))
    options = bench.training["augmentation"]
    drawn = draw(len(images), generator(0, "augmentation", 0)).to(images.device)
    images, masks = augment(images, masks, bench.crop, options, drawn)
    objective = make_objective(bench.training["objective"], bench.class_shares, bench.train.device)

    def run() -> None:
        bench.model.train()
        for _ in range(bench.steps_per_epoch):
            optimizer.zero_grad()
            with autocast(bench.train.device):
                logits = bench.model(images)
            torch.autograd.backward(objective(logits.float(), masks))
            optimizer.step()

    return run


def rate(epoch: Callable[[], None], bench: Bench) -> float:
    """Images/s of one epoch."""
    cuda = bench.train.device.type == "cuda"
    return bench.steps_per_epoch * bench.batch_size / seconds(epoch, cuda)


def compare(model: str, side: int, gpu: int) -> list[str]:
    study = make_study(STEPS[model] * (CUDA_FACTOR if gpu else 1), side, gpu)
    bench = bench_of(study, model, open_device(gpu, threads=1))
    epochs = loop_epoch(bench), bare_epoch(bench)
    for epoch in epochs:
        epoch()
    loop, bare = zip(*([rate(epoch, bench) for epoch in epochs] for _ in range(TURNS)), strict=True)
    device = bench.train.device.type
    return [
        f"{model}, {side} × {side}, {device}",
        f"{median(loop):.1f}",
        f"{median(bare):.1f}",
        f"{100 * ratio(loop, bare):.1f} %",
    ]


def main() -> None:
    with temporary_project():
        rows = [compare(model, side, GPU) for model in STEPS for side in SIDES]
    print_table([f"batch {BATCH}", "loop, images/s", "bare step, images/s", "loop / bare"], rows)


if __name__ == "__main__":
    main()
