"""Score records against torchmetrics and sums by hand, on predictions of a real trained network."""

import io
import os
import shutil
import time
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image
from projects import cell_folder, choose_by_hand, prepared_study, sweep_path
from safetensors.torch import load_file
from torchmetrics.classification import MulticlassCalibrationError, MulticlassConfusionMatrix, MulticlassJaccardIndex

from softreg import networks
from softreg.data.datasets import prepared_folder
from softreg.errors import UserError
from softreg.files import read_json, seal, sealed
from softreg.running import places, stages
from softreg.running.graph import Graph
from softreg.running.survey import survey
from softreg.scoring import metrics, records
from softreg.scoring.corruptions import Corrupted
from softreg.scoring.evaluate import Evaluator, score
from softreg.study.cells import make_cells, path_folder
from softreg.study.matrix import TrainingPath
from softreg.training.imageset import Batches, ImageSet, open_split
from softreg.training.objectives import IGNORE
from softreg.training.validation import confusion, count, predict

CPU = torch.device("cpu")
CLASSES = 5


@pytest.fixture(autouse=True)
def _project(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)


@pytest.fixture
def images():
    """Seven random images whose masks have ignored pixels and never show class 3."""
    random = np.random.default_rng(0)
    masks = random.choice([0, 1, 2, 4, IGNORE], size=(7, 18, 22), p=[0.3, 0.3, 0.2, 0.1, 0.1]).astype(np.uint8)
    pictures = random.integers(0, 256, (7, 18, 22, 3), dtype=np.uint8)
    rows = np.stack([np.zeros(7, int), np.arange(7)], axis=1)
    return ImageSet(((pictures, masks),), rows, tuple("abcdefg"))


@pytest.fixture
def model():
    torch.manual_seed(3)
    network = networks.build({"kind": "convnet", "dropout": 0.5}, CLASSES)
    # Class 3 is never predicted either, so that its union is empty.
    network.network.decoder[3].bias.data[3] = -100
    return network


def _all(model, images, batch_size=3):
    parts = list(predict(model, Batches(images, CPU), batch_size))
    return torch.cat([logits for logits, _ in parts]), torch.cat([masks for _, masks in parts])


def test_miou_is_torchmetrics_with_ignored_pixels_and_an_absent_class(model, images):
    logits, masks = _all(model, images)
    sums, _ = score(model, Batches(images, CPU), 3)
    found = metrics.miou(sums["tp"], sums["fp"], sums["fn"])
    truth, guess = masks.long(), logits.argmax(1)
    table = MulticlassConfusionMatrix(CLASSES, ignore_index=IGNORE)(guess, truth).double()
    union = table.sum(0) + table.sum(1) - table.diagonal()
    assert int((union == 0).sum()) == 1
    expected = (table.diagonal()[union > 0] / union[union > 0]).mean().item()
    assert found == pytest.approx(expected, abs=1e-12)
    jaccard = MulticlassJaccardIndex(CLASSES, average="macro", ignore_index=IGNORE)(guess, truth)
    assert found == pytest.approx(jaccard.item(), abs=1e-6)  # torchmetrics divides in float32


def test_counts_of_each_image_are_its_own(model, images):
    logits, masks = _all(model, images)
    sums, _ = score(model, Batches(images, CPU), 2)
    for index, (mask, guess) in enumerate(zip(masks, logits.argmax(1), strict=True)):
        for label in range(CLASSES):
            valid = mask != IGNORE
            assert sums["tp"][index, label] == ((guess == label) & (mask == label)).sum()
            assert sums["fp"][index, label] == ((guess == label) & (mask != label) & valid).sum()
            assert sums["fn"][index, label] == ((guess != label) & (mask == label)).sum()
        assert sums["pixels"][index] == valid.sum()


def test_calibration_sums_give_torchmetrics_ece_and_torchs_nll(model, images):
    logits, masks = _all(model, images)
    sums, _ = score(model, Batches(images, CPU), 3)
    valid = masks != IGNORE
    probabilities = logits.softmax(1).permute(0, 2, 3, 1)[valid]
    expected = MulticlassCalibrationError(CLASSES, n_bins=15, norm="l1")(probabilities, masks[valid].long())
    found = metrics.ece(sums["bin_count"], sums["bin_correct"], sums["bin_confidence"])
    assert found == pytest.approx(expected.item(), abs=1e-5)
    nll = torch.nn.functional.cross_entropy(logits.double(), masks.long(), ignore_index=IGNORE)
    assert sums["nll_sum"].sum() / sums["pixels"].sum() == pytest.approx(nll.item(), rel=1e-5)


def test_confusion_counts_by_hand():
    logits = torch.tensor([[[[2.0, 0.0, 0.0, 2.0]], [[0.0, 2.0, 2.0, 0.0]]]])
    masks = torch.tensor([[[0, 1, 0, IGNORE]]], dtype=torch.uint8)
    assert confusion(logits, masks).tolist() == [[[1, 1], [0, 1]]]
    assert count(logits, masks)["fp"].tolist() == [[0, 1]]


@pytest.mark.parametrize("batch_size", [1, 7, 50])
def test_scores_do_not_depend_on_the_batch_size(model, images, batch_size):
    sums, _ = score(model, Batches(images, CPU), batch_size)
    other, _ = score(model, Batches(images, CPU), 3)
    for name in ("tp", "bin_count", "boundary_both", "boundary_either"):
        assert np.array_equal(sums[name], other[name])


def _final(study, penalty="l1", chosen="1e-4"):
    """A final path, trained and scored at a λ̂ that is written by hand."""
    path = TrainingPath("final", "shapes", "convnet", penalty, 100)
    choose_by_hand(study, path.group, chosen)
    stages.train(study, path)
    return path, path_folder(places.results_folder(study), path)


def _network(study, folder):
    network = networks.build(study.models["convnet"], 4)
    network.load_state_dict(load_file(folder / "weights.safetensors"))
    return network


def test_records_of_the_final_hold_the_weights_scores_and_predictions(tmp_path):
    study = prepared_study(tmp_path)
    path, folder = _final(study)
    table = records.read([folder / "test.parquet"])
    test = open_split(prepared_folder(study, "shapes"), "test")
    logits, masks = _all(_network(study, cell_folder(study, path, "1e-4")), test)
    tp = ((logits.argmax(1) == masks) & (masks == 0)).sum(dim=(1, 2))
    assert [row[0] for row in table["tp"].to_pylist()] == tp[np.argsort(test.ids)].tolist()
    shown = {row["image"]: row["prediction"] for row in table.to_pylist()}
    assert sorted(shown) == sorted(test.ids)
    for index, name in enumerate(test.ids):
        picture = np.asarray(Image.open(io.BytesIO(shown[name])))
        assert np.array_equal(picture, logits[index].argmax(0).numpy())


def test_sums_are_of_train_and_of_test_under_each_corruption(tmp_path):
    options = {"corruptions": ["noise", "contrast"], "severities": [1, 5]}
    study = prepared_study(tmp_path, evaluation=options)
    path, folder = _final(study)
    frame = records.of_sums(records.read([folder / "sums.parquet"], schema=records.SUMS))
    conditions = list(frame[["split", "corruption", "severity"]].itertuples(index=False, name=None))
    corrupted = [("test", kind, severity) for kind in ("contrast", "noise") for severity in (1, 5)]
    assert conditions == [("test", "", 0), *corrupted, ("train", "", 0)]
    test = records.to_cells(records.read([folder / "test.parquet"]))
    clean = frame[(frame["split"] == "test") & (frame["corruption"] == "")]
    for name in ("miou", "dice", "pixel_accuracy"):
        assert clean[name].item() == pytest.approx(test[name].item(), abs=1e-12)
    counted, _ = score(
        _network(study, cell_folder(study, path, "1e-4")), Batches(open_split(prepared(study), "test"), CPU), 5
    )
    assert clean["ece"].item() == metrics.ece(*(counted[f"bin_{name}"] for name in ("count", "correct", "confidence")))
    assert clean["nll"].item() == pytest.approx(counted["nll_sum"].sum() / counted["pixels"].sum(), abs=1e-12)
    train = open_split(prepared_folder(study, "shapes"), "train")
    network = _network(study, cell_folder(study, path, "1e-4"))
    counted, _ = score(network, Batches(train, CPU), 5)
    expected = metrics.miou(counted["tp"], counted["fp"], counted["fn"])
    assert frame.loc[frame["split"] == "train", "miou"].item() == pytest.approx(expected, abs=1e-12)
    dark = Corrupted(Batches(open_split(prepared(study), "test"), CPU), "contrast", 5)
    counted, _ = score(network, dark, 8)
    chosen = frame[(frame["corruption"] == "contrast") & (frame["severity"] == 5)]
    assert chosen["miou"].item() == pytest.approx(metrics.miou(counted["tp"], counted["fp"], counted["fn"]))


def prepared(study):
    return prepared_folder(study, "shapes")


def test_the_sweep_is_scored_on_val_alone_until_lambda_is_selected(tmp_path):
    study = prepared_study(tmp_path)
    stages.train(study, sweep_path())
    folder = path_folder(places.results_folder(study), sweep_path())
    assert {file.name for file in folder.glob("*.parquet")} == {"val.parquet"}
    with pytest.raises(UserError, match=r"l1\.csv is missing; run `softreg select "):
        stages.reveal(study, ("shapes", "convnet", "l1"))
    stages.select(study, ("shapes", "convnet", "l1"))
    stages.reveal(study, ("shapes", "convnet", "l1"))
    sums = records.of_sums(records.read([folder.parent / "sums.parquet"], schema=records.SUMS))
    assert sums["lambda"].tolist() == ["1e-2", "1e-4"]
    test = open_split(prepared(study), "test")
    for value, found in zip(sums["lambda"], sums["miou"], strict=True):
        counted, _ = score(_network(study, cell_folder(study, sweep_path(), value)), Batches(test, CPU), 4)
        assert found == pytest.approx(metrics.miou(counted["tp"], counted["fp"], counted["fn"]), abs=1e-12)


def test_a_choice_from_other_networks_is_not_used(tmp_path):
    """λ̂ names the networks that it was chosen from; the same sweep made again elsewhere may have other ones."""
    study = prepared_study(tmp_path)
    stages.train(study, sweep_path())
    stages.select(study, sweep_path().group)
    job = Graph(study).select(sweep_path().group)
    job.end("of other networks")
    with pytest.raises(UserError, match=r"l1\.csv is not made to the end, or was made under another version"):
        stages.reveal(study, sweep_path().group)
    assert not job.made()
    stages.select(study, sweep_path().group)
    stages.reveal(study, sweep_path().group)


def test_what_followed_from_a_path_that_is_made_again_is_made_again_too(tmp_path):
    """A network that failed is tried again under the same key, and λ̂ may be another one then."""
    study = prepared_study(tmp_path)
    graph, group = Graph(study), sweep_path().group
    stages.train(study, sweep_path())
    stages.select(study, group)
    stages.reveal(study, group)
    stages.train(study, sweep_path())
    assert graph.select(group).made()
    shutil.rmtree(cell_folder(study, sweep_path(), "1e-4").parent)
    stages.train(study, sweep_path())
    assert not any(job.made() for job in (graph.select(group), graph.reveal(group)))


@pytest.mark.parametrize("marked", [True, False])
@pytest.mark.parametrize(
    "name", ["lambda-1e-4/weights.safetensors", "lambda-1e-4/history.csv", "val.parquet", "path.json"]
)
def test_what_is_damaged_is_trained_or_scored_again(tmp_path, name, marked):
    """With a file of the same size, under the mark of the job, or where it was cut short."""
    study = prepared_study(tmp_path)
    stages.train(study, sweep_path())
    job = Graph(study).train(sweep_path())
    file = Path(job.folder, name)
    kept = file.read_bytes() if name != "lambda-1e-4/history.csv" else None
    flip(file)
    if not marked:
        job.mark.unlink()
    assert not any(state.made for state in survey(Graph(study)).paths)
    Graph(study).drop_void_marks()
    assert not job.mark.exists()
    stages.train(study, sweep_path())
    assert job.made()
    assert kept is None or file.read_bytes() == kept


def test_damage_that_no_time_tells_of_is_found_where_the_file_is_read(tmp_path):
    study = prepared_study(tmp_path)
    group, job = sweep_path().group, Graph(study).train(sweep_path())
    stages.train(study, sweep_path())
    for file, stage in (
        (job.makes[1], stages.select),
        (Path(job.folder, "lambda-1e-4/weights.safetensors"), stages.reveal),
    ):
        whole = file.read_bytes()
        flip(file)
        # The kernel's clock for files ticks every few milliseconds.
        time.sleep(0.02)
        os.utime(job.mark)
        assert job.made()
        with pytest.raises(UserError, match=rf"{file.name} is damaged: .* run `softreg train .* sweep shapes"):
            stage(study, group)
        stages.train(study, sweep_path())
        assert file.read_bytes() == whole
        stages.select(study, group)


@pytest.mark.parametrize("name", ["test.parquet", "sums.parquet"])
def test_a_file_of_scores_that_is_gone_is_made_again_and_the_others_are_what_they_were(tmp_path, name):
    study = prepared_study(tmp_path)
    choose_by_hand(study, sweep_path().group, "1e-2")
    final = TrainingPath("final", *sweep_path().group, 100, None)
    stages.train(study, final)
    files = [Path(path_folder(places.results_folder(study), final), each) for each in places.RECORDS["final"]]
    whole = [file.read_bytes() for file in files]
    path_folder(places.results_folder(study), final).joinpath(name).unlink()
    stages.train(study, final)
    assert [file.read_bytes() for file in files] == whole


def flip(file: Path) -> None:
    """Change one bit in the middle of a file."""
    content = bytearray(file.read_bytes())
    content[len(content) // 2] ^= 1
    file.write_bytes(content)


def test_a_revealed_network_is_not_scored_again(tmp_path, monkeypatch):
    """One λ more: only that one is scored on test."""
    study = prepared_study(tmp_path)
    stages.train(study, sweep_path())
    stages.select(study, sweep_path().group)
    stages.reveal(study, sweep_path().group)
    more = prepared_study(tmp_path, penalties={"none": {}, "l1": {"lambda": [1e-4, 1e-3, 1e-2]}})
    stages.train(more, sweep_path())
    stages.select(more, sweep_path().group)
    scored = []
    original = Evaluator.revealed
    monkeypatch.setattr(Evaluator, "revealed", lambda self, cells: scored.extend(cells) or original(self, cells))
    stages.reveal(more, sweep_path().group)
    assert [cell.lambda_ for cell in scored] == ["1e-3"]
    sums = records.read([places.revealed(more, sweep_path().group)], schema=records.SUMS)
    assert sorted(sums["lambda"].to_pylist()) == ["1e-2", "1e-3", "1e-4"]


def test_cells_that_did_not_finish_have_no_records(tmp_path):
    study = prepared_study(tmp_path)
    stages.train(study, sweep_path())
    file = cell_folder(study, sweep_path(), "1e-4") / "cell.json"
    seal(file, sealed(file) | {"status": "diverged", "weights_sha256": None}, [])
    Graph(study).train(sweep_path()).mark.unlink()
    stages.train(study, sweep_path())
    table = records.read([file.parents[1] / "val.parquet"], schema=records.SUMS)
    assert set(table["lambda"].to_pylist()) == {"1e-2"}


def test_a_settled_cell_is_one_that_ended_under_its_own_key(tmp_path):
    study = prepared_study(tmp_path)
    stages.train(study, sweep_path())
    results = places.results_folder(study)
    digest = read_json(prepared_folder(study, "shapes") / "dataset.json")["content_digest"]
    cell, other = make_cells(study, sweep_path(), ["1e-4", "1e-2"], results, digest)
    assert cell.settled()
    (cell.folder / "weights.safetensors").unlink()
    assert not cell.settled()
    assert other.settled()
    assert not any(changed.settled() for changed in make_cells(study, sweep_path(), ["1e-2"], results, "other data"))
