"""One network for many records: trained on all of them at once, taken to a new one as it is, or tuned to it.

Inputs and targets are on the scale of each window, so a network that reads stations by themselves fits any record. What
belongs to a record (floors, spread, the simple forecast) stays with it; only the weights are shared.
"""

import copy
import time
from collections.abc import Sequence
from dataclasses import dataclass, replace

from forecasting.data.series import Panel
from forecasting.data.splits import Split
from forecasting.errors import ForecastingError, NotEnoughDataError
from forecasting.neural.forecaster import NeuralForecaster, build_network
from forecasting.neural.learner import Learner, Member, Progress, Settings
from forecasting.neural.network import Network
from forecasting.neural.training import Training, deterministic, prepare
from forecasting.registry import load

TUNING = Settings(epochs=3, learning_rate=1e-4, patience=3)
"""Nightly tuning: few and small steps, so that one night cannot spoil what a year has taught."""


@dataclass(frozen=True, slots=True)
class Pooled:
    """A network trained on several records."""

    model: str  # id of the network
    network: Network  # the shared weights
    settings: Settings  # how it was trained
    horizons_s: tuple[float, ...]  # horizons in seconds
    losses: tuple[float, ...]  # mean early-stop loss before training and after each pass
    seconds: float  # wall time
    stopped: str  # why it ended


def train_pooled(
    model: str, records: Sequence[tuple[Panel, Split]], horizons_s: tuple[float, ...], settings: Settings | None = None
) -> Pooled:
    """Train one network on the fit blocks of all records; their early-stop blocks decide together when it ends.

    It reads the motion alone: what drives one slope has another name, and another meaning, at the next.
    """
    if load(model).needs_graph:
        raise ForecastingError(f"{model} reads the stations of one site together; take one without graph, e.g. lstm")
    if not records:
        raise NotEnoughDataError("no record to learn from")
    settings = settings or Settings()
    begun = time.monotonic()
    members = [_member(model, _motion(panel), parts, horizons_s, settings) for panel, parts in records]
    with deterministic(settings.seed):
        network = build_network(members[0].recipe)
        losses, stopped = Learner(network, members, settings).run(begun, None)
    return Pooled(model, network, settings, horizons_s, tuple(losses), time.monotonic() - begun, stopped)


def adopt(pooled: Pooled, panel: Panel, parts: Split) -> NeuralForecaster:
    """The shared weights on a record, with the record's own floors, spread and simple forecast; nothing is learnt."""
    recipe = prepare(pooled.model, _motion(panel), parts, pooled.horizons_s, pooled.settings)
    network = copy.deepcopy(pooled.network)
    network.eval()
    return NeuralForecaster(recipe, network)


def fine_tune(
    forecaster: NeuralForecaster,
    panel: Panel,
    parts: Split,
    settings: Settings | None = None,
    *,
    head_only: bool = False,
    replay: Sequence[tuple[Panel, Split]] = (),
    progress: Progress | None = None,
) -> Training:
    """A new candidate from a trained network, as `forecaster` is: the old one stays as it is.

    Args:
        parts: Its blocks; its early-stop block alone decides.
        head_only: True freezes all but the head.
        replay: Older records to go on learning from, so that they are not forgotten: as many batches as the new one.
    """
    old = forecaster.recipe
    settings = replace(settings or TUNING, window=old.window, hidden=old.hidden, seed=old.seed)
    deaf = old.sources is None
    mine = _member(old.model, _motion(panel) if deaf else panel, parts, old.horizons_s, settings)
    read = mine.recipe.sources
    if old.sources is not None and (read is None or (read.names, read.facts) != (old.sources.names, old.sources.facts)):
        raise ForecastingError(f"{old.model} was trained with other drivers: it can only be tuned with the same ones")
    others = [
        _member(old.model, _motion(other) if deaf else other, blocks, old.horizons_s, settings)
        for other, blocks in replay
    ]
    return tune(forecaster.network, mine, others, settings, head_only=head_only, progress=progress)


def tune(
    start: Network,
    mine: Member,
    others: Sequence[Member],
    settings: Settings,
    *,
    head_only: bool = False,
    progress: Progress | None = None,
) -> Training:
    """Weights tuned to one record, beside as many batches of others; arguments as in `fine_tune`."""
    begun = time.monotonic()
    wanted = max(1, sum(m.origins(m.parts.fit).size for m in others) // max(1, mine.origins(mine.parts.fit).size))
    others = [replace(m, stride=m.stride * wanted) for m in others]
    network = copy.deepcopy(start)
    for name, weights in network.named_parameters():
        weights.requires_grad_(not head_only or name.startswith("head."))
    with deterministic(settings.seed):
        losses, stopped = Learner(network, [mine, *others], settings, mine).run(begun, progress)
    for weights in network.parameters():
        weights.requires_grad_(True)
    tuned = NeuralForecaster(mine.recipe, network)
    return Training(tuned, len(losses) - 1, tuple(losses), time.monotonic() - begun, stopped)


def _motion(panel: Panel) -> Panel:
    return replace(panel, drivers=None)


def _member(model: str, panel: Panel, parts: Split, horizons_s: tuple[float, ...], settings: Settings) -> Member:
    recipe = prepare(model, panel, parts, horizons_s, settings)
    member = Member(recipe, panel.values, parts, settings.stride, panel.drivers)
    member.require()
    return member
