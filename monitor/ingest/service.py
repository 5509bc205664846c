"""Ingest as a part of the service: two sessions, one writer; commit first, then acknowledge in order of reception."""

import json
import logging
import threading
import time
from collections import Counter, deque
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from functools import partial
from pathlib import Path
from typing import Any, Final

from monitor.broker.access import find_access
from monitor.decision.changes import AlertChange, health_alarm
from monitor.errors import StoreBusyError
from monitor.ingest.decoders.table import is_known_value, is_undated
from monitor.ingest.message import (
    BACKFILL_FILTERS,
    BATCH_MESSAGES,
    BATCH_MOST,
    LIVE_FILTER,
    ROOT,
    STRAY_FILTERS,
    BrokerMessage,
    Inbox,
    StoredSites,
    locate,
)
from monitor.ingest.mqtt import BrokerSession, Connected, MqttSession
from monitor.ingest.pipeline import PORTION_BYTES, BatchResult, Clock, LastReading, Pipeline, Refusals
from monitor.ingest.queries.messages import SequenceGap, load_open_gaps, load_sequence_ends, mark_requested
from monitor.ingest.session_setup import load_identity
from monitor.sites.records import Site
from monitor.storage.engine import Database
from monitor.storage.service_state import find_heartbeat, write_heartbeat
from monitor.text.instants import format_iso
from monitor.text.message import Figure, Template, Timestamp

log: Final = logging.getLogger(__name__)
LIVE, BACKFILL = "live", "backfill"
COUNTED: Final = ("messages", "stored", "duplicates", "revisions", "rejected", "unkept", "gaps", "lost")
SESSION_LOST: Final = "health:mqtt:session_lost"
SESSION_STAMP: Final = "mqtt.session:"  # before a client id: when it was last connected
_UNREADABLE: Final = Template(
    "decoder.unusable", "messages of {site} cannot be read and wait in the quarantine: {problem}"
)
_USABLE: Final = Template("decoder.usable", "the decoders of {site} can be used")
_FORGOTTEN: Final = Template(
    "session.lost",
    "The broker forgot the {name} session: messages sent since {at} may be lost. {n} sources got a request to send "
    "them again; let all other loggers send again what they keep.",
)
_KEPT_AGAIN: Final = Template(
    "session.kept", "The broker kept the session at the next connection; what was lost before it was asked for."
)
_REQUEST_AFTER_S: Final = 2.0  # what is merely out of order has come by then
_REQUEST_AGAIN: Final = timedelta(hours=1)
_DRAINED_AFTER_S: Final = 1.0
_REQUEST_EVERY_S: Final = 60.0
_REQUESTS_MOST: Final = 1000
_WAITED_S: Final = 2.0  # a message that lay so long before it was stored was part of a backlog
_STUMBLE_S: Final = 0.2  # doubled with each stumble in a row
_NOTE_AGAIN_S: Final = 2.0
_OTHERS_S: Final = 0.002  # between two portions of the quarantine: other writers get their turn
_UNSETTLED_BYTES: Final = 8 << 20  # of refused payloads: then the quarantine comes first, whatever waits


@dataclass(frozen=True, slots=True)
class _StoredBatch:
    """A batch whose readings are there; it is acknowledged when the quarantine has the rest of it."""

    batch: list[BrokerMessage]
    outcome: BatchResult
    refusals: Refusals

    @property
    def waiting_bytes(self) -> int:
        return sum(len(rejected.payload) for _, rejected in self.refusals.waiting)


@dataclass(frozen=True, slots=True)
class IngestContext:
    """What ingest works with."""

    db: Database  # this writer goes before others of the process
    config: Any  # of the service; `.broker` is read, and `.limits` where it has some
    sites: Mapping[str, Site]  # by id
    on_stored: Callable[[StoredSites], None]  # called after each commit that brought news; must be quick
    # writes an alarm of ingest itself and returns when it is committed, or raises StoreBusyError; called from the
    # writer's thread, outside of any transaction
    on_alarm: Callable[[AlertChange], None]
    clock: Clock  # the wall clock
    hold: Callable[[], str] = str  # why no readings may be stored now; empty: they may. They wait with the broker


def list_sessions(client_id: str, sites: Iterable[Site]) -> tuple[BrokerSession, ...]:
    """The sessions for live data, which is also what decoders of these sites are bound to, and for catching up."""
    bindings = [binding for site in sites for binding in site.decoders]
    undated = frozenset(b.topic for b in bindings if is_undated(b))
    topics = tuple(dict.fromkeys((LIVE_FILTER, *STRAY_FILTERS, *(b.topic for b in bindings))))
    return (
        BrokerSession(LIVE, client_id, topics, undated),
        BrokerSession(BACKFILL, f"{client_id}-{BACKFILL}", BACKFILL_FILTERS),
    )


class Ingest:
    """Store the messages of the broker as rows."""

    def __init__(self, context: IngestContext) -> None:
        self._hold = context.hold
        self._db, self._clock = context.db, context.clock
        self._on_stored, self._on_alarm = context.on_stored, context.on_alarm
        self._broker = context.config.broker
        self._client_id: str = self._broker.client_id
        limits = getattr(context.config, "limits", None)
        self._pipeline = Pipeline(context.db, context.sites, context.clock, limits)
        self._inbox = Inbox()
        self._stop = threading.Event()
        self._connections: list[tuple[Connected, datetime | None]] = []  # with the newest reception before it
        self._untold: list[AlertChange] = []
        self._note_at = 0.0
        self._requested: dict[str, float] = {}  # topic on which a device was asked -> when
        self._in_hand: list[
            BrokerMessage
        ] = []  # taken and not acknowledged yet: kept over any stumble, so order is kept
        self._stored: deque[_StoredBatch] = deque()  # not acknowledged yet, in order of reception
        self._stumbles = 0  # running
        access = find_access(context.config.broker)
        self._sessions = {
            one.name: MqttSession(
                one,
                access,
                self._inbox.put,
                self._connected,
                self._clock,
                self._keeps,
                self._db.holds,
                partial(self._inbox.has_room, one.name),
            )
            for one in list_sessions(self._client_id, context.sites.values())
        }
        self._live = self._sessions[LIVE]
        self._thread = threading.Thread(target=self._run, name="ingest-writer", daemon=True)
        self._stamp = self._clock()
        self._request_at = time.monotonic()  # at start for what was never asked
        self._full_at = self._expects_until = time.monotonic()
        self._busy_since: datetime | None = None
        self._newest: datetime | None = None
        self._counts = Counter(dict.fromkeys(COUNTED, 0))

    def _keeps(self, topic: str) -> bool:
        """Whether what is retained on a topic may stay with the broker: there are only so many such topics."""
        sites, place = self._pipeline.sites, locate(topic)
        if place is None:
            bound = ((site, binding) for site in sites.values() for binding in site.decoders)
            return any(binding.topic == topic or is_known_value(binding, site, topic) for site, binding in bound)
        site = sites.get(place.site)
        return site is not None and (place.kind != "native" or site.station(place.station) is not None)

    # ---- life --------------------------------------------------------------------------------------------------
    def start(self) -> None:
        """Start the writer and both sessions; returns at once."""
        for site in self._pipeline.sites.values():
            if site.decoders:
                self._untold.append(_describe_decoder(site.id, self._pipeline.unusable.get(site.id)))
        self._thread.start()
        for session in self._sessions.values():
            session.start()

    def stop(self, timeout_s: float = 10.0) -> None:
        """Finish what was taken, acknowledge it and leave; what is queued stays with the broker."""
        self._stop.set()
        self._inbox.wake()
        if self._thread.is_alive():
            self._thread.join(timeout_s)
        for session in self._sessions.values():
            session.stop()

    def progress(self) -> dict[str, datetime]:
        """When each thread of ingest last came round; a writer that waits for the database comes round too."""
        return {"ingest.writer": self._stamp}

    def status(self) -> dict[str, Any]:
        """What ingest sees of itself, as plain values."""
        return {
            "connected": {name: s.listening for name, s in self._sessions.items()},
            "problems": {name: s.problem for name, s in self._sessions.items() if s.problem},
            "refused": {name: s.refused for name, s in self._sessions.items() if s.refused},
            "queued": len(self._inbox) + len(self._in_hand) + sum(len(one.batch) for one in list(self._stored)),
            "stumbles": self._stumbles,
            "drained": self.drained(),
            "database_busy_since": None if self._busy_since is None else format_iso(self._busy_since),
            "newest_received_at": None if self._newest is None else format_iso(self._newest),
            "dropped_qos0": self._inbox.dropped_qos0,
            "retained_cleared": sum(s.cleared for s in self._sessions.values()),
            "dropped_acknowledgements": sum(s.dropped_acknowledgements for s in self._sessions.values()),
            **self._counts,
        }

    def list_last_readings(self) -> dict[tuple[str, str], LastReading]:
        """By site and station, since our clock was set: how far its newest reading lies before its reception."""
        return dict(self._pipeline.last_readings)

    def forget_last_readings(self) -> None:
        """Our clock was set: what was heard by the old one says nothing."""
        self._pipeline.last_readings.clear()

    def expect_more(self, seconds: float) -> None:
        """The machine was suspended: for so long, what does not report may only not have reached us again."""
        self._expects_until = time.monotonic() + seconds

    def drained(self) -> bool:
        """Whether the queue of the broker is worked off.

        Connected, and for a second no batch was full, late, or of readings long past.
        """
        return (
            self._live.listening
            and self._busy_since is None
            and (
                len(self._inbox) < BATCH_MESSAGES
                and time.monotonic() - self._full_at > _DRAINED_AFTER_S
                and time.monotonic() > self._expects_until
            )
        )

    # ---- the writer --------------------------------------------------------------------------------------------
    def _connected(self, event: Connected) -> None:
        self._full_at = time.monotonic()
        self._connections.append((event, self._newest))
        self._inbox.wake()

    def _run(self) -> None:
        while self._stored or not self._stop.is_set():
            self._stamp = self._clock()
            try:
                if not self._in_hand and self._may_take():
                    self._in_hand = self._inbox.take(0.5)
                self._note_news()
                if self._in_hand:
                    self._work(self._in_hand)
                if self._stored:
                    self._settle()
                if time.monotonic() >= self._request_at and self._live.connected:
                    self._request_gaps()
                self._stumbles = 0
            except _StoppedError:
                return
            except Exception:  # the writer is the heart: it goes on, the batch in hand comes first again
                self._stumbles += 1
                log.exception("the ingest writer stumbled and goes on")
                if self._stop.is_set():
                    return
                self._stop.wait(min(_STUMBLE_S * 2 ** min(self._stumbles - 1, 5), 5.0))

    def _may_take(self) -> bool:
        """Whether messages come before the quarantine: a batch is due, and not too much of others waits for it."""
        if not self._stored:
            return True
        return (
            not self._stop.is_set()
            and self._inbox.is_due()
            and (
                self._count_unsettled() < _UNSETTLED_BYTES
                and sum(len(one.refusals.waiting) for one in self._stored) < BATCH_MOST
            )
        )

    def _note_news(self) -> None:
        """Write the alarms and connections that wait; a fault in one of them holds up no message."""
        if time.monotonic() < self._note_at:
            return
        for act, queue in ((self._on_alarm, self._untold), (self._note_connection, self._connections)):
            while queue and not self._stop.is_set():
                try:
                    self._retry(act, queue[0])
                except _StoppedError:
                    raise
                except Exception:
                    log.exception("ingest cannot note %r yet; again in %g s", queue[0], _NOTE_AGAIN_S)
                    self._note_at = time.monotonic() + _NOTE_AGAIN_S
                    break
                queue.pop(0)

    def _work(self, batch: list[BrokerMessage]) -> None:
        waited_s = (self._clock() - batch[0].received_at).total_seconds()
        if len(batch) >= BATCH_MESSAGES or waited_s > _WAITED_S:
            self._full_at = time.monotonic()
        outcome: BatchResult = self._retry(self._store, batch)
        if outcome.brings_history:  # a new site that is filled is not silent since the first reading of it
            self._full_at = time.monotonic()
        if outcome.sites:
            self._on_stored(StoredSites(outcome.sites, outcome.unvoted))
        refusals = Refusals(list(outcome.waiting), outcome.unkept, list(outcome.lost))
        self._stored.append(_StoredBatch(batch, outcome, refusals))
        self._in_hand = []
        if outcome.gaps:
            self._request_at = min(self._request_at, time.monotonic() + _REQUEST_AFTER_S)
        for topic, payload in outcome.asks:
            now_s = time.monotonic()
            self._requested = {name: at_s for name, at_s in self._requested.items() if now_s - at_s < _REQUEST_EVERY_S}
            if topic not in self._requested and len(self._requested) < _REQUESTS_MOST:
                self._requested[topic] = now_s
                self._live.publish(topic, payload, qos=0)

    def _settle(self) -> None:
        """Write a portion of the oldest batch into the quarantine; acknowledge the batches that have all, in order."""
        oldest = self._stored[0].refusals
        if oldest.waiting:
            self._retry(lambda refusals: self._keep(refusals, self._count_unsettled()), oldest)
        while self._stored and not self._stored[0].refusals.waiting:
            self._acknowledge(self._stored[0])
            self._stored.popleft()
        if self._stored:
            self._stop.wait(_OTHERS_S)

    def _acknowledge(self, stored: _StoredBatch) -> None:
        batch, outcome, refusals = stored.batch, stored.outcome, stored.refusals
        lost = refusals.lost
        done = batch if not lost else [m for m in batch if all(m is not one for one in lost)]
        for name, session in self._sessions.items():
            session.acknowledge([m for m in done if m.client == name])
        self._newest = batch[-1].received_at
        added = outcome.added
        self._counts.update(
            messages=len(batch),
            stored=added.stored,
            duplicates=added.duplicates,
            revisions=added.revisions,
            rejected=outcome.rejected,
            unkept=refusals.unkept,
            gaps=outcome.gaps,
            lost=len(lost),
        )

    def _store(self, batch: list[BrokerMessage]) -> BatchResult:
        self._check_hold()
        return self._pipeline.store(batch, readings_first=True)

    def _keep(self, refusals: Refusals, unsettled_bytes: int) -> None:
        self._check_hold()
        self._pipeline.keep(refusals, PORTION_BYTES + unsettled_bytes // 4)  # what falls behind takes larger portions

    def _count_unsettled(self) -> int:
        return sum(one.waiting_bytes for one in self._stored)

    def _check_hold(self) -> None:
        if reason := self._hold():
            raise StoreBusyError(reason)

    def _retry(self, act: Callable[[Any], Any], subject: Any) -> Any:
        """Do it until the database takes it; meanwhile nothing is acknowledged, and the broker keeps what comes."""
        wait_s = 0.1
        while True:
            self._stamp = self._clock()
            try:
                result = act(subject)
            except StoreBusyError as error:
                if self._busy_since is None:
                    self._busy_since = self._clock()
                    log.warning("%s; waiting, nothing is acknowledged meanwhile", error)
                if self._stop.wait(wait_s):
                    raise _StoppedError from None
                wait_s = min(wait_s * 2, 2.0)
                continue
            if self._busy_since is not None:
                log.warning("the database answers again")
                self._busy_since = None
                self._full_at = time.monotonic()  # what waited meanwhile comes first
            return result

    # ---- what was lost -----------------------------------------------------------------------------------------
    def _note_connection(self, noted: tuple[Connected, datetime | None]) -> None:
        """A broker that forgot a session it once had lost what was sent meanwhile: say so, and ask for it.

        The alarm is committed first, the stamp last: a crash between them raises the alarm again, which changes
        nothing, rather than forgets it.
        """
        event, newest = noted
        name = f"{SESSION_STAMP}{event.client_id}"
        alarm_key = SESSION_LOST if event.name == LIVE else f"{SESSION_LOST}:{event.name}"
        with self._db.read() as connection:
            known = find_heartbeat(connection, name)
            ends = load_sequence_ends(connection)
        identity = self._find_identity(event.client_id)
        is_present = event.session_present and (known is None or known[1].get("identity", "") == identity)
        if known is not None and not is_present:
            if not known[1].get("session_present", True):  # the loss before was told, and nobody closed its alarm
                self._on_alarm(_end_session_lost(alarm_key))
            since = newest or known[0]
            log.error("%s: the broker forgot the session; messages since %s may be lost", event.name, format_iso(since))
            reason = _FORGOTTEN(name=event.name, at=Timestamp.of(since), n=Figure(len(ends), "d"))
            facts = {"session": event.client_id, "at": format_iso(event.at), "since": format_iso(since)}
            self._on_alarm(health_alarm(alarm_key, 2, reason, is_open=True, evidence=facts))
            self._publish_request(
                [SequenceGap(e.site, e.station, e.source, e.boot_id, e.seq + 1, None, e.at, event.at) for e in ends]
            )
        elif known is not None:
            # the next loss is told anew, even where nobody closed the alarm of the last one
            self._on_alarm(_end_session_lost(alarm_key))
        with self._db.write() as connection:
            write_heartbeat(connection, name, {"session_present": is_present, "identity": identity}, event.at)

    def _find_identity(self, client_id: str) -> str:
        """Return the identity of a session at the managed broker, else an empty text."""
        if getattr(self._broker, "mode", "external") != "managed":
            return ""
        return load_identity(Path(self._broker.data), client_id)

    def _request_gaps(self) -> None:
        now = self._clock()
        self._request_at = time.monotonic() + 60.0
        try:
            with self._db.write() as connection:
                gaps = load_open_gaps(connection, not_requested_since=now - _REQUEST_AGAIN)
                mark_requested(connection, [g.id for g in gaps if g.id is not None], now)
        except StoreBusyError:
            return
        self._publish_request(gaps)

    def _publish_request(self, gaps: Sequence[SequenceGap]) -> None:
        for gap in gaps:
            request = {
                "source": gap.source,
                "boot_id": gap.boot_id,
                "from_seq": gap.from_seq,
                "to_seq": gap.to_seq,
                "from": None if gap.from_at is None else format_iso(gap.from_at),
                "to": None if gap.to_at is None else format_iso(gap.to_at),
            }
            site = self._pipeline.sites.get(gap.site)
            station = None if site is None else site.station(gap.station)
            former = () if station is None else station.was  # its sender may know no other
            for name in (gap.station, *former):
                self._live.publish(f"{ROOT}{gap.site}/{name}/backfill", json.dumps(request))


def _describe_decoder(site: str, trouble: str | None) -> AlertChange:
    """A decoder that cannot be used is an alarm until a start at which it can."""
    reason = _UNREADABLE(site=site, problem=trouble) if trouble else _USABLE(site=site)
    key, is_open = f"health:decoder:{site}", bool(trouble)
    return health_alarm(key, 2 * is_open, reason, is_open=is_open, evidence={"site": site, "reason": reason})


def _end_session_lost(key: str) -> AlertChange:
    """The broker keeps the session again; nobody need be woken for that, a person closes what happened."""
    return health_alarm(key, 0, _KEPT_AGAIN(), is_open=False, notify=False)


class _StoppedError(Exception):
    """The service stops while the database does not answer: the batch stays with the broker."""
