"""Encoders have the layout of public weight files, whatever names these give to the layers."""

from dataclasses import replace

import pytest
import torch
from safetensors.torch import save_file

from detection.imagery.errors import ModelError
from detection.imagery.neural.encoder_file import open_encoder
from detection.imagery.neural.learner import ImageryTrainingSettings
from detection.imagery.neural.networks.encoders import ENCODERS
from detection.imagery.neural.networks.public_names import name_as_timm

NORM = ("weight", "bias", "running_mean", "running_var", "num_batches_tracked")
# Weights of the published networks without their classification heads.
PUBLISHED = {
    "efficientnet-lite0": 2_958_848,
    "resnet18": 11_176_512,
    "resnet34": 21_284_672,
    "mobilenetv3-large": 2_971_952,
}
HEADS = ("_conv_head", "_bn1", "_fc", "classifier", "fc.")


def list_lite_names() -> list[str]:
    """Names of the published EfficientNet-lite0, whose 16 blocks are numbered in one row."""
    names = ["_conv_stem.weight", "_conv_head.weight", "_fc.weight", "_fc.bias"]
    names += [f"{norm}.{part}" for norm in ("_bn0", "_bn1") for part in NORM]
    for block in range(16):
        expands = block > 0
        layers = ("_expand_conv", "_depthwise_conv", "_project_conv")[0 if expands else 1 :]
        norms = ("_bn0", "_bn1", "_bn2")[0 if expands else 1 :]
        names += [f"_blocks.{block}.{layer}.weight" for layer in layers]
        names += [f"_blocks.{block}.{norm}.{part}" for norm in norms for part in NORM]
    return names


def list_mobile_names() -> list[str]:
    """Names of MobileNetV3-large in torchvision: layers of a block are numbered, a squeeze among them."""
    squeezes = {4, 5, 6, 11, 12, 13, 14, 15}
    names = ["classifier.0.weight", "classifier.0.bias"]
    for number in (0, 16):
        names += [f"features.{number}.0.weight", *(f"features.{number}.1.{part}" for part in NORM)]
    for number in range(1, 16):
        layers = 2 if number == 1 else 3
        place = 0
        for layer in range(layers):
            if layer == layers - 1 and number in squeezes:
                head = f"features.{number}.block.{place}"
                names += [f"{head}.{fc}.{part}" for fc in ("fc1", "fc2") for part in ("weight", "bias")]
                place += 1
            head = f"features.{number}.block.{place}"
            names += [f"{head}.0.weight", *(f"{head}.1.{part}" for part in NORM)]
            place += 1
    return names


@pytest.mark.parametrize("name", ENCODERS)
def test_an_encoder_has_as_many_weights_as_the_published_one(name: str) -> None:
    encoder = ENCODERS[name](3, 1.0)
    assert sum(weight.numel() for weight in encoder.parameters()) == PUBLISHED[name]
    maps = encoder.eval()(torch.zeros(1, 3, 64, 96))
    assert [tuple(one.shape[1:]) for one in maps] == [
        (channels, 64 >> level, 96 >> level) for level, channels in enumerate(encoder.channels, start=1)
    ]


@pytest.mark.parametrize(
    ("name", "names"), [("efficientnet-lite0", list_lite_names()), ("mobilenetv3-large", list_mobile_names())]
)
def test_names_of_public_files_are_those_of_the_encoder(name: str, names: list[str]) -> None:
    own = set(ENCODERS[name](3, 1.0).state_dict())
    heads = {key for key in names if key.startswith(HEADS)}
    known = name_as_timm(names)
    assert {known[key] for key in names if key not in heads} == own


@pytest.mark.parametrize("suffix", [".safetensors", ".pth"])
@pytest.mark.parametrize("bands", [3, 5])
def test_a_network_begins_with_the_weights_of_a_file(tmp_path, suffix: str, bands: int) -> None:
    torch.manual_seed(1)
    published = ENCODERS["resnet18"](3, 1.0).state_dict()
    path = tmp_path / f"resnet18{suffix}"
    if suffix == ".pth":
        torch.save(published, path)
    else:
        save_file(published, path)
    settings = replace(ImageryTrainingSettings(), network="unet-resnet18", width=1.0, encoder=str(path))
    _, network, origin, line = open_encoder(settings, bands)
    assert "100% of the encoder" in line
    assert origin["weights"] == path.name
    found = network.encoder.state_dict()
    torch.testing.assert_close(found["layer3.1.conv2.weight"], published["layer3.1.conv2.weight"])
    assert found["conv1.weight"].shape[1] == bands
    if bands == 3:
        torch.testing.assert_close(found["conv1.weight"], published["conv1.weight"])


def test_a_file_that_runs_code_is_refused(tmp_path) -> None:
    path = tmp_path / "weights.pth"
    torch.save({"model": torch.nn.Linear(1, 1)}, path)
    settings = replace(ImageryTrainingSettings(), network="unet-resnet18", width=1.0, encoder=str(path))
    with pytest.raises(ModelError, match="no weights that can be read"):
        open_encoder(settings, 3)
