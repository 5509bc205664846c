"""Ingest where several processes divide the sites: core starts them, watches them, and adds up what they say."""

import contextlib
import logging
import os
import socket
import threading
import time
from collections.abc import Callable, Mapping
from datetime import datetime
from multiprocessing.connection import Connection, wait
from typing import Any, Final

from forecasting.message import Template
from monitor.checks import health
from monitor.domain.errors import StoreBusyError
from monitor.extensions.scale_out.division import Division, Share
from monitor.extensions.scale_out.handover import DivisionHandover, find_division, save_division
from monitor.extensions.scale_out.records import AlarmNotice, CoreHeartbeat, IngestHeartbeat, StartOrders
from monitor.ingest.message import StoredSites
from monitor.ingest.pipeline import LastReading
from monitor.ingest.service import COUNTED, Ingest, IngestContext
from monitor.service.alarms import ServiceAlarms
from monitor.service.child_environment import database_environment
from monitor.service.children import HeartbeatWatch, ModuleProcess, ProcessRestarter
from monitor.store.database.core_turn import CoreTurn, boot_s

_OTHERS_GO_ON: Final = Template(
    "ingest.process_dying", "{text}; the other processes of ingest go on, its messages wait with the broker"
)
_STARTING: Final = Template("ingest.process_starting", "process {n} of ingest is being started")
_DIVIDING: Final = Template("ingest.dividing", "sessions are being divided")()
log: Final = logging.getLogger(__name__)
MODULE: Final = "monitor.extensions.scale_out.process"
HEARTBEAT_EVERY_S: Final = 0.5
SILENT_S: Final = 45.0  # a process that says nothing for so long is stuck, once it has said anything
STOP_S: Final = 4.0
_SUMS: Final = (*COUNTED, "queued", "dropped_qos0", "retained_cleared", "dropped_acknowledgements")
_NOW: Final = frozenset({"queued"})  # of the moment: nothing of it is left when a process has ended


class IngestChild(ModuleProcess):
    """One process of ingest, as `ProcessRestarter` and `DividedIngest` see it."""

    def __init__(self, share: Share, give_orders: Callable[[Share], tuple[StartOrders, CoreHeartbeat]]) -> None:
        super().__init__(f"ingest {share.number}", MODULE, STOP_S)
        self.share, self._give_orders = share, give_orders
        self.line: Connection | None = None
        self.report: IngestHeartbeat | None = None  # None until the first of this process
        self._heartbeats = HeartbeatWatch(SILENT_S)
        self._before = dict.fromkeys(_SUMS, 0)  # what processes counted that have ended

    def start(self) -> None:
        """Start the process; it learns all it knows by its line."""
        ours, theirs = socket.socketpair()
        with theirs:
            self.launch([str(theirs.fileno())], database_environment(os.environ), (theirs.fileno(),))
        self.line = Connection(ours.detach())
        self._heartbeats.start()
        for message in self._give_orders(self.share):
            self.send(message)

    def send(self, message: StartOrders | CoreHeartbeat) -> None:
        """Let it hear something; one that is gone hears nothing."""
        if self.line is not None:
            with contextlib.suppress(OSError):
                self.line.send(message)

    def receive(self) -> IngestHeartbeat | StoredSites | AlarmNotice | None:
        """What it says next; None where it says nothing any more."""
        try:
            received = None if self.line is None else self.line.recv()
        except (EOFError, OSError):
            received = None
        if received is None:
            self._hang_up()
            return None
        self._heartbeats.receive()
        if isinstance(received, IngestHeartbeat):
            self.report = received
        assert isinstance(received, IngestHeartbeat | StoredSites | AlarmNotice)
        return received

    def _hang_up(self) -> None:
        line, self.line = self.line, None
        if line is not None:
            line.close()

    def alive(self) -> bool:
        """False when it has ended, or is stuck (then it is killed)."""
        # where we stood still ourselves, what it said meanwhile is not read yet
        is_unread = self.line is not None and self.line.poll()
        if self.pid is not None and self._heartbeats.is_overdue and not is_unread:
            log.critical("%s has said nothing for %g s; killed", self.name, self._heartbeats.limit_s)
            self.kill()
            return False
        return self.pid is not None

    def stop(self) -> None:
        """End it and wait; what it had not acknowledged stays with the broker."""
        super().stop()
        self._hang_up()
        if self.report is not None:
            self._before = self.count()
            self.report = None

    def count(self) -> dict[str, int]:
        """What this process and those before it counted."""
        now: Mapping[str, Any] = {} if self.report is None else self.report.status
        return {key: (0 if key in _NOW else self._before[key]) + int(now.get(key, 0)) for key in _SUMS}

    def describe(self, restarts: int) -> dict[str, Any]:
        """Its entry in `DividedIngest.status`."""
        report = self.report
        return {
            "process": self.share.number,
            "pid": self.pid,
            "sites": len(self.share.sites or ()),
            "restarts": restarts,
            "messages": self.count()["messages"],
            "connected": report is not None and self.pid is not None and all(report.status["connected"].values()),
            "cpu_s": None if report is None else round(report.cpu_s, 2),
        }


class DividedIngest:
    """The same doors as `monitor.ingest.service.Ingest`, with the work in processes of their own.

    They are children of core and not of the supervisor: they live as long as its turn, run on the sites that it has in
    force, go by its clock, and tell it what they stored. Nobody needs to look into the database for that.

    Args:
        context: as `Ingest` takes it, with the clock of the core.
        alarms: writes alarms of ingest, and of processes that end again and again.
        on_alarm: a process has written an alarm.
        turn: of the core; None where there is none.
    """

    def __init__(
        self, context: IngestContext, alarms: ServiceAlarms, on_alarm: Callable[[], None], turn: CoreTurn | None = None
    ) -> None:
        self._context = context
        self._db, self._config, self._sites, self._clock = context.db, context.config, context.sites, context.clock
        self._on_stored, self._hold = context.on_stored, context.hold
        self._alarms, self._on_alarm, self._turn = alarms, on_alarm, turn
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._run, name="ingest-processes", daemon=True)
        self._children: list[IngestChild] = []
        self._keepers: list[ProcessRestarter] = []
        self._whole: Ingest | None = None  # where one takes all again
        self._handover: DivisionHandover | None = None
        self._last_readings: dict[tuple[str, str], LastReading] = {}
        self._stamp = self._clock()
        self._expect_s, self._forget = 0.0, False  # to be said with the next word
        self._expects_until = self._ignores_until = 0.0  # until all have heard it

    def start(self) -> None:
        """Hand the sessions over where the division changed, then start all processes; returns at once."""
        self._thread.start()

    def stop(self, timeout_s: float = 10.0) -> None:
        """End all processes; what is queued stays with the broker."""
        self._stop.set()
        if self._thread.is_alive():
            self._thread.join(timeout_s + STOP_S)

    # ---- what the core asks ------------------------------------------------------------------------------------
    def progress(self) -> dict[str, datetime]:
        """When our thread last went round, and the writer of an ingest in this process; a broker may be waited for."""
        inside, handover = self._inside(), self._handover
        own = self._stamp if handover is None else handover.progress_at
        found = {} if self._whole is not None else {"ingest.processes": own}
        return found if inside is None else {**found, **inside.progress()}

    def _inside(self) -> Ingest | None:
        return self._whole or (None if self._handover is None else self._handover.leaving)

    def status(self) -> dict[str, Any]:
        """What all of them see, added up; sessions bear the number of their process."""
        inside = self._inside()
        if inside is not None:
            return inside.status() | ({} if self._whole else {"drained": False})
        children = [(child, child.report.status if child.report else None) for child in self._children]
        found: dict[str, Any] = {
            "connected": {},
            "problems": {},
            "refused": {},
            "stumbles": 0,
            "drained": self.drained(),
            "database_busy_since": None,
            "newest_received_at": None,
            "processes": [],
            **{key: sum(child.count()[key] for child, _ in children) for key in _SUMS},
        }
        if not children:
            joining = None if self._handover is None else self._handover.joining
            found |= {
                "connected": {"live": False},
                "problems": {"live": (joining and joining.problem) or _DIVIDING},
                "refused": {joining.name: joining.refused} if joining and joining.refused else {},
            }
        deaths = {keeper.child.name: keeper.deaths for keeper in self._keepers}
        for child, status in children:
            found["processes"].append(child.describe(deaths[child.name]))
            number = child.share.number
            if status is None or child.pid is None:
                found["connected"][f"live {number}"] = False
                found["problems"][f"live {number}"] = _STARTING(n=str(number))
                continue
            for key in ("connected", "problems", "refused"):
                found[key] |= {f"{name} {number}": value for name, value in status[key].items()}
            found["stumbles"] = max(found["stumbles"], status["stumbles"])
            for key, pick in (("database_busy_since", min), ("newest_received_at", max)):
                found[key] = pick(filter(None, (found[key], status[key])), default=None)
        return found

    def drained(self) -> bool:
        """Whether the queue of the broker is worked off by all of them."""
        if self._whole is not None:
            return self._whole.drained()
        if time.monotonic() < self._expects_until:
            return False
        reports = [child.report for child in self._children if child.pid is not None]
        return bool(reports) and len(reports) == len(self._children) and all(r and r.status["drained"] for r in reports)

    def list_last_readings(self) -> dict[tuple[str, str], LastReading]:
        """As `Ingest.list_last_readings`."""
        return dict(self._last_readings) if self._whole is None else self._whole.list_last_readings()

    def forget_last_readings(self) -> None:
        """As `Ingest.forget_last_readings`."""
        self._ignores_until = time.monotonic() + 2 * HEARTBEAT_EVERY_S  # what is on its way was heard by the old clock
        self._last_readings.clear()
        self._forget = True
        if (inside := self._inside()) is not None:
            inside.forget_last_readings()

    def expect_more(self, seconds: float) -> None:
        """As `Ingest.expect_more`."""
        self._expect_s, self._expects_until = seconds, time.monotonic() + seconds
        if (inside := self._inside()) is not None:
            inside.expect_more(seconds)

    # ---- the thread --------------------------------------------------------------------------------------------
    def _run(self) -> None:
        while not self._stop.is_set():
            self._stamp = self._clock()
            try:
                division = self._divide()
                if division is not None:
                    self._keep(division)
            except StoreBusyError as error:
                log.warning("ingest waits for the database: %s", error)
                self._stop.wait(2.0)
            except Exception:  # loop edge: what was not acknowledged comes again
                log.exception("the processes of ingest stumbled and start anew")
                self._stop.wait(2.0)
            finally:
                self._end()

    def _divide(self) -> Division | None:
        found = find_division(self._db, self._config.broker, self._sites, self._config.ingest.processes)
        division, is_other = found
        if is_other:
            log.info("the sites are divided anew among %d processes of ingest", division.processes)
            self._handover = DivisionHandover(self._context, division)
            try:
                if not self._handover.run(self._stop):
                    return None
            finally:
                self._handover = None
        else:
            save_division(self._db, division, self._clock)
        return division

    def _keep(self, division: Division) -> None:
        if division.processes == 1:
            self._whole = Ingest(self._context)
            self._whole.start()
            self._stop.wait()
            return
        self._children = [IngestChild(share, self._give_orders) for share in division.shares()]
        self._keepers = [ProcessRestarter(child, self._on_dying) for child in self._children]
        next_heartbeat_s = 0.0
        while not self._stop.is_set():
            self._stamp = self._clock()
            for keeper in self._keepers:
                keeper.check()
            if time.monotonic() >= next_heartbeat_s:
                next_heartbeat_s = time.monotonic() + HEARTBEAT_EVERY_S
                heartbeat = self._make_heartbeat()
                for child in self._children:
                    child.send(heartbeat)
            by_line = {child.line: child for child in self._children if child.line is not None}
            for line in wait(list(by_line), 0.2):
                self._take(by_line[line])  # type: ignore[index]
            if not by_line:
                self._stop.wait(0.2)

    def _take(self, child: IngestChild) -> None:
        received = child.receive()
        if isinstance(received, StoredSites):
            self._on_stored(received)
        elif isinstance(received, AlarmNotice):
            self._on_alarm()
        elif isinstance(received, IngestHeartbeat):
            if time.monotonic() >= self._ignores_until:
                self._last_readings |= received.last_readings
            late = health.find_overdue(received.progress, self._clock())
            if late:
                log.critical("%s has made no progress for %g s; ended", child.name, health.OVERDUE_S)
                child.stop()
        elif child.share.sites:  # it ended; what it stored last it may not have told
            self._on_stored(StoredSites(child.share.sites))

    def _give_orders(self, share: Share) -> tuple[StartOrders, CoreHeartbeat]:
        config = self._config
        fence = 0 if self._turn is None else self._turn.fence
        return StartOrders(
            config.database.url,
            self._db.session,
            fence,
            config.broker,
            config.limits,
            self._sites,
            share,
            config.log.level,
        ), self._make_heartbeat()

    def _make_heartbeat(self) -> CoreHeartbeat:
        expect_s, self._expect_s = self._expect_s, 0.0
        forget, self._forget = self._forget, False
        renewed_s = None if self._turn is None else self._turn.renewed_s
        return CoreHeartbeat(self._clock(), boot_s(), renewed_s, self._hold(), expect_s, forget)

    def _on_dying(self, name: str, line: str, dying: bool) -> None:
        (log.critical if dying else log.info)("%s", line)
        key = f"process:{name.replace(' ', '-')}"
        if dying:
            self._alarms.open(key, _OTHERS_GO_ON(text=line), 2)
        else:
            self._alarms.clear(key, line)

    def _end(self) -> None:
        whole, self._whole = self._whole, None
        if whole is not None:
            whole.stop()
        for child in self._children:
            child.request_end()
        for child in self._children:
            child.stop()


def open_ingest(
    context: IngestContext, alarms: ServiceAlarms, on_alarm: Callable[[], None], turn: CoreTurn | None = None
) -> Ingest | DividedIngest:
    """Ingest in this process, or in several where the service file says so, or where it did at the last start."""
    config, processes = context.config, context.config.ingest.processes
    is_demo = config.broker.mode == "demo"
    if is_demo and processes > 1:
        log.error("ingest.processes: the broker of a demonstration keeps no sessions to divide; one process takes all")
    is_other = find_division(context.db, config.broker, context.sites, processes)[1]
    if is_demo or (processes == 1 and not is_other):
        return Ingest(context)
    return DividedIngest(context, alarms, on_alarm, turn)
