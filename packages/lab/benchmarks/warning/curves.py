"""Displacement curves of the simulated slopes of `bench_warning`, in mm along the direction of sliding.

A failing curve creeps at a constant speed and accelerates from its onset by Voight's law `dv/dt = A v^alpha`
(Voight 1988, Nature 332, 125-130). The law integrates to `v = v7 (L / 7)^(-1 / (alpha - 1))`, where L is the number of
days until the failure and v7 the speed one week before it.

Four curves follow published failures. Their durations and speeds have the published order of magnitude; they are not
copies of a measured record.

* Vajont, 9 October 1963: the inverse speed fell along a straight line for about 70 days, from about 3 mm/day to about
  200 mm/day on the last day (Helmstetter and others 2004, J. Geophys. Res. 109, B02409,
  https://doi.org/10.1029/2002JB002160; Kilburn and Petley 2003, Geomorphology 54, 21-32).
* Xintan, 12 June 1985: years of creep at about 50 mm a month, then a last acceleration from the middle of May, with
  more than half a metre on the last day. The speeds are rounded values of the literature on the Three Gorges; no
  single table was used.
* Preonzo, 15 May 2012: centimetres to decimetres a year, then an acceleration of about two weeks (Loew and others 2017,
  Landslides 14, 141-154, https://doi.org/10.1007/s10346-016-0701-y).
* Baijiabao, June 2018, as the step of a reservoir landslide that does not fail: 65 mm in 25 days at the end of the
  drawdown, up to about 5 mm/day (measured record in `timeseries/bazimen-baijiabao`).
"""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Final

import numpy as np
from numpy.typing import NDArray

Array = NDArray[np.float64]

YEAR_DAYS: Final = 365.25
# Speeds become infinite at the failure. Displacement is computed up to this time before it.
LAST_MOMENT_DAYS: Final = 1.0 / 96.0

STEP_MM: Final = 65.0
STEP_SCALE_DAYS: Final = 3.25  # of the logistic function; the largest speed is STEP_MM / (4 * STEP_SCALE_DAYS)


@dataclass(frozen=True, slots=True)
class FailingCurve:
    """Creep that accelerates to a failure."""

    name: str
    alpha: float  # exponent of Voight's law
    speed_week_before: float  # mm/day
    onset_days: float  # before the failure
    creep: float  # mm/day before the onset

    def displacement_mm(self, days_left: Array) -> Array:
        """Return the displacement at times given as days until the failure, zero at the failure less infinity.

        Only differences of the result are meaningful.
        """
        left = np.clip(days_left, LAST_MOMENT_DAYS, self.onset_days)
        accelerated = self._antiderivative(left) - self._antiderivative(np.array(self.onset_days))
        return accelerated - self.creep * np.maximum(days_left - self.onset_days, 0.0)

    def _antiderivative(self, days_left: Array) -> Array:
        exponent = 1.0 / (self.alpha - 1.0)
        scale = self.speed_week_before * 7.0**exponent
        if exponent == 1.0:
            return -scale * np.log(days_left)
        return -scale * days_left ** (1.0 - exponent) / (1.0 - exponent)


FAILING_CURVES: Final = (
    FailingCurve("Voight 1.5", alpha=1.5, speed_week_before=10.0, onset_days=120.0, creep=0.05),
    FailingCurve("Voight 2.0", alpha=2.0, speed_week_before=10.0, onset_days=120.0, creep=0.05),
    FailingCurve("Voight 2.6", alpha=2.6, speed_week_before=10.0, onset_days=120.0, creep=0.05),
    FailingCurve("Vajont-like", alpha=2.0, speed_week_before=200.0 / 7.0, onset_days=70.0, creep=1.0),
    FailingCurve("Xintan-like", alpha=2.0, speed_week_before=500.0 / 7.0, onset_days=28.0, creep=1.7),
    FailingCurve("Preonzo-like", alpha=2.0, speed_week_before=100.0 / 7.0, onset_days=15.0, creep=0.1),
    FailingCurve("brittle, 3 days", alpha=2.0, speed_week_before=30.0 / 7.0, onset_days=3.0, creep=0.05),
)


def reservoir_steps_mm(days: Array, step_every_days: float) -> Array:
    """Return slow creep with one step of `STEP_MM` in each period, in the middle of the period."""
    first = 0.5 * step_every_days
    moments = np.arange(first, days[-1] + step_every_days, step_every_days)
    # The logistic function, written so that it cannot overflow.
    steps = 0.5 * STEP_MM * (1.0 + np.tanh(0.5 * (days[:, None] - moments[None, :]) / STEP_SCALE_DAYS))
    return 0.02 * days + steps.sum(axis=1)


def seasonal_creep_mm(days: Array, step_every_days: float) -> Array:
    """Return creep of 0.5 mm/day on average that swings between 0 and 1 mm/day over the year."""
    del step_every_days
    angle = 2.0 * np.pi * days / YEAR_DAYS
    return 0.5 * days + 0.5 * YEAR_DAYS / (2.0 * np.pi) * np.sin(angle)


STABLE_CURVES: Final[dict[str, Callable[[Array, float], Array]]] = {
    "reservoir steps": reservoir_steps_mm,
    "seasonal creep": seasonal_creep_mm,
}
