"""What one process says of itself, for the others, the page and `slopeward status`; the diary of jobs and of checks."""

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
    """Write or replace the stamp of this name."""
    save_rows(connection, service_state, [{"name": name, "at": now, "detail": dict(detail)}])


def load_heartbeats(connection: Connection) -> dict[str, tuple[datetime, dict[str, Any]]]:
    """All stamps by name, each with its instant and detail."""
    rows = connection.execute(select(service_state).order_by(service_state.c.name))
    return {row.name: (row.at, plain_to_messages(row.detail)) for row in rows}


def find_heartbeat(connection: Connection, name: str) -> tuple[datetime, dict[str, Any]] | None:
    """One stamp, or None where it was never written."""
    row = connection.execute(select(service_state).where(service_state.c.name == name)).first()
    return None if row is None else (row.at, plain_to_messages(row.detail))


def remove_heartbeat(connection: Connection, name: str) -> None:
    """Forget a stamp whose writer no longer exists."""
    connection.execute(delete(service_state).where(service_state.c.name == name))


class DeniedMessages(TypedDict):
    """Messages on one topic that the broker refused, and whose login sent them; empty where it is nobody's."""

    login: str
    topic: str
    n: int
    at: str
    site: str
    station: str


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
    """Note how a run ended; raises StoreError: the state is not an end, or no run with this id is running."""
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
    facts = {"state": "missed", "detail": "was due and did not start"}
    add_row(connection, job_run, job=job, site=site, started_at=due_at, finished_at=now, **facts)


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
    r = job_run.c
    query = select(job_run).where(*match_given(r.job, job)).order_by(r.started_at.desc(), r.id.desc()).limit(limit)
    return load_records(connection, JobRun, query)


OK, WARN, BAD = "ok", "warn", "bad"


class CheckRow(NamedTuple):
    """One subject: its state, what was found, what to do, and the figure where there is one."""

    name: str
    state: str
    found: str
    remedy: str = ""
    value: float | None = None
    unit: str | None = None


class StoredCheck(NamedTuple):
    """A check as it stands in the database."""

    check: CheckRow
    since: datetime
    checked_at: datetime


def save_checks(
    c: Connection, checks: Collection[CheckRow], now: datetime, is_mine: Callable[[str], bool] = lambda _: False
) -> list[str]:
    """Replace the rows of these subjects; the instant since when a state holds stays while it does.

    `checks`: what was found; `is_mine`: whether a subject that is not among them is nobody's any more.

    Returns:
        The subjects that were removed.
    """
    known = load_checks(c)
    gone = [name for name in sorted({*known} - {one.name for one in checks}) if is_mine(name)]
    c.execute(delete(service_check).where(service_check.c.name.in_(gone)))
    for one in checks:
        before = known.get(one.name)
        since = before.since if before is not None and before.check.state == one.state else now
        save_rows(c, service_check, [{**one._asdict(), "since": since, "checked_at": now}])
    return gone


def load_checks(c: Connection) -> dict[str, StoredCheck]:
    """All subjects by name."""
    rows = c.execute(select(service_check).order_by(service_check.c.name)).all()
    return {
        r.name: StoredCheck(CheckRow(r.name, r.state, r.found, r.remedy, r.value, r.unit), r.since, r.checked_at)
        for r in rows
    }


def _finished_runs(_sweep: Sweep, before_at: datetime) -> ColumnElement[bool]:
    return and_(job_run.c.started_at < before_at, job_run.c.state != "running")


RETENTION_RULES: Final = (RetentionRule("forecasts", "finished job runs", sweep_table(job_run, _finished_runs)),)
