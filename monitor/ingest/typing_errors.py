"""Flag readings that people typed and that look like typing errors. A flagged reading raises no level."""

import json
from bisect import bisect_left, bisect_right, insort
from collections.abc import Mapping, Sequence
from dataclasses import replace
from datetime import datetime
from operator import attrgetter
from typing import Final

from sqlalchemy import Connection

from detection.anomaly.certain.typing_errors import KNOWN, NEIGHBOUR, TypingMistake, find_slip
from monitor.canonical import canonical_json
from monitor.readings.queries.flags import MISTYPED, TypedReading, load_typed
from monitor.readings.queries.observations import load_series
from monitor.readings.records import Observation
from monitor.sites.records import Site
from monitor.text.message import Figure, Message, Template, Term

# Earlier readings that are loaded. Some of them may be flagged themselves.
READ_BEFORE: Final = KNOWN + 10
# Newest different values of each neighbouring marker, and the readings among which they are searched.
NEIGHBOURS: Final = 2
NEIGHBOUR_READINGS: Final = 6
# Relative difference of equal numbers after a conversion of units.
SAME: Final = 1e-9

_SLIP: Final = Template("typed.error", "{typed} for {meant}: {how}")
_VALUE_OF: Final = Template("slip.neighbour", "the value of {station}")

Key = tuple[str, str, str]  # site, station, quantity


class TypingErrors:
    """Finds typing errors in series that people read.

    Args:
        sites: Site files, by id. They declare which series people read.
    """

    def __init__(self, sites: Mapping[str, Site]) -> None:
        self._sites = sites
        self._declared = {
            site.id: [spec for station in site.stations for spec in station.series if spec.by_hand]
            for site in sites.values()
        }
        self._has_series = any(self._declared.values())
        self._ids: dict[Key, int] = {}

    def flag(self, c: Connection, observations: Sequence[Observation]) -> Sequence[Observation]:
        """Return the observations in the same order. Typing errors get a flag and a description.

        A value with the solution `corrected` gets no flag, because a person has confirmed it. A value that repeats a
        flagged value gets none either: the two values confirm each other.
        """
        if not self._has_series:
            return observations
        typed = [n for n, item in enumerate(observations) if self._is_typed(item)]
        if not typed:
            return observations
        flagged = list(observations)
        loaded: dict[Key, list[TypedReading]] = {}
        for n in sorted(typed, key=lambda n: observations[n].observed_at):
            item = observations[n]
            mistake = None if item.solution == "corrected" else self._find_mistake(c, item, loaded, observations)
            if mistake is not None:
                extra = json.loads(item.extra) if item.extra else {}
                extra[MISTYPED] = describe_slip(mistake, item.unit)
                flagged[n] = replace(item, flags=(*item.flags, MISTYPED), extra=canonical_json(extra))
            readings = self._load(c, _key(item), loaded, observations)
            readings[:] = [reading for reading in readings if reading.at != item.observed_at]
            insort(readings, TypedReading(item.observed_at, item.value, mistake is not None), key=attrgetter("at"))
        return flagged

    def explain(self, c: Connection, item: Observation) -> Message | None:
        """Return which typing error a reading that is not stored yet may contain, or None."""
        mistake = self._find_mistake(c, item, {}, [item])
        return None if mistake is None else describe_slip(mistake, item.unit)

    def _is_typed(self, item: Observation) -> bool:
        site = self._sites.get(item.site) if self._declared.get(item.site) else None
        spec = None if site is None else site.series(item.station, item.quantity)
        return spec is not None and spec.by_hand

    def _find_mistake(
        self, c: Connection, item: Observation, loaded: dict[Key, list[TypedReading]], batch: Sequence[Observation]
    ) -> TypingMistake | None:
        at = item.observed_at
        readings = self._load(c, _key(item), loaded, batch)
        end = bisect_left(readings, at, key=attrgetter("at"))
        earlier = readings[max(0, end - READ_BEFORE) : end]
        if earlier and earlier[-1].is_mistyped and abs(earlier[-1].value - item.value) <= SAME * abs(item.value):
            return None
        neighbours: dict[str, list[float]] = {}
        for spec in self._declared.get(item.site, ()):
            has_quantity = item.quantity == spec.quantity or item.quantity.startswith(f"{spec.quantity}_")
            if spec.station != item.station and has_quantity:
                neighbour = self._load(c, (item.site, spec.station, item.quantity), loaded, batch)
                neighbours[spec.station] = _list_newest_values(neighbour, at)
        return find_slip(item.value, [reading.value for reading in earlier if not reading.is_mistyped], neighbours)

    def _load(
        self, c: Connection, key: Key, loaded: dict[Key, list[TypedReading]], batch: Sequence[Observation]
    ) -> list[TypedReading]:
        """Return the stored readings of a series around the times of a batch, oldest first."""
        if key not in loaded:
            if key not in self._ids:
                self._ids |= {(row.site, row.station, row.quantity): row.id for row in load_series(c, key[0])}
            times = [item.observed_at for item in batch if item.site == key[0]]
            series_id = self._ids.get(key)
            loaded[key] = [] if series_id is None else load_typed(c, series_id, min(times), max(times), READ_BEFORE)
        return loaded[key]


def _list_newest_values(readings: Sequence[TypedReading], at: datetime) -> list[float]:
    """Return the newest different values of a series until an instant, newest first."""
    end = bisect_right(readings, at, key=attrgetter("at"))
    recent = readings[max(0, end - NEIGHBOUR_READINGS) : end]
    newest_first = [reading.value for reading in reversed(recent) if not reading.is_mistyped]
    return list(dict.fromkeys(newest_first))[:NEIGHBOURS]


def describe_slip(slip: TypingMistake, unit: str) -> Message:
    """Return which value was typed for which other value, and how the error happened.

    >>> describe_slip(TypingMistake("point", 1203.0, 120.3, "decimal point or unit"), "mm")
    '1203 for 120.3 mm: decimal point or unit'
    """
    how = _VALUE_OF(station=slip.detail) if slip.kind == NEIGHBOUR else Term(slip.detail)
    return _SLIP(typed=Figure(slip.typed, ".10g"), meant=Figure(slip.meant, ".10g", unit), how=how)


def _key(item: Observation) -> Key:
    return item.site, item.station, item.quantity
