"""Weights of the Temporal Fusion Transformer."""

import torch

from forecasting.data.features import FEATURES
from forecasting.neural.network import Shape
from forecasting.registry import load


def test_weights_of_temporal_fusion_add_up_and_never_point_ahead():
    torch.manual_seed(1)
    network = load("temporal-fusion")(Shape(len(FEATURES), 20, 3, 8, 0.0)).eval()
    network(torch.randn(4, 2, 20, len(FEATURES)))
    torch.testing.assert_close(network.selection_weights().sum(), torch.tensor(1.0))
    attention = network.attention_weights()
    assert attention.shape == (3, 23)
    torch.testing.assert_close(attention.sum(dim=1), torch.ones(3))
    assert attention[0, 21:].abs().max() == 0.0
    assert attention[1, 22] == 0.0
