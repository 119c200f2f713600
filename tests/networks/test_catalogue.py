from importlib.metadata import version

import pytest
import segmentation_models_pytorch as smp

from softreg.files import read_json
from softreg.networks import catalogue
from softreg.study.config import stride_of


def test_the_file_is_what_the_installed_libraries_give():
    stored = read_json(catalogue.FILE)
    installed = {name: version(name) for name in stored["versions"]}
    if installed != stored["versions"]:
        pytest.skip(f"the catalogue is of {stored['versions']}, installed are {installed}")
    assert catalogue.build() == stored


def test_reserved_keywords_are_left_out_and_the_others_are_taken():
    options = read_json(catalogue.FILE)["architectures"]["unet"]
    assert options["decoder_channels"] == [256, 128, 64, 32, 16]
    assert not {"encoder_name", "encoder_weights", "in_channels", "classes", "aux_params", "kwargs"} & set(options)


@pytest.mark.parametrize(
    ("architecture", "options"),
    [
        ("unet", {}),
        ("unet", {"encoder_depth": 3, "decoder_channels": [32, 16, 8]}),
        ("pspnet", {}),
        ("pan", {}),
        ("deeplabv3", {}),
    ],
)
def test_the_stride_is_that_of_the_network_built(architecture, options):
    network = smp.create_model(architecture, "resnet18", encoder_weights=None, classes=2, **options)
    entry = {"kind": "smp", "architecture": architecture, "options": options}
    assert stride_of(entry) == network.encoder.output_stride
