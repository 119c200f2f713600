"""Are several networks faster as one? K convnets of other seeds on the same batch: by turns, and as one batched model.

A step is forward, cross entropy, backward and Adam's update. By turns, each network takes it alone, as SoftReg trains
them; at once, their weights are stacked and `torch.func.vmap` makes of each convolution one in K groups. Dropout is
off, as both would draw other numbers. On the CPU (one thread) the clock is the process's own CPU time, with ``--gpu``
the wall clock around synchronised steps. Both take turns; the ratio is the median over the turns.
"""

from __future__ import annotations

from collections.abc import Callable
from copy import deepcopy
from statistics import median

import torch
from common import GPU, print_table, ratio, seconds, sized
from torch import Tensor
from torch.func import functional_call, grad, stack_module_state, vmap

from softreg import networks
from softreg.networks.segmenter import Segmenter
from softreg.training.device import open_device
from softreg.training.objectives import cross_entropy

TURNS, SIDES, COUNTS, BATCH = sized((7, (32, 64, 128), (4, 16), 16), (1, (16,), (2,), 2))
LR = 1e-3


def make(count: int, device: torch.device) -> list[Segmenter]:
    models = []
    for seed in range(count):
        torch.manual_seed(seed)
        model = networks.build({"kind": "convnet", "dropout": 0.0}, classes=4)
        models.append(model.to(device, memory_format=torch.channels_last).train())
    return models


def by_turns(models: list[Segmenter], images: Tensor, masks: Tensor) -> Callable[[], None]:
    optimizers = [torch.optim.Adam(model.parameters(), LR, fused=True) for model in models]

    def step() -> None:
        for model, optimizer in zip(models, optimizers, strict=True):
            optimizer.zero_grad()
            torch.autograd.backward(cross_entropy(model(images), masks))
            optimizer.step()

    return step


def at_once(models: list[Segmenter], images: Tensor, masks: Tensor) -> Callable[[], None]:
    parameters, buffers = stack_module_state(models)  # type: ignore[arg-type]
    skeleton = deepcopy(models[0]).to("meta")
    optimizer = torch.optim.Adam(list(parameters.values()), LR, fused=True)

    def loss(weights: dict[str, Tensor], others: dict[str, Tensor]) -> Tensor:
        return cross_entropy(functional_call(skeleton, (weights, others), (images,)), masks)

    gradients = vmap(grad(loss))

    def step() -> None:
        detached = {name: parameter.detach() for name, parameter in parameters.items()}
        for name, gradient in gradients(detached, buffers).items():
            parameters[name].grad = gradient
        optimizer.step()

    return step


def compare(side: int, count: int, device: torch.device) -> list[str]:
    images = torch.rand(BATCH, 3, side, side, device=device).contiguous(memory_format=torch.channels_last)
    masks = torch.randint(4, (BATCH, side, side), device=device).to(torch.uint8)
    ways = [way(make(count, device), images, masks) for way in (by_turns, at_once)]
    for way in ways:
        way()
    turns, once = zip(*([seconds(way, bool(GPU)) for way in ways] for _ in range(TURNS)), strict=True)
    numbers = (1000 * median(turns) / count, 1000 * median(once) / count, ratio(turns, once))
    return [f"{side} × {side}, {count} networks, {device.type}", *(f"{number:.2f}" for number in numbers)]


def main() -> None:
    device = open_device(GPU, threads=1)
    rows = [compare(side, count, device) for side in SIDES for count in COUNTS]
    print_table([f"batch {BATCH}", "by turns, ms a network", "at once, ms a network", "turns / once"], rows)


if __name__ == "__main__":
    main()
