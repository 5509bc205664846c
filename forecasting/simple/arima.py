"""ARIMA(2,1,1) with a constant, in state space: a missing day is a day without an update, never a made-up value.

Box and Jenkins 1970 for the model, Harvey 1989 for its state-space form and the likelihood with missing observations.
All stations are filtered side by side in one pass over time, so a forecast reads nothing after its origin.
Ours for the speed of many stations; its likelihood is within .05 of the best of statsmodels (`test_statistics.py`).
"""

from collections.abc import Container, Iterable, Iterator, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from forecasting.data.series import Floats, Ints, Panel
from forecasting.data.splits import Block
from forecasting.data.windows import last_value
from forecasting.simple.least_squares import Fitted, Minimum, fit_stations, measure_steps, minimise
from forecasting.simple.rows import Pick, run

MINIMUM_ROWS = 20
_PRIOR_ROUNDS = 60


@dataclass(frozen=True, slots=True)
class Arima(Fitted):
    """`w = y(t) - y(t-1)`, `w - c = p1 (w(-1) - c) + p2 (w(-2) - c) + e + q e(-1)`, one set per station.

    `params` are (p1, p2, q, c in mm per row) of each station.
    """

    def predict(self, values: Floats, origins: Ints) -> Floats:
        """Forecasts in mm, shape (N, S, H); NaN where no value was seen for more than 3 rows."""
        out = np.full((origins.size, values.shape[1], len(self.steps)), np.nan)
        if not origins.size:
            return out
        p1, p2, q, c = np.array(self.params, dtype=np.float64).T
        level, move, memory = (
            part[origins] for part in filter_states(values[: int(origins.max()) + 1], p1, p2, q, c).states
        )
        known = np.isfinite(last_value(values, origins)[0])
        ahead, x, s = np.zeros(level.shape), move, memory
        for h in range(1, max(self.steps) + 1):
            x, s = p1 * x + s, p2 * x
            ahead = ahead + x
            for i in (i for i, wanted in enumerate(self.steps) if wanted == h):
                out[:, :, i] = np.where(known, level + h * c + ahead, np.nan)
        return out


@dataclass(frozen=True, slots=True)
class Filtered:
    """What the filter saw."""

    error: Floats  # innovations, shape (T, ...), 0 where nothing was observed
    variance: Floats  # their variances in units of the noise's, 1 where nothing was observed
    # level in mm, last move about the constant and its memory after each row, each (T, ...)
    states: tuple[Floats, Floats, Floats]


def filter_states(values: Floats, p1: Floats, p2: Floats, q: Floats, c: Floats) -> Filtered:
    """Kalman filter of ARIMA(2,1,1) + c for many series side by side.

    State: level y, move x = w - c, memory s = p2 x(-1) + q e; y is observed without noise.

    `p1`: first autoregressive weight, any shape (..., S) that all four share.
    """
    error, variance, level, move, memory = run(_filter, values, (p1, p2, q, c, *_prior(p1, p2, q)))
    return Filtered(error, variance, (level, move, memory))


def _filter(
    rows: Iterable[tuple[Any, Any]],
    begins: Container[int],
    gaps: Container[int],
    pick: Pick,
    p1: Any,
    p2: Any,
    q: Any,
    c: Any,
    fxx: Any,
    fxs: Any,
    fss: Any,
) -> Iterator[tuple[Any, ...]]:
    y, x, s = np.nan * p1, 0.0 * p1, 0.0 * p1
    pyy, pyx, pys = x, x, x
    pxx, pxs, pss = fxx, fxs, fss
    begun: Any = False
    p22, qq, p2q = p2 * p2, q * q, q
    known = False  # of every series the level: the row before held them all
    for t, (seen, value) in enumerate(rows):
        u = p1 * x + s
        y, x, s = y + (u + c), u, p2 * x
        ux = p1 * pxx + pxs
        uu1 = p1 * ux + (p1 * pxs + pss) + 1.0
        if known and t not in gaps:  # the same bits as below, by half of the arithmetic
            v, gain, nys = value - y, 1.0 / uu1, p2 * ux + p2q
            gx, gs = uu1 * gain, nys * gain
            y, x, s = y + v, x + gx * v, s + gs * v
            pxx, pxs, pss = uu1 - gx * uu1, nys - gx * nys, p22 * pxx + qq - gs * nys
            yield v, uu1, y, x, s
            continue
        yu = p1 * pyx + pys
        nyy, nyx, nys = pyy + 2.0 * yu + uu1, yu + uu1, p2 * (pyx + ux) + p2q
        pss, pxs, pxx = p22 * pxx + qq, p2 * ux + p2q, uu1
        if t in begins:
            # the first value sets the level; what moved before it is only known in distribution
            fresh = seen > begun
            y = pick(fresh, value, y)
            x, s = pick(fresh, 0.0, x), pick(fresh, 0.0, s)
            nyy, nyx, nys = pick(fresh, 1.0, nyy), pick(fresh, 0.0, nyx), pick(fresh, 0.0, nys)
            pxx, pxs, pss = pick(fresh, fxx, pxx), pick(fresh, fxs, pxs), pick(fresh, fss, pss)
            begun = begun | fresh
        use = 1.0 * (seen & begun)
        gain = use / nyy
        v = pick(use > 0, value - y, 0.0)
        gx, gs = nyx * gain, nys * gain
        y = y + use * v
        x, s = x + gx * v, s + gs * v
        miss = 1.0 - use
        pyy, pyx, pys = nyy * miss, nyx * miss, nys * miss
        pxx, pxs, pss = pxx - gx * nyx, pxs - gx * nys, pss - gs * nys
        known = t not in gaps
        yield v, pick(use > 0, nyy, 1.0), y, x, s


def fit_arima(panel: Panel, calibration: Block, steps: Sequence[int]) -> Arima:
    """Maximum likelihood per station on the rows before the end of `calibration` (at most the last 1,500).

    Where a station has fewer than 20 observations its parameters are NaN and it gets no forecast of this model.
    """
    return Arima("arima", tuple(steps), *fit_stations(panel, calibration, MINIMUM_ROWS, _search))


def _search(values: Floats) -> Minimum:
    unit = measure_steps(values)
    centred = (values - _first(values)) / unit
    seen = np.isfinite(centred)
    first = seen.argmax(axis=0)
    last = centred.shape[0] - 1 - seen[::-1].argmax(axis=0)
    at = np.arange(centred.shape[1])
    out: Floats = (centred[last, at] - centred[first, at]) / np.maximum(last - first, 1)
    mean = out
    start = np.column_stack([np.full(mean.shape, 0.2), np.zeros(mean.shape), np.full(mean.shape, -0.6), mean])
    found = minimise(lambda p: _standardised(centred, p), start)
    p1, p2, q, c = natural(found.params)
    return replace(found, params=np.stack([p1, p2, q, c * unit], axis=-1))


def natural(raw: Floats) -> tuple[Floats, Floats, Floats, Floats]:
    """Free numbers (..., 4) to a stationary, invertible (p1, p2, q, c) by partial autocorrelations (Monahan 1984)."""
    r1, r2, q = (0.99 * np.tanh(raw[..., i]) for i in range(3))
    return r1 * (1.0 - r2), r2, q, raw[..., 3]


def _standardised(values: Floats, raw: Floats) -> Floats:
    """Innovations whose sum of squares is smallest where the concentrated likelihood is largest, shape (T, B, S)."""
    seen = filter_states(values, *natural(raw))
    count = np.maximum(np.isfinite(values).sum(axis=0), 1)
    spread = np.exp(0.5 * np.log(seen.variance).sum(axis=0) / count)
    out: Floats = seen.error / np.sqrt(seen.variance) * spread
    return out


def _prior(p1: Floats, p2: Floats, q: Floats) -> tuple[Floats, Floats, Floats]:
    """Stationary covariance of (x, s); iterated, so that a nearly non-stationary one stays finite."""
    pxx, pxs, pss = np.ones(p1.shape), q * np.ones(p1.shape), q * q
    for _ in range(_PRIOR_ROUNDS):
        ux = p1 * pxx + pxs
        uu = p1 * ux + p1 * pxs + pss
        pxx, pxs, pss = uu + 1.0, p2 * ux + q, p2 * p2 * pxx + q * q
    return pxx, pxs, pss


def _first(values: Floats) -> Floats:
    rows = np.isfinite(values).argmax(axis=0)
    out: Floats = values[rows, np.arange(values.shape[1])]
    return out
