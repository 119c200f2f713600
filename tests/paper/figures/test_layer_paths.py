import measured
import numpy as np
import overlap
import pandas as pd
import pytest
from PIL import Image

from softreg.paper.figures import layer_paths, style, write_module
from softreg.paper.figures.style import Drawn

PENALTIES = {
    "none": {},
    "l1": {"lambda": [1e-5, 1e-4]},
    "pruning": {"lambda": [0.5]},
    "small_dense": {"lambda": [0.5]},
}
NAMES = ["stem", "encoder.block.conv", "dead", "head"]


def layers(row):
    """Norms that differ between seeds tenfold, so that only ratios at one seed come out as meant."""
    scale = 10.0 ** (row["seed"] % 2)
    strength = {"1e-5": 0.8, "1e-4": 0.5, "5e-1": 0.6}.get(row["lambda"], 1.0)
    return [
        row
        | {"layer": name, "weights": 100 * (place + 1), "exact_zeros": 10 if row["penalty"] == "l1" else 0}
        | {"norm_l2": 0.0 if name == "dead" else scale * (place + 1) * strength ** (place + 1)}
        for place, name in enumerate(NAMES)
    ]


@pytest.fixture(scope="module")
def scores(tmp_path_factory):
    return measured.set_layers(measured.make_scores(tmp_path_factory.mktemp("study"), penalties=PENALTIES), layers)


def test_norms_are_relative_to_the_unpenalised_network_of_the_seed(scores):
    values = layer_paths.relative_layers(scores, "brain", "convnet")
    assert values["layer"].tolist() == NAMES * 3  # in depth order, not by name
    assert values[["penalty", "lambda"]].drop_duplicates().to_numpy().tolist() == [
        ["l1", "1e-5"],
        ["l1", "1e-4"],
        ["pruning", "5e-1"],
    ]
    l1 = values[values["lambda"] == "1e-4"]
    assert l1["norm"].to_numpy() == pytest.approx([0.5, 0.25, np.nan, 0.0625], nan_ok=True)
    assert l1["zeros"].to_numpy() == pytest.approx([0.1, 0.05, 0.1 / 3, 0.025])
    assert set(values["seeds"]) == {2}


def test_the_figure_says_what_it_leaves_out(scores, tmp_path, saved):
    (drawn,) = write_module(layer_paths, scores, tmp_path)
    assert isinstance(drawn, Drawn)
    assert drawn.name == "layer_paths-brain-convnet"
    assert "small_dense is not shown" in drawn.caption
    assert "Hatched" in drawn.caption
    written = pd.read_csv(tmp_path / f"{drawn.name}.csv", dtype={"lambda": str})
    assert len(written) == 12
    with Image.open(tmp_path / f"{drawn.name}.png") as image:
        assert image.width / 300 == pytest.approx(style.PAGE, abs=0.01)
        assert image.height / 300 < 3


def large(penalties: int, depth: int) -> pd.DataFrame:
    rows = [
        (f"a_penalty_of_long_name-{p}", f"{value}e-5", f"encoder.layer{d // 10}.{d % 10}.conv", 0.5, 0.1, 3)
        for p in range(penalties)
        for value in range(1, 9)
        for d in range(depth)
    ]
    return pd.DataFrame(rows, columns=["penalty", "lambda", "layer", "norm", "zeros", "seeds"])


@pytest.mark.parametrize(("penalties", "depth"), [(1, 1), (5, 4), (12, 60)])
def test_it_fits_a_page_and_no_labels_overlap(scores, penalties, depth):
    with style.paper("large"):
        figure = layer_paths._draw_maps(scores, large(penalties, depth))
        style.lay_out(figure)
        assert figure.get_size_inches()[1] < 9.2
        assert overlap.faults(figure) == []
