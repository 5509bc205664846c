"""Intervals from past errors: adaptive conformal inference with delayed feedback, stretched with the velocity.

Gibbs and Candès (2021). The interval of a forecast is the forecast plus and minus a margin. The margin is a quantile
of the absolute errors so far, and the rank of the quantile follows how often intervals contained the observation.
Errors become known one horizon late. Where the rank runs out, the margin is widened additively by the spread of the
errors, and by one spread at most: feedback on a horizon of a month is a month late, and the miss rate would still fall
long after an event.

Stations that move faster than usual have larger errors. Margins are therefore stretched with the velocity, and errors
are divided by the stretch of their forecast before they are ranked.
"""

from collections.abc import Mapping, Sequence
from typing import Any, ClassVar, Final

import numpy as np
from numpy.typing import NDArray

from forecasting.combination.state import Arrays, ArrayState
from forecasting.combination.weights import DelayedRows
from forecasting.data.series import Floats, Ints

COVERAGES: Final = (0.8, 0.95)  # nominal coverage of the two intervals of a fan
RANKED_ERRORS: Final = 400  # newest errors of a model, station and horizon, of which a margin is a quantile
FEWEST_ERRORS: Final = 20  # errors before there is an interval
# Errors of forecasts that overlap are not independent: among few a larger one is taken, as if each span gave one.
LONGEST_SPAN: Final = 7

VELOCITY_ROWS: Final = 8  # rows that the present velocity is taken over
LEVEL_ROWS: Final = 3  # a level is a median of this many rows: a single outlier is no motion
USUAL_ROWS: Final = 400  # rows that the usual velocity is taken from
FEWEST_ROWS: Final = 40  # rows before there is a usual velocity
USUAL_SHARE: Final = 0.9  # share of these rows that did not move faster than the usual velocity
LARGEST_STRETCH: Final = 4.0
REFRESH_ROWS: Final = 10  # rows after which the usual velocity is computed again


def choose_step_size(steps: int) -> float:
    """Return the learning rate of the miss rate for a horizon in rows.

    One event is missed many times over at a long horizon, so that the rate is smaller there.
    """
    return 0.03 if steps <= 2 else 0.01


class AdaptiveMargins(ArrayState):
    """Ranked errors and adapted miss rates of horizons H, models M and stations S.

    `miss_rate` is the miss rate at which a margin is taken from the ranked errors. It starts at the nominal rate, .2 or
    .05. It falls when intervals miss more observations than the nominal rate allows, and rises when they miss fewer.
    """

    state_names: ClassVar = ("ranked_mm", "newest_mm", "count", "miss_rate")

    def __init__(self, models: int, stations: int, steps: Sequence[int]) -> None:
        shape = (len(steps), models, stations)
        self._steps = np.array(steps)
        self._step_sizes = np.array([choose_step_size(h) for h in steps])
        self._nominal_rates = 1.0 - np.array(COVERAGES)[:, None, None, None]
        self.ranked_mm = np.full((RANKED_ERRORS, *shape), np.inf)  # rising; infinite where not yet filled
        self.newest_mm = np.full((RANKED_ERRORS, *shape), np.inf)  # ring in order of arrival
        self.count = np.zeros(shape, dtype=np.int64)  # errors so far
        self.miss_rate = np.broadcast_to(self._nominal_rates, (len(COVERAGES), *shape)).copy()

    def add_model(self) -> None:
        """Add a model without errors after the last one."""
        stations = self.count.shape[2]
        fresh = AdaptiveMargins(1, stations, self._steps.tolist())
        self.ranked_mm = np.append(self.ranked_mm, fresh.ranked_mm, axis=2)
        self.newest_mm = np.append(self.newest_mm, fresh.newest_mm, axis=2)
        self.count = np.append(self.count, fresh.count, axis=1)
        self.miss_rate = np.append(self.miss_rate, fresh.miss_rate, axis=2)

    def compute(self) -> Floats:
        """Return the margins at the usual velocity in mm, shape (coverages, H, M, S); NaN before 20 errors."""
        filled = np.minimum(self.count, RANKED_ERRORS)
        shares = np.empty((len(COVERAGES) + 2, *self.count.shape))
        shares[:-2] = 1.0 - self.miss_rate
        shares[-2] = 0.9
        shares[-1] = 0.1
        span = np.ones((shares.shape[0], self._steps.size, 1, 1), dtype=np.int64)
        span[:-2, :, 0, 0] = np.minimum(self._steps, LONGEST_SPAN)
        ranks = np.clip(np.ceil(shares * (filled + span)).astype(np.int64), 1, np.maximum(filled, 1)) - 1
        ranked = np.take_along_axis(self.ranked_mm, ranks, axis=0)
        with np.errstate(invalid="ignore"):
            spread = ranked[-2] - ranked[-1]
            widened = ranked[:-2] + spread * np.maximum(-self.miss_rate, 0.0) / (1.0 - self._nominal_rates)
        return np.where(self.count >= FEWEST_ERRORS, widened, np.nan)

    def add(self, chosen: Ints, errors_mm: Floats, is_covered: Floats) -> None:
        """Add one error per model and station at some horizons, relaxed to the usual velocity.

        Args:
            chosen: Positions of the horizons, shape (C,).
            errors_mm: Absolute errors, shape (C, M, S), NaN where unknown.
            is_covered: 1 where the interval by past errors contained the observation, 0 elsewhere, NaN where there was
                no interval; shape (coverages, C, M, S).
        """
        is_known = np.isfinite(errors_mm)
        rate = self.miss_rate[:, chosen]
        step_sizes = self._step_sizes[chosen, None, None]
        moved = np.maximum(rate + step_sizes * (self._nominal_rates - (1.0 - is_covered)), -self._nominal_rates)
        self.miss_rate[:, chosen] = np.where(is_known & np.isfinite(is_covered), moved, rate)
        count = self.count[chosen]
        horizon, model, station = np.nonzero(is_known)
        slot = count[is_known] % RANKED_ERRORS
        leaving = np.full(is_known.shape, np.inf)
        leaving[is_known] = self.newest_mm[slot, chosen[horizon], model, station]
        self.newest_mm[slot, chosen[horizon], model, station] = errors_mm[is_known]
        filled = min(int(count.max(initial=0)) + 1, RANKED_ERRORS)
        entering = np.where(is_known, errors_mm, np.inf)
        # Nearly always every horizon has an error. A slice avoids copies of the ranked errors.
        horizons = slice(None) if chosen.size == self._steps.size else chosen
        self.ranked_mm[:filled, horizons] = _replace(self.ranked_mm[:filled, horizons], leaving, entering)
        self.count[chosen] = count + is_known


def _replace(ranked: Floats, leaving: Floats, entering: Floats) -> Floats:
    """Return rising columns (W, ...) without one value and with another; infinity stands for none."""
    if np.isfinite(leaving).any():
        remaining = np.empty(ranked.shape)
        remaining[:-1] = np.where(ranked[:-1] >= leaving, ranked[1:], ranked[:-1])
        remaining[-1] = np.where(ranked[-1] >= leaving, np.inf, ranked[-1])
    else:
        remaining = ranked
    out = np.empty(ranked.shape)
    out[0] = np.minimum(remaining[0], entering)
    np.maximum(remaining[:-1], entering, out=out[1:])
    np.minimum(out[1:], remaining[1:], out=out[1:])
    return out


class Pace(ArrayState):
    """The velocity of every station, and its usual velocity."""

    state_names: ClassVar = ("recent_mm", "levels_mm", "speeds", "changes_mm", "usual", "usual_change_mm")

    def __init__(self, stations: int) -> None:
        self.recent_mm = np.full((LEVEL_ROWS, stations), np.nan)  # newest rows, newest last
        self.levels_mm = np.full((VELOCITY_ROWS + 1, stations), np.nan)  # levels at the newest rows, newest last
        self.speeds = np.full((USUAL_ROWS, stations), np.nan)  # ring, mm per row
        self.changes_mm = np.full((USUAL_ROWS, stations), np.nan)  # ring, |change| from row to row
        self.usual = np.full(stations, np.nan)  # mm per row
        self.usual_change_mm = np.full(stations, np.nan)  # median of `changes_mm`, those of 0 included
        self._speed = np.full(stations, np.nan)  # at the newest row, mm per row

    def advance(self, row: int, values_mm: Floats) -> None:
        """Add one row of readings, shape (S,)."""
        if row % REFRESH_ROWS == 0:
            self.usual = _find_quantile(self.speeds, USUAL_SHARE)
            self.usual_change_mm = _find_quantile(self.changes_mm, 0.5)
        slot = row % USUAL_ROWS
        self.changes_mm[slot] = np.abs(values_mm - self.recent_mm[-1])
        self.recent_mm = np.concatenate([self.recent_mm[1:], values_mm[None]])
        self.levels_mm = np.concatenate([self.levels_mm[1:], _find_level(self.recent_mm)[None]])
        self.speeds[slot] = np.abs(self.levels_mm[-1] - self.levels_mm[0]) / VELOCITY_ROWS
        self._speed = self.speeds[slot]

    def compute_stretch(self, steps: Floats) -> Floats:
        """Return by which factor errors over these numbers of rows are larger than usual, 1 to 4, shape (S, H)."""
        usual = self.usual[:, None]
        velocity = np.maximum(self._speed[:, None], usual)
        change = self.usual_change_mm[:, None]
        with np.errstate(invalid="ignore", divide="ignore"):
            square = (change**2 + (steps * velocity) ** 2) / (change**2 + (steps * usual) ** 2)
        return np.clip(np.where(np.isfinite(square), np.sqrt(square), 1.0), 1.0, LARGEST_STRETCH)


def _find_level(rows: Floats) -> Floats:
    """Return the median of three rows (3, S), the mean of two, NaN of fewer."""
    ranked = np.sort(rows, axis=0)  # NaN is last
    count = np.isfinite(rows).sum(axis=0)
    return np.where(count == LEVEL_ROWS, ranked[1], np.where(count == 2, 0.5 * (ranked[0] + ranked[1]), np.nan))


def _find_quantile(rows: Floats, share: float) -> Floats:
    """Return the value that this share of the known rows keeps below, shape (S,); NaN where fewer than 40 are known."""
    count = np.isfinite(rows).sum(axis=0)
    ranked = np.sort(rows, axis=0)  # NaN is last
    rank = np.minimum((share * count).astype(np.int64), rows.shape[0] - 1)
    return np.where(count >= FEWEST_ROWS, ranked[rank, np.arange(rows.shape[1])], np.nan)


class Intervals(ArrayState):
    """Margins of several models, each from its own errors."""

    state_names: ClassVar = ("pending",)

    def __init__(self, models: int, stations: int, steps: Sequence[int]) -> None:
        self._steps = np.array(steps, dtype=np.float64)
        self._delayed = DelayedRows(steps, [1] * len(steps))
        self.margins = AdaptiveMargins(models, stations, steps)
        # Median, margins of both coverages, and stretch of every forecast until its target.
        self.pending = np.full((self._delayed.slots, 2 + len(COVERAGES), models, stations), np.nan)

    def add_model(self) -> None:
        """Add a model without errors after the last one."""
        self.margins.add_model()
        self.pending = np.append(self.pending, np.full_like(self.pending[:, :, :1], np.nan), axis=2)

    def score(self, row: int, values_mm: Floats) -> None:
        """Take the errors of the forecasts whose target is this row, readings of shape (S,)."""
        chosen, slots = self._delayed.find_due_slots(row)
        if not chosen.size:
            return
        pending = self.pending[slots]
        errors_mm = np.abs(values_mm - pending[:, 0])
        issued_mm = pending[:, 1:-1].swapaxes(0, 1)
        is_covered = np.where(np.isfinite(issued_mm), errors_mm <= issued_mm, np.nan)
        self.margins.add(chosen, errors_mm / pending[:, -1], is_covered)

    def issue(self, row: int, medians_mm: Floats, newest_mm: Floats, stretch: Floats) -> Floats:
        """Return the margins of the forecasts made at this row in mm, and store them until the targets.

        Each half of an interval is at least `1 - 1 / stretch` times the predicted movement: where a station moves
        faster than ever, its past errors are too small to cover what an acceleration or a stop would change.

        Args:
            row: Number of the row.
            medians_mm: Forecasts, shape (M, S, H), NaN where there is none.
            newest_mm: Newest readings, shape (S,).
            stretch: Shape (S, H).

        Returns:
            Shape (coverages, M, S, H).
        """
        movement_mm = np.abs(medians_mm - newest_mm[:, None])
        usual_mm = self.margins.compute().transpose(0, 2, 3, 1)
        margins_mm = np.maximum(usual_mm * stretch, (1.0 - 1.0 / stretch) * movement_mm)
        margins_mm = np.maximum.accumulate(margins_mm, axis=0)  # the 95 % interval contains the 80 % interval
        chosen, slots = self._delayed.find_slots_to_write(row)
        self.pending[slots, 0] = medians_mm.transpose(2, 0, 1)[chosen]
        self.pending[slots, 1:-1] = margins_mm.transpose(3, 0, 1, 2)[chosen]
        self.pending[slots, -1] = stretch.T[chosen, None]
        return margins_mm

    def to_arrays(self) -> Arrays:
        """Return copies of the arrays, those of the margins among them."""
        return {**super().to_arrays(), **self.margins.to_arrays()}

    def restore(self, arrays: Mapping[str, NDArray[Any]]) -> None:
        """Replace the state by arrays that `to_arrays` returned."""
        super().restore(arrays)
        self.margins.restore(arrays)


def widen_to(fans: Floats, medians_mm: Floats, margins_mm: Floats) -> Floats:
    """Return margins with which each interval contains that of a fan.

    >>> widen_to(np.array([1.0, 2.0, 5.0, 9.0, 11.0]), np.array(4.0), np.array([1.5, 8.0])).tolist()
    [5.0, 8.0]

    Args:
        fans: Quantiles .025, .1, .5, .9, .975, shape (..., 5), NaN where there is no fan.
        medians_mm: Shape (...).
        margins_mm: Shape (coverages, ...).
    """
    quantiles = np.moveaxis(fans, -1, 0)
    below, above = medians_mm - quantiles[[1, 0]], quantiles[[3, 4]] - medians_mm
    widened: Floats = np.where(np.isnan(below), margins_mm, np.maximum(margins_mm, np.maximum(below, above)))
    return widened


def make_fans(medians_mm: Floats, margins_mm: Floats) -> Floats:
    """Return quantiles .025, .1, .5, .9, .975 from medians (...) and margins (coverages, ...), shape (..., 5)."""
    inner, outer = margins_mm
    return np.stack(
        [medians_mm - outer, medians_mm - inner, medians_mm, medians_mm + inner, medians_mm + outer], axis=-1
    )
