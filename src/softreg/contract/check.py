"""``softreg check FILE.py``: each penalty, model and data set of a file, held to its contract."""

from __future__ import annotations

import tempfile
from collections.abc import Callable, Mapping, Sequence
from functools import partial
from pathlib import Path
from typing import Any

from jsonschema import Draft202012Validator

from softreg.contract.findings import Finding, table
from softreg.errors import UserError, suggestion
from softreg.own.plugins import REQUIRED, Plugin, classes_of, create, describe, entry_schema, is_plugin, load
from softreg.study import strict_yaml
from softreg.study.schema import filled, study_schema

#: What a class inherits from, where it is defined, and the noun for it.
_BASES = {
    "softreg.penalties.base.Penalty": "penalty",
    "softreg.data.base.Dataset": "data set",
    "torch.nn.modules.module.Module": "model",
}


def check_own(target: str, given: Sequence[str]) -> bool:
    """Check all of a file, or the one class of ``FILE.py:CLASS``, and print what is found; whether all is well.

    ``given`` are options as ``name=value``. Raises UserError where the file cannot be imported or an option will not
    do.
    """
    nouns = _nouns(target)
    plugins = {kind: describe(kind) for kind in nouns}
    options = _parsed(given, list(plugins.values()))
    broken: dict[str, list[str]] = {}
    for kind, noun in nouns.items():
        entry = _entry(plugins[kind], noun, options)
        findings = _CHECKS[noun](entry)
        print(f"{kind}, a {noun}\n{table(findings)}\n")
        broken[kind] = list(dict.fromkeys(finding.rule for finding in findings if not finding.kept))
    for kind, rules in broken.items():
        print(f"{kind} breaks {', '.join(rules)}: mend what is marked FAIL" if rules else f"{kind} keeps its contract")
    return not any(broken.values())


def _nouns(target: str) -> dict[str, str]:
    """The kinds that a target names, each with its noun."""
    if is_plugin(target):
        kinds = [target]
    elif Path(target).is_file():
        kinds = [f"{target}:{name}" for name in classes_of(Path(target))]
    else:
        raise UserError(f"{target}: no such file; give a Python file of your own, or the YAML file of a study")
    loaded = {kind: load(kind, object) for kind in kinds}
    # Of an abstract class that others of the file complete, those are checked.
    bases = {base for class_ in loaded.values() for base in class_.__mro__[1:]}
    nouns = {kind: _noun(kind, class_) for kind, class_ in loaded.items() if class_ not in bases}
    found = {kind: noun for kind, noun in nouns.items() if noun is not None}
    if not found:
        raise UserError(
            f"{target} has no penalty, data set or model; derive the class from softreg.penalties.base.Penalty or "
            "softreg.data.base.Dataset, or from torch.nn.Module with `classes` as its constructor's first parameter"
        )
    return found


def _noun(kind: str, class_: type) -> str | None:
    bases = [f"{base.__module__}.{base.__name__}" for base in class_.__mro__]
    noun = next((_BASES[base] for base in bases if base in _BASES), None)
    # Other modules of torch are parts of a model.
    return None if noun == "model" and not describe(kind).takes_classes else noun


def _parsed(given: Sequence[str], plugins: Sequence[Plugin]) -> dict[str, Any]:
    options = {}
    known = list(dict.fromkeys(name for plugin in plugins for name in plugin.options))
    for text in given:
        name, equals, value = text.partition("=")
        if not equals:
            raise UserError(f"--option {text} has no value; give --option NAME=VALUE")
        if name not in known:
            remedy = suggestion(name, known, "options") if known else "there are none; leave it out"
            raise UserError(f"--option {name} is no option of {plugins[0].file}; {remedy}")
        try:
            options[name] = strict_yaml.parse(value)
        except strict_yaml.StrictYamlError as error:
            raise UserError(f"--option {text}: {error}") from None
    return options


def _entry(plugin: Plugin, noun: str, options: Mapping[str, Any]) -> dict[str, Any]:
    """The entry of a study that gives these options and no other."""
    schema = entry_schema(plugin, study_schema()["$defs"][f"own_{noun.replace(' ', '')}"])
    own = {name: value for name, value in options.items() if name in plugin.options}
    missing = [name for name, option in plugin.options.items() if option.default is REQUIRED and name not in own]
    if missing:
        words = " ".join(f"--option {name}=VALUE" for name in missing)
        raise UserError(
            f"{plugin.file}: {plugin.name} has no default for {', '.join(missing)}; say "
            f"`softreg check {plugin.file} {words}`"
        )
    for name, value in own.items():
        problem = next(Draft202012Validator(schema["properties"][name]).iter_errors(value), None)
        if problem is not None:
            raise UserError(f"--option {name}={value}: {problem.message}, as {plugin.name} in {plugin.file} says")
    return filled({**own, "kind": plugin.kind}, schema)


def _check_penalty(entry: dict[str, Any]) -> list[Finding]:
    from softreg.contract.penalty import check_penalty
    from softreg.penalties import make

    return check_penalty(make(entry))


def _check_model(entry: dict[str, Any]) -> list[Finding]:
    from softreg.contract.model import check_model
    from softreg.networks import build

    # One that cannot be built at all breaks no rule in particular.
    build(entry, 2)
    return check_model(partial(build, entry))


def _check_dataset(entry: dict[str, Any]) -> list[Finding]:
    from softreg.contract.dataset import check_dataset
    from softreg.data.base import Dataset

    dataset = create(entry, Dataset)  # type: ignore[type-abstract]
    with tempfile.TemporaryDirectory() as root:
        return check_dataset(dataset, entry, Path(root))


_CHECKS: dict[str, Callable[[dict[str, Any]], list[Finding]]] = {
    "penalty": _check_penalty,
    "model": _check_model,
    "data set": _check_dataset,
}
