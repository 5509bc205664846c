"""Autoencoders: each learns, the same twice; that of a site tells a station from the others, also with some gone."""

import numpy as np
import pytest
import torch

from detection.anomaly.detector import Detector, train_detector
from detection.anomaly.neural.autoencoders import WEIGHT
from detection.anomaly.neural.site_table import stack_site
from detection.anomaly.neural.training import WIDTH, score_network, train_network
from detection.anomaly.registry import NETWORKS, SITE_NETWORKS, load_network
from detection.anomaly.windows import Series, stack_tables

DAY = 86400.0


def waves(count=200, seed=0):
    """Windows of one sine with another phase each, and a share of hidden cells."""
    rng = np.random.default_rng(seed)
    phase = rng.uniform(0, 2 * np.pi, (count, 1))
    values = 3.0 * np.sin(phase + np.arange(WIDTH) / 4.0) + rng.normal(0, 0.2, (count, WIDTH))
    mask = (rng.random(values.shape) > 0.1).astype(np.float64)
    mask[:, -1] = 1.0
    return values * mask, mask


@pytest.mark.parametrize("name", sorted(set(NETWORKS) - SITE_NETWORKS))
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


@pytest.fixture(scope="module")
def site():
    """Five stations on one reference that wanders; what is their own is small."""
    rng = np.random.default_rng(4)
    common = rng.normal(0, 2.0, 420)
    return {f"G{k}": Series(np.arange(420) * DAY, common + rng.normal(0, 0.3, 420), DAY) for k in range(5)}


@pytest.fixture(scope="module")
def trained(site):
    return train_detector("site-ae", site, 1.0, 1)


def test_what_a_station_does_alone_is_seen_within_what_all_do(site, trained):
    values = site["G3"].values.copy()
    values[400] += 4.0  # twice the scatter of all: ordinary for one station that is seen alone
    alone = trained.score(site | {"G3": Series(site["G3"].times_s, values, DAY)})
    assert alone["G3"][400] > 1.5 * trained.score(site)["G3"][400]
    assert alone["G3"][400] > max(alone[name][400] for name in alone if name != "G3")
    assert np.array_equal(alone["G3"][:400], trained.score(site)["G3"][:400], equal_nan=True)


def test_a_station_that_is_gone_is_missing_and_a_new_one_has_no_score(site, trained):
    fewer = {name: series for name, series in site.items() if name != "G1"} | {"G9": site["G1"]}
    scores = trained.score(fewer)
    assert np.isfinite(scores["G0"][300:]).all()
    assert not np.isfinite(scores["G9"]).any()
    assert not np.isfinite(Detector("site-ae", {}, trained.weights, {"stations": ["X"]}).score(site)["G0"]).any()


def test_a_site_is_a_table_with_holes():
    series = {"A": Series(np.arange(60) * DAY, np.arange(60.0), DAY)}
    table, places = stack_site(series, ["A", "B"])
    assert table.shape == (60, 4)
    assert places == {"A": 0}
    assert not np.isfinite(table[:, [1, 3]]).any()
    full = np.random.default_rng(0).normal(size=(50, 3))
    full[20:40, :2] = np.nan
    index, rows, mask = stack_tables(full, 30)
    assert rows.shape == mask.shape == (len(index), 30, 3)
    assert index.tolist() == [*range(29, 50)]
    assert stack_tables(full, 30, coverage=0.9)[0].size == 0
    assert stack_tables(full[:20], 30)[0].size == 0
