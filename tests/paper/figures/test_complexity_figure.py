import measured
import numpy as np
import overlap
import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from scipy.stats import ttest_rel

from softreg.paper.figures import complexity, style, write_module
from softreg.paper.figures.style import Absent
from softreg.paper.scores import Scores
from softreg.scoring.gather import IMAGES

SHAPES = {"kind": "shapes", "size": [24, 32], "images": 30, "classes": 3, "split": {"val": 0.2, "test": 0.4}}
DATASETS = {"many": {**SHAPES, "objects": 9}, "few": {**SHAPES, "objects": 2}}


def gathered(root, images=18, **changes):
    folder = measured.make_scores(root, images=images, **changes).folder
    frame = pq.read_table(folder / "images.parquet").to_pandas()
    middle = frame["dataset"].map({"many": 0.05}).fillna(0.01)
    frame["boundary_density"] = middle * np.random.default_rng(0).uniform(0.5, 1.5, len(frame))
    pq.write_table(pa.Table.from_pandas(frame, IMAGES, preserve_index=False), folder / "images.parquet")
    return Scores(folder)


@pytest.fixture(scope="module")
def scores(tmp_path_factory):
    return gathered(tmp_path_factory.mktemp("shapes"), datasets=DATASETS)


@pytest.fixture(scope="module")
def drawn(scores, tmp_path_factory):
    folder = tmp_path_factory.mktemp("figures")
    return folder, write_module(complexity, scores, folder)


def test_there_is_a_figure_a_model_and_one_a_data_set(drawn):
    folder, entries = drawn
    names = ["complexity-convnet", "complexity_images-many", "complexity_images-few"]
    assert [entry.name for entry in entries] == names
    expected = {f"{name}.{ending}" for name in names for ending in ("pdf", "svg", "png", "csv")}
    assert {file.name for file in folder.iterdir()} == expected


def test_changes_are_paired_by_seed(scores, drawn):
    folder, entries = drawn
    points = pd.read_csv(folder / "complexity-convnet.csv").set_index(["quantity", "dataset", "penalty"])
    final = scores.sums.query("phase == 'final' and corruption == '' and dataset == 'many'")
    miou = 100 * final.pivot(index="seed", columns=["penalty", "split"], values="miou")
    gap = {name: miou[name, "train"] - miou[name, "test"] for name in ("none", "l1")}
    assert points.loc[("gap", "many", "none"), "mean"] == pytest.approx(gap["none"].mean())
    interval = ttest_rel(gap["l1"], gap["none"]).confidence_interval(0.95)
    row = points.loc[("change of gap", "many", "l1")]
    assert (row["low"], row["high"]) == pytest.approx((interval.low, interval.high))
    assert ("change of gap", "many", "none") not in points.index
    assert "n = 3" in entries[0].caption
    assert entries[0].caption.index("few") < entries[0].caption.index("many")


def test_images_are_said_to_show_an_association(drawn):
    assert all("association" in entry.caption for entry in drawn[1][1:])
    assert "(6 each)" in drawn[1][1].caption


def test_many_penalties_models_and_one_seed_fit_without_overlap(tmp_path):
    kinds = ["l1", "l2", "soft", "elastic_net", "smooth_l1", "berhu", "a-rather-long-penalty-name"]
    penalties = {"none": {}, **{name: {"kind": name if "-" not in name else "l2", "lambda": [1e-4]} for name in kinds}}
    models = {f"a-rather-long-name-{place}": {"kind": "convnet"} for place in range(2)}
    changes = {"penalties": penalties, "models": models, "seeds": {"tuning": [0], "evaluation": [100]}}
    scores = gathered(tmp_path, datasets=DATASETS, **changes)
    with overlap.drawn() as figures:
        entries = write_module(complexity, scores, tmp_path)
        assert [fault for figure in figures for fault in overlap.faults(figure)] == []
        assert all(figure.get_size_inches()[1] <= style.TALL for figure in figures)
    assert len(entries) == 4
    assert "Without bars" in entries[0].caption
    assert "One seed, or images of one group alone, give no interval" in entries[-1].caption


@pytest.mark.parametrize("images", [3, 12])
def test_what_the_study_lacks_is_named(tmp_path, images):
    """Of twelve images there are two bins, which make no curve."""
    entries = write_module(complexity, gathered(tmp_path, images=images), tmp_path)
    assert [type(entry) for entry in entries] == [Absent, Absent]
    assert "two of `kind: shapes`" in entries[0].reason
    assert "fewer than fifteen" in entries[1].reason
