"""AdamW moves weights bit for bit as torch's own, and loads no compiler for it."""

import subprocess
import sys

import pytest
import torch

from forecasting.neural.adamw import AdamW

LOADS = """
import sys
import torch
from forecasting.neural.adamw import AdamW
from forecasting.neural.training import deterministic
with deterministic(7):
    assert torch.are_deterministic_algorithms_enabled()
    weight = torch.zeros(3, requires_grad=True)
    optimiser = AdamW([weight], 1e-2)
    (weight - 1.0).square().sum().backward()
    optimiser.step()
assert not torch.are_deterministic_algorithms_enabled()
print({"torch._dynamo", "torch._inductor", "sympy"} & set(sys.modules))
"""


def train(make):
    """Two layers and one that speaks only from the 20th step on."""
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(3)
        layers = torch.nn.ModuleList([torch.nn.GRU(3, 7), torch.nn.Linear(7, 2), torch.nn.Linear(3, 2)])
        x, y = torch.randn(9, 5, 3), torch.randn(9, 5, 2)
    optimiser = make(list(layers.parameters()))
    for step in range(40):
        optimiser.zero_grad()
        made = layers[1](layers[0](x)[0]) + (layers[2](x) if step >= 20 else 0.0)
        (made - y).square().mean().backward()
        optimiser.step()
    return layers.state_dict()


def test_it_moves_as_torch_does():
    mine = train(lambda w: AdamW(w, 3e-2, 0.1))
    theirs = train(lambda w: torch.optim.AdamW(w, lr=3e-2, weight_decay=0.1))
    assert all(torch.equal(mine[name], theirs[name]) for name in theirs)


def test_nothing_without_a_gradient_moves():
    weight = torch.ones(2, requires_grad=True)
    AdamW([weight], 1.0).step()
    assert weight.tolist() == [1.0, 1.0]


@pytest.mark.soak
def test_a_training_loads_no_compiler():
    done = subprocess.run([sys.executable, "-c", LOADS], capture_output=True, text=True, check=False)
    assert (done.stdout, done.stderr) == ("set()\n", "")
