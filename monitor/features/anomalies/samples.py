"""The readings that a detector works on."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime

from sqlalchemy import Connection

from detection.anomaly.records import Samples, Timed
from detection.anomaly.registry import is_network
from monitor.api.queries.models import SeriesSamples, load_driver, load_samples, load_watched
from monitor.api.queries.readings import load_ids
from monitor.api.sites import MOTION_GROUP, Site, WatchedSeries, list_groups

_RAIN = "rain"


@dataclass(frozen=True, slots=True)
class DetectorRecord:
    """Readings of a site for one detector.

    Attributes:
        series: Cleaned samples of each series.
        rain: Amounts of the first rain gauge of the site file that has readings; None without one, and for detectors
            that use no rain.
    """

    series: Sequence[SeriesSamples]
    rain: Timed | None = None

    @property
    def samples(self) -> Samples:
        """Times and values by label."""
        return {one.label: one.timed for one in self.series}


def load_record(c: Connection, site: Site, detector: str, since: datetime, now: datetime) -> DetectorRecord:
    """Load the readings in (since, now] that a detector works on, as known at `now`.

    `rules` compares the motion series of all stations. A network also reads the other channels of moving ground at the
    same interval, such as the height or the tilt of a station, and rain.
    """
    if not is_network(detector):
        return DetectorRecord(load_watched(c, site, since, now))
    series = load_samples(c, site, list_channels(c, site), since, now, keep_spikes=True)
    return DetectorRecord(series, load_rain(c, site, since, now))


def list_channels(c: Connection, site: Site) -> list[WatchedSeries]:
    """Return the series of moving ground that have the interval of the motion series, by station."""
    groups = list_groups(site, load_ids(c, site.id))
    motion = next((group for group in groups if group.name == MOTION_GROUP), None)
    if motion is None:
        return []
    channels = [
        series
        for group in groups
        if group is motion or (group.watch.moves and group.step_s == motion.step_s)
        for series in group.series
    ]
    return sorted(channels, key=lambda series: (series.station.id, series.quantity))


def load_rain(c: Connection, site: Site, since: datetime, now: datetime) -> Timed | None:
    """Load the amounts of the first rain gauge of the site file that has readings, or None."""
    ids = load_ids(c, site.id)
    for station in site.stations:
        spec = station.find_series(_RAIN)
        if spec is None or (station.id, _RAIN) not in ids:
            continue
        amounts = load_driver(c, ids[station.id, _RAIN], spec, since, now)
        if len(amounts[0]):
            return amounts
    return None
