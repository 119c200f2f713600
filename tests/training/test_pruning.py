"""Magnitude pruning: what is set to zero, that it stays so, and that an interruption changes nothing."""

from itertools import pairwise

import numpy as np
import pytest
import torch
from projects import prepared_study, sweep_path
from trainers import bench_of, same, state, trainer

from softreg.training.pruning import Pruner, rounds, scores
from softreg.training.stopping import Interrupted, StopRequest

#: 12 training images, so that these are 4 × 3 = 12 steps, and pruning comes after the sixth.
EPOCHS, STEPS, AT = 4, 12, 6
SGD = {"optimizer": "sgd", "lr": 0.05, "momentum": 0.9}
ADAM = {"optimizer": "adam", "lr": 1e-3}


def done(trainer):
    """The steps that a trainer has done."""
    return trainer.progress.epoch * 3 + trainer.progress.step


class StopAfter(StopRequest):
    """A request that comes once ``trainer`` has done a number of steps."""

    def __init__(self, steps):
        self.steps, self.trainer = steps, None

    @property
    def signal(self):
        return 15 if self.trainer is not None and done(self.trainer) >= self.steps else None


def layers(seed=0):
    """Three layers, one of them with weights a hundred times smaller."""
    random = torch.Generator().manual_seed(seed)
    shapes, scales = [(8, 3, 3, 3), (20, 8), (5, 20)], [1.0, 0.01, 1.0]
    return [scale * torch.randn(shape, generator=random) for shape, scale in zip(shapes, scales, strict=True)]


def flat(tensors):
    return np.concatenate([tensor.detach().numpy().ravel() for tensor in tensors])


def lamp(layer):
    """Each weight's square over the sum of its own and of all squares in its layer that come after it by size."""
    values = [float(value) ** 2 for value in layer.flatten()]
    order = sorted(range(len(values)), key=lambda place: values[place])
    found = [0.0] * len(values)
    for rank, place in enumerate(order):
        found[place] = values[place] / sum(values[other] for other in order[rank:])
    return found


@pytest.mark.parametrize("share", [0.01, 0.5, 0.777, 0.98])
def test_the_lowest_scores_of_all_layers_together_are_zero_and_the_rest_as_before(share):
    weights = layers()
    before = flat(weights)
    ranked = [score for layer in weights for score in lamp(layer)]
    Pruner(weights, share, [3])(3)
    expected = before.copy()
    expected[np.argsort(ranked, kind="stable")[: round(share * len(before))]] = 0
    assert np.array_equal(flat(weights), expected)
    # By magnitude alone, the layer of small weights would go first.
    assert all(bool(weight.any()) for weight in weights)


def test_a_layer_of_zeros_and_a_weight_of_next_to_nothing_have_scores():
    weights = [torch.zeros(4), torch.tensor([0.0, 1e-30, 2.0])]
    assert scores(weights[0]).tolist() == [0.0] * 4
    assert scores(weights[1]).tolist() == [0.0, pytest.approx(2.5e-61, rel=1e-6), 1.0]


def test_equal_magnitudes_do_not_change_the_share():
    weight = torch.tensor([[0.5, -0.5, 0.5, -0.5, 1.0, 2.0, 3.0, 4.0]])
    Pruner([weight], 0.25, [1])(1)
    assert int((weight == 0).sum()) == 2
    assert weight[0, 4:].tolist() == [1.0, 2.0, 3.0, 4.0]


@pytest.mark.parametrize(("share", "step"), [(0.5, 2), (0.0, 3), (0.0, 9), (0.001, 3)])
def test_nothing_happens_before_its_step_or_for_no_weight(share, step):
    weights = layers()
    before = flat(weights)
    Pruner(weights, share, [3])(step)
    assert np.array_equal(flat(weights), before)


def test_in_rounds_the_share_follows_a_cube_and_no_weight_comes_back():
    weights = layers()
    count = len(flat(weights))
    due = rounds((0.25, 0.75), 100)
    assert due == [30, 35, 40, 45, 50, 55, 60, 65, 70, 75]
    prune, gone = Pruner(weights, 0.9, due), np.zeros(count, dtype=bool)
    for step in range(1, 101):
        # What training would do to the weights, zeros among them.
        for weight in weights:
            weight.add_(0.01 * torch.randn(weight.shape, generator=torch.Generator().manual_seed(step)))
        prune(step)
        share = 0.9 * (1 - (1 - np.clip((step // 5 * 5 - 25) / 50, 0, 1)) ** 3)
        assert (flat(weights) == 0).sum() == round(share * count), step
        assert not (gone & (flat(weights) != 0)).any()
        gone = flat(weights) == 0


def test_what_a_step_moves_does_not_come_back_at_the_next_round():
    weights = layers()
    prune = Pruner(weights, 0.5, [1, 2])
    prune(1)
    gone = [weight == 0 for weight in weights]
    for weight, pruned in zip(weights, gone, strict=True):
        weight[pruned] = 100.0
    prune(2)
    assert all(bool((weight[pruned] == 0).all()) for weight, pruned in zip(weights, gone, strict=True))
    assert int((flat(weights) == 0).sum()) == round(0.5 * len(flat(weights)))


def test_rounds_that_fall_on_one_step_are_one():
    assert rounds((0.5, 0.5), 12) == [6] * 10
    assert rounds((0, 0), 12) == [1] * 10


@pytest.fixture
def make(tmp_path, monkeypatch):
    """A trainer of a new network on the tiny study, for a share to prune, a checkpoint's name and a request."""
    monkeypatch.chdir(tmp_path)

    def make(training, share, name="cell", stop=None, **entry):
        penalties = {"pruning": {"lambda": [0.3, 0.8], "between": [0.5, 0.5], **entry}}
        study = prepared_study(tmp_path, penalties=penalties, training={"epochs": EPOCHS, "batch_size": 4, **training})
        request = StopRequest() if stop is None else StopAfter(stop)
        bench = bench_of(study, sweep_path("pruning"), share)
        request.trainer = trainer(bench, share, tmp_path / f"{name}.pt", request)
        return request.trainer

    return make


def until(trainer):
    """Train until the request, if there is one, and give the state then."""
    try:
        trainer.run()
    except Interrupted:
        assert trainer.progress.epoch < EPOCHS
    return state(trainer.bench)


def zeros(trainer):
    return flat(trainer.bench.regulariser.weights) == 0


@pytest.mark.parametrize("training", [SGD, ADAM], ids=["sgd", "adam"])
@pytest.mark.parametrize("share", [0.3, 0.8])
def test_a_trained_cell_has_the_share_of_zeros_to_the_weight(make, training, share):
    trainer = make(training, share)
    progress = trainer.run()
    assert int(zeros(trainer).sum()) == round(share * zeros(trainer).size)
    assert [row["step"] for row in progress.history] == [3, 6, 9, 12]
    assert [row["exact_zeros"] > 0 for row in progress.history] == [False, True, True, True]


@pytest.mark.parametrize("training", [SGD, ADAM], ids=["sgd", "adam"])
def test_zeros_stay_and_the_rest_goes_on_learning(make, training):
    trainer = make(training, 0.8)
    snapshots = []
    trainer.report = lambda row: snapshots.append(flat(trainer.bench.regulariser.weights))
    trainer.run()
    pruned = snapshots[1] == 0
    for earlier, later in pairwise(snapshots[1:]):
        assert np.array_equal(later == 0, pruned)
        # Weights behind a dead unit get no gradient; most are not.
        assert np.mean(later[~pruned] != earlier[~pruned]) > 0.5


def test_the_steps_before_are_those_of_another_share(make):
    """Up to the pruning step the share matters to nothing."""
    assert same(until(make(SGD, 0.3, "a", AT - 1)), until(make(SGD, 0.8, "b", AT - 1)))
    assert not same(until(make(SGD, 0.3, "c", AT)), until(make(SGD, 0.8, "d", AT)))


@pytest.mark.parametrize(("at", "step"), [(0.01, 1), (0.5, 6), (0.75, 9), (0.99, 12)])
def test_it_happens_after_its_share_of_the_steps(make, at, step):
    if step > 1:
        stopped = make(SGD, 0.8, "before", step - 1, between=[at, at])
        until(stopped)
        assert not zeros(stopped).any()
    # The last step of all leaves no request to answer.
    stopped = make(SGD, 0.8, "after", step if step < STEPS else None, between=[at, at])
    until(stopped)
    assert int(zeros(stopped).sum()) == round(0.8 * zeros(stopped).size)


def test_a_weight_that_training_brings_to_zero_is_not_taken_for_a_pruned_one(make):
    entry = {"between": [0.25, 0.75]}
    stopped = make(ADAM, 0.8, "parts", 10, **entry)
    until(stopped)
    left = tuple(stopped.prune.kept[0].nonzero()[0])
    stopped.bench.regulariser.weights[0].detach()[left] = 0.0
    stopped._save()
    going_on = make(ADAM, 0.8, "parts", **entry)
    assert done(going_on) == 10
    assert all(torch.equal(one, other) for one, other in zip(stopped.prune.kept, going_on.prune.kept, strict=True))


@pytest.mark.parametrize("average", [None, 0.9])
def test_an_interruption_between_rounds_changes_no_weight(make, average):
    entry = {"between": [0.25, 0.75]}
    training = {**ADAM, "average": average}
    whole = make(training, 0.8, "whole", **entry)
    whole.run()
    assert int(zeros(whole).sum()) == round(0.8 * zeros(whole).size)
    for moment in (2, 3, 5, 6, 8, 10):
        stopped = make(training, 0.8, "parts", moment, **entry)
        until(stopped)
        assert done(stopped) == moment
    parts = make(training, 0.8, "parts", **entry)
    parts.run()
    assert same(state(parts.bench), state(whole.bench))


@pytest.mark.parametrize("training", [SGD, ADAM], ids=["sgd", "adam"])
@pytest.mark.parametrize("moments", [[AT - 1], [AT], [AT + 1], [AT - 3, AT, AT + 2]], ids=str)
def test_an_interruption_before_at_or_after_pruning_changes_no_weight(make, training, moments):
    whole = make(training, 0.8, "whole")
    whole.run()
    for moment in moments:
        stopped = make(training, 0.8, "parts", moment)
        until(stopped)
        assert done(stopped) == moment
    parts = make(training, 0.8, "parts")
    parts.run()
    assert int(zeros(parts).sum()) == int(zeros(whole).sum())
    assert same(state(parts.bench), state(whole.bench))
