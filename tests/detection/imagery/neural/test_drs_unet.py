"""The equations of the shrinkage unit of DRs-UNet (Zhao et al. 2020, DRSN with thresholds by channel)."""

import pytest
import torch
from torch.nn import functional

from detection.imagery.neural.networks.drs_unet import ShrinkageUnit

pytestmark = pytest.mark.usefixtures("one_torch_thread")


def test_smaller_values_become_zero_and_others_shrink_by_the_threshold_of_their_channel():
    torch.manual_seed(0)
    unit = ShrinkageUnit(6, 6).eval()
    features = torch.randn(2, 6, 9, 8)
    mean = features.abs().mean((2, 3), keepdim=True)
    first, norm, _, second, _ = unit.share
    hidden = functional.group_norm(functional.conv2d(mean, first.weight), 1, norm.weight, norm.bias).relu()
    share = torch.sigmoid(functional.conv2d(hidden, second.weight, second.bias))
    threshold = share * mean
    expected = features.sign() * (features.abs() - threshold).clamp_min(0)
    torch.testing.assert_close(unit.shrink(features), expected)
    assert 0 < (unit.shrink(features) == 0).float().mean() < 1


def test_shortcut_is_added_after_the_shrinkage():
    torch.manual_seed(0)
    unit = ShrinkageUnit(4, 8).eval()
    features = torch.randn(1, 4, 6, 6)
    expected = (unit.shrink(unit.body(features)) + unit.shortcut(features)).relu()
    torch.testing.assert_close(unit(features), expected)
