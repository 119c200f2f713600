"""The contract of a model: what a training and a scoring take for granted of a network, tried on random images."""

from __future__ import annotations

import tempfile
from collections.abc import Callable, Iterator
from pathlib import Path

import torch
from safetensors.torch import load_file, save_file
from torch import Tensor

from softreg.contract.findings import Finding, held_to, within
from softreg.errors import few
from softreg.networks.randomness import generator, seed_global
from softreg.networks.segmenter import Segmenter

#: Draws the weights of a network with so many classes from torch's global generator.
Build = Callable[[int], Segmenter]

_CLASSES = 3
#: An image alone against the same image in a batch: other kernels, the same sums.
_BATCH_LIMIT = 1e-4


def check_model(build: Build) -> list[Finding]:
    """All findings on a model, in the order of a table; on the CPU, and on a GPU where there is one."""
    checks = {"declaration": _declaration, "shape": _shape, "weights": _weights, "gradient": _gradient}
    checks |= {"evaluation": _evaluation, "single image": _single_image, "seed": _seed, "state": _state}
    return held_to({**checks, "device": _device}, build)


def _declaration(build: Build) -> Iterator[Finding]:
    model = _built(build)
    whole = isinstance(model.stride, int) and model.stride >= 1
    yield Finding(whole, f"stride {model.stride!r}: a whole number of at least 1")
    three = model.mean.shape == model.std.shape == (3,)
    scaled = three and bool((model.mean >= 0).all() and (model.mean <= 1).all() and (model.std > 0).all())
    yield Finding(scaled, "mean and std: three numbers each, of values in 0…1, std above 0")
    told = "none, so that `kind: dropout` of a study acts nowhere" if model.head is None else "present"
    yield Finding(True, f"head: {told}")


def _shape(build: Build) -> Iterator[Finding]:
    for classes in (2, 5):
        model = _built(build, classes).eval()
        side = _side(model)
        for size in ((side, 2 * side), (side + 1, 2 * side - 3)):
            images = _images(2, size)
            logits = _logits(model, images)
            wanted = (2, classes, *size)
            shape = f"logits of {classes} classes on {size[0]} × {size[1]}: "
            yield Finding(tuple(logits.shape) == wanted, f"{shape}{tuple(logits.shape)}, to be {wanted}")
            yield Finding(logits.dtype == torch.float32, f"{shape}{logits.dtype}, to be float32")
            yield Finding(bool(logits.isfinite().all()), f"{shape}finite")
    yield _own_shape(_built(build).eval())


def _own_shape(model: Segmenter) -> Finding:
    """What the network gives before it is cut: a stride that is stated too small shows at an odd multiple of it."""
    odd = -(-64 // model.stride) | 1
    size = odd * model.stride, (odd + 2) * model.stride
    with torch.no_grad():
        shape = tuple(model.network(_images(1, size)).shape[-2:])
    about = f"the network alone on {size[0]} × {size[1]}: {shape[0]} × {shape[1]}"
    return Finding(shape == size, about + ("" if shape == size else "; state the `stride` that it needs"))


def _weights(build: Build) -> Iterator[Finding]:
    model = _built(build)
    count = sum(layer.weight.numel() for layer in model.layers())
    yield Finding(count > 0, f"{count} weights of convolutions and linear layers to penalise")
    inside = len(model.layers("encoder"))
    told = f"{inside} layers" if inside else "no part of that name, so that `weights: encoder` is refused"
    yield Finding(True, f"encoder: {told}")


def _gradient(build: Build) -> Iterator[Finding]:
    """A weight that no output depends on would count as sparsity that costs nothing."""
    model = _built(build).train()
    layers = model.layers()
    frozen = [layer.name for layer in layers if not layer.weight.requires_grad]
    yield Finding(not frozen, _listed("weights that require a gradient", frozen, "these do not"))
    trained = [layer for layer in layers if layer.weight.requires_grad]
    logits = model(_images(2, _size(model)))
    slope = torch.randn(logits.shape, generator=generator(0, "slope"))
    gradients = torch.autograd.grad((logits * slope).sum(), [layer.weight for layer in trained], allow_unused=True)
    pairs = list(zip(trained, gradients, strict=True))
    unreached = [layer.name for layer, gradient in pairs if gradient is None]
    yield Finding(not unreached, _listed("reaches every penalised weight", unreached, "but not these"))
    broken = [layer.name for layer, gradient in pairs if gradient is not None and not gradient.isfinite().all()]
    yield Finding(not broken, _listed("finite", broken, "but not of these"))


def _listed(rule: str, names: list[str], but: str) -> str:
    return f"{rule}, {but}: {few(names)}; mend or remove them" if names else rule


def _evaluation(build: Build) -> Iterator[Finding]:
    model = _built(build).eval()
    images = _images(3, _size(model))
    first = _logits(model, images)
    same = torch.equal(first, _logits(model, images))
    yield Finding(same, "eval mode: the same images give the same logits, to the bit")
    alone = _logits(model, images[:1])
    error = ((alone - first[:1]).abs().max() / first.abs().max().clamp_min(1e-12)).item()
    yield within(error, _BATCH_LIMIT, "eval mode: an image alone against the same in a batch")


def _single_image(build: Build) -> Iterator[Finding]:
    model = _built(build).train()
    torch.autograd.backward(model(_images(2, _size(model))).square().mean())
    logits = _logits(model.eval(), _images(1, _size(model)))
    yield Finding(bool(logits.isfinite().all()), "eval mode after a training step: one image, finite")


def _seed(build: Build) -> Iterator[Finding]:
    first, second = _built(build), _built(build)
    states = first.state_dict(), second.state_dict()
    same = states[0].keys() == states[1].keys() and all(map(torch.equal, states[0].values(), states[1].values()))
    yield Finding(same, "two networks of one seed have the same weights; draw them from torch alone")
    own = {id(parameter) for parameter in first.parameters()}
    shared = [name for name, parameter in second.named_parameters() if id(parameter) in own]
    yield Finding(not shared, _listed("two networks share no weight", shared, "but these"))


def _state(build: Build) -> Iterator[Finding]:
    """Weights go to a file and come back, into a network of another seed."""
    model, other = _built(build).eval(), _built(build, seed=1).eval()
    images = _images(2, _size(model))
    with tempfile.TemporaryDirectory() as folder:
        file = Path(folder) / "weights.safetensors"
        state = {name: tensor.contiguous().cpu() for name, tensor in model.state_dict().items()}
        tied = _tied(state)
        yield Finding(not tied, _listed("each tensor under one name", tied, "but not these"))
        if tied:
            return
        save_file(state, file)
        other.load_state_dict(load_file(file))
    same = torch.equal(_logits(model, images), _logits(other, images))
    yield Finding(same, "weights that were saved and loaded give the same logits; keep all state in the state_dict")


def _tied(state: dict[str, Tensor]) -> list[str]:
    """The names whose tensors share their memory with that of an earlier name."""
    first: dict[int, str] = {}
    owner = {name: first.setdefault(tensor.untyped_storage().data_ptr(), name) for name, tensor in state.items()}
    return [name.removeprefix("network.") for name, tensor in state.items() if owner[name] != name and tensor.numel()]


def _device(build: Build) -> Iterator[Finding]:
    if not torch.cuda.is_available():
        yield Finding(True, "no GPU here: not checked")
        return
    model = _built(build).cuda().eval()
    there = _logits(model, _images(2, _size(model)).cuda())
    yield Finding(there.is_cuda, "stays on the GPU")


def _built(build: Build, classes: int = _CLASSES, seed: int = 0) -> Segmenter:
    seed_global(seed, "init")
    return build(classes)


def _logits(model: Segmenter, images: Tensor) -> Tensor:
    with torch.no_grad():
        logits: Tensor = model(images)
    return logits


def _images(count: int, size: tuple[int, int]) -> Tensor:
    return torch.rand(count, 3, *size, generator=generator(0, "images"))


def _side(model: Segmenter) -> int:
    """A multiple of the stride that is no smaller than what most networks shrink to nothing."""
    return model.stride * -(-64 // model.stride)


def _size(model: Segmenter) -> tuple[int, int]:
    return _side(model), 2 * _side(model)
