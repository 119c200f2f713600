"""Python files as they are written: where a module's file lies, its syntax tree, and what it imports. Runs nothing."""

from __future__ import annotations

import ast
from dataclasses import dataclass
from pathlib import Path

from softreg.errors import UserError


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


def parse(file: Path) -> ast.Module:
    """The syntax tree of a Python file. Raises UserError where it cannot be read or is no Python."""
    try:
        return ast.parse(file.read_bytes())
    except OSError as error:
        raise UserError(f"{file} cannot be read ({error.strerror}); give a Python file") from None
    except SyntaxError as error:
        raise UserError(f"{file}, line {error.lineno}: {error.msg}; correct the Python there") from None
    except ValueError as error:
        raise UserError(f"{file} is no Python ({error}); give a Python file") from None


def imported(node: ast.AST, source: Source) -> list[str]:
    """The dotted names that a statement of ``source`` imports; a name taken from a module may be a module itself."""
    if isinstance(node, ast.Import):
        return [alias.name for alias in node.names]
    if isinstance(node, ast.ImportFrom):
        module = origin(node, source)
        return [module, *(f"{module}.{alias.name}".lstrip(".") for alias in node.names)]
    return []


def origin(node: ast.ImportFrom, source: Source) -> str:
    """The dotted name of the module that ``from … import`` takes from; empty where that is the root itself."""
    if not node.level:
        return node.module or ""
    up = node.level - (source.file.name == "__init__.py")
    parts = source.name.split(".")
    return ".".join([*parts[: len(parts) - up], *([node.module] if node.module else [])])
