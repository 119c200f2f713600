"""A fingerprint of the code that a result depends on, which comments, docstrings and formatting do not change.

The paper's alone, `package_digest`, is of all files as they are.

Imports are followed without running them. A module that is loaded by name at run time (a penalty, a model, a
data set) is named by the caller, so that a new penalty changes no other penalty's fingerprint. Of a user's file, the
modules beside it that it imports are covered too; the folder that it lies in is not.
"""

from __future__ import annotations

import ast
import functools
import hashlib
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from softreg.errors import UserError
from softreg.files import digest, sha256_file
from softreg.own.sources import Source, imported, is_own, locate, parse, statements

_PACKAGE = Path(__file__).parents[1]
#: How the names of SoftReg's own files end, beside which Python and editors leave others.
_PARTS = (".py", ".html", ".css", ".js", ".json")
#: Modules that change no result, or only through values that are part of a cell's key.
_SILENT = frozenset(
    f"softreg.{name}"
    for name in (
        "errors",
        "files",
        "own.blame",
        "own.classes",
        "own.sources",
        "study.cells",
        "study.config",
        "study.fingerprint",
        "study.keys",
        "study.lambdas",
        "study.matrix",
        "study.schema",
        "training.checkpoint",
        "training.progress",
        "training.provenance",
        "training.stopping",
    )
)


def module_of(family: str, kind: str) -> str:
    """What :func:`code_fingerprint` calls the code of a kind; ``family`` is penalties, networks or data.datasets."""
    return kind if is_own(kind) else f"softreg.{family}.{kind}"


#: What `code_fingerprint` has said while `frozen`; None otherwise.
_frozen: dict[tuple[str, ...], str] | None = None


@contextmanager
def frozen() -> Iterator[None]:
    """Meanwhile, code has the fingerprint that it has when it is first asked for.

    A process runs the code that it has imported, whatever becomes of the files.
    """
    global _frozen
    _frozen = {}
    try:
        yield
    finally:
        _frozen = None


def demand_unchanged() -> None:
    """Raise UserError where code has changed since its fingerprint was taken: it may have been imported since."""
    if any(_fingerprint(*modules) != taken for modules, taken in (_frozen or {}).items()):
        raise UserError("the code has changed since this run began; run the same command again")


def code_fingerprint(*modules: str) -> str:
    """Hexadecimal SHA-256 (16 digits) over ``modules`` and all that they import of SoftReg and from beside them.

    A module is one of SoftReg's, by its dotted name, or a user's, as a study's ``kind`` names it.
    """
    if _frozen is None:
        return _fingerprint(*modules)
    if modules not in _frozen:
        _frozen[modules] = _fingerprint(*modules)
    return _frozen[modules]


def package_digest() -> str:
    """Hexadecimal SHA-256 over SoftReg's code, templates and styles as they are, which comments change too.

    For the paper, which is soon written again: to follow its imports would take a third of a second of every start.
    """
    files = sorted(file for ending in _PARTS for file in _PACKAGE.rglob(f"[!.]*{ending}"))
    return digest([[file.relative_to(_PACKAGE).as_posix(), sha256_file(file)] for file in files])


def _fingerprint(*modules: str) -> str:
    reached: dict[Source, str] = {}
    waiting = [locate(module) if is_own(module) else _own(module) for module in modules]
    while waiting:
        source = waiting.pop()
        if source not in reached and source.name not in _SILENT:
            reached[source], imports = _read(source, source.file.stat().st_mtime_ns)
            waiting.extend(imports)
    lines = "".join(sorted(f"{source.name} {content}\n" for source, content in reached.items()))
    return hashlib.sha256(lines.encode()).hexdigest()[:16]


@functools.cache
def _read(source: Source, modified: int) -> tuple[str, tuple[Source, ...]]:
    """The digest of one module's syntax tree, and the modules that it imports; ``modified`` is the file's time."""
    tree = parse(source.file)
    imports = tuple(found for name in imported(tree, source) if (found := _find(name, source)) is not None)
    for node in (tree, *statements(tree)):
        _drop_docstring(node)
    return hashlib.sha256(ast.dump(tree).encode()).hexdigest(), imports


def _drop_docstring(node: ast.AST) -> None:
    documented = ast.Module | ast.ClassDef | ast.FunctionDef | ast.AsyncFunctionDef
    if isinstance(node, documented) and ast.get_docstring(node, clean=False) is not None:
        node.body = node.body[1:]


def _find(name: str, source: Source) -> Source | None:
    if name.partition(".")[0] != "softreg":
        return source.neighbour(name)
    # The package itself holds the version, which changes no result.
    found = _own(name) if name != "softreg" else None
    return found if found is not None and found.file.is_file() else None


def _own(module: str) -> Source:
    """The source of one of SoftReg's modules, whether or not it exists."""
    place = _PACKAGE.joinpath(*module.split(".")[1:])
    file = place / "__init__.py" if place.is_dir() else place.with_suffix(".py")
    return Source(_PACKAGE.parent, module, file, _PACKAGE.name)
