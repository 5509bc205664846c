"""The two ways stations are tied together: by distance and by having moved alike; numpy only."""

import numpy as np

from forecasting.data.series import Floats

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
        xy_m: Shape (S, 2) or None.
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
        xy_m: Shape (S, 2) or None.
        lag: Rows of the increments (7 days).
    """
    follows = lead_graph(values, lag)
    near = distance_graph(xy_m, values.shape[1])
    free = (follows + follows.T) == 0.0
    graph = follows + np.where(free, near, 0.0)
    return np.stack([_walk(graph), _walk(graph.T)])


def lead_graph(values: Floats, lag: int) -> Floats:
    """How much more station j moves after i than before it, shape (S, S), [i, j] > 0 = i leads; 0 below 0.3."""
    moved = values[lag:] - values[:-lag]
    count = values.shape[1]
    after = np.zeros((count, count))
    for i in range(count):
        for j in range(count):
            if i != j:
                after[i, j] = _correlate(moved[:-1, i], moved[1:, j])
    leads = np.where((after > CORRELATION) & (after > after.T), after, 0.0)
    return np.asarray(leads, dtype=np.float64)


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
