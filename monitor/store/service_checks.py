"""What the service stands on, as it was found last: one row a subject, replaced."""

from collections.abc import Callable, Collection
from datetime import datetime
from typing import NamedTuple

from sqlalchemy import Connection, delete, select

from monitor.store.database.rows import save_rows
from monitor.store.schema.tables import service_check

OK, WARN, BAD = "ok", "warn", "bad"


class CheckRow(NamedTuple):
    """One subject: its state, what was found, what to do, and the figure where there is one."""

    name: str
    state: str
    found: str
    remedy: str = ""
    value: float | None = None
    unit: str | None = None


class Checked(NamedTuple):
    """A check as it stands in the database."""

    check: CheckRow
    since: datetime
    checked_at: datetime


def save_checks(
    c: Connection, checks: Collection[CheckRow], now: datetime, is_mine: Callable[[str], bool] = lambda _: False
) -> list[str]:
    """Replace the rows of these subjects; the instant since when a state holds stays while it does.

    Args:
        c: of a write.
        checks: what was found.
        now: the present.
        is_mine: whether a subject that is not among them is nobody's any more.

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


def load_checks(c: Connection) -> dict[str, Checked]:
    """All subjects by name."""
    rows = c.execute(select(service_check).order_by(service_check.c.name)).all()
    return {
        r.name: Checked(CheckRow(r.name, r.state, r.found, r.remedy, r.value, r.unit), r.since, r.checked_at)
        for r in rows
    }
