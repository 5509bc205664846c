"""Components of the motion of a station in a window, each of which is compared with the bounds of a criterion.

A component is the motion along the declared direction, the motion across it, the vertical motion, or the horizontal
motion along its own direction if the site file declares none.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from math import hypot, sqrt
from typing import Any, Final, Literal

from forecasting.kinematics.acceleration import Acceleration, fit_acceleration
from forecasting.kinematics.direction import NORMAL, free_of_noise
from forecasting.kinematics.velocity import DAY_S, Velocity, estimate_slopes, fit_slopes, fit_velocity
from monitor.readings.cleaned.tracks import Track
from monitor.readings.cleaned.vectors import Vector
from monitor.sites.records import Criterion
from monitor.text.message import Message, Template, join

# Motion below this share of a rate is certainly slower. The margin covers the rounding of fits along another axis.
CERTAINLY_SLOWER: Final = 0.9
_NO_AZIMUTH: Final = Template("criterion.component.no_azimuth", "{way}, because the site file has no azimuth")
_NO_PLUNGE: Final = Template(
    "criterion.component.no_plunge", "vertical rate, up or down, because the site file has no plunge"
)()
_TEXTS: Final = {
    "horizontal": Template("criterion.component.horizontal", "horizontal speed")(),
    "vertical": Template("criterion.component.vertical", "vertical rate, up or down")(),
    "either": Template("criterion.component.either", "in either direction")(),
}
ComponentName = Literal["signed", "horizontal", "vertical", "either", "no_plunge"]


@dataclass(frozen=True, slots=True)
class MotionComponent:
    """One component of the motion in a window. It is positive in the direction of the motion.

    The component `signed` is the motion along the declared direction and is negative if the motion is opposite to it.

    Attributes:
        digit_size: Value of one unit of the last digit; 0 if they are not rounded. Rounding errors of successive
            epochs are alike, so averaging does not reduce them.
    """

    name: ComponentName
    times_s: Sequence[float]
    values: Sequence[float]
    sigmas: Sequence[float]
    digit_size: float = 0.0

    def fit_line(self, min_sigma: float) -> Velocity | None:
        """Return the velocity of the fitted line; None if there are too few epochs.

        A speed is never negative, so noise biases it upwards. The bias is subtracted, so that noise alone neither
        raises a level nor keeps it from falling.

        Args:
            min_sigma: Standard errors by which the speed must be certain.
        """
        fit = fit_velocity(self.times_s, self.values, self.sigmas)
        if fit is not None and self.digit_size:
            # Both ends of the window are rounded, each uniformly within one step.
            days = (self.times_s[-1] - self.times_s[0]) / DAY_S
            fit = fit._replace(error=hypot(fit.error, self.digit_size / sqrt(6.0) / days))
        if fit is None or self.name in {"signed", "either"}:
            return fit
        freedom = fit.n - 2.0 if fit.error > fit.stated else NORMAL
        rate = free_of_noise(fit.rate, fit.error, min_sigma, freedom)
        unbiased = free_of_noise(fit.rate, fit.error, 0.0, freedom)
        return fit._replace(rate=rate, low=fit.low - (fit.rate - rate), high=fit.high - (fit.rate - unbiased))

    def fit_parabola(self, min_sigma: float, window_s: float) -> Acceleration | None:
        """Return the acceleration of the fitted parabola; None if there are too few epochs.

        The bias that noise adds to its speed is subtracted as in `fit_line`.
        """
        fit = fit_acceleration(self.times_s, self.values, self.sigmas, window_s)
        line = fit_velocity(self.times_s, self.values, self.sigmas)
        if fit is None or line is None or self.name in {"signed", "either"}:
            return fit
        freedom = fit.n - 3.0 if line.error > line.stated else NORMAL
        return replace(fit, velocity=free_of_noise(max(0.0, fit.velocity), fit.velocity_error, min_sigma, freedom))


def list_components(track: Track, rows: slice) -> list[MotionComponent]:
    """Return the components of the motion in a window that are compared with a bound.

    * With a declared azimuth and plunge, the only component is the signed value.
    * With an azimuth and no plunge, the vertical rate, up or down, is a second component.
    * Without an azimuth, the components are the horizontal speed along the direction of the motion in this window, and
      the vertical rate, up or down. They are separate because vertical positions are less precise.

    Args:
        rows: Rows of the window.
    """
    if not track.is_directed:
        return list_free_components(track, rows)
    times = track.times_s[rows]
    components = [MotionComponent("signed", times, track.along[rows], track.along_sigma[rows], track.digit)]
    if not track.is_plunge_known:
        up = [value[2] for value in track.values[rows]]
        up_sigmas = [sigma[2] for sigma in track.sigmas[rows]]
        rates = fit_slopes(times, [up], [up_sigmas])
        if rates:
            components.append(_orient("no_plunge", times, up, up_sigmas, rates[0], _find_digit_size_up(track)))
    return components


def list_component_names(track: Track) -> tuple[ComponentName, ...]:
    """Return the names of the components that `list_components` may return, in the same order."""
    if track.is_directed:
        return "signed", "no_plunge"
    return ("horizontal", "vertical") if len(track.values[0]) > 1 else ("either",)


def list_free_components(
    track: Track, rows: slice, unit: Vector | None = None, least: float = 0.0
) -> list[MotionComponent]:
    """Return the components of the motion in a window in any direction, or of the motion across a direction.

    Args:
        rows: Rows of the window.
        unit: Unit vector of a direction. If given, the motion along this direction is subtracted.
        least: Return no component if the motion is certainly slower than this rate per day.
    """
    times, values, sigmas = track.times_s[rows], track.values[rows], track.along_sigma[rows]
    columns: list[Sequence[float]] = list(zip(*values, strict=True))
    if unit is not None:
        along = track.along[rows]
        if _is_certainly_slower(track, rows, unit, least, columns):
            return []
        across: list[Sequence[float]] = []
        for part, column in zip(unit, columns, strict=True):
            across.append([value - part * along_value for value, along_value in zip(column, along, strict=True)])
        columns = across
    # East and north have the error along the motion, up has an error of its own.
    column_sigmas: list[Sequence[float]] = [sigmas] * min(2, len(columns))
    if len(columns) > 2:
        column_sigmas.append(tuple([sigma[2] for sigma in track.sigmas[rows]]))
    rates = fit_slopes(times, columns, column_sigmas)
    if rates is None:
        return []
    if len(rates) == 1:
        # A single series whose criterion has the direction "norm".
        return [_orient("either", times, columns[0], sigmas, rates[0], track.digit)]
    east, north, *up = rates
    speed = sqrt(east * east + north * north)
    if max([speed, *map(abs, up)]) < CERTAINLY_SLOWER * least:
        return []
    unit_east, unit_north = (east / speed, north / speed) if speed > 0.0 else (1.0, 0.0)
    horizontal = [unit_east * e + unit_north * n for e, n in zip(columns[0], columns[1], strict=True)]
    components = [MotionComponent("horizontal", times, horizontal, sigmas, max(track.digits[:2], default=0.0))]
    if up:
        components.append(_orient("vertical", times, columns[2], column_sigmas[2], up[0], _find_digit_size_up(track)))
    return components


def _is_certainly_slower(
    track: Track, rows: slice, unit: Vector, least: float, columns: Sequence[Sequence[float]]
) -> bool:
    """Return whether a fast estimate already shows that the motion across the direction is slower than `least`."""
    sigmas = track.along_sigma[rows]
    up_sigmas = [sigma[2] for sigma in track.sigmas[rows]] if len(columns) > 2 else sigmas
    estimates = estimate_slopes(track.times_s[rows], [track.along[rows], *columns], [sigmas, up_sigmas])
    if estimates is None:
        return False
    (along, along_error), *component_estimates = estimates
    # Upper limits of the rate across the direction, by component.
    across = [
        abs(rate - part * along) + error + along_error
        for part, (rate, error) in zip(unit, component_estimates, strict=True)
    ]
    return max([hypot(*across[:2]), *across[2:]]) < CERTAINLY_SLOWER * least * (1.0 - 1e-9)


def _find_digit_size_up(track: Track) -> float:
    return track.digits[2] if track.digits else 0.0


def _orient(
    name: ComponentName,
    times: Sequence[float],
    values: Sequence[float],
    sigmas: Sequence[float],
    rate: float,
    digit_size: float = 0.0,
) -> MotionComponent:
    """Return the component with its sign changed if its rate is negative."""
    oriented = values if rate >= 0.0 else [-value for value in values]
    return MotionComponent(name, times, oriented, sigmas, digit_size)


def describe_component(reason: Message, fact: Mapping[str, Any], criterion: Criterion) -> Message:
    """Return a text about motion, followed by the name of the component unless it is the signed value."""
    if "way" not in fact:
        return reason
    if fact["way"] == "no_plunge":
        return join([reason, _NO_PLUNGE])
    component = _TEXTS[fact["way"]]
    return join([reason, component if criterion.direction == "norm" else _NO_AZIMUTH(way=component)])
