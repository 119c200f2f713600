"""Each benchmark still runs: once, in its smoke form, which does the same work in the smallest size."""

from __future__ import annotations

import math
import re
from pathlib import Path

import programs
import pytest

FOLDER = Path(__file__).parents[1] / "benchmarks"
SCRIPTS = [pytest.param(file, id=file.stem) for file in sorted(FOLDER.glob("*.py")) if file.stem != "common"]
#: Not a part of a word; nan and inf, so that they are found too.
NUMBER = re.compile(r"(?<![\w.])-?(?:\d[\d,]*(?:\.\d+)?(?:e[-+]?\d+)?|nan|inf)(?!\w)", re.IGNORECASE)


def figures(line: str) -> list[float]:
    """The numbers in a row of a table."""
    return [float(number.replace(",", "")) for number in NUMBER.findall(line)]


@pytest.mark.slow
@pytest.mark.parametrize("script", SCRIPTS)
def test_it_prints_its_table(script, tmp_path):
    done = programs.run(tmp_path, script, "--smoke")
    assert done.returncode == 0, done.stdout + done.stderr
    _, *rows = [line for line in done.stdout.splitlines() if "  " in line.strip()]
    found = [number for row in rows for number in figures(row)]
    assert all(map(math.isfinite, found)), done.stdout
    assert any(number > 0 for number in found), done.stdout
    assert list(tmp_path.iterdir()) == []


def test_the_folder_was_found():
    assert {"bootstrap", "prepare", "loop_against_step"} <= {script.id for script in SCRIPTS}


def test_what_a_table_holds():
    assert figures("cell, 16 × 16   1,234   -0.5 %  3e-09  nan  inf  s0  v1.5x") == pytest.approx(
        [16, 16, 1234, -0.5, 3e-9, math.nan, math.inf], nan_ok=True
    )
