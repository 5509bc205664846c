"""Cache the readings of a site between the evaluations of one thread."""

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime

from sqlalchemy import Connection

from monitor.decision.criteria.scope import find_load_start, find_span_s
from monitor.decision.prepared_site import PreparedSite
from monitor.decision.records import Memory
from monitor.decision.series.assessment import EvaluationCache
from monitor.readings.queries.fingerprints import StretchFingerprint, load_fingerprints, load_newer
from monitor.readings.queries.observations import load_readings, load_series
from monitor.readings.records import Reading
from monitor.sites.records import Site


@dataclass(frozen=True, slots=True)
class _CachedSeries:
    """The readings of one series after `from_at`, with the fingerprint of these rows in the database."""

    from_at: datetime
    readings: tuple[Reading, ...]
    fingerprint: StretchFingerprint

    @property
    def last_at(self) -> datetime:
        return self.readings[-1].observed_at if self.readings else self.from_at


class SiteReadingCache:
    """Cache readings, tracks and memory of one site between evaluations.

    A series is loaded again unless the fingerprint of its rows shows that only newer readings were added.

    Args:
        site: The site file. Another version needs another cache.

    Attributes:
        prepared: The site, and values derived from its file.
        decision: Tracks and sums that `decide` caches.
        was_used: Whether the latest call of `read` used cached readings.
    """

    def __init__(self, site: Site) -> None:
        self.site = site
        self.prepared = PreparedSite(site)
        self.decision = EvaluationCache()
        self.was_used = False
        self._spans_s = self.prepared.history_spans
        self._series: dict[int, _CachedSeries] = {}
        self._now: datetime | None = None
        self._memory = "", Memory()

    def clear(self) -> None:
        """Empty the cache, so that the next evaluation loads all readings."""
        self.decision = EvaluationCache()
        self._series = {}
        self._now = None
        self._memory = "", Memory()

    def save_memory(self, text: str, memory: Memory) -> None:
        """Cache the memory that was stored as this JSON text."""
        # Reading the stored text would return the memory in this order.
        self._memory = text, memory.sort_mappings()

    def read_memory(self, text: str) -> Memory:
        """Return the memory that was stored as a JSON text."""
        cached_text, memory = self._memory
        return memory if text == cached_text else Memory.read(json.loads(text))

    def count(self) -> int:
        """Return the number of cached readings and epochs of tracks. Each criterion has its own tracks."""
        readings = sum(len(series.readings) for series in self._series.values())
        return readings + sum(tracker.count() for tracker in self.decision.trackers.values())

    def read(self, connection: Connection, now: datetime) -> dict[str, tuple[Reading, ...]]:
        """Return the readings that a decision at `now` uses, as known at `now`, by `station.quantity`."""
        if self._now is not None and now < self._now:
            self.clear()
        self._now = now
        names: dict[int, str] = {}
        starts: dict[int, datetime] = {}
        for row in load_series(connection, self.site.id):
            span_s = find_span_s(self._spans_s, row.station, row.quantity)
            if span_s:
                names[row.id] = f"{row.station}.{row.quantity}"
                starts[row.id] = find_load_start(now, span_s)
        self._renew(connection, starts, now)
        return {name: self._series[series_id].readings for series_id, name in names.items()}

    def _renew(self, connection: Connection, starts: Mapping[int, datetime], now: datetime) -> None:
        """Extend the series whose cached readings are still valid, and load the others again.

        Args:
            starts: The time after which readings are used, by series.
        """
        cached = []
        for series_id, from_at in starts.items():
            series = self._series.get(series_id)
            if series is not None and series.from_at == from_at:
                cached.append((series_id, series.from_at, series.last_at))
        self.was_used = bool(cached)
        fingerprints = load_fingerprints(connection, cached, now)
        valid = [
            (series_id, last_at, fingerprint)
            for (series_id, _, last_at), fingerprint in zip(cached, fingerprints, strict=True)
            if fingerprint == self._series[series_id].fingerprint
        ]
        for series_id, (newer, fingerprint) in load_newer(connection, valid, now, now).items():
            series = self._series[series_id]
            self._series[series_id] = _CachedSeries(series.from_at, (*series.readings, *newer), fingerprint)
        valid_ids = {series_id for series_id, _, _ in valid}
        missing = [(series_id, from_at) for series_id, from_at in starts.items() if series_id not in valid_ids]
        self._load(connection, missing, now)

    def _load(self, connection: Connection, missing: Sequence[tuple[int, datetime]], now: datetime) -> None:
        loaded = {series_id: self._load_series(connection, series_id, from_at, now) for series_id, from_at in missing}
        stretches = [
            (series_id, from_at, loaded[series_id][-1].observed_at if loaded[series_id] else from_at)
            for series_id, from_at in missing
        ]
        fingerprints = load_fingerprints(connection, stretches, now)
        for (series_id, from_at), fingerprint in zip(missing, fingerprints, strict=True):
            self._series[series_id] = _CachedSeries(from_at, loaded[series_id], fingerprint)

    def _load_series(
        self, connection: Connection, series_id: int, from_at: datetime, now: datetime
    ) -> tuple[Reading, ...]:
        """Load a series. Unchanged readings remain the same objects, because trackers compare by identity."""
        readings = load_readings(connection, series_id, from_at, now, now)
        cached = self._series.get(series_id)
        before = {} if cached is None else {reading.observed_at: reading for reading in cached.readings}
        loaded = []
        for reading in readings:
            cached_reading = before.get(reading.observed_at)
            loaded.append(reading if cached_reading is None or cached_reading != reading else cached_reading)
        return tuple(loaded)
