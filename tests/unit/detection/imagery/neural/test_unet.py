"""The plain U-Net has the size of its specification, takes any image, and learns."""

import numpy as np
import pytest
import torch

from detection.imagery.data.generate import draw_patches
from detection.imagery.data.patches import hold_arrays
from detection.imagery.data.splits import split_held
from detection.imagery.errors import ModelError
from detection.imagery.neural.learner import ImageryTrainingSettings
from detection.imagery.neural.losses import make_loss
from detection.imagery.neural.networks.blocks import fold_norms
from detection.imagery.neural.training import train_patches
from detection.imagery.registry import build

pytestmark = pytest.mark.usefixtures("one_torch_thread")


def parameters(network):
    return sum(parameter.numel() for parameter in network.parameters())


@pytest.mark.parametrize(
    ("channels", "options", "expected"),
    [
        (3, {}, 17_263_042),
        (14, {}, 17_269_378),
        (3, {"classes": 1, "peak": 1024, "up": "transpose"}, 31_037_633),
        (14, {"classes": 1, "peak": 1024, "up": "transpose"}, 31_043_969),
        (3, {"width": 0.25}, 1_080_946),
        (3, {"width": 0.125}, 270_906),
    ],
)
def test_the_number_of_parameters_is_frozen(channels, options, expected):
    assert parameters(build("unet", channels, **options)) == expected


def test_an_unknown_name_lists_the_known_ones():
    with pytest.raises(ModelError, match=r"known: .*unet"):
        build("unnet", 3)


@pytest.mark.parametrize("name", ["unet"])
@pytest.mark.parametrize(("channels", "height", "width"), [(14, 96, 112), (3, 97, 131), (3, 32, 33)])
def test_every_network_takes_any_size_and_every_parameter_has_a_gradient(name, channels, height, width):
    torch.manual_seed(0)
    network = build(name, channels, width=0.125)
    logits = network(torch.randn(2, channels, height, width))
    assert logits.shape == (2, 2, height, width)
    make_loss("ce+dice")(logits, torch.randint(0, 2, (2, height, width))).backward()
    assert [name for name, value in network.named_parameters() if value.grad is None] == []


@pytest.mark.parametrize(("height", "width"), [(1, 1), (1, 40), (5, 700), (17, 2)])
def test_a_sliver_of_a_scene_still_has_an_answer(height, width):
    network = build("unet", 3, width=0.125).eval()
    with torch.inference_mode():
        logits = network(torch.randn(1, 3, height, width))
    assert logits.shape == (1, 2, height, width)
    assert torch.isfinite(logits).all()


@pytest.mark.parametrize("name", ["unet"])
def test_twenty_steps_halve_the_loss(name):
    torch.manual_seed(1)
    network = build(name, 3, width=0.125)
    images = torch.nn.functional.interpolate(torch.randn(4, 3, 8, 8), size=64, mode="bilinear")
    truth = (images.mean(dim=1) > 0.3).long()
    optimiser = torch.optim.AdamW(network.parameters(), 5e-3)
    losses = []
    for _ in range(21):
        optimiser.zero_grad()
        loss = make_loss("ce+dice")(network(images), truth)
        loss.backward()
        optimiser.step()
        losses.append(loss.item())
    assert losses[-1] < losses[0] / 2


def test_the_same_seed_trains_the_same_network_to_the_last_bit():
    images, masks = draw_patches(3, 20, 32, ("B4", "B3", "B2"))
    settings = ImageryTrainingSettings(seed=5, width=0.0625, epochs=2, batch=4, warmup_steps=2, blank_share=0.2)
    first, again = (train_patches(hold_arrays(images, masks), settings) for _ in range(2))
    assert first.history == again.history
    assert all(torch.equal(a, b) for a, b in zip(first.network.parameters(), again.network.parameters(), strict=True))
    other = train_patches(
        hold_arrays(images, masks),
        ImageryTrainingSettings(seed=6, width=0.0625, epochs=2, batch=4, warmup_steps=2),
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
