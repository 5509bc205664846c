"""Which way a station moved lately on the map, from its components east and north."""

from collections.abc import Mapping
from datetime import datetime, timedelta
from math import atan2, degrees, fsum

from sqlalchemy import Connection, select

from monitor.store.readings.observations import load_readings, load_series
from monitor.store.schema import tables as t

COMPONENTS = ("displacement_east", "displacement_north")
EPOCHS = 5  # at either end of the window, against the noise of one


def find_headings(c: Connection, site: str, windows: Mapping[str, float], at: datetime) -> dict[str, float]:
    """Degrees clockwise from north, by station; those without both components, or without readings, are left out.

    Args:
        c: a read transaction.
        site: site.
        windows: seconds to look back from `at`, by station.
        at: as known at this instant.
    """
    ids: dict[str, dict[str, int]] = {}
    for row in load_series(c, site):
        if row.station in windows and row.quantity in COMPONENTS:
            ids.setdefault(row.station, {})[row.quantity] = row.id
    found = {}
    for station, series in ids.items():
        before = at - timedelta(seconds=windows[station])
        ends = [(_mean(c, i, at, at), _mean(c, i, before, at)) for q in COMPONENTS if (i := series.get(q)) is not None]
        if len(ends) == len(COMPONENTS) and all(None not in pair for pair in ends):
            east, north = (float(late) - float(early) for late, early in ends)  # type: ignore[arg-type]
            if east or north:
                found[station] = round(degrees(atan2(east, north)) % 360.0, 1)
    return found


def _mean(c: Connection, series_id: int, until: datetime, known_at: datetime) -> float | None:
    """Of the newest epochs up to an instant, offsets taken off; None where there is none."""
    o = t.observation.c
    epochs = (
        select(o.observed_at)
        .where(o.series_id == series_id, o.observed_at <= until)
        .distinct()
        .order_by(o.observed_at.desc())
        .limit(EPOCHS)
    )
    instants = c.execute(epochs).scalars().all()
    if not instants:
        return None
    readings = load_readings(c, series_id, instants[-1] - timedelta(microseconds=1), until, known_at)
    values = [r.value for r in readings if not r.flags]
    return fsum(values) / len(values) if values else None
