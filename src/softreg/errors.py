"""The errors that a user can act on, words that their sentences share, and how they are printed. Imports no package."""

from __future__ import annotations

import difflib
import json
import re
import sys
import unicodedata
from collections.abc import Callable, Collection, Sequence
from typing import Any, TypeVar

Item = TypeVar("Item")
Made = TypeVar("Made")


class UserError(Exception):
    """Bad input, in a sentence that names the file, the key and the remedy; of several faults, a sentence each.

    The command line prints them, each on a line, without a traceback and exits with status 2.
    """

    def __str__(self) -> str:
        return "\n".join(plain(str(sentence)) for sentence in self.args)


def plain(text: str) -> str:
    """``text`` on one line as it may be printed: no sign that a terminal obeys, no password of an address.

    It may hold what a server sent, or the name of a file that somebody else made.
    """
    shown = "".join(sign.encode("unicode_escape").decode() if is_control(sign) else sign for sign in text)
    return re.sub(r'(?<=://)[^\s"]*@', "…@", shown)


def say(text: str) -> None:
    """Print ``text`` to standard error at once, on one line."""
    print(plain(text), file=sys.stderr, flush=True)


def is_control(sign: str) -> bool:
    """Whether a terminal may obey this character, or no file can hold it; also what turns the direction of writing."""
    if sign.isascii():
        return not sign.isprintable()
    turns = unicodedata.bidirectional(sign) in ("LRE", "RLE", "LRO", "RLO", "PDF", "LRI", "RLI", "FSI", "PDI")
    return turns or unicodedata.category(sign) in ("Cc", "Cs", "Zl", "Zp")


def show(value: Any) -> str:
    """A value as it could stand in YAML, cut to 80 characters."""
    # Before it is cut, as half a password would not be known for one.
    text = plain(json.dumps(value, ensure_ascii=False, default=str))
    return text if len(text) <= 80 else f"{text[:77]}..."


def first_line(error: Exception) -> str:
    """Of what an error says, the first line; of one that says nothing, its type."""
    return (str(error).strip() or type(error).__name__).splitlines()[0]


def few(words: Sequence[str], between: str = ", ") -> str:
    """The first three, and how many more there are."""
    more = f"{' ' if between == ', ' else between}and {len(words) - 3} more" if len(words) > 3 else ""
    return between.join(words[:3]) + more


def each(make: Callable[[Item], Made], items: Sequence[Item], noun: str) -> list[Made]:
    """What ``make`` makes of each item. Raises one UserError for all that it refuses, see `refuse`."""
    made, faults = [], []
    for item in items:
        try:
            made.append(make(item))
        except UserError as error:
            faults.append(str(error))
    refuse(faults, len(items), noun)
    return made


def refuse(faults: Sequence[str], total: int, noun: str) -> None:
    """Raise one UserError for all faults, if there are any: how many, and the first few."""
    if faults:
        count = f"{len(faults)} of {total} {noun} are refused: " if len(faults) > 1 else ""
        raise UserError(count + few(faults, "; "))


def suggestion(word: object, known: Collection[str], noun: str) -> str:
    """The known words, as a question where one of them is near: ``did you mean "smp" (kinds known: …)?``."""
    near = nearest(word, known, 1, 0.6)
    words = f"{noun} known: {', '.join(known)}"
    return f"did you mean {show(near[0])} ({words})?" if near else words


def nearest(word: object, known: Collection[str], count: int, cutoff: float) -> list[str]:
    """At most ``count`` known words, nearest first, in upper or lower case alike."""
    lower = {name.lower(): name for name in known}
    return [lower[near] for near in difflib.get_close_matches(str(word)[:100].lower(), lower, count, cutoff)]
