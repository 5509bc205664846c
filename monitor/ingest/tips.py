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
    if len(observations) < 2 or not any(observation.quantity == RAIN for observation in observations):
        return observations
    joined: list[Observation] = []
    newest: dict[tuple[str, str], int] = {}  # place in `joined` of the newest tip, by site and station
    for observation in observations:
        if observation.quantity == RAIN and _counts_tips(observation, sites):
            place = newest.get((observation.site, observation.station))
            previous = None if place is None else joined[place]
            if place is not None and previous is not None and _is_same_instant(previous, observation):
                flags = (*previous.flags, *(flag for flag in observation.flags if flag not in previous.flags))
                joined[place] = replace(previous, value=previous.value + observation.value, flags=flags)
                continue
            newest[observation.site, observation.station] = len(joined)
        joined.append(observation)
    return joined


def _counts_tips(observation: Observation, sites: Mapping[str, Site]) -> bool:
    site = sites.get(observation.site)
    spec = None if site is None else site.series(observation.station, observation.quantity)
    return spec is not None and spec.stamp == EVENT


def _is_same_instant(previous: Observation, observation: Observation) -> bool:
    return previous.observed_at == observation.observed_at and previous.solution == observation.solution
