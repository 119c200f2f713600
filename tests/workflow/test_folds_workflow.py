"""A study with outer folds as its users run it: Snakemake, on images of their own that belong to groups."""

import json

import numpy as np
import pandas as pd
import pyarrow.parquet as pq
from PIL import Image
from test_workflow import make_project, planned, snakemake

FOLDED = {
    "datasets": {"mine": {"kind": "folder", "table": "images.csv", "classes": ["back", "front"], "split": {}}},
    "evaluation": {"folds": 2},
    "seeds": {"tuning": [0], "evaluation": [100, 101]},
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


def test_each_fold_is_swept_selected_and_tested_and_the_report_is_of_the_whole_data_set(tmp_path):
    groups = write_images(tmp_path)
    make_project(tmp_path, **FOLDED)
    before = planned(tmp_path)
    assert before["prepare_dataset"] == 2
    assert before["select_lambda"] == 2 * 2
    assert before["train_paths"] == 2 * 2 * (1 + 2)
    snakemake(tmp_path, "--cores", "2")
    assert planned(tmp_path) == {}
    results = tmp_path / "results" / "tiny"
    chosen = {file.parent.parent.name for file in results.glob("selection/*/convnet/l1.csv")}
    assert chosen == {"mine-fold0", "mine-fold1"}

    # Every image is tested once, and groups stay together.
    test = pq.read_table(results / "scores" / "final-test-mine.parquet").to_pandas()
    assert set(test["dataset"]) == {"mine"}
    for _, rows in test.groupby(["penalty", "seed"]):
        assert sorted(rows["image"]) == sorted(groups)
        assert (rows.groupby(rows["image"].map(groups))["fold"].nunique() == 1).all()
    for file in tmp_path.glob("data/prepared/mine-fold*/dataset.json"):
        parts = [set(names) for names in json.loads(file.read_text())["groups"].values()]
        assert sum(map(len, parts)) == len(set.union(*parts)) == 6

    metrics = json.loads((results / "metrics.json").read_text())
    assert list(metrics["datasets"]) == ["mine"]
    assert "over seeds and 2 outer folds, crossed, each fold with a split" in (results / "report.html").read_text()
