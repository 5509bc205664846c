"""Velocities of a station beside the bounds of the criteria that judge them."""

from bisect import bisect_right
from collections.abc import Mapping, Sequence
from datetime import datetime
from typing import Any, Final

from sqlalchemy import Connection

from forecasting.kinematics.velocity import find_inverse, fit_velocity
from monitor.decision.records import instant, seconds
from monitor.errors import NotFoundError, RefusedError
from monitor.readings.records import HARMLESS, Reading
from monitor.sites.records import Site
from monitor.text.instants import format_iso
from monitor.web.context import RequestedRange
from monitor.web.parts.columns import COMPUTED
from monitor.web.routes.site.charts import load_curve

POINTS: Final = 150  # of one curve
EPOCHS: Final = 300  # of one fit; a window that holds more is thinned
SCALARS: Final = ("displacement", "displacement_downslope", "displacement_los", "displacement_distance")


def find_bounds(site: Site | None, station: str) -> list[Mapping[str, Any]]:
    """Bounds that can be drawn beside the movement of a station: velocity, acceleration, tangential angle."""
    return [
        {"kind": k.kind.id, "criterion": k.id, "level": t.level, "value": t.over, "window_s": t.window_s}
        for k in (() if site is None else site.criteria)
        if "movement" in k.kind.drawn and station in k.stations
        for t in k.thresholds
        if t.over is not None
    ]


def find_rates(
    c: Connection, site: Site | None, station: str, low: datetime, high: datetime, now: datetime, points: int = POINTS
) -> list[Mapping[str, Any]]:
    """Velocity in mm/day over each window of the velocity criteria of a station; none where nothing can be fitted.

    Each is stamped at its newest epoch, as the bound reads it, over unflagged readings as known now; steps that the
    decision takes out are still in.
    """
    if site is None:
        return []
    context = {
        t.window_s: k.id
        for k in site.criteria
        if k.kind.velocity and station in k.stations
        for t in k.thresholds
        if t.window_s
    }
    readings = _load(c, site, station, low, high, max(context, default=0.0), now)
    return [
        measure_rates(readings, criterion, window_s, seconds(low), points)
        for window_s, criterion in sorted(context.items())
    ]


def _load(
    c: Connection, site: Site, station: str, low: datetime, high: datetime, window_s: float, now: datetime
) -> Sequence[Reading]:
    start = instant(seconds(low) - window_s)
    for quantity in (COMPUTED, *SCALARS):
        try:
            found, _, unit, _, _ = load_curve(c, site.id, station, quantity, RequestedRange(start, high), now)
        except (NotFoundError, RefusedError):
            continue
        if unit == "mm":
            return [r for r in found if all(f in HARMLESS for f in r.flags)]
    return []


def measure_rates(
    readings: Sequence[Reading], criterion: str, window_s: float, from_s: float, points: int = POINTS
) -> Mapping[str, Any]:
    """Velocity over the windows that end at about `points` epochs from an instant on.

    The inverse is None where the velocity cannot be distinguished from zero, as in the rows of movement.

    `readings`: usable ones by rising epoch.
    """
    times = [seconds(r.observed_at) for r in readings]
    ends = range(bisect_right(times, from_s), len(times))
    every = max(1, len(ends) // points)
    columns: Mapping[str, Any] = {
        "criterion": criterion,
        "window_s": window_s,
        "at": [],
        "rate": [],
        "error": [],
        "inverse": [],
    }
    for last in sorted({*ends[::every], *ends[-1:]}):
        first = bisect_right(times, times[last] - window_s)
        thin = max(1, (last + 1 - first) // EPOCHS)
        # counted from the end, so that the newest epoch is among them
        rows = readings[last : first - 1 if first else None : -thin][::-1]
        fit = fit_velocity(
            [seconds(r.observed_at) for r in rows], [r.value for r in rows], [r.sigma or 0.0 for r in rows]
        )
        if fit is not None:
            columns["at"].append(format_iso(readings[last].observed_at))
            columns["rate"].append(fit.rate)
            columns["error"].append(fit.error)
            columns["inverse"].append(find_inverse(fit))
    return columns
