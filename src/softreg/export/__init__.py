"""A study's results for other programs: a module for each form, with a function `export`.

Their libraries come with ``pip install 'softreg[export]'``. Nothing is trained or scored here, and what is there
already is not changed.
"""

from __future__ import annotations

from importlib import import_module
from pathlib import Path

from softreg.errors import UserError


def demand_library(name: str) -> None:
    """Raise UserError where a library is not installed."""
    try:
        import_module(name)
    except ModuleNotFoundError:
        raise UserError(f"this export needs {name}; install it by `pip install 'softreg[export]'`") from None


def demand_new(place: Path) -> None:
    """Raise UserError where there is something already: an export replaces nothing, and adds to nothing."""
    if place.exists() and not (place.is_dir() and not any(place.iterdir())):
        raise UserError(f"{place} exists already; give a new place, or remove it first")
