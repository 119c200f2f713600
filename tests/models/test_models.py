"""Networks: shapes at any size, the penalised set, and pretrained weights that really arrive."""

import pytest
import torch
from safetensors.torch import save_file
from torch import nn

from softreg.errors import UserError
from softreg.models import build, lite0

CONVNET = {"kind": "convnet", "dropout": 0.5}
UNET = {"kind": "smp", "architecture": "unet", "encoder": "resnet18", "weights": "none", "options": {}}
LITE0 = {**UNET, "encoder": "tu-tf_efficientnet_lite0", "weights": "lite0"}


@pytest.mark.parametrize("spec", [CONVNET, UNET, {**UNET, "architecture": "fpn"}], ids=["convnet", "unet", "fpn"])
@pytest.mark.parametrize("size", [(64, 64), (50, 71)])
def test_logits_have_the_images_size(spec, size):
    model = build(spec, classes=5).eval()
    assert model(torch.rand(2, 3, *size)).shape == (2, 5, *size)


def test_the_convnet_has_the_articles_layers():
    sizes = [tuple(weight.shape) for weight in build(CONVNET, classes=10).weights()]
    assert sizes == [(32, 3, 5, 5), (64, 32, 5, 5), (512, 64, 1, 1), (10, 512, 1, 1)]


@pytest.mark.parametrize("spec", [CONVNET, UNET], ids=["convnet", "unet"])
def test_the_penalised_weights_are_all_parameters_but_biases_and_normalisation(spec):
    model = build(spec, classes=3)
    expected = [parameter for parameter in model.parameters() if parameter.ndim > 1]
    found = model.weights()
    assert {id(weight) for weight in found} == {id(parameter) for parameter in expected}
    assert len(found) == len(expected)
    parts = model.weights("encoder") + model.weights("decoder")
    assert {id(weight) for weight in parts} == {id(weight) for weight in found}
    assert model.weights("encoder")
    assert model.weights("decoder")


def test_lite0_weights_fill_the_whole_encoder():
    published = lite0.state()
    encoder = build(LITE0, classes=3).network.encoder.state_dict()
    assert set(published) == set(encoder)
    assert all(torch.equal(published[name], encoder[name]) for name in encoder)


def test_lite0_tells_a_photograph_apart_as_published_weights_do():
    """Real features: random weights give nearly the same feature whatever the image; ImageNet's do not."""
    torch.manual_seed(0)
    grid = torch.linspace(0, 1, 64)
    images = torch.stack([grid.expand(3, 64, 64), (grid[:, None] > 0.5).float().expand(3, 64, 64)])
    model = build(LITE0, classes=2).eval()
    with torch.no_grad():
        first, second = model.network.encoder((images - 0.5) / 0.5)[-1].flatten(1)
    assert torch.cosine_similarity(first, second, dim=0) < 0.9


def test_normalisation_belongs_to_the_weights_and_travels_with_them():
    lite = build(LITE0, 2)
    assert lite.mean.tolist() == [0.5, 0.5, 0.5]
    again = build(LITE0, 2, pretrained=False)
    again.load_state_dict(lite.state_dict())
    assert again.mean.tolist() == [0.5, 0.5, 0.5]
    assert build(UNET, 2).mean.tolist() == pytest.approx([0.485, 0.456, 0.406])
    assert build(CONVNET, 2).std.tolist() == [1.0, 1.0, 1.0]


def test_weights_from_a_safetensors_file(tmp_path):
    state = build(UNET, 2).network.encoder.state_dict()
    state = {name: torch.ones_like(tensor) for name, tensor in state.items()}
    save_file(state, tmp_path / "ones.safetensors")
    model = build({**UNET, "weights": str(tmp_path / "ones.safetensors")}, 2)
    convolution = next(module for module in model.network.encoder.modules() if isinstance(module, nn.Conv2d))
    assert torch.all(convolution.weight == 1)


def test_weights_of_another_encoder_are_refused_in_one_sentence(tmp_path):
    save_file({"conv1.weight": torch.ones(1)}, tmp_path / "other.safetensors")
    with pytest.raises(UserError, match="do not fit") as refused:
        build({**UNET, "weights": str(tmp_path / "other.safetensors")}, 2)
    assert "\n" not in str(refused.value)
    (tmp_path / "text.safetensors").write_text("no tensors")
    with pytest.raises(UserError, match="cannot be read as safetensors"):
        build({**UNET, "weights": str(tmp_path / "text.safetensors")}, 2)


def test_a_combination_that_the_library_refuses_is_named_in_one_sentence():
    with pytest.raises(UserError, match="dpt with encoder resnet18 cannot be built") as refused:
        build({**UNET, "architecture": "dpt"}, 2)
    assert "\n" not in str(refused.value)
