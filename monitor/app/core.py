"""The core process: receives readings, evaluates sites, delivers alerts and runs jobs.

`main` runs these phases: `Core.start` opens the database and starts the parts, each with threads of its own.
`Core.watch` sends heartbeats to the supervisor until the process has to end. `Core.stop` ends the parts in the order in
which data flows through them.
"""

import logging
import os
import signal
import sys
import threading
import time
import uuid
from collections.abc import Callable
from datetime import UTC, datetime
from itertools import chain
from pathlib import Path
from typing import Final, TypeVar

from monitor import logs
from monitor.alerts.notification import Notification
from monitor.alerts.queries.events import ChangeDetector
from monitor.app import heartbeats
from monitor.app.checks.site_files import SiteFolder
from monitor.app.checks.table import run_alarm_checks
from monitor.app.core_lock import hold_core_lock, refuse_second_core
from monitor.app.evaluation_loop import EvaluationLoop
from monitor.app.schedule import Schedule
from monitor.app.self_monitoring.alarms import ServiceAlarms
from monitor.app.self_monitoring.clock import ServiceClock
from monitor.app.self_monitoring.clock_watch import ClockJumpGuard, ClockWatch
from monitor.app.self_monitoring.commits import LEASE, CommitMonitor
from monitor.app.self_monitoring.conditions import AlarmConditions
from monitor.app.self_monitoring.database_file import check_identity
from monitor.app.self_monitoring.duties import Duty
from monitor.app.self_monitoring.facts import CoreParts
from monitor.app.self_monitoring.loop import SelfMonitoring
from monitor.app.self_monitoring.state_file import StateFile
from monitor.app.self_monitoring.threads import ThreadWatch
from monitor.app.site_files import SitesInForce
from monitor.broker.access import find_access
from monitor.broker.signing import KEYS_FILE, Keyring
from monitor.canonical import code_version
from monitor.decision.changes import AlertCategory
from monitor.delivery.dispatcher import Dispatcher
from monitor.delivery.limits import DeliveryLimits
from monitor.delivery.notifier import channel_settings
from monitor.delivery.state import StatePublisher
from monitor.errors import SlopewardError, StoreBusyError
from monitor.ingest.message import StoredSites
from monitor.ingest.service import Ingest, IngestContext
from monitor.plugins import hooks
from monitor.registration import ServicePart
from monitor.settings.service import ServiceConfig, load_service
from monitor.sites.cadence import stage_cadence
from monitor.sites.records import Site
from monitor.storage.core_lease import CoreLease
from monitor.storage.engine import Database
from monitor.storage.migrate import RESTORE, find_newest_revision, list_missing_columns, upgrade
from monitor.storage.readers import ReaderWatch
from monitor.storage.reserve import DiskReserve
from monitor.text.instants import STOPPED
from monitor.text.message import Template
from monitor.worker import compute
from monitor.worker.garbage_collection import freeze_startup_objects
from monitor.worker.linux import hide_memory

TAKEN_OVER: Final = Template(
    "core.taken_over",
    "another core has taken this database over, after its server was restarted or ended our session. This one decides "
    "nothing and waits: stop one of the two services",
)()

_T = TypeVar("_T")
log = logging.getLogger(__name__)

HEARTBEAT_EVERY_S: Final = 1.0
RENEW_LEASE_EVERY_S: Final = 1.0
CHECK_SITE_FILES_EVERY_S: Final = 3.0
START_FIRST_JOBS_EVERY_S: Final = 2.0
RETRY_DATABASE_S: Final = 2.0
# How long the start waits until the broker has confirmed the subscriptions.
AWAIT_BROKER_S: Final = 3.0
# How long a thread that computes may keep the interpreter while another thread waits for it. An evaluation may have to
# wait after each of its SQL statements. With Python's default of 5 ms, these waits add up to a tenth of a second.
SWITCH_INTERVAL_S: Final = 0.0005

STOP_PART_S: Final = 3.0
STOP_PLUGIN_PART_S: Final = 1.0
# The process exits if `Core.stop` takes longer. The supervisor would kill it a second later, but may have ended itself.
STOP_S: Final = 7.0
# Threads of jobs may run for this long after all other parts have ended.
END_JOBS_S: Final = 2.0


def now_utc() -> datetime:
    """Return the current time."""
    return datetime.now(UTC)


class Core:
    """The parts of the core process: how they start, are watched, and stop.

    Attributes:
        stopping: Set when the process has to end.
        has_new_site_files: Set when another version of a site file is in force. A new core process has to load it.
    """

    def __init__(
        self, config: ServiceConfig, clock: Callable[[], datetime] = now_utc, session: str = "slopeward"
    ) -> None:
        self.config = config
        self.clock = clock
        self.started_at = clock()
        self.stopping = threading.Event()
        self.has_new_site_files = threading.Event()
        self.db = Database(config.database.url, session)
        self.lease: CoreLease | None = None  # on PostgreSQL
        self.sites: dict[str, Site] = {}
        self.plugin_parts: list[ServicePart] = []
        self.alarms = ServiceAlarms(self.db, self.sites, clock, self._wake_dispatcher)
        self.conditions = AlarmConditions(self.alarms)
        self.commits = CommitMonitor(clock, config.schedule.evaluate_tick_s)
        self.threads = ThreadWatch()
        self.site_files = SitesInForce(self.db, config, clock)
        self._change_detector = ChangeDetector()
        self._jump_guard = ClockJumpGuard(clock())
        self._signing_keys = Keyring(Path(config.paths.state) / KEYS_FILE, config.signing.keys)
        # Set when another core has taken the database over. This process must write nothing more.
        self._has_lost_lease = False
        self._has_stopped_parts = threading.Event()

    def use_lease(self, lease: CoreLease | None) -> None:
        """Allow transactions only while this process holds the lease. On SQLite there is no lease."""
        self.lease = lease
        if lease is not None:
            self.db.guard = lease.guard
            self.db.can_send = lease.can_send

    # ---- start -------------------------------------------------------------------------------------------------------
    def wait_for_turn(self) -> bool:
        """Wait, as a standby service, until this service is the active one. Return False if it is stopped first."""
        if self.lease is None or not self.config.standby.enabled:
            return True
        is_active = hooks().wait_for_turn(
            config=self.config,
            turn=self.lease,
            commits=self.commits,
            stopping=self.stopping,
            attempt=self.commits.attempt,
        )
        return bool(is_active)

    def start(self) -> None:
        """Open the database, load the sites and start every part."""
        self.threads.install()
        self.commits.begin_start()
        has_started = threading.Event()
        threading.Thread(target=self._send_heartbeats_until, args=(has_started,), name="beat", daemon=True).start()
        try:
            self._prepare_database()
            self._make_parts()
            self._start_parts()
            self._await_broker()
        except BaseException:
            # The thread that renews the lease must end too.
            self._has_stopped_parts.set()
            raise
        finally:
            self.commits.end_start()
            has_started.set()

    def _send_heartbeats_until(self, has_started: threading.Event) -> None:
        """Send heartbeats during the start, because the upgrade of a large database takes long."""
        while not has_started.wait(HEARTBEAT_EVERY_S):
            heartbeats.send_heartbeat(self.commits.find_trouble(), heartbeats.STARTING)

    def _prepare_database(self) -> None:
        # `hold_core_lock` could not take the lease if the database was unreachable.
        self._retry_until_available(self._take_lease)
        if self.lease is not None:
            # Renewed from now on, because an upgrade of the database may last longer than a lease.
            threading.Thread(target=self._renew_lease, args=(self.lease,), name="core-lease", daemon=True).start()
        self._retry_until_available(self._open_database)
        self.conditions.recall(self._retry_until_available(self.alarms.list_open))
        self._load_sites()
        self._make_inbox_folders()

    def _take_lease(self) -> None:
        if self.lease is not None and not self.lease.take():
            refuse_second_core(str(self.db.url.database))

    def _renew_lease(self, lease: CoreLease) -> None:
        """Renew the lease in a thread of its own. A core that waits for a lock must not lose its lease."""
        while not self._has_stopped_parts.wait(RENEW_LEASE_EVERY_S):
            if self.commits.attempt(lease.renew, LEASE):
                self.commits.note_write(LEASE)

    def _open_database(self) -> None:
        is_committed = False
        try:
            copy = upgrade(self.db, self.clock(), on_begin=self.commits.start_upgrade)
            is_committed = True
        finally:
            self.commits.end_upgrade(is_committed=is_committed)
        if copy is not None:
            log.info("the database was upgraded; its copy from before is %s", copy)
        if missing := list_missing_columns(self.db):
            log.error(
                "the database is at revision %s, but it lacks %s; %s",
                find_newest_revision(),
                ", ".join(missing),
                RESTORE,
            )

    def _load_sites(self) -> None:
        """Load the site files, and begin or end the alarms about them. Later changes of files need a new core."""
        loaded = self._retry_until_available(self.site_files.load)
        self.sites.update({site.id: site for site in loaded.sites})
        folder = SiteFolder(self.config, loaded.sites, {})
        self.conditions.update([*run_alarm_checks(loaded), *run_alarm_checks(folder)], time.monotonic())

    def _make_inbox_folders(self) -> None:
        inbox = Path(self.config.paths.inbox)
        for site_id in self.sites:
            for folder in (inbox / site_id, inbox / "series" / site_id):
                try:
                    folder.mkdir(parents=True, exist_ok=True)
                except OSError as error:
                    log.warning("%s: cannot be created, so it cannot receive files: %s", folder, error)

    def _make_parts(self) -> None:
        self.dispatcher = Dispatcher(
            self.db,
            self.sites,
            self.clock,
            environ=channel_settings(self.config, os.environ),
            language=self.config.language.default,
            page_url=self.config.web.public_url.rstrip("/"),
            write_document=self._write_document,
            zone=self.config.web.timezone,
            limits=DeliveryLimits.from_settings(self.config.duty),
        )
        self.reserve = DiskReserve.of(self.db, self.config.limits.reserve_mb, self.config.limits.disk)
        self.reserve.update()
        self.readers = ReaderWatch(self.db, self.config.limits.reader_s)
        self.ingest = self._retry_until_available(self._make_ingest)
        self.evaluation = EvaluationLoop(
            self.db,
            self.sites,
            self.config.schedule.evaluate_tick_s,
            is_drained=self._handle_suspensions_and_check_drained,
            on_changed=self._on_changed,
            clock=self.clock,
            find_changed_sites=self._find_changed_sites,
            find_pace=self._find_pace,
            on_evaluated=self.commits.note_evaluation,
            on_outdated=self._check_site_files,
            is_behind=self._is_behind,
        )
        self.publisher = StatePublisher(
            self.db,
            find_access(self.config.broker),
            self.clock,
            version=code_version(),
            page_url=self.config.web.url,
            find_action=self._find_action,
            find_trouble=self.find_trouble,
            find_keys=self._signing_keys.keys,
        )
        self.schedule = Schedule(self.db, self.config, list(self.sites.values()), self.clock)
        self.clock_watch = ClockWatch(
            db=self.db,
            clock=self.clock,
            sites=self.sites,
            alarms=self.alarms,
            ingest=self.ingest,
            evaluation=self.evaluation,
            dispatcher=self.dispatcher,
            schedule=self.schedule,
        )
        parts_by_plugin = hooks().service_parts(
            db=self.db, config=self.config, sites=self.sites, clock=self.clock, on_stored=self._on_stored
        )
        self.plugin_parts = list(chain.from_iterable(parts_by_plugin))
        self.self_monitoring = self.make_self_monitoring()

    def make_self_monitoring(self) -> SelfMonitoring:
        """Return the part that watches the other parts."""
        return SelfMonitoring(
            db=self.db,
            config=self.config,
            sites=self.sites,
            clock=self.clock,
            alarms=self.alarms,
            conditions=self.conditions,
            commits=self.commits,
            parts=CoreParts(
                ingest=self.ingest,
                evaluation=self.evaluation,
                dispatcher=self.dispatcher,
                publisher=self.publisher,
                schedule=self.schedule,
                reserve=self.reserve,
                readers=self.readers,
                clock_watch=self.clock_watch,
                threads=self.threads,
                plugin_parts=self.plugin_parts,
            ),
            lease=self.lease,
            started_at=self.started_at,
            more_duties=(
                Duty("find site files that were put in force", self._check_site_files, CHECK_SITE_FILES_EVERY_S),
                Duty("start first jobs of a site", self._start_first_jobs, START_FIRST_JOBS_EVERY_S),
            ),
        )

    def _make_ingest(self) -> Ingest:
        context = IngestContext(
            self.db,
            self.config,
            self.sites,
            self._on_stored,
            self.alarms.write,
            self.clock,
            self.reserve.find_hold_reason,
        )
        return Ingest(context)

    def _start_parts(self) -> None:
        state_file = StateFile.of(self.config)
        self._retry_until_available(lambda: check_identity(self.db, state_file, self.alarms))
        compute.remove_abandoned_folders()
        self.dispatcher.start()
        self.ingest.start()
        self.evaluation.start()
        self.publisher.start()
        for part in self.plugin_parts:
            part.start()
        self._retry_until_available(self.schedule.start)
        self.self_monitoring.start()

    def _await_broker(self) -> None:
        """Wait briefly until the broker has confirmed the subscriptions, so that later messages are received."""
        deadline_s = time.monotonic() + AWAIT_BROKER_S
        while time.monotonic() < deadline_s and not self.stopping.wait(0.02):
            if all(self.ingest.status()["connected"].values()):
                return
        log.warning("the broker has not confirmed the subscriptions yet; the start continues without it")

    def _retry_until_available(self, action: Callable[[], _T]) -> _T:
        """Retry while the database is busy or unreachable."""
        while True:
            try:
                result = action()
            except StoreBusyError as error:
                log.warning("waiting for the database: %s", error)
                self.commits.note_error(error.message)
                if self.stopping.wait(RETRY_DATABASE_S):
                    raise
            else:
                # Also forgets the error of an earlier attempt.
                self.commits.note_write()
                return result

    # ---- watch -------------------------------------------------------------------------------------------------------
    def watch(self) -> int:
        """Send heartbeats until the process has to end. Return its exit status.

        The process ends at once if a thread that decides or delivers has ended or hangs, because only a new process
        replaces it.
        """
        while not self.stopping.is_set():
            has_stored_evaluation = self.commits.has_evaluated()
            mark = "" if has_stored_evaluation or not self.sites else heartbeats.NOT_EVALUATED
            if not heartbeats.send_heartbeat(self.find_trouble(), mark):
                log.warning("the supervisor has ended; stopping")
                return 0
            if self.stopping.wait(HEARTBEAT_EVERY_S):
                return 0
            if ended := self.threads.find_ended_vital():
                log.critical("threads have ended, so this process ends and a new one starts: %s", ", ".join(ended))
                self.self_monitoring.check_ended_threads()
                compute.stop_all()
                return heartbeats.EXIT_OVERDUE
            now = self.clock()
            # After a jump of the clock, times of progress from before the jump are no measure of hanging.
            has_jumped = self._jump_guard.has_jumped(now)
            overdue = [] if has_jumped else heartbeats.find_overdue(self._collect_progress(), now)
            if overdue:
                log.critical(
                    "no progress for %g s, so this process ends and a new one starts: %s",
                    heartbeats.OVERDUE_S,
                    ", ".join(overdue),
                )
                compute.stop_all()
                return heartbeats.EXIT_OVERDUE
            if self.has_new_site_files.is_set():
                return heartbeats.EXIT_REPLACE
            if self.lease is not None and self.lease.is_lost:
                return self._handle_lost_lease(self.lease)
        return 0

    def _collect_progress(self) -> dict[str, datetime]:
        """Return when each thread that decides, delivers or stores alarms has made progress last."""
        return {
            **self.ingest.progress(),
            **self.evaluation.progress(),
            **self.dispatcher.progress(),
            **self.self_monitoring.progress(),
        }

    def find_trouble(self) -> str:
        """Return why nothing can be decided at this moment; empty if decisions are made."""
        return self.commits.find_trouble(is_evaluating=self.evaluation.is_busy())

    def _handle_lost_lease(self, lease: CoreLease) -> int:
        """Stop deciding, because another core has taken the database over. Return the exit status of this process.

        With `[standby]` a new core starts at once, as the standby service. Otherwise this process ends its parts,
        reports the conflict in its heartbeats, and returns when the other core has ended.
        """
        self._has_lost_lease = True
        if self.config.standby.enabled:
            log.warning("another core has taken this database over; this one starts again as standby")
            return heartbeats.EXIT_REPLACE
        log.critical("%s", TAKEN_OVER)
        self._stop_parts()
        while heartbeats.send_heartbeat(TAKEN_OVER, heartbeats.NOT_EVALUATED) and not self.stopping.wait(
            HEARTBEAT_EVERY_S
        ):
            if self.commits.attempt(lease.take) and lease.is_ours:
                log.warning("the other core has ended; a new core decides here again")
                return heartbeats.EXIT_REPLACE
        return 0

    # ---- stop --------------------------------------------------------------------------------------------------------
    def stop(self) -> None:
        """End the parts and close the database."""
        self.stopping.set()
        try:
            if not self._has_lost_lease:
                self._stop_parts()
                self.self_monitoring.write_heartbeat(STOPPED)
        except SlopewardError as error:
            log.warning("the stop is not complete: %s", error)
        except Exception:  # The exit status must still be that of `watch`.
            log.exception("the stop is not complete")
        finally:
            self.db.close()

    def _stop_parts(self) -> None:
        """End the parts in the order in which data flows: ingest, evaluation, delivery."""
        self._has_stopped_parts.set()
        # Waits, so that its heartbeat does not replace the last one, which `stop` writes.
        self.self_monitoring.stop(STOP_PART_S)
        self.schedule.stop()
        compute.stop_all()
        self.ingest.stop(STOP_PART_S)
        self.evaluation.stop(STOP_PART_S)
        if not self._has_lost_lease:
            self.commits.attempt(self.alarms.write_pending)
        self.dispatcher.stop(STOP_PART_S)
        for part in self.plugin_parts:
            part.stop(STOP_PLUGIN_PART_S)
        self.publisher.stop(STOP_PLUGIN_PART_S)

    # ---- callbacks between the parts ---------------------------------------------------------------------------------
    def _on_stored(self, stored: StoredSites) -> None:
        """Evaluate the sites whose readings were stored, and let parts of plugins process these readings."""
        self.evaluation.mark(stored.sites, stored.without_votes)
        self.schedule.first_runs.mark(stored.sites)
        for part in self.plugin_parts:
            part.on_readings()

    def _on_changed(self, site_id: str) -> None:
        """Notify people, and run the jobs that follow changes of alerts.

        Otherwise the page would show an old stage of movement beside a level that has just risen.
        """
        self.dispatcher.wake()
        self.schedule.run_after_alert_change(site_id)

    def _wake_dispatcher(self) -> None:
        self.dispatcher.wake()

    def _write_document(self, write: Callable[..., str], notification: Notification) -> str:
        if notification.ledger != AlertCategory.HAZARD:
            return ""
        return str(self.db.run_read(write, self.config, notification.event_id))

    def _check_site_files(self) -> None:
        """Request a new core if another version of a site file was put in force."""
        if changed := self.site_files.find_changed():
            log.info("new site files in force: %s; the core starts again with them", ", ".join(changed))
            self.has_new_site_files.set()

    def _start_first_jobs(self) -> None:
        self.schedule.first_runs.check()

    def _find_changed_sites(self) -> frozenset[str]:
        """Return sites to which any process has added a report, an event, an offset or a flag."""
        with self.db.read() as c:
            return self._change_detector.find_changed(c)

    def _find_pace(self, site_id: str) -> float:
        return stage_cadence(self.sites[site_id], self.schedule.movement_stage(site_id))[0]

    def _find_action(self, site_id: str, stage: str) -> str:
        """Return what people should do at a stage of movement, from the site file; empty if it says nothing."""
        site = self.sites.get(site_id)
        plan = None if site is None else site.movement.stage(stage)
        return "" if plan is None else plan.action

    def _handle_suspensions_and_check_drained(self) -> bool:
        # A suspension is handled before an evaluation could find stations silent.
        self.clock_watch.handle_suspensions()
        return self.ingest.is_drained()

    def _is_behind(self, site_id: str) -> bool:
        return any(part.is_behind(site_id) for part in self.plugin_parts)


def main(config_path: str | None = None) -> int:
    """Run the core process. Return its exit status."""
    sys.setswitchinterval(SWITCH_INTERVAL_S)
    # Called now and again after the start, because a standby core may wait for days in between.
    freeze_startup_objects()
    # The memory contains secrets of the configuration.
    hide_memory()
    config = load_service(config_path)
    logs.configure("core", config.log.level)
    for library in ("alembic", "apscheduler"):
        logging.getLogger(library).setLevel(logging.WARNING)
    session = f"slopeward core {uuid.uuid4().hex[:12]}"
    core = Core(config, ServiceClock(), session)
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, lambda *_: core.stopping.set())
    with hold_core_lock(config, session) as lease:
        core.use_lease(lease)
        if not core.wait_for_turn():
            return 0
        core.start()
        freeze_startup_objects()
        status = core.watch()
        if status == heartbeats.EXIT_OVERDUE:
            # A thread that hangs would delay any other way to end.
            os._exit(status)
        # A database that is unreachable could delay the stop. The supervisor needs the same exit status as after a
        # fast stop: after `EXIT_REPLACE` it gives the new site files to the broker.
        stop_limit = _exit_after(STOP_S, status)
        core.stop()
        stop_limit.cancel()
    # A thread of a job, such as the test of a backup, could delay the end for hours.
    _exit_after(END_JOBS_S, status)
    return status


def _exit_after(seconds: float, status: int) -> threading.Timer:
    """End this process after a time, even if its threads still run."""
    timer = threading.Timer(seconds, os._exit, (status,))
    timer.daemon = True
    timer.start()
    return timer


if __name__ == "__main__":
    try:
        sys.exit(main(sys.argv[1] if len(sys.argv) > 1 else None))
    except SlopewardError as error:
        log.critical("%s", error)
        # The log may not be configured yet.
        print(error, file=sys.stderr)  # noqa: T201
        sys.exit(heartbeats.EXIT_TRY_AGAIN if isinstance(error, StoreBusyError) else 1)
