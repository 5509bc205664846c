"""The core process: what listens, decides and tells, put together in one place and held until it is told to end."""

import logging
import os
import signal
import socket
import sys
import threading
import time
import uuid
from collections import deque
from collections.abc import Callable
from datetime import UTC, datetime
from functools import partial
from itertools import chain
from pathlib import Path
from typing import Any, Final, TypeVar

from monitor import logs
from monitor.alerts.notification import Notification
from monitor.alerts.queries.events import ChangeDetector
from monitor.app.alarms import AlarmConditions, ServiceAlarms
from monitor.app.checks import health, live
from monitor.app.checks.machine import DatabaseFacts, Machine, is_synchronised
from monitor.app.checks.plugins import PluginStatus
from monitor.app.checks.site_files import SiteFolder as SitesRead
from monitor.app.checks.table import read_rows, run_alarm_checks, run_checks
from monitor.app.clock import ServiceClock
from monitor.app.clock_watch import ClockJumpGuard, ClockWatch
from monitor.app.evaluation_loop import EvaluationLoop
from monitor.app.known_database import recognise
from monitor.app.monitoring_gap import OutageWatch
from monitor.app.one_core import hold_alone, refuse_second
from monitor.app.readiness import LEASE, WRITE, CommitMonitor
from monitor.app.schedule import Schedule
from monitor.app.site_files import SiteFileWatcher
from monitor.broker.access import find_access
from monitor.broker.signing import KEYS_FILE, Keyring
from monitor.canonical import code_version
from monitor.decision.changes import AlertCategory
from monitor.delivery.dispatcher import Dispatcher
from monitor.delivery.limits import DeliveryLimits
from monitor.delivery.notifier import channel_settings
from monitor.delivery.state import StatePublisher
from monitor.delivery.trial import gather_channels
from monitor.errors import SlopewardError, StoreBusyError
from monitor.ingest.message import StoredSites
from monitor.ingest.service import Ingest, IngestContext
from monitor.plugins import hooks, implementations
from monitor.registration import ServicePart
from monitor.settings.service import ServiceConfig, load_service
from monitor.sites.cadence import stage_cadence
from monitor.sites.records import Site
from monitor.storage.core_turn import CoreLease
from monitor.storage.engine import Database
from monitor.storage.migrate import RESTORE, find_missing, head, upgrade
from monitor.storage.readers import ReaderWatch
from monitor.storage.reserve import DiskReserve
from monitor.storage.service_state import BAD, OK, CheckRow, load_checks, save_checks, write_heartbeat
from monitor.text.instants import STOPPED, format_iso
from monitor.text.message import Template
from monitor.worker import compute
from monitor.worker.garbage_collection import freeze_startup_objects
from monitor.worker.linux import hide_memory

_EVALUATED: Final = Template("service.site.evaluated", "site {site} is evaluated again")
_POISONED: Final = Template(
    "service.site.poisoned",
    "site {site} cannot be evaluated and its level stands still; watch the slope by other means: {reason}",
)
_JOB_FAILS: Final = Template("service.job.fails", "job {name} failed three times running: {problem}")
_JOB_WORKS: Final = Template("service.job.works", "job {name} works again")
_FILE_LOST: Final = Template(
    "service.database.lost",
    "the database file {path} was removed or replaced while the service runs; what is stored since then is lost when "
    "it ends: stop the service, put the file or a backup in its place, start",
)

_T = TypeVar("_T")
log = logging.getLogger(__name__)
STAMP_EVERY_S: Final = 3.0
AUDIT_EVERY_S: Final = 30.0
COMMITS: Final = 100  # of stamps: five minutes
RENEW_EVERY_S: Final = 1.0
UNSHELVE_EVERY_S: Final = 15.0
AGAIN_S: Final = 1.0  # after a duty that failed
READERS_EVERY_S: Final = 2.0
CLOCK_EVERY_S: Final = 5.0
FIRST_RUNS_EVERY_S: Final = 2.0
# How long a thread that computes may keep the interpreter while another one waits for it. An evaluation can wait after
# each of its SQL statements, so Python's default of 5 ms adds up to a tenth of a second and more.
SWITCH_INTERVAL_S: Final = 0.0005
STOP_S: Final = 3.0
LAST_S: Final = 7.0  # the supervisor would wait a little longer; where it is gone, nobody else ends us
BROKER_S: Final = 3.0
JOBS_S: Final = 2.0  # for threads of jobs, after all else has ended
TAKEN_OVER: Final = Template(
    "core.taken_over",
    "another core has taken this database over (its server was restarted, or ended our session); this one decides "
    "nothing and waits: end one of the two services",
)()
EXIT_OVERDUE: Final = 70
# without these nobody decides, tells or sees that a thread ended: a fresh process has them again
VITAL: Final = frozenset({"turn", "stamps", "dispatcher", "evaluate", "ingest-writer"})
UNNAMED: Final = ("Thread-", "Dummy-")  # what comes and goes
EXIT_TRY_AGAIN: Final = 75  # the database was away when we were told to end, or before we could begin


def now_utc() -> datetime:
    """The present; only edges like this one read the clock."""
    return datetime.now(UTC)


class Core:
    """The parts of the core process and their life, in the order in which they start."""

    def __init__(
        self, config: ServiceConfig, clock: Callable[[], datetime] = now_utc, session: str = "slopeward"
    ) -> None:
        self.config, self.clock = config, clock
        self.started_at = clock()
        self.stopping = threading.Event()
        self.renewing = threading.Event()  # another site file is in force: a fresh core reads it, memory stays
        self.db = Database(config.database.url, session)
        self.turn: CoreLease | None = None  # on PostgreSQL
        self._stands_by = False
        self._parts_end = threading.Event()
        self._ended: dict[str, str] = {}  # threads that nobody told to end, with the reason
        self.sites: dict[str, Site] = {}
        self.parts: list[ServicePart] = []
        self.alarms = ServiceAlarms(self.db, self.sites, clock, self._wake_dispatcher)
        self.site_files = SiteFileWatcher(self.db, config, self.alarms, clock)
        self.conditions = AlarmConditions(self.alarms)
        self.commits = CommitMonitor(clock, config.schedule.evaluate_tick_s)
        self.news = ChangeDetector()
        self.jump_guard = ClockJumpGuard(clock())
        self._outages = OutageWatch(self.db, clock)
        self._commits_s: deque[float] = deque(maxlen=COMMITS)
        self._file_id: tuple[int, int] | None = None  # of the SQLite file that we hold open
        self._lost_file = ""
        self._find_signing_keys = Keyring(Path(config.paths.state) / KEYS_FILE, config.signing.keys).keys

    def hold(self, turn: CoreLease | None) -> None:
        """Write nothing but while this turn is ours."""
        self.turn = turn
        if turn is not None:
            self.db.guard, self.db.holds = turn.guard, turn.holds

    def wait_for_turn(self) -> bool:
        """Wait until the turn is ours, where this service stands by; False when told to end before."""
        if self.turn is None or not self.config.standby.enabled:
            return True
        is_ours = hooks().wait_for_turn(
            config=self.config, turn=self.turn, commits=self.commits, stopping=self.stopping, attempt=self._do
        )
        return bool(is_ours)

    def start(self) -> None:
        """Open the database, declare the sites, and start every part."""
        begun = threading.Event()
        threading.Thread(target=self._beat_until, args=(begun,), name="beat", daemon=True).start()
        try:
            self._start()
        except BaseException:
            self._parts_end.set()  # who cannot start renews nothing
            raise
        finally:
            begun.set()

    def _write_document(self, write: Callable[..., str], notification: Notification) -> str:
        if notification.ledger != AlertCategory.HAZARD:
            return ""
        return str(self.db.run_read(write, self.config, notification.event_id))

    def _beat_until(self, begun: threading.Event) -> None:
        """Say that this process lives while it starts: an upgrade of a large database takes its time."""
        while not begun.wait(1.0):
            health.beat(self.commits.trouble(), health.STARTING)

    def _note_ended(self, what: threading.ExceptHookArgs) -> None:
        """Whatever ends a thread of this process, an error or a call to exit, comes here."""
        name = "?" if what.thread is None else what.thread.name
        problem = f"{what.exc_type.__name__}: {what.exc_value or ''}"
        self._ended[name] = problem
        log.critical("thread %s ended: %s", name, problem, exc_info=what.exc_value)

    def _see_threads(self) -> live.ThreadStatus:
        alive = {one.name for one in threading.enumerate() if not one.name.startswith(UNNAMED)}
        ended = dict(self._ended)
        for name in alive & ended.keys():  # another one does its work
            del self._ended[name]
        return live.ThreadStatus(alive, ended)

    def _start(self) -> None:
        threading.excepthook = self._note_ended
        self._insist(self._take_turn)
        if self.turn is not None:  # from the first moment: an upgrade may last longer than a lease
            threading.Thread(target=self._run_turn, args=(self.turn,), name="turn", daemon=True).start()
        self._insist(self._open_database)
        self.conditions.recall(self._insist(self.alarms.list_open))
        self._take_sites()
        for site_id in self.sites:
            inbox = Path(self.config.paths.inbox)
            for folder in (inbox / site_id, inbox / "series" / site_id):
                try:
                    folder.mkdir(parents=True, exist_ok=True)
                except OSError as error:
                    log.warning("%s: cannot be made, nothing can be put there: %s", folder, error)
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
        self._insist(lambda: recognise(self.db, Path(self.config.paths.state), self.alarms))
        self.reserve = DiskReserve.of(self.db, self.config.limits.reserve_mb, self.config.limits.disk)
        self.reserve.follow()
        self.readers = ReaderWatch(self.db, self.config.limits.reader_s)
        self.ingest = self._insist(self._open_ingest)
        self.evaluation = EvaluationLoop(
            self.db,
            self.sites,
            self.config.schedule.evaluate_tick_s,
            is_drained=self._is_drained,
            on_changed=self._on_changed,
            on_poisoned=self._on_poisoned,
            clock=self.clock,
            find_news=self._find_news,
            find_pace=self._find_pace,
            on_evaluated=self.commits.note_evaluation,
            on_outdated=self._check_versions,
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
            find_keys=self._find_signing_keys,
        )
        self.schedule = Schedule(self.db, self.config, list(self.sites.values()), self.clock, self._on_failing_job)
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
        self.parts = [
            *chain.from_iterable(
                hooks().service_parts(
                    db=self.db, config=self.config, sites=self.sites, clock=self.clock, on_stored=self._on_stored
                )
            )
        ]
        self.stamps = threading.Thread(target=self._run_stamps, name="stamps", daemon=True)
        compute.remove_abandoned_folders()
        self.dispatcher.start()
        self.ingest.start()
        self.evaluation.start()
        self.publisher.start()
        for part in self.parts:
            part.start()
        self._insist(self.schedule.start)
        self.stamps.start()
        self._await_broker()

    def watch(self) -> int:
        """Go round until told to stop; returns the exit status. An overdue safety thread ends the process at once."""
        while not self.stopping.is_set():
            is_proven = self.commits.has_evaluated() or not self.sites
            if not health.beat(self.find_trouble(), "" if is_proven else health.UNPROVEN) or self.stopping.wait(1.0):
                break
            if gone := [name for name in self._ended if name in VITAL or name.startswith("ingest-")]:
                log.critical("ending so that a fresh process starts: %s", ", ".join(gone))
                self._follow(self._see_threads())
                self._do(self.alarms.write_pending)
                compute.stop_all()
                return EXIT_OVERDUE
            progress = {**self.ingest.progress(), **self.evaluation.progress(), **self.dispatcher.progress()}
            now = self.clock()
            if self.jump_guard.has_jumped(now):
                continue  # the stamps of progress were made by another time
            overdue = health.find_overdue(progress, now)
            if overdue:
                log.critical(
                    "no progress for %g s: %s; ending so that a fresh process starts",
                    health.OVERDUE_S,
                    ", ".join(overdue),
                )
                compute.stop_all()
                return EXIT_OVERDUE
            if self.renewing.is_set():
                return health.EXIT_RENEW
            if self.turn is not None and self.turn.is_lost:
                return self._go_to_standby(self.turn)
        if not self.stopping.is_set():
            log.warning("the supervisor is gone; stopping")
        return 0

    def _go_to_standby(self, turn: CoreLease) -> int:
        """Another core decides on this database: end every part and say so, until the turn is free again."""
        self._stands_by = True
        if self.config.standby.enabled:
            log.warning("another core has taken this database over; this one starts anew and stands by")
            return health.EXIT_RENEW
        log.critical("%s", TAKEN_OVER)
        self._end_parts()
        while health.beat(TAKEN_OVER, health.UNPROVEN) and not self.stopping.wait(1.0):
            if self._do(turn.take) and turn.is_ours:
                log.warning("the other core is gone; a fresh one decides here again")
                return health.EXIT_RENEW
        return 0

    def stop(self) -> None:
        """End the parts in the order of the flow: take no more in, decide, tell, close."""
        self.stopping.set()
        if not self._stands_by:
            self._end_parts()
            self._write_stamp(STOPPED)
        self.db.close()

    def _end_parts(self) -> None:
        self._parts_end.set()
        self.schedule.stop()
        compute.stop_all()
        self.ingest.stop(STOP_S)
        self.evaluation.stop(STOP_S)
        if not self._stands_by:
            self._do(self.alarms.write_pending)
        self.dispatcher.stop(STOP_S)
        for part in self.parts:
            part.stop(1.0)
        self.publisher.stop(1.0)

    # ---- start ---------------------------------------------------------------------------------------------
    def _insist(self, act: Callable[[], _T]) -> _T:
        """Do it until the database takes it: one that is away for the moment is waited for."""
        while True:
            try:
                return act()
            except StoreBusyError as error:
                log.warning("waiting for the database: %s", error)
                self.commits.note_error(error.message)
                if self.stopping.wait(2.0):
                    raise

    def find_trouble(self) -> str:
        """Why nothing can be decided at this moment; empty when all is well."""
        return self.commits.trouble(busy=self.evaluation.is_busy())

    def _await_broker(self) -> None:
        """Give the broker a moment to confirm the subscriptions: what is published after "ready" is not missed."""
        deadline = time.monotonic() + BROKER_S
        while time.monotonic() < deadline and not self.stopping.wait(0.02):
            if all(self.ingest.status()["connected"].values()):
                return
        log.warning("the broker has not confirmed the subscriptions yet; going on without it")

    def _take_turn(self) -> None:
        if self.turn is not None and not self.turn.take():
            refuse_second(str(self.db.url.database))

    def _open_database(self) -> None:
        copy = upgrade(self.db, self.clock())
        if copy is not None:
            log.info("upgraded the database; the copy from before is %s", copy)
        if missing := find_missing(self.db):
            log.error("the database is at revision %s, but it lacks %s; %s", head(), ", ".join(missing), RESTORE)

    def _open_ingest(self) -> Ingest:
        context = IngestContext(
            self.db, self.config, self.sites, self._on_stored, self.alarms.write, self.clock, self.reserve.hold
        )
        return Ingest(context)

    def _take_sites(self) -> None:
        """The sites to watch; what of their files hides motion is told when they are taken."""
        self.sites.update({site.id: site for site in self._insist(self.site_files.load)})
        taken = SitesRead(self.config, [*self.sites.values()], {})
        self.conditions.follow(run_alarm_checks(taken), time.monotonic())

    def _check_versions(self) -> None:
        """Ask for a fresh core when a site file was put in force that this one does not run on."""
        if changed := self.site_files.find_changed():
            log.info("site files put in force: %s; core starts anew with them", ", ".join(changed))
            self.renewing.set()

    # ---- what the parts tell each other ------------------------------------------------------------------------
    def _on_stored(self, stored: StoredSites) -> None:
        """Have the sites evaluated whose readings were stored, and let parts of plugins process these readings."""
        self.evaluation.mark(stored.sites, stored.without_votes)
        self.schedule.first_runs.mark(stored.sites)
        for part in self.parts:
            part.on_readings()

    def _wake_dispatcher(self) -> None:
        self.dispatcher.wake()

    def _on_changed(self, site_id: str) -> None:
        """Notify people, and run the jobs that follow changes of alerts.

        For example, the page shows no stage of movement from an hour ago beside a level that has just risen.
        """
        self.dispatcher.wake()
        self.schedule.run_after_alert_change(site_id)

    def _find_news(self) -> frozenset[str]:
        with self.db.read() as c:
            return self.news.find_changed(c)

    def _find_pace(self, site_id: str) -> float:
        return stage_cadence(self.sites[site_id], self.schedule.movement_stage(site_id))[0]

    def _find_action(self, site_id: str, stage: str) -> str:
        site = self.sites.get(site_id)
        plan = None if site is None else site.movement.stage(stage)
        return "" if plan is None else plan.action

    def _is_drained(self) -> bool:
        self.clock_watch.go_on_after_suspension()  # before anybody's silence is judged
        return self.ingest.drained()

    def _is_behind(self, site_id: str) -> bool:
        return any(part.is_behind(site_id) for part in self.parts)

    def _on_poisoned(self, site_id: str, reason: str | None) -> None:
        if reason is None:
            self.alarms.clear(f"poisoned:{site_id}", _EVALUATED(site=site_id))
        else:
            self.alarms.open(f"poisoned:{site_id}", _POISONED(site=site_id, reason=reason), 2)

    def _on_failing_job(self, key: str, detail: str, failing: bool) -> None:
        if failing:
            self.alarms.open(f"job:{key}", _JOB_FAILS(name=key, problem=detail), 1)
        else:
            self.alarms.clear(f"job:{key}", _JOB_WORKS(name=key))

    # ---- what the others see -------------------------------------------------------------------------------------
    def _run_stamps(self) -> None:
        """Write alarms of the service and the stamp of this process; a locked database is waited for."""
        duties: list[tuple[Callable[[], object], float]] = [
            (self.reserve.follow, 1.0),
            (self.readers.follow, READERS_EVERY_S),
            (self.alarms.write_pending, 0.5),
            (self._follow_conditions, STAMP_EVERY_S),
            (lambda: self._write_stamp("running"), STAMP_EVERY_S),
            (lambda: self._outages.follow(self.ingest.status()), STAMP_EVERY_S),
            (self._check_footing, AUDIT_EVERY_S),
            (self._check_health_subjects, AUDIT_EVERY_S),
            (self.alarms.unshelve, UNSHELVE_EVERY_S),
            (self._check_versions, STAMP_EVERY_S),
            (self.clock_watch.follow, CLOCK_EVERY_S),
            (self.schedule.first_runs.check, FIRST_RUNS_EVERY_S),
        ]
        duties += [(partial(self._follow_part, part), part.follow_every_s) for part in self.parts]
        due = [0.0] * len(duties)
        while not self._parts_end.wait(0.25):
            for k, (act, every_s) in enumerate(duties):
                if time.monotonic() >= due[k]:
                    due[k] = time.monotonic() + (every_s if self._do(act) else max(every_s, AGAIN_S))

    def _do(self, act: Callable[[], object], what: str = WRITE) -> bool:
        """Do it; whatever goes wrong, the other duties are done."""
        try:
            act()
        except SlopewardError as error:
            log.warning("stamps wait: %s", error)
            self.commits.note_error(error.message, what)
        except Exception as error:  # loop edge: stamps that stop are seen from outside as a silent core
            log.exception("stamps")
            self.commits.note_error(f"{type(error).__name__}: {error}", what)
        else:
            return True
        return False

    def _run_turn(self, turn: CoreLease) -> None:
        """Renew the lease, apart from all that may wait for a lock: who does not is taken for one that hangs."""
        while not self._parts_end.wait(RENEW_EVERY_S):
            if self._do(turn.keep, LEASE):
                self.commits.note_write(LEASE)

    def _follow_conditions(self) -> None:
        grew = self.conditions.grew
        named, hanging = gather_channels(self.sites.values()), self.dispatcher.find_hanging()
        self._follow(
            live.IntakeStatus(self.ingest.status(), grew),
            self.config.broker,
            live.PublisherStatus(self.publisher.status(), grew),
            live.PartTroubles(self.reserve.trouble, compute.find_trouble(), is_synchronised()),
            live.ReaderStatus(self.readers, grew),
            live.WriteTimes(self.db.slow_writes.list_slow(), grew),
            live.EvaluationTimes(self.sites, self.evaluation.find_slow()),
            live.EscalationStatus(
                self.sites,
                self.dispatcher.failing,
                {*named, *hanging, *self.dispatcher.list_channels()},
                hanging,
                self.dispatcher.find_undelivered(named),
            ),
            self._see_threads(),
            PluginStatus.read(),
        )

    def _follow(self, *seen: object) -> None:
        self.conditions.follow((one for what in seen for one in run_checks(what)), time.monotonic())

    def _check_health_subjects(self) -> None:
        for implementation in implementations("health_subjects"):
            self._do(partial(self._check_subject, implementation.call))

    def _check_subject(self, read: Callable[..., object]) -> None:
        self._follow(read(db=self.db, config=self.config, sites=self.sites, now=self.clock()))

    def _follow_part(self, part: ServicePart) -> None:
        try:
            part.follow()
        finally:
            self._follow(*part.subjects)

    def _check_footing(self) -> None:
        now = self.clock()
        channels = gather_channels(self.sites.values())
        footing = DatabaseFacts(self.db, self.config, tuple(self._commits_s), channels, now)
        checks = [one.row for what in (Machine(self.config), footing) for one in run_checks(what)]
        with self.db.write() as c:
            # the broker's subjects are written by a job of its own, which a demonstration does not have
            is_demo = self.config.broker.mode == "demo"
            gone = save_checks(c, checks, now, lambda name: is_demo or not name.startswith("broker."))
            known = [one.check for one in load_checks(c).values()]
        over = [CheckRow(name, OK, "nobody looks at it any more") for name in gone]
        self.conditions.follow(read_rows([*known, *over]), time.monotonic())

    def _write_stamp(self, state: str) -> None:
        ingest = self.ingest.status()
        self._watch_file()
        degraded = self.conditions.degraded() | ({self._lost_file: BAD} if self._lost_file else {})
        detail: dict[str, Any] = {
            "state": state,
            "pid": os.getpid(),
            "host": socket.gethostname(),
            "started_at": self.started_at.isoformat(),
            "version": code_version(),
            "name": self.config.service_name,
            "active_since": None if self.turn is None or self.turn.taken_at is None else format_iso(self.turn.taken_at),
            "sites": sorted(self.sites),
            "degraded": list(degraded),
            "levels": degraded,
            "ingest": _plain(ingest),
            "dispatcher": _plain(self.dispatcher.status()),
            "slow_writes": {name: slow._asdict() for name, slow in self.db.slow_writes.list_slow().items()},
        }
        with self.db.write() as c:
            began_s = time.monotonic()
            write_heartbeat(c, "core", detail, self.clock())
        self._commits_s.append(time.monotonic() - began_s)
        self.commits.note_write()

    def _watch_file(self) -> None:
        """Tell once when the SQLite file was removed or replaced: we go on in the old one, which nobody else sees."""
        file_id = _find_file_id(self.db)
        if self._file_id is None:
            self._file_id = file_id
        elif file_id != self._file_id and not self._lost_file:
            self._lost_file = _FILE_LOST(path=str(self.db.url.database))
            log.critical("%s", self._lost_file)
            self.alarms.open("database:lost", self._lost_file, 2)


def _find_file_id(db: Database) -> tuple[int, int] | None:
    """Device and inode of the SQLite file, (0, 0) where it is gone; None where there is no file."""
    if not db.is_sqlite or not db.url.database or db.url.database == ":memory:":
        return None
    try:
        status = Path(db.url.database).stat()
    except OSError:
        return 0, 0
    return status.st_dev, status.st_ino


def _plain(value: Any) -> Any:
    if isinstance(value, dict):
        return {str(k): _plain(v) for k, v in value.items()}
    if isinstance(value, list | tuple | set | frozenset):
        return [_plain(v) for v in value]
    return value if isinstance(value, str | int | float | bool | None) else str(value)


def main(config_path: str | None = None) -> int:
    """Life of the core process; returns its exit status."""
    sys.setswitchinterval(SWITCH_INTERVAL_S)
    freeze_startup_objects()  # it may stand by for days
    hide_memory()  # it holds secrets
    config = load_service(config_path)
    logs.configure("core", config.log.level)
    for chatty in ("alembic", "apscheduler"):
        logging.getLogger(chatty).setLevel(logging.WARNING)
    session = f"slopeward core {uuid.uuid4().hex[:12]}"
    core = Core(config, ServiceClock(), session)
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, lambda *_: core.stopping.set())
    with hold_alone(config, session) as turn:
        core.hold(turn)
        if not core.wait_for_turn():
            return 0
        core.start()
        freeze_startup_objects()
        status = core.watch()
        if status == EXIT_OVERDUE:
            os._exit(status)  # a stuck thread would hold up any clean way out
        last = threading.Timer(LAST_S, os._exit, (EXIT_TRY_AGAIN,))  # a database that is away holds it up as well
        last.daemon = True
        last.start()
        core.stop()
        last.cancel()
    leave = threading.Timer(JOBS_S, os._exit, (status,))  # a copy that is being proven would hold it up for hours
    leave.daemon = True
    leave.start()
    return status


if __name__ == "__main__":
    try:
        sys.exit(main(sys.argv[1] if len(sys.argv) > 1 else None))
    except SlopewardError as known:
        log.critical("%s", known)
        print(known, file=sys.stderr)  # noqa: T201  the log may not be set up yet
        sys.exit(EXIT_TRY_AGAIN if isinstance(known, StoreBusyError) else 1)
