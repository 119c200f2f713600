"""Scores of parts, merged, are those of the whole study; what does not fit together is refused."""

import json
import shutil
from dataclasses import replace
from pathlib import Path

import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import synthetic

from softreg import cli
from softreg.errors import UserError
from softreg.files import write_json
from softreg.paper import tables
from softreg.paper.figures import gallery
from softreg.paper.questions import gain
from softreg.paper.report import coverage, headline
from softreg.paper.scores import Scores
from softreg.scoring import records
from softreg.scoring.gather import gather
from softreg.scoring.merge import merge
from softreg.study.cells import final_file
from softreg.study.config import load_study

FOLDED = {
    "datasets": {"cells": {"kind": "wbc"}},
    "models": {"a": {"kind": "convnet"}},
    "penalties": {"none": {}, "l1": {"lambda": [1e-5, 1e-4]}},
    "seeds": {"tuning": [0], "evaluation": [100, 101]},
    "evaluation": {"folds": 3, "corruptions": ["noise", "blur"]},
}


def gathered(study, root):
    synthetic.make_results(study, root)
    results = gather(study, root / "results", root / "data").parent
    # As with real data: the digest of what is prepared is of a split, so it is another for each fold.
    fold = pq.read_table(results / "scores" / "cells.parquet")["fold"].to_pylist()
    edit(
        results,
        "datasets.json",
        lambda datasets: [each.update(content_digest=f"{name}, {min(fold)}") for name, each in datasets.items()],
    )
    return results


def edit(results, name, change):
    file = results / "scores" / name
    value = json.loads(file.read_text())
    change(value)
    write_json(file, value)


@pytest.fixture(scope="module")
def made(tmp_path_factory):
    """A study with three outer folds, gathered whole, and in two parts."""
    root = tmp_path_factory.mktemp("made")
    whole = synthetic.make_study(root, name="whole", **FOLDED)
    gathered(whole, root)
    for part in (1, 2):
        gathered(load_study(Path(f"{whole.file}:{part}/2")), root)
    return root / "results"


@pytest.fixture
def parts(made, tmp_path):
    """The whole, and its two parts, to be changed at will."""
    names = ("whole", "whole-part-1-of-2", "whole-part-2-of-2")
    for name in names:
        shutil.copytree(made / name / "scores", tmp_path / "made" / name / "scores")
    whole, *halves = (tmp_path / "made" / name for name in names)
    return whole, halves


def test_merged_parts_are_the_whole_study(parts, tmp_path):
    whole, halves = parts
    merged = merge(halves, tmp_path / "whole")
    for name in ("sums", "cells", "layers", "histories", "images"):
        tables = [pq.read_table(folder / f"{name}.parquet") for folder in (merged, whole / "scores")]
        assert tables[0].equals(tables[1]), name
    for name in ("selection.csv", "study.json", "datasets.json"):
        assert (merged / name).read_text() == (whole / "scores" / name).read_text(), name
    tests = [records.read([final_file(folder, "cells")], records.SCORED) for folder in (merged, whole / "scores")]
    assert tests[0].equals(tests[1])
    pd.testing.assert_frame_equal(gain.contrasts(Scores(merged)), gain.contrasts(Scores(whole / "scores")))


def test_in_any_order_and_in_this_folder_parts_tell_the_same(parts, tmp_path, monkeypatch):
    whole, (first, second) = parts
    (tmp_path / "whole").mkdir()
    monkeypatch.chdir(tmp_path / "whole")
    merged = merge([second, first], Path())
    assert json.loads((merged / "study.json").read_text())["name"] == "whole"
    assert (merged / "datasets.json").read_text() == (whole / "scores" / "datasets.json").read_text()


def test_examples_of_parts_are_the_nearest_to_those_of_the_whole_study(parts, tmp_path):
    _, halves = parts
    merged = merge(halves, tmp_path / "whole")
    kept = pq.read_table(merged / "examples.parquet").to_pandas()
    test = pq.read_table(final_file(merged, "cells")).to_pandas()
    assert list(kept["percentile"]) == [10, 50, 90]
    predicted = test[test["prediction"].notna()]
    assert set(predicted["image"]) == set(kept["image"])
    assert len(predicted) == len(kept) * len(test[["penalty", "seed"]].drop_duplicates())


def test_a_part_has_some_of_the_folds_and_keys_of_the_whole(parts):
    _, (first, second) = parts
    assert (first.name, second.name) == ("whole-part-1-of-2", "whole-part-2-of-2")
    folds = [set(pq.read_table(half / "scores" / "cells.parquet")["fold"].to_pylist()) for half in (first, second)]
    assert folds == [{0, 1}, {2}]


def test_blocks_of_other_data_sets_and_models_are_joined(tmp_path):
    blocks = []
    for place, (dataset, model) in enumerate((("cells", "a"), ("cells", "b"), ("others", "a"))):
        sections = FOLDED | {"datasets": {dataset: {"kind": "wbc"}}, "models": {model: {"kind": "convnet"}}}
        study = synthetic.make_study(tmp_path, name=f"block{place}", **sections)
        blocks.append(gathered(study, tmp_path / str(place)))
    scores = Scores(merge(blocks, tmp_path / "all"))
    assert scores.study["name"] == "all"
    # No study asked for the other data set with b.
    assert len(headline.headline(scores).split(". ")) == 1
    asked = {("cells", "a"), ("cells", "b"), ("others", "a")}
    assert {*tables.main_frame(scores)[["dataset", "model"]].itertuples(index=False, name=None)} == asked
    assert {place for phase in coverage.phases(scores) for place, _ in phase["rows"]} == asked
    apart = pd.concat([gain.contrasts(Scores(block / "scores")) for block in blocks], ignore_index=True)
    keys = ["dataset", "model", "penalty"]
    together = gain.contrasts(scores).set_index(keys).sort_index()
    pd.testing.assert_frame_equal(together, apart.set_index(keys).sort_index())
    assert set(zip(scores.examples["dataset"].to_pylist(), scores.examples["percentile"].to_pylist(), strict=True)) == {
        (dataset, percentile) for dataset in ("cells", "others") for percentile in (10, 50, 90)
    }


def test_each_test_image_counts_once_though_two_models_were_cut_into_other_parts(tmp_path):
    found = []
    for model, parts in (("a", 2), ("b", 3)):
        sections = FOLDED | {"models": {model: {"kind": "convnet"}}, "evaluation": {"folds": 5}}
        study = synthetic.make_study(tmp_path, name=f"of-{model}", **sections)
        found += [gathered(load_study(Path(f"{study.file}:{part + 1}/{parts}")), tmp_path) for part in range(parts)]
    merged = merge(found, tmp_path / "all")
    images = pq.read_table(merged / "images.parquet").to_pandas()
    assert not images.duplicated(["dataset", "split", "image"]).any()
    (about,) = json.loads((merged / "datasets.json").read_text()).values()
    apart = [json.loads((part / "scores" / "datasets.json").read_text())["cells"] for part in found[:2]]
    for key in ("images", "groups"):
        assert about[key]["test"] == sum(each[key]["test"] for each in apart)
    assert about["images"]["test"] > 0


def test_a_gallery_shows_the_examples_of_its_model_alone(parts, tmp_path):
    scores = Scores(merge(parts[1], tmp_path / "whole"))
    other = scores.examples.to_pylist()[0] | {"image": "of another model"}
    table = pa.Table.from_pylist([other], scores.examples.schema)
    vars(scores)["examples"] = pa.concat_tables([scores.examples, table])
    (page,) = gallery._pages(scores, scores.predictions(), "cells", "a", "a")
    assert sorted(set(page.numbers["percentile"])) == [10, 50, 90]
    assert page.alt.startswith("3 test images (percentiles 10, 50, 90)")


def other_lr(study):
    study["training"]["lr"] = 0.5


def other_lambda(study):
    study["penalties"]["l1"]["lambda"].append("1")


def on_a_gpu(study):
    study["resources"]["gpu"] = 1


def lacking(study):
    del study["statistics"]


def other_classes(datasets):
    datasets["cells"]["classes"].reverse()


def partial(provenance):
    provenance["partial"] = True


def other_version(provenance):
    provenance["softreg"] = "0.0.1"


@pytest.mark.parametrize(
    ("name", "change", "told"),
    [
        ("study.json", other_lr, r"training\.lr is 0\.5, and 0\.1 in"),
        ("study.json", other_lambda, r"penalties\.l1\.lambda is "),
        ("study.json", on_a_gpu, r"resources\.gpu is 1, and 0 in"),
        ("study.json", lacking, r"statistics is null, and "),
        ("datasets.json", other_classes, "cells is not the data set of .*: classes differs"),
        ("provenance.json", partial, "scores is partial; finish the study first"),
        ("provenance.json", other_version, r"gathered by softreg 0\.0\.1"),
    ],
)
def test_what_does_not_fit_together_is_refused(parts, tmp_path, name, change, told):
    first, second = parts[1]
    edit(second, name, change)
    with pytest.raises(UserError, match=told):
        merge([first, second], tmp_path / "whole")
    assert not (tmp_path / "whole").exists()


@pytest.mark.parametrize("place", ["first", "others"])
def test_each_two_folders_are_compared_and_of_one_fold_the_content_too(parts, tmp_path, place):
    """The third folder has the second one's data set under another content."""
    study = synthetic.make_study(tmp_path, name="elsewhere", **FOLDED | {"datasets": {"elsewhere": {"kind": "wbc"}}})
    alone = [gathered(study, tmp_path)] if place == "others" else []
    whole = parts[0]
    edit(whole, "datasets.json", lambda datasets: datasets["cells"].update(content_digest="1" * 64))
    with pytest.raises(UserError, match=r"cells is not the data set of .*: content_digest of fold 0 differs"):
        merge([*alone, parts[1][0], whole], tmp_path / "merged")


def test_an_image_that_two_folds_test_and_columns_of_another_version_are_refused(parts, tmp_path):
    _, (first, second) = parts
    file = final_file(second / "scores", "cells")
    kept = pq.read_table(file)
    names = pa.array([name.replace("fold2", "fold1") for name in kept["image"].to_pylist()])
    pq.write_table(kept.set_column(kept.column_names.index("image"), "image", names), file)
    with pytest.raises(UserError, match="cells: test000-fold1 is tested in two folds"):
        merge([first, second], tmp_path / "merged")
    pq.write_table(kept, file)
    table = second / "scores" / "selection.csv"
    table.write_text(table.read_text().replace("val_miou_points", "val_miou"))
    with pytest.raises(UserError, match=r"selection\.csv has other columns than in "):
        merge([first, second], tmp_path / "merged")


def test_a_data_set_under_another_name_is_refused(tmp_path):
    blocks = []
    for dataset in ("cells", "others"):
        study = synthetic.make_study(tmp_path, name=dataset, **FOLDED | {"datasets": {dataset: {"kind": "wbc"}}})
        blocks.append(gathered(study, tmp_path))
    edit(blocks[1], "datasets.json", lambda datasets: datasets["others"].update(content_digest="cells, 0"))
    told = f"{blocks[1] / 'scores'}: others is cells of {blocks[0] / 'scores'} under another name: call it cells"
    with pytest.raises(UserError) as refused:
        merge(blocks, tmp_path / "all")
    assert str(refused.value) == told


@pytest.mark.parametrize("name", ["timings.csv", "histories.parquet"])
def test_a_lacking_file_is_named_and_nothing_is_left_behind(parts, tmp_path, name):
    _, halves = parts
    whole = (halves[1] / "scores" / name).read_bytes()
    (halves[1] / "scores" / name).unlink()
    with pytest.raises(UserError, match=f"{name} is missing"):
        merge(halves, tmp_path / "whole")
    assert not list(tmp_path.glob("whole/*"))
    (halves[1] / "scores" / name).write_bytes(whole)
    merge(halves, tmp_path / "whole")
    assert [file.name for file in (tmp_path / "whole").iterdir()] == ["scores"]


def test_a_part_twice_or_lacking_is_refused(parts, tmp_path, capsys):
    _, (first, second) = parts
    with pytest.raises(UserError, match="sweep cells/a/none seed 0 is in two of the folders; name each part once"):
        merge([first, second, second], tmp_path / "whole")
    with pytest.raises(UserError, match="no folder holds fold 2 of cells and a; name all parts"):
        merge([first], tmp_path / "whole")
    assert "not among the folders: whole-part-2-of-2\n" in capsys.readouterr().err
    assert cli.main(["merge", str(first), str(tmp_path), "--to", str(tmp_path / "whole")]) == 2
    assert "holds no scores/study.json" in capsys.readouterr().err
    assert cli.main(["merge", str(first), str(tmp_path / "nowhere"), "--to", str(tmp_path / "whole")]) == 2
    assert f"{tmp_path / 'nowhere'} is missing; give" in capsys.readouterr().err


def test_parts_that_are_not_here_and_other_commits_are_told(parts, tmp_path, capsys):
    whole, (first, second) = parts
    edit(second, "provenance.json", lambda told: told["cells"].update(commit={"b" * 40: 1, "c" * 40: 2}))
    edit(first, "provenance.json", lambda told: told["cells"].update(commit={"c" * 40: 2}))
    merge([first, second], tmp_path / "both")
    assert capsys.readouterr().err == (
        f"softreg: trained by other commits, which may train otherwise: {first} by cccccccccccc and {second} by "
        "bbbbbbbbbbbb, cccccccccccc\n"
    )
    edit(whole, "study.json", lambda study: study.update(name="all-part-2-of-4"))
    merge([whole], tmp_path / "one")
    told = "all-part-1-of-4, all-part-3-of-4, all-part-4-of-4"
    assert capsys.readouterr().err == f"softreg: not among the folders: {told}\n"


def test_scores_that_are_there_are_not_written_over(parts, tmp_path, capsys):
    whole, halves = parts
    before = {file: file.read_bytes() for file in (whole / "scores").iterdir()}
    assert cli.main(["merge", *map(str, halves), "--to", str(whole)]) == 2
    assert "is there already: name another folder" in capsys.readouterr().err
    assert before == {file: file.read_bytes() for file in (whole / "scores").iterdir()}


@pytest.mark.parametrize(
    ("part", "told"),
    [
        ("0/3", "give 1/3 to 3/3"),
        ("4/3", "give 1/3 to 3/3"),
        ("1/4", "this one has 3; give 1/3 to 3/3, or fewer parts"),
    ],
)
def test_a_part_that_is_none_is_refused(tmp_path, part, told):
    study = synthetic.make_study(tmp_path, name="whole", **FOLDED)
    with pytest.raises(UserError, match=told):
        load_study(Path(f"{study.file}:{part}"))


def test_parts_have_each_data_set_once(tmp_path):
    sections = FOLDED | {"evaluation": {"folds": 7}}
    study = synthetic.make_study(tmp_path, name="whole", **sections)
    for of in range(1, 8):
        names = [list(load_study(Path(f"{study.file}:{part}/{of}")).datasets) for part in range(1, of + 1)]
        assert [name for each in names for name in each] == list(study.datasets)
        assert max(map(len, names)) - min(map(len, names)) <= 1
    whole = replace(load_study(Path(f"{study.file}:1/1")), name="whole", file=study.file)
    assert whole == study
