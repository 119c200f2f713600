"""A class in a user's file: how it is found and imported, what is read off it, and what importing it may meet."""

from __future__ import annotations

import math
import os
import pickle
import subprocess
import sys
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
import torch
from jsonschema import Draft202012Validator
from projects import TINY, write_study
from torch import nn

from softreg import networks, penalties
from softreg.data import datasets, prepare
from softreg.data.base import Dataset
from softreg.errors import UserError
from softreg.files import read_json
from softreg.networks.cell_network import build_network
from softreg.own.classes import classes_of, create, describe, entry_schema, load
from softreg.own.sources import is_own, slug
from softreg.penalties.base import Penalty
from softreg.running import places, stages
from softreg.running.graph import Graph
from softreg.study.config import load_study
from softreg.study.fingerprint import code_fingerprint, module_of
from softreg.study.keys import scoring_key, training_code
from softreg.study.matrix import TrainingPath
from softreg.study.schema import filled, study_schema

RIDGE = '''"""A ridge."""
from softreg.penalties.base import Penalty, scale, shrink_, sum_squares


class Ridge(Penalty):
    """P = gamma·w²/2."""

    realisations = ("proximal",)

    def __init__(self, gamma: float = 2.0):
        self.gamma = gamma

    def value(self, weights):
        return self.gamma * sum_squares(weights) / 2

    def prox_(self, weights, strength):
        shrink_(weights, scale(strength, self.gamma))
'''

NET = """
from torch import nn


class Net(nn.Module):
    stride = 4
    mean = (0.1, 0.2, 0.3)

    def __init__(self, classes: int, width: int = 8):
        super().__init__()
        self.encoder = nn.Conv2d(3, width, 4, stride=4)
        self.head = nn.Conv2d(width, classes, 1)
        self.up = nn.Upsample(scale_factor=4)

    def forward(self, images):
        return self.up(self.head(self.encoder(images)))
"""

DRAWN = """
from functools import partial
import numpy as np
from softreg.data.base import Dataset, Sample


class Drawn(Dataset):
    title, citation, licence = "Drawn", "generated", "none"
    palette = {"background": (0, 0, 0), "thing": (255, 0, 0)}

    def __init__(self, images: int, level: int = 200):
        self.images, self.level = images, level

    def samples(self, options, root):
        return [Sample(f"{i:03d}", (16, 24), partial(read, i, self.level)) for i in range(self.images)]


def read(index, level):
    mask = np.zeros((16, 24), np.uint8)
    mask[index % 8 : 12, 4:16] = 1
    return (mask * level)[..., None].repeat(3, 2), mask
"""


@pytest.fixture(autouse=True)
def folder(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(sys, "path", list(sys.path))
    loaded = set(sys.modules)
    yield tmp_path
    for name in set(sys.modules) - loaded:
        if str(tmp_path) in str(getattr(sys.modules[name], "__file__", "")):
            del sys.modules[name]


def write(text: str, name: str = "own.py") -> Path:
    file = Path(name)
    file.parent.mkdir(parents=True, exist_ok=True)
    file.write_text(text, encoding="utf-8")
    return file


PENALTY = "from softreg.penalties.base import Penalty\n"
MODEL = "from torch import nn\n"
DATASET = "from softreg.data.base import Dataset\n"


def described(text: str, noun: str = "penalty"):
    write(text)
    return describe("own.py:Own", noun)


def defaults(own):
    """Option → default; the word "required" for one without."""
    return {name: "required" if name in own.required else part["default"] for name, part in own.options.items()}


@pytest.mark.parametrize(("kind", "own"), [("own.py:Own", True), ("a.b:Own", True), ("l1", False), (None, False)])
def test_a_colon_tells_a_class_of_ones_own(kind, own):
    assert is_own(kind) is own


@pytest.mark.parametrize(
    ("kind", "name"),
    [
        ("own.py:Own", "own.py-Own"),
        ("../my sets/own.py:Own", "my-sets-own.py-Own"),
        ("a.b:Own", "a.b-Own"),
    ],
)
def test_a_slug_is_a_plain_name(kind, name):
    assert slug(kind) == name


def test_options_are_read_off_the_constructor():
    own = described(
        PENALTY + "class Own(Penalty):\n"
        "    realisations = ('proximal',)\n"
        "    def __init__(self, a, b: float, c: int = 3, *, d=(1, -2.5), e: str | None = None): ...\n"
        "    def value(self, weights): ...\n"
    )
    assert defaults(own) == {"a": "required", "b": "required", "c": 3, "d": [1, -2.5], "e": None}
    types = {name: part.get("type") for name, part in own.options.items()}
    assert types == {"a": None, "b": "number", "c": "integer", "d": None, "e": ["string", "null"]}
    assert (own.kind, own.file, own.class_.realisations) == ("own.py:Own", Path("own.py"), ("proximal",))
    assert own.class_ is load("own.py:Own", Penalty)


def test_a_default_may_be_computed():
    own = described(
        PENALTY + "import math\nimport numpy as np\n"
        "WIDTHS = [2**power for power in range(3)]\n"
        "class Own(Penalty):\n"
        "    def __init__(self, a: float = math.pi / 2, b=WIDTHS, c=np.float64(0.5), d=dict(x=(1, None))): ...\n"
    )
    assert defaults(own) == {"a": math.pi / 2, "b": [1, 2, 4], "c": 0.5, "d": {"x": [1, None]}}


def test_classes_is_the_first_parameter_of_a_model_alone():
    head = "class Own({base}):\n    def __init__(self, classes, width=1): ...\n"
    assert defaults(described(MODEL + head.format(base="nn.Module"), "model")) == {"width": 1}
    write(DATASET + head.format(base="Dataset"), "set.py")
    assert list(describe("set.py:Own", "dataset").options) == ["classes", "width"]


def test_what_is_inherited_counts():
    far = "from torch import nn\nclass Far(nn.Module):\n    stride = 4\n    def __init__(self, classes, depth=2): ...\n"
    write(far, "plugin_far.py")
    write("from plugin_far import Far as Between\n", "plugin_between.py")
    own = described(
        "import plugin_between\n"
        "class Near(plugin_between.Between):\n    mean = (0, 0, 0)\n    def forward(self): ...\n"
        "class Own(Near):\n    mean = (1, 1, 1)\n",
        "model",
    )
    assert defaults(own) == {"depth": 2}
    assert (own.class_.stride, own.class_.mean) == (4, (1, 1, 1))
    assert all(map(own.defines, ("__init__", "forward", "stride")))


def test_a_kind_of_softreg_can_be_built_on():
    own = described(
        "from softreg.penalties.elastic_net import ElasticNet\nclass Own(ElasticNet):\n    structure = 'weight'\n"
    )
    assert list(own.options) == ["alpha"]
    assert all(map(own.defines, ("value", "gradient", "prox_")))
    assert isinstance(create({"kind": "own.py:Own", "alpha": 0.5}, Penalty), Penalty)


def test_what_penalty_itself_defines_says_nothing_of_a_class():
    own = described(PENALTY + "class Own(Penalty):\n    def value(self, w): ...\n")
    assert own.options == {}
    assert own.defines("value")
    assert [name for name in ("gradient", "prox_", "realisations", "absent") if own.defines(name)] == []


def test_the_fields_of_a_dataclass_are_options():
    own = described(
        PENALTY + "from dataclasses import dataclass, field\nfrom typing import ClassVar\n"
        "@dataclass\nclass Base(Penalty):\n    near: float\n"
        "@dataclass(frozen=True)\nclass Fixed:\n    x: int\n"
        "@dataclass\nclass Own(Base):\n    kept: ClassVar[int] = 3\n    far: int = 7\n"
        "    shown: int = field(default=2, kw_only=True)\n    made: int = field(default=0, init=False)\n"
        "    def value(self, weights): ...\n"
    )
    assert defaults(own) == {"near": "required", "far": 7, "shown": 2}
    assert own.options["near"]["type"] == "number"
    assert create({"kind": "own.py:Own", "near": 0.5, "far": 1}, Penalty).far == 1


def test_a_decorator_may_make_the_class():
    write(
        "def doubled(class_):\n"
        "    class Doubled(class_):\n"
        "        def __init__(self, gamma: float = 2.0, times: int = 2):\n"
        "            super().__init__(gamma * times)\n"
        "    return Doubled\n",
        "plugin_doubled.py",
    )
    write("from plugin_doubled import doubled\n" + RIDGE.replace("class Ridge", "@doubled\nclass Ridge"))
    assert defaults(describe("own.py:Ridge", "penalty")) == {"gamma": 2.0, "times": 2}
    assert penalties.make({"kind": "own.py:Ridge", "times": 3}).gamma == 6.0
    assert classes_of(Path("own.py")) == ["Ridge"]


def test_the_classes_of_a_file_are_those_that_it_defines():
    write("class Beside: ...\n", "plugin_beside_it.py")
    write("from plugin_beside_it import Beside\nclass One: ...\ntwo = 2\nclass Two(Beside): ...\n")
    assert classes_of(Path("own.py")) == ["One", "Two"]


MISTAKES = {
    "nowhere.py:Own": (None, ["nowhere.py: no such file", "owner.py"]),
    "owner.py:Own": ("class Owm: ...\n", ["owner.py has no class Own", 'did you mean "Owm"']),
    "owner.py:Other": ("x = 1\n", ["owner.py has no class Other", "write `class Other`"]),
    "owner.py:": ("", ["owner.py:", "name the class after the colon"]),
    "owner.py:a b": ("", ["name the class after the colon"]),
    "owner:Own": ("", ["no package owner is installed", "did you mean owner.py:Own?"]),
    "absent.part:Own": (None, ["no package absent is installed", "FILE.py:Own"]),
    "softreg.penaltys:Own": (None, ["softreg is installed", "no Python file softreg.penaltys"]),
    "torn.py:Own": ("class Own:\n    def f(self:\n", ["torn.py, line 2: SyntaxError: '(' was never closed; correct"]),
    "user.py:Own": ("import torn_helper\nclass Own: ...\n", ["torn_helper.py, line 1: SyntaxError", "correct"]),
    "null.py:Own": ("class Own: ...\0\n", ["null.py: ", "null bytes", "correct"]),
    "absent_import.py:Own": (
        "import nowhere\nclass Own: ...\n",
        ["absent_import.py, line 1: ModuleNotFoundError", "nowhere"],
    ),
    "raising.py:Own": (
        "class Own: ...\nraise ValueError('two\\nlines')\n",
        ["raising.py, line 2: ValueError: two;"],
    ),
    "leaving.py:Own": ("import sys\nclass Own: ...\nsys.exit(3)\n", ["leaving.py, line 3: SystemExit: 3"]),
    "helped.py:Own": ("import raising_helper\n", ["raising_helper.py, line 2: ZeroDivisionError"]),
    "number.py:Own": ("class Own: ...\nOwn = 3\n", ["number.py: Own is no subclass"]),
    "other.py:Own": (
        "from torch import nn\nclass Own(nn.Module): ...\n",
        ["other.py: Own is no subclass of softreg.penalties.base.Penalty", "make it one"],
    ),
    "starred.py:Own": (
        PENALTY + "class Own(Penalty):\n    def __init__(self, **keys): ...\n",
        ["starred.py, line 3", "takes *", "as a keyword"],
    ),
    "placed.py:Own": (
        PENALTY + "class Own(Penalty):\n    def __init__(self, gamma, /): ...\n",
        ["placed.py, line 3", "positional-only", "as a keyword"],
    ),
    "bytes.py:Own": (
        PENALTY + "class Own(Penalty):\n    def __init__(self, g=b''): ...\n",
        ["bytes.py, line 3", "the default of g is b''", "give a number"],
    ),
    "infinite.py:Own": (
        PENALTY + "class Own(Penalty):\n    def __init__(self, g=float('inf')): ...\n",
        ["infinite.py, line 3", "the default of g is inf"],
    ),
    "wide.py:Own": (
        PENALTY + "import torch\nclass Own(Penalty):\n    def __init__(self, g=torch.zeros(9, 9)): ...\n",
        ["wide.py, line 4", "the default of g is tensor([[0., 0., 0."],
    ),
}


@pytest.mark.parametrize("kind", MISTAKES)
def test_a_mistake_is_told_in_one_sentence(kind):
    text, words = MISTAKES[kind]
    write("", "owner.py")
    write("x = (\n", "torn_helper.py")
    write("x = 1\nx / 0\n", "raising_helper.py")
    if text is not None:
        write(text, f"{kind.partition(':')[0].removesuffix('.py')}.py")
    # A file that failed is imported again.
    for _ in range(2):
        with pytest.raises(UserError) as caught:
            describe(kind, "penalty")
        assert [word for word in words if word not in str(caught.value)] == []
        assert "\n" not in str(caught.value)


@pytest.mark.parametrize("future", ["", "from __future__ import annotations\n"])
def test_options_become_a_schema(future):
    own = described(
        future + PENALTY + "from collections import abc\nimport numpy as np\nclass Own(Penalty):\n"
        "    def __init__(self, a: float, b: int = 1, c: bool = True, d: str = 'x', e: float | None = None,\n"
        "                 f: int = None, g=3, h: tuple[float, ...] = (1, 2), i: list = (), j: np.dtype = None,\n"
        "                 k: abc.Sequence[int] = ()): ...\n"
    )
    schema = own.options
    assert {name: part.get("type") for name, part in schema.items()} == {
        "a": "number",
        "b": "integer",
        "c": "boolean",
        "d": "string",
        "e": ["number", "null"],
        "f": ["integer", "null"],
        "g": None,
        "h": "array",
        "i": "array",
        "j": None,
        "k": "array",
    }
    assert schema["h"]["items"] == {"type": "number"}
    assert schema["k"]["items"] == {"type": "integer"}
    Draft202012Validator.check_schema({"properties": schema})
    whole = filled({}, {"properties": schema})
    assert whole == dict(zip("abcdefghijk", [None, 1, True, "x", None, None, 3, [1, 2], [], None, []], strict=True))
    # A complete entry is checked again where a study is read back.
    assert not list(Draft202012Validator({"properties": schema}).iter_errors(whole | {"a": 0.5}))


def test_an_entry_has_the_keys_of_its_noun_and_those_of_its_class():
    own = described(PENALTY + "class Own(Penalty):\n    def __init__(self, gamma: float, delta: float = 1.0): ...\n")
    noun = study_schema()["$defs"]["own_penalty"]
    schema = entry_schema(own, noun)
    assert set(schema["properties"]) == {*noun["properties"], "gamma", "delta"}
    assert schema["required"] == [*noun["required"], "gamma"]
    assert "gamma" not in noun["properties"]


def test_an_option_may_not_hide_a_key_of_every_entry():
    own = described(PENALTY + "class Own(Penalty):\n    def __init__(self, weights: str = 'all'): ...\n")
    with pytest.raises(
        UserError, match=r"own\.py: the option weights of Own has the name of a key .*; give it another"
    ):
        entry_schema(own, study_schema()["$defs"]["own_penalty"])


def test_a_penalty_is_made_from_its_entry():
    write(RIDGE)
    entry = {"kind": "own.py:Ridge", "gamma": 3.0, "lambda": ["1e-3"], "realisation": "proximal", "weights": "all"}
    penalty = penalties.make(entry)
    assert penalty.value([torch.tensor([2.0])]).item() == 6.0
    assert penalties.make({"kind": "own.py:Ridge"}).value([torch.tensor([2.0])]).item() == 4.0


def test_a_model_is_built_from_its_entry():
    write(NET)
    model = networks.build({"kind": "own.py:Net", "width": 6, "training": {}}, classes=5)
    assert model.stride == 4
    assert model.mean.tolist() == pytest.approx([0.1, 0.2, 0.3])
    assert model.std.tolist() == [1.0, 1.0, 1.0]
    assert model.head is model.network.head
    assert model(torch.rand(2, 3, 10, 15)).shape == (2, 5, 10, 15)
    assert [layer.name for layer in model.layers("encoder")] == ["encoder"]
    assert model.network.encoder.weight.shape == (6, 3, 4, 4)


@pytest.mark.parametrize(
    "constructor",
    [
        "def __init__(self, width: int = 8):",
        "def __init__(self, width: int = 8, classes: int = 2):",
        "def __init__(self, *, classes: int, width: int = 8):",
        "def __init__(self, *classes):",
        "def other(self):",
    ],
)
def test_a_model_must_take_the_number_of_classes(constructor):
    write(NET.replace("def __init__(self, classes: int, width: int = 8):", constructor))
    with pytest.raises(UserError, match=r"own\.py: the constructor of Net does not take the number of classes first"):
        networks.build({"kind": "own.py:Net"}, classes=5)
    with pytest.raises(UserError, match=r"models\.net\.kind: own\.py: the constructor of Net does not take"):
        load_study(write_study(Path(), models={"net": {"kind": "own.py:Net"}}))


def test_what_a_constructor_meets_is_told_with_its_line():
    write(RIDGE.replace("self.gamma = gamma", "self.gamma = 1 / gamma"))
    with pytest.raises(UserError, match=r"^own\.py, line 11: ZeroDivisionError: division by zero; correct it there$"):
        penalties.make({"kind": "own.py:Ridge", "gamma": 0})


def test_a_class_is_loaded_once_and_apart_from_others_of_its_name():
    write(RIDGE, "one/own.py")
    write(RIDGE.replace("2.0", "5.0"), "two/own.py")
    one, two = (load(f"{name}/own.py:Ridge", Penalty) for name in ("one", "two"))
    assert (one().gamma, two().gamma) == (2.0, 5.0)
    assert load("one/own.py:Ridge", Penalty) is one
    assert load(str(Path("one/own.py").resolve()) + ":Ridge", Penalty) is one


def test_a_file_is_imported_once_for_all_entries_of_a_study():
    write("with open('imports', 'a') as file:\n    print('imported', file=file)\n" + RIDGE + NET)
    entries = {"ridge": {"lambda": [1e-3]}, "stronger": {"lambda": [1e-3], "gamma": 4.0}}
    own = {name: {"kind": "own.py:Ridge", **entry} for name, entry in entries.items()}
    study = load_study(write_study(Path(), models={"net": {"kind": "own.py:Net"}}, penalties={"none": {}, **own}))
    assert [penalties.make(study.penalties[name]).gamma for name in own] == [2.0, 4.0]
    assert networks.build(study.models["net"], classes=2).stride == 4
    assert Path("imports").read_text() == "imported\n"


def test_weights_that_are_a_slice_of_others_are_trained_as_weights_of_their_own():
    sliced = "        self.weight = nn.Parameter(torch.ones(6, 4)[:, :3])\n"
    write("import torch\n" + NET.replace("super().__init__()\n", "super().__init__()\n" + sliced, 1))
    study = load_study(write_study(Path(), models={"net": {"kind": "own.py:Net"}}))
    network = build_network(study, TrainingPath("sweep", "shapes", "net", "none", 0), 2, 0.0)
    assert network.network.weight.shape == (6, 3)
    assert network.network.weight.is_contiguous()


def test_modules_beside_the_file_can_be_imported_and_nothing_is_left_there():
    write("FACTOR = 7.0\n", "methods/plugin_helper.py")
    write("def later(): return 1.0\n", "methods/plugin_later.py")
    write(
        "import plugin_helper\n"
        + RIDGE.replace(
            "self.gamma = gamma", "from plugin_later import later; self.gamma = later() * plugin_helper.FACTOR"
        ),
        "methods/own.py",
    )
    describe("methods/own.py:Ridge", "penalty")
    assert sorted(file.name for file in Path("methods").iterdir()) == ["own.py", "plugin_helper.py", "plugin_later.py"]
    assert penalties.make({"kind": "methods/own.py:Ridge"}).gamma == 7.0


def test_no_module_beside_the_file_stands_in_for_one_that_a_package_imports(folder, monkeypatch):
    write("import sched\nFACTOR = sched.scheduler and 3.0\n", "site/plugin_host.py")
    monkeypatch.syspath_prepend(str(folder / "site"))
    monkeypatch.delitem(sys.modules, "sched", raising=False)
    write("1 / 0\n", "methods/sched.py")
    write(
        "from plugin_host import FACTOR\n" + RIDGE.replace("self.gamma = gamma", "self.gamma = FACTOR"),
        "methods/own.py",
    )
    assert penalties.make({"kind": "methods/own.py:Ridge"}).gamma == 3.0


@pytest.mark.parametrize("module", ["random", "sched", "sys", "plugin_shared"])
def test_a_module_that_two_places_offer_is_refused(module):
    write("", "first/plugin_shared.py")
    write("import plugin_shared\n" + RIDGE, "first/own.py")
    load("first/own.py:Ridge", Penalty)
    write("", f"second/{module}.py")
    write(f"import {module}\n" + RIDGE, "second/own.py")
    with pytest.raises(
        UserError, match=rf"second/own\.py imports {module}, .* second/{module}\.py; rename {module}\.py"
    ):
        load("second/own.py:Ridge", Penalty)


@pytest.fixture
def package(folder, monkeypatch):
    """An installed package with a penalty in a module of its own."""
    site = folder / "site"
    write("", "site/plugin_package/__init__.py")
    write("FACTOR = 4.0\n", "site/plugin_package/values.py")
    text = RIDGE.replace("self.gamma = gamma", "self.gamma = FACTOR")
    write("from .values import FACTOR\n" + text, "site/plugin_package/ridge.py")
    monkeypatch.syspath_prepend(str(site))
    return "plugin_package.ridge:Ridge"


def test_an_installed_package_is_described_and_loaded(package):
    own = describe(package, "penalty")
    assert own.file.name == "ridge.py"
    assert list(own.options) == ["gamma"]
    assert sys.modules["plugin_package.ridge"].Ridge is own.class_
    assert penalties.make({"kind": package}).gamma == 4.0


def test_what_an_installed_package_meets_is_told_with_its_line(package):
    write("FACTOR = 1 / 0\n", "site/plugin_package/values.py")
    with pytest.raises(UserError, match=r"values\.py, line 1: ZeroDivisionError"):
        describe(package, "penalty")
    write("FACTOR = (\n", "site/plugin_package/ridge.py")
    with pytest.raises(UserError, match=r"ridge\.py, line 1"):
        describe(package, "penalty")


def test_the_fingerprint_follows_what_a_package_imports_of_itself(package):
    before = code_fingerprint(package)
    write("FACTOR = 5.0\n", "site/plugin_package/values.py")
    assert code_fingerprint(package) != before


def test_only_a_file_that_imports_torch_brings_it():
    write(DRAWN)
    write("raise SystemExit\n" + RIDGE, "unrun.py")
    code = (
        "import sys\nfrom softreg.own.classes import describe\n"
        "from softreg.study.fingerprint import code_fingerprint\n"
        "describe('own.py:Drawn', 'dataset')\ncode_fingerprint('unrun.py:Ridge')\nprint('torch' in sys.modules)"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout == "False\n"


def test_the_fingerprint_follows_code_and_not_words_or_place():
    write("def f():\n    return 1\n", "a/plugin_beside.py")
    write("import plugin_beside\n" + RIDGE, "a/own.py")
    write("", "a/plugin_stranger.py")
    kind = module_of("penalties", "a/own.py:Ridge")
    before = code_fingerprint(kind)
    write("# Words.\nimport plugin_beside\n" + RIDGE.replace("P = gamma·w²/2.", "Another text."), "a/own.py")
    assert code_fingerprint(kind) == before
    write("x = 1\n", "a/plugin_stranger.py")
    assert code_fingerprint(kind) == before
    Path("a").rename("b")
    assert code_fingerprint("b/own.py:Ridge") == before
    write("def f():\n    return 2\n", "b/plugin_beside.py")
    assert code_fingerprint("b/own.py:Ridge") != before


@pytest.mark.parametrize("old", ["self.gamma * sum", "scale(strength"])
def test_the_fingerprint_changes_with_the_code(old):
    write(RIDGE)
    before = code_fingerprint("own.py:Ridge")
    write(RIDGE.replace(old, f"1.0 * {old}"))
    assert code_fingerprint("own.py:Ridge") != before


def code_of(model, penalty):
    """The code that trains a model with a penalty, as a study names them."""
    study = SimpleNamespace(models={"m": {"kind": model}}, penalties={"p": {"kind": penalty}})
    return training_code(study, ("d", "m", "p"))


def test_a_training_depends_on_its_own_file_alone():
    write(RIDGE, "one.py")
    write(RIDGE, "two.py")
    write(NET, "net.py")
    codes = {
        "one": code_of("convnet", "one.py:Ridge"),
        "net": code_of("net.py:Net", "l1"),
        "neither": code_of("convnet", "l1"),
    }
    assert len(set(codes.values())) == 3
    write(RIDGE + "x = 1\n", "two.py")
    assert code_of("convnet", "one.py:Ridge") == codes["one"]
    write(NET + "x = 1\n", "net.py")
    assert code_of("net.py:Net", "l1") != codes["net"]
    assert code_of("convnet", "l1") == codes["neither"]


def options(**own):
    schema = entry_schema(describe("own.py:Drawn", "dataset"), study_schema()["$defs"]["own_dataset"])
    return filled({"kind": "own.py:Drawn", **own}, schema)


def test_a_data_set_is_loaded_with_its_options():
    write(DRAWN)
    dataset = datasets.load("own.py:Drawn", options(images=5, level=100))
    assert (dataset.kind, dataset.title) == ("own.py:Drawn", "Drawn")
    assert datasets.archives_of("own.py:Drawn") == ()
    first, *rest = datasets.samples_of(dataset, options(images=5), Path())
    assert len(rest) == 4
    assert first.read()[0].max() == 100


@pytest.mark.parametrize("jobs", [1, 2])
def test_a_data_set_is_prepared_also_by_several_processes(jobs):
    write(
        DRAWN.replace("(mask * level)", "helper(mask, level)").replace(
            "import numpy", "from plugin_made import helper\nimport numpy"
        )
    )
    write("def helper(mask, level):\n    return mask * level\n", "plugin_made.py")
    images = 3 * prepare.IMAGES_PER_WORKER
    about = prepare.prepare("mine", options(images=images), Path("raw"), Path("prepared"), jobs=jobs)
    assert (about["kind"], about["licence"], about["classes"]) == ("own.py:Drawn", "none", ["background", "thing"])
    assert sum(map(len, about["ids"].values())) == images
    first = np.load("prepared/train/images.npy")[0]
    assert set(np.unique(first)) == {0, 200}


@pytest.mark.parametrize(
    ("old", "new", "words"),
    [
        ("def samples", "def listed", ["own.py: TypeError", "samples"]),
        ('"generated", "none"', '"generated", ""', ["own.py: Drawn has no licence", "as an attribute"]),
        ("palette = ", "colours = ", ["own.py: Drawn has no palette"]),
        ("return [Sample", "return 1 / 0, [Sample", ["own.py, line 15: ZeroDivisionError"]),
        ("[Sample(f", "[(f", ["own.py: samples() lists ('000'", "softreg.data.base.Sample"]),
        (
            "(16, 24), partial",
            "(24, 16), partial",
            ["the image 000: its image has the shape (16, 24, 3); give (24, 16, 3)"],
        ),
        (
            ".repeat(3, 2), mask",
            ".repeat(3, 2) / 255, mask",
            ["own.py: the image 000: its image is of float64; give uint8"],
        ),
        ("mask[index % 8 : 12", "mask[1 / 0", ["own.py, line 20: ZeroDivisionError"]),
    ],
)
def test_what_preparing_meets_in_a_users_file_is_told(old, new, words):
    write(DRAWN.replace(old, new))
    with pytest.raises(UserError) as caught:
        prepare.prepare("mine", options(images=12), Path("raw"), Path("prepared"), jobs=1)
    assert [word for word in words if word not in str(caught.value)] == []
    assert not Path("prepared").exists()


def test_a_read_that_cannot_be_sent_says_how_to_write_it():
    write(DRAWN.replace("partial(read, i, self.level)", "lambda: read(i, self.level)"))
    samples = datasets.samples_of(datasets.load("own.py:Drawn", options(images=3)), options(images=3), Path())
    with pytest.raises(UserError, match=r"own\.py: the read of the image 000 cannot be sent .* functools\.partial"):
        pickle.dumps(samples[0].read)


def test_a_class_that_is_no_data_set_is_refused():
    write(NET)
    with pytest.raises(UserError, match=r"own\.py: Net is no subclass of softreg\.data\.base\.Dataset"):
        datasets.archives_of("own.py:Net")
    with pytest.raises(UserError, match=r"own\.py: Net is no subclass of softreg\.penalties\.base\.Penalty"):
        load("own.py:Net", Penalty)
    assert issubclass(load("own.py:Net", nn.Module), nn.Module)


PUBLISHED = """
from softreg.data.archives import Archive
from softreg.data.base import Dataset, read_pair


class Published(Dataset):
    title, citation, licence = "Published", "me", "none"
    palette = {"a": (0, 0, 0), "b": (255, 0, 0)}
    archives = (Archive(filename="own.zip", url="https://example.org/own.zip", content_sha256="0" * 64, max_bytes=9),)

    def samples(self, options, root):
        return []
"""


def test_the_archives_of_a_data_set_lie_in_a_folder_of_its_own():
    write(PUBLISHED, "sets/own.py")
    study = load_study(write_study(Path(), datasets={"mine": {"kind": "sets/own.py:Published"}}))
    assert places.archive_files(study, "mine") == ["data/raw/sets-own.py-Published/own.zip"]
    with pytest.raises(UserError, match=r"has no archive 'other\.zip'; it has own\.zip"):
        stages.fetch(study, "sets-own.py-Published", "other.zip")


def test_preparing_again_follows_the_file_and_what_its_options_name():
    write(DRAWN.replace("level: int = 200", "level: int = 200, folder: str = 'pictures'"))
    write("one", "pictures/one.txt")
    study = load_study(write_study(Path(), datasets={"mine": {"kind": "own.py:Drawn", "images": 12}}))
    key = Graph(study).prepare("mine").key
    os.utime("pictures/one.txt", (0, 0))
    assert Graph(study).prepare("mine").key == key
    write("two", "pictures/one.txt")
    other = Graph(study).prepare("mine").key
    assert other != key
    write("one", "pictures/one.txt")
    assert Graph(study).prepare("mine").key == key
    write("two", "pictures/two.txt")
    assert Graph(study).prepare("mine").key not in (key, other)
    Path("pictures/two.txt").unlink()
    write(Path("own.py").read_text() + "x = 1\n")
    assert Graph(study).prepare("mine").key != key


def test_scores_are_made_again_where_the_model_changes():
    write(NET)
    study = load_study(write_study(Path(), models={"net": {"kind": "own.py:Net"}, "convnet": {}}))
    keys = {model: scoring_key(study, "sweep", model) for model in study.models}
    write(NET + "x = 1\n")
    again = {model: scoring_key(study, "sweep", model) for model in study.models}
    assert {model: again[model] == keys[model] for model in study.models} == {"net": False, "convnet": True}


def test_dataset_json_names_the_class_without_its_folder():
    write(DRAWN, "sets/own.py")
    study = load_study(write_study(Path(), datasets={"mine": {"kind": "sets/own.py:Drawn", "images": 12}}))
    stages.prepare(study, "mine")
    assert read_json(Path(places.description(study, "mine")))["kind"] == "own.py:Drawn"
    assert issubclass(load("sets/own.py:Drawn", Dataset), Dataset)
    assert set(study.penalties) == set(TINY["penalties"])
