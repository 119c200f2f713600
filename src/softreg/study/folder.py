"""What an entry of kind ``folder`` says of its masks, and the checks of it that no schema expresses."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from softreg.errors import show
from softreg.study.schema import Violation, first_duplicate

#: Keys that are younger than the first studies, by whose entries results are known: without a value, they are left out.
YOUNGER = ("values", "range")


def ignored(entry: Mapping[str, Any]) -> list[Any]:
    """The colours to ignore where there is a ``palette``, else the mask values to ignore."""
    ignore, painted = entry["ignore"], entry["palette"] is not None
    if ignore is None or (painted and isinstance(ignore, int)):
        return []
    one = isinstance(ignore, int) or (painted and isinstance(ignore[0], int))
    return [ignore] if one else list(ignore)


def check(where: str, entry: Mapping[str, Any]) -> None:
    """Raise Violation where the keys of an entry, which is at ``where`` in the study, contradict each other."""
    pair, table = (entry["images"], entry["masks"]), entry["table"]
    if (table is None and None in pair) or (table is not None and pair != (None, None)):
        given = [key for key in ("images", "masks", "table") if entry[key] is not None]
        raise Violation(f"{where} has {' and '.join(given) or 'no images'}; give images and masks, or a table alone")
    split = entry["split"]
    if split["rule"] == "group" and table is None:
        raise Violation(f"{where}.split.rule is group; give a table with the column {split['column']}")
    levels = entry.get("range")
    if levels is not None and levels[0] >= levels[1]:
        raise Violation(f"{where}.range is {show(levels)}; give the darkest level first, and a brighter one")
    if entry["palette"] is not None:
        _check_colours(where, entry)
    else:
        _check_values(where, entry)


def _check_colours(where: str, entry: Mapping[str, Any]) -> None:
    palette, ignore = entry["palette"], entry["ignore"]
    if entry.get("values") is not None:
        raise Violation(
            f"{where} has values and palette; give values where masks hold values, a palette where they hold colours"
        )
    _check_each(f"{where}.palette", palette, palette, "colour", entry["classes"])
    colours = ignored(entry)
    # 255 is the default, so it may stand.
    if (isinstance(ignore, int) and ignore != 255) or not all(len(colour) == 3 for colour in colours):
        raise Violation(
            f"{where}.ignore is {show(ignore)}, and palette says that masks hold colours; give a colour, a list of "
            "colours, or null"
        )
    _check_apart(where, colours, palette)


def _check_values(where: str, entry: Mapping[str, Any]) -> None:
    """Raise Violation where ``values`` do not give each class its own, or one is to be ignored."""
    given, values = entry.get("values"), ignored(entry)
    if not all(isinstance(value, int) for value in values):
        raise Violation(
            f"{where}.ignore is {show(entry['ignore'])}, a colour, and palette is null; give a mask value, a list of "
            "values, null, or the palette"
        )
    of_class = list(range(len(entry["classes"])))
    if given is not None:
        of_class = [value for each in given for value in (each if isinstance(each, list) else [each])]
        _check_each(f"{where}.values", given, of_class, "value", entry["classes"])
    # 255 is ignored by default: given to a class, it is that class.
    _check_apart(where, values, [value for value in of_class if value != 255])


def _check_each(where: str, given: Sequence[Any], all_: Sequence[Any], noun: str, classes: Sequence[str]) -> None:
    if len(given) != len(classes):
        raise Violation(f"{where} has {len(given)} {noun}s; give {len(classes)}, one for each of classes")
    if (twice := first_duplicate(all_)) is not None:
        raise Violation(f"{where} holds {show(twice)} twice; give each class its own {noun}")


def _check_apart(where: str, values: Sequence[Any], of_class: Sequence[Any]) -> None:
    if (twice := first_duplicate(values)) is not None:
        raise Violation(
            f"{where}.ignore holds {show(twice)} twice; give each value once, and a palette if a colour is meant"
        )
    if (both := next((value for value in values if value in of_class), None)) is not None:
        raise Violation(
            f"{where}.ignore holds {show(both)}, which is a class; give another, null, or each class its own by values "
            "or palette"
        )
