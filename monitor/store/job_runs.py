"""The diary of scheduled jobs: what ran when, how it ended, and what was missed."""

from dataclasses import dataclass
from datetime import datetime
from typing import Final

from sqlalchemy import Connection, delete, select, update

from monitor.errors import StoreError
from monitor.store.database.rows import add_row, load_records
from monitor.store.schema.tables import job_run

IDLE: Final = "nothing is due"  # what a run says that did nothing: it is not kept
ENDS: Final = ("done", "failed", "killed", "missed")


@dataclass(frozen=True, slots=True)
class JobRun:
    """One run of one job; `finished_at` is None while it runs."""

    id: int
    job: str
    site: str | None
    started_at: datetime
    finished_at: datetime | None
    state: str  # running, done, failed, killed, missed
    detail: str | None


def start_run(connection: Connection, job: str, site: str | None, now: datetime) -> int:
    """Note that a job starts; returns the id for `finish_run`."""
    return add_row(connection, job_run, job=job, site=site, started_at=now, state="running")


def finish_run(connection: Connection, run_id: int, state: str, detail: str | None, now: datetime) -> None:
    """Note how a run ended.

    Raises:
        StoreError: the state is not an end, or no run with this id is running.
    """
    if state not in ENDS:
        raise StoreError(f"a job run cannot end as {state!r}; one of {', '.join(ENDS)}")
    result = connection.execute(
        update(job_run)
        .where(job_run.c.id == run_id, job_run.c.state == "running")
        .values(state=state, detail=detail, finished_at=now)
    )
    if result.rowcount != 1:
        raise StoreError(f"job run {run_id} is not running")


def forget_run(connection: Connection, run_id: int) -> None:
    """Leave out a run that had nothing to do: a row a minute and site would hide the others."""
    connection.execute(delete(job_run).where(job_run.c.id == run_id))


def add_missed(connection: Connection, job: str, site: str | None, due_at: datetime, now: datetime) -> None:
    """Note a run that was due and never started."""
    said = {"state": "missed", "detail": "was due and did not start"}
    add_row(connection, job_run, job=job, site=site, started_at=due_at, finished_at=now, **said)


def mark_abandoned(connection: Connection, now: datetime) -> int:
    """End the runs that a killed process left as running; call at start. Returns how many."""
    result = connection.execute(
        update(job_run)
        .where(job_run.c.state == "running")
        .values(state="killed", detail="the service ended while it ran", finished_at=now)
    )
    return int(result.rowcount)


def load_runs(connection: Connection, job: str | None = None, limit: int = 50) -> list[JobRun]:
    """The newest runs, of one job or of all, newest first."""
    query = select(job_run).order_by(job_run.c.started_at.desc(), job_run.c.id.desc()).limit(limit)
    if job is not None:
        query = query.where(job_run.c.job == job)
    return load_records(connection, JobRun, query)
