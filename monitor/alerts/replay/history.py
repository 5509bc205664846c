"""The past of a site on a simulated clock: the inputs of a decision at each instant, in bounded memory."""

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
SHOWN_MOST: Final = 3  # spans of a series that are kept: those of the view and of the failure windows
KEEP_S: Final = 3600.0  # windows are cut at most once in this time
MODES: Final = ("auto", "received", "observed")
SHORTEST_BOUND_S: Final = 86400.0
# Readings that were received so shortly after an imported one came with the same import: the end of a record that was
# imported on its last day was not received live.
SAME_IMPORT_S: Final = 600.0


@dataclass(frozen=True, slots=True)
class VisibilityRule:
    """The rule by which a stored row gets the instant from which the replay may see it."""

    # `received`, the stored instant of reception; `observed`, its epoch plus `latency_s`; `auto`, received unless
    # that lies more than the bound after the epoch: then the row was imported later, and its epoch counts
    mode: str = "auto"
    latency_s: float = 0.0  # what a live reading needs to arrive, used where the epoch counts
    bound_s: float | None = None  # the bound of `auto`; None takes the silence that the series allows, at least a day

    def __post_init__(self) -> None:
        if self.mode not in MODES:
            raise RefusedError(f"--known {self.mode!r}: expected one of: {', '.join(MODES)}")

    def instant_s(self, observed_s: float, received_s: float, bound_s: float) -> tuple[float, bool]:
        """Return since when a row was known, never before its epoch, and whether the stored reception was used.

        >>> VisibilityRule("auto").instant_s(0.0, 600.0, 1e4), VisibilityRule("auto", 60.0).instant_s(0.0, 1e8, 1e4)
        ((600.0, True), (60.0, False))
        """
        if received_s - observed_s <= bound_s:
            return max(received_s, observed_s), True
        return observed_s + self.latency_s, False

    def find_bound(self, spec: SeriesSpec | None) -> float:
        """Return how long after its epoch a reading of a series counts as received live, in seconds."""
        if self.mode != "auto":
            return inf if self.mode == "received" else -inf
        if self.bound_s is not None:
            return self.bound_s
        return max(SHORTEST_BOUND_S, spec.max_silence_s if spec is not None else 0.0)


@dataclass(slots=True)  # frozen it would take twice as long to make, and every row of the past is one
class StoredRevision:
    """One revision with the instants that count in the replay."""

    observed_s: float
    known_s: float
    observed_at: datetime
    known_at: datetime
    spoken_s: float  # `known_at` in epoch seconds: by a clock a little ahead it lies before `known_s`
    revision: int
    value: float
    sigma: float | None
    solution: str | None
    flags: tuple[str, ...]
    extra: str | None


@dataclass(slots=True)
class _Window:
    """The epochs of one series that decisions still read, oldest first, with their offsets and flags."""

    row: SeriesRow
    offsets: Sequence[history.OffsetSpan]
    flags: Sequence[history.FlagSpan]
    times: list[float] = field(default_factory=list)
    revisions: list[list[StoredRevision]] = field(default_factory=list)
    readings: list[Reading | None] = field(default_factory=list)  # None: an epoch has unsigned corrections alone
    shown: dict[int, tuple[Reading, ...]] = field(default_factory=dict)  # by the place of their first epoch
    turned: int = 0  # how many of the turns below have passed
    turns: list[float] = field(default_factory=list)  # instants at which offsets or flags changed
    active: list[tuple[float, float]] = field(default_factory=list)
    later: dict[tuple[float, int], list[str]] = field(default_factory=dict)
    name: str = ""

    def __post_init__(self) -> None:
        self.name = f"{self.row.station}.{self.row.quantity}"
        turns = {epoch_s(o.counts_from) for o in self.offsets}
        turns |= {epoch_s(o.revoked_at) for o in self.offsets if o.revoked_at is not None}
        turns |= {epoch_s(f.known_from) for f in self.flags}
        self.turns = sorted(turns)

    def turn(self, now_s: float) -> bool:
        """Apply the offsets and flags that are known now; return whether they changed."""
        if not self.turns or self.turns[0] > now_s:
            return False
        while self.turns and self.turns[0] <= now_s:
            self.turns.pop(0)
            self.turned += 1
        now = from_epoch_s(now_s)
        known = [o for o in self.offsets if o.counts_from <= now and (o.revoked_at is None or o.revoked_at > now)]
        self.active = [(epoch_s(o.at), o.size) for o in known]
        self.later = {}
        for f in self.flags:
            if f.known_from <= now:
                self.later.setdefault((epoch_s(f.observed_at), f.revision), []).append(f.flag)
        self.readings = [self._read(r) for r in self.revisions]
        self.shown.clear()
        return True

    def add(self, stored: StoredRevision) -> None:
        """Add a revision that has just become known."""
        if not self.times or stored.observed_s > self.times[-1]:
            self.times.append(stored.observed_s)
            self.revisions.append([stored])
            self.readings.append(self._read([stored]))
        elif self.times[place := bisect_left(self.times, stored.observed_s)] == stored.observed_s:
            insort(self.revisions[place], stored, key=lambda s: s.revision)
            self.readings[place] = self._read(self.revisions[place])
        else:
            self.times.insert(place, stored.observed_s)
            self.revisions.insert(place, [stored])
            self.readings.insert(place, self._read([stored]))
        self.shown.clear()

    def cut(self, edge_s: float) -> None:
        """Forget epochs at or before an instant."""
        if self.times and self.times[0] <= edge_s:
            place = bisect_right(self.times, edge_s)
            del self.times[:place], self.revisions[:place], self.readings[:place]
            self.shown.clear()

    def show(self, edge_s: float) -> tuple[Reading, ...]:
        """Return the readings after an instant; the same tuple as long as none of them changes."""
        place = bisect_right(self.times, edge_s)
        if place not in self.shown:
            if len(self.shown) >= SHOWN_MOST:
                self.shown.clear()
            self.shown[place] = tuple(reading for reading in self.readings[place:] if reading is not None)
        return self.shown[place]

    def show_unsigned(self, edge_s: float) -> tuple[Reading, ...]:
        """Return the corrections after an instant that would count if two people had signed them."""
        unsigned: list[Reading] = []
        for place in range(bisect_right(self.times, edge_s), len(self.times)):
            revisions = self.revisions[place]
            if any(UNSIGNED in stored.flags for stored in revisions):
                counting, if_signed = self.readings[place], as_signed(self._choose(revisions))
                if counting is None or counting.revision != if_signed.revision:
                    unsigned.append(if_signed)
        return tuple(unsigned)

    def _read(self, revisions: Sequence[StoredRevision]) -> Reading | None:
        if any(UNSIGNED in stored.flags for stored in revisions):
            revisions = [stored for stored in revisions if UNSIGNED not in self._list_flags(stored)]
        return self._choose(revisions) if revisions else None

    def _choose(self, revisions: Sequence[StoredRevision]) -> Reading:
        """Return the reading of the revision with the highest solution, with the first one beside it."""
        stored = first = revisions[0]
        if len(revisions) == 1:
            return self._make_reading(stored, self._offset_at(stored.observed_s))
        for other in revisions[1:]:
            if rank(other.solution) >= rank(stored.solution):
                stored = other
            if rank(other.solution) < rank(first.solution) == rank("corrected"):
                first = other
        total = self._offset_at(stored.observed_s)
        spoken, before = self._make_reading(stored, total), self._make_reading(first, total)
        if (before.value_raw, before.sigma, before.flags, before.extra) == (
            spoken.value_raw,
            spoken.sigma,
            spoken.flags,
            spoken.extra,
        ):
            return spoken
        return replace(spoken, first=before)

    def _offset_at(self, observed_s: float) -> float:
        total = 0.0
        for at_s, size in self.active:
            if at_s <= observed_s:
                total += size
        return total

    def _list_flags(self, stored: StoredRevision) -> tuple[str, ...]:
        if not self.later:
            return stored.flags
        return change_flags(stored.flags, self.later.get((stored.observed_s, stored.revision), ()))

    def _make_reading(self, stored: StoredRevision, total: float) -> Reading:
        return Reading(
            stored.observed_at,
            stored.known_at,
            stored.revision,
            stored.value,
            total,
            stored.value - total,
            stored.sigma,
            self._list_flags(stored),
            stored.extra,
        )


class History:
    """Everything that was known of a site at the instant of the clock.

    Rows are read from the database in order of epoch and kept in a heap until the instant from which they were known. A
    row that was known only after it had left every window counts for the newest epoch of its series alone.

    Args:
        sites: Every site file that the replay will use. The windows are wide enough for all of them.
        proofs: The proofs that hold. If empty, no criterion needs a proof. None takes those that were stored at each
            instant.
        stored_windows: True takes the failure windows that the service stored; False leaves them out of the view,
            because `monitor.alerts.replay.failure_windows` has them computed.
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
        self._c, self._known, self._from_s, self._to_s = connection, known, epoch_s(from_at), epoch_s(to_at)
        self._site = sites[0]
        spans: dict[tuple[str, str], float] = {}
        for site in sites:
            computed = {} if stored_windows else list_window_spans(site)
            for wanted in (find_history_spans(site), computed):
                for key, span_s in wanted.items():
                    spans[key] = max(spans.get(key, 0.0), span_s)
        self._windows: list[_Window] = []
        self._reaches_s: list[float] = []  # seconds of history kept; 0 = only the newest epoch matters
        self.rows = self.by_reception = 0
        streams = []
        for index, found in enumerate(load_series(connection, self._site.id)):
            row = replace(found, station=sites[-1].find_current_id(found.station))  # of a file that is not in force yet
            span_s = find_span_s(spans, row.station, row.quantity)
            self._windows.append(
                _Window(row, history.load_past_offsets(connection, row), history.load_past_flags(connection, row.id))
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
        self._aged: dict[tuple[int, float], StoredRevision] = {}  # the newest of those that came when they were history
        self._wanted: dict[str, list[tuple[str, float, _Window]]] = {}
        self._order = count()
        self._newest: dict[int, StoredRevision] = {}
        self._newest_view: dict[str, NewestEpoch] = {}
        self._cut_s = -inf
        self.news = [epoch_s(at) for at in history.load_news_instants(connection, self._site.id, from_at, to_at)]
        self._bare: dict[str, bool] = {}  # site file -> the last decision had no inputs besides readings
        self.now_s = -inf

    def _stream(
        self, index: int, row: SeriesRow, rows: Iterator[history.PastRow]
    ) -> Iterator[tuple[float, int, int, StoredRevision]]:
        """Yield epoch, series, revision and row, with the instant from which each row was known."""
        bound_s = self._known.find_bound(self._site.series(row.station, row.quantity))
        of_file: dict[tuple[str, int], list[str]] = {}
        for span in self._windows[index].flags:
            if span.of_file:
                of_file.setdefault((format_iso(span.observed_at), span.revision), []).append(span.flag)
        first = (-inf, -inf, -inf)  # epoch, reception and known instant of its first revision
        stored = False
        import_s = -inf  # when the newest row was received that counts as imported by the bound
        for observed, received, revision, value, sigma, solution, flags, extra in rows:
            (observed_at, observed_s), (received_at, received_s) = _read_instant(observed), _read_instant(received)
            if first[0] != observed_s:
                is_imported = self._known.mode == "auto" and abs(received_s - import_s) <= SAME_IMPORT_S
                known_s, stored = self._known.instant_s(observed_s, received_s, -inf if is_imported else bound_s)
                if not stored and not is_imported:
                    import_s = received_s
                first = (observed_s, received_s, known_s)
            elif self._known.mode == "observed" or not stored:
                # A correction keeps its distance from the first revision of its epoch.
                known_s, stored = first[2] + max(0.0, received_s - first[1]), False
            else:
                known_s = max(received_s, observed_s)
            if known_s > self._to_s:
                continue
            if known_s >= self._from_s:  # earlier rows are not replayed
                self.rows += 1
                self.by_reception += stored
            known_at = received_at if stored else from_epoch_s(known_s)
            flagged = tuple(f for f in flags.split(",") if f) if flags else ()
            if not stored:  # imported: the flags of the site file count from the start
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
                    received_s if stored else epoch_s(known_at),
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
        """Return the next instant at which a row becomes known; infinity if there is none."""
        # No row is received long before its epoch: once the stream has passed the first waiting row, that row is next.
        while self._head is not None and (not self._waiting or self._head[0] - _EARLY_S <= self._waiting[0][0]):
            self._take()
        return self._waiting[0][0] if self._waiting else inf

    def last_arrival_s(self, first_s: float, limit_s: float) -> float:
        """Return the last arrival from `first_s` up to a limit; `first_s` if none follows it."""
        if limit_s <= first_s:
            return first_s
        while self._head is not None and self._head[0] - _EARLY_S <= limit_s:
            self._take()
        return max([one[0] for one in self._waiting if first_s < one[0] <= limit_s], default=first_s)

    @property
    def waiting(self) -> int:
        """How many rows have been read and are not known yet."""
        return len(self._waiting)

    def next_news_s(self) -> float:
        """Return the next instant at which something besides readings became known; infinity if there is none."""
        return self.news[0] if self.news else inf

    def move(self, now_s: float) -> None:
        """Set the clock to an instant."""
        while self._head is not None and self._head[0] - _EARLY_S <= now_s:
            self._take()
        while self._waiting and self._waiting[0][0] <= now_s:
            at_s, _, index, waiting = heapq.heappop(self._waiting)
            stored = waiting or self._aged.pop((index, at_s))
            self._note_newest(index, stored)
            if at_s >= stored.known_s and stored.observed_s > now_s - self._reaches_s[index]:
                self._windows[index].add(stored)
        while self.news and self.news[0] <= now_s:
            self.news.pop(0)
            self._bare.clear()
        for window in self._windows:
            if window.turns:
                window.turn(now_s)
        if now_s - self._cut_s >= KEEP_S:
            self._cut_s = now_s
            for window, span_s in zip(self._windows, self._reaches_s, strict=True):
                window.cut(now_s - span_s)
        self.now_s = now_s

    def _take(self) -> None:
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
        if stored.known_s <= stored.observed_s:  # received no later than its epoch: its clock may be a little ahead
            spoken_s = stored.spoken_s
            if spoken_s < stored.known_s <= spoken_s + _EARLY_S and "future" not in stored.flags:
                heapq.heappush(self._waiting, (spoken_s, next(self._order), index, stored))
        heapq.heappush(self._waiting, (stored.known_s, next(self._order), index, waiting))

    def _note_newest(self, index: int, stored: StoredRevision) -> None:
        if "future" in stored.flags:
            return
        best = self._newest.get(index)
        if best is None or stored.observed_s > best.observed_s or _weight(stored) >= _weight(best):
            self._newest[index] = stored
            name, spoken_s = self._windows[index].name, stored.spoken_s
            is_new = name not in self._newest_view
            self._newest_view[name] = NewestEpoch(min(stored.observed_s, spoken_s), spoken_s, stored.flags)
            if is_new:
                self._newest_view = dict(sorted(self._newest_view.items()))

    # ---- readings for failure windows ----------------------------------------------------------------------------
    def list_known_series(self) -> dict[str, dict[str, int]]:
        """Return the ids of the series of which a reading is known now, by station and quantity."""
        found: dict[str, dict[str, int]] = {}
        for index in sorted(self._newest):
            row = self._windows[index].row
            found.setdefault(row.station, {})[row.quantity] = row.id
        return found

    def find_newest_s(self, names: Iterable[str]) -> float | None:
        """Return the newest epoch that is known now of some series (`STATION.quantity`); None where there is none."""
        known = [self._newest_view[name].observed_s for name in names if name in self._newest_view]
        return max(known, default=None)

    def read(self, names: Iterable[str], span_s: float) -> dict[str, tuple[Reading, ...]]:
        """Return the readings of series (`STATION.quantity`) over at least a span, as they are known now."""
        edge_s = epoch_s(find_load_start(from_epoch_s(self.now_s), span_s))
        return {name: self._by_name[name].show(edge_s) for name in names if name in self._by_name}

    def count_changes(self, names: Iterable[str]) -> int:
        """Return how many offsets and flags of some series have become known or were revoked."""
        return sum(self._by_name[name].turned for name in names if name in self._by_name)

    # ---- the view ------------------------------------------------------------------------------------------------
    def find_inputs(self, site: Site) -> DecisionInputs:
        """Return the inputs of a decision under a site file now."""
        wanted = self._wanted.get(site.version)
        if wanted is None:
            spans = find_history_spans(site)
            wanted = self._wanted[site.version] = [
                (w.name, span_s, w)
                for w in self._windows
                if (span_s := find_span_s(spans, w.row.station, w.row.quantity)) > 0.0
            ]
        now = from_epoch_s(self.now_s)
        edges_s = {span_s: epoch_s(find_load_start(now, span_s)) for span_s in {span_s for _, span_s, _ in wanted}}
        readings = {name: window.show(edges_s[span_s]) for name, span_s, window in wanted}
        unsigned = {name: rows for name, span_s, window in wanted if (rows := window.show_unsigned(edges_s[span_s]))}
        return DecisionInputs(readings, dict(self._newest_view), unsigned, **self._facts(site, now))

    def _facts(self, site: Site, now: datetime) -> dict[str, Any]:
        """Return the inputs besides readings; they are not loaded again if there were none and nothing became known."""
        if self._bare.get(site.version, False):
            return {}
        found = load_facts(self._c, site, now, as_reported=self._known.mode != "received", proofs=self._proofs)
        if not self.stored_windows:
            found["failures"] = ()
        self._bare[site.version] = not any(found.values())
        return found


@lru_cache(maxsize=1024)
def _read_instant(text: str) -> tuple[datetime, float]:
    at = datetime.fromisoformat(text)
    return at, epoch_s(at)


def _weight(stored: StoredRevision) -> tuple[float, int, int]:
    return stored.observed_s, rank(stored.solution), stored.revision
