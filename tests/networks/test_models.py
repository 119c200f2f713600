"""Networks: shapes at any size, the penalised set, and pretrained weights that really arrive."""

import pytest
import torch
from safetensors.torch import save_file
from torch import nn

from softreg.errors import UserError
from softreg.networks import build, lite0
from softreg.networks.layers import layers_of

CONVNET = {"kind": "convnet", "dropout": 0.5}
UNET = {"kind": "smp", "architecture": "unet", "encoder": "resnet18", "weights": "none", "options": {}}
IMAGENET = {"mean": "[0.485, 0.456, 0.406]", "std": "[0.229, 0.224, 0.225]"}
LITE0 = {**UNET, "encoder": "tu-tf_efficientnet_lite0", "weights": "lite0"}


def weights(model, part="all"):
    return [layer.weight for layer in model.layers(part)]


@pytest.mark.parametrize("spec", [CONVNET, UNET, {**UNET, "architecture": "fpn"}], ids=["convnet", "unet", "fpn"])
@pytest.mark.parametrize("size", [(64, 64), (50, 71)])
def test_logits_have_the_images_size(spec, size):
    model = build(spec, classes=5).eval()
    assert model(torch.rand(2, 3, *size)).shape == (2, 5, *size)


def test_the_convnet_has_the_articles_layers():
    sizes = [tuple(weight.shape) for weight in weights(build(CONVNET, classes=10))]
    assert sizes == [(32, 3, 5, 5), (64, 32, 5, 5), (512, 64, 1, 1), (10, 512, 1, 1)]


@pytest.mark.parametrize("spec", [CONVNET, UNET], ids=["convnet", "unet"])
def test_the_penalised_weights_are_all_parameters_but_biases_and_normalisation(spec):
    model = build(spec, classes=3)
    expected = [parameter for parameter in model.parameters() if parameter.ndim > 1]
    found = weights(model)
    assert {id(weight) for weight in found} == {id(parameter) for parameter in expected}
    assert len(found) == len(expected)
    parts = weights(model, "encoder") + weights(model, "decoder")
    assert {id(weight) for weight in parts} == {id(weight) for weight in found}
    assert weights(model, "encoder")
    assert weights(model, "decoder")
    assert {layer.name for layer in model.layers("encoder")} == {
        layer.name for layer in model.layers() if layer.name.startswith("encoder.")
    }


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
    save_file(state, tmp_path / "ones.safetensors", IMAGENET)
    model = build({**UNET, "weights": str(tmp_path / "ones.safetensors")}, 2)
    convolution = next(module for module in model.network.encoder.modules() if isinstance(module, nn.Conv2d))
    assert torch.all(convolution.weight == 1)


def test_the_packaged_weights_from_a_file_give_the_packaged_networks_logits(tmp_path):
    file = tmp_path / "lite0.safetensors"
    save_file(
        {name: tensor.contiguous() for name, tensor in lite0.state().items()},
        file,
        {"mean": "[0.5, 0.5, 0.5]", "std": "[0.5, 0.5, 0.5]"},
    )
    images = torch.rand(1, 3, 64, 64, generator=torch.Generator().manual_seed(0))
    logits = []
    for weights in ("lite0", str(file)):
        torch.manual_seed(0)  # of the decoder
        with torch.no_grad():
            logits.append(build({**LITE0, "weights": weights}, 2).eval()(images))
    torch.testing.assert_close(logits[1], logits[0], rtol=0, atol=0)


@pytest.mark.parametrize(
    "metadata",
    [
        None,
        {"mean": "[0.5, 0.5, 0.5]"},
        IMAGENET | {"std": "[0.2, 0.2]"},
        IMAGENET | {"mean": "0.5"},
        IMAGENET | {"mean": "half"},
        IMAGENET | {"std": "[0.2, 0.2, 0]"},
        IMAGENET | {"mean": "[0.5, 0.5, NaN]"},
        IMAGENET | {"mean": '[0.5, 0.5, "0.5"]'},
    ],
)
def test_a_file_that_does_not_say_how_images_were_normalised_is_refused(tmp_path, metadata):
    save_file(build(UNET, 2).network.encoder.state_dict(), tmp_path / "w.safetensors", metadata)
    with pytest.raises(UserError, match=r"w\.safetensors does not say .* `mean` and `std`.*metadata=") as refused:
        build({**UNET, "weights": str(tmp_path / "w.safetensors")}, 2)
    assert "\n" not in str(refused.value)


def test_weights_of_another_encoder_are_refused_in_one_sentence(tmp_path):
    save_file({"conv1.weight": torch.ones(1)}, tmp_path / "other.safetensors", IMAGENET)
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


@pytest.mark.parametrize("spec", [CONVNET, UNET, {**UNET, "architecture": "deeplabv3plus"}], ids=lambda spec: str(spec))
def test_the_head_is_the_layer_that_gives_the_classes(spec):
    model = build(spec, classes=7)
    *_, last = [module for module in model.head.modules() if isinstance(module, nn.Conv2d)]
    assert last.weight is weights(model)[-1]
    assert len(last.weight) == 7
    # Named once in the state: the head is a part of the network.
    assert len(model.state_dict()) == len(model.network.state_dict()) + 2


def test_filters_come_first_in_every_layer():
    """Of a transposed convolution in two groups, whose weights are (inputs, outputs / 2, …), each group on its own."""
    layers = {
        "conv": nn.Conv2d(4, 6, 3, groups=2),
        "up": nn.ConvTranspose2d(4, 6, 2, groups=2),
        "linear": nn.Linear(4, 6),
    }
    shapes = {"conv": [(6, 2, 3, 3)], "up": [(3, 2, 2, 2), (3, 2, 2, 2)], "linear": [(6, 4)]}
    for layer in layers_of(nn.ModuleDict(layers)):
        views = layer.filters(layer.weight)
        assert [tuple(view.shape) for view in views] == shapes[layer.name]
        with torch.no_grad():
            for view in views:
                view.zero_()
        assert not layer.weight.any()


def test_a_zeroed_filter_silences_one_output_channel():
    torch.manual_seed(0)
    for module in (nn.Conv2d(4, 6, 1, groups=2, bias=False), nn.ConvTranspose2d(4, 6, 2, groups=2, bias=False)):
        (layer,) = layers_of(nn.ModuleDict({"layer": module}))
        views = layer.filters(layer.weight)
        with torch.no_grad():
            views[-1][0] = 0
            silent = (module(torch.rand(1, 4, 3, 3)) == 0).all((0, 2, 3))
        filters = sum(len(view) for view in views)
        assert silent.tolist() == [
            place == filters - len(views[-1]) if len(views) > 1 else place == 0 for place in range(6)
        ]
