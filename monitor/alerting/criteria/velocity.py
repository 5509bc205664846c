"""Velocity of displacement against a bound per level: signed downslope, or its norm with the bias of noise removed."""

from collections.abc import Sequence
from dataclasses import dataclass
from math import sqrt
from typing import Any, Final

from forecasting.kinematics.velocity import Velocity, fit_velocity
from monitor.alerting.assessment import Assessment, Windows, bound_of, recovery_of, stations_of
from monitor.alerting.jumps import Vector
from monitor.alerting.tracks import Track
from monitor.domain.instants import spell_duration
from monitor.domain.site import Criterion, SeriesSpec, Threshold

MIN_EXTENT: Final = 0.5  # of the window must lie between its first and last epoch


@dataclass(frozen=True, slots=True)
class VelocityRule:
    """Crossed when the fit is over the bound, real by `min_sigma`, and over it whichever single epoch is left out.

    So no one reading alone raises or lowers a level.
    """

    criterion: Criterion

    def assess(self, windows: Windows) -> tuple[Assessment, ...]:
        """One answer per station on the slope."""
        return tuple(self._assess(windows, s.id) for s in stations_of(windows, self.criterion))

    def _assess(self, windows: Windows, station: str) -> Assessment:
        criterion = self.criterion
        track = windows.track(criterion, station)
        spec = windows.site.series(station, criterion.quantity)
        if track.usable_s is None or spec is None:
            return Assessment(criterion.id, station)
        if track.stuck:
            reason = "the instrument repeats one value"
            return Assessment(criterion.id, station, newest_s=track.usable_s, reason=reason)
        return judge_rates(criterion, track, spec, windows, norm=criterion.direction == "norm")


def judge_rates(criterion: Criterion, track: Track, spec: SeriesSpec, windows: Windows, *, norm: bool) -> Assessment:
    """Compare the rates that end at the last epochs with every bound; shared by velocity and rate."""
    newest_s = track.times_s[-1]
    epochs = dwell_epochs(criterion, track.times_s, windows.answered_s(f"{criterion.id}|{track.station}"))
    quiet = track.times_s[-criterion.dwell.hits :]
    raise_level = hold_level = 0
    heard = False
    facts: list[dict[str, Any]] = []
    for threshold in criterion.thresholds:
        fits = {e: _fit(track, e, threshold, norm=norm) for e in {*epochs, *quiet}}
        hits = sum(_is_over(fits[e], threshold, criterion.min_sigma) for e in epochs)
        newest = fits[newest_s] if newest_s in fits else _fit(track, newest_s, threshold, norm=norm)
        heard = heard or newest is not None
        crossed = hits >= criterion.dwell.hits
        clear = all(_is_clear(fits[e], threshold, criterion.recover) for e in quiet)
        raise_level = max(raise_level, threshold.level) if crossed else raise_level
        hold_level = hold_level if clear else max(hold_level, threshold.level)
        facts.append(_describe(threshold, newest, hits, criterion, clear=clear))
    motion, error = _motion(track, criterion) if heard else (None, 0.0)
    return Assessment(
        criterion.id, track.station, raise_level, max(hold_level, raise_level), heard,
        heard and windows.is_fresh(newest_s, spec), newest_s, _sentence(criterion, spec, facts, raise_level),
        {"bounds": facts, "quantity": track.quantity, "epochs": len(track.times_s)}, motion, error,
    )  # fmt: skip


def dwell_epochs(criterion: Criterion, times_s: Sequence[float], answered_s: float) -> tuple[float, ...]:
    """The last `of` distinct data epochs that may count: newer than a person's answer, within the dwell's time."""
    within = criterion.dwell.within_s
    chosen = times_s[-max(criterion.dwell.of, criterion.dwell.hits) :]
    return tuple(e for e in chosen if e > answered_s and (within is None or times_s[-1] - e <= within))


def _fit(track: Track, end_s: float, threshold: Threshold, *, norm: bool) -> Velocity | None:
    window_s = threshold.window_s or 86400.0
    low = high = len(track.times_s)
    while high > 0 and track.times_s[high - 1] > end_s:
        high -= 1
    low = high
    while low > 0 and track.times_s[low - 1] > end_s - window_s:
        low -= 1
    times = track.times_s[low:high]
    if len(times) < 4 or times[-1] - times[0] < MIN_EXTENT * window_s:
        return None
    if not norm or len(track.values[0]) == 1:
        return fit_velocity(times, track.along[low:high], track.along_sigma[low:high])
    return _fit_norm(times, track.values[low:high], track.sigmas[low:high])


def _fit_norm(times: Sequence[float], values: Sequence[Vector], sigmas: Sequence[Vector]) -> Velocity | None:
    """Speed of the vector: |v|^2 minus the variance that noise adds to it, never below nothing."""
    parts = [
        fit_velocity(times, [v[k] for v in values], [s[k] for s in sigmas]) for k in range(len(values[0]))
    ]  # fmt: skip
    found = [p for p in parts if p is not None]
    if len(found) != len(parts):
        return None
    square = sum(p.rate * p.rate for p in found)
    rate = sqrt(max(0.0, square - sum(p.error * p.error for p in found)))
    raw = sqrt(square)
    error = sqrt(sum((p.rate / raw * p.error) ** 2 for p in found)) if raw > 0 else max(p.error for p in found)
    # the widest that leaving one epoch out can do to each component
    down = sqrt(sum(max(abs(p.rate - p.low), abs(p.high - p.rate)) ** 2 for p in found))
    first = found[0]
    return Velocity(rate, error, max(0.0, rate - down), rate + down, first.n, first.mid_s, first.newest_s)


def _is_over(fit: Velocity | None, threshold: Threshold, min_sigma: float) -> bool:
    if fit is None:
        return False
    bound, sign = bound_of(threshold)
    sure = min(sign * fit.low, sign * fit.high)
    # change in the bound's direction must be real; a bound on the other side of zero asks for the value alone
    real = sign * fit.rate > min_sigma * fit.error if sign * bound >= 0 else True
    return sure > sign * bound and real


def _is_clear(fit: Velocity | None, threshold: Threshold, recover: float) -> bool:
    if fit is None:
        return False
    bound, sign = bound_of(threshold)
    worst = max(sign * fit.low, sign * fit.high)
    return worst < sign * recovery_of(threshold, recover) and sign * fit.rate + fit.error < sign * bound


def _describe(
    threshold: Threshold, fit: Velocity | None, hits: int, criterion: Criterion, *, clear: bool
) -> dict[str, Any]:
    bound, sign = bound_of(threshold)
    found: dict[str, Any] = {
        "level": threshold.level, "bound": bound, "window_s": threshold.window_s, "hits": hits,
        "needs": criterion.dwell.hits, "recovered": clear,
    }  # fmt: skip
    if fit is not None:
        found |= {
            "rate": fit.rate, "error": fit.error, "low": fit.low, "high": fit.high, "n": fit.n, "mid_s": fit.mid_s,
            "margin": sign * (fit.rate - bound),
        }  # fmt: skip
    return found


def _sentence(criterion: Criterion, spec: SeriesSpec, facts: Sequence[dict[str, Any]], level: int) -> str:
    known = [f for f in facts if "rate" in f]
    if not known:
        return "too few epochs in the window"
    said = next((f for f in known if f["level"] == level), known[0])
    what = "velocity" if criterion.kind == "velocity" else f"rate of {criterion.quantity}"
    window = spell_duration(said["window_s"] or 86400.0)
    side = "over" if said["bound"] >= 0 or criterion.kind == "velocity" else "against"
    return (
        f"{what} {said['rate']:.2f} ± {said['error']:.2f} {spec.unit}/day in {window}, "
        f"{side} {said['bound']:g} in {said['hits']} data epochs, {said['needs']} needed"
    )


def _motion(track: Track, criterion: Criterion) -> tuple[Vector | None, float]:
    """Rate of every component in the window of the lowest bound."""
    window_s = criterion.thresholds[0].window_s or 86400.0
    first = next((i for i, t in enumerate(track.times_s) if t > track.times_s[-1] - window_s), 0)
    fits = [
        fit_velocity(track.times_s[first:], [v[k] for v in track.values[first:]], [s[k] for s in track.sigmas[first:]])
        for k in range(len(track.values[0]))
    ]
    found = [f for f in fits if f is not None]
    if len(found) != len(fits):
        return None, 0.0
    return tuple(f.rate for f in found), sqrt(sum(f.error * f.error for f in found))
