"""Dependencies point one way, light commands stay light, and functions stay short."""

from __future__ import annotations

import ast
import subprocess
import sys
from graphlib import TopologicalSorter
from pathlib import Path
from statistics import median

import pytest

import softreg

ROOT = Path(softreg.__file__).parent
#: Module → its file, for every module of the package.
FILES = {
    ".".join((*file.parent.relative_to(ROOT.parent).parts, *([] if file.stem == "__init__" else [file.stem]))): file
    for file in sorted(ROOT.rglob("*.py"))
}
#: What a part of the package may import of SoftReg besides itself. A part is a module or a subpackage.
ALLOWED = {
    "errors": set(),
    "files": set(),
    "strict_yaml": set(),
    "randomness": set(),
    "treatment": set(),
    "pruning": set(),
    "lambdas": {"errors"},
    "sources": {"errors"},
    "schema": {"strict_yaml"},
    "plugins": {"errors", "schema", "sources"},
    "fingerprint": {"plugins", "sources"},
    "config": {"errors", "files", "lambdas", "plugins", "schema", "strict_yaml"},
    "matrix": {"config", "errors"},
    "cells": {"config", "files", "fingerprint", "matrix", "plugins", "treatment"},
    "archives": {"errors", "files"},
    "datasets": {"archives", "config", "errors", "files", "plugins"},
    "penalties": {"errors", "plugins", "treatment"},
    "models": {"errors", "files", "plugins", "randomness"},
    "metrics": {"errors"},
    "objectives": {"config", "errors"},
    "network": {"config", "matrix", "models", "treatment"},
    "regulariser": {"models", "penalties"},
    "optim": {"penalties", "regulariser"},
    "diagnostics": {"models", "penalties", "regulariser"},
}
#: Parts that run without torch. ``stages`` and ``cli`` start those that need it, so theirs is checked on import alone.
LIGHT = (
    "config",
    "matrix",
    "lambdas",
    "treatment",
    "plugins",
    "cells",
    "fetch",
    "archives",
    "prepare",
    "datasets",
    "records",
    "metrics",
    "select",
    "stats",
    "scores",
    "tables",
    "figures",
    "report",
    "gather",
)


def part(module: str) -> str:
    """The part that a module of SoftReg belongs to."""
    return module.split(".")[1] if "." in module else ""


def in_part(name: str) -> list[str]:
    """The modules of one part."""
    return [module for module in FILES if part(module) == name]


def imports(module: str) -> set[str]:
    """All that a module imports, at its top and inside functions: absolute module names, known submodules too."""
    found: set[str] = set()
    for node in ast.walk(ast.parse(FILES[module].read_bytes())):
        if isinstance(node, ast.Import):
            found |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, f"{module} has a relative import, which these tests do not follow"
            members = {f"{node.module}.{alias.name}" for alias in node.names} & FILES.keys()
            # `from softreg import stages` depends on stages, not on all that the package may hold.
            found |= members if members and node.module == "softreg" else {str(node.module)} | members
    return found


IMPORTS = {module: imports(module) for module in FILES}
PARTS = {part(module) for module in FILES} - {""}


def parts_imported(name: str) -> set[str]:
    """The other parts of SoftReg that a part imports."""
    found = {part(other) for module in in_part(name) for other in IMPORTS[module] if other in FILES}
    return found - {name, ""}


def reached(module: str) -> set[str]:
    """All that a module leads to through SoftReg's own imports, outside packages by their top name."""
    seen: set[str] = set()
    waiting = [module]
    while waiting:
        name = waiting.pop()
        if name not in seen:
            seen.add(name)
            # Importing a module runs the packages that it lies in.
            waiting += [*IMPORTS.get(name, ()), name.rpartition(".")[0] or name]
    return {name.split(".")[0] if name not in FILES else name for name in seen}


def functions() -> list[tuple[int, str]]:
    """The length in lines, docstring included, and the place of every function in the package."""
    return [
        (node.end_lineno - node.lineno + 1, f"{module}.{node.name}")
        for module, file in FILES.items()
        for node in ast.walk(ast.parse(file.read_bytes()))
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef)
    ]


def python(*arguments: str) -> subprocess.CompletedProcess[str]:
    """A fresh interpreter, which has imported nothing yet."""
    return subprocess.run([sys.executable, *arguments], check=False, capture_output=True, text=True)


def test_the_package_was_found():
    assert {"softreg.study.config", "softreg.cli", "softreg.penalties.l1", "softreg.data.datasets"} <= FILES.keys()
    assert "softreg.study.config" in IMPORTS["softreg.study.matrix"]
    assert "torch" in reached("softreg.cli")


@pytest.mark.parametrize("name", ALLOWED)
def test_a_part_imports_only_what_lies_below_it(name):
    assert in_part(name), f"softreg has no part {name}; take it out of ALLOWED"
    assert parts_imported(name) <= ALLOWED[name]


def test_only_the_command_line_and_what_tells_of_a_run_stand_above_the_stages():
    telling = {"calibrate", "costs", "plan", "status", "survey"}
    assert {name for name in PARTS if "stages" in parts_imported(name)} == {"cli"} | telling
    assert [name for name in PARTS - telling - {"cli", "forecast", "stopwatch"} if telling & parts_imported(name)] == []
    assert {name for name in PARTS if "cli" in parts_imported(name)} == set()


def test_no_part_leads_back_to_itself():
    TopologicalSorter({name: parts_imported(name) for name in PARTS}).prepare()


def test_nothing_imports_the_workflow_engine():
    assert [module for module in FILES if "snakemake" in reached(module)] == []


@pytest.mark.parametrize("name", LIGHT)
def test_no_import_of_a_light_part_leads_to_torch(name):
    assert in_part(name), f"softreg has no part {name}; take it out of LIGHT"
    heavy = {"torch", "torchvision", "segmentation_models_pytorch", "safetensors"}
    assert {module: found for module in in_part(name) if (found := heavy & reached(module))} == {}


def test_light_parts_load_no_torch_when_imported():
    modules = [module for name in (*LIGHT, "stages", "cli") for module in in_part(name)]
    program = (
        "import importlib, sys\n"
        "for module in sys.argv[1:]:\n"
        "    importlib.import_module(module)\n"
        "    if 'torch' in sys.modules:\n"
        "        sys.exit(module)\n"
    )
    done = python("-c", program, *modules)
    assert (done.returncode, done.stderr) == (0, "")


def test_help_loads_no_heavy_package():
    done = python("-X", "importtime", "-m", "softreg.cli", "--help")
    assert done.returncode == 0
    loaded = {line.rpartition("|")[2].strip().split(".")[0] for line in done.stderr.splitlines()}
    assert "argparse" in loaded
    assert not loaded & {"torch", "pandas", "numpy", "yaml", "snakemake"}


def test_functions_are_short():
    lengths = functions()
    assert [place for lines, place in lengths if lines > 60] == []
    assert median(lines for lines, _ in lengths) < 15
