"""The notebook of the docs: its cells run, and its differences are those of the report, computed otherwise."""

import json
from pathlib import Path

import matplotlib.pyplot as plt
import pandas as pd
import pytest

from softreg.paper.questions.gain import contrasts, seed_differences
from softreg.paper.scores import Scores

ROOT = Path(__file__).parents[1]
NOTEBOOK = ROOT / "docs" / "forest_plot.ipynb"
SCORES = Scores(ROOT / "results" / "published" / "wbc" / "scores")
SHOWN = ["model", "penalty", "seed"]


def sources(kind):
    cells = json.loads(NOTEBOOK.read_text(encoding="utf-8"))["cells"]
    return ["".join(cell["source"]) for cell in cells if cell["cell_type"] == kind]


@pytest.mark.slow
def test_the_notebook_draws_the_differences_of_the_report(monkeypatch):
    monkeypatch.chdir(NOTEBOOK.parent)
    scope = {}
    for source in sources("code"):
        exec(compile(source, NOTEBOOK.name, "exec"), scope)
    drawn = scope["differences"].dropna().set_index(SHOWN)["points"].sort_index()
    told = seed_differences(SCORES)
    told = told[told["reference"] == "none"].set_index(SHOWN)["difference"].sort_index()
    pd.testing.assert_series_equal(drawn, told, check_names=False, check_index_type=False)
    assert [panel.get_title() for panel in scope["grid"].axes.flat] == ["model = convnet", "model = unet-lite0"]
    plt.close("all")


def test_the_figure_takes_ten_lines():
    assert len(sources("code")[-1].splitlines()) <= 10


@pytest.mark.slow
def test_the_readme_says_of_the_registered_block_what_its_scores_do():
    table = contrasts(Scores(ROOT / "results" / "published" / "nuclei-b" / "scores"))
    matter = table[table["word"] != "equivalent"].set_index(["penalty", "reference"])
    assert matter["word"].to_dict() == {
        ("decoupled_decay", "none"): "supported",
        ("soft", "decoupled_decay"): "contradicted",
    }
    told = "gains {:.2f} points (95 % interval {:.2f} to {:.2f}), and soft is below it".format(
        *matter.loc[("decoupled_decay", "none"), ["difference", "low", "high"]]
    )
    readme = " ".join((ROOT / "README.md").read_text(encoding="utf-8").split())
    assert f"decoupled_decay, at a hundred times AdamW's default, {told};" in readme
