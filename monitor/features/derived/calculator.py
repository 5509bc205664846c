"""Compute calculated series outside of ingest, in short pieces.

Ingest notes in its own transaction which series received readings (`pending`). `Calculator` reads those notes, computes
a piece of the values in a read transaction, and stores the piece in a short write transaction. A note is deleted after
everything that follows from it is stored. `monitor.ingest.calculations` runs a `Calculator` inside the service.
"""

import logging
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any, Final

from sqlalchemy.exc import IntegrityError

from monitor.api.database import Database
from monitor.api.decision import PreparedSite, can_change_level
from monitor.api.errors import StoreBusyError, StoreError
from monitor.api.queries.ingest import StoredSites, WaitingValues
from monitor.api.queries.readings import in_chunks
from monitor.api.readings import Observation
from monitor.api.sites import Site
from monitor.api.text import Span
from monitor.features.derived.affected import NewestInstants, find_affected
from monitor.features.derived.inputs import SiteInputs
from monitor.features.derived.pending import group_spans, limit_spans
from monitor.features.derived.plans import Plan, plan_site
from monitor.features.derived.queries import (
    Cause,
    PendingRow,
    add_pending,
    delete_pending,
    load_pending,
    load_pending_ids,
)
from monitor.features.derived.queue import SiteQueue, choose_site
from monitor.features.derived.samples import Series
from monitor.features.derived.values import Task, TaskResult, compute_tasks, group_by_time, store_values

log: Final = logging.getLogger(__name__)
# Processor time of one piece. It bounds how long the newest readings wait behind the past.
PIECE_S: Final = 0.2
# Values in one write transaction: about a tenth of a second on a slow disk.
ROWS_AT_ONCE: Final = 500
# What still waits after this time replaces the notes that it came from, so that their number stays bounded.
COMPACT_EVERY_S: Final = 30.0


class _SupersededError(Exception):
    """Another process computed the same notes. Everything that was read for them is out of date."""


@dataclass(slots=True)
class _SiteState:
    """What the calculator knows of one site."""

    prepared: PreparedSite
    inputs: SiteInputs
    queue: SiteQueue = field(default_factory=SiteQueue)
    newest: NewestInstants = field(default_factory=NewestInstants)
    note_ids: set[str] = field(default_factory=set)  # rows of `calculation_pending` that the queue was filled from
    compacted_s: float = 0.0
    refused: set[str] = field(default_factory=set)  # series that are stored in another unit; logged once

    @property
    def site(self) -> Site:
        """Return the site."""
        return self.prepared.site


class Calculator:
    """Compute what the notes of all sites ask for. Used by one thread at a time.

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
        self._states: dict[str, _SiteState] = {}
        self.used_s: dict[str, float] = {}  # processor time by site

    # ---- notes -------------------------------------------------------------------------------------------------
    def load(self) -> None:
        """Read new notes and add what they ask for to the queues."""
        known = {note_id for state in self._states.values() for note_id in state.note_ids}
        useless: list[str] = []
        with self._db.read() as c:
            by_site: dict[str, list[PendingRow]] = {}
            for row in load_pending(c, known):
                by_site.setdefault(row.site, []).append(row)
            for site_id, rows in by_site.items():
                site = self._sites.get(site_id)
                if site is None:
                    continue  # its file cannot be read now; the notes stay until it can
                if not plan_site(site).each:
                    useless += [row.id for row in rows]
                    continue
                state = self._find_state(site)
                state.inputs.refresh_ids(c)
                self._fill(c, state, rows)
                if not state.queue:
                    useless += state.note_ids
                    state.note_ids.clear()
        if useless:
            with self._db.write() as c:
                delete_pending(c, useless)

    def _find_state(self, site: Site) -> _SiteState:
        state = self._states.get(site.id)
        if state is None or state.site is not site:
            state = self._states[site.id] = _SiteState(
                PreparedSite(site), SiteInputs(site), compacted_s=time.monotonic()
            )
        return state

    def _fill(self, c: Any, state: _SiteState, rows: Sequence[PendingRow]) -> None:
        plans, now, now_s = plan_site(state.site), self._clock(), time.monotonic()
        was_idle = not state.queue
        touched: dict[Series, list[Span]] = {}
        for row in rows:
            state.note_ids.add(row.id)
            for name in row.series:
                if row.cause is Cause.READINGS:
                    station, _, quantity = name.partition(".")
                    touched.setdefault((station, quantity), []).append((row.from_at, row.to_at))
                elif name in plans.by_name:
                    state.queue.add(plans.by_name[name], [(row.from_at, row.to_at)], row.cause, row.keep_before, now_s)
        joined = {place: limit_spans(spans) for place, spans in touched.items() if place in plans.scales}
        for plan, spans in find_affected(c, plans, joined, state.newest, state.inputs, now).items():
            state.queue.add(plan, spans, Cause.READINGS, None, now_s)
        if was_idle and state.queue:
            self._start_fairly(state.site.id)

    def _start_fairly(self, site_id: str) -> None:
        """Have a site that was idle begin with the used time of the others: it may not make up for its idle time."""
        busy = [self.used_s.get(one, 0.0) for one, other in self._states.items() if other.queue and one != site_id]
        self.used_s[site_id] = max(self.used_s.get(site_id, 0.0), min(busy, default=0.0))

    # ---- pieces ------------------------------------------------------------------------------------------------
    def compute_piece(self) -> StoredSites | None:
        """Compute and store the next piece.

        Returns:
            The site if it has new values; a `StoredSites` without a site if it has none; None if nothing waits.

        Raises:
            StoreBusyError: the database is locked or unreachable; the piece waits again.
        """
        site_id = choose_site((site_id for site_id, state in self._states.items() if state.queue), self.used_s)
        if site_id is None:
            return None
        state = self._states[site_id]
        started_s = time.thread_time()
        tasks = state.queue.take(PIECE_S)
        try:
            rows = self._compute(state, tasks)
        except _SupersededError:
            del self._states[site_id]
            return StoredSites(frozenset(), frozenset())
        except StoreBusyError:
            for task in tasks:
                state.queue.add(task.plan, [task.span], task.cause, task.keep_before, time.monotonic())
            raise
        spent_s = time.thread_time() - started_s
        self.used_s[site_id] = self.used_s.get(site_id, 0.0) + spent_s
        if not rows:
            return StoredSites(frozenset(), frozenset())
        # The past is evaluated with lower priority: years of it must not have the site evaluated without a pause.
        has_votes = any(
            state.queue.is_present(row.observed_at) and can_change_level(state.prepared, row.station, row.quantity)
            for row in rows
        )
        return StoredSites(frozenset({site_id}), frozenset() if has_votes else frozenset({site_id}))

    def _compute(self, state: _SiteState, tasks: Sequence[Task]) -> list[Observation]:
        started_s = time.thread_time()
        results: list[TaskResult] = []
        with self._db.read() as c:
            places = {place for task in tasks for place in (task.plan.place, *task.plan.scales)}
            if any(state.inputs.find_id(place) is None for place in places):
                state.inputs.refresh_ids(c)  # the first value of a series was stored meanwhile
            tasks = self._drop_refused(state, tasks)
            for group in group_by_time(tasks):
                results += compute_tasks(c, state.site, group, state.inputs, self._clock())
            self._queue_rest(c, state, results)
        rows = [row for result in results for row in result.changes]
        self._store(state, rows)
        counts: dict[Plan, int] = {}
        for result in results:
            counts[result.task.plan] = counts.get(result.task.plan, 0) + result.count
        state.queue.note_cost(counts, time.thread_time() - started_s)
        return rows

    def _queue_rest(self, c: Any, state: _SiteState, results: Sequence[TaskResult]) -> None:
        """Queue what a task left, and the series that read a value which is about to change."""
        plans, now, now_s = plan_site(state.site), self._clock(), time.monotonic()
        touched: dict[Series, list[Span]] = {}
        for result in results:
            task = result.task
            if result.left is not None:
                state.queue.add(task.plan, [result.left], task.cause, task.keep_before, now_s)
            if result.changes and task.plan.place in plans.readers:
                instants = [row.observed_at for row in result.changes]
                touched.setdefault(task.plan.place, []).append((min(instants), max(instants)))
        for plan, spans in find_affected(c, plans, touched, state.newest, state.inputs, now).items():
            state.queue.add(plan, spans, Cause.READINGS, None, now_s)

    def _drop_refused(self, state: _SiteState, tasks: Sequence[Task]) -> list[Task]:
        """Leave out series whose stored values have another unit: they are computed when the site file is mended."""
        accepted: list[Task] = []
        for task in tasks:
            unit = state.inputs.find_unit(task.plan.place)
            if unit is None or unit == task.plan.spec.unit:
                accepted.append(task)
            elif task.plan.name not in state.refused:
                state.refused.add(task.plan.name)
                log.warning(
                    "%s of %s is not calculated: it is stored in %s and the site file gives %s",
                    task.plan.name,
                    state.site.id,
                    unit,
                    task.plan.spec.unit,
                )
        return accepted

    def _store(self, state: _SiteState, rows: Sequence[Observation]) -> None:
        """Store values in short transactions; the last one deletes the notes if nothing waits any more."""
        site_id = state.site.id
        chunks = list(in_chunks(rows, ROWS_AT_ONCE))
        has_ended = not state.queue
        if not chunks and not has_ended:
            self._compact(state)
            return
        for index, chunk in enumerate(chunks or [()]):
            for is_last in (False, True):
                try:
                    with self._db.write() as c:
                        self._require_current(load_pending_ids(c, site_id), state)
                        store_values(c, state.site, chunk, self._clock(), {})
                        if has_ended and index >= len(chunks) - 1:
                            delete_pending(c, state.note_ids)
                    break
                except IntegrityError:
                    if is_last:
                        raise _SupersededError from None
                except StoreBusyError:
                    raise
                except StoreError:
                    log.exception("%d values of calculated series of %s cannot be stored", len(chunk), site_id)
                    break
        if has_ended:
            state.note_ids.clear()
        else:
            self._compact(state)

    def _require_current(self, ids: set[str], state: _SiteState) -> None:
        is_current = state.note_ids <= ids if self._is_only else state.note_ids == ids
        if not is_current:
            raise _SupersededError

    def _compact(self, state: _SiteState) -> None:
        """Replace the notes of a site that cannot keep up by notes on what still waits."""
        now_s = time.monotonic()
        if now_s - state.compacted_s < COMPACT_EVERY_S:
            return
        state.compacted_s = now_s
        by_kind: dict[tuple[Cause, datetime | None], dict[str, list[Span]]] = {}
        for plan, cause, keep_before, spans in state.queue.list_waiting():
            cause = Cause.VALUES if cause is Cause.READINGS else cause  # noqa: PLW2901
            by_kind.setdefault((cause, keep_before), {})[plan.name] = spans
        rows = [
            row
            for (cause, keep_before), spans in by_kind.items()
            for row in group_spans(state.site.id, spans, cause, keep_before)
        ]
        with self._db.write() as c:
            before = load_pending_ids(c, state.site.id)
            self._require_current(before, state)
            delete_pending(c, state.note_ids)
            add_pending(c, rows)
            added = load_pending_ids(c, state.site.id) - before
        state.note_ids = added

    # ---- state -------------------------------------------------------------------------------------------------
    def list_waiting(self) -> dict[str, WaitingValues]:
        """Return by site which values wait."""
        found: dict[str, WaitingValues] = {}
        for site_id, state in self._states.items():
            since_s = state.queue.find_oldest_s()
            if since_s is not None:
                found[site_id] = WaitingValues(since_s, state.queue.find_present_s(), state.queue.find_dearest())
        return found


def compute_pending(db: Database, sites: Mapping[str, Site], clock: Callable[[], datetime]) -> None:
    """Compute everything that waits; for imports and replays without a running service."""
    calculator = Calculator(db, sites, clock, is_only=False)
    while True:
        calculator.load()
        if calculator.compute_piece() is None:
            return
