"""Trains one network on one record: what is fitted before the weights, one thread, one seed, the same bytes again."""

import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace

import numpy as np
import torch

from forecasting.combination.combination import MANY_STATIONS
from forecasting.data.features import noise_floor, scale_lag, windows
from forecasting.data.series import Floats, Ints, Panel
from forecasting.data.splits import Block, Split
from forecasting.errors import ForecastingError
from forecasting.neural.forecaster import NeuralForecaster, Recipe, build_network, cut_motion
from forecasting.neural.learner import Learner, Member, Progress, Settings
from forecasting.neural.source_scale import fit_scale, measure
from forecasting.registry import load
from forecasting.simple.baselines import fit_lld
from forecasting.simple.trend import ROOM_BYTES, count_bytes, recall

CORRELATION = 0.3
_MINIMUM_PAIRS = 30
_FAINT = 0.1


def supports(values: Floats, xy_m: Floats | None, *, lag: int) -> Floats:
    """Symmetric normalised adjacencies by distance and by correlation, shape (2, S, S), no self loops.

    Distance: `exp(-(d / sigma)^2)`, below 0.1 cut off (Li et al. 2018, DCRNN), but with sigma the median distance: the
    standard deviation of that paper leaves a handful of evenly spread stations without any edge. All zero where
    coordinates are unknown. Correlation of increments over `lag` rows above 0.3.

    Args:
        values: Training rows only, shape (T, S).
        lag: Rows of the increments (7 days).
    """
    return np.stack([normalise(distance_graph(xy_m, values.shape[1])), normalise(correlation_graph(values, lag))])


def directed_supports(values: Floats, xy_m: Floats | None, *, lag: int) -> Floats:
    """Transition matrices of a random walk along and against directed edges, shape (2, S, S), no self loops.

    An edge leads from a station to one that moves like it, but later: the correlation of its increments with those of
    the other one row on exceeds the correlation the other way round. Where nobody leads, stations that are near each
    other are tied both ways. Rows sum to 1, those of a station without edges to 0.

    Args:
        values: Training rows only, shape (T, S).
        lag: Rows of the increments (7 days).
    """
    # how much more station j moves after i than before it, shape (S, S), [i, j] > 0 = i leads; 0 below 0.3
    moved = values[lag:] - values[:-lag]
    count = values.shape[1]
    after = np.zeros((count, count))
    for i in range(count):
        for j in range(count):
            if i != j:
                after[i, j] = _correlate(moved[:-1, i], moved[1:, j])
    leads = np.where((after > CORRELATION) & (after > after.T), after, 0.0)
    follows = np.asarray(leads, dtype=np.float64)
    near = distance_graph(xy_m, values.shape[1])
    free = (follows + follows.T) == 0.0
    graph = follows + np.where(free, near, 0.0)
    return np.stack([_walk(graph), _walk(graph.T)])


def _correlate(left: Floats, right: Floats) -> float:
    both = np.isfinite(left) & np.isfinite(right)
    if both.sum() < _MINIMUM_PAIRS or left[both].std() == 0 or right[both].std() == 0:
        return 0.0
    return float(np.corrcoef(left[both], right[both])[0, 1])


def _walk(graph: Floats) -> Floats:
    degree = graph.sum(axis=1, keepdims=True)
    return np.asarray(np.where(degree > 0, graph / np.where(degree > 0, degree, 1.0), 0.0))


def distance_graph(xy_m: Floats | None, stations: int) -> Floats:
    """Gaussian kernel of the distances, shape (S, S)."""
    if xy_m is None or stations < 2:
        return np.zeros((stations, stations))
    apart = np.hypot(*(xy_m[:, None, :] - xy_m[None, :, :]).transpose(2, 0, 1))
    sigma = max(float(np.median(apart[np.triu_indices(stations, 1)])), 1.0)
    graph = np.exp(-((apart / sigma) ** 2))
    graph[graph < _FAINT] = 0.0
    np.fill_diagonal(graph, 0.0)
    return np.asarray(graph, dtype=np.float64)


def correlation_graph(values: Floats, lag: int) -> Floats:
    """Correlations of increments above 0.3, else 0, shape (S, S); pairs with under 30 common increments are 0."""
    moved = values[lag:] - values[:-lag]
    count = values.shape[1]
    graph = np.zeros((count, count))
    for i in range(count):
        for j in range(i + 1, count):
            value = _correlate(moved[:, i], moved[:, j])
            if value > CORRELATION:
                graph[i, j] = graph[j, i] = value
    return graph


def normalise(graph: Floats) -> Floats:
    """`D^-1/2 A D^-1/2` (Kipf and Welling 2017); a station without neighbours keeps a row of zeros."""
    degree = graph.sum(axis=1)
    root = np.where(degree > 0, 1.0 / np.sqrt(np.where(degree > 0, degree, 1.0)), 0.0)
    return root[:, None] * graph * root[None, :]


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
    """Train one network on the fit block, stopped by the early-stop block; calibration and test are not learnt from."""
    settings = settings or Settings()
    begun = time.monotonic()
    recipe = prepare(model, panel, parts, horizons_s, settings)
    member = Member(recipe, panel.values, parts, settings.stride, panel.drivers)
    member.require()
    with deterministic(settings.seed):
        network = build_network(member.recipe)
        losses, stopped = Learner(network, member, settings).run(begun, progress)
    forecaster = NeuralForecaster(member.recipe, network)
    return Training(forecaster, len(losses) - 1, tuple(losses), time.monotonic() - begun, stopped)


def _tie(panel: Panel, fit: Floats, *, lag: int, directed: bool) -> Floats:
    """The graphs between the stations, from the rows of the fit block."""
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
