import math
import time

import pytest

from softreg.study.strict_yaml import StrictYamlError, parse


@pytest.mark.parametrize(
    ("text", "value"),
    [
        ("1e-3", 0.001),
        ("1E-3", 0.001),
        ("-2e5", -2e5),
        ("1.5e3", 1500.0),
        ("1.0e+3", 1000.0),
        (".5", 0.5),
        ("1.", 1.0),
        ("3", 3),
        (".inf", math.inf),
        ("-.inf", -math.inf),
        ("2024-01-01", "2024-01-01"),
        ("1e", "1e"),
        ("e5", "e5"),
        ("1.2.3", "1.2.3"),
        ("true", True),
        ("yes", "yes"),
        ("off", "off"),
        ("0", 0),
        ("-7", -7),
        ("+7", 7),
        ("010", "010"),
        ("-010", "-010"),
        ("0o10", "0o10"),
        ("0x10", "0x10"),
        ("0b10", "0b10"),
        ("1_000", "1_000"),
        ("1_0.5", "1_0.5"),
        ("01.5", "01.5"),
        ("12:30:00", "12:30:00"),
        ("1:30.5", "1:30.5"),
        ("-\u0661.\u0665", "-\u0661.\u0665"),
        ("=", "="),
        ("", None),
    ],
)
def test_scalars(text, value):
    parsed = parse(text)
    assert parsed == value
    assert type(parsed) is type(value)


def test_nan():
    assert math.isnan(parse(".nan"))


def test_anchors_and_merge_keys_are_followed_and_may_be_overridden():
    text = """
a: &a {x: 1, y: 2}
b: {<<: *a, y: 3}
c: &c {d: {<<: *a, x: 5}, <<: *a}
e: {<<: *c}
f: *a
"""
    value = parse(text)
    assert value["b"] == {"x": 1, "y": 3}
    assert value["c"]["d"] == {"x": 5, "y": 2}
    assert value["e"]["x"] == 1
    assert value["f"] == {"x": 1, "y": 2}


@pytest.mark.parametrize(
    ("text", "sentence"),
    [
        ("a: 1\nb: 2\na: 3\n", "line 3, column 1: the key a stands twice in one block; keep one"),
        ("a: [{b: 1, b: 2}]\n", "line 1, column 12: the key b stands twice"),
        ("true: 1\n", "line 1, column 1: the key true is not a text; put it in quotes"),
        ("1: 1\n", "line 1, column 1: the key 1 is not a text"),
        ("{[1]: 1}\n", "line 1, column 2: a key that is a block or a list is not a text"),
        ("x: &x {a: 1}\ny: {<<: *x, <<: *x}\n", "line 2, column 13: the key << stands twice"),
        ("a: [1, 2\nb: 3\n", r"line 2, column 2: .*; correct the YAML there"),
        ("a:\n\tb: 1\n", r"line 2, column 1: .*; correct the YAML there"),
        ("a: !!python/object:os.system {}\n", r"line 1, column 4: a tag \(!\) says nothing in a study; leave it out"),
        ('a: !!int "0x10"\n', "line 1, column 4: a tag"),
        ("a: ! 1\n", "line 1, column 4: a tag"),
        (r'a: "x\e[31m"', r"line 1, column 4: the text holds the control character U\+001B; take it out"),
        (r'"a\0": 1', r"line 1, column 1: the text holds the control character U\+0000"),
        ("a: x\u202ey", r"line 1, column 4: the text holds the control character U\+202E"),
        ("a: 1\n---\nb: 2\n", r"line 2, column 1: .*; correct the YAML there"),
        ("a: " + "1" * 5000, r"is not YAML \(.*\); correct it"),
        ("a: \x00", r"is not YAML|line 1"),
    ],
)
def test_what_cannot_be_meant_is_refused_with_its_place(text, sentence):
    with pytest.raises(StrictYamlError, match=sentence):
        parse(text)


LAUGHS = "a0: &a0 [x]\n" + "".join(f"a{n}: &a{n} [{', '.join([f'*a{n - 1}'] * 9)}]\n" for n in range(1, 10))
MERGED = "a0: &a0 {x: 1}\n" + "".join(f"a{n}: &a{n} {{<<: [{', '.join([f'*a{n - 1}'] * 9)}]}}\n" for n in range(1, 10))
CHAIN = "a0: &a0 [x]\n" + "".join(f"a{n}: &a{n} [*a{n - 1}]\n" for n in range(1, 2000))


@pytest.mark.parametrize(
    ("text", "sentence"),
    [
        ("[" * 100_000, "line 1, column 31: more than 30 blocks within blocks; a study has a few"),
        ("{a: " * 100_000, "more than 30 blocks"),
        ("- " * 100_000, "more than 30 blocks"),
        ("".join(" " * n + "a:\n" for n in range(1000)), "more than 30 blocks"),
        (CHAIN, "line 31, column 6: more than 30 blocks"),
        (LAUGHS, "more than 20000 values, with what aliases repeat; give a smaller study"),
        (MERGED, "more than 20000 values"),
        ("a: [" + "1," * 500_000 + "]", "more than 20000 values"),
        ("a: &a [1, *a]", "line 1, column 4: an alias stands within what it repeats; write it out"),
        ("a: &a {<<: *a}", "line 1, column 4: an alias stands within what it repeats"),
    ],
    ids=["lists", "maps", "dashes", "indents", "chain", "laughs", "merged", "long", "recursive", "recursive-merge"],
)
def test_what_is_too_large_to_be_built_is_refused_at_once(text, sentence):
    start = time.monotonic()
    with pytest.raises(StrictYamlError, match=sentence):
        parse(text)
    assert time.monotonic() - start < 2


def test_texts_of_any_script_are_taken():
    for text in ("名前", "Ünïcode e\u0301", "שלום", "👩‍🔬", "a\u00a0b"):
        assert parse(f"a: {text}") == {"a": text}
