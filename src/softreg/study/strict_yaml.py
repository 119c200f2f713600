"""YAML as a study means it: numbers are decimal, a date or a yes is a text, and no key stands twice."""

from __future__ import annotations

import re
from itertools import chain
from typing import TYPE_CHECKING, Any

import yaml

from softreg.errors import is_control

if TYPE_CHECKING:
    _Base = yaml.SafeLoader
else:
    # The parser in C is ten times faster, where PyYAML was built with it.
    _Base = getattr(yaml, "CSafeLoader", yaml.SafeLoader)

_DEEPEST = 30  # blocks within blocks; PyYAML builds them by recursion, in C, where too many end the process
_MOST = 20_000  # values, with those that aliases repeat: a few lines of aliases can stand for 10⁹
_LONGEST = 200  # characters of a key


class StrictYamlError(Exception):
    """What is wrong with a YAML text, where, and what to do."""


class _Loader(_Base):
    """Safe YAML with the numbers of JSON: what is octal, sexagesimal or has a _ in other versions is a text."""

    yaml_implicit_resolvers = {  # noqa: RUF012  as in the base class
        first: [(tag, rule) for tag, rule in rules if tag.rpartition(":")[2] in ("null", "merge")]
        for first, rules in yaml.SafeLoader.yaml_implicit_resolvers.items()
    }


_INT = "[-+]?(0|[1-9][0-9]*)"
_EXPONENT = "([eE][-+]?[0-9]+)"
_FLOAT = rf"([-+]?\.[0-9]+{_EXPONENT}?|{_INT}(\.[0-9]*{_EXPONENT}?|{_EXPONENT}))"
for _tag, _rule, _first in (
    ("bool", "(true|True|TRUE|false|False|FALSE)$", "tTfF"),
    ("int", f"{_INT}$", "-+0123456789"),
    ("float", rf"({_FLOAT}|[-+]?\.(inf|Inf|INF)|\.(nan|NaN|NAN))$", "-+.0123456789"),
):
    _Loader.add_implicit_resolver(f"tag:yaml.org,2002:{_tag}", re.compile(_rule), list(_first))


def unquoted(value: Any) -> Any:
    """The number that a text would be without its quotes; any other value, also .inf and .nan, as it is."""
    spelt = isinstance(value, str) and re.fullmatch(f"{_INT}|{_FLOAT}", value)
    return float(value) if spelt else value


def parse(text: str) -> Any:
    """The value of a YAML text, None where it is empty; anchors and merge keys are followed.

    Raises StrictYamlError, with line and column, for bad syntax, a key that stands twice or is not a text, a tag, a
    control character, and what is too large or too deep.
    """
    try:
        _check_events(text)
        loader = _Loader(text)
        node = loader.get_single_node()
        _measure(node, {})
        return None if node is None else loader.construct_document(node)
    except yaml.MarkedYAMLError as error:
        problem = " ".join((error.problem or "cannot be parsed").split())
        raise StrictYamlError(f"{_place(error.problem_mark)}: {problem}; correct the YAML there") from None
    except (yaml.YAMLError, ValueError) as error:
        raise StrictYamlError(f"is not YAML ({' '.join(str(error).split())}); correct it") from None


def _check_events(text: str) -> None:
    """Refuse what must not be built: tags, control characters, and what is too deep or too large."""
    depth = 0
    for count, event in enumerate(yaml.parse(text, _Loader)):
        depth += isinstance(event, yaml.CollectionStartEvent) - isinstance(event, yaml.CollectionEndEvent)
        place = _place(event.start_mark)
        _check_size(place, count, depth)
        if getattr(event, "tag", None) is not None:
            raise StrictYamlError(f"{place}: a tag (!) says nothing in a study; leave it out, or quote the text")
        for sign in event.value if isinstance(event, yaml.ScalarEvent) else "":
            if sign not in "\n\t" and is_control(sign):
                raise StrictYamlError(f"{place}: the text holds the control character U+{ord(sign):04X}; take it out")


def _check_size(place: str, count: int, depth: int) -> None:
    if depth > _DEEPEST:
        raise StrictYamlError(f"{place}: more than {_DEEPEST} blocks within blocks; a study has a few")
    if count > _MOST:
        raise StrictYamlError(f"{place}: more than {_MOST} values, with what aliases repeat; give a smaller study")


def _measure(node: yaml.Node | None, known: dict[int, tuple[int, int]]) -> tuple[int, int]:
    """How many values a node stands for and how deep it is, with what aliases repeat; its keys are checked.

    ``known`` are the nodes that have been measured, and with 0 those that are being measured.
    """
    if not isinstance(node, yaml.CollectionNode):
        return 1, 0
    if id(node) not in known:
        known[id(node)] = 0, 0
        if isinstance(node, yaml.MappingNode):
            _check_keys(node)
        children = chain.from_iterable(node.value) if isinstance(node, yaml.MappingNode) else node.value
        sizes = [_measure(child, known) for child in children]
        known[id(node)] = 1 + sum(count for count, _ in sizes), 1 + max((depth for _, depth in sizes), default=0)
        _check_size(_place(node.start_mark), *known[id(node)])
    elif known[id(node)] == (0, 0):
        raise StrictYamlError(f"{_place(node.start_mark)}: an alias stands within what it repeats; write it out")
    return known[id(node)]


def _check_keys(node: yaml.MappingNode) -> None:
    known: set[str] = set()
    for key, _ in node.value:
        if key.tag not in ("tag:yaml.org,2002:str", "tag:yaml.org,2002:merge"):
            shown = f"the key {key.value}" if isinstance(key, yaml.ScalarNode) else "a key that is a block or a list"
            raise StrictYamlError(f"{_place(key.start_mark)}: {shown} is not a text; put it in quotes")
        if len(key.value) > _LONGEST:
            raise StrictYamlError(f"{_place(key.start_mark)}: a key of more than {_LONGEST} characters; shorten it")
        if key.value in known:
            raise StrictYamlError(f"{_place(key.start_mark)}: the key {key.value} stands twice in one block; keep one")
        known.add(key.value)


def _place(mark: Any) -> str:
    return "line 1" if mark is None else f"line {mark.line + 1}, column {mark.column + 1}"
