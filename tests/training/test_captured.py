"""What a step must be so that a GPU can replay it, as far as this shows without one."""

import gc
import random
import weakref
from contextlib import nullcontext

import numpy as np
import pytest
import torch
from projects import prepared_study, sweep_path
from torch._subclasses import FakeTensorMode
from torch.utils._python_dispatch import TorchDispatchMode
from trainers import bench_of, same, state, trainer

from softreg import networks, penalties
from softreg.study.treatment import treatment_of
from softreg.training.augment import augment
from softreg.training.captured import Captured, NotCapturable
from softreg.training.objectives import make_objective
from softreg.training.optim import RegularisedStep, make_optimizer
from softreg.training.regulariser import Regulariser
from softreg.training.stopping import Interrupted, StopRequest

TRAINING = {"lr": 1e-2, "momentum": 0.9, "betas": [0.9, 0.999]}
#: Of each kind what its class is made with.
OPTIONS = {
    "l1": {},
    "l2": {},
    "l0": {},
    "hoyer": {},
    "group_lasso": {},
    "soft": {},
    "elastic_net": {"alpha": 0.3},
    "smooth_l1": {"beta": 0.1},
    "berhu": {"delta": 0.1},
    "mcp": {"knot": 0.5},
    "sparse_group_lasso": {"alpha": 0.3},
    "l2_sp": {},
}
WAYS = [
    (kind, realisation)
    for kind, options in OPTIONS.items()
    for realisation in penalties.make({"kind": kind, **options}).realisations
]


def update_of(kind, realisation, optimizer, model):
    penalty = penalties.make({"kind": kind, **OPTIONS[kind]})
    layers = model.layers()
    origin = [torch.zeros_like(layer.weight) for layer in layers] if penalty.origin == "pretrained" else None
    made = make_optimizer(list(model.parameters()), {**TRAINING, "optimizer": optimizer})
    return RegularisedStep(made, Regulariser(penalty, realisation, layers, origin), 1e-3)


class AllOnTheGpu(TorchDispatchMode):
    """Refuses what brings a number to the host, or makes a tensor there."""

    def __torch_dispatch__(self, function, types, args=(), kwargs=None):
        made = function(*args, **(kwargs or {}))
        for tensor in made if isinstance(made, list | tuple) else [made]:
            assert not isinstance(tensor, torch.Tensor) or tensor.device.type == "cuda", function
        return made


@pytest.fixture(scope="module", autouse=True)
def _fused_optimisers_without_memory():
    """torch does not say what they do to tensors without memory; they change them in place."""
    library = torch.library.Library("aten", "IMPL", "Meta")
    for name in ("_fused_sgd_.tensor_lr", "_fused_adam_.tensor_lr"):
        library.impl(name, lambda *given, **options: None)
    yield
    library._destroy()


@pytest.mark.parametrize("optimizer", ["sgd", "adam"])
@pytest.mark.parametrize(("kind", "realisation"), WAYS)
def test_an_update_asks_a_gpu_for_no_number(optimizer, kind, realisation):
    """On tensors that say they are on a GPU and have no memory: to ask for a number, or to mix devices, is an error."""
    with FakeTensorMode():
        with torch.device("cuda"):
            model = networks.build({"kind": "convnet", "dropout": 0.5}, 4)
        update = update_of(kind, realisation, optimizer, model)
        for parameter in model.parameters():
            parameter.grad = torch.empty_like(parameter)
        numbers = torch.empty(2, device="cuda").unbind()
        with AllOnTheGpu():
            update(*numbers)
            update(*numbers)


@pytest.mark.parametrize("kind", ["cross_entropy_dice", "focal_dice", "squared_error", "smooth_l1"])
@pytest.mark.parametrize("scale", [None, [0.5, 2.0]])
def test_augmentation_network_and_data_term_ask_a_gpu_for_no_number(kind, scale):
    options = {"scale": scale, "flip": True, "brightness": 0.1, "contrast": 0.1, "saturation": 0.1}
    spec = {"kind": kind, "class_weights": None, "gamma": 2.0, "beta": 0.5}
    with FakeTensorMode():
        with torch.device("cuda"):
            model = networks.build({"kind": "convnet", "dropout": 0.5}, 4)
            images, masks = torch.empty(2, 3, 40, 50), torch.empty(2, 40, 50, dtype=torch.uint8)
            drawn = torch.empty(2, 7, dtype=torch.float64)
        objective = make_objective(spec, [0.25] * 4, torch.device("cuda"))
        with AllOnTheGpu():
            images, masks = augment(images, masks, (32, 36), options, drawn)
            loss = objective(model(images), masks)
        assert loss.device.type == "cuda"


@pytest.mark.parametrize("optimizer", ["sgd", "adam"])
@pytest.mark.parametrize(("kind", "realisation"), WAYS)
def test_with_numbers_in_tensors_an_update_is_the_same(optimizer, kind, realisation):
    """Up to float32: the numbers of a replayed step are float32, floats are not."""
    found = []
    for form in (float, torch.tensor):
        torch.manual_seed(0)
        model = networks.build({"kind": "convnet", "dropout": 0.5}, 4)
        update = update_of(kind, realisation, optimizer, model)
        for lr in (1e-2, 5e-3, 2e-2):
            for parameter in model.parameters():
                parameter.grad = torch.randn_like(parameter)
            update(form(lr), form(1e-3))
        found.append([parameter.detach() for parameter in model.parameters()])
    for one, other in zip(*found, strict=True):
        torch.testing.assert_close(one, other, rtol=1e-5, atol=1e-7)


class Line:
    """Steps of Adam on a line; ``draw`` gives a number to each."""

    def __init__(self, draw=lambda: 0.5):
        torch.manual_seed(0)
        self.draw, self.weight = draw, torch.nn.Parameter(torch.randn(5))
        self.optimizer = make_optimizer([self.weight], {**TRAINING, "optimizer": "adam"})

    def step(self):
        self.optimizer.zero_grad()
        loss = (self.weight * self.draw()).sum().square()
        loss.backward()
        self.optimizer.step()
        return loss.detach()

    def state(self):
        yield self.weight
        for kept in self.optimizer.state.values():
            yield from kept.values()


@pytest.mark.skipif(torch.cuda.is_available(), reason="there it is captured")
def test_where_nothing_can_be_captured_it_says_so_once_and_goes_on_from_the_same_state():
    said = []
    eager, tried = Line(lambda: torch.rand(5)), Line(lambda: torch.rand(5))
    ways = [Captured(one.step, one.state, said.append, eager=one is eager) for one in (eager, tried)]
    for seed in range(4):
        assert torch.equal(*(way(seed) for way in ways))
    assert torch.equal(eager.weight, tried.weight)
    (line,) = said
    assert line.startswith("steps are not captured in a CUDA graph: ")


def test_a_rehearsal_tells_what_a_step_does_and_leaves_no_trace():
    line = Line()
    steps = Captured(line.step, line.state, print, eager=True)
    for seed in range(3):
        before = steps._copies()
        wanted = steps._rehearse(seed, before)
        # Before the first step, the optimiser remembers nothing yet.
        assert all(torch.equal(now, before.get(now, torch.zeros_like(now))) for now in line.state())
        steps(seed)
        assert all(torch.equal(now, wanted[now]) for now in line.state())
    assert int(line.optimizer.state[line.weight]["step"]) == 3


@pytest.mark.parametrize("draw", [lambda: torch.rand(()), random.random, np.random.random])
def test_a_step_that_draws_numbers_on_the_host_is_none_to_capture(draw):
    line = Line(draw)
    steps = Captured(line.step, line.state, print, eager=True)
    with pytest.raises(NotCapturable, match="draws random numbers on the host"):
        steps._rehearse(0, steps._copies())


def test_a_rehearsal_that_is_broken_off_is_waited_for_before_the_state_is_restored(monkeypatch):
    """A GPU may still be at the steps that the host has launched there, and would write over what is restored."""
    done = []

    class Stream:
        def wait_stream(self, other):
            done.append("waits for the other" if self is main else "begins after")

    main = Stream()
    monkeypatch.setattr(torch.cuda, "Stream", Stream)
    monkeypatch.setattr(torch.cuda, "current_stream", lambda: main)
    monkeypatch.setattr(torch.cuda, "stream", lambda stream: nullcontext())
    line = Line(random.random)
    steps = Captured(line.step, line.state, done.append, eager=False)
    restore = steps._restore
    monkeypatch.setattr(steps, "_restore", lambda before: (done.append("restores"), restore(before)))
    steps(0)
    # Within the rehearsal, then of all.
    assert done[:-1] == ["begins after", "restores", "waits for the other", "restores"]


def places(trainer):
    """Where all that a step reads and writes is in memory."""
    state = {id(tensor): tensor.data_ptr() for tensor in trainer.step._state()}
    return state, [tensor.data_ptr() for tensor in trainer.step.inputs.tensors]


def test_the_cells_of_a_path_share_the_memory_of_one_step(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    study = prepared_study(tmp_path, training={"epochs": 2, "batch_size": 4, "crop": 16, "optimizer": "adam"})
    bench = bench_of(study, sweep_path())
    first = trainer(bench, 1e-3, tmp_path / "first")
    first.run()
    found = places(first)
    late = StopRequest()
    with pytest.raises(Interrupted):
        trainer(bench, 1e-2, tmp_path / "late", late, lambda row: setattr(late, "signal", 15)).run()
    # From its checkpoint, and after another cell.
    trainer(bench, 1e-4, tmp_path / "between").run()
    resumed = trainer(bench, 1e-2, tmp_path / "late")
    assert resumed.progress.epoch == 1
    resumed.run()
    assert resumed.step is first.step
    assert places(resumed) == found
    whole = state(bench)
    trainer(bench, 1e-2, tmp_path / "whole").run()
    assert same(state(bench), whole)


def test_a_step_that_no_longer_serves_is_given_up_before_another_is_made(tmp_path, monkeypatch):
    """Each holds its graph's memory, and there is a step for each strength of dropout."""
    monkeypatch.chdir(tmp_path)
    changes = {"penalties": {"none": {}, "dropout": {"lambda": [0.1, 0.3]}}, "training": {"epochs": 1, "batch_size": 4}}
    bench = bench_of(prepared_study(tmp_path, **changes), sweep_path("dropout"))
    gc.disable()
    try:
        first = weakref.ref(bench.step(treatment_of("dropout", 0.1)))
        bench.step(treatment_of("dropout", 0.3))
        assert first() is None
    finally:
        gc.enable()
