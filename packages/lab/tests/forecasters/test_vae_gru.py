"""The fan of vae-gru, which is drawn from its code."""

import math

import torch

from forecasting.data.features import FEATURES
from forecasting.neural.network import Shape
from forecasting.registry import load


def test_the_fan_of_vae_gru_comes_from_the_draws_of_its_code():
    chain = torch.diag(torch.ones(3), 1) + torch.diag(torch.ones(3), -1)  # four stations in a row
    torch.manual_seed(3)
    network = load("vae-gru")(Shape(len(FEATURES), 20, 2, 8, 0.1, chain.expand(2, 4, 4))).eval()
    inputs = torch.randn(6, 4, 20, len(FEATURES))
    inputs[..., 2] = 1.0
    with torch.no_grad():
        before = network(inputs)
        torch.manual_seed(99)
        torch.testing.assert_close(network(inputs), before, rtol=0, atol=0)
        torch.testing.assert_close(network(inputs[2:3]), before[2:3])
        network.head.to_code.bias[2:] += math.log(20.0)  # the log variances of a code of 2
        wider = network(inputs)
    ratio = (wider[..., 4] - wider[..., 0]) / (before[..., 4] - before[..., 0])
    torch.testing.assert_close(ratio, torch.full_like(ratio, math.sqrt(20.0)), rtol=1e-3, atol=0)
    network.train()
    assert not torch.equal(network(inputs), network(inputs)), "in training every step draws anew"
    assert network.penalty(None, None).item() > 0
