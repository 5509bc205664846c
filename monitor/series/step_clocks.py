"""How a step is named, how long its question may wait, and when two steps are one event."""

from typing import Final

from monitor.domain.decision import instant, seconds
from monitor.domain.instants import parse, spell
from monitor.domain.site import Site

READINGS: Final = 2.5  # intervals: long enough for two more readings to come
ONE_EVENT_S: Final = 3600.0  # the least that two steps of one event may lie apart


def step_key(station: str, at_s: float) -> str:
    """How memory and people name a step."""
    return f"{station}@{spell(instant(at_s))}"


def station_of(key: str) -> str:
    """The station a step belongs to."""
    return key.rpartition("@")[0]


def instant_of(key: str) -> float:
    """When the step of a key happened, epoch seconds."""
    return seconds(parse(key.rpartition("@")[2]))


def interval_s(site: Site, station: str) -> float:
    """The longest interval of the series of a station that are asked about steps, or of all of them."""
    known = site.station(station)
    series = known.series if known else ()
    asked = [s.interval_s for s in series if s.verify_step is not None] or [s.interval_s for s in series]
    return max(asked, default=0.0)


def clock_s(site: Site, station: str) -> float:
    """How long a step may wait for an answer: the site's clock, but long enough for two more readings to come."""
    return max(site.fusion.verify_within_s, READINGS * interval_s(site, station))


def together_s(site: Site, station: str) -> float:
    """Two steps are one event when no more than two readings lie between them, however long the clock of the site."""
    return min(clock_s(site, station), max(READINGS * interval_s(site, station), ONE_EVENT_S))
