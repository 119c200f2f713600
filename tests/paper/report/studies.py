"""A synthetic study of two data sets, two models and six penalties, and answers as a question's module gives them."""

import base64
from dataclasses import asdict
from pathlib import Path

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq
import synthetic

from softreg.files import write_json, write_text
from softreg.paper.figures.style import Absent, Drawn
from softreg.paper.questions.answer import WORDS, Answer, Verdict
from softreg.scoring.gather import CELLS, LAYERS, gather

GRID = [1e-5, 1e-4, 1e-3]
STUDY = {
    "title": "Penalties <on> brains & shapes",
    "datasets": {"brain": {}, "shapes": {}},
    "models": {"convnet": {}, "unet": {"kind": "smp", "architecture": "unet", "encoder": "resnet18"}},
    "penalties": {
        "none": {},
        "l2": {"lambda": GRID},
        "l1": {"lambda": GRID},
        "soft": {"lambda": GRID, "training": {"lr": 0.05}},
        "smooth_l1": {"lambda": GRID},
        "pruning": {"lambda": [0.5, 0.8, 0.95]},
    },
    "figures": {"style": {"names": {"unet": "U-Net", "soft": "soft (article)", "l1": "L1", "l2": "L2"}}},
}
LOST = {("l1", "1e-4", 101): "out-of-memory", ("l2", "1e-3", 0): "diverged", ("l2", "1e-5", 0): "diverged"}

SVG = '<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 20 10"><path fill="#0b5394" d="M0 0h{}v10H0z"/></svg>'
PNG = "iVBORw0KGgoAAAANSUhEUgAAAAEAAAABCAAAAAA6fptVAAAACklEQVR4nGNgAAAAAgABc3UBGAAAAABJRU5ErkJggg=="


def make(root: Path, **changes) -> Path:
    """The study's gathered scores, with shares of zeros that grow with λ, so that a Pareto front is to be seen."""
    study = synthetic.make_study(root, **STUDY | changes)
    synthetic.make_results(study, root, size=(48, 64), statuses=LOST)
    scores = gather(study, root / "results", root / "data")
    for name, schema in (("cells", CELLS), ("layers", LAYERS)):
        _make_sparse(scores / f"{name}.parquet", schema)
    return scores


def _make_sparse(file: Path, schema: pa.Schema) -> None:
    """Give the cells of three penalties exact zeros, more of them with a larger λ."""
    rows = pq.read_table(file).to_pandas()
    power = np.log10(rows["lambda"].replace("", "0").astype(float).clip(1e-6))
    sparse = rows["penalty"].isin(["l1", "soft", "pruning"]) & rows["exact_zeros"].notna()
    share = (0.15 * (power + 6) + 0.001 * (rows["seed"] % 7)).clip(0, 0.99)
    rows.loc[sparse, "exact_zeros"] = (share * 1000)[sparse].round()
    pq.write_table(pa.Table.from_pandas(rows, schema=schema, preserve_index=False), file)


def answers() -> list[Answer]:
    """Seven answers that use every word, and one that lacks what it needs."""
    places = [("brain", "convnet"), ("brain", "unet"), ("shapes", "convnet"), ("shapes", "unet")]
    words = [*WORDS, *WORDS]
    told = [_answer(n, places, words[n : n + 2 + n % 3]) for n in range(1, 7)]
    lacking = "The study names no corruption; add evaluation.corruptions to it."
    return [*told, Answer("H7", "Is it robust?", "loss", "mean", "bootstrap", absent=lacking)]


def _answer(number: int, places: list[tuple[str, str]], words: list[str]) -> Answer:
    verdicts = [
        Verdict(*place, "soft (article)", word, f"soft gains 0.{number} points [−0.1, 0.9] on {place[0]}; n = 3 seeds.")
        for place, word in zip(places, words, strict=False)
    ]
    return Answer(
        f"H{number}",
        f"Does question {number} hold of soft regularisation <at all>, at the λ that validation chose?",
        "Mean difference in test mIoU, in points, soft less none, at λ̂.",
        "Mean of differences paired by seed.",
        "95 % bootstrap interval; seeds and test images resampled crossed (3 seeds, 6 images).",
        summary=f"The data leave question {number} open in most places.",
        verdicts=verdicts,
        numbers=pd.DataFrame({"difference": [0.1]}),
        figures=["lambda_curves"] if number == 1 else ["degeneracy"],
    )


def write_figures(folder: Path) -> None:
    """Figures of two data sets, a gallery, and one that could not be drawn."""
    names = ["paired_difference-shapes", "lambda_curves-brain", "lambda_curves-shapes", "reliability-brain"]
    names.append("gallery-brain-convnet")
    drawn = [Drawn(name, 6.75, f"Title of {name}", f"Caption of {name}.", f"Alternative to {name}.") for name in names]
    for place, name in enumerate(names[:4]):
        write_text(folder / f"{name}.svg", SVG.format(place + 1))
    (folder / "gallery-brain-convnet.png").write_bytes(base64.b64decode(PNG))
    entries = [*drawn, Absent("Ranks", "It needs two data sets.")]
    write_json(folder / "figures.json", [asdict(entry) for entry in entries])
