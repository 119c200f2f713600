"""The code that a ``kind`` names: which file holds it, and what that file imports, read without running it.

It serves the code fingerprint, which covers the modules beside a user's file that it imports, and the check that
Python takes those and no others of their names.
"""

from __future__ import annotations

import ast
import importlib.util
import re
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from softreg.errors import UserError, suggestion


@dataclass(frozen=True)
class Source:
    """The file of a module, whose dotted ``name`` counts from the folder ``root``.

    Its neighbours are the modules of the package ``top``; where that is None, all that lie in ``root``.
    """

    root: Path
    name: str
    file: Path
    top: str | None = None

    def neighbour(self, name: str) -> Source | None:
        """The neighbour of that dotted name, if there is one."""
        if not name or (self.top is not None and name.partition(".")[0] != self.top):
            return None
        place = self.root.joinpath(*name.split("."))
        files = (place / "__init__.py", place.with_suffix(".py"))
        return next((Source(self.root, name, file, self.top) for file in files if file.is_file()), None)


def is_own(kind: object) -> bool:
    """Whether a study's ``kind`` names a class of the user's, and none of SoftReg's own kinds."""
    return isinstance(kind, str) and ":" in kind


def slug(kind: str) -> str:
    """A name for a folder that belongs to ``kind``: the kind itself, but for what a file system may not like."""
    return re.sub(r"[^A-Za-z0-9_.]+", "-", kind).lstrip(".-")


def locate(kind: str) -> Source:
    """The file that holds the class of ``kind``. Raises UserError where there is no such file or module."""
    place, _, name = kind.rpartition(":")
    if not place or not name.isidentifier():
        raise UserError(f"kind {kind} is neither FILE.py:CLASS nor MODULE:CLASS; name the class after the colon")
    return _own_file(place, name) if place.endswith(".py") else _installed(place, name)


def _own_file(place: str, name: str) -> Source:
    file = Path(place)
    if file.is_file():
        return Source(file.parent, file.stem, file)
    beside = [other.as_posix() for other in sorted(file.parent.glob("*.py"))]
    known = suggestion(place, beside, "files") if beside else "give a path relative to the folder that you run in"
    raise UserError(f"{place}: no such file, for kind {place}:{name}; {known}")


def _installed(module: str, name: str) -> Source:
    top = module.partition(".")[0]
    try:
        spec = importlib.util.find_spec(top)
    except (ImportError, ValueError):
        spec = None
    if spec is None:
        file = f"{module.replace('.', '/')}.py"
        remedy = f"did you mean {file}:{name}?" if Path(file).is_file() else f"install it, or give FILE.py:{name}"
        raise UserError(f"kind {module}:{name}: no package {top} is installed; {remedy}")
    roots = [Path(place).parent for place in spec.submodule_search_locations or [spec.origin or ""]]
    found = (Source(root, module, root, top).neighbour(module) for root in roots)
    source = next((one for one in found if one is not None), None)
    if source is None:
        raise UserError(f"kind {module}:{name}: {top} is installed, but has no Python file {module}; correct the name")
    return source


def parse(file: Path) -> ast.Module:
    """The syntax tree of a Python file. Raises OSError, SyntaxError or ValueError where it is none."""
    return ast.parse(file.read_bytes(), file.resolve())


def statements(tree: ast.AST) -> Iterator[ast.AST]:
    """All statements below a node of a syntax tree, and the handlers and cases that hold some.

    Expressions, most of a tree, are left out.
    """
    for name in ("body", "orelse", "handlers", "finalbody", "cases"):
        for node in getattr(tree, name, ()):
            yield node
            yield from statements(node)


def imported(tree: ast.Module, source: Source) -> list[str]:
    """The dotted names that a module imports, sorted; a name taken from a module may be a module itself."""
    names: set[str] = set()
    for node in statements(tree):
        if isinstance(node, ast.Import):
            names |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom):
            module = _origin(node, source)
            names |= {module, *(f"{module}.{alias.name}".lstrip(".") for alias in node.names)}
    return sorted(names)


def _origin(node: ast.ImportFrom, source: Source) -> str:
    """The dotted name of the module that ``from … import`` takes from; empty where that is the root itself."""
    if not node.level:
        return node.module or ""
    up = node.level - (source.file.name == "__init__.py")
    parts = source.name.split(".")
    return ".".join([*parts[: len(parts) - up], *([node.module] if node.module else [])])
