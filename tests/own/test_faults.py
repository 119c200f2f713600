"""What a user's class does wrong in training: a sentence with file and line, a failed cell, and the others go on."""

import shutil
from pathlib import Path

import pytest
import torch
from projects import cell_folder, prepared_study, sweep_path

from softreg.files import read_json
from softreg.own.blame import blamed
from softreg.running import stages

PENALTY = """
import os
import sys

import torch

from softreg.penalties.base import Penalty, shrink_, sum_squares


class Own(Penalty):
    def value(self, weights):
        return sum_squares(weights) / 2

    def gradient(self, weights):
        return list(weights)

    def prox_(self, weights, strength):
        shrink_(weights, strength)
"""
MODEL = """
import os
import sys

import torch
from torch import nn


class Own(nn.Module):
    def __init__(self, classes):
        super().__init__()
        self.head = nn.Conv2d(3, classes, 1)

    def forward(self, images):
        logits = self.head(images)
        return logits
"""
VALUE, PROX, LOGITS = "return sum_squares(weights) / 2", "shrink_(weights, strength)", "return logits"

#: Code of a class, what stands in its place, and what is said of line LINE.
FAULTS = {
    "a penalty exits": (PENALTY, PROX, "sys.exit(0)", "SystemExit: 0; correct it there"),
    "a penalty raises": (PENALTY, PROX, "raise ValueError('no such λ')", "ValueError: no such λ; correct it there"),
    "a penalty goes elsewhere": (PENALTY, PROX, "os.chdir('/')", "it changes the working folder, "),
    "a penalty changes the default type": (
        PENALTY,
        PROX,
        "torch.set_default_dtype(torch.float64)",
        "it changes torch's default type, ",
    ),
    "a penalty seeds": (PENALTY, PROX, "torch.manual_seed(0)", "it changes torch's seed, "),
    "a penalty is nan": (PENALTY, VALUE, "return torch.tensor(torch.nan)", "value gives nan; a penalty is a finite"),
    "a penalty is infinite": (PENALTY, VALUE, "return torch.tensor(torch.inf)", "value gives inf; a penalty is a"),
    "a penalty is negative": (PENALTY, VALUE, "return -sum_squares(weights)", "value gives -"),
    "a penalty is a list": (PENALTY, VALUE, "return torch.ones(2)", "value gives a tensor of shape (2,); give one"),
    "a gradient is short": (PENALTY, "return list(weights)", "return [weights[0]]", "gradient gives other than a list"),
    "a model exits": (MODEL, LOGITS, "sys.exit('done')", "SystemExit: done; correct it there"),
    "a model raises": (MODEL, LOGITS, "return logits[9, 9]", "IndexError: index 9 is out of bounds"),
    "a model goes elsewhere": (MODEL, LOGITS, "os.chdir('/'); return logits", "it changes the working folder, "),
    "a model seeds": (MODEL, LOGITS, "torch.manual_seed(0); return logits", "it changes torch's seed, "),
    "a model's logits are small": (
        MODEL,
        LOGITS,
        "return logits[..., ::2, ::2]",
        "forward gives (1, 4, 8, 12) for images (1, 3, 16, 24); give logits (1, 4, 16, 24)",
    ),
    "a model's logits are large": (MODEL, LOGITS, "return logits.repeat(1, 1, 2, 2)", "forward gives (1, 4, 32, 48) "),
    "a model seeds its weights": (
        MODEL,
        "super().__init__()",
        "super().__init__(); torch.manual_seed(0)",
        "it changes torch's seed, ",
    ),
}


@pytest.fixture(scope="module")
def data(tmp_path_factory):
    """What the tests share: the data, prepared."""
    folder = tmp_path_factory.mktemp("shared")
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(folder)
        prepared_study(folder)
    return folder / "data"


@pytest.fixture(autouse=True)
def _project(tmp_path, monkeypatch, data):
    monkeypatch.chdir(tmp_path)
    shutil.copytree(data, tmp_path / "data")
    state = torch.get_rng_state()
    yield
    torch.set_rng_state(state)


def _study(folder, text, epochs=1):
    """A study of the class beside one of SoftReg's; the path that is the class's own, and the cell's λ."""
    (folder / "own.py").write_text(text)
    training = {"epochs": epochs, "batch_size": 4, "lr": 1e-3}
    penalty = {"kind": "own.py:Own", "lambda": [1e-4]}
    if "Penalty" not in text:
        models = {"convnet": {}, "own": {"kind": "own.py:Own"}}
        return prepared_study(folder, models=models, training=training), sweep_path("none", model="own"), "0"
    if "[weights[0]]" in text:
        penalty["realisation"] = "subgradient"
    return prepared_study(folder, penalties={"none": {}, "own": penalty}, training=training), sweep_path("own"), "1e-4"


@pytest.mark.parametrize("fault", FAULTS)
def test_a_fault_fails_the_cell_and_is_told_with_its_line(tmp_path, fault):
    text, old, new, words = FAULTS[fault]
    assert text.count(old) == 1
    study, path, lambda_ = _study(tmp_path, text.replace(old, new))
    stages.train(study, path)
    assert Path.cwd() == tmp_path
    assert torch.get_default_dtype() == torch.float32
    record = read_json(cell_folder(study, path, lambda_) / "cell.json")
    assert record["status"] == "failed"
    lines = text.replace(old, new).splitlines()
    line = next(number for number, each in enumerate(lines, 1) if new.splitlines()[0] in each)
    # Of what has been done and raised nothing, the line is that where the method begins.
    begins = max(number for number, each in enumerate(lines[:line], 1) if each.strip().startswith("def "))
    place = line if "correct it there" in words or "IndexError" in words else begins
    assert record["reason"].startswith(f"own.py, line {place}: {words}")
    assert "\n" not in record["reason"]


def test_other_entries_and_other_strengths_go_on(tmp_path):
    """The penalty fails at one λ of two, under the same training."""
    (tmp_path / "own.py").write_text(PENALTY.replace(PROX, f"{PROX}\n        assert not 1e-6 < strength < 1"))
    penalties = {"none": {}, "own": {"kind": "own.py:Own", "lambda": [1e-4, 1e-2]}}
    study = prepared_study(tmp_path, penalties=penalties, training={"epochs": 1, "batch_size": 4, "lr": 1e-3})
    stages.train(study, sweep_path("own"))
    stages.train(study, sweep_path("none"))
    cells = {"none": ["0"], "own": ["1e-4", "1e-2"]}
    found = [
        read_json(cell_folder(study, sweep_path(name), lambda_) / "cell.json")["status"]
        for name, lambdas in cells.items()
        for lambda_ in lambdas
    ]
    assert found == ["finished", "finished", "failed"]


@pytest.mark.parametrize(("text", "old"), [(PENALTY, PROX), (MODEL, LOGITS)], ids=["penalty", "model"])
def test_what_is_printed_goes_to_standard_error(tmp_path, capsys, text, old):
    study, path, lambda_ = _study(tmp_path, text.replace(old, f"print('noise'); {old}"))
    capsys.readouterr()
    stages.train(study, path)
    said = capsys.readouterr()
    assert read_json(cell_folder(study, path, lambda_) / "cell.json")["status"] == "finished"
    assert "noise" not in said.out
    assert "noise" in said.err


@pytest.mark.parametrize(
    "error",
    [torch.OutOfMemoryError("CUDA out of memory"), MemoryError(), RuntimeError("CUDA error: unknown"), SystemExit(143)],
    ids=["GPU memory", "memory", "GPU lost", "stopped by a signal"],
)
def test_what_is_not_the_codes_fault_is_not_blamed_on_it(error):
    with pytest.raises(type(error)) as raised, blamed(Path("own.py")):
        raise error
    assert raised.value is error


def test_a_network_that_only_takes_more_memory_than_there_is_is_no_fault(tmp_path):
    study, path, lambda_ = _study(tmp_path, MODEL.replace(LOGITS, "return logits + torch.zeros(10**15).sum()"))
    stages.train(study, path)
    assert read_json(cell_folder(study, path, lambda_) / "cell.json")["status"] == "out-of-memory"
