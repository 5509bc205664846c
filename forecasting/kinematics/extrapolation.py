"""Extrapolate motion that keeps its velocity, its acceleration, or its law of failure.

Every shape has two free numbers, level and rate, so that each fit is a closed form: constant velocity; constant
acceleration; Voight's law dv/dt = A v^alpha with a failure ahead (Fukuzono 1985; Voight 1988); a decay after a step,
its velocity as 1 / time. Each is fitted to windows of several lengths. Shapes weigh by how well they fit their window,
windows by how well they would have foretold the newest rows. All that still fits keeps a say: the quantiles are those
of the mixture.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from math import erfc, sqrt

import numpy as np
from numpy.typing import NDArray

from forecasting.kinematics.noise import MAD_TO_SIGMA

WINDOWS = (4, 6, 8, 11, 16, 23, 32, 45, 64)  # rows that a fit reaches back
FEWEST, FILLED = 4, 0.6  # rows, and share of its rows, that a window needs
JUDGED = 28  # newest rows whose forecasts weigh the windows
LAGS = np.arange(1, JUDGED + 1)
NOISE_ROWS = 120
STEADY = 0.1  # weight that constant velocity keeps in each window, however well another shape fits
MISSED = 0.6  # how much of its own newest errors a window's spread takes in
ALPHAS = ((1.5, 0.15), (2.0, 0.7), (2.5, 0.15))  # exponent of Voight's law, belief in it
LEADS = (0.15, 0.25, 0.4, 0.6, 1.0, 1.6, 2.5, 4.0, 8.0)  # time to failure, in window lengths
AGES = (1.05, 1.3, 2.0, 4.0)  # time since the step that decays, in window lengths
EDGES = ((-1.0, 0.1), (-0.5, 0.2), (0.0, 0.4), (0.5, 0.2), (1.0, 0.1))
"""Places between the edges of a failure window, belief in each."""
MAX_EXTRAPOLATION = 30.0  # belief in a failure window that stands; constant velocity has 1
SOONEST = 1.0  # rows to a failure, at least: it did not happen yet
TURNS = (1.0, 1.6, 2.5, 5.0)
"""Time in which a constant acceleration makes, or takes away, the present velocity, in window lengths."""
GROWTH = 3.0  # times the present velocity up to which a law of failure is followed; from there on the velocity is kept
NEWEST, DOUBT = 4, 0.1  # rows that every fit must meet whatever its window, and how much a squared miss there counts
STRAY, STRAY_FAILING = 0.15, 0.3
"""How far real motion strays from any law, and while it fails, as a share of the movement that is foretold."""
FINE = 0.03  # of a row's movement: no law is held to less
SHARPNESS = 3.0  # power of its mean error with which a window loses weight
LEAST = 0.02  # weight of the worst window, of the best
SHARES = np.array([0.025, 0.1, 0.5, 0.9, 0.975])
NODES = 128  # of the normal distribution, per standard deviation
LARGEST = 1e120  # of a reading: the squares of larger ones and their sums are no numbers
FURTHEST = 9  # standard deviations beyond which nothing is left of it

Floats = NDArray[np.float64]
Failure = tuple[float, float, float]  # early edge, middle and late edge of a failure window, in rows from now


@dataclass(frozen=True, slots=True)
class _Fits:
    """All shapes of one window: how they weigh, and the line each draws through level and rate now."""

    missed: Floats  # (JUDGED,), mean error of its newest forecasts by lag, growing on beyond what could be judged
    weight: Floats  # (K,)
    level: Floats  # (K,), value now
    rate: Floats  # (K,), per row
    newest: Floats  # (K,), squared misses of the newest rows
    variance: float  # of one reading about the best
    centre: Floats  # (K,), mean of the shape over the window
    room: Floats  # (K,), its spread
    count: float


def extrapolate(values: Floats, steps: Sequence[int], window: Failure | None = None) -> Floats:
    """Extrapolate the motion of one series from its last row.

    Args:
        values: Rows of an even grid, shape (T,), NaN where nothing was observed; any unit.
        window: Early edge, middle and late edge of the failure window in rows from now, where one stands: then it
            says when the slope fails, and most is believed of it.

    Returns:
        Quantiles .025, .1, .5, .9, .975 at each horizon, shape (H, 5): never nearer to the median at a later horizon;
        NaN where too few rows are known, or one lies beyond `LARGEST`.

    >>> import numpy as np
    >>> lead = np.arange(40.0, 4.0, -1.0)
    >>> made = extrapolate(-20.0 * np.log(lead), [1, 2])
    >>> np.round(made[:, 2] + 20.0 * np.log([4.0, 3.0]), 1) + 0.0
    array([0., 0.])
    """
    ahead = np.asarray(steps, dtype=np.float64)
    if is_boundless(values):
        return np.full((ahead.size, len(SHARES)), np.nan)
    sigma = measure_grid_noise(values)
    fits = [(length, one) for length in WINDOWS if (one := _fit(values, length, sigma, window)) is not None]
    if not fits:
        return np.full((ahead.size, len(SHARES)), np.nan)
    stray = STRAY if window is None else STRAY_FAILING
    means, spreads = [], []
    for length, one in fits:
        shape = _shapes(length, ahead, window)
        moved = one.rate[:, None] * shape
        square = one.variance * (1.0 / one.count + (shape - one.centre[:, None]) ** 2 / one.room[:, None])
        off = np.interp(ahead, LAGS, one.missed) * np.maximum(ahead / JUDGED, 1.0)
        means.append(one.level[:, None] + moved)
        spreads.append(np.sqrt(sigma**2 + square + (stray * moved) ** 2 + (MISSED * off) ** 2))
    # a window is judged by what it foretold up to twice as far ahead
    upto = np.minimum(np.ceil(2.0 * ahead), JUDGED).astype(np.int64) - 1
    loss = np.stack([(np.cumsum(one.missed) / LAGS)[upto] for _, one in fits]) + 0.3 * sigma
    trust = np.maximum((np.maximum(loss, 1e-12) / np.maximum(loss.min(axis=0), 1e-12)) ** -SHARPNESS, LEAST)
    newest = np.stack([one.newest for _, one in fits])
    close = np.exp(-DOUBT * (newest - newest.min()) / max(sigma**2, newest.min() / NEWEST, 1e-18))
    weight = np.concatenate([(one.weight * close[w])[:, None] * trust[w] for w, (_, one) in enumerate(fits)])
    weight /= weight.sum(axis=0)
    mean, spread = np.concatenate(means), np.concatenate(spreads)
    quantiles = np.stack([_mix(mean[:, h], spread[:, h], weight[:, h]) for h in range(ahead.size)])
    middle = quantiles[:, 2:3]
    off = quantiles - middle
    off[:, :2] = np.minimum.accumulate(off[:, :2], axis=0)
    off[:, 3:] = np.maximum.accumulate(off[:, 3:], axis=0)
    out: Floats = middle + off
    return out


def is_boundless(values: Floats) -> bool:
    """Whether a reading lies beyond what can be squared and summed."""
    return bool((np.abs(values) > LARGEST).any())


def measure_grid_noise(values: Floats, rows: int = NOISE_ROWS) -> float:
    """White noise of the newest rows as `noise.measure_sigma` has it for an even grid; rows beside a gap are left out.

    A logger that rounds repeats itself: where half of the rows lie on the line through their neighbours, the mean
    square of all tells the noise. It is not 0: no interval may be narrower than the rounding.

    >>> round(measure_grid_noise(np.array([0.0, 1.0, 0.0, 1.0, 0.0])), 4)
    1.2105
    >>> round(measure_grid_noise(np.repeat([0.0, 0.1, 0.2, 0.3, 0.4], 6)), 3)
    0.022
    """
    recent = values[-rows:]
    off = np.abs(recent[:-2] - 2.0 * recent[1:-1] + recent[2:])
    off = off[np.isfinite(off)]
    if not off.size:
        return 0.0
    return float(MAD_TO_SIGMA * np.median(off) / np.sqrt(6.0)) or float(np.sqrt(np.mean(off**2) / 6.0))


def _fit(values: Floats, window: int, sigma: float, failure: Failure | None) -> _Fits | None:
    """Every shape on the newest window, and how well this window would have foretold the rows before; None: too few."""
    rows = values.size
    if rows < window:
        return None
    origins = np.arange(max(window - 1, rows - 1 - JUDGED), rows)
    read = values[origins[:, None] + np.arange(1 - window, 1)[None, :]]
    mask = np.isfinite(read)
    count = mask.sum(axis=1)[:, None].astype(np.float64)
    past = _shapes(window, np.arange(1.0 - window, 1.0), failure)
    known = count[:, 0] >= max(FEWEST, FILLED * window)
    if not known[-1]:
        return None
    count = np.maximum(count, 1.0)
    middle = np.where(mask, read, 0.0).sum(axis=1)[:, None] / count
    off = np.where(mask, read - middle, 0.0)
    share = mask.astype(np.float64)
    centre = share @ past.T / count
    room = np.maximum(share @ (past**2).T - centre**2 * count, 1e-12)
    product = off @ past.T
    rate = product / room
    rest = np.maximum((off**2).sum(axis=1)[:, None] - rate * product, 0.0)
    best = rest.min(axis=1, keepdims=True)
    floor = np.maximum(sigma, FINE * np.abs(rate[:, :1]))
    variance = np.maximum(np.maximum(floor**2, best / np.maximum(count - 2.0, 1.0)), 1e-18)
    # neighbouring residuals go together: half of them count
    weight = _beliefs(failure) * np.exp(-0.25 * (rest - best) / variance)
    weight /= weight.sum(axis=1, keepdims=True)
    weight *= 1.0 - STEADY
    weight[:, 0] += STEADY
    level = middle - rate * centre
    foretold = (weight * level).sum(axis=1)[:, None] + (weight * rate) @ _shapes(
        window, LAGS.astype(np.float64), failure
    )
    targets = origins[:, None] + LAGS[None, :]
    missed = np.where(targets < rows, np.abs(values[np.minimum(targets, rows - 1)] - foretold), np.nan)[known]
    judged = np.isfinite(missed).sum(axis=0)
    enough = int(np.argmin(np.append(judged >= FEWEST, False)))
    by_lag = np.nanmean(missed[:, :enough], axis=0) if enough else np.sqrt(variance[-1])
    beyond = LAGS[max(enough, 1) :] / max(enough, 1)
    by_lag = np.maximum.accumulate(np.concatenate([by_lag, by_lag[-1] * beyond]))
    last = values[-NEWEST:] - level[-1][:, None] - rate[-1][:, None] * past[:, -NEWEST:]
    return _Fits(
        by_lag,
        weight[-1],
        level[-1],
        rate[-1],
        np.nansum(last**2, axis=1),
        float(variance[-1, 0]),
        centre[-1],
        room[-1],
        float(count[-1, 0]),
    )


def _beliefs(failure: Failure | None) -> Floats:
    """Belief in each shape before the data, in the order of `_shapes`."""
    out = [1.0, *(2 * len(TURNS) * [0.5 / len(TURNS)]), *(len(AGES) * [1.0 / len(AGES)])]
    if failure is None:
        out += [belief / len(LEADS) for _, belief in ALPHAS for _ in LEADS]
    else:
        out += [MAX_EXTRAPOLATION * share for _, share in EDGES]
    return np.array(out)


def _shapes(window: int, at: Floats, failure: Failure | None) -> Floats:
    """Movement of every shape at rows `at` from now (0), where each moves by one a row; shape (K, len(at))."""
    out = [at]
    for turn in TURNS:
        span = turn * window
        near = np.minimum(at, window)  # a velocity grows no longer than was seen
        out.append(near + near**2 / (2.0 * span) + (1.0 + window / span) * np.maximum(at - window, 0.0))
        near = np.minimum(at, span)  # it comes to rest, never back
        out.append(near - near**2 / (2.0 * span))
    out += [age * np.log1p(at / age) for age in (share * window for share in AGES)]
    if failure is None:
        return np.stack(out + [_fail(at, share * window, alpha) for alpha, _ in ALPHAS for share in LEADS])
    early, middle, late = failure
    for place, _ in EDGES:
        lead = middle + (place * (middle - early) if place < 0.0 else place * (late - middle))
        out.append(_fail(at, max(lead, SOONEST), 2.0))
    return np.stack(out)


def _fail(at: Floats, lead: float, alpha: float) -> Floats:
    power = 1.0 / (alpha - 1.0)  # velocity as lead^-power
    near = lead * (1.0 - GROWTH ** (-1.0 / power))
    left = 1.0 - np.minimum(at, near) / lead
    moved = -lead * np.log(left) if power == 1.0 else lead / (power - 1.0) * (left ** (1.0 - power) - 1.0)
    out: Floats = moved + GROWTH * np.maximum(at - near, 0.0)
    return out


def _mix(mean: Floats, spread: Floats, weight: Floats) -> Floats:
    low = np.full(SHARES.size, (mean - 6.0 * spread).min())
    high = np.full(SHARES.size, (mean + 6.0 * spread).max())
    width = np.maximum(spread, 1e-12)[:, None]
    for _ in range(50):
        half = (low + high) / 2.0
        below = (weight[:, None] * normal_below((half - mean[:, None]) / width)).sum(axis=0) < SHARES
        low, high = np.where(below, half, low), np.where(below, high, half)
    out: Floats = (low + high) / 2.0
    return out


def _tabulate_normal() -> Floats:
    """Taylor's coefficients of the normal distribution at its nodes, shape (6, n), the highest power first."""
    at = np.arange(-FURTHEST * NODES, FURTHEST * NODES + 1) / NODES
    density = np.exp(-0.5 * at**2) / np.sqrt(2.0 * np.pi)
    below = np.array([0.5 * erfc(-z / sqrt(2.0)) for z in at.tolist()])
    slopes = (at**4 - 6.0 * at**2 + 3.0) / 120.0, (3.0 * at - at**3) / 24.0, (at**2 - 1.0) / 6.0, -at / 2.0, 1.0
    return np.stack([*(slope * density for slope in slopes), below])


NORMAL = _tabulate_normal()


def normal_below(z: Floats) -> Floats:
    """Share of the standard normal distribution below each value, within 1e-15; NaN stays NaN.

    `scipy.special.ndtr` says the same, but takes as long to load as a site of a hundred stations to forecast.

    >>> normal_below(np.array([-40.0, -1.0, 0.0, 1.0, 40.0])).round(6).tolist()
    [0.0, 0.158655, 0.5, 0.841345, 1.0]
    """
    near = np.clip(z, -FURTHEST, FURTHEST)
    node = np.rint(np.fmax(near, -FURTHEST) * NODES)  # NaN lies at no node
    off = near - node / NODES
    row = node.astype(np.int64) + FURTHEST * NODES
    out: Floats = NORMAL[0][row]
    for power in NORMAL[1:]:
        out *= off
        out += power[row]
    return out
