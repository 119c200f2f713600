"""A user's own method, as its author meets it: ``softreg new``, ``softreg check``, the pages, and a study."""

from __future__ import annotations

import re
import subprocess
import sys
from pathlib import Path

import pytest
import yaml
from projects import TINY
from test_docs import blocks

from softreg.cli import main
from softreg.files import read_json
from softreg.running import places, stages
from softreg.study import cells
from softreg.study.config import load_study, stride_of
from softreg.study.matrix import find_path, sweep_paths

ROOT = Path(__file__).parents[2]
NOUNS = {"penalty": "penalties", "model": "models", "dataset": "datasets"}
PAGES = {noun: ROOT / "docs" / f"your-own-{noun}.md" for noun in NOUNS}

RIDGE = """
from softreg.penalties.base import Penalty, scale, shrink_, sum_squares


class Ridge(Penalty):
    def __init__(self, gamma: float):
        self.gamma = gamma

    def value(self, weights):
        return self.gamma * sum_squares(weights) / 2

    def gradient(self, weights):
        return [self.gamma * weight for weight in weights]

    def prox_(self, weights, strength):
        shrink_(weights, scale(strength, self.gamma))
"""


@pytest.fixture(autouse=True)
def folder(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(sys, "path", list(sys.path))
    return tmp_path


def softreg(*arguments: str) -> subprocess.CompletedProcess[str]:
    command = Path(sys.executable).with_name("softreg")
    return subprocess.run([command, *arguments], check=False, capture_output=True, text=True)


def study_with(noun: str, name: str, entry: dict) -> Path:
    """The tiny study with one entry replaced, or added to the penalties."""
    sections = dict(TINY)
    kept = {"none": {}} if noun == "penalty" else {}
    sections[NOUNS[noun]] = {**kept, name: entry}
    Path("own.yaml").write_text(yaml.safe_dump(sections))
    return Path("own.yaml")


def sentence(capsys, *arguments: str) -> str:
    """What the command says of bad input."""
    assert main(arguments) == 2
    (line,) = capsys.readouterr().err.splitlines()
    return line


@pytest.mark.parametrize("noun", NOUNS)
def test_a_new_file_passes_its_check_and_prints_an_entry_that_loads(noun, capsys):
    assert main(["new", noun, f"my-{noun}"]) == 0
    told = capsys.readouterr().out
    file = f"my_{noun}.py"
    assert f"    softreg check {file}\n" in told
    entry = yaml.safe_load(told.splitlines()[-1])[f"my-{noun}"]
    study = load_study(study_with(noun, f"my-{noun}", entry))
    assert getattr(study, NOUNS[noun])[f"my-{noun}"]["kind"] == entry["kind"] == f"{file}:My{noun.title()}"
    assert "Template" not in Path(file).read_text(encoding="utf-8")
    assert main(["check", file]) == 0
    assert f"{file}:My{noun.title()} keeps its contract" in capsys.readouterr().out


def test_new_overwrites_nothing(capsys):
    Path("ridge.py").write_text("mine\n")
    assert (
        sentence(capsys, "new", "penalty", "ridge") == "softreg: ridge.py exists; give another name, or delete it first"
    )
    assert Path("ridge.py").read_text() == "mine\n"


@pytest.mark.parametrize("name", ["7up", "a.b", "../up", "class", "torch"])
def test_new_takes_no_name_that_would_not_import(name, capsys):
    assert "name" in sentence(capsys, "new", "model", name)
    assert list(Path().iterdir()) == []


def test_check_asks_for_an_option_without_default_and_takes_it(capsys):
    Path("ridge.py").write_text(RIDGE)
    assert "`softreg check ridge.py --option gamma=VALUE`" in sentence(capsys, "check", "ridge.py")
    assert main(["check", "ridge.py", "--option", "gamma=0.5"]) == 0
    assert "ridge.py:Ridge keeps its contract" in capsys.readouterr().out


@pytest.mark.parametrize(
    ("option", "words"),
    [
        ("gama=1", ['--option gama is no option of ridge.py; did you mean "gamma"']),
        ("gamma=big", ['ridge.py: --option gamma is "big"; give a number']),
        ("gamma", ["--option gamma has no value", "NAME=VALUE"]),
        ("gamma=[", ["--option gamma=["]),
    ],
)
def test_a_wrong_option_is_told(option, words, capsys):
    Path("ridge.py").write_text(RIDGE)
    told = sentence(capsys, "check", "ridge.py", "--option", option)
    assert [word for word in words if word not in told] == []


def test_an_option_is_for_a_file_alone(capsys):
    study = study_with("model", "convnet", {})
    assert "--option is for a Python file" in sentence(capsys, "check", str(study), "--option", "gamma=1")


@pytest.mark.parametrize(
    ("text", "words"),
    [
        (None, ["own.py: no such file"]),
        ("class Ridge:\n    x = 1\n    y = 1 / 0\n", ["own.py, line 3: ZeroDivisionError: division by zero"]),
        ("class Ridge: ...\n", ["own.py has no penalty, data set or model", "softreg.penalties.base.Penalty"]),
        (
            "from softreg.penalties.base import Penalty\nclass Ridge(Penalty): ...\n",
            ["own.py: TypeError", "abstract", "value"],
        ),
        (
            "from torch import nn\nclass Net(nn.Module):\n    def __init__(self, width=1): ...\n",
            ["own.py has no penalty, data set or model", "`classes`"],
        ),
    ],
    ids=["missing", "raises", "neither", "abstract", "no-classes"],
)
def test_a_file_that_cannot_be_checked_is_told_in_one_sentence(text, words, capsys):
    if text is not None:
        Path("own.py").write_text(text)
    told = sentence(capsys, "check", "own.py")
    assert [word for word in words if word not in told] == []


@pytest.mark.slow
def test_a_broken_file_fails_and_says_what_to_mend():
    Path("ridge.py").write_text(RIDGE.replace("self.gamma * weight for", "2 * self.gamma * weight for"))
    done = softreg("check", "ridge.py", "--option", "gamma=0.5")
    assert (done.returncode, done.stderr) == (1, "")
    assert re.search(
        r"^FAIL  gradient +\d\.\de[+-]\d\d \(limit 1e-06\) +against finite differences$", done.stdout, re.MULTILINE
    )
    assert done.stdout.splitlines()[-1].startswith("ridge.py:Ridge breaks gradient")


def test_all_that_a_file_holds_is_checked_but_not_its_helpers(capsys):
    main(["new", "dataset", "one"])
    text = Path("one.py").read_text(encoding="utf-8")
    helper = (
        "\n\nclass Two(One):\n    title = 'Two'\n\n\nclass Three(One):\n    title = 'Three'\n\n\nclass Other: ...\n"
    )
    Path("one.py").write_text(text + helper, encoding="utf-8")
    capsys.readouterr()
    assert main(["check", "one.py"]) == 0
    ended = capsys.readouterr().out.splitlines()[-2:]
    assert ended == ["one.py:Two keeps its contract", "one.py:Three keeps its contract"]
    assert main(["check", "one.py:One"]) == 0
    assert capsys.readouterr().out.splitlines()[-1] == "one.py:One keeps its contract"


def page_files(noun: str) -> tuple[str, str]:
    """Write the program and the study of a page; their names."""
    text = PAGES[noun].read_text(encoding="utf-8")
    (program,), (study,) = blocks(text, "python"), blocks(text, "yaml")
    names = re.findall(r"^This is `([\w.]+)`", text, re.MULTILINE)
    for name, content in zip(names, (program, study), strict=True):
        Path(name).write_text(content + "\n", encoding="utf-8")
    return names[0], names[1]


@pytest.mark.parametrize("noun", NOUNS)
def test_the_program_of_a_page_is_as_short_as_it_says_and_passes(noun, capsys):
    program, _ = page_files(noun)
    (count,) = re.findall(r"^This is `[\w.]+`, (\d+) lines", PAGES[noun].read_text("utf-8"), re.MULTILINE)
    assert len(Path(program).read_text("utf-8").splitlines()) == int(count) <= 25
    commands = re.findall(rf"softreg (check {program}[^`\n]*)", PAGES[noun].read_text("utf-8"))
    assert len(commands) == 2
    for command in commands:
        assert main(command.split()) == 0
    assert "FAIL" not in capsys.readouterr().out


@pytest.mark.parametrize("noun", NOUNS)
def test_the_study_of_a_page_loads(noun, capsys):
    _, study = page_files(noun)
    assert main(["check", study]) == 0
    assert "cells" in capsys.readouterr().out


def run_study(file: Path):
    """Prepare, train and score the sweep of a study; its records of cells, by path."""
    study = load_study(file)
    for dataset in study.datasets:
        stages.prepare(study, dataset)
    records = {}
    for path in sweep_paths(study):
        stages.train(study, path)
        listed = read_json(cells.path_folder(places.results_folder(study), path) / "path.json")
        records[path.penalty] = listed["cells"]
    return study, records


@pytest.mark.parametrize("noun", NOUNS)
def test_a_study_runs_with_the_program_of_a_page(noun):
    program, _ = page_files(noun)
    class_name = Path(program).stem.title()
    entry = {"kind": f"{program}:{class_name}", **({"lambda": [1e-3]} if noun == "penalty" else {})}
    _, records = run_study(study_with(noun, "own", entry))
    assert {cell["status"] for listed in records.values() for cell in listed} == {"finished"}


def test_a_penalty_of_ones_own_trains_to_the_same_bits_as_the_same_formula():
    Path("ridge.py").write_text(RIDGE)
    study = study_with("penalty", "own", {"kind": "ridge.py:Ridge", "gamma": 1.0, "lambda": [1e-2]})
    text = yaml.safe_load(study.read_text())
    text["penalties"]["l2"] = {"lambda": [1e-2]}
    study.write_text(yaml.safe_dump(text))
    _, records = run_study(study)
    assert records["own"][0]["weights_sha256"] == records["l2"][0]["weights_sha256"]
    assert records["own"][0]["weights_sha256"] != records["none"][0]["weights_sha256"]


def test_the_key_follows_the_code_of_the_file_and_not_its_place():
    Path("ridge.py").write_text(RIDGE)
    entry = {"kind": "ridge.py:Ridge", "gamma": 1.0, "lambda": [1e-2]}

    def key(entry):
        study = load_study(study_with("penalty", "own", entry))
        path = find_path(study, "sweep", "shapes/convnet/own/seed0")
        return cells.make_cells(study, path, ["1e-2"], places.results_folder(study), "0" * 64)[0].key

    first = key(entry)
    Path("ridge.py").write_text("# A comment.\n" + RIDGE)
    assert key(entry) == first
    Path("methods").mkdir()
    Path("ridge.py").rename("methods/ridge.py")
    moved = entry | {"kind": "methods/ridge.py:Ridge"}
    assert key(moved) == first
    assert key(moved | {"gamma": 2.0}) != first
    Path("methods/ridge.py").write_text(RIDGE.replace("/ 2", "/ 3"))
    assert key(moved) != first


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("from torch import nn\nclass Ridge(nn.Module): ...\n", ["Ridge is no subclass", "Penalty"]),
        ("import torch\n1 / 0\n", ["line 2: ZeroDivisionError"]),
        ("class Ridge(:\n", ["line 1: SyntaxError"]),
        (RIDGE.replace("self, gamma: float", "self, weights"), ["the option weights of Ridge", "give it another"]),
        (RIDGE.replace("class Ridge(Penalty):", "class Ridge(Penalty):\n    realisations = None"), ["no realisation"]),
        (
            RIDGE.replace("class Ridge(Penalty):", "class Ridge(Penalty):\n    realisations = ('decouple',)"),
            ["no real"],
        ),
    ],
)
def test_a_study_refuses_a_class_that_will_not_do(text, words, capsys):
    Path("ridge.py").write_text(text)
    study = study_with("penalty", "own", {"kind": "ridge.py:Ridge", "lambda": [1e-2]})
    told = sentence(capsys, "check", str(study))
    assert told.startswith("softreg: own.yaml: penalties.own.kind: ridge.py")
    assert [word for word in words if word not in told] == []


def test_the_first_realisation_that_a_class_states_is_its_default():
    stated = "class Ridge(Penalty):\n    realisations = tuple(reversed(Penalty.realisations))"
    Path("ridge.py").write_text(RIDGE.replace("class Ridge(Penalty):", stated))
    entry = {"kind": "ridge.py:Ridge", "gamma": 1.0, "lambda": [1e-2]}
    assert load_study(study_with("penalty", "own", entry)).penalties["own"]["realisation"] == "subgradient"
    every = load_study(study_with("penalty", "own", entry | {"realisation": ["proximal", "subgradient"]}))
    assert list(every.penalties) == ["none", "own-proximal", "own-subgradient"]


@pytest.mark.parametrize(("stated", "given"), [("stride = 2**3", 8), ("stride = property(lambda self: 8)", 1)])
def test_crops_are_multiples_of_the_stride_that_the_class_states(stated, given):
    net = "from torch import nn\nclass Net(nn.Module):\n    {}\n    def __init__(self, classes): ...\n"
    Path("net.py").write_text(net.format(stated))
    assert stride_of({"kind": "net.py:Net"}) == given


def test_a_study_refuses_what_the_constructor_does_not_take(capsys):
    Path("ridge.py").write_text(RIDGE)
    for entry, word in (({}, "gamma"), ({"gamma": "big"}, "a number"), ({"gamma": 1.0, "gama": 2}, "gama")):
        study = study_with("penalty", "own", {"kind": "ridge.py:Ridge", "lambda": [1e-2], **entry})
        told = sentence(capsys, "check", str(study))
        assert "penalties.own" in told
        assert word in told
