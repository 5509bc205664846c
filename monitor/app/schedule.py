"""The table of jobs: which function, how often. Only work that may be late; alarms have threads of their own."""

import contextlib
import ctypes
import logging
import os
import threading
import time
from collections.abc import Callable, Sequence
from datetime import UTC, datetime, timedelta
from functools import cache
from pathlib import Path
from typing import Final

from apscheduler.events import EVENT_JOB_MISSED, JobExecutionEvent
from apscheduler.executors.pool import ThreadPoolExecutor
from apscheduler.jobstores.base import JobLookupError
from apscheduler.schedulers.background import BackgroundScheduler
from apscheduler.triggers.base import BaseTrigger
from apscheduler.triggers.cron import CronTrigger
from apscheduler.triggers.interval import IntervalTrigger

from monitor.alerts.queries.evaluations import find_movement_stage
from monitor.errors import KilledError, NoWorkerError, SlopewardError, StoreBusyError
from monitor.models.first_runs import FirstRuns
from monitor.plugins import hooks
from monitor.registration import Job
from monitor.settings.service import ServiceConfig
from monitor.sites.records import Site
from monitor.storage.engine import Database, patient
from monitor.storage.service_state import IDLE, add_missed, finish_run, forget_run, mark_abandoned, start_run

log = logging.getLogger(__name__)
HOUR_S: Final = 3600.0
DAY_S: Final = 86400.0
POLLS: Final = 2  # looks at sources at once: they mostly wait for a server, and hold no other job up
FAILS_BEFORE_ALARM: Final = 3
SCAN_S: Final = 1.0  # between two looks at the folders that jobs watch
AGAIN_S: Final = 60.0  # after a run that the database did not take: a day later would be a day without it
AWAY_AGAIN_S: Final = 600.0  # after a run that no machine took: each try waits for it, and holds up the other jobs
GIVE_BACK_S: Final = 10.0  # between two times that freed memory goes back: some jobs run many times a second
Clock = Callable[[], datetime]
OnFailing = Callable[[str, str, bool], None]  # name, last line, failing


@cache
def list_jobs() -> tuple[Job, ...]:
    """Return the jobs of all plugins; of two jobs with one name, the first. Imports the modules of the jobs."""
    jobs: dict[str, Job] = {}
    for registered in hooks().register_jobs():
        for job in registered:
            jobs.setdefault(job.name, job)
    return tuple(jobs.values())


def trigger_of(job: Job, site: Site | None, every_s: float) -> BaseTrigger:
    """When a job is due: after each pause, or at its hour of the site's own clock."""
    if job.hour is None:
        return IntervalTrigger(seconds=every_s, timezone="UTC")
    return CronTrigger(hour=job.hour, minute=0, timezone=site.timezone if site else "UTC")


def _newest_ns(folder: Path) -> int | None:
    """When an entry was last added to a folder, or to one of its folders; None where it cannot be seen now."""
    try:
        with os.scandir(folder) as entries:
            times = [entry.stat().st_mtime_ns for entry in entries if entry.is_dir(follow_symlinks=False)]
        return max(*times, folder.stat().st_mtime_ns, 0)
    except OSError:
        return None


class Schedule:
    """Runs the table in `compute.jobs_at_once` threads of the core process, light jobs in one of their own.

    Heavy parts run behind `compute.run`.

    Args:
        sites: one entry per site and per-site job.
        on_failing: called when a job failed three times running, and again when it works.
        jobs: None: `list_jobs`, which imports the modules of the jobs here, before a thread could import one of them
            while another thread is still importing it.
    """

    def __init__(
        self,
        db: Database,
        config: ServiceConfig,
        sites: Sequence[Site],
        clock: Clock,
        on_failing: OnFailing,
        jobs: Sequence[Job] | None = None,
    ) -> None:
        self._db, self._config, self._clock, self._on_failing = db, config, clock, on_failing
        self._failures: dict[str, int] = {}
        self._last_results: dict[str, str] = {}  # by a job and its site: how its last run ended
        self._lock = threading.Lock()
        threads = {"default": config.compute.jobs_at_once, "light": 1, "polls": POLLS, "show": 1}
        jobs = list_jobs() if jobs is None else jobs
        threads |= {job.lane: 1 for job in jobs if job.plugin}
        executors = {name: ThreadPoolExecutor(count) for name, count in threads.items()}
        self._scheduler = BackgroundScheduler(executors=executors, timezone="UTC")
        self._scheduler.add_listener(self._note_missed, EVENT_JOB_MISSED)
        self._entries: dict[str, tuple[Job, Site | None]] = {}
        self._stages: dict[str, str | None] = {}
        self._running: set[str] = set()
        self._queued: set[str] = set()  # waits for a thread
        self._anew: set[str] = set()  # runs, and was hastened since it began
        self._gave_back_s = -GIVE_BACK_S
        self._stopped = threading.Event()
        self.first_runs = FirstRuns(db, {site.id: site for site in sites}, self.hasten, clock)
        for job in jobs:
            for site in sites if job.per_site else (None,):
                self._add(job, site)

    def _add(self, job: Job, site: Site | None) -> None:
        every_s = job.pause_s(site, None)
        key = f"{job.name}:{site.id}" if site else job.name
        self._entries[key] = (job, site)
        self._scheduler.add_job(
            self.run_now,
            trigger_of(job, site, every_s),
            (key,),
            id=key,
            max_instances=1,
            coalesce=True,
            executor=job.lane,
            # a look at a watched folder waits for its turn: dropped, its site would queue anew behind the others
            misfire_grace_time=int(HOUR_S) if job.watched else max(1, int(min(every_s, HOUR_S))),
            next_run_time=self._clock() + timedelta(seconds=min(job.first_s, every_s)),
        )

    def start(self) -> None:
        """End what a killed process left as running, then start the threads."""
        with self._db.write() as c:
            mark_abandoned(c, self._clock())
        self._scheduler.start()
        for site in {s.id: s for _, s in self._entries.values() if s is not None}.values():
            self._follow_stage(site)
        threading.Thread(target=self._watch, name="watch-folders", daemon=True).start()

    def stop(self) -> None:
        """Start no more; running jobs are ended by `compute.stop_all`."""
        self._stopped.set()
        if self._scheduler.running:
            self._scheduler.shutdown(wait=False)

    def set_anew(self) -> None:
        """The clock was set: every entry is due one pause from now, not by the old time."""
        for key, (job, site) in self._entries.items():
            if self._scheduler.get_job(key) is not None and job.hour is not None:
                self._scheduler.reschedule_job(key, trigger=trigger_of(job, site, DAY_S))
            elif self._scheduler.get_job(key) is not None:
                pause_s = job.pause_s(site, self._stages.get(site.id) if site else None)
                self._scheduler.modify_job(key, next_run_time=datetime.now(UTC) + timedelta(seconds=pause_s))

    def wake(self) -> None:
        """The machine was suspended: what came due meanwhile runs now, once."""
        self._scheduler.wakeup()

    def _watch(self) -> None:
        """Bring forward the jobs in whose folder something arrived; what arrives while one runs, when it has ended."""
        folders = {
            key: job.watched(self._config, site)
            for key, (job, site) in self._entries.items()
            if job.watched is not None and site is not None
        }
        seen = {key: _newest_ns(folder) for key, folder in folders.items()}
        while not self._stopped.wait(SCAN_S):
            for key, folder in folders.items():
                newest = _newest_ns(folder)
                if key in self._running or key in self._queued or (newest == seen[key] and not self._is_due(key)):
                    continue
                seen[key] = newest
                if newest is not None and self._scheduler.get_job(key) is not None:
                    self._queued.add(key)
                    self._scheduler.modify_job(key, next_run_time=datetime.now(UTC))

    def _is_due(self, key: str) -> bool:
        job, site = self._entries[key]
        due_s = None if job.next_due is None else job.next_due(self._config, site)
        return due_s is not None and time.monotonic() >= due_s

    def stage_of(self, site_id: str) -> str | None:
        """The stage of movement that the site's cadence follows; None before it is known."""
        return self._stages.get(site_id)

    def hasten(self, name: str, site_id: str) -> None:
        """Have a job of a site run now, or as soon as its run ends; nothing where it is not scheduled."""
        key = f"{name}:{site_id}"
        if key in self._running:
            self._anew.add(key)
            return
        with contextlib.suppress(JobLookupError):
            self._scheduler.modify_job(key, next_run_time=datetime.now(UTC))

    def hasten_after_alert_change(self, site_id: str) -> None:
        """Run the jobs of a site now that follow changes of its alerts."""
        for job, site in self._entries.values():
            if job.on_alert_change and site is not None and site.id == site_id:
                self.hasten(job.name, site_id)

    def run_now(self, key: str) -> str:
        """Run one entry in this thread; whatever happens ends as one row of the diary. Returns its end state."""
        self._running.add(key)
        self._queued.discard(key)
        try:
            with patient():
                return self._run(key)
        finally:
            self._running.discard(key)
            if key in self._anew:
                self._anew.discard(key)
                self.hasten(*key.split(":", 1))

    def _run_again(self, key: str, pause_s: float = AGAIN_S) -> None:
        known = self._scheduler.get_job(key)
        soon = datetime.now(UTC) + timedelta(seconds=pause_s)
        if known is not None and (known.next_run_time is None or known.next_run_time > soon):
            self._scheduler.modify_job(key, next_run_time=soon)

    def _run(self, key: str) -> str:
        job, site = self._entries[key]
        site_id = site.id if site else None
        try:
            with self._db.write() as c:
                run_id = start_run(c, job.name, site_id, self._clock())
        except StoreBusyError as error:
            log.warning("job %s not started: %s", key, error)
            self._run_again(key)
            return "missed"
        state, detail, is_own_fault = self._call(key)
        if time.monotonic() >= self._gave_back_s + GIVE_BACK_S:
            with contextlib.suppress(AttributeError):  # a C library without it
                ctypes.CDLL(None).malloc_trim(0)
            self._gave_back_s = time.monotonic()
        is_idle = state == "done" and detail == IDLE
        is_old = state == "done" and self._last_results.get(key) == detail  # it did what it does each time
        self._last_results[key] = detail
        level = logging.DEBUG if is_idle or is_old else logging.INFO if state == "done" else logging.WARNING
        log.log(level, "job %s %s: %s", key, state, detail)
        try:
            with self._db.write() as c:
                if is_idle:
                    forget_run(c, run_id)
                else:
                    finish_run(c, run_id, state, detail, self._clock())
        except SlopewardError as error:
            log.warning("the end of job %s was not noted: %s", key, error)
        if is_own_fault:  # what all jobs wait for is one alarm, `compute.away` of the table of checks
            self._count(key, state, detail)
        if site is not None and job.updates_stage:
            self._follow_stage(site)
        return state

    def _follow_stage(self, site: Site) -> None:
        """Give the entries of a site the pauses of its stage; one that is due sooner than that stays so."""
        try:
            stage = self._db.run_read(find_movement_stage, site.id)
        except SlopewardError as error:
            log.warning("the stage of %s is not known for now: %s", site.id, error)
            return
        before = self._stages.get(site.id)
        self._stages[site.id] = stage
        for key, (job, of) in self._entries.items():
            if of is not site or job.at_stage is None or job.pause_s(site, stage) == job.pause_s(site, before):
                continue
            pause_s = job.pause_s(site, stage)
            soon = self._clock() + timedelta(seconds=pause_s)
            known = self._scheduler.get_job(key)
            if known is not None and known.next_run_time is not None:
                soon = min(soon, known.next_run_time)  # read before: rescheduling moves it
            self._scheduler.reschedule_job(key, trigger="interval", seconds=pause_s)
            self._scheduler.modify_job(key, next_run_time=soon)
            log.info("%s is %s: %s every %g s", site.id, stage or "unknown", job.name, pause_s)

    def _call(self, key: str) -> tuple[str, str, bool]:
        job, site = self._entries[key]
        try:
            return "done", str(job.run(self._db, self._config, site, self._clock())), True
        except SlopewardError as error:
            text = " ".join(str(error).split())
            if isinstance(error, StoreBusyError):
                self._run_again(key)
            if isinstance(error, NoWorkerError):
                self._run_again(key, AWAY_AGAIN_S)
            return (
                ("killed" if isinstance(error, KilledError) else "failed"),
                text,
                not isinstance(error, NoWorkerError),
            )
        except Exception as error:  # loop edge: one broken job must not end the others
            log.exception("job %s", job.name)
            return "failed", f"{type(error).__name__}: {' '.join(str(error).split())}", True

    def _count(self, key: str, state: str, detail: str) -> None:
        with self._lock:
            before = self._failures.get(key, 0)
            after = 0 if state == "done" else before + 1
            self._failures[key] = after
        if after == FAILS_BEFORE_ALARM or (before >= FAILS_BEFORE_ALARM and after == 0):
            self._on_failing(key, detail, after > 0)

    def _note_missed(self, event: JobExecutionEvent) -> None:
        job, site = self._entries[event.job_id]
        try:
            with self._db.write() as c:
                add_missed(c, job.name, site.id if site else None, event.scheduled_run_time, self._clock())
        except SlopewardError as error:
            log.warning("a missed run of %s was not noted: %s", event.job_id, error)
