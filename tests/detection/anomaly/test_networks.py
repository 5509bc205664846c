"""Autoencoders: each learns, the same twice."""

import numpy as np
import pytest

from detection.anomaly.neural.training import WIDTH, score_network, train_network
from detection.anomaly.registry import NETWORKS


def waves(count=200, seed=0):
    """Windows of one sine with another phase each, and a share of hidden cells."""
    rng = np.random.default_rng(seed)
    phase = rng.uniform(0, 2 * np.pi, (count, 1))
    values = 3.0 * np.sin(phase + np.arange(WIDTH) / 4.0) + rng.normal(0, 0.2, (count, WIDTH))
    mask = (rng.random(values.shape) > 0.1).astype(np.float64)
    mask[:, -1] = 1.0
    return values * mask, mask


def check_training(name):
    """Check that an autoencoder learns, learns the same twice, and scores a faulty window higher."""
    windows, watch = waves(), waves(40, 1)
    weights, notes = train_network(name, windows, watch, 1, epochs=3)
    again, _ = train_network(name, windows, watch, 1, epochs=3)
    assert all(np.array_equal(weights[key], again[key]) for key in weights)
    longer, more = train_network(name, windows, watch, 1, epochs=12)
    assert more["watch_loss"] < notes["watch_loss"]
    odd = watch[0].copy()
    odd[:, -1] += 9.0
    assert np.median(score_network(name, longer, (odd, watch[1]))) > 2.0 * np.median(score_network(name, longer, watch))


@pytest.mark.parametrize("name", sorted(NETWORKS))
def test_each_network_learns_the_same_twice(name):
    check_training(name)
