"""The autoencoders of this package: each learns, the same twice."""

import pytest
import torch

from detection.anomaly.registry import load_network
from slopeward_lab.detectors.autoencoders import WEIGHT
from slopeward_lab.detectors.registry import DETECTORS
from tests.detection.anomaly.test_networks import check_training, waves


@pytest.mark.parametrize("name", sorted(name for name, entry in DETECTORS.items() if entry.is_network))
def test_each_network_learns_the_same_twice(name):
    check_training(name)


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
