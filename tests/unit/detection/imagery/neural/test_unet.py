"""Norms folded into convolutions change no answer of a network (the rest: the contract)."""

import pytest
import torch

from detection.imagery.neural.networks.blocks import fold_norms
from detection.imagery.registry import build

pytestmark = pytest.mark.usefixtures("one_torch_thread")


@pytest.mark.parametrize("name", ["unet", "sbconv-resunet", "scdnn", "deeplabv3plus-resnet50"])
def test_norms_folded_into_convolutions_change_no_answer(name):
    torch.manual_seed(4)
    network = build(name, 3, width=0.125).train()
    images = torch.rand(2, 3, 64, 64)
    with torch.no_grad():
        network(images)  # running means and variances that are not those of the start
        wanted, found = network.eval()(images), fold_norms(network)(images)
    torch.testing.assert_close(found, wanted, rtol=1e-4, atol=1e-4)
    assert any(isinstance(module, torch.nn.BatchNorm2d) for module in network.modules()), "the network itself stays"
