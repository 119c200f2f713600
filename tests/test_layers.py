"""Packages import what lies below them, light commands stay light, and functions stay short."""

from __future__ import annotations

import ast
import shutil
import subprocess
import sys
from pathlib import Path
from statistics import median

import pytest

import softreg

ROOT = Path(__file__).parents[1]
PACKAGE = Path(softreg.__file__).parent
LINT = Path(sys.executable).with_name("lint-imports")
#: Packages that load no torch when they are imported, but for the modules that are all about it.
LIGHT = ("own", "study", "data", "scoring", "paper", "running", "export")
HEAVY = {
    "softreg.running.stopwatch",
    "softreg.scoring.boundary",
    "softreg.scoring.corruptions",
    "softreg.scoring.evaluate",
}


def modules(*packages: str) -> list[str]:
    """The modules of some packages by their dotted names."""
    files = [file for package in packages for file in sorted((PACKAGE / package).rglob("*.py"))]
    names = (".".join(file.relative_to(PACKAGE.parent).with_suffix("").parts) for file in files)
    return [name.removesuffix(".__init__") for name in names]


def functions() -> list[tuple[int, str]]:
    """The length in lines, docstring included, and the place of every function in the package."""
    return [
        (node.end_lineno - node.lineno + 1, f"{file.relative_to(PACKAGE)}: {node.name}")
        for file in PACKAGE.rglob("*.py")
        for node in ast.walk(ast.parse(file.read_bytes()))
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef)
    ]


def lint(folder: Path) -> subprocess.CompletedProcess[str]:
    """The contracts of pyproject.toml, held against the package in ``folder/src``."""
    command = [LINT, "--config", str(ROOT / "pyproject.toml"), "--no-cache"]
    environment = {"PYTHONPATH": str(folder / "src"), "PATH": "/usr/bin:/bin"}
    return subprocess.run(command, cwd=folder, env=environment, capture_output=True, text=True)


def test_every_package_is_in_a_layer_and_says_what_it_is_for():
    packages = {file.parent.name for file in PACKAGE.glob("*/__init__.py")}
    layers = (ROOT / "pyproject.toml").read_text().split("layers = [")[1].split("]")[0]
    assert [name for name in packages if f"softreg.{name}" not in layers] == []
    for name in packages:
        told = ast.get_docstring(ast.parse((PACKAGE / name / "__init__.py").read_bytes()))
        assert len(told.split()) > 20, name
    assert len(list(PACKAGE.glob("*.py"))) <= 8


def test_the_contracts_hold_and_can_be_broken(tmp_path):
    shutil.copytree(PACKAGE, tmp_path / "src" / "softreg", ignore=shutil.ignore_patterns("__pycache__"))
    kept = lint(tmp_path)
    assert kept.returncode == 0, kept.stdout
    for file, line in {
        "study/matrix.py": "from softreg.running import jobs",
        "data/prepare.py": "import torch",
        "scoring/select.py": "from snakemake import io",
    }.items():
        with (tmp_path / "src" / "softreg" / file).open("a") as module:
            module.write(f"\n{line}\n")
    broken = lint(tmp_path)
    assert broken.returncode == 1
    assert "0 kept, 3 broken" in broken.stdout


@pytest.mark.slow
def test_light_packages_load_no_torch_when_imported():
    program = (
        "import importlib, sys\n"
        "for module in sys.argv[1:]:\n"
        "    importlib.import_module(module)\n"
        "    if 'torch' in sys.modules:\n"
        "        sys.exit(module)\n"
    )
    light = [name for name in modules(*LIGHT) if name not in HEAVY] + ["softreg.cli"]
    done = subprocess.run([sys.executable, "-c", program, *light], capture_output=True, text=True)
    assert (done.returncode, done.stderr) == (0, "")


def test_help_loads_no_heavy_package():
    command = [sys.executable, "-X", "importtime", "-m", "softreg.cli", "--help"]
    done = subprocess.run(command, capture_output=True, text=True)
    assert done.returncode == 0
    loaded = {line.rpartition("|")[2].strip().split(".")[0] for line in done.stderr.splitlines()}
    assert "argparse" in loaded
    assert not loaded & {"torch", "pandas", "numpy", "yaml", "snakemake"}


def test_functions_are_short():
    lengths = functions()
    assert [place for lines, place in lengths if lines > 60] == []
    assert median(lines for lines, _ in lengths) < 15
