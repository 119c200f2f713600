"""One spelling for each λ, in paths, keys and tables."""

from __future__ import annotations

import math
from decimal import Decimal

from softreg.errors import UserError


def spell(value: float | int | str) -> str:
    """The shortest scientific spelling of a finite number of 0 or more: "0", "1e-3", "3.16e-4", "2e0".

    Equal numbers have equal spellings, and ``float(spell(x)) == float(x)``. Raises UserError
    for anything else.
    """
    try:
        number = float(value)
    except (TypeError, ValueError, OverflowError):
        number = math.nan
    if not (math.isfinite(number) and number >= 0):
        raise UserError(f"λ is {value!r}; give a finite number of 0 or more, such as 1e-4")
    if number == 0:
        return "0"
    # repr has the fewest digits that name this float and no other.
    digits = Decimal(repr(number)).normalize().as_tuple()
    first, *rest = map(str, digits.digits)
    exponent = int(digits.exponent) + len(rest)
    return f"{first}{'.' if rest else ''}{''.join(rest)}e{exponent}"
