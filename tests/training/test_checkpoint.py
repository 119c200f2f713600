"""A checkpoint is gone on from only if it is what was written."""

import numpy as np
import pytest
import torch

from softreg.training import checkpoint
from softreg.training.checkpoint import Progress


def network():
    torch.manual_seed(0)
    model = torch.nn.Linear(30, 20)
    return model, torch.optim.SGD(model.parameters(), 0.1, momentum=0.9)


@pytest.fixture
def written(tmp_path):
    """A checkpoint after a step, and the weights in it."""
    model, optimizer = network()
    model(torch.ones(1, 30)).sum().backward()
    optimizer.step()
    checkpoint.save(tmp_path / "checkpoint.pt", "key", Progress(epoch=3), model, optimizer)
    return tmp_path / "checkpoint.pt", model.weight.detach().clone()


def restored(file):
    model, optimizer = network()
    progress = checkpoint.load(file, "key", model, optimizer)
    return progress.epoch, model.weight.detach()


def test_it_restores_what_was_saved(written):
    file, weights = written
    epoch, found = restored(file)
    assert epoch == 3
    assert torch.equal(found, weights)


def test_with_a_flipped_bit_it_starts_over_or_the_bit_meant_nothing(written):
    file, weights = written
    content = file.read_bytes()
    fresh = network()[0].weight.detach()
    random = np.random.default_rng(0)
    started_over = 0
    for place in random.integers(0, len(content), 300):
        damaged = bytearray(content)
        damaged[place] ^= 1 << random.integers(8)
        file.write_bytes(damaged)
        epoch, found = restored(file)
        assert torch.equal(found, weights if epoch == 3 else fresh)
        started_over += epoch == 0
    # The weights and their momentum, of which no bit goes unnoticed, are a large part of the file.
    assert started_over > 100


@pytest.mark.parametrize("share", [0.0, 0.3, 0.9])
def test_a_part_of_it_is_none(written, share):
    file, _ = written
    content = file.read_bytes()
    file.write_bytes(content[: int(share * len(content))])
    assert restored(file)[0] == 0
