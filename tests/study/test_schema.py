from collections.abc import Iterator
from typing import Any

import pytest
from jsonschema import Draft202012Validator

from softreg.study.schema import Violation, dotted, filled, study_schema, validate


def _keys(schema: Any, where: str = "") -> Iterator[tuple[str, Any]]:
    """Each key that a study may set, with its part of the schema."""
    for name, part in schema.get("properties", {}).items():
        if part.keys() == {"$ref"}:
            # The key that it stands for is walked on its own.
            continue
        yield f"{where}{name}", part
        yield from _keys(part, f"{where}{name}.")
    for name, part in schema.get("$defs", {}).items():
        yield from _keys(part, f"{name}.")


FAMILIES = ("dataset", "model", "penalty")
KEYS = dict(_keys(study_schema()))


def test_the_schema_is_a_schema():
    Draft202012Validator.check_schema(study_schema())


def test_the_walk_reaches_every_depth():
    assert {"title", "training.objective.beta", "dataset_folder.split.rule", "penalty_l1.lambda"} <= set(KEYS)


def test_every_key_has_a_description_and_a_default():
    assert [key for key, part in KEYS.items() if not part.get("description", "").endswith(".")] == []
    assert [key for key, part in KEYS.items() if "default" not in part] == []


def test_every_default_is_one_that_the_schema_accepts():
    whole = Draft202012Validator(study_schema())
    own = {f"own_{family}.kind" for family in FAMILIES}
    required = {"datasets", "models", "penalties", "dataset_folder.classes"} | own
    refused = [key for key, part in KEYS.items() if not whole.evolve(schema=part).is_valid(part["default"])]
    assert set(refused) == required


def test_every_definition_is_a_kind_that_knows_its_name_and_nothing_else():
    for name, definition in study_schema()["$defs"].items():
        family, _, kind = name.partition("_")
        assert definition["additionalProperties"] is False
        if family in FAMILIES:
            assert definition["properties"]["kind"]["const"] == definition["properties"]["kind"]["default"] == kind
        else:
            assert name in {"update_rule", *(f"own_{family}" for family in FAMILIES)}


def test_what_a_penalty_may_change_of_a_training_is_held_to_the_trainings_own_rules():
    whole, rule = study_schema(), study_schema()["$defs"]["update_rule"]["properties"]
    training = whole["properties"]["training"]["properties"]
    # Of learning rates, a penalty may list several.
    single, several = rule["lr"]["anyOf"]
    bounds = {key: training["lr"][key] for key in ("type", "exclusiveMinimum", "maximum")}
    assert single == several["items"] == bounds
    others = rule.keys() - {"lr"}
    assert {key: rule[key] for key in others} == {
        key: {"$ref": f"#/properties/training/properties/{key}"} for key in others
    }
    assert rule.keys() < training.keys()
    # Nothing that says on what or towards what is trained; how long, checks alone may say.
    assert not rule.keys() & {"batch_size", "crop", "objective", "augmentation"}
    for name, definition in whole["$defs"].items():
        if name.startswith("penalty_"):
            assert definition["properties"]["training"]["$ref"] == "#/$defs/update_rule", name


def test_defaults_are_copies():
    schema = {"properties": {"a": {"default": [1]}, "b": {"default": {}, "properties": {"c": {"default": 2}}}}}
    first = filled({}, schema)
    first["a"].append(2)
    first["b"]["c"] = 3
    assert filled({}, schema) == {"a": [1], "b": {"c": 2}}
    assert filled({"b": {"c": 5}}, schema) == {"a": [1], "b": {"c": 5}}


def test_a_misspelled_key_is_told_before_what_it_leaves_missing():
    with pytest.raises(Violation, match=r'unknown key x\.clases; did you mean "classes" '):
        validate({"clases": ["a", "b"]}, study_schema()["$defs"]["dataset_folder"], ("x",))


def test_a_path_of_keys_and_indices():
    assert dotted(("penalties", "l1", "lambda", 2)) == "penalties.l1.lambda[2]"
