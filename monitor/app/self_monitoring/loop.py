"""The loop of self-monitoring in the core process."""

import logging
import os
import socket
import threading
import time
from collections import deque
from collections.abc import Callable, Mapping
from datetime import datetime
from functools import partial
from typing import Any, Final, NamedTuple

from monitor.app.checks.machine import DatabaseFacts, Machine
from monitor.app.checks.table import read_rows, run_checks
from monitor.app.self_monitoring.alarms import ServiceAlarms
from monitor.app.self_monitoring.commits import CommitMonitor
from monitor.app.self_monitoring.conditions import AlarmConditions
from monitor.app.self_monitoring.database_file import DatabaseFileWatch
from monitor.app.self_monitoring.facts import CoreParts, collect_facts
from monitor.app.self_monitoring.outages import OutageWatch
from monitor.canonical import code_version
from monitor.delivery.trial import gather_channels
from monitor.plugins import implementations
from monitor.registration import ServicePart
from monitor.settings.service import ServiceConfig
from monitor.sites.records import Site
from monitor.storage.core_lease import CoreLease
from monitor.storage.engine import Database
from monitor.storage.service_state import OK, CheckRow, load_checks, save_checks, write_heartbeat
from monitor.text.instants import format_iso

log = logging.getLogger(__name__)

WAKE_EVERY_S: Final = 0.25
# Pause after a duty that failed.
RETRY_S: Final = 1.0
WRITE_ALARMS_EVERY_S: Final = 0.5
UPDATE_RESERVE_EVERY_S: Final = 1.0
CHECK_READERS_EVERY_S: Final = 2.0
CHECK_PARTS_EVERY_S: Final = 3.0
CHECK_CLOCK_EVERY_S: Final = 5.0
UNSHELVE_EVERY_S: Final = 15.0
CHECK_MACHINE_EVERY_S: Final = 30.0
# How many durations of commits of the heartbeat are kept: those of five minutes.
COMMIT_DURATIONS: Final = 100
HEARTBEAT: Final = "core"


class Duty(NamedTuple):
    """Work that the loop repeats."""

    name: str
    run: Callable[[], object]
    every_s: float


class SelfMonitoring:
    """Collect facts, run checks, update conditions and store alarms, in one thread.

    The thread also writes the heartbeat of the core. A duty that fails is logged and repeated; the others go on.

    Args:
        lease: The lease of this core on PostgreSQL; None on SQLite.
        more_duties: Duties of the core that are not checks.
    """

    def __init__(
        self,
        *,
        db: Database,
        config: ServiceConfig,
        sites: Mapping[str, Site],
        clock: Callable[[], datetime],
        alarms: ServiceAlarms,
        conditions: AlarmConditions,
        commits: CommitMonitor,
        parts: CoreParts,
        lease: CoreLease | None,
        started_at: datetime,
        more_duties: tuple[Duty, ...] = (),
    ) -> None:
        self._db = db
        self._config = config
        self._sites = sites
        self._clock = clock
        self._alarms = alarms
        self._conditions = conditions
        self._commits = commits
        self._parts = parts
        self._lease = lease
        self._started_at = started_at
        self._database_file = DatabaseFileWatch(db)
        self._outages = OutageWatch(db, clock)
        self._commit_durations_s: deque[float] = deque(maxlen=COMMIT_DURATIONS)
        self._stopping = threading.Event()
        self.duties = (
            Duty("keep the disk reserve", parts.reserve.update, UPDATE_RESERVE_EVERY_S),
            Duty("end long sessions of readers", parts.readers.check, CHECK_READERS_EVERY_S),
            Duty("store alarms", alarms.write_pending, WRITE_ALARMS_EVERY_S),
            Duty("check the parts of the core", self.check_parts, CHECK_PARTS_EVERY_S),
            Duty("write the heartbeat", partial(self.write_heartbeat, "running"), CHECK_PARTS_EVERY_S),
            Duty("record outages of the input", self._record_outages, CHECK_PARTS_EVERY_S),
            Duty("check machine and database", self.check_machine, CHECK_MACHINE_EVERY_S),
            Duty("check subjects of plugins", self.check_plugin_subjects, CHECK_MACHINE_EVERY_S),
            Duty("end the shelving of alarms", alarms.unshelve, UNSHELVE_EVERY_S),
            Duty("check the clock", parts.clock_watch.check, CHECK_CLOCK_EVERY_S),
            *more_duties,
            *(
                Duty("follow a part of a plugin", partial(self.follow_plugin_part, part), part.follow_every_s)
                for part in parts.plugin_parts
            ),
        )
        self.thread = threading.Thread(target=self.run, name="self-monitoring", daemon=True)

    # ---- the loop ------------------------------------------------------------------------------------------------
    def start(self) -> None:
        """Start the thread."""
        self.thread.start()

    def stop(self, timeout_s: float) -> None:
        """End the thread after its current duty, and wait for its end, but not for longer than `timeout_s`."""
        self._stopping.set()
        if self.thread.is_alive():
            self.thread.join(timeout_s)

    def run(self) -> None:
        """Do each duty when it is due, until `stop` is called."""
        due_s = [0.0] * len(self.duties)
        while not self._stopping.wait(WAKE_EVERY_S):
            for number, duty in enumerate(self.duties):
                if self._stopping.is_set():
                    return
                started_s = time.monotonic()
                if started_s < due_s[number]:
                    continue
                is_done = self._commits.attempt(duty.run)
                due_s[number] = started_s + (duty.every_s if is_done else max(duty.every_s, RETRY_S))

    # ---- checks --------------------------------------------------------------------------------------------------
    def check(self, *facts: object) -> None:
        """Run the checks that examine these facts, and begin or end their alarms. Raises as `AlarmConditions.check`."""
        self._conditions.check(facts, time.monotonic())

    def check_parts(self) -> None:
        """Check the parts of the core, its threads and the database file."""
        # Read before `collect_facts`, which returns some failures only once: an error here must not discard them.
        file_status = self._database_file.check()
        facts = collect_facts(self._parts, self._db, self._config, self._sites, self._conditions.has_grown)
        self.check(*facts, file_status)

    def check_ended_threads(self) -> None:
        """Check threads only and store the alarms, before this process ends because of them."""
        self.check(self._parts.threads.take_status())
        self._commits.attempt(self._alarms.write_pending)

    def check_plugin_subjects(self) -> None:
        """Check the subjects that plugins return. A plugin that fails does not prevent the others."""
        for implementation in implementations("health_subjects"):
            self._commits.attempt(partial(self._check_plugin_subject, implementation.call))

    def _check_plugin_subject(self, read: Callable[..., object]) -> None:
        self.check(read(db=self._db, config=self._config, sites=self._sites, now=self._clock()))

    def follow_plugin_part(self, part: ServicePart) -> None:
        """Let a part of a plugin work, and check its subjects even if it fails."""
        try:
            part.follow()
        finally:
            self.check(*part.subjects)

    def check_machine(self) -> None:
        """Check the machine, the database and its copies, and store the results for the view `service_checks`."""
        now = self._clock()
        channels = gather_channels(self._sites.values())
        database = DatabaseFacts(self._db, self._config, tuple(self._commit_durations_s), channels, now)
        rows = [finding.row for fact in (Machine(self._config), database) for finding in run_checks(fact)]
        # A job writes the rows of the broker. A demonstration has no such job.
        is_demo = self._config.broker.mode == "demo"
        with self._db.write() as c:
            removed = save_checks(c, rows, now, lambda name: is_demo or not name.startswith("broker."))
            stored = [stored.check for stored in load_checks(c).values()]
        over = [CheckRow(name, OK, "is no longer checked") for name in removed]
        self._conditions.update(read_rows([*stored, *over]), time.monotonic())

    def _record_outages(self) -> None:
        self._outages.update(self._parts.ingest.status())

    # ---- heartbeat -----------------------------------------------------------------------------------------------
    def write_heartbeat(self, state: str) -> None:
        """Write what other processes, the page and `slopeward status` show about the core."""
        degraded = self._conditions.degraded()
        lease = self._lease
        detail: dict[str, Any] = {
            "state": state,
            "pid": os.getpid(),
            "host": socket.gethostname(),
            "started_at": self._started_at.isoformat(),
            "version": code_version(),
            "name": self._config.service_name,
            "active_since": None if lease is None or lease.taken_at is None else format_iso(lease.taken_at),
            "sites": sorted(self._sites),
            "degraded": list(degraded),
            "levels": degraded,
            "ingest": _to_plain(self._parts.ingest.status()),
            "dispatcher": _to_plain(self._parts.dispatcher.status()),
            "slow_writes": {name: slow._asdict() for name, slow in self._db.slow_writes.list_slow().items()},
        }
        with self._db.write() as c:
            started_s = time.monotonic()
            write_heartbeat(c, HEARTBEAT, detail, self._clock())
        self._commit_durations_s.append(time.monotonic() - started_s)
        self._commits.note_write()


def _to_plain(value: Any) -> Any:
    """Return a value that JSON can contain."""
    if isinstance(value, dict):
        return {str(key): _to_plain(entry) for key, entry in value.items()}
    if isinstance(value, list | tuple | set | frozenset):
        return [_to_plain(entry) for entry in value]
    return value if isinstance(value, str | int | float | bool | None) else str(value)
