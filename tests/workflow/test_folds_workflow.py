"""A study with outer folds as its users run it: Snakemake, on images of their own that belong to groups."""

import json

import numpy as np
import pandas as pd
import pyarrow.parquet as pq
import pytest
from PIL import Image
from test_workflow import make_project, planned, snakemake

FOLDED = {
    "datasets": {"mine": {"kind": "folder", "table": "images.csv", "classes": ["back", "front"], "split": {}}},
    "evaluation": {"folds": 3},
    "seeds": {"tuning": [0], "evaluation": [100]},
}
FOLDED["datasets"]["mine"]["split"] = {"rule": "group", "val": 0.25}


def write_images(folder):
    """Twelve images of six groups, the front brighter than the back."""
    random, rows = np.random.default_rng(0), []
    for number in range(12):
        mask = np.zeros((16, 16), np.uint8)
        mask[: 4 + number % 5, : 8 + number % 3] = 1
        pixels = np.clip(80 + 90 * mask[..., None] + random.normal(0, 20, (16, 16, 3)), 0, 255).astype(np.uint8)
        for kind, array in (("image", pixels), ("mask", mask)):
            Image.fromarray(array).save(folder / f"{kind}{number}.png")
        rows.append({"image": f"image{number}.png", "mask": f"mask{number}.png", "group": f"g{number // 2}"})
    pd.DataFrame(rows).to_csv(folder / "images.csv", index=False)
    return {row["image"]: row["group"] for row in rows}


@pytest.fixture(scope="module")
def folded(tmp_path_factory):
    folder = tmp_path_factory.mktemp("folds")
    groups = write_images(folder)
    make_project(folder, **FOLDED)
    before = planned(folder)
    snakemake(folder, "--cores", "2")
    return folder, groups, before


def test_each_fold_is_prepared_swept_selected_and_tested(folded):
    folder, _, before = folded
    assert before["prepare_dataset"] == 3
    assert before["select_lambda"] == 3 * 2
    assert before["train_paths"] == 3 * 2 * 2
    assert planned(folder) == {}
    chosen = {file.parent.parent.name for file in folder.glob("results/tiny/selection/*/convnet/l1.csv")}
    assert chosen == {"mine-fold0", "mine-fold1", "mine-fold2"}


def test_every_image_is_tested_once_and_groups_stay_together(folded):
    folder, groups, _ = folded
    test = pq.read_table(folder / "results/tiny/scores/final-test.parquet").to_pandas()
    assert set(test["dataset"]) == {"mine"}
    for _, rows in test.groupby("penalty"):
        assert sorted(rows["image"]) == sorted(groups)
        assert (rows.groupby(rows["image"].map(groups))["fold"].nunique() == 1).all()
    for file in folder.glob("data/prepared/mine-fold*/dataset.json"):
        parts = [set(names) for names in json.loads(file.read_text())["groups"].values()]
        assert sum(map(len, parts)) == len(set.union(*parts)) == 6


def test_the_report_is_of_the_whole_data_set(folded):
    results = folded[0] / "results" / "tiny"
    metrics = json.loads((results / "metrics.json").read_text())
    assert list(metrics["datasets"]) == ["mine"]
    assert "over 3 outer folds, each with a split" in (results / "report.html").read_text()
