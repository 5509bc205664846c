"""Tune a trained network to another record, with replay of earlier records so that they are not forgotten.

Inputs and targets are scaled by each window, so the weights of a network without graph fit the record of any slope.
What belongs to one record stays with it: noise floors, spread and the simple forecast.
"""

import copy
import time
from collections.abc import Sequence
from dataclasses import replace

from forecasting.data.series import Panel
from forecasting.data.splits import Split
from forecasting.errors import ForecastingError
from forecasting.neural.forecaster import NeuralForecaster
from forecasting.neural.learner import Learner, Member, Progress, Settings
from forecasting.neural.network import Network
from forecasting.neural.source_scale import SourceScale
from forecasting.neural.training import Training, deterministic, prepare


def fine_tune(
    forecaster: NeuralForecaster,
    panel: Panel,
    parts: Split,
    settings: Settings,
    *,
    replay: Sequence[tuple[Panel, Split]] = (),
    progress: Progress | None = None,
) -> Training:
    """Return a new forecaster tuned to a record. The given forecaster is not changed.

    Args:
        forecaster: Trained forecaster to start from.
        panel: Record to tune to.
        parts: Blocks of the record. Its early-stop block alone decides when the tuning ends.
        settings: Window, width and seed are taken from the forecaster.
        replay: Earlier records with their blocks. In each pass they give about as many batches as the new record.
        progress: Called after each epoch with (epoch, epochs, validation loss).

    Raises:
        ForecastingError: The record has other drivers than the forecaster was trained with.
    """
    old = forecaster.recipe
    settings = replace(settings, window=old.window, hidden=old.hidden, seed=old.seed)
    reads_drivers = old.sources is not None

    def make_member(record: Panel, blocks: Split) -> Member:
        record = record if reads_drivers else replace(record, drivers=None)
        recipe = prepare(old.model, record, blocks, old.horizons_s, settings)
        member = Member(recipe, record.values, blocks, settings.stride, record.drivers)
        member.require()
        return member

    member = make_member(panel, parts)
    if old.sources is not None and not _has_same_drivers(member.recipe.sources, old.sources):
        raise ForecastingError(f"{old.model} was trained with other drivers: it can only be tuned with the same ones")
    replayed = [make_member(record, blocks) for record, blocks in replay]
    return tune(forecaster.network, member, replayed, settings, progress=progress)


def _has_same_drivers(sources: SourceScale | None, trained_on: SourceScale) -> bool:
    return sources is not None and (sources.names, sources.facts) == (trained_on.names, trained_on.facts)


def tune(
    start: Network,
    member: Member,
    replayed: Sequence[Member],
    settings: Settings,
    *,
    progress: Progress | None = None,
) -> Training:
    """Return a copy of a network tuned to one record, with about as many batches of the replayed records per pass."""
    begun = time.monotonic()
    replayed_rows = sum(other.origins(other.parts.fit).size for other in replayed)
    thinning = max(1, replayed_rows // max(1, member.origins(member.parts.fit).size))
    thinned = [replace(other, stride=other.stride * thinning) for other in replayed]
    network = copy.deepcopy(start)
    with deterministic(settings.seed):
        losses, stopped = Learner(network, member, settings, thinned).run(begun, progress)
    tuned = NeuralForecaster(member.recipe, network)
    return Training(tuned, len(losses) - 1, tuple(losses), time.monotonic() - begun, stopped)
