"""What only a GPU can show: the same bits every time, exact resumption there, and agreement with the CPU."""

import pytest
import torch
from projects import cell_folder, prepared_study, sweep_path
from small import STUDY, StopAfter

from softreg import networks, penalties
from softreg.contract.penalty import check_penalty
from softreg.data.datasets import prepared_folder
from softreg.files import read_json, sha256_file
from softreg.networks.probe import normalised
from softreg.running import places, stages
from softreg.study.cells import path_folder
from softreg.study.treatment import CONTROLS
from softreg.training.cell import CellTrainer
from softreg.training.imageset import Batches, open_split
from softreg.training.path import make_bench
from softreg.training.stopping import Interrupted
from softreg.training.validation import count, predict

pytestmark = pytest.mark.gpu

UNET = {"kind": "smp", "architecture": "unet", "encoder": "resnet18"}


@pytest.fixture(autouse=True)
def _project(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)


@pytest.mark.parametrize("model", [{"kind": "convnet"}, UNET], ids=["convnet", "unet"])
@pytest.mark.parametrize("optimizer", ["sgd", "adam"])
def test_training_twice_gives_the_same_bits(tmp_path, model, optimizer):
    training = {**STUDY["training"], "optimizer": optimizer}
    found = []
    for name in ("first", "second"):
        study = prepared_study(tmp_path, name, **{**STUDY, "models": {"m": model}, "training": training})
        stages.train(study, sweep_path(model="m"))
        folder = cell_folder(study, sweep_path(model="m"), "1e-2")
        assert read_json(folder / "cell.json")["status"] == "finished"
        found.append([sha256_file(file) for file in (folder / "weights.safetensors", folder.parent / "val.parquet")])
    assert found[0] == found[1]


@pytest.mark.parametrize("steps", [1, 4])
def test_a_cell_goes_on_from_its_checkpoint_to_the_same_bits(tmp_path, steps):
    study = prepared_study(tmp_path, **{**STUDY, "models": {"m": UNET}})
    bench = make_bench(study, sweep_path(model="m"), prepared_folder(study, "shapes"), 4, torch.device("cuda"))

    def trainer(name, stop):
        return CellTrainer(bench, 1e-3, tmp_path / name, "key", stop, lambda row: None)

    trainer("whole.pt", StopAfter(10**9)).run()
    whole = [parameter.clone() for parameter in bench.model.parameters()]
    with pytest.raises(Interrupted):
        trainer("halves.pt", StopAfter(steps)).run()
    trainer("halves.pt", StopAfter(10**9)).run()
    assert all(torch.equal(one, other) for one, other in zip(whole, bench.model.parameters(), strict=True))


def test_scores_agree_with_the_cpus_up_to_bfloat16(tmp_path):
    study = prepared_study(tmp_path, **STUDY)
    images = open_split(prepared_folder(study, "shapes"), "test")
    torch.manual_seed(0)
    model = networks.build({"kind": "convnet", "dropout": 0.5}, 4)
    pixels = len(images) * 64 * 64
    hits = []
    for device in (torch.device("cpu"), torch.device("cuda")):
        ((logits, masks),) = predict(model.to(device), Batches(images, device), len(images))
        hits.append(int(count(logits, masks)["tp"].sum()))
    assert abs(hits[0] - hits[1]) < 0.01 * pixels


@pytest.mark.parametrize("kind", ["l2", "l1", "soft"])
def test_proximal_steps_are_those_of_the_cpu(kind):
    penalty = penalties.make({"kind": kind})
    weights = [torch.randn(64, 32, 3, 3), torch.randn(10, 64)]
    on_gpu = [weight.cuda() for weight in weights]
    penalty.prox_(weights, 0.3)
    penalty.prox_(on_gpu, [torch.full_like(weight, 0.3) for weight in on_gpu])
    for one, other in zip(weights, on_gpu, strict=True):
        torch.testing.assert_close(one, other.cpu(), rtol=1e-6, atol=1e-6)
        assert torch.equal(one == 0, other.cpu() == 0)


#: Every kind of a study's penalties, at a strength that does something.
STRENGTHS = {
    "l2": 1e-2,
    "l1": 1e-3,
    "elastic_net": 1e-3,
    "soft": 1e-3,
    "smooth_l1": 1e-3,
    "berhu": 1e-3,
    "group_lasso": 1e-3,
    "sparse_group_lasso": 1e-3,
    "l0": 1e-6,
    "mcp": 1e-3,
    "hoyer": 1e-5,
    "decoupled_decay": 0.1,
    "l2_sp": 1e-2,
    "dropout": 0.3,
    "label_smoothing": 0.1,
    "pruning": 0.8,
    "small_dense": 0.5,
}


@pytest.mark.parametrize("kind", STRENGTHS)
def test_every_kind_trains_twice_to_the_same_bits(tmp_path, kind):
    found = []
    for name in ("first", "second"):
        entry = {kind: {"lambda": [STRENGTHS[kind]]}}
        study = prepared_study(tmp_path, name, **{**STUDY, "models": {"m": UNET}, "penalties": {"none": {}, **entry}})
        path = sweep_path(kind, model="m")
        stages.train(study, path)
        (record,) = (read_json(file) for file in path_folder(places.results_folder(study), path).glob("*/cell.json"))
        assert record["status"] == "finished"
        found.append(record["weights_sha256"])
    assert found[0] == found[1]


@pytest.mark.parametrize("kind", sorted(set(STRENGTHS) - CONTROLS))
def test_penalties_keep_their_contract_on_the_gpu(tmp_path, kind):
    study = prepared_study(tmp_path, **{**STUDY, "penalties": {"none": {}, kind: {"lambda": [1e-3]}}})
    broken = [finding for finding in check_penalty(penalties.make(study.penalties[kind])) if not finding.kept]
    assert broken == []


def test_the_gpu_finds_the_same_normalised_layers(tmp_path):
    """Its convolutions round more coarsely."""
    model = networks.build({**UNET, "weights": "none", "options": {}}, 4)
    wanted = normalised(model, model.layers(), (64, 64))
    model = model.cuda()
    assert normalised(model, model.layers(), (64, 64)) == wanted
