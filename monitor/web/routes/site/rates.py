"""Velocity over the windows a site's bounds ask for, along a range: the curve that belongs beside each bound."""

from bisect import bisect_right
from collections.abc import Sequence
from datetime import datetime
from typing import Any, Final

from sqlalchemy import Connection

from forecasting.kinematics.velocity import fit_velocity
from monitor.domain.decision import instant, seconds
from monitor.domain.instants import spell
from monitor.domain.observation import HARMLESS, Reading
from monitor.domain.site import Site
from monitor.errors import NotFoundError, RefusedError
from monitor.movement.movement_state import inverse_of
from monitor.web.context import AskedRange
from monitor.web.parts.plan import COMPUTED
from monitor.web.routes.site.charts import load_curve

POINTS: Final = 150  # of one curve
EPOCHS: Final = 300  # of one fit; a window that holds more is thinned
SCALARS: Final = ("displacement", "displacement_downslope", "displacement_los", "displacement_distance")


def find_rates(
    c: Connection, site: Site | None, station: str, low: datetime, high: datetime, now: datetime,
    points: int = POINTS,
) -> list[dict[str, Any]]:  # fmt: skip
    """Velocity in mm/day over each window of the velocity criteria of a station; none where nothing can be fitted.

    Each is stamped at its newest epoch, as the bound reads it, over unflagged readings as known now; steps that the
    decision takes out are still in.
    """
    if site is None:
        return []
    asked = {
        t.window_s: k.id for k in site.criteria if k.kind.velocity and station in k.stations
        for t in k.thresholds if t.window_s
    }  # fmt: skip
    readings = _load(c, site, station, low, high, max(asked, default=0.0), now)
    return [
        {"criterion": criterion, "window_s": window_s, **measure_rates(readings, window_s, seconds(low), points)}
        for window_s, criterion in sorted(asked.items())
    ]


def _load(
    c: Connection, site: Site, station: str, low: datetime, high: datetime, window_s: float, now: datetime
) -> Sequence[Reading]:
    start = instant(seconds(low) - window_s)
    for quantity in (COMPUTED, *SCALARS):
        try:
            found, _, unit, _, _ = load_curve(c, site.id, station, quantity, AskedRange(start, high), now)
        except (NotFoundError, RefusedError):
            continue
        if unit == "mm":
            return [r for r in found if all(f in HARMLESS for f in r.flags)]
    return []


def measure_rates(
    readings: Sequence[Reading], window_s: float, from_s: float, points: int = POINTS
) -> dict[str, list[Any]]:
    """Columns `at`, `rate`, `error` and `inverse` (days per mm) at about `points` epochs from an instant on.

    The inverse is None where the velocity cannot be distinguished from zero, as in the rows of movement.

    Args:
        readings: usable ones by rising epoch.
        window_s: length of the window that ends at each epoch.
        from_s: first epoch wanted.
        points: how many epochs.
    """
    times = [seconds(r.observed_at) for r in readings]
    ends = range(bisect_right(times, from_s), len(times))
    every = max(1, len(ends) // points)
    columns: dict[str, list[Any]] = {"at": [], "rate": [], "error": [], "inverse": []}
    for last in sorted({*ends[::every], *ends[-1:]}):
        first = bisect_right(times, times[last] - window_s)
        thin = max(1, (last + 1 - first) // EPOCHS)
        # counted from the end, so that the newest epoch is among them
        rows = readings[last : first - 1 if first else None : -thin][::-1]
        fit = fit_velocity(
            [seconds(r.observed_at) for r in rows], [r.value for r in rows], [r.sigma or 0.0 for r in rows]
        )
        if fit is not None:
            columns["at"].append(spell(readings[last].observed_at))
            columns["rate"].append(fit.rate)
            columns["error"].append(fit.error)
            columns["inverse"].append(inverse_of(fit))
    return columns
