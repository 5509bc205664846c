"""How long the question of a step may wait, and when two steps are one event."""

from typing import Final

from monitor.sites.records import Site

READINGS: Final = 2.5  # intervals: long enough for two more readings to come
ONE_EVENT_S: Final = 3600.0  # the least that two steps of one event may lie apart


def interval_s(site: Site, station: str) -> float:
    """The longest interval of the series of a station that are asked about steps, or of all of them."""
    known = site.station(station)
    series = known.series if known else ()
    intervals_s = [s.interval_s for s in series if s.verify_step is not None] or [s.interval_s for s in series]
    return max(intervals_s, default=0.0)


def clock_s(site: Site, station: str) -> float:
    """How long a step may wait for an answer: the site's clock, but long enough for two more readings to come."""
    return max(site.fusion.verify_within_s, READINGS * interval_s(site, station))


def together_s(site: Site, station: str) -> float:
    """Two steps are one event when no more than two readings lie between them, however long the clock of the site."""
    return min(clock_s(site, station), max(READINGS * interval_s(site, station), ONE_EVENT_S))
