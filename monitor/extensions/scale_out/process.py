"""A process of ingest: stores what comes for its share of the sites, and ends with its core."""

import contextlib
import logging
import signal
import sys
import threading
import time
from datetime import datetime, timedelta
from multiprocessing.connection import Connection
from typing import Final

from monitor.domain import logs
from monitor.extensions.scale_out.division import SharedIngest
from monitor.extensions.scale_out.records import AlarmNotice, CoreHeartbeat, IngestHeartbeat, StartOrders
from monitor.ingest.message import StoredSites
from monitor.ingest.pipeline import LastReading
from monitor.ingest.service import IngestContext
from monitor.service.alarms import ServiceAlarms
from monitor.store.database.core_turn import CoreTurn, boot_s
from monitor.store.database.engine import Database
from monitor.worker.kernel import hide_memory
from monitor.worker.memory import spare_what_stays

log: Final = logging.getLogger(__name__)
REPORT_EVERY_S: Final = 0.5
STOP_S: Final = 2.5


class IngestProcess:
    """The parts of this process.

    `line`: to the core; `orders`: what it begins with; `first`: what core said then.
    """

    def __init__(self, line: Connection, orders: StartOrders, first: CoreHeartbeat) -> None:
        self._line, self._sending = line, threading.Lock()
        self.ended = threading.Event()
        self._hold = ""
        self._reported: dict[tuple[str, str], LastReading] = {}
        self.db = Database(orders.database_url, orders.session)
        self._turn: CoreTurn | None = None
        if orders.fence:
            self._turn = CoreTurn(self.db)
            self._turn.fence = orders.fence
            self.db.guard, self.db.holds = self._turn.guard, self._turn.holds
        self._apply(first)
        alarms = ServiceAlarms(self.db, orders.sites, self._clock, lambda: self._send(AlarmNotice()))
        context = IngestContext(
            self.db, orders, orders.sites, self._send, alarms.write, self._clock, lambda: self._hold
        )
        self.ingest = SharedIngest(context, orders.share)
        self._listener = threading.Thread(target=self._listen, name="words", daemon=True)

    def run(self) -> None:
        """Store until core says no more, or is gone."""
        began_s = time.process_time()  # to start takes as much as thousands of messages
        self.ingest.start()
        self._listener.start()
        spare_what_stays()
        while not self.ended.wait(REPORT_EVERY_S):
            cpu_s = time.process_time() - began_s
            self._send(IngestHeartbeat(self.ingest.status(), self.ingest.progress(), cpu_s, self._find_new_readings()))
            if self._turn is not None and self._turn.is_lost:
                log.warning("core has lost its turn; this process ends")
                break
        self.ingest.stop(STOP_S)
        self.db.close()

    def note_ended(self, what: threading.ExceptHookArgs) -> None:
        """A thread ended that nobody told to: this process ends, and core starts it anew."""
        log.critical("thread %s ended: %s", what.thread and what.thread.name, what.exc_value, exc_info=what.exc_value)
        self.ended.set()

    def _find_new_readings(self) -> dict[tuple[str, str], LastReading]:
        before, self._reported = self._reported, self.ingest.list_last_readings()
        return {place: reading for place, reading in self._reported.items() if before.get(place) is not reading}

    def _send(self, what: IngestHeartbeat | StoredSites | AlarmNotice) -> None:
        try:
            with self._sending:
                self._line.send(what)
        except OSError:  # core is gone
            self.ended.set()

    def _listen(self) -> None:
        try:
            with contextlib.suppress(EOFError, OSError):
                while True:
                    heartbeat = self._line.recv()
                    self._apply(heartbeat)
                    if heartbeat.expect_s:
                        self.ingest.expect_more(heartbeat.expect_s)
                    if heartbeat.forget_last_readings:
                        self.ingest.forget_last_readings()
        finally:  # whatever it was: without words of core it must not go on
            self.ended.set()

    def _clock(self) -> datetime:
        """The present by the clock of the core as it was last heard, going on from there."""
        now, at_s = self._present
        return now + timedelta(seconds=boot_s() - at_s)

    def _apply(self, heartbeat: CoreHeartbeat) -> None:
        self._present = heartbeat.now, heartbeat.at_s
        self._hold = heartbeat.hold
        if self._turn is not None and heartbeat.renewed_s is not None:
            self._turn.renewed_s = heartbeat.renewed_s


def main(number: str) -> int:
    """Life of the process; the number is that of the socket to the core."""
    hide_memory()  # it holds secrets
    with Connection(int(number)) as line:
        orders, first = line.recv(), line.recv()
        logs.configure(f"ingest-{orders.share.number}", orders.log_level)
        process = IngestProcess(line, orders, first)
        threading.excepthook = process.note_ended
        for sign in (signal.SIGTERM, signal.SIGINT):
            signal.signal(sign, lambda *_: process.ended.set())
        process.run()
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1]))
