"""A small real project in a temporary folder: a study of generated scenes, prepared and ready to train."""

from pathlib import Path

import yaml

from softreg.files import write_text
from softreg.running import places, stages
from softreg.running.graph import Graph
from softreg.study.cells import choice_file
from softreg.study.config import Study, load_study
from softreg.study.matrix import Group, TrainingPath, sweep_paths

TINY = {
    "datasets": {"shapes": {"images": 24, "size": [16, 24], "split": {"val": 0.25, "test": 0.25}}},
    "models": {"convnet": {}},
    "penalties": {"none": {}, "l1": {"lambda": [1e-4, 1e-2]}},
    "training": {"epochs": 3, "batch_size": 4, "optimizer": "adam", "lr": 1e-3},
    "seeds": {"tuning": [0], "evaluation": [100, 101]},
}


def write_study(folder: Path, name: str = "tiny", **changes) -> Path:
    """Write the tiny study, with whole blocks changed, and return its file."""
    file = folder / f"{name}.yaml"
    file.write_text(yaml.safe_dump({**TINY, **changes}))
    return file


def prepared_study(folder: Path, name: str = "tiny", **changes) -> Study:
    """The tiny study with its data prepared; the working folder must be ``folder``."""
    study = load_study(write_study(folder, name, **changes))
    for dataset in study.datasets:
        stages.prepare(study, dataset)
    return study


def normed(folder: Path) -> dict[str, str]:
    """A model with a normalisation between its two layers, 0 and 3, and quick to train; written to ``folder``."""
    layers = "nn.Conv2d(3, 8, 3, padding=1), nn.BatchNorm2d(8), nn.ReLU(), nn.Conv2d(8, classes, 1)"
    made = f"    def __init__(self, classes):\n        super().__init__({layers})\n"
    write_text(folder / "normed.py", f"from torch import nn\n\n\nclass Normed(nn.Sequential):\n{made}")
    return {"kind": "normed.py:Normed"}


def sweep_path(penalty: str = "l1", seed: int = 0, model: str = "convnet", fold: int | None = None) -> TrainingPath:
    """A sweep path of the tiny study."""
    return TrainingPath("sweep", "shapes", model, penalty, seed, fold)


def cell_folder(study: Study, path: TrainingPath, lambda_: str) -> Path:
    """Where a cell of a path lies."""
    return places.results_folder(study) / path.phase / path.name / f"lambda-{lambda_}"


def choose_by_hand(study: Study, group: Group, lambda_: str) -> None:
    """A group's λ̂ as if it had been selected."""
    file = choice_file(places.results_folder(study), group)
    write_text(
        file,
        "dataset,model,penalty,lambda,lr,val_miou_points,val_se_points,n,expected,at_edge,rule,scorer\n"
        f"{','.join(group)},{lambda_},,0.5,,1,1,True,best,holdout\n",
    )
    sweep = {path: stages._cells(study, path) for path in sweep_paths(study, group)}
    Graph(study).select(group).end(stages._digest_of(study, sweep))
