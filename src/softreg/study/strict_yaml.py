"""YAML as a study means it: 1e-3 is a number, a date is a text, and no key stands twice."""

from __future__ import annotations

import re
from itertools import chain
from typing import TYPE_CHECKING, Any

import yaml

if TYPE_CHECKING:
    _Base = yaml.SafeLoader
else:
    # The parser in C is ten times faster, where PyYAML was built with it.
    _Base = getattr(yaml, "CSafeLoader", yaml.SafeLoader)


class StrictYamlError(Exception):
    """What is wrong with a YAML text, where, and what to do."""


class _Loader(_Base):
    """Safe YAML with the numbers of YAML 1.2."""

    yaml_implicit_resolvers = {  # noqa: RUF012  as in the base class
        first: [(tag, rule) for tag, rule in rules if tag.rpartition(":")[2] not in ("float", "timestamp")]
        for first, rules in yaml.SafeLoader.yaml_implicit_resolvers.items()
    }


_Loader.add_implicit_resolver(
    "tag:yaml.org,2002:float",
    re.compile(r"[-+]?(\.\d+|\d+\.\d*|\d+(?=[eE]))([eE][-+]?\d+)?$|[-+]?\.(inf|Inf|INF)$|\.(nan|NaN|NAN)$"),
    list("-+.0123456789"),
)


def parse(text: str) -> Any:
    """The value of a YAML text, None where it is empty; anchors and merge keys are followed.

    Raises StrictYamlError, with line and column, for bad syntax, a key that stands twice or is not a text.
    """
    try:
        loader = _Loader(text)
        node = loader.get_single_node()
        _check_keys(node, set())
        return None if node is None else loader.construct_document(node)
    except yaml.MarkedYAMLError as error:
        problem = " ".join((error.problem or "cannot be parsed").split())
        raise StrictYamlError(f"{_place(error.problem_mark)}: {problem}; correct the YAML there") from None
    except (yaml.YAMLError, ValueError) as error:
        raise StrictYamlError(f"is not YAML ({' '.join(str(error).split())}); correct it") from None


def _check_keys(node: yaml.Node | None, seen: set[int]) -> None:
    """Refuse what YAML would silently accept: a key that stands twice, and a key that is not a text."""
    if id(node) in seen or not isinstance(node, yaml.CollectionNode):
        return
    seen.add(id(node))
    if isinstance(node, yaml.MappingNode):
        _check_keys_of(node)
    for child in chain.from_iterable(node.value) if isinstance(node, yaml.MappingNode) else node.value:
        _check_keys(child, seen)


def _check_keys_of(node: yaml.MappingNode) -> None:
    known: set[str] = set()
    for key, _ in node.value:
        if key.tag == "tag:yaml.org,2002:merge":
            continue
        if key.tag != "tag:yaml.org,2002:str":
            raise StrictYamlError(f"{_place(key.start_mark)}: the key {key.value} is not a text; put it in quotes")
        if key.value in known:
            raise StrictYamlError(f"{_place(key.start_mark)}: the key {key.value} stands twice in one block; keep one")
        known.add(key.value)


def _place(mark: yaml.Mark | None) -> str:
    return "line 1" if mark is None else f"line {mark.line + 1}, column {mark.column + 1}"
