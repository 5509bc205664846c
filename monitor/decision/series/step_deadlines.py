"""Compute how long a person has to answer what a step was, and within which time two steps belong together."""

from typing import Final

from monitor.sites.records import Site

# Number of intervals in which two more readings are received.
TWO_READINGS_INTERVALS: Final = 2.5
# Two steps within this time belong together, however short the interval is.
ONE_EVENT_S: Final = 3600.0


def find_step_interval_s(site: Site, station: str) -> float:
    """Return the longest interval of the series of a station that declare `verify_step`, in seconds.

    If none declares it, return the longest interval of all its series; 0 without series.
    """
    declared = site.station(station)
    series = declared.series if declared else ()
    declared_s = [spec.interval_s for spec in series if spec.verify_step is not None]
    return max(declared_s or [spec.interval_s for spec in series], default=0.0)


def find_answer_time_s(site: Site, station: str) -> float:
    """Return the time from a question about a station to its deadline, in seconds.

    It is `verify_within` of the site file, but at least the time in which two more readings are received.
    """
    return max(site.fusion.verify_within_s, TWO_READINGS_INTERVALS * find_step_interval_s(site, station))


def find_pairing_time_s(site: Site, station: str) -> float:
    """Return within which time the steps of two stations belong together, in seconds.

    It is the time in which two readings are received, at least an hour, but not longer than the time to the deadline.
    """
    two_readings_s = TWO_READINGS_INTERVALS * find_step_interval_s(site, station)
    return min(find_answer_time_s(site, station), max(two_readings_s, ONE_EVENT_S))
