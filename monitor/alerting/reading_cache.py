"""What the evaluations of a site leave in memory for the next one: it saves reading and reckoning and changes nothing.

The readings of a view are a function of the database and the instant. What is held is shown only while the database
says that nothing else became known of that stretch; what came behind it is read, all else makes it be read anew.
"""

import json
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime

from sqlalchemy import Connection

from monitor.decision.criteria.scope import anchor_at, find_span_s, wanted_series
from monitor.decision.series.assessment import EvaluationCache
from monitor.domain.decision import Memory
from monitor.domain.observation import Reading
from monitor.domain.site import Site
from monitor.store.readings.observations import load_readings, load_series
from monitor.store.readings.reading_stamps import Stamp, load_newer, load_stamps


@dataclass(frozen=True, slots=True)
class _Held:
    """Readings of one series after `from_at`, all up to the instant of the last look, and what the database said."""

    from_at: datetime
    readings: tuple[Reading, ...]
    stamp: Stamp

    @property
    def last_at(self) -> datetime:
        return self.readings[-1].observed_at if self.readings else self.from_at


class SiteReadingCache:
    """Readings of one site, held between the evaluations of one thread.

    Attributes:
        site: The declaration; another one needs another memory.
        warm: What `decide` may reuse.
        is_warm: The newest look found readings that were held.
    """

    def __init__(self, site: Site) -> None:
        self.site = site
        self.warm = EvaluationCache()
        self._spans = wanted_series(site)
        self._held: dict[int, _Held] = {}
        self._now: datetime | None = None
        self._memory = "", Memory()
        self.is_warm = False

    def forget(self) -> None:
        """Begin anew: the next look reads everything."""
        self.warm, self._held, self._now, self._memory = EvaluationCache(), {}, None, ("", Memory())

    def note(self, text: str, memory: Memory) -> None:
        """Hold the memory that was stored with its text."""
        self._memory = text, memory.in_order()  # as it comes back

    def recall(self, text: str) -> Memory:
        """The memory that a stored text spells."""
        known, memory = self._memory
        return memory if text == known else Memory.read(json.loads(text))

    def count(self) -> int:
        """Readings held, and with them the epochs of tracks, of which each criterion has its own."""
        return sum(len(h.readings) for h in self._held.values()) + sum(t.count() for t in self.warm.trackers.values())

    def read(self, c: Connection, now: datetime) -> dict[str, tuple[Reading, ...]]:
        """Readings that a decision at `now` may see, by `station.quantity`, as they are known at `now`."""
        if self._now is not None and now < self._now:
            self.forget()
        self._now = now
        wanted = [
            (row.id, f"{row.station}.{row.quantity}", anchor_at(now, span_s))
            for row in load_series(c, self.site.id)
            if (span_s := find_span_s(self._spans, row.station, row.quantity))
        ]
        self._renew(c, [(series_id, from_at) for series_id, _, from_at in wanted], now)
        return {key: self._held[series_id].readings for series_id, key, _ in wanted}

    def _renew(self, c: Connection, wanted: Sequence[tuple[int, datetime]], now: datetime) -> None:
        known = [
            (i, held.from_at, held.last_at)
            for i, from_at in wanted
            if (held := self._held.get(i)) is not None and held.from_at == from_at
        ]
        self.is_warm = bool(known)
        stamps = load_stamps(c, known, now)
        sound = [(i, last_at, s) for (i, _, last_at), s in zip(known, stamps, strict=True) if s == self._held[i].stamp]
        for series_id, (newer, stamp) in load_newer(c, sound, now, now).items():
            held = self._held[series_id]
            self._held[series_id] = _Held(held.from_at, (*held.readings, *newer), stamp)
        kept = {i for i, _, _ in sound}
        anew = [(i, from_at) for i, from_at in wanted if i not in kept]
        fresh = {i: self._read_anew(c, i, from_at, now) for i, from_at in anew}
        ends = [(i, at, found[-1].observed_at if (found := fresh[i]) else at) for i, at in anew]
        for (series_id, from_at, _), stamp in zip(ends, load_stamps(c, ends, now), strict=True):
            self._held[series_id] = _Held(from_at, fresh[series_id], stamp)

    def _read_anew(self, c: Connection, series_id: int, from_at: datetime, now: datetime) -> tuple[Reading, ...]:
        """All readings of a stretch; those that are as they were stay the same objects."""
        found = load_readings(c, series_id, from_at, now, now)
        held = self._held.get(series_id)
        before = {} if held is None else {r.observed_at: r for r in held.readings}
        return tuple(old if (old := before.get(r.observed_at)) == r else r for r in found)
