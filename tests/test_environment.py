"""environment.yml, pyproject.toml and requirements.lock say the same, and what is installed is what is locked."""

import tomllib
from importlib.metadata import version
from pathlib import Path

import pytest
import yaml
from packaging.markers import default_environment
from packaging.requirements import Requirement
from packaging.specifiers import SpecifierSet
from packaging.utils import canonicalize_name

ROOT = Path(__file__).parents[1]
PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]
CONDA = yaml.safe_load((ROOT / "environment.yml").read_text(encoding="utf-8"))["dependencies"]
LOCK = [
    Requirement(line)
    for line in (ROOT / "requirements.lock").read_text(encoding="utf-8").splitlines()
    if line and not line.startswith("#")
]
DIRECT = [
    Requirement(text) for part in (PROJECT["dependencies"], *PROJECT["optional-dependencies"].values()) for text in part
]
PYTHONS = ("3.11", "3.12", "3.13")


def pins(name, **environment):
    """The versions that the lock gives a package, in an environment."""
    return [
        pin.specifier
        for pin in LOCK
        if canonicalize_name(pin.name) == canonicalize_name(name)
        and (pin.marker is None or pin.marker.evaluate(default_environment() | environment))
    ]


def test_conda_has_the_projects_range_of_python():
    (python,) = (entry for entry in CONDA if isinstance(entry, str) and entry.startswith("python"))
    assert Requirement(python).specifier == SpecifierSet(PROJECT["requires-python"])


def test_the_pythons_tested_here_are_that_range():
    minors = [f"3.{minor}" for minor in range(20)]
    assert list(SpecifierSet(PROJECT["requires-python"]).filter(minors)) == list(PYTHONS)


def test_conda_leaves_packages_to_the_lock_and_the_project():
    (pip,) = (entry["pip"] for entry in CONDA if isinstance(entry, dict))
    assert pip == ["-r requirements.lock", "-e ."]
    assert {entry.split()[0] for entry in CONDA if isinstance(entry, str)} == {"python", "pip", "git", "make"}


def test_the_lock_pins_exactly_and_names_no_address():
    for pin in LOCK:
        assert [specifier.operator for specifier in pin.specifier] == ["=="], pin
        assert pin.url is None, pin
    text = (ROOT / "requirements.lock").read_text(encoding="utf-8")
    assert [sign for sign in ("://", "file:", "@ ", "--", "*") if sign in text] == []


@pytest.mark.parametrize("python", PYTHONS)
@pytest.mark.parametrize("requirement", DIRECT, ids=lambda requirement: requirement.name)
def test_a_direct_dependency_is_locked_within_its_range(requirement, python):
    (pin,) = pins(requirement.name, python_version=python, python_full_version=f"{python}.0")
    (exact,) = pin
    assert requirement.specifier.contains(exact.version)


@pytest.mark.parametrize("requirement", DIRECT, ids=lambda requirement: requirement.name)
def test_a_direct_dependency_is_installed_as_locked(requirement):
    (pin,) = pins(requirement.name)
    # A build of PyTorch for one kind of device adds a local part, such as +cpu.
    assert pin.contains(version(requirement.name).partition("+")[0])
