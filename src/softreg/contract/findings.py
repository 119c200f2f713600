"""What a check has found."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, replace
from typing import Any

from softreg.errors import UserError


@dataclass(frozen=True)
class Finding:
    """How well a ``rule`` is kept; `held_to` says which.

    ``error`` is the worst found, nan where the rule is not a matter of degree; ``about`` says what was compared, and
    of a broken rule what is wrong and what to do.
    """

    kept: bool
    about: str
    error: float = math.nan
    limit: float = math.nan
    rule: str = ""


def within(error: float, limit: float, about: str) -> Finding:
    """The finding of a rule that allows an error up to ``limit``; nan is beyond any limit."""
    return Finding(error <= limit, about, error, limit)


def held_to(checks: Mapping[str, Callable[..., Iterator[Finding]]], *subject: Any) -> list[Finding]:
    """What the ``checks``, by the rules that they stand for, find of ``subject``.

    An exception in the code under check is a broken rule. A check may hold a part of its subject to rules of its own.
    """
    found: list[Finding] = []
    for rule, check in checks.items():
        try:
            for finding in check(*subject):
                found.append(replace(finding, rule=finding.rule or rule))
        except Exception as error:  # Any exception of a stranger's code is a finding, not an end of the check.
            message = (str(error).strip() or "no message").splitlines()[0]
            # A sentence of SoftReg's own says whose error it is.
            told = message if isinstance(error, UserError) else f"raised {type(error).__name__}: {message}"
            found.append(Finding(False, told, rule=rule))
    return found


def table(findings: list[Finding]) -> str:
    """The findings as lines of text: rule, worst error and limit, what was compared."""
    width = max(len(finding.rule) for finding in findings)
    return "\n".join(_line(finding, width) for finding in findings)


def _line(finding: Finding, width: int) -> str:
    mark = "ok  " if finding.kept else "FAIL"
    error = "" if math.isnan(finding.limit) else f"{finding.error:.1e} (limit {finding.limit:.0e})"
    return f"{mark}  {finding.rule:<{width}}  {error:<23}  {finding.about}".rstrip()
