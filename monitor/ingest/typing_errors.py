"""Readings that people typed: one that looks like a typing error is stored with a flag, and votes for nothing."""

import json
from bisect import bisect_left, bisect_right, insort
from collections.abc import Mapping, Sequence
from dataclasses import replace
from operator import attrgetter
from typing import Final

from sqlalchemy import Connection

from detection.anomaly.certain.typing_errors import KNOWN, NEIGHBOUR, TypingMistake, find_slip
from monitor.canonical import canonical_json
from monitor.readings.queries.flags import MISTYPED, TypedReading, load_typed
from monitor.readings.queries.observations import load_series
from monitor.readings.records import Observation
from monitor.sites.records import SeriesSpec, Site
from monitor.text.message import Figure, Message, Template, Term

READ_BEFORE: Final = KNOWN + 10  # mistyped ones among them
NEIGHBOURS: Final = 2  # newest different values of each marker beside
NEIGHBOUR_READINGS: Final = 6  # readings of it, among which they are looked for
SAME: Final = 1e-9  # of a value: how far the same number lies apart after its unit was changed

_SLIP: Final = Template("typed.error", "{typed} for {meant}: {how}")
_VALUE_OF: Final = Template("slip.neighbour", "the value of {station}")

Key = tuple[str, str, str]  # site, station, quantity


class TypingErrors:
    """Which series people read, and what is wrong with what they typed."""

    def __init__(self, sites: Mapping[str, Site]) -> None:
        self._sites = sites
        self._declared = {
            site.id: [spec for station in site.stations for spec in station.series if spec.by_hand]
            for site in sites.values()
        }
        self._is_any = any(self._declared.values())
        self._ids: dict[Key, int] = {}

    def flag(self, c: Connection, observations: Sequence[Observation]) -> Sequence[Observation]:
        """The same observations in the same order; those that look like typing errors bear a flag and say why.

        What somebody sends as corrected is not judged: a person stands behind it. Nor is a value that says again what
        the one before it said, even where that looked wrong: the two confirm each other.
        """
        if not self._is_any:
            return observations
        mine = [n for n, o in enumerate(observations) if (spec := self._find(o)) is not None and spec.by_hand]
        if not mine:
            return observations
        out, known = list(observations), dict[Key, list[TypedReading]]()
        for n in sorted(mine, key=lambda n: observations[n].observed_at):
            item = observations[n]
            slip = None if item.solution == "corrected" else self._find_slip(c, item, known, observations)
            if slip is not None:
                extra = {**(json.loads(item.extra) if item.extra else {}), MISTYPED: describe_slip(slip, item.unit)}
                out[n] = replace(item, flags=(*item.flags, MISTYPED), extra=canonical_json(extra))
            row = self._load(c, _key(item), known, observations)
            row[:] = [t for t in row if t.at != item.observed_at]
            insort(row, TypedReading(item.observed_at, item.value, slip is not None), key=attrgetter("at"))
        return out

    def explain(self, c: Connection, item: Observation) -> Message | None:
        """Which slip explains a reading that is not stored yet; None where none does."""
        slip = self._find_slip(c, item, {}, [item])
        return None if slip is None else describe_slip(slip, item.unit)

    def _find(self, item: Observation) -> SeriesSpec | None:
        site = self._sites.get(item.site) if self._declared.get(item.site) else None
        return None if site is None else site.series(item.station, item.quantity)

    def _find_slip(
        self, c: Connection, item: Observation, known: dict[Key, list[TypedReading]], batch: Sequence[Observation]
    ) -> TypingMistake | None:
        at = item.observed_at
        row = self._load(c, _key(item), known, batch)
        end = bisect_left(row, at, key=attrgetter("at"))
        earlier = row[max(0, end - READ_BEFORE) : end]
        if earlier and earlier[-1].is_mistyped and abs(earlier[-1].value - item.value) <= SAME * abs(item.value):
            return None
        others = {}
        for spec in self._declared.get(item.site, ()):
            if spec.station == item.station or not (
                item.quantity == spec.quantity or item.quantity.startswith(f"{spec.quantity}_")
            ):
                continue
            neighbours = self._load(c, (item.site, spec.station, item.quantity), known, batch)
            end = bisect_right(neighbours, at, key=attrgetter("at"))
            newest = [t.value for t in neighbours[max(0, end - NEIGHBOUR_READINGS) : end] if not t.is_mistyped]
            others[spec.station] = list(dict.fromkeys(reversed(newest)))[:NEIGHBOURS]
        return find_slip(item.value, [t.value for t in earlier if not t.is_mistyped], others)

    def _load(
        self, c: Connection, key: Key, known: dict[Key, list[TypedReading]], batch: Sequence[Observation]
    ) -> list[TypedReading]:
        if key not in known:
            if key not in self._ids:
                self._ids |= {(row.site, row.station, row.quantity): row.id for row in load_series(c, key[0])}
            at = [o.observed_at for o in batch if o.site == key[0]]
            series_id = self._ids.get(key)
            known[key] = [] if series_id is None else load_typed(c, series_id, min(at), max(at), READ_BEFORE)
        return known[key]


def describe_slip(slip: TypingMistake, unit: str) -> Message:
    """What was typed for what, and how.

    >>> describe_slip(TypingMistake("point", 1203.0, 120.3, "decimal point or unit"), "mm")
    '1203 for 120.3 mm: decimal point or unit'
    """
    how = _VALUE_OF(station=slip.detail) if slip.kind == NEIGHBOUR else Term(slip.detail)
    return _SLIP(typed=Figure(slip.typed, ".10g"), meant=Figure(slip.meant, ".10g", unit), how=how)


def _key(item: Observation) -> Key:
    return item.site, item.station, item.quantity
