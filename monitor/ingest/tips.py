"""Tips of a rain gauge that share an instant, because a logger writes times without seconds or fractions of them."""

from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Final

from monitor.readings.records import Observation
from monitor.sites.records import Site

RAIN: Final = "rain"
EVENT: Final = "event"


def join_tips(observations: Sequence[Observation], sites: Mapping[str, Site]) -> Sequence[Observation]:
    """Return observations, with tips that follow each other at one instant as one observation with their sum.

    The database keeps one value of an instant. Several tips of a minute would be stored as one, and the others would
    count as readings that are stored already. Only gauges with `stamp = "event"` are changed.

    Args:
        observations: Of one message or of one part of a file, in their order.
        sites: Site files by site id.
    """
    if len(observations) < 2 or not any(one.quantity == RAIN for one in observations):
        return observations
    joined: list[Observation] = []
    newest: dict[tuple[str, str], int] = {}  # place in `joined` of the newest tip, by site and station
    for one in observations:
        if one.quantity == RAIN and _counts_tips(one, sites):
            place = newest.get((one.site, one.station))
            before = None if place is None else joined[place]
            if place is not None and before is not None and _is_same_instant(before, one):
                flags = (*before.flags, *(flag for flag in one.flags if flag not in before.flags))
                joined[place] = replace(before, value=before.value + one.value, flags=flags)
                continue
            newest[one.site, one.station] = len(joined)
        joined.append(one)
    return joined


def _counts_tips(one: Observation, sites: Mapping[str, Site]) -> bool:
    site = sites.get(one.site)
    spec = None if site is None else site.series(one.station, one.quantity)
    return spec is not None and spec.stamp == EVENT


def _is_same_instant(before: Observation, one: Observation) -> bool:
    return before.observed_at == one.observed_at and before.solution == one.solution
