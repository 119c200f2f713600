import math

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
        ("yes: 1\n", "line 1, column 1: the key yes is not a text; put it in quotes"),
        ("1: 1\n", "line 1, column 1: the key 1 is not a text"),
        ("a: [1, 2\nb: 3\n", r"line 2, column 2: .*; correct the YAML there"),
        ("a:\n\tb: 1\n", r"line 2, column 1: .*; correct the YAML there"),
        ("a: !!python/object:os.system {}\n", r"line 1, column 4: .*; correct the YAML there"),
        ("a: 1\n---\nb: 2\n", r"line 2, column 1: .*; correct the YAML there"),
        ("a: " + "1" * 5000, r"is not YAML \(.*\); correct it"),
        ("a: \x00", r"is not YAML|line 1"),
    ],
)
def test_what_cannot_be_meant_is_refused_with_its_place(text, sentence):
    with pytest.raises(StrictYamlError, match=sentence):
        parse(text)
