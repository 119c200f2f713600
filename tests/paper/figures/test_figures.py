import io

import numpy as np
import overlap
import pandas as pd
import pytest
import synthetic
from measured import make_scores
from PIL import Image

from softreg.files import read_json
from softreg.paper.figures import (
    _remove_others,
    gallery,
    lambda_curves,
    layout,
    paired_difference,
    style,
    write_figures,
    write_module,
)
from softreg.paper.figures.style import Absent, Drawn
from softreg.paper.questions import gain
from softreg.paper.scores import Scores


@pytest.fixture(scope="module")
def scores(tmp_path_factory):
    return make_scores(tmp_path_factory.mktemp("study"), {("l1", "1e-4", 101): "diverged"})


@pytest.fixture(scope="module")
def out(scores, tmp_path_factory):
    folder = tmp_path_factory.mktemp("out")
    write_figures(scores, folder)
    return folder / "figures"


NAMES = ["lambda_curves-brain", "paired_difference-brain", "class_iou-brain", "gallery-brain-convnet"]


def test_each_figure_lies_in_three_forms_beside_its_numbers(out):
    names = [entry["name"] for entry in read_json(out / "figures.json") if "name" in entry]
    assert [name for name in names if name in NAMES] == NAMES
    expected = {f"{name}.{ending}" for name in names for ending in ("pdf", "svg", "png", "csv")}
    assert {file.name for file in out.iterdir()} == expected | {"figures.json"}


def test_figures_of_an_earlier_run_are_removed_and_nothing_else(tmp_path):
    folder = tmp_path / "figures"
    folder.mkdir()
    for name in ("old.pdf", "old.svg", "old.png", "old.csv", "ranks.png", "kept.pdf", "notes.txt"):
        (folder / name).write_text("old")
    _remove_others(folder, {"kept"})
    assert {file.name for file in folder.iterdir()} == {"kept.pdf", "notes.txt"}


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
    curves = scores.curves
    assert len(points) == len(curves) == 7
    both = points.merge(curves, on=["model", "penalty", "lambda"])
    assert both["val_miou_x"].to_numpy() == pytest.approx(100 * both["val_miou_y"].to_numpy())
    assert points.loc[points["chosen"], "lambda"].tolist() == ["0", "1e-4", "1e-4"]


def test_differences_are_paired_by_seed(scores, out):
    numbers = pd.read_csv(out / "paired_difference-brain.csv")
    miou = scores.final_test.set_index(["penalty", "seed"])["miou"] * 100
    assert numbers[numbers["penalty"] == "l1"]["seed"].tolist() == [100, 102]  # 101 diverged
    for row in numbers.to_dict("records"):
        expected = miou[(row["penalty"], row["seed"])] - miou[("none", row["seed"])]
        assert row["difference"] == pytest.approx(expected)
    l2 = numbers[numbers["penalty"] == "l2"]
    assert l2["mean"].iloc[0] == pytest.approx(l2["difference"].mean())
    told = gain.contrasts(scores).set_index("penalty").loc["l2"]
    assert (l2["low"].iloc[0], l2["high"].iloc[0]) == pytest.approx((told["low"], told["high"]))
    caption = next(e["caption"] for e in read_json(out / "figures.json") if e.get("name") == "paired_difference-brain")
    assert "n = 2 to 3" in caption
    assert "2 to 3 seeds × 6 images" in caption


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
    scores = make_scores(root, penalties=penalties, seeds={"tuning": [0, 1, 2], "evaluation": [100, 101]})
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(style, "_FORMS", {})
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
    miou = scores.sweep_seeds.set_index(["penalty", "lambda", "seed"])["miou"] * 100
    for row in numbers.to_dict("records"):
        expected = miou[(row["penalty_a"], row["lambda_a"], row["seed"])]
        expected -= miou[(row["penalty_b"], row["lambda_b"], row["seed"])]
        assert row["difference"] == pytest.approx(expected)
    assert set(numbers["seed"]) == {0, 1, 2}
    assert (numbers["norm"] == 0).all()  # all synthetic cells have one norm
    told = numbers.groupby(["penalty_a", "lambda_a"])
    assert told["mean"].first().to_dict() == pytest.approx(told["difference"].mean().to_dict())


def test_controls_have_curves_of_their_own(matched):
    _, folder = matched
    penalties = pd.read_csv(folder / "lambda_curves-brain.csv")["penalty"]
    controls = pd.read_csv(folder / "control_curves-brain.csv")["penalty"]
    assert set(penalties) == {"none", "l1", "soft", "l1-encoder", "l2", "huber"}
    assert set(controls) == {"none", "pruning"}


@pytest.mark.parametrize("chosen", [True, False])
def test_nothing_overlaps_in_the_curves_and_no_room_is_wasted(scores, chosen):
    family, _ = lambda_curves._families(scores)
    points = lambda_curves._points(scores, "brain", family)
    points["chosen"] &= chosen
    with style.paper("overlap"):
        figure = lambda_curves._draw_panels(scores, family, points, ["convnet"])
        style.lay_out(figure)
        (curve, *_, kept), (legend,) = figure.axes, figure.legends
        assert overlap.faults(figure) == []
        below, label = legend.get_window_extent(), kept.xaxis.label.get_window_extent()
        assert 0 < label.y0 - below.y1 < 0.2 * figure.dpi
        assert label.y1 < kept.bbox.y0 < kept.bbox.y1 < curve.bbox.y0
        assert curve.bbox.height + kept.bbox.height > 0.4 * figure.bbox.height


def test_the_marks_are_those_of_the_rules(tmp_path):
    """λ_min is the best mean, λ_1SE the strongest that is worse by its own standard error at most, paired by seed."""
    scores = make_scores(tmp_path, penalties={"none": {}, "pruning": {"lambda": [0.1, 0.2, 0.5]}})
    _, family = lambda_curves._families(scores)
    points = lambda_curves._points(scores, "brain", family)
    pruned = points[points["penalty"] == "pruning"]
    best = pruned["val_miou"].to_numpy().argmax()
    seeds = scores.sweep_seeds.query("penalty == 'pruning'").pivot(index="lambda", columns="seed", values="miou")
    worse = seeds.iloc[best] - seeds
    within = np.flatnonzero(worse.mean(axis=1) <= worse.sem(axis=1))[-1]  # the strengths ascend
    assert pruned["lambda"].tolist() == seeds.index.tolist() == ["1e-1", "2e-1", "5e-1"]
    assert np.flatnonzero(pruned["lambda_min"]).tolist() == [best]
    assert np.flatnonzero(pruned["lambda_1se"]).tolist() == [within]
    assert within > best  # else this could not tell the two apart


def test_the_axis_of_curves_is_that_of_the_region_of_choice(scores):
    """A λ that ruins the networks is beyond the axis, and in the slim panel below it; all that is marked is on it."""
    family, _ = lambda_curves._families(scores)
    points = lambda_curves._points(scores, "brain", family)
    with style.paper("region"):
        ruined = points["lambda"] == "1e-3"
        points.loc[ruined, "val_miou"] = points["val_miou"].max()
        assert len(lambda_curves._draw_panels(scores, family, points, ["convnet"]).axes) == 2
        points.loc[ruined, "val_miou"] = 3.0
        figure = lambda_curves._draw_panels(scores, family, points, ["convnet"])
        curve, whole, _ = figure.axes
        low, high = curve.get_ylim()
        assert [axis.get_ylabel() for axis in figure.axes] == ["mIoU (points)", "all", "kept (%)"]
        assert whole.get_ylim()[0] < 3 < low
    marked = points[points["lambda_min"] | points["lambda_1se"] | points["chosen"]]
    marked = marked[marked["val_miou"] > 3]  # without those moved above
    assert len(marked) >= 3
    assert (marked["val_miou"] - marked["val_se"]).min() - 2 * scores.rope >= low
    assert (marked["val_miou"] + marked["val_se"]).max() <= high
    bars = [path.vertices[:, 1] for bar in curve.collections for path in bar.get_paths() if len(path.vertices) == 2]
    middles = [bar.mean() for bar in bars if np.ptp(bar) > 0]
    assert len(middles) == 4  # of l1 and l2 at two strengths each
    assert min(middles) >= low  # a bar without its point would mislead


def test_gallery_shows_truth_and_prediction_in_the_palettes_colours(scores):
    palette = scores.datasets["brain"]["palette"]
    example = scores.examples.to_pylist()[0]
    tiles = gallery._tiles(scores, example, gallery._one_seed_each(scores, scores.predictions()), palette)
    assert [heading for heading, _ in tiles] == ["image", "truth", "none", "none: errors", "l1", "l2"]
    mask = np.asarray(Image.open(io.BytesIO(example["truth_png"])))
    valid = mask != 255
    assert np.array_equal(tiles[1][1][valid], np.array(palette)[mask[valid]])
    assert {tuple(colour) for colour in tiles[1][1][~valid]} == {(200, 200, 200), (110, 110, 110)}


def test_errors_are_coloured_by_what_the_unpenalised_network_does():
    truth = np.array([[0, 0, 0, 0, gallery.IGNORE]], np.uint8)
    none, mine = np.array([[0, 1, 0, 1, 1]], np.uint8), np.array([[0, 1, 1, 0, 1]], np.uint8)
    (right, both, only, mended, ignored), *_ = gallery._with_errors(mine, truth, none, [[0, 0, 0], [100, 0, 0]])
    colours = ["#" + bytes(pixel.tolist()).hex() for pixel in (both, only, mended)]
    assert colours == [*gallery._ERRORS.values()]
    assert right.tolist() == [round(255 * gallery._PALE)] * 3
    assert ignored.tolist() in ([200] * 3, [110] * 3)


def test_the_gallery_shows_three_percentiles_of_the_first_evaluation_seed(scores, out):
    """By hand: the images sorted by their own mIoU without a penalty, a mean over the evaluation seeds."""
    counts = scores.test_counts("brain", "convnet")["none"]
    each = np.nanmean(counts.table[0] / counts.table.sum(0), axis=-1).mean(axis=0)
    ranked = [counts.images[place] for place in np.argsort(each, kind="stable")]
    rows = pd.read_csv(out / "gallery-brain-convnet.csv").drop_duplicates(["image", "percentile"])
    expected = {p: ranked[round(p / 100 * (len(ranked) - 1))] for p in (10, 50, 90)}
    assert dict(zip(rows["percentile"], rows["image"], strict=True)) == expected
    (caption,) = (entry["caption"] for entry in read_json(out / "figures.json") if entry.get("name", "")[:4] == "gall")
    assert "at the 10th, 50th and 90th percentile" in caption
    assert "(evaluation seed 100)" in caption


def test_the_gallery_tells_of_another_seed(tmp_path):
    scores = make_scores(tmp_path, statuses={("l1", "1e-4", 100): "diverged"})
    (drawn,) = write_module(gallery, scores, tmp_path)
    seeds = pd.read_csv(tmp_path / f"{drawn.name}.csv").groupby("penalty")["seed"].unique()
    assert {name: list(values) for name, values in seeds.items()} == {"none": [100], "l1": [101], "l2": [100]}
    assert "as that did not finish, l1 seed 101" in drawn.caption


def test_holes_are_left_out_and_named(tmp_path):
    models = {"convnet": {}, "second": {"kind": "convnet"}, "third": {"kind": "convnet"}}
    study = synthetic.make_study(tmp_path, models=models)
    synthetic.make_results(study, tmp_path)
    for file in (tmp_path / "results" / "tiny").glob("*/brain/second/**/*.parquet"):
        file.unlink()
    for file in (tmp_path / "results" / "tiny").glob("final/brain/third/l1/**/test.parquet"):
        file.unlink()
    scores = Scores(synthetic.gather_part(study, tmp_path / "results", tmp_path / "data"))
    (curves,) = write_module(lambda_curves, scores, tmp_path / "figures")
    assert "so not shown: second." in curves.caption
    (difference,) = write_module(paired_difference, scores, tmp_path / "figures")
    lacking = "second with l1 against none, second with l2 against none, third with l1 against none."
    assert f"so not shown: {lacking}" in difference.caption
    kinds = [type(entry) for entry in write_module(gallery, scores, tmp_path / "figures")]
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
    scores = make_scores(tmp_path, penalties=penalties)
    numbers = gain.seed_differences(scores)
    miou = scores.final_test.set_index(["penalty", "seed"])["miou"] * 100
    pairs = {"l1": "none", "decoupled_decay": "none-adam"}
    assert set(numbers["penalty"]) == set(pairs)
    for row in numbers.to_dict("records"):
        expected = miou[(row["penalty"], row["seed"])] - miou[(pairs[row["penalty"]], row["seed"])]
        assert row["difference"] == pytest.approx(expected)
    (drawn,) = write_module(paired_difference, scores, tmp_path)
    lacking = "Without an unpenalised entry of the same update rule, so not shown against none: alone."
    assert lacking in drawn.caption


def test_panels_that_do_not_fit_a_page_go_on_to_the_next():
    models = [f"m{place}" for place in range(8)]
    assert style.pages(models, layout.most_panels(2.0)) == [models]
    tall = style.pages(models, layout.most_panels(4.5))
    assert [len(page) for page in tall] == [3, 3, 2]
    assert [model for page in tall for model in page] == models


def test_rows_to_none_come_first_and_each_verdict_has_its_marker(tmp_path):
    penalties = {"none": {}, "soft": {"lambda": [1e-4]}, "l1": {"lambda": [1e-4]}, "l2": {"lambda": [1e-4]}}
    scores = make_scores(tmp_path, penalties=penalties, models={"a": {"kind": "convnet"}})
    (drawn,) = write_module(paired_difference, scores, tmp_path)
    numbers = pd.read_csv(tmp_path / "paired_difference-brain.csv")
    places = paired_difference._places(scores, numbers)
    order = sorted(places, key=places.get)
    assert order == [("soft", "none"), ("l1", "none"), ("l2", "none"), ("soft", "l1"), ("soft", "l2")]
    assert "of soft less its rivals" in drawn.caption
    labels = [handle.get_label() for handle in paired_difference._handles(numbers)]
    words = [label for word, (label, _) in paired_difference.VERDICTS.items() if word in set(numbers["word"])]
    assert labels == [*words, "practically equivalent"]
