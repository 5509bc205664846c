"""Series of which no reading counts, because every stored value bears a flag that sets it aside."""

from collections import Counter
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Final

from sqlalchemy import Connection, select

from monitor.readings.queries.observations import load_readings, load_series
from monitor.readings.records import HARMLESS
from monitor.readings.tables import observation
from monitor.sites.records import Site
from monitor.sites.witnesses import find_voting_series

NEWEST: Final = 100  # readings of each series that are looked at


@dataclass(frozen=True, slots=True)
class UncountedSeries:
    """A series that is judged and of which none of the newest readings counts.

    Attributes:
        name: `STATION.quantity`, as the readings are stored.
        count: How many of its newest readings were looked at; fewer than `NEWEST` are all that it has.
        flag: The flag that most of them bear.
    """

    name: str
    count: int
    flag: str


def find_uncounted(c: Connection, site: Site, now: datetime) -> list[UncountedSeries]:
    """Find the series on which levels rest and of which none of the newest readings counts, by what is known now."""
    judged = find_voting_series(site)
    found: list[UncountedSeries] = []
    o = observation.c
    for row in load_series(c, site.id):
        spec = site.series(row.station, row.quantity)
        if spec is None or (row.station, spec.quantity) not in judged:
            continue
        newest = select(o.observed_at).where(o.series_id == row.id).distinct()
        epochs = c.execute(newest.order_by(o.observed_at.desc()).limit(NEWEST)).scalars().all()
        if not epochs:
            continue
        readings = load_readings(c, row.id, min(epochs) - timedelta(microseconds=1), max(epochs), now)
        flags = [[flag for flag in reading.flags if flag not in HARMLESS] for reading in readings]
        if readings and all(flags):
            usual = Counter(flag for one in flags for flag in one).most_common(1)[0][0]
            found.append(UncountedSeries(row.name, len(readings), usual))
    return found
