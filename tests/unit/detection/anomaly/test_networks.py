"""Autoencoders: each learns, the same twice."""

import numpy as np
import pytest
import torch

from detection.anomaly.neural.autoencoders import WEIGHT
from detection.anomaly.neural.training import WIDTH, score_network, train_network
from detection.anomaly.registry import NETWORKS, load_network


def waves(count=200, seed=0):
    """Windows of one sine with another phase each, and a share of hidden cells."""
    rng = np.random.default_rng(seed)
    phase = rng.uniform(0, 2 * np.pi, (count, 1))
    values = 3.0 * np.sin(phase + np.arange(WIDTH) / 4.0) + rng.normal(0, 0.2, (count, WIDTH))
    mask = (rng.random(values.shape) > 0.1).astype(np.float64)
    mask[:, -1] = 1.0
    return values * mask, mask


@pytest.mark.parametrize("name", sorted(NETWORKS))
def test_each_network_learns_the_same_twice(name):
    windows, watch = waves(), waves(40, 1)
    weights, notes = train_network(name, windows, watch, 1, epochs=3)
    again, _ = train_network(name, windows, watch, 1, epochs=3)
    assert all(np.array_equal(weights[key], again[key]) for key in weights)
    longer, more = train_network(name, windows, watch, 1, epochs=12)
    assert more["watch_loss"] < notes["watch_loss"]
    odd = watch[0].copy()
    odd[:, -1] += 9.0
    assert np.median(score_network(name, longer, (odd, watch[1]))) > 2.0 * np.median(score_network(name, longer, watch))


def test_the_variational_one_is_that_of_its_paper():
    """Its penalty is the divergence of Kingma and Welling (2014, appendix B); a code is drawn when it learns alone."""
    torch.manual_seed(0)
    network = load_network("vae")()
    values, mask = (torch.from_numpy(part).float() for part in waves(50))
    network.eval()
    first = network(values, mask)
    assert torch.equal(first, network(values, mask)), "a score is no matter of luck"
    seen = network.encode(torch.cat([values, mask], dim=1))
    cloud = torch.distributions.Normal(network.middle(seen), (0.5 * network.spread(seen)).exp())
    apart = torch.distributions.kl_divergence(cloud, torch.distributions.Normal(0.0, 1.0)).sum(dim=1).mean()
    assert network.penalty.item() == pytest.approx(WEIGHT * apart.item(), rel=1e-5)
    network.train()
    assert not torch.equal(network(values, mask), network(values, mask))
