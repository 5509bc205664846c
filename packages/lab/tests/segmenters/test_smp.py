"""The family `smp:`, with a stand-in for the library, which is not installed."""

import sys
from types import ModuleType

import pytest
import torch
from torch import nn
from torch.nn import functional

from detection.imagery.errors import ModelError
from detection.imagery.neural.losses import make_loss
from detection.imagery.registry import build, find_entry, list_segmenters
from slopeward_lab.segmenters.smp import LIBRARY

pytestmark = pytest.mark.usefixtures("one_torch_thread")


class Encoder(nn.Module):
    """Returns the maps of all scales, as encoders of the library do."""

    def __init__(self, channels):
        super().__init__()
        self.conv1 = nn.Conv2d(channels, 4, 3, padding=1)

    def forward(self, images):
        assert not any(size % 32 for size in images.shape[-2:]), "the library refuses other sizes"
        return [images, functional.max_pool2d(self.conv1(images), 32)]


class Decoder(nn.Module):
    def forward(self, features):
        return functional.interpolate(features[-1], scale_factor=32)


class Model(nn.Module):
    def __init__(self, channels, classes):
        super().__init__()
        self.encoder = Encoder(channels)
        self.decoder = Decoder()
        self.segmentation_head = nn.Conv2d(4, classes, 1)


@pytest.fixture
def calls(monkeypatch):
    """Install the stand-in and return the arguments with which models were created."""
    calls = []

    def create_model(arch, encoder_name="resnet34", encoder_weights="imagenet", in_channels=3, classes=1):
        if encoder_name == "resnet0":
            raise KeyError("Wrong encoder name `resnet0`, supported encoders: ['resnet18']")
        calls.append((arch, encoder_name, encoder_weights, in_channels, classes))
        return Model(in_channels, classes)

    library = ModuleType(LIBRARY)
    library.create_model = create_model
    monkeypatch.setitem(sys.modules, LIBRARY, library)
    return calls


def test_member_is_built_without_downloaded_weights_and_takes_any_size(calls):
    network = build("smp:Unet/resnet18", 5, 3)
    assert calls == [("Unet", "resnet18", None, 5, 3)]
    assert network(torch.randn(1, 5, 49, 67)).shape == (1, 3, 49, 67)
    assert "encoder.conv1.weight" in network.state_dict(), "the name by which encoder weights are loaded"


def test_one_step_of_training_changes_every_weight(calls):
    network = build("smp:FPN/resnet18", 3)
    before = [parameter.clone() for parameter in network.parameters()]
    optimiser = torch.optim.Adam(network.parameters(), 1e-2)
    make_loss("ce+dice")(network(torch.randn(2, 3, 64, 64)), torch.randint(0, 2, (2, 64, 64))).backward()
    optimiser.step()
    assert all(not torch.equal(old, new) for old, new in zip(before, network.parameters(), strict=True))


def test_family_is_no_network_of_the_list():
    assert not [name for name in list_segmenters() if name.startswith("smp:")]
    entry = find_entry("smp:Unet/resnet18")
    assert (entry.stride, entry.tile_exact, entry.fixed) == (32, False, {"member": "Unet/resnet18"})


@pytest.mark.parametrize(
    ("name", "width", "message"),
    [
        ("smp:Unet/resnet0", 1.0, "Wrong encoder name `resnet0`"),
        ("smp:Unet", 1.0, "'Unet' is not ARCHITECTURE/ENCODER, such as Unet/resnet18"),
        ("smp:Unet/resnet18", 0.5, "set width = 1.0, not 0.5"),
        ("smp:", 1.0, "unknown network 'smp:'; known: .*; families: smp:"),
        ("other:Unet", 1.0, "unknown network 'other:Unet'"),
    ],
)
def test_wrong_name_is_one_line(calls, name, width, message):
    with pytest.raises(ModelError, match=message) as refused:
        build(name, 3, width=width)
    assert "\n" not in str(refused.value)


@pytest.mark.parametrize("error", [ImportError("No module named 'x'"), RuntimeError("operator nms does not exist")])
def test_library_that_cannot_be_imported_is_named_with_the_remedy(monkeypatch, error):
    def refuse(name):
        raise error

    monkeypatch.setattr("slopeward_lab.segmenters.smp.import_module", refuse)
    with pytest.raises(ModelError, match=f"{error.args[0]}.*pip install 'segmentation-models-pytorch>=0.5'"):
        build("smp:Unet/resnet18", 3)
