"""The plain U-Net answers for slivers, trains to the same bits and folds its norms (the rest: the contract)."""

import numpy as np
import pytest
import torch

from detection.imagery.data.generate import draw_patches
from detection.imagery.data.patches import hold_arrays
from detection.imagery.data.splits import split_held
from detection.imagery.neural.learner import ImageryTrainingSettings
from detection.imagery.neural.networks.blocks import fold_norms
from detection.imagery.neural.training import train_patches
from detection.imagery.registry import build

pytestmark = pytest.mark.usefixtures("one_torch_thread")


def test_the_same_seed_trains_the_same_network_to_the_last_bit():
    images, masks = draw_patches(3, 20, 32, ("B4", "B3", "B2"))
    settings = ImageryTrainingSettings(seed=5, width=0.0625, epochs=2, batch=4, warmup_steps=2, blank_share=0.2)
    first, again = (train_patches(hold_arrays(images, masks), settings) for _ in range(2))
    assert first.history == again.history
    assert all(torch.equal(a, b) for a, b in zip(first.network.parameters(), again.network.parameters(), strict=True))
    other = train_patches(
        hold_arrays(images, masks), ImageryTrainingSettings(seed=6, width=0.0625, epochs=2, batch=4, warmup_steps=2)
    )
    assert other.history != first.history


def test_the_held_part_is_apart_from_the_fit_part():
    fit, held = split_held(1100, 0.15, 20)
    assert (len(fit), len(held)) == (935, 165)
    assert np.array_equal(np.sort(np.concatenate([fit, held])), np.arange(1100))


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
