"""Heartbeats of processes, runs of jobs, and results of checks, for other processes, the page and `status`."""

from collections.abc import Callable, Collection, Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Any, Final, NamedTuple, TypedDict

from sqlalchemy import ColumnElement, Connection, and_, delete, select, update

from monitor.errors import StoreError
from monitor.storage.retention import RetentionRule, Sweep, sweep_table
from monitor.storage.rows import add_row, load_records, match_given, save_rows
from monitor.storage.service_tables import job_run, service_check, service_state
from monitor.text.message import plain_to_messages


def write_heartbeat(connection: Connection, name: str, detail: Mapping[str, Any], now: datetime) -> None:
    """Store the heartbeat of this name, and replace an earlier one."""
    save_rows(connection, service_state, [{"name": name, "at": now, "detail": dict(detail)}])


def load_heartbeats(connection: Connection) -> dict[str, tuple[datetime, dict[str, Any]]]:
    """Return the instant and detail of every heartbeat by name."""
    rows = connection.execute(select(service_state).order_by(service_state.c.name))
    return {row.name: (row.at, plain_to_messages(row.detail)) for row in rows}


def find_heartbeat(connection: Connection, name: str) -> tuple[datetime, dict[str, Any]] | None:
    """Return the instant and detail of a heartbeat, or None if there is none."""
    row = connection.execute(select(service_state).where(service_state.c.name == name)).first()
    return None if row is None else (row.at, plain_to_messages(row.detail))


def remove_heartbeat(connection: Connection, name: str) -> None:
    """Delete the heartbeat of a process that no longer exists."""
    connection.execute(delete(service_state).where(service_state.c.name == name))


class DeniedMessages(TypedDict):
    """Messages of one login on one topic that the broker refused. `site` and `station` may be empty."""

    login: str
    topic: str
    n: int
    at: str
    site: str
    station: str


# The detail of a run that did nothing. Such runs are deleted.
IDLE: Final = "nothing is due"
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
    """Store the start of a run, and return its id for `finish_run`."""
    return add_row(connection, job_run, job=job, site=site, started_at=now, state="running")


def finish_run(connection: Connection, run_id: int, state: str, detail: str | None, now: datetime) -> None:
    """Store the end of a run.

    Raises:
        StoreError: the state is not one of `ENDS`, or no run with this id is running.
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
    """Delete a run that did nothing. One row per minute and site would hide the others."""
    connection.execute(delete(job_run).where(job_run.c.id == run_id))


def add_missed(connection: Connection, job: str, site: str | None, due_at: datetime, now: datetime) -> None:
    """Store a run that was due and did not start."""
    detail = "was due and did not start"
    add_row(connection, job_run, job=job, site=site, started_at=due_at, finished_at=now, state="missed", detail=detail)


def mark_abandoned(connection: Connection, now: datetime) -> int:
    """End the runs of a process that was killed, and return their number. Call it when the service starts."""
    result = connection.execute(
        update(job_run)
        .where(job_run.c.state == "running")
        .values(state="killed", detail="the service ended while it ran", finished_at=now)
    )
    return int(result.rowcount)


def load_runs(connection: Connection, job: str | None = None, limit: int = 50) -> list[JobRun]:
    """Return the newest runs of one job or of all, newest first."""
    r = job_run.c
    query = select(job_run).where(*match_given(r.job, job)).order_by(r.started_at.desc(), r.id.desc()).limit(limit)
    return load_records(connection, JobRun, query)


# States of a subject of a check.
OK: Final = "ok"
WARN: Final = "warn"
BAD: Final = "bad"


class CheckRow(NamedTuple):
    """Result of a check of one subject: state, what was found, what to do, and a figure with its unit if it has one."""

    name: str
    state: str
    found: str
    remedy: str = ""
    value: float | None = None
    unit: str | None = None


class StoredCheck(NamedTuple):
    """A stored result of a check."""

    check: CheckRow
    since: datetime
    checked_at: datetime


def save_checks(
    c: Connection, checks: Collection[CheckRow], now: datetime, is_obsolete: Callable[[str], bool] = lambda _: False
) -> list[str]:
    """Store results of checks. The instant `since` changes only if the state of the subject changes.

    Args:
        c: an open write transaction.
        checks: the results.
        now: The current time.
        is_obsolete: called with the name of each stored subject that has no result. Returns whether to delete its row.

    Returns:
        The names of the deleted rows.
    """
    stored = load_checks(c)
    without_result = sorted({*stored} - {check.name for check in checks})
    obsolete = [name for name in without_result if is_obsolete(name)]
    c.execute(delete(service_check).where(service_check.c.name.in_(obsolete)))
    for check in checks:
        previous = stored.get(check.name)
        since = now if previous is None or previous.check.state != check.state else previous.since
        save_rows(c, service_check, [{**check._asdict(), "since": since, "checked_at": now}])
    return obsolete


def load_checks(c: Connection) -> dict[str, StoredCheck]:
    """Return the stored result of every subject by name."""
    rows = c.execute(select(service_check).order_by(service_check.c.name)).all()
    return {
        row.name: StoredCheck(
            CheckRow(row.name, row.state, row.found, row.remedy, row.value, row.unit), row.since, row.checked_at
        )
        for row in rows
    }


def _finished_runs(_sweep: Sweep, before_at: datetime) -> ColumnElement[bool]:
    return and_(job_run.c.started_at < before_at, job_run.c.state != "running")


RETENTION_RULES: Final = (RetentionRule("forecasts", "finished job runs", sweep_table(job_run, _finished_runs)),)
