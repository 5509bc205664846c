"""Receive messages by two sessions of the broker and store them.

The network threads of the sessions put messages into an `Inbox`. One writer thread takes batches from it, stores the
readings, writes rejected messages into the quarantine, and then acknowledges the messages of each session in
the order of reception.
After a crash the broker sends QoS 1 messages that were not acknowledged again. QoS 0 messages that waited in memory are
lost then.
"""

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
from monitor.ingest.pipeline import PORTION_BYTES, BatchResult, Clock, LastReading, PendingRejections, Pipeline
from monitor.ingest.queries.messages import SequenceGap, load_open_gaps, load_sequence_ends, mark_requested
from monitor.ingest.session_setup import load_identity
from monitor.sites.records import Site
from monitor.storage.engine import Database
from monitor.storage.service_state import find_heartbeat, write_heartbeat
from monitor.text.instants import format_iso
from monitor.text.message import Figure, Template, Timestamp

log: Final = logging.getLogger(__name__)
LIVE: Final = "live"
BACKFILL: Final = "backfill"
COUNTED: Final = ("messages", "stored", "duplicates", "revisions", "rejected", "unkept", "gaps", "lost")
SESSION_LOST: Final = "health:mqtt:session_lost"
# Name of the heartbeat with the newest connection of a session, in front of its client id.
SESSION_STAMP: Final = "mqtt.session:"
# Messages that are merely out of order have arrived after this time.
_REQUEST_AFTER_S: Final = 2.0
_REQUEST_AGAIN: Final = timedelta(hours=1)
_REQUEST_EVERY_S: Final = 60.0
_REQUESTS_MOST: Final = 1000
_DRAINED_AFTER_S: Final = 1.0
# A message that waited this long before it was stored was part of a backlog.
_WAITED_S: Final = 2.0
# Pause after a failure of the writer, doubled with each failure in succession.
_FAILURE_PAUSE_S: Final = 0.2
_LONGEST_FAILURE_PAUSE_S: Final = 5.0
_NOTE_AGAIN_S: Final = 2.0
# Pause between two portions of the quarantine, so that other writers can write.
_QUARANTINE_PAUSE_S: Final = 0.002
# Bytes of rejected payloads that may wait. Beyond them the quarantine is written before further readings.
_MOST_WAITING_BYTES: Final = 8 << 20
_RETRY_S: Final = 0.1
_LONGEST_RETRY_S: Final = 2.0
_UNREADABLE: Final = Template(
    "decoder.unusable", "decoders of {site} cannot be used, and their messages wait in the quarantine: {problem}"
)
_USABLE: Final = Template("decoder.usable", "the decoders of {site} can be used")
_FORGOTTEN: Final = Template(
    "session.lost",
    "The broker forgot the {name} session: messages sent since {at} may be lost. {n} sources are asked to send "
    "them again. Make all other loggers send their stored readings again.",
)
_KEPT_AGAIN: Final = Template(
    "session.kept",
    "The broker keeps the session again. The messages that may be lost were requested from their senders.",
)


@dataclass(frozen=True, slots=True)
class _StoredBatch:
    """A batch whose readings are stored.

    It is acknowledged when its rejected messages are stored too, after all earlier batches.
    """

    batch: list[BrokerMessage]
    result: BatchResult
    rejections: PendingRejections

    @property
    def waiting_bytes(self) -> int:
        return sum(len(rejected.payload) for _, rejected in self.rejections.waiting)


@dataclass(frozen=True, slots=True)
class IngestContext:
    """What ingest depends on.

    Attributes:
        db: Database. The writer of ingest goes before other writers of the process.
        config: Settings of the service, of which `broker` and, if present, `limits` are read.
        sites: All sites, by id.
        on_stored: Called after each commit that stored something new. Must return quickly.
        on_alarm: Called in the writer thread, outside of transactions, to store an alarm of ingest. Returns when the
            alarm is committed, or raises StoreBusyError.
        clock: Wall clock.
        hold: Return why no readings may be stored now, or an empty text. Messages stay at the broker meanwhile.
    """

    db: Database
    config: Any
    sites: Mapping[str, Site]
    on_stored: Callable[[StoredSites], None]
    on_alarm: Callable[[AlertChange], None]
    clock: Clock
    hold: Callable[[], str] = str


def list_sessions(client_id: str, sites: Iterable[Site]) -> tuple[BrokerSession, ...]:
    """Return the sessions of the service.

    The live session subscribes to readings and to the topics of the decoders of these sites. The backfill session
    subscribes to readings that instruments send again, to reports and to events.
    """
    bindings = [binding for site in sites for binding in site.decoders]
    undated = frozenset(binding.topic for binding in bindings if is_undated(binding))
    topics = tuple(dict.fromkeys((LIVE_FILTER, *STRAY_FILTERS, *(binding.topic for binding in bindings))))
    return (
        BrokerSession(LIVE, client_id, topics, undated),
        BrokerSession(BACKFILL, f"{client_id}-{BACKFILL}", BACKFILL_FILTERS),
    )


class Ingest:
    """Stores the messages of the broker as readings, reports and events."""

    def __init__(self, context: IngestContext) -> None:
        self._hold = context.hold
        self._db = context.db
        self._clock = context.clock
        self._on_stored = context.on_stored
        self._on_alarm = context.on_alarm
        self._broker = context.config.broker
        limits = getattr(context.config, "limits", None)
        self._pipeline = Pipeline(context.db, context.sites, context.clock, limits)
        self._inbox = Inbox()
        self._stop = threading.Event()
        # Connections that are not noted yet, each with the newest reception before it.
        self._connections: list[tuple[Connected, datetime | None]] = []
        self._unwritten_alarms: list[AlertChange] = []
        self._note_at_s = 0.0  # monotonic
        self._requested_s: dict[str, float] = {}  # monotonic time of the last request by topic
        # Messages that were taken and are not stored. They stay here after a failure, so that their order is kept.
        self._in_hand: list[BrokerMessage] = []
        self._unacknowledged_batches: deque[_StoredBatch] = deque()  # oldest first
        self._failures = 0  # failures of the writer in succession
        access = find_access(self._broker)
        self._sessions = {
            session.name: MqttSession(
                session,
                access,
                self._inbox.put,
                self._note_connected,
                self._clock,
                may_retain=self._may_retain,
                may_connect=self._db.can_send,
                has_room=partial(self._inbox.has_room, session.name),
            )
            for session in list_sessions(self._broker.client_id, context.sites.values())
        }
        self._live = self._sessions[LIVE]
        self._thread = threading.Thread(target=self._run, name="ingest-writer", daemon=True)
        self._stamp = self._clock()
        self._request_at_s = time.monotonic()  # gaps that were never requested are requested at the start
        self._backlog_at_s = time.monotonic()  # when a batch last belonged to a backlog
        self._expects_until_s = time.monotonic()
        self._busy_since: datetime | None = None
        self._newest: datetime | None = None
        self._counts = Counter(dict.fromkeys(COUNTED, 0))

    def _may_retain(self, topic: str) -> bool:
        """Return whether the broker may keep the retained message of a topic. The number of such topics is limited."""
        sites = self._pipeline.sites
        place = locate(topic)
        if place is None:
            bound = ((site, binding) for site in sites.values() for binding in site.decoders)
            return any(binding.topic == topic or is_known_value(binding, site, topic) for site, binding in bound)
        site = sites.get(place.site)
        return site is not None and (place.decoder_name != "native" or site.station(place.station) is not None)

    def start(self) -> None:
        """Start the writer and both sessions. Return at once."""
        for site in self._pipeline.sites.values():
            if site.decoders:
                self._unwritten_alarms.append(_describe_decoders(site.id, self._pipeline.unusable.get(site.id)))
        self._thread.start()
        for session in self._sessions.values():
            session.start()

    def stop(self, timeout_s: float = 10.0) -> None:
        """Finish and acknowledge the batch in hand, then disconnect.

        Queued messages of QoS 1 stay at the broker. Queued messages of QoS 0 are lost.
        """
        self._stop.set()
        self._inbox.wake()
        if self._thread.is_alive():
            self._thread.join(timeout_s)
        for session in self._sessions.values():
            session.stop()

    def progress(self) -> dict[str, datetime]:
        """Return when the writer thread last ran its loop, or tried again to write to the database."""
        return {"ingest-writer": self._stamp}

    def status(self) -> dict[str, Any]:
        """Return the state of ingest as plain values."""
        unacknowledged = sum(len(stored.batch) for stored in list(self._unacknowledged_batches))
        return {
            # A session counts as connected once its subscriptions are confirmed.
            "connected": {name: s.listening for name, s in self._sessions.items()},
            "problems": {name: s.problem for name, s in self._sessions.items() if s.problem},
            "refused": {name: s.refused for name, s in self._sessions.items() if s.refused},
            "queued": len(self._inbox) + len(self._in_hand) + unacknowledged,
            "writer_failures": self._failures,
            "drained": self.is_drained(),
            "database_busy_since": None if self._busy_since is None else format_iso(self._busy_since),
            "newest_received_at": None if self._newest is None else format_iso(self._newest),
            "dropped_qos0": self._inbox.dropped_qos0,
            "retained_cleared": sum(s.cleared for s in self._sessions.values()),
            "dropped_acknowledgements": sum(s.dropped_acknowledgements for s in self._sessions.values()),
            **self._counts,
        }

    def list_last_readings(self) -> dict[tuple[str, str], LastReading]:
        """Return the newest reading by site and station, since the clock of the machine was set."""
        return dict(self._pipeline.last_readings)

    def forget_last_readings(self) -> None:
        """Forget times of reception by the old clock, after the clock of the machine was set."""
        self._pipeline.last_readings.clear()

    def expect_more(self, seconds: float) -> None:
        """Count as not drained for some time: after the machine was suspended, messages may still be on their way."""
        self._expects_until_s = time.monotonic() + seconds

    def is_drained(self) -> bool:
        """Return whether the queue of the broker is stored.

        The session is connected, and for a second no batch was full, late, or of readings long past.
        """
        now_s = time.monotonic()
        is_current = (
            len(self._inbox) < BATCH_MESSAGES
            and now_s - self._backlog_at_s > _DRAINED_AFTER_S
            and now_s > self._expects_until_s
        )
        return self._live.listening and self._busy_since is None and is_current

    def _note_connected(self, event: Connected) -> None:
        """Queue a connection for the writer. Called in a network thread."""
        self._backlog_at_s = time.monotonic()
        self._connections.append((event, self._newest))
        self._inbox.wake()

    # The following methods run in the writer thread.

    def _run(self) -> None:
        while self._unacknowledged_batches or not self._stop.is_set():
            self._stamp = self._clock()
            try:
                if not self._in_hand and self._may_take():
                    self._in_hand = self._inbox.take(0.5)
                self._write_alarms_and_connections()
                if self._in_hand:
                    self._store_batch(self._in_hand)
                if self._unacknowledged_batches:
                    self._finish_batches()
                if time.monotonic() >= self._request_at_s and self._live.connected:
                    self._request_gaps()
                self._failures = 0
            except _StoppedError:
                return
            except Exception:  # the writer must go on; it starts again with the batch in hand
                self._failures += 1
                log.exception("the ingest writer failed and goes on")
                if self._stop.is_set():
                    return
                pause_s = _FAILURE_PAUSE_S * 2 ** min(self._failures - 1, 5)
                self._stop.wait(min(pause_s, _LONGEST_FAILURE_PAUSE_S))

    def _may_take(self) -> bool:
        """Return whether to take messages before the quarantine is written.

        That is so if no stored batch is unacknowledged, or if a batch is due and few rejected messages wait.
        """
        if not self._unacknowledged_batches:
            return True
        if self._stop.is_set() or not self._inbox.is_due():
            return False
        waiting = sum(len(stored.rejections.waiting) for stored in self._unacknowledged_batches)
        return self._count_waiting_bytes() < _MOST_WAITING_BYTES and waiting < BATCH_MOST

    def _write_alarms_and_connections(self) -> None:
        """Write waiting alarms and connections. A failure other than a busy database does not delay messages."""
        if time.monotonic() < self._note_at_s:
            return
        for write, queue in ((self._on_alarm, self._unwritten_alarms), (self._note_connection, self._connections)):
            while queue and not self._stop.is_set():
                try:
                    self._retry_until_available(write, queue[0])
                except _StoppedError:
                    raise
                except Exception:
                    log.exception("ingest cannot store %r yet; retrying in %g s", queue[0], _NOTE_AGAIN_S)
                    self._note_at_s = time.monotonic() + _NOTE_AGAIN_S
                    break
                queue.pop(0)

    def _store_batch(self, batch: list[BrokerMessage]) -> None:
        """Store the readings of a batch and publish the requests of decoders."""
        waited_s = (self._clock() - batch[0].received_at).total_seconds()
        if len(batch) >= BATCH_MESSAGES or waited_s > _WAITED_S:
            self._backlog_at_s = time.monotonic()
        result: BatchResult = self._retry_until_available(self._store, batch)
        if result.brings_history:
            # A site that is being filled with its past must not count as silent since its first reading.
            self._backlog_at_s = time.monotonic()
        if result.sites:
            self._on_stored(StoredSites(result.sites, result.without_votes))
        rejections = PendingRejections(list(result.waiting), result.unkept, list(result.unwritten))
        self._unacknowledged_batches.append(_StoredBatch(batch, result, rejections))
        self._in_hand = []
        if result.gaps:
            self._request_at_s = min(self._request_at_s, time.monotonic() + _REQUEST_AFTER_S)
        for topic, payload in result.requests:
            self._publish_decoder_request(topic, payload)

    def _publish_decoder_request(self, topic: str, payload: bytes) -> None:
        """Publish the request of a decoder, such as for a new Sparkplug birth, at most once a minute on a topic."""
        now_s = time.monotonic()
        recent = {name: at_s for name, at_s in self._requested_s.items() if now_s - at_s < _REQUEST_EVERY_S}
        if topic not in recent and len(recent) < _REQUESTS_MOST:
            recent[topic] = now_s
            self._live.publish(topic, payload, qos=0)
        self._requested_s = recent

    def _finish_batches(self) -> None:
        """Write a portion of the rejected messages of the oldest batch, and acknowledge batches that are complete."""
        oldest = self._unacknowledged_batches[0].rejections
        if oldest.waiting:
            self._retry_until_available(self._store_rejected, oldest)
        while self._unacknowledged_batches and not self._unacknowledged_batches[0].rejections.waiting:
            self._acknowledge(self._unacknowledged_batches[0])
            self._unacknowledged_batches.popleft()
        if self._unacknowledged_batches:
            self._stop.wait(_QUARANTINE_PAUSE_S)

    def _acknowledge(self, stored: _StoredBatch) -> None:
        batch = stored.batch
        unwritten_ids = {id(message) for message in stored.rejections.unwritten}
        done = [message for message in batch if id(message) not in unwritten_ids]
        for name, session in self._sessions.items():
            session.acknowledge([message for message in done if message.client == name])
        self._newest = batch[-1].received_at
        added = stored.result.added
        self._counts.update(
            messages=len(batch),
            stored=added.stored,
            duplicates=added.duplicates,
            revisions=added.revisions,
            rejected=stored.result.rejected,
            unkept=stored.rejections.unkept,
            gaps=stored.result.gaps,
            lost=len(unwritten_ids),  # the name in the published status
        )

    def _store(self, batch: list[BrokerMessage]) -> BatchResult:
        self._check_hold()
        return self._pipeline.store(batch, readings_first=True)

    def _store_rejected(self, rejections: PendingRejections) -> None:
        self._check_hold()
        # Larger portions, if much waits, so that the quarantine keeps up.
        self._pipeline.store_rejected(rejections, PORTION_BYTES + self._count_waiting_bytes() // 4)

    def _count_waiting_bytes(self) -> int:
        return sum(stored.waiting_bytes for stored in self._unacknowledged_batches)

    def _check_hold(self) -> None:
        if reason := self._hold():
            raise StoreBusyError(reason)

    def _retry_until_available(self, action: Callable[[Any], Any], subject: Any) -> Any:
        """Call `action(subject)` until the database is available. Nothing is acknowledged meanwhile.

        Raises:
            _StoppedError: The service stops.
        """
        wait_s = _RETRY_S
        while True:
            self._stamp = self._clock()
            try:
                result = action(subject)
            except StoreBusyError as error:
                if self._busy_since is None:
                    self._busy_since = self._clock()
                    log.warning("%s; waiting, nothing is acknowledged meanwhile", error)
                if self._stop.wait(wait_s):
                    raise _StoppedError from None
                wait_s = min(wait_s * 2, _LONGEST_RETRY_S)
                continue
            if self._busy_since is not None:
                log.warning("readings are stored again")
                self._busy_since = None
                self._backlog_at_s = time.monotonic()  # messages waited meanwhile
            return result

    def _note_connection(self, noted: tuple[Connected, datetime | None]) -> None:
        """Store a connection. If the broker lost the session, raise an alarm and request the lost messages.

        The alarm is committed first and the heartbeat of the session last. A crash in between raises the alarm again,
        which changes nothing.
        """
        event, newest = noted
        name = f"{SESSION_STAMP}{event.client_id}"
        alarm_key = SESSION_LOST if event.name == LIVE else f"{SESSION_LOST}:{event.name}"
        with self._db.read() as connection:
            before = find_heartbeat(connection, name)
            ends = load_sequence_ends(connection)
        identity = self._find_identity(event.client_id)
        is_present = event.session_present and (before is None or before[1].get("identity", "") == identity)
        if before is not None and not is_present:
            if not before[1].get("session_present", True):
                # End the alarm of the connection before, so that this loss opens a new one.
                self._on_alarm(_end_session_lost(alarm_key))
            since = newest or before[0]
            log.error("%s: the broker forgot the session; messages since %s may be lost", event.name, format_iso(since))
            reason = _FORGOTTEN(name=event.name, at=Timestamp.of(since), n=Figure(len(ends), "d"))
            facts = {"session": event.client_id, "at": format_iso(event.at), "since": format_iso(since)}
            self._on_alarm(health_alarm(alarm_key, 2, reason, is_open=True, evidence=facts))
            self._publish_requests(
                [
                    SequenceGap(end.site, end.station, end.source, end.boot_id, end.seq + 1, None, end.at, event.at)
                    for end in ends
                ]
            )
        elif before is not None:
            # Without this the next loss would be part of an alarm that nobody has closed.
            self._on_alarm(_end_session_lost(alarm_key))
        with self._db.write() as connection:
            write_heartbeat(connection, name, {"session_present": is_present, "identity": identity}, event.at)

    def _find_identity(self, client_id: str) -> str:
        """Return the identity of a session at the managed broker, else an empty text."""
        if getattr(self._broker, "mode", "external") != "managed":
            return ""
        return load_identity(Path(self._broker.data), client_id)

    def _request_gaps(self) -> None:
        """Request messages that are missing by their sequence numbers, each gap at most once an hour."""
        now = self._clock()
        self._request_at_s = time.monotonic() + _REQUEST_EVERY_S
        try:
            with self._db.write() as connection:
                gaps = load_open_gaps(connection, not_requested_since=now - _REQUEST_AGAIN)
                mark_requested(connection, [gap.id for gap in gaps if gap.id is not None], now)
        except StoreBusyError:
            return
        self._publish_requests(gaps)

    def _publish_requests(self, gaps: Sequence[SequenceGap]) -> None:
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
            # The sender may use a former id of the station.
            former_ids = () if station is None else station.was
            for station_id in (gap.station, *former_ids):
                self._live.publish(f"{ROOT}{gap.site}/{station_id}/backfill", json.dumps(request))


def _describe_decoders(site: str, problem: str | None) -> AlertChange:
    """Return the alarm of decoders that cannot be used, or its end."""
    is_open = bool(problem)
    reason = _UNREADABLE(site=site, problem=problem) if problem else _USABLE(site=site)
    level = 2 if is_open else 0
    key = f"health:decoder:{site}"
    return health_alarm(key, level, reason, is_open=is_open, evidence={"site": site, "reason": reason})


def _end_session_lost(key: str) -> AlertChange:
    """Return the change that ends the condition of an alarm about a lost session.

    Nobody is notified. An operator still has to close the alarm.
    """
    return health_alarm(key, 0, _KEPT_AGAIN(), is_open=False, notify=False)


class _StoppedError(Exception):
    """The service stops while the database is unavailable. The batch stays at the broker."""
