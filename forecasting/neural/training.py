"""Trains one network on one record: what is fitted before the weights, one thread, one seed, the same bytes again."""

import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace

import numpy as np
import torch

from forecasting.data.features import noise_floor, scale_lag, windows
from forecasting.data.series import Floats, Ints, Panel
from forecasting.data.splits import Block, Split
from forecasting.errors import ForecastingError
from forecasting.neural.forecaster import NeuralForecaster, Recipe, build_network, cut_motion
from forecasting.neural.graph import directed_supports, supports
from forecasting.neural.learner import Learner, Member, Progress, Settings
from forecasting.neural.source_scale import fit_scale, measure
from forecasting.registry import load
from forecasting.simple.auto import MANY_STATIONS
from forecasting.simple.baselines import fit_lld
from forecasting.simple.trend import ROOM_BYTES, count_bytes, recall

MOST_NODES = 2000
"""Stations of a dense graph: every row of a window costs their square, and distant stations add little."""


@dataclass(frozen=True, slots=True)
class Training:
    """The outcome of one training."""

    forecaster: NeuralForecaster  # ready to forecast
    epochs: int  # passes made
    losses: tuple[float, ...]  # early-stop loss before training and after each pass
    seconds: float  # wall time
    stopped: str  # why it ended: `epochs`, `patience` or `time limit`


@contextmanager
def deterministic(seed: int) -> Iterator[None]:
    """One thread, deterministic algorithms and a private random state; what was set before is put back."""
    threads, strict = torch.get_num_threads(), torch.get_deterministic_debug_mode()
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        torch.set_num_threads(1)
        torch.set_deterministic_debug_mode("error")  # what `use_deterministic_algorithms` does, without the compiler
        try:
            yield
        finally:
            torch.set_num_threads(threads)
            torch.set_deterministic_debug_mode(strict)


def prepare(model: str, panel: Panel, parts: Split, horizons_s: tuple[float, ...], settings: Settings) -> Recipe:
    """All that is fitted before the weights: lld on calibration; floors, spread, graphs, drivers on the fit block."""
    steps = tuple(panel.steps(h) for h in horizons_s)
    fit = panel.values[: parts.fit.end]
    lag = scale_lag(panel.step_s, settings.window)
    lld = fit_lld(panel, parts.calibration, steps)
    floors = noise_floor(fit)
    kind = load(model)
    graphs = _tie(panel, fit, lag=lag, directed=kind.directed) if kind.needs_graph else None
    every = parts.fit.origins
    origins = every[every >= settings.window - 1][:: settings.stride]
    cut = windows(panel.values, origins, floors, window=settings.window, lag=lag)
    drivers = panel.drivers
    if drivers is not None and settings.covariates is not None:
        drivers = drivers.named(settings.covariates)
    sources = fit_scale(drivers, parts.fit.end)
    reads = bool(sources.names or sources.static)
    if reads:
        sources = replace(sources, motion=measure(np.log(cut.scale_mm).ravel()))
    plain = Recipe(
        model=model,
        stations=panel.stations,
        step_s=panel.step_s,
        steps=steps,
        horizons_s=horizons_s,
        window=settings.window,
        hidden=settings.hidden,
        dropout=settings.dropout,
        seed=settings.seed,
        noise_mm=tuple(float(v) for v in floors),
        spread=(1.0,) * len(steps),
        lld=lld,
        supports=None if graphs is None else graphs.tolist(),
        sources=sources if reads else None,
        doubts=_compare_doubts(panel.values, origins, steps, cut.scale_mm),
    )
    return replace(plain, spread=_spread(plain, panel.values, parts.fit, origins))


def train_network(
    model: str,
    panel: Panel,
    parts: Split,
    horizons_s: tuple[float, ...],
    settings: Settings | None = None,
    *,
    progress: Progress | None = None,
) -> Training:
    """Train one network on the fit block, stopped by the early-stop block; calibration and test are not learnt from.

    Args:
        horizons_s: Horizons in seconds.

    Raises:
        NotEnoughDataError: Fewer than 30 issue times or no target in one of the two blocks.
    """
    settings = settings or Settings()
    begun = time.monotonic()
    recipe = prepare(model, panel, parts, horizons_s, settings)
    member = Member(recipe, panel.values, parts, settings.stride, panel.drivers)
    member.require()
    with deterministic(settings.seed):
        network = build_network(member.recipe)
        losses, stopped = Learner(network, [member], settings).run(begun, progress)
    forecaster = NeuralForecaster(member.recipe, network)
    return Training(forecaster, len(losses) - 1, tuple(losses), time.monotonic() - begun, stopped)


def _tie(panel: Panel, fit: Floats, *, lag: int, directed: bool) -> Floats:
    """The graphs between the stations, from the rows of the fit block.

    Raises:
        ForecastingError: There are more stations than a dense graph is made for.
    """
    if len(panel.stations) > MOST_NODES:
        raise ForecastingError(
            f"a graph ties at most {MOST_NODES} stations, here are {len(panel.stations)}: take a network without one, "
            "such as lstm, which reads any number in pieces"
        )
    return (directed_supports if directed else supports)(fit, panel.xy_m, lag=lag)


def _compare_doubts(values: Floats, origins: Ints, steps: tuple[int, ...], scale: Floats) -> tuple[float, ...] | None:
    """Median scale of a window over the error to expect of its path, per horizon; None where `lld` alone is corrected.

    That is where too much is to be followed, or at some horizon no error is known yet.
    """
    if values.shape[1] > MANY_STATIONS or count_bytes((*values.shape, len(steps))) > ROOM_BYTES:
        return None
    doubt = recall(values, steps, None).doubt[origins]
    ratio = np.where(doubt > 0, scale[..., None] / np.where(doubt > 0, doubt, 1.0), np.nan).reshape(-1, len(steps))
    if not np.isfinite(ratio).any(axis=0).all():
        return None
    return tuple(float(v) for v in np.nanmedian(ratio, axis=0))


def _spread(recipe: Recipe, values: Floats, block: Block, origins: Ints) -> tuple[float, ...]:
    """Median |residual of the base| in the unit of a correction, per horizon, so that all horizons weigh alike."""
    cut = cut_motion(recipe, values, origins, np.asarray(recipe.noise_mm))
    out = []
    for i, h in enumerate(recipe.steps):
        ratio = np.abs(block.targets(values, origins, h) - cut.base[:, :, i]) / cut.unit_mm[:, :, i]
        ratio = ratio[np.isfinite(ratio)]
        out.append(max(float(np.median(ratio)), 1e-3) if ratio.size else 1.0)
    return tuple(out)
