"""LandGNN: reach of its heads, and slopes without a connection."""

import torch

from forecasting.data.features import FEATURES
from forecasting.neural.network import Shape
from forecasting.registry import load
from slopeward_lab.forecasters.landgnn import find_reach


def make_chain(stations=5):
    """A graph in which each station has an edge to the next one."""
    chain = torch.diag(torch.ones(stations - 1), 1) + torch.diag(torch.ones(stations - 1), -1)
    return chain.expand(2, -1, -1)


def test_head_k_reaches_stations_within_k_edges():
    reach = find_reach(make_chain(), 4)
    for head in range(4):
        numbers = torch.arange(5)
        expected = (numbers[:, None] - numbers[None, :]).abs() <= head
        torch.testing.assert_close(reach[head], expected.float())


def test_landgnn_joins_stations_that_are_connected():
    torch.manual_seed(2)
    two_slopes = torch.block_diag(make_chain(3)[0], make_chain(3)[0]).expand(2, -1, -1)
    network = load("landgnn")(Shape(len(FEATURES), 20, 2, 8, 0.0, two_slopes)).eval()
    torch.nn.init.normal_(network.head.linear.weight)
    inputs = torch.randn(1, 6, 20, len(FEATURES))
    inputs[..., 2] = 1.0
    moved = inputs.clone()
    moved[0, 0, :, :2] += 1.0
    change = (network(moved) - network(inputs)).abs().amax(dim=(0, 2, 3))
    assert (change[:3] > 1e-4).all()
    assert not change[3:].any()
