"""A user's class, imported and inspected: the options that its constructor takes, and objects of it.

A study names it as ``kind: FILE.py:CLASS``, a path relative to the working folder, or as ``kind: MODULE:CLASS``. Its
file is imported once a process, where a study that names it is loaded, and torch with it where the file imports torch.
"""

from __future__ import annotations

import hashlib
import importlib
import importlib.util
import inspect
import json
import os
import re
import sys
from collections.abc import Mapping
from dataclasses import dataclass
from inspect import Parameter
from pathlib import Path
from types import ModuleType
from typing import Any, Final, TypeVar

from softreg.errors import UserError, suggestion
from softreg.own.blame import blamed, line_of
from softreg.own.sources import Source, imported, locate, parse

#: What a class of each noun inherits from; by name, as those modules stand above this one.
_BASES: Final = {
    "penalty": "softreg.penalties.base.Penalty",
    "dataset": "softreg.data.base.Dataset",
    "model": "torch.nn.modules.module.Module",
}
_TYPES = {"float": "number", "int": "integer", "bool": "boolean", "str": "string", "None": "null"}

T = TypeVar("T")


@dataclass(frozen=True)
class OwnClass:
    """A class, the ``kind`` that names it and the file that holds it.

    ``options`` is the JSON schema of each keyword of its constructor, without a model's ``classes``. Those in
    ``required`` must be given; their default is null.
    """

    kind: str
    file: Path
    class_: type[Any]
    options: dict[str, dict[str, Any]]
    required: list[str]

    def defines(self, name: str) -> bool:
        """Whether the class has an attribute or a method that is not what Penalty, Dataset or Module itself gives."""
        owner = next((class_ for class_ in self.class_.__mro__ if name in vars(class_)), None)
        return owner is not None and _dotted(owner) not in _BASES.values()


def classes_of(file: Path) -> list[str]:
    """The names of the classes that a Python file defines, in its order; raises UserError as :func:`load` does."""
    return _defined(_module(Source(file.parent, file.stem, file)))


def load(kind: str, base: type[T]) -> type[T]:
    """The class that ``kind`` names, its file imported.

    Raises UserError where there is no such file or class, where the file cannot be imported, and where the class is no
    subclass of ``base``.
    """
    found: type[T] = _class(kind, _dotted(base))
    return found


def describe(kind: str, noun: str) -> OwnClass:
    """The class that ``kind`` names, and its options; ``noun`` is penalty, dataset or model.

    Raises UserError as :func:`load` does, and where a study could not give what the constructor takes.
    """
    file, class_ = locate(kind).file, _class(kind, _BASES[noun])
    if noun == "model" and not _takes_classes(class_):
        raise UserError(
            f"{file}: the constructor of {class_.__name__} does not take the number of classes first; "
            "write `def __init__(self, classes: int, …)`"
        )
    with blamed(file):
        parameters = list(inspect.signature(class_).parameters.values())
    given = parameters[1:] if noun == "model" else parameters
    options = {part.name: _option(file, class_, part) for part in given}
    return OwnClass(kind, file, class_, options, [part.name for part in given if part.default is part.empty])


def noun_of(class_: type) -> str | None:
    """Whether a class is a penalty, a dataset or a model; None for another, as for a network that is a model's part."""
    bases = [_dotted(base) for base in class_.__mro__]
    noun = next((noun for noun, base in _BASES.items() if base in bases), None)
    return None if noun == "model" and not _takes_classes(class_) else noun


def create(entry: Mapping[str, Any], base: type[T], *arguments: object) -> T:
    """An object of the class that a study's entry names, from ``arguments`` and the entry's options.

    Raises UserError as :func:`describe` does, and where the constructor fails.
    """
    own = describe(entry["kind"], next(noun for noun, name in _BASES.items() if name == _dotted(base)))
    with blamed(own.file, own.class_.__init__):
        made: T = own.class_(*arguments, **{name: entry[name] for name in own.options if name in entry})
    return made


def entry_schema(own: OwnClass, noun: Mapping[str, Any]) -> dict[str, Any]:
    """The schema of a study's entry: the noun's definition (``own_penalty``, …) with the options of the class.

    Raises UserError where an option has the name of a key that every such entry has.
    """
    taken = next((name for name in own.options if name in noun["properties"]), None)
    if taken is not None:
        raise UserError(
            f"{own.file}: the option {taken} of {own.class_.__name__} has the name of a key that every entry of a "
            f"study has ({', '.join(noun['properties'])}); give it another"
        )
    required = [*noun.get("required", []), *own.required]
    return {**noun, "required": required, "properties": {**noun["properties"], **own.options}}


def _option(file: Path, class_: type[Any], part: Parameter) -> dict[str, Any]:
    """The JSON schema of a parameter, by its annotation. Raises UserError where no study could give it."""
    place = line_of(file, class_.__init__)
    if part.kind not in (Parameter.POSITIONAL_OR_KEYWORD, Parameter.KEYWORD_ONLY):
        raise UserError(
            f"{place}: the constructor of {class_.__name__} takes *, ** or positional-only parameters; "
            "name each option as a keyword, as a study does"
        )
    default, schema = None if part.default is part.empty else _as_json(part, place), _type_schema(part.annotation)
    if part.default is None and "type" in schema:
        kinds = [schema["type"]] if isinstance(schema["type"], str) else schema["type"]
        schema["type"] = [*kinds, *({"null"} - set(kinds))]
    return {"description": f"Option of {class_.__name__}.", "default": default, **schema}


def _as_json(part: Parameter, place: str) -> Any:
    """The default of a parameter as a study holds it: a tuple is a list."""
    try:
        return json.loads(json.dumps(part.default, allow_nan=False))
    except (TypeError, ValueError):
        shown = " ".join(repr(part.default).split())
        raise UserError(
            f"{place}: the default of {part.name} is {shown:.80}, which no study can hold; "
            "give a number, a text, True, False, None or a list of such"
        ) from None


def _type_schema(annotation: object) -> dict[str, Any]:
    """What an annotation says of JSON's types; a text where annotations are not evaluated."""
    text = annotation if isinstance(annotation, str) else inspect.formatannotation(annotation)
    kinds = [part.strip() for part in text.split("|")]
    if all(kind in _TYPES for kind in kinds):
        types = [_TYPES[kind] for kind in kinds]
        return {"type": types[0] if len(types) == 1 else types}
    listed = re.fullmatch(r"(?:[\w.]+\.)?(?:list|tuple|Sequence)(?:\[(\w+)(?:, (?:\w+|\.\.\.))*\])?", text)
    return {"type": "array", "items": _type_schema(listed[1] or "")} if listed else {"title": "a value"}


def _dotted(class_: type) -> str:
    return f"{class_.__module__}.{class_.__qualname__}"


def _takes_classes(class_: type) -> bool:
    """Whether the first parameter of a constructor is ``classes``, as a model's is."""
    first = next(iter(inspect.signature(class_).parameters.values()), None)
    return first is not None and first.name == "classes" and first.kind is Parameter.POSITIONAL_OR_KEYWORD


def _class(kind: str, base: str) -> type[Any]:
    source, name = locate(kind), kind.rpartition(":")[2]
    module = _module(source)
    found = getattr(module, name, None)
    if found is None:
        known = _defined(module)
        remedy = suggestion(name, known, "classes") if known else f"write `class {name}` in it"
        raise UserError(f"{source.file} has no class {name}; {remedy}")
    if not isinstance(found, type) or base not in map(_dotted, found.__mro__):
        raise UserError(f"{source.file}: {name} is no subclass of {base.replace('.modules.module', '')}; make it one")
    return found


def _defined(module: ModuleType) -> list[str]:
    """The names of a module's classes, but for those that it imports; a decorator may have made one elsewhere."""
    return [
        name
        for name, value in vars(module).items()
        if isinstance(value, type) and (value.__module__ == module.__name__ or "<locals>" in value.__qualname__)
    ]


def _module(source: Source) -> ModuleType:
    """The module of a source, imported once. Raises UserError where that fails."""
    place = source.file.resolve()
    stem, digest = re.sub(r"\W", "_", place.stem), hashlib.sha256(str(place).encode()).hexdigest()[:12]
    # Its place is part of a file's name, as two folders may hold files of one name.
    name = source.name if source.top else f"softreg_own_{stem}_{digest}"
    if name not in sys.modules:
        # A job gets its GPU after its study is loaded: a file that asks torch for one must not open the first it sees.
        os.environ.setdefault("PYTORCH_NVML_BASED_CUDA_CHECK", "1")
        with blamed(source.file, importing=True):
            if source.top is None and str(place.parent) not in sys.path:
                # Last, so that a module beside the file never stands in for one that Python or torch imports.
                sys.path.append(str(place.parent))
            _check_neighbours(source, set())
            if source.top is None:
                _run(name, place)
            else:
                importlib.import_module(name)
    return sys.modules[name]


def _run(name: str, file: Path) -> None:
    """Import a file under a name; nothing appears beside it."""
    spec = importlib.util.spec_from_file_location(name, file)
    assert spec is not None
    assert spec.loader is not None
    module, written = importlib.util.module_from_spec(spec), sys.dont_write_bytecode
    sys.modules[name], sys.dont_write_bytecode = module, True
    try:
        spec.loader.exec_module(module)
    except BaseException:
        del sys.modules[name]
        raise
    finally:
        sys.dont_write_bytecode = written


def _check_neighbours(source: Source, seen: set[Path]) -> None:
    """Refuse a module beside the file that Python would take from elsewhere, as the fingerprint covers this one."""
    seen.add(source.file)
    for name in imported(parse(source.file), source):
        near = source.neighbour(name.partition(".")[0])
        if near is None or near.file in seen or near.name == "softreg":
            continue
        spec = importlib.util.find_spec(near.name)
        if spec is not None and Path(spec.origin or "").resolve() != near.file.resolve():
            raise UserError(
                f"{source.file} imports {near.name}, which Python takes from elsewhere ({spec.origin}) and not from "
                f"{near.file}; rename {near.file.name}"
            )
        _check_neighbours(near, seen)
