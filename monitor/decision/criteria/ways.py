"""Which way a station moves: along its declared direction and across it, or along its own motion without one."""

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

CLEARLY: Final = 0.9  # of a rate: a fit of the same motion along another axis is rounded otherwise
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
    """One component of the motion in a window, positive the way that it moves; or the signed value.

    Attributes:
        step: One step of its last digit. Rounding errs alike in one epoch after the other: no mean makes it smaller.
    """

    name: WayName
    times_s: Sequence[float]
    values: Sequence[float]
    sigmas: Sequence[float]
    step: float = 0.0

    def fit_line(self, sureness: float) -> Velocity | None:
        """Its velocity; a speed is freed of what noise makes of it, so that noise is no surer and holds no level."""
        fit = fit_velocity(self.times_s, self.values, self.sigmas)
        if fit is not None and self.step:
            days = (self.times_s[-1] - self.times_s[0]) / 86400.0
            fit = fit._replace(error=hypot(fit.error, self.step / sqrt(6.0) / days))  # of two ends, each within a step
        if fit is None or self.name in {"signed", "either"}:
            return fit
        freedom = fit.n - 2.0 if fit.error > fit.stated else NORMAL
        rate, unbiased = (free_of_noise(fit.rate, fit.error, s, freedom) for s in (sureness, 0.0))
        return fit._replace(rate=rate, low=fit.low - (fit.rate - rate), high=fit.high - (fit.rate - unbiased))

    def fit_bend(self, sureness: float, window_s: float) -> Acceleration | None:
        """Its acceleration, and the velocity beside it freed of noise alike."""
        fit = fit_acceleration(self.times_s, self.values, self.sigmas, window_s)
        line = fit_velocity(self.times_s, self.values, self.sigmas)
        if fit is None or line is None or self.name in {"signed", "either"}:
            return fit
        freedom = fit.n - 3.0 if line.error > line.stated else NORMAL
        return replace(fit, velocity=free_of_noise(max(0.0, fit.velocity), fit.velocity_error, sureness, freedom))


def list_ways(track: Track, some: slice) -> list[MotionComponent]:
    """What a window of a track is judged by.

    Without a declared azimuth a station has no downslope. Motion is then the horizontal speed along the direction in
    which it moves in that window; the vertical rate is judged apart, either way, so that a noisy up drowns nothing.
    The stronger counts. An azimuth without a plunge says nothing of the vertical, which is judged apart as well.
    """
    if not track.is_directed:
        return list_free_ways(track, some)
    times = track.times_s[some]
    found = [MotionComponent("signed", times, track.along[some], track.along_sigma[some], track.digit)]
    if not track.is_plunge_known:
        up, sigmas = [v[2] for v in track.values[some]], [s[2] for s in track.sigmas[some]]
        rates = fit_slopes(times, [up], [sigmas])
        found += [_orient("no_plunge", times, up, sigmas, rates[0], _step_up(track))] if rates else []
    return found


def list_free_ways(track: Track, some: slice, unit: Vector | None = None, least: float = 0.0) -> list[MotionComponent]:
    """The motion in a window whichever way it goes; with a direction, what of it goes neither that way nor back.

    Where it is clearly slower than `least` (per day) both on the map and upright, none is listed.
    """
    times, values, sigmas = track.times_s[some], track.values[some], track.along_sigma[some]
    columns: list[Sequence[float]] = list(zip(*values, strict=True))
    if unit is not None:
        along = track.along[some]
        if _is_clearly_slower(track, some, unit, least, columns):
            return []
        columns = [
            [v - u * a for v, a in zip(column, along, strict=True)] for u, column in zip(unit, columns, strict=True)
        ]
    deviations = [
        *[sigmas] * min(2, len(columns)),
        *([tuple([s[2] for s in track.sigmas[some]])] if len(columns) > 2 else []),
    ]
    rates = fit_slopes(times, columns, deviations)
    if rates is None:
        return []
    if len(rates) == 1:  # a single series whose criterion asks for its speed
        return [_orient("either", times, columns[0], sigmas, rates[0], track.digit)]
    east, north, *up = rates
    speed = sqrt(east * east + north * north)
    if max([speed, *map(abs, up)]) < CLEARLY * least:
        return []
    u, v = (east / speed, north / speed) if speed > 0.0 else (1.0, 0.0)
    gone = [u * e + v * n for e, n in zip(columns[0], columns[1], strict=True)]
    found = [MotionComponent("horizontal", times, gone, sigmas, max(track.digits[:2], default=0.0))]
    if up:
        found.append(_orient("vertical", times, columns[2], deviations[2], up[0], _step_up(track)))
    return found


def _is_clearly_slower(
    track: Track, some: slice, unit: Vector, least: float, columns: Sequence[Sequence[float]]
) -> bool:
    """Whether the motion across the direction is so slow that no exact fit need show it: the usual case."""
    up = [s[2] for s in track.sigmas[some]] if len(columns) > 2 else track.along_sigma[some]
    found = estimate_slopes(track.times_s[some], [track.along[some], *columns], [track.along_sigma[some], up])
    if found is None:
        return False
    (along, unsure), *parts = found
    rests = [abs(rate - u * along) + error + unsure for u, (rate, error) in zip(unit, parts, strict=True)]
    return max([hypot(*rests[:2]), *rests[2:]]) < CLEARLY * least * (1.0 - 1e-9)


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


def describe_way(reason: Message, fact: Mapping[str, Any], criterion: Criterion) -> Message:
    """A sentence on motion, with what is judged of one that has no declared direction."""
    if "way" not in fact:
        return reason
    if fact["way"] == "no_plunge":
        return join([reason, _NO_PLUNGE])
    way = _TEXTS[fact["way"]]
    return join([reason, way if criterion.direction == "norm" else _NO_AZIMUTH(way=way)])
