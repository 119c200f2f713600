import random
import re
import struct

import pytest

from softreg.errors import UserError
from softreg.study.lambdas import spell


@pytest.mark.parametrize(
    ("value", "spelling"),
    [
        (0, "0"),
        (-0.0, "0"),
        ("0.000", "0"),
        (0.001, "1e-3"),
        ("1e-3", "1e-3"),
        ("1e-03", "1e-3"),
        (3.16e-4, "3.16e-4"),
        (0.5, "5e-1"),
        (2, "2e0"),
        (12.5, "1.25e1"),
        (1_000_000, "1e6"),
        (5e-324, "5e-324"),
    ],
)
def test_known_spellings(value, spelling):
    assert spell(value) == spelling


def test_the_spelling_names_the_number_and_no_other():
    draw = random.Random(0)
    numbers = {struct.unpack("d", struct.pack("Q", draw.getrandbits(62)))[0] for _ in range(20_000)}
    numbers = {number for number in numbers if number < float("inf")}
    spellings = {spell(number) for number in numbers}
    assert len(spellings) == len(numbers)
    assert all(float(spell(number)) == number for number in numbers)
    assert all(re.fullmatch(r"[1-9](\.\d*[1-9])?e-?\d+", spelling) for spelling in spellings)


def test_however_a_number_is_written_its_spelling_is_the_same():
    draw = random.Random(1)
    for _ in range(2_000):
        number = float(f"{draw.uniform(1, 10):.3f}e{draw.randint(-9, 3)}")
        written = (repr(number), f"{number:.25f}", f"{number:.17e}", f"{number:.17E}", f" {number!r} ")
        assert {spell(text) for text in written if float(text) == number} == {spell(number)}


@pytest.mark.parametrize("value", [-1e-3, "abc", "", float("nan"), float("inf"), None, 10**400])
def test_what_is_no_strength_is_refused(value):
    with pytest.raises(UserError, match="give a finite number of 0 or more"):
        spell(value)
