"""Find series without a usable reading, because every stored value has a harmful flag."""

from collections import Counter
from dataclasses import dataclass
from datetime import datetime, timedelta
from itertools import chain
from typing import Final

from sqlalchemy import Connection, select

from monitor.readings.queries.observations import load_readings, load_series
from monitor.readings.records import HARMLESS
from monitor.readings.tables import observation
from monitor.sites.records import Site
from monitor.sites.witnesses import find_voting_series

# Number of newest epochs of each series that are checked.
CHECKED_EPOCHS: Final = 100


@dataclass(frozen=True, slots=True)
class UncountedSeries:
    """A series that a criterion reads and whose newest readings are all unusable.

    Attributes:
        name: `STATION.quantity`, as the readings are stored.
        count: Number of readings that were checked. If it is below `CHECKED_EPOCHS`, the series has no other readings.
        flag: The flag that most of them have.
    """

    name: str
    count: int
    flag: str


def find_uncounted(c: Connection, site: Site, now: datetime) -> list[UncountedSeries]:
    """Find the series that can raise a level and whose newest readings are all unusable, as known at an instant."""
    voting = find_voting_series(site)
    uncounted: list[UncountedSeries] = []
    o = observation.c
    for row in load_series(c, site.id):
        spec = site.series(row.station, row.quantity)
        if spec is None or (row.station, spec.quantity) not in voting:
            continue
        newest = select(o.observed_at).where(o.series_id == row.id).distinct()
        epochs = c.execute(newest.order_by(o.observed_at.desc()).limit(CHECKED_EPOCHS)).scalars().all()
        if not epochs:
            continue
        readings = load_readings(c, row.id, min(epochs) - timedelta(microseconds=1), max(epochs), now)
        flags = [[flag for flag in reading.flags if flag not in HARMLESS] for reading in readings]
        if readings and all(flags):
            counts = Counter(chain.from_iterable(flags))
            ((most_common, _),) = counts.most_common(1)
            uncounted.append(UncountedSeries(row.name, len(readings), most_common))
    return uncounted
