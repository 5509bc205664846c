"""Run periodic jobs such as forecasts, training and backups.

A job may be late and may fail; no alarm about the slope depends on one. Evaluation, delivery and self-monitoring have
threads of their own.
"""

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
from typing import Final, NamedTuple

from apscheduler.events import EVENT_JOB_MISSED, JobExecutionEvent
from apscheduler.executors.pool import ThreadPoolExecutor
from apscheduler.jobstores.base import JobLookupError
from apscheduler.schedulers.background import BackgroundScheduler
from apscheduler.triggers.base import BaseTrigger
from apscheduler.triggers.cron import CronTrigger
from apscheduler.triggers.interval import IntervalTrigger

from monitor.alerts.queries.evaluations import find_movement_stage
from monitor.app.outcomes import OutcomeLog
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

# Jobs that poll servers mostly wait, so two of them at once delay no other job.
POLL_THREADS: Final = 2
SCAN_FOLDERS_EVERY_S: Final = 1.0

# Pause after a run that the locked database did not allow. The usual pause of a job may be a day.
BUSY_RETRY_S: Final = 60.0
# Pause after a run for which no worker was available. Each attempt waits for a worker and delays other jobs.
NO_WORKER_RETRY_S: Final = 600.0

# Some jobs run several times a second, so freed memory is not returned to the system after each run.
TRIM_MEMORY_EVERY_S: Final = 10.0

Clock = Callable[[], datetime]


class _RunResult(NamedTuple):
    state: str  # done, failed or killed
    detail: str
    is_fault_of_job: bool = True


@cache
def list_jobs() -> tuple[Job, ...]:
    """Return the jobs of all plugins; of two jobs with one name, the first. Imports the modules of the jobs."""
    jobs: dict[str, Job] = {}
    for registered in hooks().register_jobs():
        for job in registered:
            jobs.setdefault(job.name, job)
    return tuple(jobs.values())


def make_trigger(job: Job, site: Site | None, pause_s: float) -> BaseTrigger:
    """Return when a job is due: after each pause, or daily at its hour in the time zone of the site."""
    if job.hour is None:
        return IntervalTrigger(seconds=pause_s, timezone="UTC")
    return CronTrigger(hour=job.hour, minute=0, timezone=site.timezone if site else "UTC")


def _find_newest_change_ns(folder: Path) -> int | None:
    """Return when an entry was last added to a folder or to one of its subfolders; None if it cannot be read."""
    try:
        with os.scandir(folder) as entries:
            times = [entry.stat().st_mtime_ns for entry in entries if entry.is_dir(follow_symlinks=False)]
        return max(*times, folder.stat().st_mtime_ns, 0)
    except OSError:
        return None


class Schedule:
    """Run each job for each site in threads of the core process.

    There are `compute.jobs_at_once` threads, and further threads for the lanes of `Job`. Heavy work of a job runs in a
    child process (`monitor.worker.compute.run`).

    An entry of the schedule is a job together with its site. Its key is `job:site`, or `job` without a site.

    Args:
        jobs: The default is `list_jobs()`. It imports the modules of the jobs here, before a thread could use a module
            that another thread is still importing.

    Attributes:
        outcomes: Whether the runs of each entry succeed. A run without a worker has no outcome.
    """

    def __init__(
        self,
        db: Database,
        config: ServiceConfig,
        sites: Sequence[Site],
        clock: Clock,
        jobs: Sequence[Job] | None = None,
    ) -> None:
        self._db = db
        self._config = config
        self._clock = clock
        self.outcomes = OutcomeLog()
        self._last_details: dict[str, str] = {}
        self._entries: dict[str, tuple[Job, Site | None]] = {}
        self._movement_stages: dict[str, str | None] = {}
        self._running: set[str] = set()
        # Entries whose folder has changed and that wait for a thread.
        self._waiting: set[str] = set()
        # Entries that must run again as soon as their present run ends.
        self._repeats: set[str] = set()
        # Protects `_running` and `_repeats`, so that no request for another run is lost at the end of a run.
        self._lock = threading.Lock()
        self._trimmed_memory_s = -TRIM_MEMORY_EVERY_S
        self._stopped = threading.Event()
        self.first_runs = FirstRuns(db, {site.id: site for site in sites}, self.run_soon, clock)

        jobs = list_jobs() if jobs is None else jobs
        threads = {"default": config.compute.jobs_at_once, "light": 1, "polls": POLL_THREADS, "show": 1}
        threads |= {job.lane: 1 for job in jobs if job.plugin}
        executors = {name: ThreadPoolExecutor(count) for name, count in threads.items()}
        self._scheduler = BackgroundScheduler(executors=executors, timezone="UTC")
        self._scheduler.add_listener(self._note_missed, EVENT_JOB_MISSED)
        for job in jobs:
            for site in sites if job.per_site else (None,):
                self._add(job, site)

    # ---- start and stop ----------------------------------------------------------------------------------------------
    def _add(self, job: Job, site: Site | None) -> None:
        pause_s = job.pause_s(site, None)
        key = f"{job.name}:{site.id}" if site else job.name
        self._entries[key] = (job, site)
        # A run that starts later than this is dropped. A job that watches a folder must not be dropped: it would have
        # to queue again behind the jobs of other sites.
        latest_start_s = HOUR_S if job.watched else min(pause_s, HOUR_S)
        self._scheduler.add_job(
            self.run_now,
            make_trigger(job, site, pause_s),
            (key,),
            id=key,
            name=key,
            max_instances=1,
            coalesce=True,
            executor=job.lane,
            misfire_grace_time=max(1, int(latest_start_s)),
            next_run_time=self._clock() + timedelta(seconds=min(job.first_s, pause_s)),
        )

    def start(self) -> None:
        """Mark runs that a killed process left unfinished, then start the threads."""
        with self._db.write() as c:
            mark_abandoned(c, self._clock())
        self._scheduler.start()
        for site in {site.id: site for _, site in self._entries.values() if site is not None}.values():
            self._update_movement_stage(site)
        threading.Thread(target=self._watch_folders, name="watch-folders", daemon=True).start()

    def stop(self) -> None:
        """Start no more runs. `compute.stop_all` ends the child processes of running jobs."""
        self._stopped.set()
        if self._scheduler.running:
            self._scheduler.shutdown(wait=False)

    # ---- when entries run --------------------------------------------------------------------------------------------
    def restart_pauses(self) -> None:
        """Recompute the due time of every entry, because the clock of the machine was set.

        A daily entry is due at its hour, any other entry one pause from now.
        """
        for key, (job, site) in self._entries.items():
            if self._scheduler.get_job(key) is None:
                continue
            if job.hour is not None:
                self._scheduler.reschedule_job(key, trigger=make_trigger(job, site, DAY_S))
                continue
            pause_s = job.pause_s(site, self._movement_stages.get(site.id) if site else None)
            self._scheduler.modify_job(key, next_run_time=datetime.now(UTC) + timedelta(seconds=pause_s))

    def run_overdue(self) -> None:
        """Run each job that became due while the machine was suspended, once."""
        self._scheduler.wakeup()

    def run_soon(self, name: str, site_id: str) -> None:
        """Run a job of a site now, or as soon as its present run ends. A job that does not exist is ignored."""
        key = f"{name}:{site_id}"
        with self._lock:
            if key in self._running:
                self._repeats.add(key)
                return
        with contextlib.suppress(JobLookupError):
            self._scheduler.modify_job(key, next_run_time=datetime.now(UTC))

    def run_after_alert_change(self, site_id: str) -> None:
        """Run now the jobs of a site that follow changes of its alerts."""
        for job, site in self._entries.values():
            if job.on_alert_change and site is not None and site.id == site_id:
                self.run_soon(job.name, site_id)

    def list_keys(self) -> list[str]:
        """Return the keys of all entries."""
        return list(self._entries)

    def movement_stage(self, site_id: str) -> str | None:
        """Return the stage of movement on which the pauses of a site depend; None if it was not loaded yet."""
        return self._movement_stages.get(site_id)

    def _run_within(self, key: str, pause_s: float) -> None:
        """Run an entry within this time. An entry that is due earlier stays so."""
        entry = self._scheduler.get_job(key)
        next_run = datetime.now(UTC) + timedelta(seconds=pause_s)
        if entry is not None and (entry.next_run_time is None or entry.next_run_time > next_run):
            self._scheduler.modify_job(key, next_run_time=next_run)

    def _watch_folders(self) -> None:
        """Run a job when something arrives in its folder. What arrives during a run starts another run after it."""
        folders = {
            key: job.watched(self._config, site)
            for key, (job, site) in self._entries.items()
            if job.watched is not None and site is not None
        }
        last_changes = {key: _find_newest_change_ns(folder) for key, folder in folders.items()}
        while not self._stopped.wait(SCAN_FOLDERS_EVERY_S):
            for key, folder in folders.items():
                if key in self._running or key in self._waiting:
                    continue
                newest = _find_newest_change_ns(folder)
                if newest == last_changes[key] and not self._is_due(key):
                    continue
                last_changes[key] = newest
                if newest is not None and self._scheduler.get_job(key) is not None:
                    self._waiting.add(key)
                    self._scheduler.modify_job(key, next_run_time=datetime.now(UTC))

    def _is_due(self, key: str) -> bool:
        job, site = self._entries[key]
        due_s = None if job.next_due is None else job.next_due(self._config, site)
        return due_s is not None and time.monotonic() >= due_s

    def _update_movement_stage(self, site: Site) -> None:
        """Apply the pauses of the current stage of movement to the jobs of a site."""
        try:
            stage = self._db.run_read(find_movement_stage, site.id)
        except SlopewardError as error:
            log.warning("the stage of movement of %s could not be read: %s", site.id, error)
            return
        before = self._movement_stages.get(site.id)
        self._movement_stages[site.id] = stage
        for key, (job, site_of_job) in self._entries.items():
            if site_of_job is not site or job.at_stage is None:
                continue
            pause_s = job.pause_s(site, stage)
            if pause_s == job.pause_s(site, before):
                continue
            # APScheduler uses the clock of the machine, from which the service clock may differ by hours.
            next_run = datetime.now(UTC) + timedelta(seconds=pause_s)
            # Rescheduling moves the next run, so it is read before. A run that is due earlier stays due.
            entry = self._scheduler.get_job(key)
            if entry is not None and entry.next_run_time is not None:
                next_run = min(next_run, entry.next_run_time)
            self._scheduler.reschedule_job(key, trigger="interval", seconds=pause_s)
            self._scheduler.modify_job(key, next_run_time=next_run)
            log.info("stage of movement of %s: %s; job %s runs every %g s", site.id, stage, job.name, pause_s)

    # ---- one run -----------------------------------------------------------------------------------------------------
    def run_now(self, key: str) -> str:
        """Run one entry in this thread and store its result as a row of `job_run`.

        Returns:
            The final state of the run; `not_started` if the locked database did not allow it.
        """
        with self._lock:
            self._running.add(key)
        self._waiting.discard(key)
        try:
            with patient():
                return self._run(key)
        finally:
            with self._lock:
                self._running.discard(key)
                must_repeat = key in self._repeats
                self._repeats.discard(key)
            if must_repeat:
                self.run_soon(*key.split(":", 1))

    def _run(self, key: str) -> str:
        job, site = self._entries[key]
        try:
            with self._db.write() as c:
                run_id = start_run(c, job.name, site.id if site else None, self._clock())
        except StoreBusyError as error:
            log.warning("job %s was not started: %s", key, error)
            self._run_within(key, BUSY_RETRY_S)
            return "not_started"
        result = self._call(key)
        self._return_memory()
        self._log_result(key, result)
        self._store_result(key, run_id, result)
        if result.state == "done":
            self.outcomes.note_success(key)
        elif result.is_fault_of_job:
            self.outcomes.note_failure(key, result.detail)
        if site is not None and job.updates_stage:
            self._update_movement_stage(site)
        return result.state

    def _call(self, key: str) -> _RunResult:
        job, site = self._entries[key]
        try:
            return _RunResult("done", str(job.run(self._db, self._config, site, self._clock())))
        except SlopewardError as error:
            if isinstance(error, StoreBusyError):
                self._run_within(key, BUSY_RETRY_S)
            if isinstance(error, NoWorkerError):
                self._run_within(key, NO_WORKER_RETRY_S)
            return _RunResult(
                "killed" if isinstance(error, KilledError) else "failed",
                " ".join(str(error).split()),
                is_fault_of_job=not isinstance(error, NoWorkerError),
            )
        except Exception as error:  # One failing job must not end the thread of the others.
            log.exception("job %s", job.name)
            return _RunResult("failed", f"{type(error).__name__}: {' '.join(str(error).split())}")

    def _return_memory(self) -> None:
        if time.monotonic() < self._trimmed_memory_s + TRIM_MEMORY_EVERY_S:
            return
        with contextlib.suppress(AttributeError):  # Not every C library has this function.
            ctypes.CDLL(None).malloc_trim(0)
        self._trimmed_memory_s = time.monotonic()

    def _log_result(self, key: str, result: _RunResult) -> None:
        """Log a run. A run without work, or with the same text as the run before, is logged at the level DEBUG."""
        is_repeated = self._last_details.get(key) == result.detail
        self._last_details[key] = result.detail
        level = logging.INFO
        if result.state != "done":
            level = logging.WARNING
        elif result.detail == IDLE or is_repeated:
            level = logging.DEBUG
        log.log(level, "job %s %s: %s", key, result.state, result.detail)

    def _store_result(self, key: str, run_id: int, result: _RunResult) -> None:
        try:
            with self._db.write() as c:
                if result.state == "done" and result.detail == IDLE:
                    forget_run(c, run_id)
                else:
                    finish_run(c, run_id, result.state, result.detail, self._clock())
        except SlopewardError as error:
            log.warning("the end of job %s was not stored: %s", key, error)

    def _note_missed(self, event: JobExecutionEvent) -> None:
        # Otherwise the folder of the entry would be ignored until its next regular run.
        self._waiting.discard(event.job_id)
        job, site = self._entries[event.job_id]
        try:
            with self._db.write() as c:
                add_missed(c, job.name, site.id if site else None, event.scheduled_run_time, self._clock())
        except SlopewardError as error:
            log.warning("a missed run of job %s was not stored: %s", event.job_id, error)
