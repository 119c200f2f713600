import io
import re

import numpy as np
import pandas as pd
import pytest
import synthetic
from matplotlib import pyplot as plt
from PIL import Image
from scipy.stats import ttest_1samp

from softreg.figures import gallery, lambda_curves, paired_difference, style, write_figures
from softreg.figures.style import Absent, Drawn
from softreg.files import read_json
from softreg.gather import gather
from softreg.scores import Scores


def gathered(root, partial=False, statuses=None, **changes):
    study = synthetic.make_study(root, **changes)
    if statuses is not None:
        synthetic.make_results(study, root, statuses=statuses)
    return gather(study, root / "results", root / "data", partial)


@pytest.fixture(scope="module")
def scores(tmp_path_factory):
    return gathered(tmp_path_factory.mktemp("study"), statuses={("l1", "1e-4", 101): "diverged"})


@pytest.fixture(scope="module")
def out(scores, tmp_path_factory):
    folder = tmp_path_factory.mktemp("out")
    write_figures(scores, folder)
    return folder / "figures"


NAMES = ["lambda_curves-brain", "paired_difference-brain", "gallery-brain-convnet"]


def test_each_figure_lies_in_three_forms_beside_its_numbers(out):
    assert [entry["name"] for entry in read_json(out / "figures.json")] == NAMES
    expected = {f"{name}.{ending}" for name in NAMES for ending in ("pdf", "svg", "png", "csv")}
    assert {file.name for file in out.iterdir()} == expected | {"figures.json"}


def test_the_same_scores_give_the_same_bytes(scores, out, tmp_path):
    write_figures(scores, tmp_path)
    for file in out.iterdir():
        assert file.read_bytes() == (tmp_path / "figures" / file.name).read_bytes(), file.name


@pytest.mark.parametrize("name", NAMES)
def test_figures_fit_a_column_or_a_page_at_300_dpi(out, name):
    with Image.open(out / f"{name}.png") as image:
        assert image.info["dpi"] == pytest.approx((300, 300), abs=0.1)
        assert image.width / 300 == pytest.approx(style.COLUMN, abs=0.01) or image.width / 300 == pytest.approx(
            style.PAGE, abs=0.01
        )


@pytest.mark.parametrize("name", NAMES)
def test_pdf_embeds_truetype_and_no_date(out, name):
    text = (out / f"{name}.pdf").read_bytes()
    assert b"/FontFile2" in text
    assert b"/Type3" not in text
    assert b"CreationDate" not in text
    assert b"<dc:date>" not in (out / f"{name}.svg").read_bytes()


def test_curves_are_the_means_of_the_sweep(scores, out):
    points = pd.read_csv(out / "lambda_curves-brain.csv", dtype={"lambda": str})
    curves = Scores(scores).curves
    assert len(points) == len(curves) == 7
    both = points.merge(curves, on=["model", "penalty", "lambda"])
    assert both["val_miou_x"].to_numpy() == pytest.approx(100 * both["val_miou_y"].to_numpy())
    assert points.loc[points["chosen"], "lambda"].tolist() == ["0", "1e-4", "1e-4"]


def test_differences_are_paired_by_seed(scores, out):
    numbers = pd.read_csv(out / "paired_difference-brain.csv")
    miou = Scores(scores).final_test.set_index(["penalty", "seed"])["miou"] * 100
    assert numbers[numbers["penalty"] == "l1"]["seed"].tolist() == [100, 102]  # 101 diverged
    for row in numbers.to_dict("records"):
        expected = miou[(row["penalty"], row["seed"])] - miou[("none", row["seed"])]
        assert row["difference"] == pytest.approx(expected)
    l2 = numbers[numbers["penalty"] == "l2"]
    interval = ttest_1samp(l2["difference"], 0).confidence_interval(0.95)
    assert (l2["low"].iloc[0], l2["high"].iloc[0]) == pytest.approx((interval.low, interval.high))
    caption = read_json(out / "figures.json")[1]["caption"]
    assert "n = 2 to 3" in caption


def test_the_curves_data_hold_what_the_penalty_did(out):
    points = pd.read_csv(out / "lambda_curves-brain.csv", dtype={"lambda": str})
    l1 = points[points["penalty"] == "l1"]
    assert l1["zeros"].tolist() == [0.1] * 3
    assert l1["near_zeros"].tolist() == pytest.approx([0.107] * 3)
    assert l1["kappa"].tolist() == pytest.approx([3e-5, 3e-4, 3e-3])
    assert set(points["effective_lr"]) == {0.02}
    assert l1["macs_nonzero"].tolist() == [0.9] * 3


@pytest.fixture(scope="module")
def matched(tmp_path_factory):
    """A study of controls, and of penalties at matching strengths."""
    penalties = {
        "none": {},
        "l1": {"lambda": [1e-4, 1e-3]},
        "soft": {"lambda": [1e-4, 1e-3]},
        "l1-encoder": {"kind": "l1", "lambda": [1e-4, 1e-3], "weights": "encoder"},
        "l2": {"lambda": [1e-3, 1e-2]},
        "huber": {"kind": "smooth_l1", "beta": 0.03, "lambda": [3e-5, 1e-4]},
        "pruning": {"lambda": [0.5, 0.9]},
    }
    root = tmp_path_factory.mktemp("matched")
    scores = gathered(root, statuses={}, penalties=penalties)
    write_figures(scores, root)
    return scores, root / "figures"


def test_matching_penalties_are_paired_by_seed_and_strength(matched):
    scores, folder = matched
    numbers = pd.read_csv(folder / "degeneracy-brain-convnet.csv", dtype={"lambda_a": str, "lambda_b": str})
    pairs = numbers[["penalty_a", "lambda_a", "penalty_b", "lambda_b"]].drop_duplicates().to_numpy().tolist()
    # 3e-5/0.03 is 1e-3; 1e-4/0.03 is no λ of L2's; the encoder's L1 is another penalty.
    assert pairs == [
        ["soft", "1e-4", "l1", "1e-4"],
        ["soft", "1e-3", "l1", "1e-3"],
        ["huber", "3e-5", "l2", "1e-3"],
    ]
    miou = Scores(scores).sweep_seeds.set_index(["penalty", "lambda", "seed"])["miou"] * 100
    for row in numbers.to_dict("records"):
        expected = miou[(row["penalty_a"], row["lambda_a"], row["seed"])]
        expected -= miou[(row["penalty_b"], row["lambda_b"], row["seed"])]
        assert row["difference"] == pytest.approx(expected)
    assert set(numbers["seed"]) == {0, 1}
    assert (numbers["norm"] == 0).all()  # all synthetic cells have one norm


def test_controls_have_curves_of_their_own(matched):
    _, folder = matched
    penalties = pd.read_csv(folder / "lambda_curves-brain.csv")["penalty"]
    controls = pd.read_csv(folder / "control_curves-brain.csv")["penalty"]
    assert set(penalties) == {"none", "l1", "soft", "l1-encoder", "l2", "huber"}
    assert set(controls) == {"none", "pruning"}


@pytest.mark.parametrize("chosen", [True, False])
def test_nothing_overlaps_in_the_curves_and_no_room_is_wasted(scores, chosen):
    loaded = Scores(scores)
    family, _ = lambda_curves._families(loaded)
    points = lambda_curves._points(loaded, "brain", family)
    points["chosen"] &= chosen
    with style.paper("overlap"):
        figure = lambda_curves._draw_panels(loaded, family, points, ["convnet"])
        style.lay_out(figure)
        (axis,), (legend,) = figure.axes, figure.legends
        below, label, above = (artist.get_window_extent() for artist in (legend, axis.xaxis.label, axis.title))
        for box in (below, label, above):
            assert figure.bbox.contains(box.x0, box.y0)
            assert figure.bbox.contains(box.x1, box.y1)
        assert 0 < label.y0 - below.y1 < 0.2 * figure.dpi
        assert label.y1 < axis.bbox.y0 < axis.bbox.y1 < above.y0
        assert axis.bbox.height > 0.4 * figure.bbox.height


def test_two_penalties_in_a_panel_never_look_alike():
    looks = style.looks([f"p{place}" for place in range(12)])
    assert len({(look.colour, look.line) for look in looks.values()}) == 12
    shares = lambda_curves._shares(list(looks))
    assert [len(share) for share in shares] == [6, 6]
    for share in shares:
        assert len({looks[name].colour for name in share}) == len(share)


def test_gallery_shows_truth_and_prediction_in_the_palettes_colours(scores):
    loaded = Scores(scores)
    palette = loaded.datasets["brain"]["palette"]
    example = loaded.examples.to_pylist()[0]
    tiles = gallery._tiles(example, gallery._one_seed_each(loaded, loaded.predictions()), palette)
    assert [tile.heading for tile in tiles] == ["image", "truth", "none", "l1", "l2"]
    mask = np.asarray(Image.open(io.BytesIO(example["truth_png"])))
    valid = mask != 255
    assert np.array_equal(tiles[1].pixels[valid], np.array(palette)[mask[valid]])
    assert {tuple(colour) for colour in tiles[1].pixels[~valid]} == {(200, 200, 200), (110, 110, 110)}


def test_a_figure_without_data_is_absent_with_a_reason(tmp_path):
    loaded = Scores(gathered(tmp_path, partial=True))
    entries = [
        entry for module in (lambda_curves, paired_difference, gallery) for entry in module.draw(loaded, tmp_path)
    ]
    assert all(isinstance(entry, Absent) for entry in entries)
    assert all(re.fullmatch(r"[A-Z].*\.", entry.reason) for entry in entries)
    assert not list(tmp_path.glob("*.pdf"))
    assert plt.get_fignums() == []


def test_without_an_unpenalised_entry_there_is_no_difference(tmp_path):
    penalties = {"l2": {"lambda": [1e-4]}, "l1": {"lambda": [1e-4]}}
    loaded = Scores(gathered(tmp_path, statuses={}, penalties=penalties))
    (entry,) = paired_difference.draw(loaded, tmp_path)
    assert entry.reason == "The study has no penalty of kind none to compare with."
    (curves,) = lambda_curves.draw(loaded, tmp_path)  # of one λ and no reference
    assert isinstance(curves, Drawn)


def test_holes_are_left_out_and_named(tmp_path):
    models = {"convnet": {}, "second": {"kind": "convnet"}, "third": {"kind": "convnet"}}
    study = synthetic.make_study(tmp_path, models=models)
    synthetic.make_results(study, tmp_path)
    for file in (tmp_path / "results" / "tiny").glob("*/brain/second/**/*.parquet"):
        file.unlink()
    for file in (tmp_path / "results" / "tiny").glob("final/brain/third/l1/**/test.parquet"):
        file.unlink()
    loaded = Scores(gather(study, tmp_path / "results", tmp_path / "data", partial=True))
    (curves,) = lambda_curves.draw(loaded, tmp_path / "figures")
    assert "so not shown: second." in curves.caption
    (difference,) = paired_difference.draw(loaded, tmp_path / "figures")
    assert "so not shown: second with l1, second with l2, third with l1." in difference.caption
    kinds = [type(entry) for entry in gallery.draw(loaded, tmp_path / "figures")]
    assert kinds == [Drawn, Absent, Drawn]


def test_differences_are_from_the_unpenalised_entry_of_the_same_update_rule(tmp_path):
    adam = {"optimizer": "adam", "lr": 0.001}
    penalties = {
        "none": {},
        "l1": {"lambda": [1e-4]},
        "none-adam": {"kind": "none", "training": adam},
        "decoupled_decay": {"lambda": [1e-3], "training": adam},
        "alone": {"kind": "l2", "lambda": [1e-3], "training": {"optimizer": "adam", "lr": 0.1}},
    }
    loaded = Scores(gathered(tmp_path, statuses={}, penalties=penalties))
    numbers = paired_difference.differences(loaded, "brain")
    miou = loaded.final_test.set_index(["penalty", "seed"])["miou"] * 100
    pairs = {"l1": "none", "decoupled_decay": "none-adam"}
    assert set(numbers["penalty"]) == set(pairs)
    for row in numbers.to_dict("records"):
        expected = miou[(row["penalty"], row["seed"])] - miou[(pairs[row["penalty"]], row["seed"])]
        assert row["difference"] == pytest.approx(expected)
    (drawn,) = paired_difference.draw(loaded, tmp_path)
    assert "Without an unpenalised entry of the same update rule, so not shown: alone." in drawn.caption
