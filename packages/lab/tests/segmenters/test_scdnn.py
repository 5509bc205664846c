"""The equations of the blocks of SCDnn (China Geology 2024), and the size of its maps."""

import pytest
import torch
from torch.nn import functional

from detection.imagery.neural.networks.blocks import AtrousPyramid
from detection.imagery.registry import build
from slopeward_lab.segmenters.scdnn import RATES, MultiResidual

pytestmark = pytest.mark.usefixtures("one_torch_thread")


def apply_unit(unit, features, stride=1, dilation=1):
    """Convolution and batch normalisation of a unit, without its activation."""
    convolution, norm = unit[0], unit[1]
    padding = dilation * (convolution.kernel_size[0] // 2)
    mapped = functional.conv2d(features, convolution.weight, None, stride, padding, dilation)
    return functional.batch_norm(mapped, norm.running_mean, norm.running_var, norm.weight, norm.bias)


def two_convolutions(block, features, stride=1):
    """F1 of the paper: convolution, normalisation, ReLU, convolution, normalisation."""
    first, second = block.body
    return apply_unit(second, apply_unit(first, features, stride).relu())


def make_block(*channels, **options):
    torch.manual_seed(0)
    block = MultiResidual(*channels, **options).eval()
    for module in block.modules():
        if isinstance(module, torch.nn.BatchNorm2d):
            torch.nn.init.uniform_(module.weight, 0.5, 1.5)
            torch.nn.init.normal_(module.bias)
    return block, torch.randn(2, channels[0], 12, 10)


def test_mrconv_adds_its_input_without_an_activation():
    block, features = make_block(6, 6)
    torch.testing.assert_close(block(features), two_convolutions(block, features) + features)


def test_mrmaxpool_pools_first():
    block, features = make_block(6, 6, pool=True)
    pooled = functional.max_pool2d(features, 2)
    torch.testing.assert_close(block(features), two_convolutions(block, pooled) + pooled)


def test_mrconvdown_brings_its_input_to_size_by_a_1x1_convolution():
    block, features = make_block(4, 8, stride=2)
    shortcut = apply_unit(block.shortcut, features[..., ::2, ::2])
    torch.testing.assert_close(block(features), two_convolutions(block, features, stride=2) + shortcut)


def test_aspc_mixes_a_1x1_and_three_dilated_convolutions_without_image_pooling():
    torch.manual_seed(0)
    unit = AtrousPyramid(4, 3, RATES, pooling=False).eval()
    features = torch.randn(1, 4, 40, 40)
    branches = [apply_unit(unit.branches[0], features).relu()]
    for branch, rate in zip(unit.branches[1:], (6, 12, 18), strict=True):
        branches.append(apply_unit(branch, features, dilation=rate).relu())
    mixed = apply_unit(unit.mix, torch.cat(branches, dim=1)).relu()
    torch.testing.assert_close(unit(features), mixed)


def test_groups_halve_the_map_from_full_size_to_a_sixteenth():
    network = build("scdnn", 3, width=0.125).eval()
    sides = []
    for part in (network.stem, *network.groups, network.context, network.last):
        part.register_forward_hook(lambda _, __, output: sides.append(output.shape[-1]))
    with torch.no_grad():
        network(torch.randn(1, 3, 64, 64))
    assert sides == [64, 32, 16, 8, 4, 4, 64]
