"""The past of a site on a simulated clock: the inputs of a decision at each time, in bounded memory."""

import heapq
from bisect import bisect_left, bisect_right, insort
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field, replace
from datetime import datetime, timedelta
from functools import lru_cache
from itertools import chain, count
from math import inf
from typing import Any, Final

from sqlalchemy import Connection

from monitor.alerts.evaluate import load_facts
from monitor.alerts.replay import queries as history
from monitor.alerts.replay.failure_windows import list_window_spans
from monitor.decision.criteria.scope import find_history_spans, find_load_start, find_longest_reach_s, find_span_s
from monitor.decision.records import DecisionInputs, NewestEpoch, ProofFact
from monitor.errors import RefusedError
from monitor.readings.queries.observations import SeriesRow, as_signed, change_flags, load_series, rank
from monitor.readings.records import UNSIGNED, Reading
from monitor.sites.records import SeriesSpec, Site
from monitor.text.instants import FUTURE_TOLERANCE, epoch_s, format_iso, from_epoch_s

_EARLY_S: Final = FUTURE_TOLERANCE.total_seconds()
# Tuples of readings that are cached per series: one for decisions, and those for failure windows.
MAX_CACHED_TUPLES: Final = 3
# Old epochs are removed at most once in this time.
TRIM_INTERVAL_S: Final = 3600.0
MODES: Final = ("auto", "received", "observed")
# Least bound of the mode `auto`, see `VisibilityRule`.
SHORTEST_BOUND_S: Final = 86400.0
# Readings that were received within this time after an imported reading belong to the same import. So the end of a
# record that was imported on its last day does not count as live.
SAME_IMPORT_S: Final = 600.0


@dataclass(frozen=True, slots=True)
class VisibilityRule:
    """The rule that determines from when a replay uses a stored row.

    Attributes:
        mode: `received` uses the stored time of reception, and `observed` the epoch plus `latency_s`. `auto` uses the
            time of reception, unless it is more than the bound after the epoch. Then the row was imported later, and
            its epoch plus `latency_s` counts.
        latency_s: Time that a live reading needs to arrive.
        bound_s: The bound of `auto`. None uses the silence that the series allows, at least a day.
    """

    mode: str = "auto"
    latency_s: float = 0.0
    bound_s: float | None = None

    def __post_init__(self) -> None:
        if self.mode not in MODES:
            raise RefusedError(f"--known {self.mode!r}: expected one of: {', '.join(MODES)}")

    def instant_s(self, observed_s: float, received_s: float, bound_s: float) -> tuple[float, bool]:
        """Return from when a row was known, never before its epoch, and whether that is its stored reception.

        >>> VisibilityRule("auto").instant_s(0.0, 600.0, 1e4), VisibilityRule("auto", 60.0).instant_s(0.0, 1e8, 1e4)
        ((600.0, True), (60.0, False))
        """
        if received_s - observed_s <= bound_s:
            return max(received_s, observed_s), True
        return observed_s + self.latency_s, False

    def find_bound(self, spec: SeriesSpec | None) -> float:
        """Return how long after its epoch a reading can be received to count as live, in seconds."""
        if self.mode != "auto":
            return inf if self.mode == "received" else -inf
        if self.bound_s is not None:
            return self.bound_s
        return max(SHORTEST_BOUND_S, spec.max_silence_s if spec is not None else 0.0)


# Not frozen, because each row of the past becomes one, and a frozen object takes twice as long to make.
@dataclass(slots=True)
class StoredRevision:
    """A revision of a reading with the times that count in the replay.

    Attributes:
        known_s: From when the replay knows it; not before its epoch.
        received_s: `known_at` in epoch seconds. It is before `known_s` if the clock of the instrument is ahead.
    """

    observed_s: float
    known_s: float
    observed_at: datetime
    known_at: datetime
    received_s: float
    revision: int
    value: float
    sigma: float | None
    solution: str | None
    flags: tuple[str, ...]
    extra: str | None


@dataclass(slots=True)
class _SeriesWindow:
    """The epochs of one series that decisions still use, oldest first, with their offsets and flags.

    Attributes:
        readings: The reading of each epoch; None if the epoch only has corrections that are not signed.
        cached: Tuples of readings, by the index of their first epoch.
        changes: Times at which offsets or flags change, in the future of the clock.
        change_count: Number of changes that have passed.
        active_offsets: Epoch and size of the offsets that count now.
        later_flags: Flags that were added later and are known now, by epoch and revision.
    """

    row: SeriesRow
    offsets: Sequence[history.OffsetSpan]
    flags: Sequence[history.FlagSpan]
    times: list[float] = field(default_factory=list)
    revisions: list[list[StoredRevision]] = field(default_factory=list)
    readings: list[Reading | None] = field(default_factory=list)
    cached: dict[int, tuple[Reading, ...]] = field(default_factory=dict)
    changes: list[float] = field(default_factory=list)
    change_count: int = 0
    active_offsets: list[tuple[float, float]] = field(default_factory=list)
    later_flags: dict[tuple[float, int], list[str]] = field(default_factory=dict)
    name: str = ""

    def __post_init__(self) -> None:
        self.name = f"{self.row.station}.{self.row.quantity}"
        changes = {epoch_s(offset.counts_from) for offset in self.offsets}
        changes |= {epoch_s(offset.revoked_at) for offset in self.offsets if offset.revoked_at is not None}
        changes |= {epoch_s(flag.known_from) for flag in self.flags}
        self.changes = sorted(changes)

    def apply_changes(self, now_s: float) -> None:
        """Apply the offsets and flags that are known at `now_s`."""
        if not self.changes or self.changes[0] > now_s:
            return
        while self.changes and self.changes[0] <= now_s:
            self.changes.pop(0)
            self.change_count += 1
        now = from_epoch_s(now_s)
        self.active_offsets = [
            (epoch_s(offset.at), offset.size)
            for offset in self.offsets
            if offset.counts_from <= now and (offset.revoked_at is None or offset.revoked_at > now)
        ]
        self.later_flags = {}
        for flag in self.flags:
            if flag.known_from <= now:
                self.later_flags.setdefault((epoch_s(flag.observed_at), flag.revision), []).append(flag.flag)
        self.readings = [self._read(revisions) for revisions in self.revisions]
        self.cached.clear()

    def add(self, stored: StoredRevision) -> None:
        """Add a revision that has just become known."""
        if not self.times or stored.observed_s > self.times[-1]:
            self.times.append(stored.observed_s)
            self.revisions.append([stored])
            self.readings.append(self._read([stored]))
        else:
            index = bisect_left(self.times, stored.observed_s)
            if self.times[index] == stored.observed_s:
                insort(self.revisions[index], stored, key=lambda revision: revision.revision)
                self.readings[index] = self._read(self.revisions[index])
            else:
                self.times.insert(index, stored.observed_s)
                self.revisions.insert(index, [stored])
                self.readings.insert(index, self._read([stored]))
        self.cached.clear()

    def trim(self, edge_s: float) -> None:
        """Remove the epochs at or before an instant."""
        if self.times and self.times[0] <= edge_s:
            index = bisect_right(self.times, edge_s)
            del self.times[:index]
            del self.revisions[:index]
            del self.readings[:index]
            self.cached.clear()

    def list_readings(self, edge_s: float) -> tuple[Reading, ...]:
        """Return the readings after an instant; the same tuple as long as none of them changes."""
        index = bisect_right(self.times, edge_s)
        if index not in self.cached:
            if len(self.cached) >= MAX_CACHED_TUPLES:
                self.cached.clear()
            self.cached[index] = tuple(reading for reading in self.readings[index:] if reading is not None)
        return self.cached[index]

    def list_unsigned(self, edge_s: float) -> tuple[Reading, ...]:
        """Return the corrections after an instant that would count if two people had signed them."""
        unsigned: list[Reading] = []
        for index in range(bisect_right(self.times, edge_s), len(self.times)):
            revisions = self.revisions[index]
            if any(UNSIGNED in stored.flags for stored in revisions):
                counting, if_signed = self.readings[index], as_signed(self._choose(revisions))
                if counting is None or counting.revision != if_signed.revision:
                    unsigned.append(if_signed)
        return tuple(unsigned)

    def _read(self, revisions: Sequence[StoredRevision]) -> Reading | None:
        if any(UNSIGNED in stored.flags for stored in revisions):
            revisions = [stored for stored in revisions if UNSIGNED not in self._list_flags(stored)]
        return self._choose(revisions) if revisions else None

    def _choose(self, revisions: Sequence[StoredRevision]) -> Reading:
        """Return the reading of the revision with the highest solution, with the first revision as `first`."""
        stored = first = revisions[0]
        if len(revisions) == 1:
            return self._make_reading(stored, self._offset_at(stored.observed_s))
        for other in revisions[1:]:
            if rank(other.solution) >= rank(stored.solution):
                stored = other
            if rank(other.solution) < rank(first.solution) == rank("corrected"):
                first = other
        offset = self._offset_at(stored.observed_s)
        reading = self._make_reading(stored, offset)
        first_reading = self._make_reading(first, offset)
        if _get_content(first_reading) == _get_content(reading):
            return reading
        return replace(reading, first=first_reading)

    def _offset_at(self, observed_s: float) -> float:
        total = 0.0
        for at_s, size in self.active_offsets:
            if at_s <= observed_s:
                total += size
        return total

    def _list_flags(self, stored: StoredRevision) -> tuple[str, ...]:
        if not self.later_flags:
            return stored.flags
        return change_flags(stored.flags, self.later_flags.get((stored.observed_s, stored.revision), ()))

    def _make_reading(self, stored: StoredRevision, offset: float) -> Reading:
        return Reading(
            stored.observed_at,
            stored.known_at,
            stored.revision,
            stored.value,
            offset,
            stored.value - offset,
            stored.sigma,
            self._list_flags(stored),
            stored.extra,
        )


def _get_content(reading: Reading) -> tuple[object, ...]:
    return reading.value_raw, reading.sigma, reading.flags, reading.extra


class History:
    """Everything that is known of a site at the time of a simulated clock.

    Rows are loaded in order of epoch, and wait in a heap until the replay knows them. A row that became known after it
    had left all windows only counts as the newest epoch of its series.

    Args:
        sites: Every site file that the replay will use. The windows are wide enough for all of them.
        proofs: The valid proofs. If empty, no criterion needs a proof. None uses those stored at each time.
        stored_windows: Whether to use the failure windows that the service stored. If not, they are left out, because
            `monitor.alerts.replay.failure_windows` computes them.
    """

    def __init__(
        self,
        connection: Connection,
        sites: Sequence[Site],
        from_at: datetime,
        to_at: datetime,
        known: VisibilityRule,
        *,
        proofs: Sequence[ProofFact] | None = None,
        stored_windows: bool = False,
    ) -> None:
        self._proofs = proofs
        self.stored_windows = stored_windows
        self._connection = connection
        self._visibility = known
        self._from_s = epoch_s(from_at)
        self._to_s = epoch_s(to_at)
        self._site = sites[0]
        spans: dict[tuple[str, str], float] = {}
        for site in sites:
            computed = {} if stored_windows else list_window_spans(site)
            for spans_of_site in (find_history_spans(site), computed):
                for key, span_s in spans_of_site.items():
                    spans[key] = max(spans.get(key, 0.0), span_s)
        self._windows: list[_SeriesWindow] = []
        # History of each series in seconds; 0 if only its newest epoch is used.
        self._reaches_s: list[float] = []
        self.rows = 0
        self.by_reception = 0
        streams = []
        for index, stored_row in enumerate(load_series(connection, self._site.id)):
            # The newest file may rename stations and may not be in force yet.
            row = replace(stored_row, station=sites[-1].find_current_id(stored_row.station))
            span_s = find_span_s(spans, row.station, row.quantity)
            self._windows.append(
                _SeriesWindow(
                    row, history.load_past_offsets(connection, row), history.load_past_flags(connection, row.id)
                )
            )
            self._reaches_s.append(find_longest_reach_s(span_s))
            # Before the first decision: the span of the windows, and the newest epoch, however old.
            since = from_at - timedelta(seconds=self._reaches_s[-1])
            old = history.find_newest_before(connection, row.id, since)
            rows = history.read_rows(connection, row.id, since, to_at)
            streams.append(self._stream(index, row, rows if old is None else chain([old], rows)))
        self._by_name = {window.name: window for window in self._windows}
        self._merged = heapq.merge(*streams)
        self._head = next(self._merged, None)
        self._waiting: list[tuple[float, int, int, StoredRevision | None]] = []
        # The newest of the rows that became known after they had left all windows, by series and time.
        self._aged: dict[tuple[int, float], StoredRevision] = {}
        self._used_windows: dict[str, list[tuple[str, float, _SeriesWindow]]] = {}
        self._order = count()
        self._newest: dict[int, StoredRevision] = {}
        self._newest_view: dict[str, NewestEpoch] = {}
        self._trimmed_s = -inf
        self.news = [epoch_s(at) for at in history.load_news_instants(connection, self._site.id, from_at, to_at)]
        # By version of the site file, whether the last decision had no inputs besides readings.
        self._has_only_readings: dict[str, bool] = {}
        self.now_s = -inf

    def _stream(
        self, index: int, row: SeriesRow, rows: Iterator[history.PastRow]
    ) -> Iterator[tuple[float, int, int, StoredRevision]]:
        """Yield epoch, series, revision and row of each revision."""
        bound_s = self._visibility.find_bound(self._site.series(row.station, row.quantity))
        of_file: dict[tuple[str, int], list[str]] = {}
        for span in self._windows[index].flags:
            if span.of_file:
                of_file.setdefault((format_iso(span.observed_at), span.revision), []).append(span.flag)
        # Epoch, reception and known time of the first revision of the current epoch.
        first = (-inf, -inf, -inf)
        is_reception = False
        # Reception of the newest row that counts as imported.
        import_s = -inf
        for observed, received, revision, value, sigma, solution, flags, extra in rows:
            (observed_at, observed_s), (received_at, received_s) = _read_instant(observed), _read_instant(received)
            if first[0] != observed_s:
                is_imported = self._visibility.mode == "auto" and abs(received_s - import_s) <= SAME_IMPORT_S
                known_s, is_reception = self._visibility.instant_s(
                    observed_s, received_s, -inf if is_imported else bound_s
                )
                if not is_reception and not is_imported:
                    import_s = received_s
                first = (observed_s, received_s, known_s)
            elif self._visibility.mode == "observed" or not is_reception:
                # A correction keeps its distance from the first revision of its epoch.
                known_s = first[2] + max(0.0, received_s - first[1])
                is_reception = False
            else:
                known_s = max(received_s, observed_s)
            if known_s > self._to_s:
                continue
            # Earlier rows are loaded, but not replayed.
            if known_s >= self._from_s:
                self.rows += 1
                self.by_reception += is_reception
            known_at = received_at if is_reception else from_epoch_s(known_s)
            flagged = tuple(f for f in flags.split(",") if f) if flags else ()
            if not is_reception:
                # The flags of the site file count from the start for imported rows.
                flagged = change_flags(flagged, of_file.get((observed, revision), ()))
            yield (
                observed_s,
                index,
                revision,
                StoredRevision(
                    observed_s,
                    known_s,
                    observed_at,
                    known_at,
                    received_s if is_reception else epoch_s(known_at),
                    revision,
                    value,
                    sigma,
                    solution,
                    flagged,
                    extra,
                ),
            )

    # ---- the clock -----------------------------------------------------------------------------------------------
    def next_arrival_s(self) -> float:
        """Return the next time at which a row becomes known; infinity if there is none."""
        # No row is received long before its epoch, so the first waiting row is next once the stream has passed it.
        while self._head is not None and (not self._waiting or self._head[0] - _EARLY_S <= self._waiting[0][0]):
            self._take_next_row()
        return self._waiting[0][0] if self._waiting else inf

    def last_arrival_s(self, first_s: float, limit_s: float) -> float:
        """Return the last arrival from `first_s` up to a limit; `first_s` if none follows it."""
        if limit_s <= first_s:
            return first_s
        while self._head is not None and self._head[0] - _EARLY_S <= limit_s:
            self._take_next_row()
        return max([row[0] for row in self._waiting if first_s < row[0] <= limit_s], default=first_s)

    @property
    def waiting(self) -> int:
        """Number of rows that are loaded and not known yet."""
        return len(self._waiting)

    def next_news_s(self) -> float:
        """Return the next time at which an input besides readings became known; infinity if there is none."""
        return self.news[0] if self.news else inf

    def move(self, now_s: float) -> None:
        """Set the clock."""
        while self._head is not None and self._head[0] - _EARLY_S <= now_s:
            self._take_next_row()
        while self._waiting and self._waiting[0][0] <= now_s:
            at_s, _, index, waiting = heapq.heappop(self._waiting)
            stored = waiting or self._aged.pop((index, at_s))
            self._update_newest(index, stored)
            if at_s >= stored.known_s and stored.observed_s > now_s - self._reaches_s[index]:
                self._windows[index].add(stored)
        while self.news and self.news[0] <= now_s:
            self.news.pop(0)
            self._has_only_readings.clear()
        for window in self._windows:
            window.apply_changes(now_s)
        if now_s - self._trimmed_s >= TRIM_INTERVAL_S:
            self._trimmed_s = now_s
            for window, span_s in zip(self._windows, self._reaches_s, strict=True):
                window.trim(now_s - span_s)
        self.now_s = now_s

    def _take_next_row(self) -> None:
        assert self._head is not None
        _, index, _, stored = self._head
        self._head = next(self._merged, None)
        aged = stored.known_s - stored.observed_s >= self._reaches_s[index]
        if aged:
            key = (index, stored.known_s)
            before = self._aged.get(key)
            if before is None or ("future" not in stored.flags and _weight(stored) >= _weight(before)):
                self._aged[key] = stored
            if before is not None:
                return
        waiting = None if aged else stored
        if stored.known_s <= stored.observed_s:
            # The row was received before its epoch, because the clock of the instrument is a little ahead.
            received_s = stored.received_s
            if received_s < stored.known_s <= received_s + _EARLY_S and "future" not in stored.flags:
                heapq.heappush(self._waiting, (received_s, next(self._order), index, stored))
        heapq.heappush(self._waiting, (stored.known_s, next(self._order), index, waiting))

    def _update_newest(self, index: int, stored: StoredRevision) -> None:
        if "future" in stored.flags:
            return
        best = self._newest.get(index)
        if best is None or stored.observed_s > best.observed_s or _weight(stored) >= _weight(best):
            self._newest[index] = stored
            name, received_s = self._windows[index].name, stored.received_s
            is_new = name not in self._newest_view
            self._newest_view[name] = NewestEpoch(min(stored.observed_s, received_s), received_s, stored.flags)
            if is_new:
                self._newest_view = dict(sorted(self._newest_view.items()))

    # ---- readings for failure windows ----------------------------------------------------------------------------
    def list_known_series(self) -> dict[str, dict[str, int]]:
        """Return the ids of the series of which a reading is known now, by station and quantity."""
        ids: dict[str, dict[str, int]] = {}
        for index in sorted(self._newest):
            row = self._windows[index].row
            ids.setdefault(row.station, {})[row.quantity] = row.id
        return ids

    def find_newest_s(self, names: Iterable[str]) -> float | None:
        """Return the newest epoch that is known now of several series (`STATION.quantity`); None if there is none."""
        epochs_s = [self._newest_view[name].observed_s for name in names if name in self._newest_view]
        return max(epochs_s, default=None)

    def read(self, names: Iterable[str], span_s: float) -> dict[str, tuple[Reading, ...]]:
        """Return the readings of series (`STATION.quantity`) over at least a span, as they are known now."""
        edge_s = epoch_s(find_load_start(from_epoch_s(self.now_s), span_s))
        return {name: self._by_name[name].list_readings(edge_s) for name in names if name in self._by_name}

    def count_changes(self, names: Iterable[str]) -> int:
        """Return how many offsets and flags of several series have become known or were revoked."""
        return sum(self._by_name[name].change_count for name in names if name in self._by_name)

    # ---- inputs --------------------------------------------------------------------------------------------------
    def find_inputs(self, site: Site) -> DecisionInputs:
        """Return the inputs of a decision under a site file now."""
        used_windows = self._used_windows.get(site.version)
        if used_windows is None:
            spans = find_history_spans(site)
            used_windows = []
            for window in self._windows:
                span_s = find_span_s(spans, window.row.station, window.row.quantity)
                if span_s > 0.0:
                    used_windows.append((window.name, span_s, window))
            self._used_windows[site.version] = used_windows
        now = from_epoch_s(self.now_s)
        edges_s = {
            span_s: epoch_s(find_load_start(now, span_s)) for span_s in {span_s for _, span_s, _ in used_windows}
        }
        readings = {name: window.list_readings(edges_s[span_s]) for name, span_s, window in used_windows}
        unsigned = {}
        for name, span_s, window in used_windows:
            rows = window.list_unsigned(edges_s[span_s])
            if rows:
                unsigned[name] = rows
        return DecisionInputs(readings, dict(self._newest_view), unsigned, **self._load_facts(site, now))

    def _load_facts(self, site: Site, now: datetime) -> dict[str, Any]:
        """Return the inputs besides readings. Empty inputs are loaded again only after something became known."""
        if self._has_only_readings.get(site.version, False):
            return {}
        facts = load_facts(
            self._connection, site, now, as_reported=self._visibility.mode != "received", proofs=self._proofs
        )
        if not self.stored_windows:
            facts["failures"] = ()
        self._has_only_readings[site.version] = not any(facts.values())
        return facts


@lru_cache(maxsize=1024)
def _read_instant(text: str) -> tuple[datetime, float]:
    at = datetime.fromisoformat(text)
    return at, epoch_s(at)


def _weight(stored: StoredRevision) -> tuple[float, int, int]:
    return stored.observed_s, rank(stored.solution), stored.revision
