"""The equations of CBAM, data-dependent up-sampling and the transformer, and one step of training of each network."""

import pytest
import torch
from torch.nn import functional

from detection.imagery.neural.losses import make_loss
from detection.imagery.registry import build
from slopeward_lab.segmenters.cbam import Cbam
from slopeward_lab.segmenters.l_unet import LearnedUpsampling
from slopeward_lab.segmenters.transformer_resunet import GRID, BottomTransformer

pytestmark = pytest.mark.usefixtures("one_torch_thread")


def apply_layers(layers, values):
    """Two layers with a ReLU in between, for N x C values."""
    first, _, second = layers
    hidden = functional.linear(values, first.weight.flatten(1), first.bias).relu()
    return functional.linear(hidden, second.weight.flatten(1), second.bias)


def test_cbam_is_channel_attention_then_place_attention():
    torch.manual_seed(0)
    unit = Cbam(32)
    features = torch.randn(2, 32, 9, 7)
    channel = torch.sigmoid(
        apply_layers(unit.shared, features.mean((2, 3))) + apply_layers(unit.shared, features.flatten(2).max(2)[0])
    )
    weighed = features * channel[:, :, None, None]
    summary = torch.stack([weighed.mean(1), weighed.max(1)[0]], dim=1)
    place = torch.sigmoid(functional.conv2d(summary, unit.place.weight, unit.place.bias, padding=3))
    torch.testing.assert_close(unit(features), weighed * place)


@pytest.mark.parametrize(
    ("channels", "expected"), [(64, 64 * 4 + 4 + 4 * 64 + 64 + 2 * 49 + 1), (8, 8 + 1 + 8 + 8 + 99)]
)
def test_cbam_has_a_sixteenth_of_the_channels_in_between(channels, expected):
    assert sum(parameter.numel() for parameter in Cbam(channels).parameters()) == expected


def test_each_cell_becomes_four_by_one_linear_map():
    torch.manual_seed(0)
    unit = LearnedUpsampling(3)
    features = torch.randn(1, 3, 2, 2)
    enlarged = unit(features)
    assert enlarged.shape == (1, 3, 4, 4)
    weights = unit.lift.weight.flatten(1).reshape(3, 2, 2, 3)
    cell = torch.einsum("crsk,k->crs", weights, features[0, :, 1, 0])
    torch.testing.assert_close(enlarged[0, :, 2:4, 0:2], cell)


def test_tokens_attend_to_each_other_as_in_the_equations():
    torch.manual_seed(0)
    unit = BottomTransformer(8, 16, 1).eval()
    torch.nn.init.normal_(unit.positions)
    features = torch.randn(1, 8, GRID, GRID)
    tokens = (unit.embed(features) + unit.positions).flatten(2).mT
    (block,) = unit.blocks
    normed = functional.layer_norm(tokens, (16,), block.norm1.weight, block.norm1.bias)
    attention = block.self_attn
    query, key, value = (
        functional.linear(normed, attention.in_proj_weight, attention.in_proj_bias)
        .reshape(1, -1, 3, 8, 2)
        .permute(2, 0, 3, 1, 4)
    )
    mixed = (query @ key.mT / 2**0.5).softmax(-1) @ value
    tokens = tokens + attention.out_proj(mixed.transpose(1, 2).flatten(2))
    normed = functional.layer_norm(tokens, (16,), block.norm2.weight, block.norm2.bias)
    tokens = tokens + block.linear2(functional.gelu(block.linear1(normed)))
    expected = unit.back(unit.norm(tokens).mT.unflatten(2, (GRID, GRID)))
    torch.testing.assert_close(unit(features), expected, rtol=1e-4, atol=1e-4)


@pytest.mark.parametrize("name", ["l-unet", "transformer-resunet"])
def test_one_step_of_training_lowers_the_loss(name):
    torch.manual_seed(0)
    network = build(name, 3, width=0.0625)
    images = torch.randn(4, 3, 32, 32)
    truth = (images.mean(1) > 0.1).long()
    optimiser = torch.optim.Adam(network.parameters(), 1e-3)
    losses = []
    for _ in range(2):
        loss = make_loss("ce+dice")(network(images), truth)
        optimiser.zero_grad()
        loss.backward()
        optimiser.step()
        losses.append(loss.item())
    assert losses[1] < losses[0]


def test_blocks_are_an_option():
    with torch.device("meta"):
        shallow, deep = (build("transformer-resunet", 3, blocks=blocks) for blocks in (1, 2))
    block = 4 * 512 * 512 + 4 * 512 + 2 * 4 * 512 * 512 + 5 * 512 + 2 * 2 * 512
    assert sum(p.numel() for p in deep.parameters()) - sum(p.numel() for p in shallow.parameters()) == block
