import random

import pytest

from softreg.data.base import PARTS, Sample
from softreg.data.split import assign, shuffled
from softreg.errors import UserError


def never_read():
    raise AssertionError("a split needs no pixels")


def samples(count=100, split=lambda i: None, group=lambda i: None):
    return [Sample(f"im{i:03d}", (4, 4), never_read, split(i), group(i)) for i in range(count)]


def rule(name, **given):
    return {"rule": name, "val": 0.15, "test": 0.15, "seed": 0, "column": "group", "fold": None} | given


def ids(parts):
    return {part: [sample.id for sample in members] for part, members in parts.items()}


def test_a_list_may_spell_an_id_otherwise(tmp_path):
    named = [Sample(f"images/\u00e9{i}", (4, 4), never_read) for i in range(3)]
    lists = {}
    for part, line in zip(PARTS, ("./images/\u00e90", "images//e\u03011", "images/\u00e92"), strict=True):
        lists[f"{part}_list"] = str(tmp_path / part)
        (tmp_path / part).write_text(line, encoding="utf-8")
    parts, _ = assign("d", named, rule("list", **lists))
    assert ids(parts) == {part: [f"images/\u00e9{i}"] for i, part in enumerate(PARTS)}


def test_fraction_shares_and_disjoint():
    parts, words = assign("d", samples(), rule("fraction", val=0.2, test=0.1))
    assert {part: len(members) for part, members in parts.items()} == {"train": 70, "val": 20, "test": 10}
    assert sorted(id_ for members in ids(parts).values() for id_ in members) == [f"im{i:03d}" for i in range(100)]
    assert "0.2" in words
    assert "seed 0" in words


def test_fraction_depends_on_the_seed_and_not_on_the_order():
    parts, _ = assign("d", samples(), rule("fraction"))
    mixed = samples()
    random.Random(1).shuffle(mixed)
    again, _ = assign("d", mixed, rule("fraction"))
    other, _ = assign("d", samples(), rule("fraction", seed=1))
    assert {part: set(members) for part, members in ids(parts).items()} == {
        part: set(members) for part, members in ids(again).items()
    }
    assert set(ids(parts)["test"]) != set(ids(other)["test"])


def test_the_order_is_fixed_for_all_time():
    # printf 7:a | sha256sum begins 82d9, that of 7:b ec2a, that of 7:c 18ec.
    assert shuffled(["a", "b", "c"], 7) == ["c", "a", "b"]


def test_official_as_published():
    parts, words = assign("d", samples(6, split=lambda i: PARTS[i % 3]), rule("official"))
    assert ids(parts) == {"train": ["im000", "im003"], "val": ["im001", "im004"], "test": ["im002", "im005"]}
    assert words == "official"


def test_official_without_val_cuts_it_out_of_train():
    parts, words = assign("d", samples(100, split=lambda i: "test" if i < 40 else "train"), rule("official"))
    assert {part: len(members) for part, members in parts.items()} == {"train": 51, "val": 9, "test": 40}
    assert all(id_ >= "im040" for id_ in ids(parts)["train"] + ids(parts)["val"])
    assert "val is a share of 0.15" in words


def test_official_needs_a_published_split():
    with pytest.raises(UserError, match=r"`datasets\.d\.split\.rule` is 'official'.*no published split"):
        assign("d", samples(), rule("official"))
    with pytest.raises(UserError, match="no split for the image im001"):
        assign("d", samples(3, split=lambda i: None if i == 1 else "train"), rule("official"))


def lists(folder, **lines):
    for part, text in lines.items():
        (folder / f"{part}.txt").write_text(text)
    return rule("list", **{f"{part}_list": str(folder / f"{part}.txt") for part in PARTS})


def test_list(tmp_path):
    split = lists(tmp_path, train="im003\n\nim001 \n", val="im000\n", test="im002\n")
    parts, _ = assign("d", samples(6), split)
    assert ids(parts) == {"train": ["im001", "im003"], "val": ["im000"], "test": ["im002"]}


@pytest.mark.parametrize(
    ("val", "message"),
    [
        ("im099", r"val\.txt names 'im099', which is no image of d \(an id looks like 'im000'\)"),
        ("im001", r"val\.txt names 'im001', which is already in train"),
        ("", "leaves no image of 6 for val"),
    ],
)
def test_list_refuses(tmp_path, val, message):
    with pytest.raises(UserError, match=message):
        assign("d", samples(6), lists(tmp_path, train="im001\n", val=val, test="im002\n"))


def test_list_file_that_is_gone(tmp_path):
    split = lists(tmp_path, train="im001\n", val="im003", test="im002\n")
    (tmp_path / "test.txt").unlink()
    with pytest.raises(UserError, match=r"test\.txt cannot be read"):
        assign("d", samples(6), split)


@pytest.mark.parametrize("seed", range(5))
def test_group_keeps_groups_whole_and_shares_near(seed):
    members = samples(200, group=lambda i: f"patient{i * i % 37}")
    parts, _ = assign("d", members, rule("group", seed=seed))
    groups = [{sample.group for sample in part} for part in parts.values()]
    assert sum(map(len, groups)) == len(set().union(*groups)) == len({sample.group for sample in members})
    assert sum(map(len, parts.values())) == 200
    # No group has more than 11 images, and a part need not be farther from its target than half of one.
    assert [len(parts[part]) for part in PARTS] == [
        pytest.approx(140, abs=6),
        *[pytest.approx(30, abs=6)] * 2,
    ]


def test_group_finds_the_best_of_few_unequal_groups():
    # Sizes 70, 14, 16: only one way to meet 70 / 15 / 15 within 1 image.
    members = samples(100, group=lambda i: "big" if i < 70 else "one" if i < 84 else "two")
    parts, _ = assign("d", members, rule("group"))
    assert {sample.group for sample in parts["train"]} == {"big"}


def test_group_seeds_differ():
    members = samples(200, group=lambda i: f"patient{i % 40}")
    tests = {frozenset(s.group for s in assign("d", members, rule("group", seed=k))[0]["test"]) for k in range(4)}
    assert len(tests) > 1


def test_group_refuses():
    with pytest.raises(UserError, match="im001 has no group"):
        assign("d", samples(3, group=lambda i: None if i == 1 else "a"), rule("group"))
    with pytest.raises(UserError, match="needs three groups: there are 2"):
        assign("d", samples(6, group=lambda i: "ab"[i % 2]), rule("group"))


def test_an_empty_part_is_refused():
    with pytest.raises(UserError, match=r"`datasets\.d\.split` .* leaves no image of 3 for val"):
        assign("d", samples(3), rule("fraction", val=0.1, test=0.4))


def outer(of, samples_, **given):
    """The test part of each of so many outer folds, and the parts of the last one."""
    every = [assign("d", samples_, rule(fold=[fold, of], **given))[0] for fold in range(of)]
    return [ids(parts)["test"] for parts in every], [ids(parts) for parts in every]


def test_each_image_is_in_the_test_part_of_one_outer_fold():
    tests, folds = outer(5, samples(103), name="fraction", val=0.2)
    assert sorted(id_ for test in tests for id_ in test) == [f"im{i:03d}" for i in range(103)]
    assert sorted(map(len, tests)) == [20, 20, 21, 21, 21]
    for parts in folds:
        assert len(parts["val"]) == 21
        assert sorted(id_ for members in parts.values() for id_ in members) == [f"im{i:03d}" for i in range(103)]


def test_outer_folds_are_other_ones_with_another_seed_and_another_number():
    tests, _ = outer(5, samples(), name="fraction")
    again, _ = outer(5, samples()[::-1], name="fraction")
    assert [set(test) for test in tests] == [set(test) for test in again]
    assert set(tests[0]) not in [set(test) for test in outer(5, samples(), name="fraction", seed=1)[0]]


def test_outer_folds_keep_groups_together():
    tests, folds = outer(4, samples(100, group=lambda i: f"g{i % 13}"), name="group", val=0.2)
    group_of = {f"im{i:03d}": i % 13 for i in range(100)}
    for parts in folds:
        assert parts["val"]
        seen = [{group_of[id_] for id_ in members} for members in parts.values()]
        assert sum(map(len, seen)) == len(set.union(*seen)) == 13
    # 13 groups of 7 or 8 images in 4 folds: one has a group more.
    sizes = sorted(map(len, tests))
    assert sum(sizes) == 100
    assert sizes[2] - sizes[0] <= 2 < sizes[3] - sizes[2] <= 8


def test_too_few_groups_for_the_outer_folds():
    with pytest.raises(UserError, match="has 4 groups, which stay together: 5 outer folds need at least 5"):
        assign("d", samples(group=lambda i: f"g{i % 4}"), rule("group", fold=[0, 5]))
    with pytest.raises(UserError, match="2 outer folds need at least 3"):
        assign("d", samples(2), rule("fraction", fold=[0, 2]))


@pytest.mark.parametrize("name", ["a\nb", "a\x1b[31mb", "\udcff", "a\u202eb"])
def test_names_with_control_characters_are_refused(name):
    named = [*samples(), Sample(name, (4, 4), never_read), Sample("fine é 名", (4, 4), never_read, None, name)]
    with pytest.raises(UserError, match=r"^the image or group .* of d has a control character; rename it$"):
        assign("d", named, rule("fraction"))
