"""Does `softreg check` refuse each faulty study in a sentence and at once, and can what it accepts be planned?

The shipped studies, and that of docs/study.md with every key, are mutated: keys dropped, doubled, renamed or nested,
values of wrong types, extreme numbers, tags, aliases, special characters, lines cut, and special files in their place.
Each mutant goes through `softreg check` in this process. What is accepted has to have a matrix, a graph and a plan too.
A refusal is exit status 2 with a line for each fault, which names the file; anything raised is a traceback to a user.
Slow is over two seconds of processor time. Any other fate than accepted or refused is shown in full, and is a failure.
"""

from __future__ import annotations

import contextlib
import copy
import io
import os
import random
import socket
import sys
import time
import traceback
from collections import Counter
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import yaml
from common import CHECKOUT, print_table, sized, temporary_project

from softreg import cli
from softreg.running.forecast import forecast
from softreg.running.graph import Graph
from softreg.running.plan import plan
from softreg.study import matrix, strict_yaml
from softreg.study.config import load_study

MUTANTS, SLOW = sized(3000, 40), 2.0  # mutants; seconds
VALUES: list[Any] = [
    *(None, True, False, 0, 1, -1, 2, 3, 7, 64, 10**4, 10**7, 10**30, 2**63, 4294967295, 4294967296, -(10**30)),
    *(0.0, -0.0, 0.5, 1.0, 1e-3, 1e-320, 1e-9, 1e300, -1e300, float("inf"), float("-inf"), float("nan")),
    *(
        "",
        " ",
        "x",
        "none",
        "1e-3",
        "010",
        "1_000",
        "nul",
        "../..",
        "/dev/zero",
        "a/b",
        "a\nb",
        "$\\frac{b$",
        "<b>",
        "é",
    ),
    *("=1+1", "L1", "l1", "x" * 300, "softreg.errors:UserError", "no.py:None", ".py:x", "os:path", "https://a:b@c"),
    *([], {}, [[]], [None], [1, 1], [0, 1], [1e-3, 1e-3], ["l1", "l1"], [[1, 2], {"a": 1}], {"a": None}, {"kind": []}),
    *({"kind": "l2"}, {"kind": None}, {"kind": "smp"}, {"kind": "folder"}, list(range(2000)), [10**400, -(10**400)]),
]
TEXTS = [
    *("!!python/object:os.system {}", "!!int '0x1'", "&a [*a]", "*nowhere", "<<: *nowhere", "? [x]", "'", '"', "\t"),
    *(
        "\\",
        "\0",
        "\x1b[31m",
        "\u202e",
        "\ufeff",
        "\ud7ff",
        "é\u0301",
        "%",
        "@",
        "`",
        "{",
        "[",
        "]",
        "}",
        ":",
        "- ",
        "#",
    ),
    *("[" * 2000, "{a: " * 2000, "- " * 2000, "9" * 6000, "---\n", "...\n", "%YAML 9.9\n", "0x1F", "12:30:00", "1_0"),
]
FATES = ("refused", "accepted", "odd", "slow", "traceback")
SPECIAL: dict[str, Callable[[Path], object]] = {
    "folder": lambda file: file.mkdir(),
    "fifo": os.mkfifo,
    "zero": lambda file: file.symlink_to("/dev/zero"),
    "loop": lambda file: file.symlink_to(file.name),
    "socket": lambda file: socket.socket(socket.AF_UNIX).bind(str(file)),
    "missing": lambda file: None,
    "empty": lambda file: file.touch(),
    "binary": lambda file: file.write_bytes(random.Random(0).randbytes(5000)),
    "utf-16": lambda file: file.write_text("datasets: {brain: }\n", encoding="utf-16"),
    "gigabyte": lambda file: file.open("wb").truncate(1 << 30),
    "laughs": lambda file: file.write_text(
        "a0: &a0 [x]\n" + "".join(f"a{n}: &a{n} [{', '.join([f'*a{n - 1}'] * 9)}]\n" for n in range(1, 10))
    ),
}


def bases() -> list[str]:
    """The studies that are mutated, as YAML."""
    page = (CHECKOUT / "docs" / "study.md").read_text(encoding="utf-8")
    every_key = page.partition("```yaml\n")[2].partition("```")[0]
    return [every_key, *(file.read_text(encoding="utf-8") for file in sorted((CHECKOUT / "config").glob("*.yaml")))]


def places(value: Any) -> Iterator[tuple[Any, Any]]:
    """Each container within a value, with each of its keys or indices."""
    keys = list(value) if isinstance(value, dict) else range(len(value)) if isinstance(value, list) else ()
    for key in keys:
        yield value, key
        yield from places(value[key])


def changed_value(study: Any, draw: random.Random) -> str:
    """The study with one or two of its values or keys changed."""
    study = copy.deepcopy(study)
    for _ in range(draw.choice((1, 1, 2))):
        if not (found := list(places(study))):
            break
        box, key = draw.choice(found)
        how = draw.choice(("drop", "set", "set", "set", "add", "rename", "nest", "copy"))
        if how == "drop":
            del box[key]
        elif how in ("add", "rename") and isinstance(box, dict):
            name = draw.choice([str(draw.choice(VALUES))[:400], f"{key}x", str(key).upper(), str(key)[::-1]])
            box[name] = draw.choice(VALUES) if how == "add" else box.pop(key)
        elif how == "nest":
            box[key] = {key: box[key]} if isinstance(box, dict) else [box[key]]
        elif how == "copy":
            box[key] = copy.deepcopy(draw.choice(found)[0])
        else:
            box[key] = draw.choice(VALUES)
    return str(yaml.safe_dump(study, sort_keys=False, allow_unicode=True))


def changed_text(text: str, draw: random.Random) -> str:
    """The text of a study with one or two of its lines or characters changed."""
    for _ in range(draw.choice((1, 1, 2))):
        lines, place = text.splitlines(keepends=True) or [""], draw.randrange(len(text) + 1)
        row = draw.randrange(len(lines))
        how = draw.choice(("cut", "double", "drop", "indent", "insert", "insert", "replace"))
        if how == "cut":
            text = text[:place]
        elif how == "insert":
            text = text[:place] + draw.choice(TEXTS) + text[place:]
        elif how == "replace":
            name, _, _ = lines[row].partition(":")
            text = "".join([*lines[:row], f"{name}: {draw.choice(TEXTS)}\n", *lines[row + 1 :]])
        else:
            new = {"double": [lines[row]] * 2, "drop": [], "indent": [f"  {lines[row]}"]}[how]
            text = "".join([*lines[:row], *new, *lines[row + 1 :]])
    return text


def checked(file: Path) -> tuple[str, str]:
    """What became of one mutant, and what was said."""
    out, said = io.StringIO(), io.StringIO()
    begun = time.process_time()
    try:
        with contextlib.redirect_stdout(out), contextlib.redirect_stderr(said):
            code = cli.main(["check", str(file)])
            if code == 0:
                build(file)
    except BaseException:
        return "traceback", traceback.format_exc()
    text = said.getvalue()
    if (seconds := time.process_time() - begun) > SLOW:
        return "slow", f"{seconds:.1f} s: {text}"
    if code == 0:
        return "accepted", ""
    named = all(line.startswith("softreg: ") and file.name in line for line in text.splitlines())
    return ("refused", text) if code == 2 and text and named else ("odd", f"status {code}: {text}")


def build(file: Path) -> None:
    """What an accepted study needs before any job: its matrix, graph, plan and forecast."""
    study = load_study(file)
    matrix.count_cells(study)
    Graph(study)
    forecast(plan(study), None)


def main() -> None:
    counts: Counter[str] = Counter()
    sources, draw = bases(), random.Random(0)
    parsed = [strict_yaml.parse(text) for text in sources]
    with temporary_project() as folder:
        # What is imported on first use is not counted as slow.
        (folder / "first.yaml").write_text(sources[0], encoding="utf-8")
        assert checked(folder / "first.yaml")[0] != "refused"
        for number in range(MUTANTS):
            file, source = folder / f"m{number}.yaml", draw.randrange(len(sources))
            if number < len(SPECIAL):
                list(SPECIAL.values())[number](file)
            elif number % 3:
                file.write_text(changed_value(parsed[source], draw), encoding="utf-8")
            else:
                file.write_text(changed_text(sources[source], draw), encoding="utf-8", errors="replace")
            fate, said = checked(file)
            counts[fate] += 1
            if fate not in ("accepted", "refused"):
                print(f"{file.name}: {fate}: {said}", file=sys.stderr)
    print_table(["mutants", *FATES], [[str(MUTANTS), *(str(counts[fate]) for fate in FATES)]])
    sys.exit(counts["accepted"] + counts["refused"] < MUTANTS)


if __name__ == "__main__":
    main()
