"""``softreg check STUDY.yaml`` on models: what would fail in training is told before, and each is built once."""

from pathlib import Path

import pytest
import torch
from projects import write_study
from safetensors.torch import save_file

from softreg import networks
from softreg.cli import main
from softreg.contract import networks as contract
from softreg.contract.networks import try_networks
from softreg.errors import UserError
from softreg.study.config import load_study

UNET = {"kind": "smp", "architecture": "unet", "encoder": "resnet18"}
SHAPES = {"images": 24, "split": {"val": 0.25, "test": 0.25}}
VIT = {"kind": "smp", "architecture": "dpt", "encoder": "tu-vit_tiny_patch16_224"}
SWIN = {**UNET, "encoder": "tu-swin_tiny_patch4_window7_224"}
OWN = """
import torch
from torch import nn


class Own(nn.Module):
    def __init__(self, classes, way: str = ""):
        super().__init__()
        self.head, self.other = nn.Conv2d(3, classes, 1), nn.Conv2d(3, classes, 1)
        self.way, self.noise = way, torch.rand(1)
        if way == "tied":
            self.other.weight = self.head.weight

    def forward(self, images):
        logits = self.head(images) + self.noise
        return logits[..., 1:] if self.way == "small" else logits
"""


@pytest.fixture(autouse=True)
def _project(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "own.py").write_text(OWN)


def study(model, size=(64, 96), **training):
    datasets = {"shapes": {**SHAPES, "size": list(size)}}
    training = {"epochs": 1, "batch_size": 4, "lr": 1e-3, **training}
    return load_study(write_study(Path(), models={"it": model}, datasets=datasets, training=training))


#: A model, the size of the images, the training, and what is said.
REFUSED = {
    "unet++ with mit": ({**UNET, "architecture": "unetplusplus", "encoder": "mit_b0"}, {}, "not support encoder_name"),
    "linknet with mit": ({**UNET, "architecture": "linknet", "encoder": "mit_b0"}, {}, "is not supported for Linknet"),
    "pan on small images": ({**UNET, "architecture": "pan"}, {"size": (64, 64)}, "Output size is too small"),
    "dpt": (VIT, {}, "Input height (64) doesn't match model (224)"),
    "swin": (SWIN, {}, "Input height (64) doesn't match model (224)"),
    "swin of another crop": ({**SWIN, "options": {"img_size": 32}}, {"crop": 32}, "Input height (64) doesn't match"),
    "one image in a batch": (
        {**UNET, "architecture": "deeplabv3plus"},
        {"batch_size": 1, "crop": 32},
        "Expected more than 1 value per channel when training",
    ),
    "logits of another size": (
        {**UNET, "architecture": "fpn", "options": {"upsampling": 2}},
        {},
        "it gives (1, 4, 32, 48) for images (1, 3, 64, 96), where logits have to be (1, 4, 64, 96)",
    ),
    "an encoder lacks the option": ({**UNET, "encoder": "tu-resnet18", "options": {"img_size": 64}}, {}, "img_size'"),
    "a weight of two layers": ({"kind": "own.py:Own", "way": "tied"}, {}, "head and other share one weight"),
    "logits of ones own": ({"kind": "own.py:Own", "way": "small"}, {}, "own.py, line 14: forward gives (1, 4, 64, 95)"),
}


@pytest.mark.parametrize("case", REFUSED)
def test_what_would_fail_in_training_is_refused(case):
    model, given, words = REFUSED[case]
    with pytest.raises(UserError, match=r"tiny\.yaml: models\.it: ") as refused:
        try_networks(study(model, **given))
    assert words in str(refused.value)
    assert "\n" not in str(refused.value)


@pytest.mark.parametrize(
    ("model", "given"),
    [
        ({**VIT, "options": {"dynamic_img_size": True}}, {}),
        ({**SWIN, "options": {"img_size": [64, 96]}}, {}),
        ({**SWIN, "options": {"strict_img_size": False}}, {"crop": 32}),
        ({**UNET, "architecture": "pan"}, {"size": (128, 128)}),
        # Its constant is on the CPU, where all of it would be: the meta device cannot run it.
        ({"kind": "own.py:Own"}, {}),
    ],
    ids=["dpt", "swin", "swin of any size", "pan", "own"],
)
def test_what_would_train_is_not(model, given):
    assert try_networks(study(model, **given)) == 1


@pytest.mark.parametrize(
    ("penalty", "words"),
    [
        ({"kind": "l1", "lambda": [1e-4], "weights": "encoder"}, r"penalties\.it\.weights is 'encoder', but model it"),
        ({"kind": "dropout", "lambda": [0.5]}, r"penalties\.it drops what enters the network's last layer"),
    ],
    ids=["encoder", "dropout"],
)
def test_a_penalty_with_nothing_to_act_on_is_refused(penalty, words):
    Path("own.py").write_text(OWN.replace("self.head", "self.last"))
    file = write_study(Path(), models={"it": {"kind": "own.py:Own"}}, penalties={"none": {}, "it": penalty})
    with pytest.raises(UserError, match=words):
        try_networks(load_study(file))


def test_options_of_timm_are_for_encoders_of_timm():
    with pytest.raises(UserError, match=r"models\.it\.options\.img_size is for encoders of timm"):
        study({**UNET, "options": {"img_size": 64}})


@pytest.mark.parametrize(
    ("change", "words"),
    [
        (lambda state: ({}, {"mean": "[0, 0, 0]"}), "does not say how images were normalised"),
        (lambda state: ({"a": torch.zeros(1)}, {"mean": "[0, 0, 0]", "std": "[1, 1, 1]"}), "do not fit the study's"),
        (lambda state: (state, {"mean": "[0, 0, 0]", "std": "[1, 1, 1]"}), ""),
    ],
    ids=["metadata", "names", "right"],
)
def test_a_file_of_weights_is_looked_at(change, words):
    state, about = change(networks.build({**UNET, "weights": "none", "options": {}}, 4).network.encoder.state_dict())
    save_file(state, "w.safetensors", about)
    given = study({**UNET, "weights": "w.safetensors"})
    if not words:
        assert try_networks(given) == 1
        return
    with pytest.raises(UserError, match=rf"models\.it: .*w\.safetensors {words}"):
        try_networks(given)


def test_each_distinct_network_is_built_once(monkeypatch, capsys):
    built = []
    monkeypatch.setattr(contract.networks, "build", lambda *given: built.append(given) or networks.smp.build(*given))
    models = {
        **{f"unet{number}": {**UNET, "training": {"lr": number / 100}} for number in range(1, 5)},
        **{f"narrow{number}": {**UNET, "options": {"decoder_channels": [64, 32, 16, 8, 4]}} for number in range(4)},
        **{f"fpn{number}": {**UNET, "architecture": "fpn"} for number in range(4)},
    }
    assert main(["check", str(write_study(Path(), models=models))]) == 0
    assert len(built) == 3
    assert "3 network(s) built, and run on images of the study's sizes without a fault" in capsys.readouterr().out


def test_a_penalty_that_cannot_be_made_is_refused_whatever_the_networks(tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    begin = "from softreg.penalties.l1 import L1\n\n\nclass Odd(L1):\n    def __init__(self, free: float = 1.0):\n"
    Path("odd.py").write_text(begin + "        super().__init__()\n        1 / (free - 3)\n")
    odd = {"kind": "odd.py:Odd", "free": 3.0, "lambda": [1e-3]}
    assert main(["check", str(write_study(tmp_path, penalties={"none": {}, "odd": odd}))]) == 2
    assert "odd.py, line 7: ZeroDivisionError" in capsys.readouterr().err
