"""The loops of self-monitoring in the core process."""

import logging
import os
import socket
import time
from collections.abc import Callable, Iterable, Mapping
from datetime import datetime
from functools import partial
from typing import Any, Final

from monitor.app.checks.live import CheckThreads
from monitor.app.checks.machine import DatabaseFacts, Machine
from monitor.app.checks.table import read_rows, run_checks
from monitor.app.self_monitoring.alarms import ServiceAlarms
from monitor.app.self_monitoring.commits import CommitMonitor
from monitor.app.self_monitoring.conditions import AlarmConditions, Counters
from monitor.app.self_monitoring.database_file import DatabaseFileWatch
from monitor.app.self_monitoring.duties import Duty, DutyLoop
from monitor.app.self_monitoring.facts import CoreParts, collect_facts
from monitor.app.self_monitoring.outages import OutageWatch
from monitor.app.self_monitoring.threads import ESSENTIAL_THREAD, MACHINE_THREAD, PLUGIN_THREAD
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


class SelfMonitoring:
    """Collect facts, run checks, update conditions and store alarms, in three threads.

    1. The essential thread uses only the memory and the database. It also writes the heartbeat of the core.
    2. The machine thread checks disks and backups, which may be on a network drive that does not answer.
    3. The plugin thread calls plugins, which may not return.

    If one of the other threads hangs, the essential one raises an alarm. If that one hangs, the core must be
    replaced (`progress`). A duty that fails is logged and repeated; the others go on.

    Args:
        lease: The lease of this core on PostgreSQL; None on SQLite.
        more_duties: Duties of the core that are not checks. They run in the essential thread.
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
        self._counters = Counters()
        self._commits = commits
        self._parts = parts
        self._lease = lease
        self._started_at = started_at
        self._database_file = DatabaseFileWatch(db)
        self._outages = OutageWatch(db, clock)
        # Replaced as a whole, because another thread reads it.
        self._commit_durations_s: tuple[float, ...] = ()
        essential_duties = (
            Duty("keep the disk reserve", parts.reserve.update, UPDATE_RESERVE_EVERY_S),
            Duty("end long sessions of readers", parts.readers.check, CHECK_READERS_EVERY_S),
            Duty("store alarms", alarms.write_pending, WRITE_ALARMS_EVERY_S),
            Duty("check the parts of the core", self.check_parts, CHECK_PARTS_EVERY_S),
            Duty("write the heartbeat", partial(self.write_heartbeat, "running"), CHECK_PARTS_EVERY_S),
            Duty("record outages of the input", self._record_outages, CHECK_PARTS_EVERY_S),
            Duty("end the shelving of alarms", alarms.unshelve, UNSHELVE_EVERY_S),
            Duty("check the clock", parts.clock_watch.check, CHECK_CLOCK_EVERY_S),
            *more_duties,
        )
        machine_duties = (Duty("check machine and database", self.check_machine, CHECK_MACHINE_EVERY_S),)
        plugin_duties = (
            Duty("check subjects of plugins", self.check_plugin_subjects, CHECK_MACHINE_EVERY_S),
            *(
                Duty("follow a part of a plugin", partial(self.follow_plugin_part, part), part.follow_every_s)
                for part in parts.plugin_parts
            ),
        )
        self._essential_loop = self._make_loop(ESSENTIAL_THREAD, essential_duties)
        self._machine_loop = self._make_loop(MACHINE_THREAD, machine_duties)
        self._plugin_loop = self._make_loop(PLUGIN_THREAD, plugin_duties)
        self.loops = (self._essential_loop, self._machine_loop, self._plugin_loop)

    def _make_loop(self, name: str, duties: Iterable[Duty]) -> DutyLoop:
        return DutyLoop(name, duties, attempt=self._commits.attempt, clock=self._clock)

    # ---- the threads ---------------------------------------------------------------------------------------------
    def start(self) -> None:
        """Start the threads."""
        for loop in self.loops:
            loop.start()

    def stop(self, timeout_s: float) -> None:
        """End each thread after its current duty, and wait for their ends, but not for longer than `timeout_s`."""
        deadline_s = time.monotonic() + timeout_s
        for loop in self.loops:
            loop.request_stop()
        for loop in self.loops:
            loop.join(max(0.0, deadline_s - time.monotonic()))

    def progress(self) -> dict[str, datetime]:
        """Return when the essential thread made progress last; empty before its start."""
        progress_at = self._essential_loop.progress_at
        return {} if progress_at is None else {ESSENTIAL_THREAD: progress_at}

    # ---- checks --------------------------------------------------------------------------------------------------
    def check(self, *facts: object) -> None:
        """Run the checks that examine these facts, and begin or end their alarms. Raises as `AlarmConditions.check`."""
        self._conditions.check(facts, time.monotonic())

    def check_parts(self) -> None:
        """Check the parts of the core, its threads and the database file."""
        # Read before `collect_facts`, which returns some failures only once: an error here must not discard them.
        file_status = self._database_file.check()
        facts = collect_facts(self._parts, self._db, self._config, self._sites, self._counters.has_grown)
        threads = CheckThreads(self._machine_loop.find_hanging_since(), self._plugin_loop.find_hanging_since())
        self.check(*facts, file_status, threads)

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
        """Check the machine, the database and its backups, and store the results for the view `service_checks`."""
        now = self._clock()
        channels = gather_channels(self._sites.values())
        database = DatabaseFacts(self._db, self._config, self._commit_durations_s, channels, now)
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
        duration_s = time.monotonic() - started_s
        self._commit_durations_s = (*self._commit_durations_s, duration_s)[-COMMIT_DURATIONS:]
        self._commits.note_write()


def _to_plain(value: Any) -> Any:
    """Return a value that JSON can contain."""
    if isinstance(value, dict):
        return {str(key): _to_plain(entry) for key, entry in value.items()}
    if isinstance(value, list | tuple | set | frozenset):
        return [_to_plain(entry) for entry in value]
    return value if isinstance(value, str | int | float | bool | None) else str(value)
