"""The schema of a study: its defaults, and its violations told in a sentence.

The schema itself is ``study.schema.yaml``; what a sentence says is accepted is read off it.
"""

from __future__ import annotations

import json
import re
import sys
from collections.abc import Callable, Collection, Iterable, Iterator, Mapping, Sequence
from copy import deepcopy
from functools import cache
from typing import Any, TypeVar

from jsonschema import Draft202012Validator, TypeChecker, ValidationError
from jsonschema.validators import extend

from softreg.errors import show, suggestion
from softreg.files import project
from softreg.study import strict_yaml

Made = TypeVar("Made")


class Violation(Exception):
    """What is wrong with a study, in sentences, its arguments, that lack only the name of the file."""


def together(checks: Iterable[Callable[[], Made]]) -> list[Made]:
    """What each of ``checks`` returns. Raises one Violation for all that they find, each sentence once."""
    made, faults = [], list[str]()
    for check in checks:
        try:
            made.append(check())
        except Violation as problem:
            faults += problem.args
    told: dict[str, str] = {}
    for fault in faults:
        # Of the outer folds of a data set, which share its keys, the first is named.
        told.setdefault(re.sub(r"-fold\d+", "", fault), fault)
    if told:
        raise Violation(*told.values())
    return made


@cache
def study_schema() -> dict[str, Any]:
    """The JSON schema of a study; shared, so not to be changed.

    Each definition is of a block of keys and of no others, and the kind of ``penalty_l1`` is l1, and so on: the file
    does not say so again for each.
    """
    file = project() / "workflow" / "schemas" / "study.schema.yaml"
    schema: dict[str, Any] = strict_yaml.parse(file.read_text(encoding="utf-8"))
    for name, stated in schema["$defs"].items():
        schema["$defs"][name] = part = {"type": "object", "additionalProperties": False, **stated}
        noun, _, kind = name.partition("_")
        if noun in ("dataset", "model", "penalty"):
            known = {**part["properties"]["kind"], "default": kind, "const": kind}
            part["properties"] = {**part["properties"], "kind": known}
    return schema


def _is_number(_: TypeChecker, value: object) -> bool:
    # Neither nan nor inf, nor a whole number that no float can hold.
    return isinstance(value, int | float) and not isinstance(value, bool) and abs(value) <= sys.float_info.max


def _is_whole(_: TypeChecker, value: object) -> bool:
    return isinstance(value, int) and not isinstance(value, bool)


@cache
def _validator() -> Any:
    types = Draft202012Validator.TYPE_CHECKER.redefine_many({"number": _is_number, "integer": _is_whole})
    changed = extend(Draft202012Validator, {"uniqueItems": _unique}, type_checker=types)  # type: ignore[no-untyped-call]
    return changed(study_schema())


def _unique(_: Any, wanted: bool, values: object, __: Any) -> Iterator[ValidationError]:
    if wanted and isinstance(values, list) and first_duplicate(values) is not None:
        yield ValidationError("a value stands twice")


def filled(value: Mapping[str, Any], schema: Mapping[str, Any]) -> dict[str, Any]:
    """A copy of ``value`` with the schema's defaults, in its order; a model's overrides stay as given."""
    result = {}
    for key, part in schema["properties"].items():
        given = deepcopy(value.get(key, part["default"]))
        result[key] = filled(given, part) if "properties" in part else given
    return result


def validate(value: Any, schema: Mapping[str, Any] | None = None, where: tuple[str | int, ...] = ()) -> None:
    """Hold ``value`` to ``schema``, whose references are looked up in the study's, or to the whole of that.

    Raises Violation for all problems; ``where`` is the place of ``value`` in the study.
    """
    # Evolved, so that a $ref is looked up in the whole schema.
    validator = _validator() if schema is None else _validator().evolve(schema=schema)
    # A misspelled key comes first: it explains a missing one.
    errors = sorted(validator.iter_errors(value), key=lambda error: error.validator != "additionalProperties")
    if errors:
        raise Violation(*dict.fromkeys(sentence for error in errors for sentence in _sentences(error, where)))


def _sentences(error: ValidationError, prefix: tuple[str | int, ...]) -> list[str]:
    where = dotted((*prefix, *error.absolute_path))
    instance: Any = error.instance
    schema: Any = error.schema
    if error.validator == "additionalProperties":
        return [_unknown_key(key, schema["properties"], where) for key in instance if key not in schema["properties"]]
    if error.validator == "required":
        missing = [key for key in schema["required"] if key not in instance]
        owner = where or "the study"
        return [f"{owner} has no {key}; give {accepted(schema['properties'][key])}" for key in missing]
    if "propertyNames" in error.schema_path:
        return [f"{where} has an entry named {show(instance)}; give {accepted(schema)}"]
    if error.validator == "uniqueItems":
        return [f"{where} holds {show(first_duplicate(instance))} twice; give each value once"]
    return [f"{where} is {show(instance)}; give {accepted(schema)}"]


def _unknown_key(key: str, known: Collection[str], where: str) -> str:
    full = f"{where}.{key}" if where else key
    return f"unknown key {full}; {suggestion(key, known, 'keys')}"


def accepted(schema: Mapping[str, Any]) -> str:
    """What a part of the schema accepts, in words."""
    if "title" in schema:
        return str(schema["title"])
    if "anyOf" in schema:
        return " or ".join(map(accepted, schema["anyOf"]))
    if "enum" in schema:
        return " or ".join("null" if value is None else str(value) for value in schema["enum"])
    if "const" in schema:
        return f"{show(schema['const'])}, or leave the key out"
    kinds = schema["type"] if isinstance(schema["type"], list) else [schema["type"]]
    return " or ".join(_accepted_type(kind, schema) for kind in kinds)


def _accepted_type(kind: str, schema: Mapping[str, Any]) -> str:
    if kind == "array":
        return f"a list of {_accepted_count(schema)}, each {accepted(schema['items'])}"
    if kind in ("integer", "number"):
        return _accepted_number("a whole number" if kind == "integer" else "a number", schema)
    return {"boolean": "true or false", "string": "a text", "null": "null"}[kind]


def _accepted_count(schema: Mapping[str, Any]) -> str:
    low, high = schema.get("minItems", 0), schema.get("maxItems")
    if high is None:
        return f"{low} or more values"
    return f"{low} values" if low == high else f"{low} to {high} values"


def _accepted_number(noun: str, schema: Mapping[str, Any]) -> str:
    if {"minimum", "maximum"} <= set(schema):
        return f"{noun} from {schema['minimum']} to {schema['maximum']}"
    words = {
        "minimum": "of at least",
        "exclusiveMinimum": "above",
        "maximum": "at most",
        "exclusiveMaximum": "below",
    }
    bounds = " and ".join(f"{word} {schema[key]}" for key, word in words.items() if key in schema)
    return f"{noun} {bounds}".rstrip()


def dotted(path: Sequence[str | int]) -> str:
    """A path of keys and indices as it is told: ``penalties.l1.lambda[2]``."""
    return "".join(f"[{part}]" if isinstance(part, int) else f".{part}" for part in path).removeprefix(".")


def first_duplicate(values: Sequence[Any]) -> Any:
    """The first value that stands before, or None."""
    known: set[str] = set()
    for value in values:
        # Lists have no hash, and to compare each with each takes minutes for a long list.
        if (text := json.dumps(value, sort_keys=True)) in known:
            return value
        known.add(text)
    return None
