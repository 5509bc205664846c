"""From one division of the sites to another: what the old sessions of the broker hold is stored before they end.

A message is missed by nobody and keeps its order, because of the order of four steps:

1. Write down which sessions there will be. Who is killed in the middle begins again and finds all of them.
2. Subscribe with the new sessions. From now on the broker keeps each message there too.
3. Store what the old sessions hold, up to a mark that is published after step 2, and end them. What both have is a
   duplicate.
4. Write down the new division. The processes begin; no reading of a station has overtaken an older one.
"""

import logging
import threading
import time
import uuid
from collections.abc import Callable, Iterable, Mapping
from typing import Any, Final

from monitor.broker.access import Access, find_access
from monitor.broker.probe import connected
from monitor.domain.site import Site
from monitor.extensions.scale_out.division import Division, Share, count_stations, find_kept
from monitor.ingest.message import ROOT, BrokerMessage
from monitor.ingest.mqtt import BrokerSession, MqttSession
from monitor.ingest.pipeline import Clock
from monitor.ingest.service import BACKFILL, LIVE, SESSION_STAMP, Ingest, IngestContext, list_sessions
from monitor.store.database.engine import Database
from monitor.store.service_state import find_stamp, remove_stamp, stamp

log: Final = logging.getLogger(__name__)
STAMP: Final = "ingest.division"  # there only where the sites are, or were, divided
AGAIN_S: Final = 2.0
PATIENCE_S: Final = 30.0  # then marks are sent once more


def find_division(db: Database, broker: Any, sites: Mapping[str, Site], processes: int) -> tuple[Division, bool]:
    """The division that is wanted now, and whether sessions of another one may still hold messages."""
    found = db.run_read(find_stamp, STAMP)
    detail = {} if found is None else found[1]
    same = detail.get("processes", 1) == processes and detail.get("client_id", broker.client_id) == broker.client_id
    wanted = Division(broker.client_id, processes, detail.get("sites", {}) if same else {})
    division = wanted.renew(count_stations(sites.values()) if processes > 1 else {})
    left = set(detail.get("sessions", ())) - set(find_kept(division.shares()))
    return division, not same or bool(left)


def save_division(db: Database, division: Division, clock: Clock) -> None:
    """Write down which process has which site, for the next start; nothing is kept where one takes all."""
    with db.write() as c:
        if division.processes == 1:
            remove_stamp(c, STAMP)
        else:
            stamp(c, STAMP, _describe(division, find_kept(division.shares())), clock())


def _describe(division: Division, sessions: Iterable[str]) -> dict[str, Any]:
    return {
        "client_id": division.client_id,
        "processes": division.processes,
        "sites": dict(division.sites),
        "sessions": sorted(sessions),
    }


def _format_mark(mark: str, name: str) -> str:
    """A topic that the service may write and read at every broker; no instrument and no other session has it."""
    return f"{ROOT}status/{mark}-{name}/backfill"


class SessionDrain(Ingest):
    """Ingest of a pair of sessions that end: stores what they hold up to a mark, whatever site it is of."""

    def __init__(self, mark: str, context: IngestContext, client_id: str) -> None:
        self._mark, self._leaving_id = mark, client_id
        self._seen: set[str] = set()
        self._handed = 0
        super().__init__(context)

    def _listen(self) -> tuple[BrokerSession, ...]:
        """The mark alone: the other subscriptions are those that the broker keeps."""
        return tuple(
            BrokerSession(one.name, one.client_id, (_format_mark(self._mark, one.name),))
            for one in list_sessions(self._leaving_id, ())
        )

    def _receive(self, message: BrokerMessage) -> None:
        if message.topic == _format_mark(self._mark, message.client):
            self._seen.add(message.client)
            return
        self._handed += 1
        super()._receive(message)

    def is_empty(self) -> bool:
        """Whether all that came before the mark is stored."""
        status = self.status()
        return len(self._seen) == len(self._sessions) and status["messages"] + status["dropped_qos0"] >= self._handed


class DivisionHandover:
    """The way from the division that was to another one; `run` returns when the new sessions have all."""

    def __init__(self, context: IngestContext, division: Division) -> None:
        self._context, self._division = context, division
        self._db, self._clock = context.db, context.clock
        self._access = find_access(context.config.broker)
        self.leaving: SessionDrain | None = None  # what is being emptied
        self.joining: MqttSession | None = None  # what is being subscribed
        self.progress_at = self._clock()  # it goes round, also while it waits for a broker

    def run(self, stop: threading.Event) -> bool:
        """Hand over; False when told to stop before it was done."""
        new = self._division.shares()
        found = self._db.run_read(find_stamp, STAMP)
        first = find_kept(Division(self._context.config.broker.client_id).shares())  # before the first division
        before = {} if found is None else found[1]
        known = {*before.get("sessions", first), *find_kept(new)}
        with self._db.write() as c:
            stamp(c, STAMP, {"processes": 0, **before, "sessions": sorted(known)}, self._clock())
        for share in new:
            for one in share.listen(self._context.sites):
                if one.is_kept and not self._subscribe(one, stop):
                    return False
        ends = f"-{BACKFILL}"
        for client_id in sorted(known - set(find_kept(new))):
            if not client_id.endswith(ends) and not self._empty(client_id, stop):
                return False
        save_division(self._db, self._division, self._clock)
        return True

    def _subscribe(self, one: BrokerSession, stop: threading.Event) -> bool:
        """Let the broker keep messages for a session from now on; those that come at once come again.

        A subscription that the broker refuses keeps nobody from the others: the process that begins says so.
        """
        session = self.joining = MqttSession(
            one, self._access, lambda _: None, lambda _: None, self._clock, may_connect=self._db.holds
        )
        session.start()
        try:
            while not (session.listening or session.refused):
                if self._wait(stop, 0.02):
                    return False
        finally:
            self.joining = None
            session.stop()
        return True

    def _empty(self, client_id: str, stop: threading.Event) -> bool:
        """Store what a pair of sessions holds, then end them; the sessions are forgotten before they end."""
        log.info("what the broker holds for %s is stored first", client_id)
        mark = uuid.uuid4().hex
        leaving = self.leaving = SessionDrain(mark, self._context, client_id)
        leaving.start()
        try:
            while not all(leaving.status()["connected"].values()):
                if self._wait(stop, 0.02):
                    return False
            marks_at = time.monotonic()
            while not leaving.is_empty():
                if time.monotonic() >= marks_at:
                    sent = self._try(lambda: _publish_marks(self._access, mark))
                    marks_at = time.monotonic() + (PATIENCE_S if sent else AGAIN_S)
                if self._wait(stop, 0.02):
                    return False
        finally:
            leaving.stop()
        with self._db.write() as c:
            for one in find_kept((Share(client_id),)):
                remove_stamp(c, f"{SESSION_STAMP}{one}")
        while not self._try(lambda: _end_sessions(self._access, find_kept((Share(client_id),)))):
            if self._wait(stop, AGAIN_S):
                return False
        self.leaving = None
        return True

    def _wait(self, stop: threading.Event, seconds: float) -> bool:
        self.progress_at = self._clock()
        return stop.wait(seconds)

    def _try(self, act: Callable[[], object]) -> bool:
        try:
            act()
        except OSError as error:
            log.warning("the broker does not answer, the sessions are handed over later: %s", error)
            return False
        return True


def _publish_marks(access: Access, mark: str) -> None:
    with connected(access, f"slopeward-mark-{uuid.uuid4().hex[:8]}", expiry_s=0, clean=True) as (client, _, _):
        for name in (LIVE, BACKFILL):
            client.publish(_format_mark(mark, name), b"x", qos=1).wait_for_publish(AGAIN_S)


def _end_sessions(access: Access, client_ids: Iterable[str]) -> None:
    for client_id in client_ids:
        with connected(access, client_id, expiry_s=0, clean=True):
            pass
