"""Two versions of a synthetic study: what differs is told, with intervals that other means confirm."""

import shutil

import numpy as np
import pandas as pd
import pyarrow.parquet as pq
import pytest
from measured import make_scores
from scipy.stats import ttest_ind

from softreg.errors import UserError
from softreg.files import read_json, write_json
from softreg.paper.diff import diff, differences, open_scores
from softreg.scoring import records
from softreg.study.cells import final_file


def version(root, **changes):
    return make_scores(root, **changes).folder.parent


def retrained(results, penalty, change):
    """The final networks of a penalty trained anew: other weights, ``change`` more right pixels in each class."""
    cells = results / "scores" / "cells.parquet"
    table = pq.read_table(cells).to_pandas()
    mine = (table["phase"] == "final") & (table["penalty"] == penalty)
    table.loc[mine, "weights_sha256"] = "1" * 64
    table.to_parquet(cells)
    rows = pq.read_table(final_file(results / "scores", "brain")).to_pylist()
    for row in rows:
        if row["penalty"] == penalty:
            row["tp"] = [value + change for value in row["tp"]]
            row["fn"] = [value - change for value in row["fn"]]
    import pyarrow as pa

    records.write(pa.Table.from_pylist(rows, schema=records.SCHEMA), final_file(results / "scores", "brain"))


def test_a_study_does_not_differ_from_itself(tmp_path):
    results = version(tmp_path / "a")
    text = diff(results, results / "scores")
    assert "The studies ask for the same." in text
    assert text.count("the same networks") == 3
    assert text.count("+0.00") == 9


def test_a_change_is_paired_by_seed_and_image(tmp_path):
    a = version(tmp_path / "a")
    b = shutil.copytree(a, tmp_path / "b")
    retrained(b, "l1", 5)
    frame = differences(open_scores(a), open_scores(b)).set_index("penalty")
    assert frame.loc["none", "pairing"] == "the same networks"
    assert frame.loc["l1", "pairing"] == "paired by 3 seeds and 6 images"
    tests = [open_scores(side).final_test.query("penalty == 'l1'")["miou"].mean() for side in (a, b)]
    assert frame.loc["l1", "difference"] == pytest.approx(100 * (tests[1] - tests[0]))
    assert 0 < frame.loc["l1", "low"] < frame.loc["l1", "difference"] < frame.loc["l1", "high"]
    assert "| l1 | 1e-4 | 1e-4 |" in diff(a, b)
    assert diff(a, b).count("higher") == 1


def test_other_seeds_are_compared_by_welch(tmp_path):
    a = version(tmp_path / "a")
    b = version(tmp_path / "b", seeds={"tuning": [0, 1], "evaluation": [200, 201, 202, 203]})
    frame = differences(open_scores(a), open_scores(b)).set_index("penalty")
    samples = [100 * open_scores(side).final_test.query("penalty == 'l2'")["miou"] for side in (a, b)]
    interval = ttest_ind(samples[1], samples[0], equal_var=False).confidence_interval()
    assert frame.loc["l2", ["low", "high"]].tolist() == pytest.approx([interval.low, interval.high])
    assert frame.loc["l2", "pairing"] == "unpaired, 3 and 4 seeds"
    assert "- seeds.evaluation: [100, 101, 102] → [200, 201, 202, 203]" in diff(a, b)


def test_changed_data_are_told_and_nothing_is_paired(tmp_path):
    a = version(tmp_path / "a")
    b = shutil.copytree(a, tmp_path / "b")
    about = read_json(b / "scores" / "datasets.json")
    about["brain"]["content_digest"] = "1" * 64
    write_json(b / "scores" / "datasets.json", about)
    assert "The images or masks of brain changed" in diff(a, b)
    assert set(differences(open_scores(a), open_scores(b))["pairing"]) == {"unpaired, 3 and 3 seeds"}


def test_penalties_of_one_version_alone_are_told(tmp_path):
    a = version(tmp_path / "a")
    b = version(tmp_path / "b", penalties={"none": {}, "l2": {"lambda": [1e-4]}})
    text = diff(a, b)
    assert "- penalties.l1.kind: l1 → not there" in text
    assert "- penalties.l2.lambda: ['1e-5', '1e-4', '1e-3'] → ['1e-4']" in text
    assert set(differences(open_scores(a), open_scores(b))["penalty"]) == {"none", "l2"}


def test_one_seed_has_no_interval(tmp_path):
    a = version(tmp_path / "a", seeds={"tuning": [0], "evaluation": [100]})
    b = version(tmp_path / "b", seeds={"tuning": [0], "evaluation": [101]})
    frame = differences(open_scores(a), open_scores(b))
    assert np.isnan(frame["low"]).all()
    assert pd.notna(frame["difference"]).all()
    assert "not known: one seed" in diff(a, b)


def test_a_folder_that_is_not_there_is_named(tmp_path):
    with pytest.raises(UserError, match="no such folder; give the results"):
        diff(tmp_path / "nowhere", tmp_path)
