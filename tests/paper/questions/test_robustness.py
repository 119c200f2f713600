import shutil

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq
import pytest
from measured import make_scores
from scipy.stats import ttest_rel

from softreg.files import read_json, write_json
from softreg.paper.questions import robustness
from softreg.paper.scores import Scores
from softreg.scoring import records
from softreg.study.cells import final_file

SHAPES = {"kind": "shapes", "size": [24, 32], "images": 30, "classes": 3, "split": {"val": 0.2, "test": 0.4}}
DATASETS = {"clean": SHAPES, "noisy": {**SHAPES, "label_noise": 0.3}}


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    seeds = {"tuning": [0], "evaluation": [*range(100, 106)]}
    folder = make_scores(tmp_path_factory.mktemp("study"), datasets=DATASETS, seeds=seeds).folder
    # The synthetic cells of the two data sets are the same: with noise, L1 gains one point, and three at odd seeds.
    rows = pq.read_table(file := final_file(folder, "noisy")).to_pylist()
    for row in rows:
        if row["penalty"] == "l1":
            row["tp"] = [hits + (6 if row["seed"] % 2 else 2) for hits in row["tp"]]
    records.write(pa.Table.from_pylist(rows, records.SCHEMA), file)
    return folder


@pytest.fixture(scope="module")
def scores(folder):
    return Scores(folder)


@pytest.fixture(scope="module")
def answer(scores):
    return robustness.answer(scores)


def row_of(answer, **names):
    rows = answer.numbers
    for name, value in names.items():
        rows = rows[rows[name] == value]
    (row,) = rows.to_dict("records")
    return row


def test_corruption_is_judged_by_the_score_that_is_left_not_by_what_is_lost(scores, answer):
    final = scores.sums[(scores.sums["phase"] == "final") & (scores.sums["dataset"] == "clean")]
    final = (
        final[final["split"] == "test"].set_index(["penalty", "corruption", "severity", "seed"])["miou"].sort_index()
        * 100
    )
    drops = {
        name: np.mean([final[name, "", 0] - final[name, "blur", severity] for severity in (1, 3, 5)], axis=0)
        for name in ("none", "l1")
    }
    left = {name: np.mean([final[name, "blur", severity] for severity in (1, 3, 5)], axis=0) for name in ("none", "l1")}
    place = {"dataset": "clean", "penalty": "l1"}
    for part, values in (("miou under corruption", left), ("drop under corruption", drops)):
        test = ttest_rel(values["l1"], values["none"])
        row = row_of(answer, part=part, quantity="blur", **place)
        interval = test.confidence_interval(0.95)
        expected = ((values["l1"] - values["none"]).mean(), interval.low, interval.high, test.pvalue)
        assert (row["mean"], row["low"], row["high"], row["p"]) == pytest.approx(expected)
    rows = {
        name: row_of(answer, part="miou under corruption", quantity=name, **place)
        for name in ("noise", "blur", robustness.ALL)
    }
    assert rows[robustness.ALL]["mean"] == pytest.approx((rows["noise"]["mean"] + rows["blur"]["mean"]) / 2)
    # L1's networks are better to begin with: they lose more, and have more left.
    assert row_of(answer, part="drop under corruption", quantity=robustness.ALL, **place)["mean"] > 0
    (verdict,) = [v for v in answer.verdicts if (v.dataset, v.subject) == ("clean", "l1, corruptions")]
    assert verdict.word == ("supported" if rows[robustness.ALL]["p_holm"] < 0.05 else "undecided")
    assert rows[robustness.ALL]["mean"] > 0
    assert "test images are held fixed" in verdict.sentence


def test_the_gain_under_label_noise_is_less_that_without(scores, answer):
    miou = scores.final_test.set_index(["dataset", "penalty", "seed"])["miou"] * 100
    gain = {name: miou[name, "l1"] - miou[name, "none"] for name in DATASETS}
    test = ttest_rel(gain["noisy"], gain["clean"])
    row = row_of(answer, part="label noise", penalty="l1")
    assert (row["mean"], row["p"]) == pytest.approx(((gain["noisy"] - gain["clean"]).mean(), test.pvalue))
    verdicts = {v.subject: v for v in answer.verdicts if "label noise" in v.subject}
    assert verdicts["l2, label noise"].word == "equivalent"
    assert "label noise 0.3 (noisy) in place of 0 (clean)" in verdicts["l1, label noise"].sentence


def test_calibration_is_paired_by_seed_and_adjusted_by_holm(scores, answer):
    ece = scores.final_test.set_index(["dataset", "penalty", "seed"])["ece"] * 100
    p = {name: ttest_rel(ece["clean", name], ece["clean", "none"]).pvalue for name in ("l1", "l2")}
    rows = {name: row_of(answer, part="calibration", dataset="clean", penalty=name, quantity="ece") for name in p}
    assert {name: row["p"] for name, row in rows.items()} == pytest.approx(p)
    low, high = sorted(p, key=p.get)
    assert rows[low]["p_holm"] == pytest.approx(min(1, 2 * p[low]))
    assert rows[high]["p_holm"] == pytest.approx(max(p[high], min(1, 2 * p[low])))


def test_calibration_is_equivalent_within_a_region_of_its_own(folder, tmp_path):
    shutil.copytree(folder, tmp_path, dirs_exist_ok=True)
    study = read_json(folder / "study.json")
    study["statistics"] |= {"rope_ece": 50.0, "rope_nll": None}
    write_json(tmp_path / "study.json", study)
    answer = robustness.answer(Scores(tmp_path))
    words = {(v.dataset, v.subject): v.word for v in answer.verdicts if v.subject.startswith(("ECE", "NLL"))}
    assert {word for (_, subject), word in words.items() if subject.startswith("ECE")} == {"equivalent"}
    assert "equivalent" not in {word for (_, subject), word in words.items() if subject.startswith("NLL")}
    numbers = answer.numbers[answer.numbers["part"] == "calibration"].set_index("quantity")["p_equivalence_holm"]
    assert numbers["nll"].isna().all()
    assert (numbers["ece"] < 0.05).all()


def test_worse_calibration_contradicts(folder, tmp_path):
    shutil.copytree(folder, tmp_path, dirs_exist_ok=True)
    rows = pq.read_table(folder / "sums.parquet").to_pylist()
    for row in rows:
        if row["penalty"] == "l1":
            row["nll_sum"] *= 3
    records.write(pa.Table.from_pylist(rows, records.SUMS), tmp_path / "sums.parquet", records.SUMS)
    answer = robustness.answer(Scores(tmp_path))
    words = {v.subject: v.word for v in answer.verdicts if v.dataset == "clean"}
    assert words["NLL with l1"] == "contradicted"
    assert words["NLL with l2"] != "contradicted"


def test_parts_that_the_study_lacks_are_told(tmp_path):
    folder = make_scores(tmp_path).folder
    table = pq.read_table(folder / "sums.parquet")
    records.write(table.filter(pc.field("corruption") == ""), folder / "sums.parquet", records.SUMS)
    answer = robustness.answer(Scores(folder))
    assert "corruptions: [noise, blur, contrast, jpeg]" in answer.summary
    assert "label_noise" in answer.summary
    assert list(answer.figures) == ["reliability"]
    assert set(answer.numbers["part"]) == {"calibration"}
