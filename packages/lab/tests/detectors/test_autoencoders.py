"""The autoencoders of windows of one series: reproducible training, and a higher score of a faulty window."""

import numpy as np
import pytest
import torch

from detection.anomaly.detector import train_detector
from detection.anomaly.registry import load_network
from detection.anomaly.windows import Series
from slopeward_lab.detectors.autoencoders import DIVERGENCE_WEIGHT, VariationalAutoencoder
from slopeward_lab.detectors.registry import DETECTORS
from slopeward_lab.detectors.window_network import WIDTH, WindowNetwork, stack_windows

DAY = 86400.0


def make_waves(count=200, seed=0):
    """Return windows of one sine, each with another phase and a share of unknown cells."""
    rng = np.random.default_rng(seed)
    phase = rng.uniform(0, 2 * np.pi, (count, 1))
    values = 3.0 * np.sin(phase + np.arange(WIDTH) / 4.0) + rng.normal(0, 0.2, (count, WIDTH))
    mask = (rng.random(values.shape) > 0.1).astype(np.float64)
    mask[:, -1] = 1.0
    return values * mask, mask


@pytest.mark.soak
@pytest.mark.parametrize("name", sorted(name for name, entry in DETECTORS.items() if entry.is_network))
def test_training_is_reproducible_and_a_faulty_window_scores_higher(name):
    network = load_network(name)
    assert isinstance(network, WindowNetwork)
    windows, watch = make_waves(), make_waves(40, 1)
    first, again = (network.fit(windows, watch, 1, epochs=3) for _ in range(2))
    assert all(np.array_equal(first.weights[key], again.weights[key]) for key in first.weights)
    longer = network.fit(windows, watch, 1, epochs=12)
    assert longer.notes["watch_loss"] < first.notes["watch_loss"]
    faulty = watch[0].copy()
    faulty[:, -1] += 9.0
    usual = np.median(network.score_windows(longer.weights, watch))
    assert np.median(network.score_windows(longer.weights, (faulty, watch[1]))) > 2.0 * usual


def test_a_detector_with_one_score_has_one_threshold_of_its_name():
    rng = np.random.default_rng(0)
    samples = {f"S{k}": Series(np.arange(420) * DAY, rng.normal(0, 1, 420), DAY) for k in range(2)}
    detector = train_detector("dense-ae", samples, 1.0, 0)
    assert list(detector.thresholds) == ["dense-ae"]
    assert detector.limit == detector.thresholds["dense-ae"].value
    samples["S1"].values[400] += 40.0
    assert detector.score(samples)["S1"][400] > 2.0 * detector.limit


def test_windows_end_at_observed_cells_and_are_complete_enough():
    values = np.arange(60.0)
    values[35] = np.nan
    values[45:58] = np.nan
    index, windows, mask = stack_windows(values)
    assert 35 not in index
    assert index.min() == WIDTH - 1
    assert 59 not in index, "14 of 30 cells are unknown"
    assert windows[index == 36][0, -2] == mask[index == 36][0, -2] == 0.0


def test_the_variational_penalty_is_the_divergence_of_the_paper():
    """The penalty is that of Kingma and Welling (2014, appendix B). A code is drawn only in training."""
    torch.manual_seed(0)
    network = VariationalAutoencoder()
    values, mask = (torch.from_numpy(part).float() for part in make_waves(50))
    network.eval()
    first = network(values, mask)
    assert torch.equal(first, network(values, mask)), "scores are reproducible"
    encoded = network.encode(torch.cat([values, mask], dim=1))
    codes = torch.distributions.Normal(network.mean(encoded), (0.5 * network.log_variance(encoded)).exp())
    divergence = torch.distributions.kl_divergence(codes, torch.distributions.Normal(0.0, 1.0)).sum(dim=1).mean()
    assert network.penalty.item() == pytest.approx(DIVERGENCE_WEIGHT * divergence.item(), rel=1e-5)
    network.train()
    assert not torch.equal(network(values, mask), network(values, mask))
