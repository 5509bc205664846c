"""Train one network on one record. The same record and seed give the same weights bit for bit."""

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
from forecasting.neural.forecaster import NeuralForecaster, Recipe, build_network, measure_motion
from forecasting.neural.learner import Learner, Member, Progress, Settings
from forecasting.neural.source_scale import fit_scale, measure
from forecasting.registry import load
from forecasting.simple.baselines import fit_level_drift
from forecasting.simple.trend import ROOM_BYTES, compute_trend, count_bytes

# Correlation of increments above which two stations are connected.
CORRELATION = 0.3
# Common increments that a correlation needs.
_MINIMUM_PAIRS = 30
# Smallest weight of an edge by distance.
_SMALLEST_WEIGHT = 0.1


def supports(values: Floats, xy_m: Floats | None, *, lag: int) -> Floats:
    """Return symmetric normalised adjacencies by distance and by correlation, shape (2, S, S), without self loops.

    Distance: `exp(-(d / sigma)^2)`, 0 below 0.1 (Li et al. 2018, DCRNN). Sigma is the median distance, because with the
    standard deviation of that paper a few evenly spread stations have no edge. All weights are 0 without coordinates.
    Correlation: that of increments over `lag` rows, 0 below 0.3.

    Args:
        values: Training rows only, shape (T, S).
        lag: Rows of the increments (7 days).
    """
    return np.stack([normalise(distance_graph(xy_m, values.shape[1])), normalise(correlation_graph(values, lag))])


def directed_supports(values: Floats, xy_m: Floats | None, *, lag: int) -> Floats:
    """Return the transition matrices of random walks along and against directed edges, shape (2, S, S).

    An edge leads from a station to a station that makes the same motion later: the correlation of its increments with
    those of the other station one row later is above 0.3, and larger than in the other direction. Stations without such
    an edge between them are connected by their distance. There are no self loops. Rows sum to 1, or to 0 for a station
    without edges.

    Args:
        values: Training rows only, shape (T, S).
        lag: Rows of the increments (7 days).
    """
    increments = values[lag:] - values[:-lag]
    count = values.shape[1]
    # [i, j]: correlation of station i with station j one row later
    later = np.zeros((count, count))
    for i in range(count):
        for j in range(count):
            if i != j:
                later[i, j] = _correlate(increments[:-1, i], increments[1:, j])
    edges = np.where((later > CORRELATION) & (later > later.T), later, 0.0).astype(np.float64)
    is_unconnected = (edges + edges.T) == 0.0
    graph = edges + np.where(is_unconnected, distance_graph(xy_m, count), 0.0)
    return np.stack([_make_transitions(graph), _make_transitions(graph.T)])


def _correlate(left: Floats, right: Floats) -> float:
    """Return the correlation of two series; 0 with fewer than 30 common values, or if one of them is constant."""
    is_common = np.isfinite(left) & np.isfinite(right)
    if is_common.sum() < _MINIMUM_PAIRS or left[is_common].std() == 0 or right[is_common].std() == 0:
        return 0.0
    return float(np.corrcoef(left[is_common], right[is_common])[0, 1])


def _make_transitions(graph: Floats) -> Floats:
    """Divide each row by its sum."""
    degree = graph.sum(axis=1, keepdims=True)
    return np.asarray(np.where(degree > 0, graph / np.where(degree > 0, degree, 1.0), 0.0))


def distance_graph(xy_m: Floats | None, stations: int) -> Floats:
    """Return the Gaussian kernel of the distances, shape (S, S); 0 without coordinates."""
    if xy_m is None or stations < 2:
        return np.zeros((stations, stations))
    distances_m = np.hypot(*(xy_m[:, None, :] - xy_m[None, :, :]).transpose(2, 0, 1))
    sigma = max(float(np.median(distances_m[np.triu_indices(stations, 1)])), 1.0)
    graph = np.exp(-((distances_m / sigma) ** 2))
    graph[graph < _SMALLEST_WEIGHT] = 0.0
    np.fill_diagonal(graph, 0.0)
    return np.asarray(graph, dtype=np.float64)


def correlation_graph(values: Floats, lag: int) -> Floats:
    """Return the correlations of increments, shape (S, S); 0 below 0.3 or with fewer than 30 common increments."""
    increments = values[lag:] - values[:-lag]
    count = values.shape[1]
    graph = np.zeros((count, count))
    for i in range(count):
        for j in range(i + 1, count):
            correlation = _correlate(increments[:, i], increments[:, j])
            if correlation > CORRELATION:
                graph[i, j] = correlation
                graph[j, i] = correlation
    return graph


def normalise(graph: Floats) -> Floats:
    """Return `D^-1/2 A D^-1/2` (Kipf and Welling 2017). The row of a station without neighbours is 0."""
    degree = graph.sum(axis=1)
    root = np.where(degree > 0, 1.0 / np.sqrt(np.where(degree > 0, degree, 1.0)), 0.0)
    return root[:, None] * graph * root[None, :]


# Stations of a graph. The time of each row of a window increases with the square of their number.
MOST_NODES = 2000


@dataclass(frozen=True, slots=True)
class Training:
    """The result of one training."""

    forecaster: NeuralForecaster
    epochs: int  # number of epochs
    losses: tuple[float, ...]  # early-stop loss before the training and after each epoch
    seconds: float  # elapsed time
    stopped: str  # why the training ended: `epochs`, `patience`, `time limit` or `fitted`


@contextmanager
def deterministic(seed: int) -> Iterator[None]:
    """Use one thread, deterministic algorithms and a random state of its own within the block."""
    threads = torch.get_num_threads()
    debug_mode = torch.get_deterministic_debug_mode()
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        torch.set_num_threads(1)
        # the same as `use_deterministic_algorithms`, which loads the compiler
        torch.set_deterministic_debug_mode("error")
        try:
            yield
        finally:
            torch.set_num_threads(threads)
            torch.set_deterministic_debug_mode(debug_mode)


def prepare(model: str, panel: Panel, parts: Split, horizons_s: tuple[float, ...], settings: Settings) -> Recipe:
    """Return the recipe of a network, which is fitted before its weights.

    The simple forecast is fitted to the calibration block. Noise, spread, graphs and the scale of drivers are fitted to
    the fit block.
    """
    steps = tuple(panel.steps(h) for h in horizons_s)
    fit = panel.values[: parts.fit.end]
    lag = scale_lag(panel.step_s, settings.window)
    level_drift = fit_level_drift(panel, parts.calibration, steps)
    floors = noise_floor(fit)
    network_class = load(model)
    graphs = None
    if network_class.needs_graph:
        graphs = _make_graphs(panel, fit, lag=lag, is_directed=network_class.directed)
    origins = parts.fit.origins
    origins = origins[origins >= settings.window - 1][:: settings.stride]
    cut = windows(panel.values, origins, floors, window=settings.window, lag=lag)
    drivers = panel.drivers
    if drivers is not None and settings.covariates is not None:
        drivers = drivers.named(settings.covariates)
    if drivers is not None:
        drivers = network_class.choose_drivers(fit, drivers, lag=lag)
    sources = fit_scale(drivers, parts.fit.end)
    reads_drivers = bool(sources.names or sources.static)
    if reads_drivers:
        sources = replace(sources, motion=measure(np.log(cut.scale_mm).ravel()))
    recipe = Recipe(
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
        level_drift=level_drift,
        supports=None if graphs is None else graphs.tolist(),
        sources=sources if reads_drivers else None,
        doubts=_compare_doubts(panel.values, origins, steps, cut.scale_mm),
    )
    return replace(recipe, spread=_measure_spread(recipe, panel.values, parts.fit, origins))


def train_network(
    model: str,
    panel: Panel,
    parts: Split,
    horizons_s: tuple[float, ...],
    settings: Settings | None = None,
    *,
    progress: Progress | None = None,
) -> Training:
    """Train one network on the fit block. The early-stop block decides when the training ends.

    Args:
        model: Name of the network.
        panel: The record.
        parts: Blocks of the record. The weights do not depend on the calibration and the test block.
        horizons_s: Horizons.
        settings: Settings of the training.
        progress: Called after each epoch.

    Raises:
        NotEnoughDataError: The record is too short.
        ForecastingError: There are too many stations for a graph or for the time limit.
    """
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


def _make_graphs(panel: Panel, fit: Floats, *, lag: int, is_directed: bool) -> Floats:
    """Return the graphs between the stations, from the rows of the fit block."""
    if len(panel.stations) > MOST_NODES:
        raise ForecastingError(
            f"a graph connects at most {MOST_NODES} stations, here are {len(panel.stations)}: use a network without a "
            "graph, such as lstm"
        )
    make = directed_supports if is_directed else supports
    return make(fit, panel.xy_m, lag=lag)


def _compare_doubts(values: Floats, origins: Ints, steps: tuple[int, ...], scale: Floats) -> tuple[float, ...] | None:
    """Return the median ratio of window scale to expected error of the trend, per horizon.

    Returns:
        None if no trend is blended in: there are too many stations or rows, or no error is known at a horizon.
    """
    if values.shape[1] > MANY_STATIONS or count_bytes((*values.shape, len(steps))) > ROOM_BYTES:
        return None
    expected_error = compute_trend(values, steps, None).expected_error[origins]
    is_positive = expected_error > 0
    ratios = np.where(is_positive, scale[..., None] / np.where(is_positive, expected_error, 1.0), np.nan)
    ratios = ratios.reshape(-1, len(steps))
    if not np.isfinite(ratios).any(axis=0).all():
        return None
    return tuple(float(ratio) for ratio in np.nanmedian(ratios, axis=0))


def _measure_spread(recipe: Recipe, values: Floats, block: Block, origins: Ints) -> tuple[float, ...]:
    """Return the median |residual of the simple forecast| in the unit of the correction, per horizon.

    With it, all horizons have the same weight in the loss.
    """
    motion = measure_motion(recipe, values, origins, np.asarray(recipe.noise_mm))
    spread = []
    for i, step in enumerate(recipe.steps):
        ratios = np.abs(block.targets(values, origins, step) - motion.base[:, :, i]) / motion.unit_mm[:, :, i]
        ratios = ratios[np.isfinite(ratios)]
        spread.append(max(float(np.median(ratios)), 1e-3) if ratios.size else 1.0)
    return tuple(spread)
