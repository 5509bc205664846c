"""Compute depth profiles outside of ingest, in short pieces.

Ingest notes in its own transaction which surveys of a borehole have changed (`pending`). `ProfileCalculator` reads
those notes, computes a piece of the profiles in a read transaction, and stores it in a short write transaction. A note
is deleted after every profile in its span is stored. `monitor.ingest.calculations` runs a `ProfileCalculator` inside
the service.
"""

import logging
import time
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import datetime
from typing import TYPE_CHECKING, Final

from sqlalchemy import Connection
from sqlalchemy.exc import IntegrityError, SQLAlchemyError

from monitor.api.database import Database
from monitor.api.decision import PreparedSite, can_change_level
from monitor.api.errors import SlopewardError, StoreBusyError, StoreError
from monitor.api.plugins import implementations
from monitor.api.queries.ingest import StoredSites, WaitingValues
from monitor.api.queries.readings import SeriesIds, add_observations
from monitor.api.readings import Observation
from monitor.api.sites import Site
from monitor.api.text import Span, join_spans
from monitor.features.profiles.borehole import FIRST, WAIT_FOR_DEPTHS, Borehole
from monitor.features.profiles.declare import Profile, map_profiles
from monitor.features.profiles.queries import (
    PendingProfiles,
    delete_pending,
    load_pending,
    load_pending_ids,
)

if TYPE_CHECKING:
    from monitor.features.profiles.compute import Piece
    from monitor.features.profiles.window import SurveyWindow

log: Final = logging.getLogger(__name__)
# After this time no further survey of a piece is started, so that the newest readings never wait longer.
PIECE_S: Final = 0.25


class _SupersededError(Exception):
    """Another process computed the same notes. Everything that was read for them is out of date."""


@dataclass(slots=True)
class _BoreholeState:
    """State of one borehole. Times that end in `_s` are those of the monotonic clock."""

    site: Site
    profile: Profile
    window: "SurveyWindow"
    notes: dict[str, Span] = field(default_factory=dict)  # rows of `profile_pending` that were read, by id
    spans: list[Span] = field(default_factory=list)  # surveys that wait, by rising time
    deferred: set[datetime] = field(default_factory=set)  # surveys of which depths are missing that may still arrive
    newest_at: datetime = FIRST  # newest survey that is not in the future
    waiting_since_s: float | None = None
    present_since_s: float | None = None
    served_s: float = 0.0  # end of the last piece

    @property
    def name(self) -> str:
        return f"{self.site.id}/{self.profile.station}"

    @property
    def is_present_waiting(self) -> bool:
        """Return whether the newest survey still has to be computed."""
        return bool(self.spans) and self.spans[-1][1] >= self.newest_at

    def set_spans(self, spans: Iterable[Span]) -> None:
        """Replace the spans that wait."""
        self.spans = join_spans(spans)
        now_s = time.monotonic()
        if not self.spans:
            self.waiting_since_s = None
        elif self.waiting_since_s is None:
            self.waiting_since_s = now_s
        if not self.is_present_waiting:
            self.present_since_s = None
        elif self.present_since_s is None:
            self.present_since_s = now_s

    def list_done(self, waiting: Sequence[Span], deferred: Iterable[datetime]) -> list[str]:
        """Return the ids of notes whose spans are computed completely."""
        still = [*waiting, *((at, at) for at in deferred)]
        return [
            note_id
            for note_id, (begin, end) in self.notes.items()
            if not any(other[0] <= end and begin <= other[1] for other in still)
        ]


class ProfileCalculator:
    """Compute the profiles that the notes of all boreholes name. Use an instance in one thread at a time.

    Args:
        is_only: whether this is the service, which computes all the time. Another process, such as an import without a
            running service, stores nothing once notes appear that it did not read: the service may be newer.
    """

    def __init__(
        self, db: Database, sites: Mapping[str, Site], clock: Callable[[], datetime], *, is_only: bool = True
    ) -> None:
        self._db = db
        self._sites = sites
        self._clock = clock
        self._is_only = is_only
        self._states: dict[tuple[str, str], _BoreholeState] = {}

    def load(self) -> None:
        """Read new notes."""
        self._states = {
            key: state for key, state in self._states.items() if self._sites.get(state.site.id) is state.site
        }
        read_note_ids = {note_id for state in self._states.values() for note_id in state.notes}
        useless: list[str] = []
        with self._db.read() as c:
            new: dict[tuple[str, str], list[PendingProfiles]] = {}
            for row in load_pending(c):
                site = self._sites.get(row.site)
                if row.id in read_note_ids or site is None:
                    continue  # where the site file cannot be read now, the notes stay until it can
                if row.station in map_profiles(site):
                    new.setdefault((row.site, row.station), []).append(row)
                else:
                    useless.append(row.id)
            for key, rows in new.items():
                self._add_notes(c, key, rows)
        if useless:
            with self._db.write() as c:
                delete_pending(c, useless)

    def _add_notes(self, c: Connection, key: tuple[str, str], rows: Sequence[PendingProfiles]) -> None:
        from monitor.features.profiles.window import SurveyWindow  # a service without boreholes loads no arrays

        state = self._states.get(key)
        if state is None:
            site = self._sites[key[0]]
            profile = map_profiles(site)[key[1]]
            state = self._states[key] = _BoreholeState(site, profile, SurveyWindow(profile))
        hole = Borehole.open(c, state.site, state.profile)
        state.newest_at = hole.find_epoch(FIRST, self._clock(), last=True) or FIRST
        state.notes |= {row.id: row.span for row in rows}
        state.set_spans([*state.spans, *(row.span for row in rows)])

    def compute_piece(self) -> StoredSites | None:
        """Compute and store the next piece.

        Returns:
            The site if it has new values; a `StoredSites` without a site if it has none; None if nothing waits.

        Raises:
            StoreBusyError: the database is locked or unreachable; the piece waits again.
        """
        state = self._choose()
        if state is None:
            return None
        nothing = StoredSites(frozenset(), frozenset())
        has_present = state.is_present_waiting
        try:
            rows = self._compute(state)
        except _SupersededError:
            del self._states[state.site.id, state.profile.station]
            return nothing
        state.served_s = time.monotonic()
        if not rows:
            return nothing
        # Past surveys do not count as votes. Otherwise a long import would evaluate the site without a pause.
        prepared = PreparedSite(state.site)
        has_votes = has_present and any(can_change_level(prepared, row.station, row.quantity) for row in rows)
        sites = frozenset({state.site.id})
        return StoredSites(sites, frozenset() if has_votes else sites)

    def _choose(self) -> _BoreholeState | None:
        """Return the borehole whose turn it is: one whose newest survey waits, else the one served longest ago."""
        due_at = self._clock() - WAIT_FOR_DEPTHS
        for state in self._states.values():
            due = {at for at in state.deferred if at <= due_at}
            if due:
                state.deferred -= due
                state.set_spans([*state.spans, *((at, at) for at in due)])
        waiting = [state for state in self._states.values() if state.spans]
        return min(waiting, key=lambda state: (not state.is_present_waiting, state.served_s, state.name), default=None)

    def _compute(self, state: _BoreholeState) -> Sequence[Observation]:
        """Compute a piece of the newest span that waits, and return the values that were stored."""
        span = state.spans[-1]
        piece = self._compute_span(state, span)
        spans = [*state.spans[:-1], *([] if piece.left is None else [piece.left])]
        computed_from = span[0] if piece.left is None else piece.left[1]
        deferred = {at for at in state.deferred if not computed_from <= at <= span[1]} | {*piece.deferred}
        done = state.list_done(spans, deferred)
        is_stored = self._store(state, piece.changes, done) if piece.changes or done else False
        for note_id in done:
            del state.notes[note_id]
        state.deferred = deferred
        state.set_spans(spans)
        return piece.changes if is_stored else ()

    def _compute_span(self, state: _BoreholeState, span: Span) -> "Piece":
        from monitor.features.profiles.compute import Piece, compute_piece

        deadline_s = time.monotonic() + PIECE_S
        try:
            with self._db.read() as c:
                hole = Borehole.open(c, state.site, state.profile)
                return compute_piece(hole, state.window, span, self._clock(), deadline_s)
        except (SlopewardError, SQLAlchemyError):
            raise
        except Exception:  # an error in one borehole must not delay the others
            log.exception("the profiles of %s are not computed from %s to %s", state.name, *span)
            return Piece()

    def _store(self, state: _BoreholeState, rows: Sequence[Observation], done: Sequence[str]) -> bool:
        """Store values and delete the notes that are done, in one short transaction; return whether that succeeded."""
        station = state.profile.station
        try:
            with self._db.write() as c:
                ids = load_pending_ids(c, state.site.id, station)
                is_current = state.notes.keys() <= ids if self._is_only else state.notes.keys() == ids
                if not is_current:
                    raise _SupersededError
                _store_values(c, state.site, rows, self._clock())
                delete_pending(c, done)
        except IntegrityError:
            raise _SupersededError from None
        except StoreBusyError:
            raise
        except StoreError:
            log.exception("%d values of the profiles of %s cannot be stored", len(rows), state.name)
            with self._db.write() as c:
                delete_pending(c, done)
            return False
        return True

    def list_waiting(self) -> Mapping[str, WaitingValues]:
        """Return by site which profiles wait, with the borehole that waits longest."""
        waiting: dict[str, WaitingValues] = {}
        for state in self._states.values():
            since_s, present_s = state.waiting_since_s, state.present_since_s
            if since_s is None:
                continue
            other = waiting.get(state.site.id)
            if other is None:
                waiting[state.site.id] = WaitingValues(since_s, present_s, state.profile.station)
                continue
            present = [value for value in (other.present_since_s, present_s) if value is not None]
            dearest = other.dearest if other.since_s <= since_s else state.profile.station
            waiting[state.site.id] = WaitingValues(min(other.since_s, since_s), min(present, default=None), dearest)
        return waiting


def _store_values(c: Connection, site: Site, rows: Sequence[Observation], now: datetime) -> None:
    """Store values as received now, and call the hook `readings_stored` of other plugins."""
    ids: SeriesIds = {}
    stored = [replace(row, received_at=now) for row in rows]
    added = add_observations(c, stored, now, ids, sites={site.id: site})
    for plugin, call in implementations("readings_stored") if stored else ():
        try:
            call(connection=c, sites={site.id: site}, readings=stored, added=added)
        except (SQLAlchemyError, StoreError):
            raise  # the transaction may be broken
        except Exception:
            log.exception("readings_stored of the plugin %s: %d values of profiles", plugin, len(stored))


def compute_pending(db: Database, sites: Mapping[str, Site], clock: Callable[[], datetime]) -> None:
    """Compute all noted profiles. For imports and replays without a running service.

    The note of a survey stays if depths are missing that may still arrive.
    """
    calculator = ProfileCalculator(db, sites, clock, is_only=False)
    while True:
        calculator.load()
        if calculator.compute_piece() is None:
            return
