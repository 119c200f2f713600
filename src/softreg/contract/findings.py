"""What a check has found."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator
from dataclasses import dataclass


@dataclass(frozen=True)
class Finding:
    """One rule, and how well it is kept.

    ``error`` is the worst found, nan where the rule is not a matter of degree; ``about`` says what was compared, and
    of a broken rule what is wrong and what to do.
    """

    rule: str
    kept: bool
    about: str
    error: float = math.nan
    limit: float = math.nan


def within(rule: str, error: float, limit: float, about: str) -> Finding:
    """The finding of a rule that allows an error up to ``limit``; nan is beyond any limit."""
    return Finding(rule, error <= limit, about, error, limit)


def guarded(rule: str, check: Callable[[], Iterator[Finding]]) -> Iterator[Finding]:
    """What ``check`` finds; an exception in the code under check is a broken rule."""
    try:
        yield from check()
    except Exception as error:  # Any exception of a stranger's code is a finding, not an end of the check.
        message = (str(error).strip() or "no message").splitlines()[0]
        yield Finding(rule, False, f"raised {type(error).__name__}: {message}")


def table(findings: list[Finding]) -> str:
    """The findings as lines of text: rule, worst error and limit, what was compared."""
    width = max(len(finding.rule) for finding in findings)
    return "\n".join(_line(finding, width) for finding in findings)


def _line(finding: Finding, width: int) -> str:
    mark = "ok  " if finding.kept else "FAIL"
    error = "" if math.isnan(finding.limit) else f"{finding.error:.1e} (limit {finding.limit:.0e})"
    return f"{mark}  {finding.rule:<{width}}  {error:<23}  {finding.about}".rstrip()
