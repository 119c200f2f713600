"""``softreg check FILE.py``: each penalty, model and data set of a file, held to its contract."""

from __future__ import annotations

import tempfile
from collections.abc import Callable, Mapping, Sequence
from functools import partial
from pathlib import Path
from typing import Any

from softreg.contract.findings import Finding, table
from softreg.errors import UserError, suggestion
from softreg.own.classes import OwnClass, classes_of, create, describe, entry_schema, load, noun_of
from softreg.own.sources import is_own
from softreg.study import strict_yaml
from softreg.study.schema import Violation, filled, study_schema, validate


def check_own(target: str, given: Sequence[str]) -> bool:
    """Check all of a file, or the one class of ``FILE.py:CLASS``, and print what is found; whether all is well.

    ``given`` are options as ``name=value``. Raises UserError where the file cannot be imported or an option will not
    do.
    """
    nouns = _nouns(target)
    classes = {kind: describe(kind, noun) for kind, noun in nouns.items()}
    options = _parsed(given, list(classes.values()))
    broken: dict[str, list[str]] = {}
    for kind, noun in nouns.items():
        entry = _entry(classes[kind], noun, options)
        findings = _CHECKS[noun](entry)
        print(f"{kind}, a {noun.replace('dataset', 'data set')}\n{table(findings)}\n")
        broken[kind] = list(dict.fromkeys(finding.rule for finding in findings if not finding.kept))
    for kind, rules in broken.items():
        print(f"{kind} breaks {', '.join(rules)}: mend what is marked FAIL" if rules else f"{kind} keeps its contract")
    return not any(broken.values())


def _nouns(target: str) -> dict[str, str]:
    """The kinds that a target names, each with its noun."""
    if is_own(target):
        kinds = [target]
    elif Path(target).is_file():
        kinds = [f"{target}:{name}" for name in classes_of(Path(target))]
    else:
        raise UserError(f"{target}: no such file; give a Python file of your own, or the YAML file of a study")
    loaded = {kind: load(kind, object) for kind in kinds}
    # Of an abstract class that others of the file complete, those are checked.
    bases = {base for class_ in loaded.values() for base in class_.__mro__[1:]}
    nouns = {kind: noun_of(class_) for kind, class_ in loaded.items() if class_ not in bases}
    found = {kind: noun for kind, noun in nouns.items() if noun is not None}
    if not found:
        raise UserError(
            f"{target} has no penalty, data set or model; derive the class from softreg.penalties.base.Penalty or "
            "softreg.data.base.Dataset, or from torch.nn.Module with `classes` as its constructor's first parameter"
        )
    return found


def _parsed(given: Sequence[str], classes: Sequence[OwnClass]) -> dict[str, Any]:
    options = {}
    known = list(dict.fromkeys(name for own in classes for name in own.options))
    for text in given:
        name, equals, value = text.partition("=")
        if not equals:
            raise UserError(f"--option {text} has no value; give --option NAME=VALUE")
        if name not in known:
            remedy = suggestion(name, known, "options") if known else "there are none; leave it out"
            raise UserError(f"--option {name} is no option of {classes[0].file}; {remedy}")
        try:
            options[name] = strict_yaml.parse(value)
        except strict_yaml.StrictYamlError as error:
            raise UserError(f"--option {text}: {error}") from None
    return options


def _entry(own: OwnClass, noun: str, options: Mapping[str, Any]) -> dict[str, Any]:
    """The entry of a study that gives these options and no other."""
    schema = entry_schema(own, study_schema()["$defs"][f"own_{noun}"])
    given = {name: value for name, value in options.items() if name in own.options}
    missing = [name for name in own.required if name not in given]
    if missing:
        words = " ".join(f"--option {name}=VALUE" for name in missing)
        raise UserError(
            f"{own.file}: {own.class_.__name__} has no default for {', '.join(missing)}; say "
            f"`softreg check {own.file} {words}`"
        )
    try:
        validate(given, {"properties": own.options})
    except Violation as problem:
        raise UserError(*(f"{own.file}: --option {fault}" for fault in problem.args)) from None
    return filled({**given, "kind": own.kind}, schema)


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
    "dataset": _check_dataset,
}
