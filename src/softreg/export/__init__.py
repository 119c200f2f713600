"""A study's results for other programs: a module for each form, with a function `export`.

Their libraries come with ``pip install 'softreg[export]'``. Nothing is trained or scored here, and what is there
already is not changed.
"""

from __future__ import annotations

from importlib import import_module
from pathlib import Path

from softreg.errors import UserError


def demand(library: str, place: Path) -> None:
    """Raise UserError where a library is not installed, or where there is something at ``place`` already.

    An export replaces nothing, and adds to nothing.
    """
    try:
        import_module(library)
    except ModuleNotFoundError:
        raise UserError(f"this export needs {library}; install it by `pip install 'softreg[export]'`") from None
    if place.exists() and not (place.is_dir() and not any(place.iterdir())):
        raise UserError(f"{place} exists already; give a new place, or remove it first")
