"""A penalty, a model or a data set from a user's file or from an installed package. Imports no torch.

A study names it as ``kind: FILE.py:CLASS``, a path relative to the working folder, or as ``kind: MODULE:CLASS``. What
the class takes is read off its file, so that a study is checked without running a line of it.
"""

from __future__ import annotations

import ast
import hashlib
import importlib
import importlib.util
import re
import sys
import traceback
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from types import ModuleType
from typing import Any, Final, TypeVar

from softreg.errors import UserError, suggestion
from softreg.own.sources import Source, imported, origin, parse

#: The default of an option that a study must give.
REQUIRED: Final = type("Required", (), {"__repr__": lambda self: "REQUIRED"})()
_PACKAGE = Path(__file__).parents[1]
#: What a class inherits from these is the noun's own; it says nothing of the class.
_NOUNS = {"Penalty": "softreg.penalties.base", "Dataset": "softreg.data.base"}
_TYPES = {"float": "number", "int": "integer", "bool": "boolean", "str": "string", "None": "null"}
_ANY = {"title": "a value"}

T = TypeVar("T")
_Lineage = list[tuple[Source, ast.ClassDef]]


@dataclass(frozen=True)
class Option:
    """A keyword of a constructor: its default as JSON, or REQUIRED, and its annotation as written, or None."""

    default: Any
    annotation: str | None


@dataclass(frozen=True)
class Plugin:
    """What a file says of a class, before anything runs.

    ``options`` are the keywords of its constructor; ``attributes`` the plain values that its body assigns; ``methods``
    the functions that it defines. Each includes what is inherited within the file, from modules beside it and from a
    penalty, a model or a data set of SoftReg's, but not what Penalty and Dataset themselves define. ``takes_classes``
    says that the constructor's first parameter is ``classes``, as a model's is; it is no option.
    """

    kind: str
    source: Source
    name: str
    options: dict[str, Option]
    attributes: dict[str, Any]
    methods: frozenset[str]
    takes_classes: bool

    @property
    def file(self) -> Path:
        """The file that defines the class."""
        return self.source.file


def is_plugin(kind: object) -> bool:
    """Whether a study's ``kind`` names a class of the user's, and none of SoftReg's own kinds."""
    return isinstance(kind, str) and ":" in kind


def slug(kind: str) -> str:
    """A name for a folder that belongs to ``kind``: the kind itself, but for what a file system may not like."""
    return re.sub(r"[^A-Za-z0-9_.]+", "-", kind).lstrip(".-")


def locate(kind: str) -> tuple[Source, str]:
    """The file and the class that a kind names. Raises UserError where there is no such file or module."""
    place, _, name = kind.rpartition(":")
    if not place or not name.isidentifier():
        raise UserError(f"kind {kind} is neither FILE.py:CLASS nor MODULE:CLASS; name the class after the colon")
    return (_own_file(place, name) if place.endswith(".py") else _installed(place, name)), name


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


def describe(kind: str) -> Plugin:
    """What the file of ``kind`` says of its class.

    Raises UserError where there is no such file or class, the file is no Python, or the constructor's keywords cannot
    be read off it.
    """
    source, name = locate(kind)
    lineage = _lineage(source, _class(source, name))
    options, takes_classes = _options(lineage)
    attributes: dict[str, Any] = {}
    for _, node in reversed(lineage):
        attributes |= _attributes(node)
    methods = frozenset(part.name for _, node in lineage for part in node.body if isinstance(part, ast.FunctionDef))
    return Plugin(kind, source, name, options, attributes, methods, takes_classes)


def classes_of(file: Path) -> list[str]:
    """The names of the classes that a Python file defines, in its order."""
    return [node.name for node in parse(file).body if isinstance(node, ast.ClassDef)]


def _class(source: Source, name: str) -> ast.ClassDef:
    classes = {node.name: node for node in parse(source.file).body if isinstance(node, ast.ClassDef)}
    if name in classes:
        return classes[name]
    known = suggestion(name, list(classes), "classes") if classes else f"write `class {name}` in it"
    raise UserError(f"{source.file} has no class {name}; {known}")


def _lineage(source: Source, node: ast.ClassDef) -> _Lineage:
    """A class and those of its bases whose files can be read, nearest first."""
    lineage = [(source, node)]
    tree = parse(source.file)
    for base in node.bases:
        found = _base(source, tree, base)
        if found is not None and (found[0].file, found[1].lineno) != (source.file, node.lineno):
            lineage += _lineage(*found)
    return lineage


def _base(source: Source, tree: ast.Module, base: ast.expr) -> tuple[Source, ast.ClassDef] | None:
    if not isinstance(base, ast.Name):
        return None
    for node in tree.body:
        if isinstance(node, ast.ClassDef) and node.name == base.id:
            return source, node
        if isinstance(node, ast.ImportFrom):
            taken = next((alias.name for alias in node.names if (alias.asname or alias.name) == base.id), None)
            if taken is not None:
                return _imported_base(source, origin(node, source), taken)
    return None


def _imported_base(source: Source, module: str, name: str) -> tuple[Source, ast.ClassDef] | None:
    if module in _NOUNS.values():
        return None
    if module.startswith("softreg."):
        source = Source(_PACKAGE.parent, "softreg", _PACKAGE / "__init__.py", "softreg")
    found = source.neighbour(module)
    if found is None or name not in classes_of(found.file):
        return None
    return found, _class(found, name)


def _options(lineage: _Lineage) -> tuple[dict[str, Option], bool]:
    """The keywords of the constructor, and whether its first parameter is a model's ``classes``."""
    for number, (source, node) in enumerate(lineage):
        constructor = next(
            (part for part in node.body if isinstance(part, ast.FunctionDef) and part.name == "__init__"), None
        )
        if constructor is not None:
            return _keywords(source.file, node, constructor, _is_model(lineage))
        if _is_dataclass(node):
            return _fields(lineage[number:]), False
    return {}, False


def _is_model(lineage: _Lineage) -> bool:
    """Whether nothing says that the class is a penalty or a data set."""
    bases = {ast.unparse(base).rpartition(".")[2] for _, node in lineage for base in node.bases}
    return not bases & set(_NOUNS)


def _keywords(
    file: Path, node: ast.ClassDef, constructor: ast.FunctionDef, model: bool
) -> tuple[dict[str, Option], bool]:
    given = constructor.args
    if given.vararg or given.kwarg or given.posonlyargs:
        raise UserError(
            f"{file}, line {constructor.lineno}: the constructor of {node.name} takes *, ** or positional-only "
            "parameters; name each option as a keyword, as a study does"
        )
    positional = given.args[1:]
    first_default = len(positional) - len(given.defaults)
    takes_classes = model and first_default > 0 and positional[0].arg == "classes"
    defaults: list[ast.expr | None] = [*[None] * first_default, *given.defaults, *given.kw_defaults]
    pairs = list(zip([*positional, *given.kwonlyargs], defaults, strict=True))[takes_classes:]
    options = {part.arg: Option(_default(file, part.arg, value), _annotation(part)) for part, value in pairs}
    return options, takes_classes


def _annotation(part: ast.arg) -> str | None:
    return None if part.annotation is None else ast.unparse(part.annotation)


def _is_dataclass(node: ast.ClassDef) -> bool:
    names = [ast.unparse(part).partition("(")[0] for part in node.decorator_list]
    return any(name.rpartition(".")[2] == "dataclass" for name in names)


def _fields(lineage: _Lineage) -> dict[str, Option]:
    """The fields of a dataclass, those of its bases first."""
    options = {}
    for source, node in reversed(lineage):
        for part in node.body if _is_dataclass(node) else []:
            if isinstance(part, ast.AnnAssign) and isinstance(part.target, ast.Name):
                annotation = ast.unparse(part.annotation)
                if "ClassVar" not in annotation:
                    name = part.target.id
                    options[name] = Option(_default(source.file, name, part.value), annotation)
    return options


def _default(file: Path, name: str, value: ast.expr | None) -> Any:
    if value is None:
        return REQUIRED
    try:
        return _plain(ast.literal_eval(value))
    except ValueError:
        raise UserError(
            f"{file}, line {value.lineno}: the default of {name} is {ast.unparse(value)}, which only running the file "
            "would tell; write a number, a text, True, False, None or a list of such"
        ) from None


def _plain(value: Any) -> Any:
    """The value as JSON holds it: a tuple is a list. Raises ValueError where JSON holds no such value."""
    if isinstance(value, list | tuple):
        return [_plain(item) for item in value]
    if isinstance(value, dict):
        return {str(key): _plain(item) for key, item in value.items()}
    if value is None or isinstance(value, bool | int | float | str):
        return value
    raise ValueError(type(value))


def _attributes(node: ast.ClassDef) -> dict[str, Any]:
    found = {}
    for part in node.body:
        targets = part.targets if isinstance(part, ast.Assign) else [getattr(part, "target", None)]
        for target in targets:
            if isinstance(part, ast.Assign | ast.AnnAssign) and part.value and isinstance(target, ast.Name):
                try:
                    found[target.id] = ast.literal_eval(part.value)
                except ValueError:
                    continue
    return found


def option_schema(plugin: Plugin) -> dict[str, Any]:
    """JSON-schema properties of a class's options; the default of a required one is null, to be filled in."""
    schema = {}
    for name, option in plugin.options.items():
        default = None if option.default is REQUIRED else option.default
        kind = _type_schema(option.annotation)
        if default is None and option.default is not REQUIRED and "type" in kind:
            kinds = kind["type"] if isinstance(kind["type"], list) else [kind["type"]]
            kind = kind | {"type": [*kinds, *({"null"} - set(kinds))]}
        schema[name] = {"description": f"Option of {plugin.name}.", "default": default, **kind}
    return schema


def entry_schema(plugin: Plugin, noun: Mapping[str, Any]) -> dict[str, Any]:
    """The schema of a study's entry: the noun's definition (``own_penalty``, …) with the options of the class.

    Raises UserError where an option has the name of a key that every such entry has.
    """
    taken = next((name for name in plugin.options if name in noun["properties"]), None)
    if taken is not None:
        raise UserError(
            f"{plugin.file}: the option {taken} of {plugin.name} has the name of a key that every entry of a study has "
            f"({', '.join(noun['properties'])}); give it another"
        )
    required = [name for name, option in plugin.options.items() if option.default is REQUIRED]
    return {
        **noun,
        "required": [*noun.get("required", []), *required],
        "properties": {**noun["properties"], **option_schema(plugin)},
    }


def _type_schema(annotation: str | None) -> dict[str, Any]:
    if annotation is None:
        return _ANY
    kinds = [part.strip() for part in annotation.split("|")]
    if all(kind in _TYPES for kind in kinds):
        types = [_TYPES[kind] for kind in kinds]
        return {"type": types[0] if len(types) == 1 else types}
    listed = re.fullmatch(r"(?:list|tuple|Sequence)(?:\[(\w+)(?:, (?:\w+|\.\.\.))*\])?", annotation)
    return {"type": "array", "items": _type_schema(listed[1])} if listed else _ANY


def load(kind: str, base: type[T]) -> type[T]:
    """The class that ``kind`` names, its file imported, with the folder of that file open to its own imports.

    Raises UserError where the file cannot be imported or the class is no subclass of ``base``.
    """
    source, name = locate(kind)
    _class(source, name)
    with blamed(source.file):
        found = getattr(_module(source), name, None)
    if not (isinstance(found, type) and issubclass(found, base)):
        noun = f"{base.__module__.removesuffix('.modules.module')}.{base.__name__}"
        raise UserError(f"{source.file}: {name} is no subclass of {noun}; make it one")
    return found


def create(entry: Mapping[str, Any], base: type[T], *arguments: object) -> T:
    """An object of the class that a study's entry names, from ``arguments`` and the entry's options.

    Raises UserError as :func:`load` does, and where the constructor fails.
    """
    plugin = describe(entry["kind"])
    kind = load(entry["kind"], base)
    with blamed(plugin.file):
        return kind(*arguments, **{name: entry[name] for name in plugin.options if name in entry})


@contextmanager
def blamed(file: Path) -> Iterator[None]:
    """Tell an exception of a user's code as a UserError that names the file and the line."""
    try:
        yield
    except UserError:
        raise
    except (Exception, SystemExit) as error:
        folder = file.resolve().parent
        frames = traceback.extract_tb(error.__traceback__)
        place = next((frame for frame in reversed(frames) if Path(frame.filename).parent == folder), None)
        where = f"{file.parent / Path(place.filename).name}, line {place.lineno}" if place else f"{file}"
        message = (str(error).strip() or "no message").splitlines()[0]
        raise UserError(f"{where}: {type(error).__name__}: {message}; correct it there") from error


def _module(source: Source) -> ModuleType:
    if source.top is not None:
        return importlib.import_module(source.name)
    place = source.file.resolve()
    # Its place is part of the name, as two folders may hold files of one name.
    stem = re.sub(r"\W", "_", source.file.stem)
    name = f"softreg_own_{stem}_{hashlib.sha256(str(place).encode()).hexdigest()[:12]}"
    if name in sys.modules:
        return sys.modules[name]
    _check_siblings(source, set())
    spec = importlib.util.spec_from_file_location(name, place)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    sys.modules[name] = module
    try:
        with _importable(str(place.parent)):
            spec.loader.exec_module(module)
    except BaseException:
        del sys.modules[name]
        raise
    return module


def _check_siblings(source: Source, seen: set[Path]) -> None:
    """Refuse a module beside the file that Python would take from elsewhere, as the fingerprint covers this one."""
    seen.add(source.file)
    for node in ast.walk(parse(source.file)):
        for name in imported(node, source):
            top = source.neighbour(name.partition(".")[0])
            if top is None or top.file in seen or top.name == "softreg":
                continue
            known = getattr(sys.modules.get(top.name), "__file__", None)
            if top.name in sys.builtin_module_names or (known and Path(known).resolve() != top.file.resolve()):
                raise UserError(
                    f"{source.file} imports {top.name}, which is both {top.file} and a module loaded from elsewhere; "
                    f"rename {top.file.name}"
                )
            _check_siblings(top, seen)


@contextmanager
def _importable(folder: str) -> Iterator[None]:
    """The folder comes first while a file is imported, and last afterwards, for imports within its functions."""
    written = sys.dont_write_bytecode
    # Nothing appears beside the user's files.
    sys.dont_write_bytecode = True
    sys.path.insert(0, folder)
    try:
        yield
    finally:
        sys.path.remove(folder)
        if folder not in sys.path:
            sys.path.append(folder)
        sys.dont_write_bytecode = written
