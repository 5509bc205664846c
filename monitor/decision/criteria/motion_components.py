"""Components of the motion of a station: along its declared direction, across it, or along the motion itself."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from math import hypot, sqrt
from typing import Any, Final, Literal

from forecasting.kinematics.acceleration import Acceleration, fit_acceleration
from forecasting.kinematics.direction import NORMAL, free_of_noise
from forecasting.kinematics.velocity import Velocity, estimate_slopes, fit_slopes, fit_velocity
from monitor.decision.series.tracks import Track
from monitor.decision.series.vectors import Vector
from monitor.sites.records import Criterion
from monitor.text.message import Message, Template, join

# Motion below this share of a rate is clearly slower. The margin covers the rounding of fits along another axis.
CLEARLY: Final = 0.9
_NO_AZIMUTH: Final = Template("criterion.way.no_azimuth", "{way}, no azimuth is declared")
_NO_PLUNGE: Final = Template("criterion.way.no_plunge", "vertical rate, either way, no plunge is declared")()
_TEXTS: Final = {
    "horizontal": Template("criterion.way.horizontal", "horizontal speed")(),
    "vertical": Template("criterion.way.vertical", "vertical rate, either way")(),
    "either": Template("criterion.way.either", "either way")(),
}
WayName = Literal["signed", "horizontal", "vertical", "either", "no_plunge"]


@dataclass(frozen=True, slots=True)
class MotionComponent:
    """One component of the motion in a window, positive in the direction of the motion; or the signed value.

    Attributes:
        step: One step of the last digit. Rounding errors of successive epochs are alike, so averaging does not reduce
            them.
    """

    name: WayName
    times_s: Sequence[float]
    values: Sequence[float]
    sigmas: Sequence[float]
    step: float = 0.0

    def fit_line(self, min_sigma: float) -> Velocity | None:
        """Return the fitted velocity; None if it has too few epochs.

        The bias that noise adds to a speed is subtracted, so that noise alone neither raises nor holds a level.
        """
        fit = fit_velocity(self.times_s, self.values, self.sigmas)
        if fit is not None and self.step:
            # Both ends of the window are rounded, each uniformly within one step.
            days = (self.times_s[-1] - self.times_s[0]) / 86400.0
            fit = fit._replace(error=hypot(fit.error, self.step / sqrt(6.0) / days))
        if fit is None or self.name in {"signed", "either"}:
            return fit
        freedom = fit.n - 2.0 if fit.error > fit.stated else NORMAL
        rate, unbiased = (free_of_noise(fit.rate, fit.error, s, freedom) for s in (min_sigma, 0.0))
        return fit._replace(rate=rate, low=fit.low - (fit.rate - rate), high=fit.high - (fit.rate - unbiased))

    def fit_bend(self, min_sigma: float, window_s: float) -> Acceleration | None:
        """Return the fitted acceleration; the bias that noise adds to its speed is subtracted as in `fit_line`."""
        fit = fit_acceleration(self.times_s, self.values, self.sigmas, window_s)
        line = fit_velocity(self.times_s, self.values, self.sigmas)
        if fit is None or line is None or self.name in {"signed", "either"}:
            return fit
        freedom = fit.n - 3.0 if line.error > line.stated else NORMAL
        return replace(fit, velocity=free_of_noise(max(0.0, fit.velocity), fit.velocity_error, min_sigma, freedom))


def list_components(track: Track, rows: slice) -> list[MotionComponent]:
    """Return the components of the motion in a window that are compared with a bound.

    * With a declared azimuth and plunge this is the signed value alone.
    * With an azimuth and no plunge, the vertical rate in either direction is a second component.
    * Without an azimuth the components are the horizontal speed, along the direction of the motion in this window, and
      the vertical rate in either direction. They are separate because the vertical is noisier.

    Args:
        rows: Rows of the window.
    """
    if not track.is_directed:
        return list_free_components(track, rows)
    times = track.times_s[rows]
    components = [MotionComponent("signed", times, track.along[rows], track.along_sigma[rows], track.digit)]
    if not track.is_plunge_known:
        up, sigmas = [v[2] for v in track.values[rows]], [s[2] for s in track.sigmas[rows]]
        rates = fit_slopes(times, [up], [sigmas])
        if rates:
            components.append(_orient("no_plunge", times, up, sigmas, rates[0], _step_up(track)))
    return components


def list_free_components(
    track: Track, rows: slice, unit: Vector | None = None, least: float = 0.0
) -> list[MotionComponent]:
    """Return the components of the motion in a window in any direction, or of the motion across a direction.

    Args:
        rows: Rows of the window.
        unit: If given, the motion along this direction is subtracted.
        least: Return no component if the motion is clearly slower than this rate per day.
    """
    times, values, sigmas = track.times_s[rows], track.values[rows], track.along_sigma[rows]
    columns: list[Sequence[float]] = list(zip(*values, strict=True))
    if unit is not None:
        along = track.along[rows]
        if _is_clearly_slower(track, rows, unit, least, columns):
            return []
        columns = [
            [v - u * a for v, a in zip(column, along, strict=True)] for u, column in zip(unit, columns, strict=True)
        ]
    deviations = [
        *[sigmas] * min(2, len(columns)),
        *([tuple([s[2] for s in track.sigmas[rows]])] if len(columns) > 2 else []),
    ]
    rates = fit_slopes(times, columns, deviations)
    if rates is None:
        return []
    if len(rates) == 1:
        # A single series whose criterion has the direction "norm".
        return [_orient("either", times, columns[0], sigmas, rates[0], track.digit)]
    east, north, *up = rates
    speed = sqrt(east * east + north * north)
    if max([speed, *map(abs, up)]) < CLEARLY * least:
        return []
    u, v = (east / speed, north / speed) if speed > 0.0 else (1.0, 0.0)
    horizontal = [u * e + v * n for e, n in zip(columns[0], columns[1], strict=True)]
    components = [MotionComponent("horizontal", times, horizontal, sigmas, max(track.digits[:2], default=0.0))]
    if up:
        components.append(_orient("vertical", times, columns[2], deviations[2], up[0], _step_up(track)))
    return components


def _is_clearly_slower(
    track: Track, rows: slice, unit: Vector, least: float, columns: Sequence[Sequence[float]]
) -> bool:
    """Return whether a fast estimate already shows that the motion across the direction is slower than `least`."""
    up = [s[2] for s in track.sigmas[rows]] if len(columns) > 2 else track.along_sigma[rows]
    estimates = estimate_slopes(track.times_s[rows], [track.along[rows], *columns], [track.along_sigma[rows], up])
    if estimates is None:
        return False
    (along, along_error), *parts = estimates
    across = [abs(rate - u * along) + error + along_error for u, (rate, error) in zip(unit, parts, strict=True)]
    return max([hypot(*across[:2]), *across[2:]]) < CLEARLY * least * (1.0 - 1e-9)


def _step_up(track: Track) -> float:
    return track.digits[2] if track.digits else 0.0


def _orient(
    name: WayName,
    times: Sequence[float],
    values: Sequence[float],
    sigmas: Sequence[float],
    rate: float,
    step: float = 0.0,
) -> MotionComponent:
    return MotionComponent(name, times, values if rate >= 0.0 else [-v for v in values], sigmas, step)


def describe_component(reason: Message, fact: Mapping[str, Any], criterion: Criterion) -> Message:
    """Return a text about motion, completed by the component if it is not the signed value."""
    if "way" not in fact:
        return reason
    if fact["way"] == "no_plunge":
        return join([reason, _NO_PLUNGE])
    way = _TEXTS[fact["way"]]
    return join([reason, way if criterion.direction == "norm" else _NO_AZIMUTH(way=way)])
