"""Experts that read drivers: ridge regressions on rain, water levels and pore pressure that learn online.

Each expert regresses what a station moves over a horizon on the driver channels of the row: sums of rain over several
windows, and levels with their changes. These are the distributed lags of the drivers, so that a regression needs no
forecast of the weather. Where there is such a forecast, it is a channel too. Two experts also read the recent motion.

Increments over a long horizon overlap, so that fewer of them are independent. The penalty of a regression therefore
grows with the horizon. An increment that no expert expected, such as a step, counts less (Huber).
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import ClassVar, Final

import numpy as np

from forecasting.combination.least_squares import weigh_misses
from forecasting.combination.state import ArrayState
from forecasting.combination.weights import DelayedRows
from forecasting.data.driver_rows import DriverRows
from forecasting.data.series import Floats, Ints
from forecasting.data.windows import STALE_ROWS

MOTION_MEMORIES: Final = (2.0, 8.0)  # of the trailing means that describe the recent motion, in readings
MEMORY: Final = 1000.0  # increments that a regression effectively uses
DRIVER_KINDS: Final = ("rain", "water", "outlook")  # kinds of channels that are read, see `forecasting.data.kinds`
LEAST_VARIANCE: Final = 1e-12  # a channel that varies less, relative to its mean square, counts as constant
FEWEST_INCREMENTS: Final = 4.0  # and half an increment per feature, before a regression forecasts
FEWEST_FORECASTS: Final = 24  # on trial before an expert has a weight: few months follow any driver by chance
FITS_PER_HORIZON: Final = 16  # a regression over many rows is solved only this often while they pass


def choose_drivers(drivers: DriverRows | None) -> DriverRows | None:
    """Return the channels that the experts read: rain, expected rain, water levels and pressures."""
    if drivers is None:
        return None
    return drivers.only([name for name, kind in zip(drivers.names, drivers.kinds, strict=True) if kind in DRIVER_KINDS])


@dataclass(frozen=True, slots=True)
class DriverExpert:
    """One regression."""

    name: str
    penalty: float  # ridge penalty as a number of increments, per row of the horizon
    has_motion: bool  # whether it reads the recent motion beside the drivers


EXPERTS: Final = (
    DriverExpert("drivers", 10.0, has_motion=False),
    DriverExpert("drivers-and-motion", 2.0, has_motion=True),
    DriverExpert("drivers-and-motion-shrunk", 10.0, has_motion=True),
)


DRIVER_EXPERTS: Final = tuple(expert.name for expert in EXPERTS)


class DriverRegressions(ArrayState):
    """Normal equations by horizon H and station S, which all experts share, and the coefficients of each expert."""

    state_names: ClassVar = (
        "row",
        "pending",
        "origin",
        "newest_mm",
        "age",
        "offsets_mm",
        "effective",
        "moments",
        "usual_miss_mm",
        "coefficients_mm",
    )

    def __init__(self, stations: int, steps: Sequence[int], channels: int) -> None:
        self._steps = np.array(steps, dtype=np.int64)
        self._delayed = DelayedRows(steps, [1] * len(steps))
        self._keep_motion = 1.0 - 1.0 / np.array(MOTION_MEMORIES)[:, None]
        motion = len(MOTION_MEMORIES)
        features = motion + channels
        self._chosen = [np.arange(0 if expert.has_motion else motion, features) for expert in EXPERTS]
        self._strides = np.maximum(1, self._steps // FITS_PER_HORIZON)
        shape = (len(EXPERTS), len(steps), stations)
        self.row = np.array(0)
        # Features and newest reading at each row until its targets.
        self.pending = np.full((self._delayed.slots, stations, features + 1), np.nan)
        self.origin = np.full(channels, np.nan)  # first value of each channel: sums of differences lose no digits
        self.newest_mm = np.full(stations, np.nan)
        self.age = np.full(stations, np.inf)  # rows since the newest reading
        self.offsets_mm = np.zeros((motion, stations))  # weighted sums of readings minus the newest one
        self.effective = np.zeros((motion, stations))  # sums of their weights
        # Weighted sums of the products of 1, the features and the increment.
        self.moments = np.zeros((*shape[1:], features + 2, features + 2))
        self.usual_miss_mm = np.full(shape[1:], np.nan)
        # Of 1 and the features, in mm per unit of a feature; NaN before there are enough increments.
        self.coefficients_mm = np.full((*shape, features + 1), np.nan)

    def advance(self, values_mm: Floats, drivers: Floats) -> Floats:
        """Add one row and return the forecasts made at it in mm, shape (H, experts, S), NaN where there is none.

        Args:
            values_mm: Readings, shape (S,), NaN where nothing was observed.
            drivers: Driver channels, shape (C,), NaN where unknown. Where none is known there is no forecast.
        """
        row = int(self.row)
        chosen, slots = self._delayed.find_due_slots(row)
        if chosen.size:
            self._learn(chosen, self.pending[slots], values_mm)
            self._solve(chosen[row % self._strides[chosen] == 0])
        self._follow_motion(values_mm)
        self.origin = np.where(np.isfinite(self.origin), self.origin, drivers)
        is_usable = (self.age <= STALE_ROWS) & np.isfinite(drivers).any()
        motion = len(MOTION_MEMORIES)
        features = np.empty(self.pending.shape[1:])
        features[:, :motion] = -(self.offsets_mm / np.maximum(self.effective, 1.0)).T
        features[:, motion:-1] = drivers - self.origin
        features[:, -1] = np.where(is_usable, self.newest_mm, np.nan)
        _, slots = self._delayed.find_slots_to_write(row)
        self.pending[slots] = features
        filled = _fill_unknown(np.repeat(features[None, :, :-1], self._steps.size, axis=0), self.moments)
        moves_mm = self._predict(self.coefficients_mm, filled)
        self.row = np.array(row + 1)
        return np.asarray(np.where(is_usable, self.newest_mm + moves_mm, np.nan).swapaxes(0, 1))

    @staticmethod
    def _predict(coefficients_mm: Floats, features: Floats) -> Floats:
        """Return increments in mm, shape (experts, H, S)."""
        return np.asarray(coefficients_mm[..., 0] + (coefficients_mm[..., 1:] * features).sum(axis=-1))

    def _follow_motion(self, values_mm: Floats) -> None:
        """Move the trailing means to the newest reading."""
        observed = np.isfinite(values_mm)
        rise_mm = np.where(observed & np.isfinite(self.newest_mm), values_mm - self.newest_mm, 0.0)
        moved_mm = self._keep_motion * (self.offsets_mm - self.effective * rise_mm)
        self.offsets_mm = np.where(observed, moved_mm, self.offsets_mm)
        self.effective = np.where(observed, self._keep_motion * self.effective + 1.0, self.effective)
        self.newest_mm = np.where(observed, values_mm, self.newest_mm)
        self.age = np.where(observed, 0.0, self.age + 1.0)

    def _learn(self, chosen: Ints, pending: Floats, values_mm: Floats) -> None:
        """Add the increments that end at this row to the normal equations of some horizons."""
        increment_mm = values_mm - pending[..., -1]
        is_known = np.isfinite(increment_mm)
        if not is_known.any():
            return
        moments = self.moments[chosen]
        features = _fill_unknown(pending[..., :-1], moments)
        expected_mm = self._predict(self.coefficients_mm[:, chosen], features)
        miss_mm = np.abs(np.where(is_known, increment_mm, 0.0) - expected_mm)
        # The smallest miss of all experts; before there are coefficients every increment counts in full.
        miss_mm = np.where(np.isfinite(miss_mm), miss_mm, np.inf).min(axis=0)
        is_judged = is_known & np.isfinite(miss_mm)
        usual = self.usual_miss_mm[chosen]
        weight, self.usual_miss_mm[chosen] = weigh_misses(
            np.where(is_judged, miss_mm, 0.0), usual, is_judged, 1.0 - 1.0 / MEMORY
        )
        weight = np.where(is_judged, weight, is_known)
        table = np.concatenate(
            [np.ones((*is_known.shape, 1)), features, np.where(is_known, increment_mm, 0.0)[..., None]], axis=-1
        )
        keep = np.where(is_known, 1.0 - 1.0 / MEMORY, 1.0)[..., None, None]
        self.moments[chosen] = keep * moments + (weight[..., None] * table)[..., :, None] * table[..., None, :]

    def _solve(self, chosen: Ints) -> None:
        """Solve the regressions of some horizons."""
        if not chosen.size:
            return
        moments = self.moments[chosen]
        count = moments[..., 0, 0]
        safe_count = np.where(count > 0.0, count, 1.0)[..., None]
        means = moments[..., 0, 1:] / safe_count
        squares = moments[..., 1:, 1:] / safe_count[..., None]
        covariance = squares - means[..., :, None] * means[..., None, :]
        variance = np.diagonal(covariance, axis1=-2, axis2=-1)[..., :-1]
        varies = variance > LEAST_VARIANCE * np.diagonal(squares, axis1=-2, axis2=-1)[..., :-1]
        size = np.where(varies, np.sqrt(np.where(varies, variance, 1.0)), np.inf)
        correlation = covariance[..., :-1, :-1] / size[..., :, None] / size[..., None, :]
        product_mm = covariance[..., :-1, -1] / size
        for position, (expert, features) in enumerate(zip(EXPERTS, self._chosen, strict=True)):
            share = expert.penalty * self._steps[chosen, None] / safe_count[..., 0]
            square = correlation[..., features[:, None], features] + share[..., None, None] * np.eye(features.size)
            scaled_mm = np.linalg.solve(square, product_mm[..., features, None])[..., 0]
            coefficients_mm = np.zeros((*count.shape, means.shape[-1]))
            coefficients_mm[..., 1 + features] = scaled_mm / size[..., features]
            coefficients_mm[..., 0] = means[..., -1] - (coefficients_mm[..., 1:] * means[..., :-1]).sum(axis=-1)
            enough = count >= FEWEST_INCREMENTS + 0.5 * features.size
            self.coefficients_mm[position, chosen] = np.where(enough[..., None], coefficients_mm, np.nan)


def _fill_unknown(features: Floats, moments: Floats) -> Floats:
    """Return features (H, S, F) with the mean of a channel where it is unknown."""
    count = moments[..., :1, 0]
    means = moments[..., 0, 1:-1] / np.where(count > 0.0, count, 1.0)
    return np.where(np.isfinite(features), features, means)
