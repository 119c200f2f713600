"""What share of a training step does each penalty take, under SGD and Adam, as proximal step and as subgradient?

Model: U-Net/ResNet-18 (14.3 M penalised weights), batch 8, images of 64 × 64 and 256 × 256 pixels. A step is forward,
data term, backward and the optimiser's update; the penalty's part is the time of `RegularisedStep` with λ > 0 less that
with λ = 0, taken in turns on the same gradients. The share is that part over the step with the penalty. For comparison:
the gradient of `sum(p.abs().sum())` by autograd, as it is often written, on top of the data term's.

Not timed: reading, augmentation, validation. On the CPU (one thread) the clock is the process's own CPU time, on CUDA
(bfloat16, channels last, each part a CUDA graph) the wall clock around synchronised work. The penalty costs the same at
any size of image, so that its share is largest where the step is short.

Run it with names of penalties to measure those alone.
"""

from __future__ import annotations

import sys
from functools import partial
from itertools import product
from statistics import median

import torch
from common import GPU, print_table, seconds, sized, temporary_project, write_study

from softreg import networks, penalties
from softreg.networks.probe import reached
from softreg.study.config import load_study
from softreg.study.schema import study_schema
from softreg.study.treatment import CONTROLS
from softreg.training.captured import Captured
from softreg.training.device import open_device
from softreg.training.objectives import cross_entropy
from softreg.training.optim import RegularisedStep, make_optimizer
from softreg.training.regulariser import Regulariser
from softreg.training.validation import autocast

TURNS = sized(7, 1)
BATCH = sized(8, 1)
SIDES = sized((64, 256), (16,))
LAMBDA, LR = 1e-6, 1e-3
UNET = {"kind": "smp", "architecture": "unet", "encoder": "resnet18", "weights": "none"}
MODEL = sized(UNET, {"kind": "convnet"})


def load():
    """A study with one penalty of every kind."""
    kinds = [name.removeprefix("penalty_") for name in study_schema()["$defs"] if name.startswith("penalty_")]
    kinds = [kind for kind in kinds if kind not in CONTROLS and (not sys.argv[1:] or kind in sys.argv[1:])]
    with temporary_project():
        grids = {kind: {} if kind == "none" else {"lambda": [LAMBDA]} for kind in kinds}
        sections = {"datasets": {"shapes": {}}, "models": {"model": MODEL}, "training": {"optimizer": "adam"}}
        return load_study(write_study("share", **sections, penalties=grids))


class Setting:
    """A model with gradients, on one device under one optimiser."""

    def __init__(self, study, optimizer: str, device: torch.device, side: int) -> None:
        self.device = device
        model = networks.build(study.models["model"], classes=4)
        self.model = model.to(device, memory_format=torch.channels_last)
        training = {**study.training, "optimizer": optimizer}
        self.optimizer = make_optimizer(list(self.model.parameters()), training)
        self.layers = reached(self.model, self.model.layers(), (64, 64))
        self.images = torch.rand(BATCH, 3, side, side, device=device)
        self.masks = torch.randint(4, (BATCH, side, side), device=device).to(torch.uint8)
        self.numbers = torch.tensor([LR, LAMBDA], device=device)

    def state(self):
        yield from self.model.state_dict().values()
        for kept in self.optimizer.state.values():
            yield from kept.values()

    def timed(self, run) -> float:
        """Seconds of a part of the step."""
        return seconds(partial(run, 0), cuda=bool(GPU))

    def part(self, run) -> Captured:
        """A part of the step, as training would do it."""

        def whole() -> torch.Tensor:
            run()
            return self.numbers

        return Captured(whole, self.state, print, eager=not GPU)

    def gradients(self) -> None:
        self.optimizer.zero_grad()
        with autocast(self.device):
            logits = self.model(self.images)
        torch.autograd.backward(cross_entropy(logits.float(), self.masks))

    def by_autograd(self) -> None:
        torch.autograd.backward(LAMBDA * sum(layer.weight.abs().sum() for layer in self.layers))

    def updates(self, study) -> dict[str, RegularisedStep]:
        found = {"": self.update({"kind": "none"}, "proximal", 0.0)}
        for name, spec in study.penalties.items():
            for realisation in penalties.make(spec).realisations if name != "none" else ():
                found[f"{name}, {realisation}"] = self.update(spec, realisation, LAMBDA)
        return found

    def update(self, spec, realisation: str, lambda_: float) -> RegularisedStep:
        penalty = penalties.make(spec)
        origin = [layer.weight.detach().clone() for layer in self.layers] if penalty.origin == "pretrained" else None
        return RegularisedStep(self.optimizer, Regulariser(penalty, realisation, self.layers, origin), lambda_)


def measure(study, optimizer: str, device: torch.device, side: int) -> list[list[str]]:
    setting = Setting(study, optimizer, device, side)
    updates = setting.updates(study)
    numbers = setting.numbers.unbind() if GPU else (LR, LAMBDA)
    runs = {name: partial(update, *numbers) for name, update in updates.items()}
    runs = {"gradients": setting.gradients, **runs, "L1 by autograd": setting.by_autograd}
    parts = {name: setting.part(run) for name, run in runs.items()}
    taken: dict[str, list[float]] = {name: [] for name in parts}
    for _ in range(TURNS + 1):
        for name, part in parts.items():
            taken[name].append(setting.timed(part))
    # The first turn of each warms up.
    middle = {name: median(values[1:]) for name, values in taken.items()}
    step = middle.pop("gradients") + (bare := middle.pop(""))
    costs = {name: value - (bare if name in updates else 0) for name, value in middle.items()}
    title = f"{optimizer}, {device.type}, {side} × {side}"
    return [[title, name, ms(step), ms(cost), f"{100 * cost / (step + cost):.1f} %"] for name, cost in costs.items()]


def ms(seconds: float) -> str:
    return f"{1000 * seconds:.2f}"


def main() -> None:
    study = load()
    device = open_device(GPU, threads=1)
    rows = [
        row for optimizer, side in product(("sgd", "adam"), SIDES) for row in measure(study, optimizer, device, side)
    ]
    print_table(["optimiser", "penalty", "step, ms", "penalty, ms", "share"], rows)


if __name__ == "__main__":
    main()
