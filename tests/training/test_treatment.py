"""What the strength of a comparator or control, and of L2-SP, does to a cell that is really trained."""

import pandas as pd
import pytest
import torch
import torch.nn.functional as F
from projects import cell_folder, normed, prepared_study, sweep_path
from safetensors.torch import load_file
from torch import nn
from trainers import bench_of, same, state, trainer

from softreg import networks
from softreg.data.datasets import prepared_folder
from softreg.errors import UserError
from softreg.files import read_json
from softreg.networks import lite0
from softreg.running import stages
from softreg.running.graph import Graph
from softreg.scoring import records
from softreg.study.cells import path_spec
from softreg.study.matrix import parse_path
from softreg.study.treatment import CONTROLS, Treatment, treatment_of
from softreg.training.imageset import open_split
from softreg.training.stopping import Interrupted, StopRequest

#: Images as they are, and one step on all 12 of them.
PLAIN = {"scale": None, "flip": False, "brightness": 0, "contrast": 0, "saturation": 0}
ONE_STEP = {
    "epochs": 1,
    "batch_size": 12,
    "optimizer": "sgd",
    "momentum": 0.0,
    "lr": 0.1,
    "schedule": "constant",
    "augmentation": PLAIN,
}
BARE = {"net": {"kind": "convnet", "dropout": 0}}
UNET = {"kind": "smp", "architecture": "unet", "encoder": "resnet18"}
LITE0 = {"kind": "smp", "encoder": "tu-tf_efficientnet_lite0", "weights": "lite0"}


@pytest.fixture(autouse=True)
def _project(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)


def weights_of(study, penalty, lambda_, model="net"):
    return load_file(cell_folder(study, sweep_path(penalty, model=model), lambda_) / "weights.safetensors")


def test_a_strength_is_one_thing_only():
    names = {"dropout": "dropout", "label_smoothing": "smoothing", "pruning": "pruned", "small_dense": "removed"}
    assert names.keys() == CONTROLS
    for kind, name in names.items():
        assert treatment_of(kind, 0.3) == Treatment(**{name: 0.3})
    for kind in ("none", "l1", "l2_sp", "mine.py:Mine"):
        assert treatment_of(kind, 0.3) == Treatment(lambda_=0.3)


def entering_the_head(model, images):
    """What the network's last module is given; the network's own dropout draws the same each time."""
    torch.manual_seed(0)
    seen = []
    hook = model.head.register_forward_hook(lambda _, inputs, output: seen.append(inputs[0].detach()))
    with torch.no_grad():
        model(images)
    hook.remove()
    return seen[0]


@pytest.mark.parametrize(
    "spec",
    [
        {"kind": "convnet", "dropout": 0},
        {**UNET, "weights": "none", "options": {}},
        {**UNET, "architecture": "deeplabv3plus", "weights": "none", "options": {}},
    ],
    ids=["convnet", "unet", "deeplabv3plus"],
)
def test_dropout_drops_whole_channels_before_the_head_in_training_only(spec):
    torch.manual_seed(0)
    model = networks.build(spec, 4).train()
    # Running statistics are not in the way: the inputs of the head come from batch statistics in both passes.
    images = torch.rand(8, 3, 64, 64)
    whole = entering_the_head(model, images)
    model.dropout = 0.5
    dropped = entering_the_head(model, images)
    gone = (dropped == 0).all((2, 3)) & (whole != 0).any(3).any(2)
    assert 0.3 < gone.double().mean() < 0.7
    expected = whole * 2 * ~((dropped == 0).all((2, 3)))[..., None, None]
    torch.testing.assert_close(dropped, expected)
    model.eval()
    kept = entering_the_head(model, images)
    model.dropout = 0.0
    assert torch.equal(kept, entering_the_head(model, images))


def test_dropout_draws_by_seed_and_step_and_so_resumes(tmp_path):
    training = {"epochs": 2, "batch_size": 4, "optimizer": "sgd", "lr": 0.05}
    study = prepared_study(tmp_path, models=BARE, penalties={"none": {}, "dropout": {}}, training=training)
    bench = bench_of(study, sweep_path("dropout", model="net"))
    states = {}
    for name in ("whole", "again"):
        trainer(bench, 0.3, tmp_path / name).run()
        states[name] = state(bench)
    late = StopRequest()
    with pytest.raises(Interrupted):
        trainer(bench, 0.3, tmp_path / "halves", late, lambda row: setattr(late, "signal", 15)).run()
    trainer(bench, 0.3, tmp_path / "halves").run()
    assert same(states["whole"], states["again"])
    assert same(states["whole"], bench.model.state_dict())
    trainer(bench, 0.0, tmp_path / "none").run()
    assert not same(states["whole"], bench.model.state_dict())


def test_dropout_of_one_cell_does_not_stay_for_the_next(tmp_path):
    study = prepared_study(tmp_path, models=BARE, penalties={"none": {}, "dropout": {}})
    bench = bench_of(study, sweep_path("dropout", model="net"))
    trainer(bench, 0.5, tmp_path / "first")
    assert bench.model.dropout == 0.5
    trainer(bench, 0.1, tmp_path / "second")
    assert bench.model.dropout == 0.1


def test_dropout_without_a_known_last_layer_is_refused(tmp_path):
    """It would train the baseline under the name of dropout."""
    (tmp_path / "own.py").write_text(
        "from torch import nn\n\n\n"
        "class Headless(nn.Sequential):\n"
        "    def __init__(self, classes: int) -> None:\n"
        "        super().__init__(nn.Conv2d(3, classes, 1))\n"
    )
    study = prepared_study(tmp_path, models={"own": {"kind": "own.py:Headless"}}, penalties={"none": {}, "dropout": {}})
    stages.train(study, sweep_path("none", model="own"))
    with pytest.raises(UserError, match="`head`"):
        stages.train(study, sweep_path("dropout", model="own"))


@pytest.mark.parametrize("epsilon", ["1e-1", "3e-1"])
def test_label_smoothing_is_torchs_in_value_and_gradient(tmp_path, epsilon):
    penalties = {"none": {}, "label_smoothing": {"lambda": [float(epsilon)]}}
    study = prepared_study(tmp_path, models=BARE, penalties=penalties, training=ONE_STEP)
    bench = bench_of(study, sweep_path("label_smoothing", model="net"))
    model = bench.model
    model.load_state_dict(bench.initial)
    images, masks = open_split(prepared_folder(study, "shapes"), "train").read(range(12))
    logits = model(torch.from_numpy(images).permute(0, 3, 1, 2).float() / 255)
    loss = F.cross_entropy(logits, torch.from_numpy(masks).long(), label_smoothing=float(epsilon))
    loss.backward()
    expected = {name: parameter.detach() - 0.1 * parameter.grad for name, parameter in model.named_parameters()}
    stages.train(study, sweep_path("label_smoothing", model="net"))
    folder = cell_folder(study, sweep_path("label_smoothing", model="net"), epsilon)
    assert pd.read_csv(folder / "history.csv").data_term[0] == pytest.approx(loss.item(), rel=1e-5)
    found = load_file(folder / "weights.safetensors")
    for name, parameter in expected.items():
        torch.testing.assert_close(found[name], parameter, rtol=1e-5, atol=1e-7)


def test_random_numbers_are_common_to_all(tmp_path):
    """Initial weights and every batch are the same, whatever the treatment; where it leads is not."""
    penalties = {"none": {}, "l1": {"lambda": [0.01]}, "dropout": {}, "label_smoothing": {}, "pruning": {}}
    study = prepared_study(tmp_path, models={"net": {"kind": "convnet"}}, penalties=penalties)
    initial, batches, states = {}, {}, {}
    for kind in penalties:
        bench = bench_of(study, sweep_path(kind, model="net"))
        initial[kind] = bench.initial
        seen = batches.setdefault(kind, [])
        bench.model.register_forward_pre_hook(
            lambda model, inputs, seen=seen: seen.append(inputs[0].clone()) if model.training else None
        )
        trainer(bench, 0.3 if kind != "none" else 0.0, tmp_path / kind).run()
        states[kind] = bench.model.state_dict()
    assert len(batches["none"]) == 9
    for kind in penalties.keys() - {"none"}:
        assert same(initial[kind], initial["none"]), kind
        assert torch.equal(torch.stack(batches[kind]), torch.stack(batches["none"])), kind
        assert not same(states[kind], states["none"]), kind


def rebuilt(state):
    """The tiny study's network at the sizes that its stored weights have, written out."""
    sizes = {name: tensor.shape for name, tensor in state.items()}
    first, second, third = (sizes[f"network.{name}.weight"][0] for name in ("encoder.0", "encoder.3", "decoder.0"))
    network = nn.Sequential(
        nn.Sequential(
            nn.Conv2d(3, first, 5, padding=2),
            nn.ReLU(),
            nn.MaxPool2d(2),
            nn.Conv2d(first, second, 5, padding=2),
            nn.ReLU(),
            nn.MaxPool2d(2),
        ),
        nn.Sequential(nn.Conv2d(second, third, 1), nn.ReLU(), nn.Identity(), nn.Conv2d(third, 4, 1)),
        nn.Upsample(scale_factor=4, mode="bilinear"),
    )
    names = {"encoder": "0", "decoder": "1"}
    own = {}
    for name, tensor in state.items():
        _, _, rest = name.partition("network.")
        if rest:
            part, _, place = rest.partition(".")
            own[f"{names[part]}.{place}"] = tensor
    network.load_state_dict(own)
    return network.eval()


def test_small_networks_are_rebuilt_at_their_size(tmp_path):
    study = prepared_study(tmp_path, penalties={"none": {}, "small_dense": {"lambda": [0.5, 0.9]}})
    path = sweep_path("small_dense")
    stages.train(study, sweep_path("none"))
    stages.train(study, path)
    table = records.read([cell_folder(study, path, "5e-1").parent / "val.parquet"], schema=records.SUMS).to_pandas()
    data = open_split(prepared_folder(study, "shapes"), "val")
    images, masks = (torch.from_numpy(array) for array in data.read(range(len(data))))
    full = read_json(cell_folder(study, sweep_path("none"), "0") / "cell.json")
    parameters = []
    for lambda_, share in (("5e-1", 0.5), ("9e-1", 0.1)):
        state = load_file(cell_folder(study, path, lambda_) / "weights.safetensors")
        record = read_json(cell_folder(study, path, lambda_) / "cell.json")
        assert record["penalised"] / full["penalised"] == pytest.approx(share, abs=0.03)
        assert record["steps"] == full["steps"]
        parameters.append(record["parameters"])
        with torch.no_grad():
            predicted = rebuilt(state)(images.permute(0, 3, 1, 2).float() / 255).argmax(1)
        (own,) = table.loc[table["lambda"] == lambda_, "tp"]
        assert list(own) == [int(((predicted == c) & (masks == c)).sum()) for c in range(4)]
    assert parameters[0] > 2 * parameters[1]


@pytest.mark.slow
def test_l2_sp_without_pretrained_weights_is_l2(tmp_path):
    grid = {"lambda": [0.01, 1.0]}
    for realisation in ("proximal", "subgradient", "decoupled"):
        entry = {**grid, "realisation": realisation}
        penalties, training = {"l2": entry, "l2_sp": entry}, {"epochs": 1, "batch_size": 4}
        study = prepared_study(tmp_path, realisation, penalties=penalties, models=BARE, training=training)
        for kind in ("l2", "l2_sp"):
            stages.train(study, sweep_path(kind, model="net"))
        for lambda_ in ("1e-2", "1e0"):
            assert same(weights_of(study, "l2", lambda_), weights_of(study, "l2_sp", lambda_)), realisation


@pytest.mark.slow
@pytest.mark.parametrize(("optimizer", "lr"), [("sgd", 0.1), ("adam", 1e-3)])
def test_strong_l2_sp_holds_the_encoder_where_it_started(tmp_path, optimizer, lr):
    penalties = {"l2_sp": {"lambda": [1e6]}}
    training = {"epochs": 1, "batch_size": 4, "crop": 32, "optimizer": optimizer, "lr": lr, "schedule": "constant"}
    shapes = {"shapes": {"images": 24, "size": [32, 32], "split": {"val": 0.25, "test": 0.25}}}
    study = prepared_study(tmp_path, datasets=shapes, models={"net": LITE0}, penalties=penalties, training=training)
    stages.train(study, sweep_path("l2_sp", model="net"))
    held = weights_of(study, "l2_sp", "1e6")
    published = {f"network.encoder.{name}": tensor for name, tensor in lite0.state().items() if tensor.ndim > 1}
    for name, tensor in held.items():
        if tensor.ndim > 1:
            start = published.get(name, torch.zeros(()))
            assert (tensor - start).abs().max() < 1e-4, name
    assert len(published) > 40
    assert len({name for name, tensor in held.items() if tensor.ndim > 1} - published.keys()) > 5
    # What is held are the penalised weights alone.
    moved = [
        name
        for name, tensor in lite0.state().items()
        if name.endswith("bn1.weight") and not torch.equal(held[f"network.encoder.{name}"], tensor)
    ]
    assert moved


def test_normalised_penalises_the_layers_before_a_normalisation_alone(tmp_path):
    entry = {"l1": {"lambda": [0.1], "weights": "normalised"}}
    training = {"epochs": 1, "batch_size": 4, "optimizer": "sgd", "lr": 0.1}
    study = prepared_study(tmp_path, models={"net": normed(tmp_path)}, penalties=entry, training=training)
    path = sweep_path(model="net")
    stages.train(study, path)
    layers = pd.read_csv(cell_folder(study, path, "1e-1") / "layers.csv").set_index("layer")
    assert layers.penalised.tolist() == layers.normalised.tolist()
    assert layers.penalised.to_dict() == {0: True, 3: False}
    assert layers.exact_zeros[3] == 0
    assert (layers.exact_zeros[layers.penalised] > 0).all()


def test_weights_normalised_of_a_network_without_any_is_told(tmp_path):
    bare = {"kind": "smp", "architecture": "unet", "encoder": "vgg11", "options": {"decoder_use_norm": False}}
    entry = {"l1": {"lambda": [0.1], "weights": "normalised"}}
    shapes = {"shapes": {"images": 24, "size": [32, 32], "split": {"val": 0.25, "test": 0.25}}}
    study = prepared_study(tmp_path, datasets=shapes, models={"net": bare}, penalties=entry)
    with pytest.raises(UserError, match=r"penalties\.l1\.weights is 'normalised', but model net has no such weights"):
        stages.train(study, sweep_path(model="net"))


def test_a_penaltys_training_goes_over_the_models(tmp_path):
    """One step of sgd moves a weight by lr times its gradient; one of adam moves all by lr."""
    model = {"net": {"kind": "convnet", "dropout": 0, "training": {"lr": 0.05}}}
    training = ONE_STEP | {"lr": 0.5}
    plain = {"none": {}, "adamw": {"kind": "decoupled_decay", "lambda": [1e-12]}}
    own = {**plain, "adamw": {**plain["adamw"], "training": {"optimizer": "adam", "lr": 1e-3}}}
    studies = {
        name: prepared_study(tmp_path, name, models=model, penalties=entries, training=training)
        for name, entries in {"plain": plain, "own": own}.items()
    }
    keys = {
        name: Graph(study).train(parse_path("sweep", "shapes/net/adamw/seed0")).key for name, study in studies.items()
    }
    assert keys["plain"] != keys["own"]
    others = {Graph(study).train(parse_path("sweep", "shapes/net/none/seed0")).key for study in studies.values()}
    assert len(others) == 1
    start = bench_of(studies["own"], sweep_path("adamw", model="net")).initial
    moved = {}
    for name, study in studies.items():
        stages.train(study, sweep_path("adamw", model="net"))
        after = weights_of(study, "adamw", "1e-12")
        moved[name] = torch.cat(
            [(after[key] - start[key]).abs().flatten() for key in start if key not in ("mean", "std")]
        )
    assert moved["own"].max() < 1.01e-3
    assert moved["own"].median() == pytest.approx(1e-3, rel=0.05)
    assert moved["plain"].median() < 1e-3
    stages.train(studies["own"], sweep_path("none", model="net"))
    records_of = {
        penalty: cell_folder(studies["own"], sweep_path(penalty, model="net"), lambda_) / "history.csv"
        for penalty, lambda_ in (("adamw", "1e-12"), ("none", "0"))
    }
    assert {name: pd.read_csv(file).lr[0] for name, file in records_of.items()} == {"adamw": 1e-3, "none": 0.05}


def test_a_strength_that_the_network_does_not_allow_ends_its_cell_alone(tmp_path):
    """Lite0's channel counts share 8: a ratio of 2/8 leaves 7 % of the weights, too many for the 5 % of λ = 0.95."""
    lite = {"kind": "smp", "architecture": "unet", "encoder": "tu-tf_efficientnet_lite0"}
    penalties = {"none": {}, "small_dense": {"lambda": [0.9, 0.95]}}
    study = prepared_study(tmp_path, models={"lite": lite}, penalties=penalties, training={"epochs": 1, "crop": 32})
    path = sweep_path("small_dense", model="lite")
    stages.train(study, path)
    records = {value: read_json(cell_folder(study, path, value) / "cell.json") for value in ("9e-1", "9.5e-1")}
    assert [record["status"] for record in records.values()] == ["finished", "failed"]
    assert "come nearest" in records["9.5e-1"]["reason"]


OWN = """
import torch
from torch import nn


class Own(nn.Module):
    pretrained = {pretrained}

    def __init__(self, classes: int, start: str = "start.txt") -> None:
        super().__init__()
        self.encoder = nn.Conv2d(3, 8, 3, padding=1)
        self.encoder.weight.data.fill_(0.5)
        self.head = nn.Conv2d(8, classes, 1)
        {change}

    def forward(self, images):
        return self.head(self.encoder(images).relu())
"""


def own_study(tmp_path, pretrained="True", change="pass"):
    (tmp_path / "own.py").write_text(OWN.format(pretrained=pretrained, change=change))
    (tmp_path / "start.txt").write_text("first")
    penalties = {"none": {}, "l2_sp": {"lambda": [1e6]}, "small_dense": {"lambda": [0.5]}}
    return prepared_study(tmp_path, models={"own": {"kind": "own.py:Own"}}, penalties=penalties)


def test_a_users_pretrained_encoder_is_what_l2_sp_measures_from(tmp_path):
    study = own_study(tmp_path)
    path = sweep_path("l2_sp", model="own")
    stages.train(study, path)
    weights = load_file(cell_folder(study, path, "1e6") / "weights.safetensors")
    assert float((weights["network.encoder.weight"] - 0.5).abs().max()) < 0.05
    assert float(weights["network.head.weight"].abs().max()) < 0.05
    stages.train(study, sweep_path("small_dense", model="own"))
    record = read_json(cell_folder(study, sweep_path("small_dense", model="own"), "5e-1") / "cell.json")
    assert record["status"] == "failed"
    assert "pretrained" in record["reason"]


@pytest.mark.parametrize(
    ("change", "sentence"),
    [
        ("nn.utils.parametrizations.weight_norm(self.encoder)", "layer encoder computes its weight"),
        ("self.encoder.requires_grad_(False)", "layer encoder is frozen"),
    ],
)
def test_weights_that_no_penalty_can_act_on_are_refused(tmp_path, change, sentence):
    study = own_study(tmp_path, "False", change)
    with pytest.raises(UserError, match=sentence):
        stages.train(study, sweep_path("none", model="own"))


def test_a_file_that_an_option_names_is_part_of_the_key(tmp_path):
    study = own_study(tmp_path)
    path = sweep_path("none", model="own")
    before = path_spec(study, path)
    (tmp_path / "start.txt").write_text("second, longer")
    assert path_spec(study, path) != before
