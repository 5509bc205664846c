"""Processor time of the training of a network, beside a plain PyTorch loop over the same examples.

    python -m tests.bench --only training

The training of the service prepares the record, validates after each epoch, keeps the best weights, clips gradients and
uses deterministic algorithms. The plain loop runs the same network on the same examples for the same number of epochs
with `torch.optim.AdamW`, and does nothing else. Both use one thread.
"""

import statistics
from typing import Final

import numpy as np
import torch

from forecasting.data.series import DAY_S, Panel
from forecasting.data.splits import split
from forecasting.neural.forecaster import build_network
from forecasting.neural.learner import Examples, Learner, Member, Settings, make_examples
from forecasting.neural.training import Training, deterministic, train_network
from tests.bench.record import measure_cpu_s

MODEL: Final = "gru"
HORIZONS_S: Final = (DAY_S, 7 * DAY_S)
STATIONS: Final = 3


def make_panel(rows: int) -> Panel:
    """Return daily displacements of stations that accelerate and slow down, with noise."""
    random = np.random.default_rng(1)
    days = np.arange(rows)
    motion = 0.05 * days + 5.0 * np.sin(days / 60.0)
    values = motion[:, None] * np.linspace(0.5, 1.5, STATIONS) + random.normal(0.0, 0.5, (rows, STATIONS))
    return Panel(0.0, DAY_S, tuple(f"G{k}" for k in range(STATIONS)), values)


def train_plainly(learner: Learner, examples: Examples, epochs: int) -> None:
    """Train with a plain loop of PyTorch."""
    network = learner.network
    settings = learner.settings
    optimiser = torch.optim.AdamW(network.parameters(), lr=settings.learning_rate, weight_decay=settings.weight_decay)
    network.train()
    for _ in range(epochs):
        for numbers in torch.randperm(len(examples.wanted)).split(settings.batch):
            batch = examples.take(numbers.numpy())
            is_known = torch.isfinite(batch.wanted)
            error = torch.where(is_known, batch.wanted, torch.zeros(()))[..., None] - network(*batch.inputs)
            pinball = torch.maximum(learner.levels * error, (learner.levels - 1.0) * error).mean(dim=-1)
            loss = (pinball * is_known).sum() / is_known.sum()
            optimiser.zero_grad()
            loss.backward()
            optimiser.step()


def measure_training(rows: int, epochs: int, rounds: int) -> tuple[float, float]:
    """Return the processor seconds of the training and of the plain loop, medians of several rounds.

    Args:
        rows: length of the record in days.
        epochs: number of epochs of both.
        rounds: number of rounds. Both take turns.
    """
    panel = make_panel(rows)
    parts = split(rows)
    settings = Settings(epochs=epochs, patience=epochs + 1)
    trainings_s: list[float] = []
    plain_s: list[float] = []
    # The first training and the first optimiser of a process import further modules.
    training = train_network(MODEL, panel, parts, HORIZONS_S, Settings(epochs=1))
    member = Member(training.forecaster.recipe, panel.values, parts)
    examples = make_examples(member.recipe, panel.values, None, parts.fit, member.origins(parts.fit))

    def train() -> None:
        result: Training = train_network(MODEL, panel, parts, HORIZONS_S, settings)
        if result.epochs != epochs:
            raise RuntimeError(f"the training ended after {result.epochs} of {epochs} epochs: {result.stopped}")

    train_plainly(Learner(build_network(member.recipe), member, settings), examples, epochs=1)
    for _ in range(rounds):
        trainings_s.append(measure_cpu_s(train))
        with deterministic(settings.seed):
            learner = Learner(build_network(member.recipe), member, settings)
            plain_s.append(measure_cpu_s(lambda learner=learner: train_plainly(learner, examples, epochs)))
    return statistics.median(trainings_s), statistics.median(plain_s)
