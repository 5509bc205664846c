"""Compute how long a person has to answer what a step was, and within which time two steps belong together."""

from typing import Final

from monitor.sites.records import Site

# Number of intervals in which two more readings are received.
READINGS: Final = 2.5
# Two steps within this time belong together, however short the interval is.
ONE_EVENT_S: Final = 3600.0


def interval_s(site: Site, station: str) -> float:
    """Return the longest interval of the series of a station that are verified, or of all if none is, seconds."""
    declared = site.station(station)
    series = declared.series if declared else ()
    verified_s = [spec.interval_s for spec in series if spec.verify_step is not None]
    return max(verified_s or [spec.interval_s for spec in series], default=0.0)


def clock_s(site: Site, station: str) -> float:
    """Return the time until the deadline of a step, seconds: as declared, but at least two more readings."""
    return max(site.fusion.verify_within_s, READINGS * interval_s(site, station))


def together_s(site: Site, station: str) -> float:
    """Return within how many seconds two steps belong together: at most two readings, or the deadline if shorter."""
    return min(clock_s(site, station), max(READINGS * interval_s(site, station), ONE_EVENT_S))
