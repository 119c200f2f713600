"""A fingerprint of the code that a result depends on, which comments, docstrings and formatting do not change.

Imports are followed without running them. A module that is loaded by name at run time (a penalty, a model, a
data set) is named by the caller, so that a new penalty changes no other penalty's fingerprint.
"""

from __future__ import annotations

import ast
import functools
import hashlib
from pathlib import Path

_PACKAGE = Path(__file__).parent
#: Modules that change no result, or only through values that are part of a cell's key.
_SILENT = frozenset(
    f"softreg.{name}"
    for name in (
        "cells",
        "checkpoint",
        "config",
        "errors",
        "files",
        "fingerprint",
        "lambdas",
        "matrix",
        "progress",
        "provenance",
        "stopping",
    )
)


def code_fingerprint(*modules: str) -> str:
    """Hexadecimal SHA-256 (16 digits) over ``modules`` and all of SoftReg that they import."""
    reached: set[str] = set()
    waiting = list(modules)
    while waiting:
        module = waiting.pop()
        if module not in reached and module not in _SILENT:
            reached.add(module)
            waiting.extend(_read(module)[1])
    lines = "".join(f"{module} {_read(module)[0]}\n" for module in sorted(reached))
    return hashlib.sha256(lines.encode()).hexdigest()[:16]


@functools.cache
def _read(module: str) -> tuple[str, tuple[str, ...]]:
    """The digest of one module's syntax tree, and the SoftReg modules that it imports."""
    tree = ast.parse(_file(module).read_bytes())
    imports = tuple(name for node in ast.walk(tree) for name in _imported(node) if _exists(name))
    for node in ast.walk(tree):
        _drop_docstring(node)
    return hashlib.sha256(ast.dump(tree).encode()).hexdigest(), imports


def _imported(node: ast.AST) -> list[str]:
    if isinstance(node, ast.Import):
        return [alias.name for alias in node.names]
    if isinstance(node, ast.ImportFrom) and node.module:
        return [node.module, *(f"{node.module}.{alias.name}" for alias in node.names)]
    return []


def _drop_docstring(node: ast.AST) -> None:
    documented = ast.Module | ast.ClassDef | ast.FunctionDef | ast.AsyncFunctionDef
    if isinstance(node, documented) and ast.get_docstring(node, clean=False) is not None:
        node.body = node.body[1:]


def _exists(module: str) -> bool:
    return module.startswith("softreg.") and _file(module).is_file()


def _file(module: str) -> Path:
    place = _PACKAGE.joinpath(*module.split(".")[1:])
    return place / "__init__.py" if place.is_dir() else place.with_suffix(".py")
