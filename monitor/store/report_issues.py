"""Reports that were issued, and the mails that carry them: a queue of its own, so that none stands before an alarm."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Final

from sqlalchemy import Connection, select, update

from monitor.domain.alert import DeliveryState
from monitor.logs import redact
from monitor.store.database.engine import add_if_absent
from monitor.store.database.rows import add_row, find_record, load_records, spell_record
from monitor.store.schema.tables import issued_report, report_mail

ERROR_LIMIT: Final = 400
_SHORT: Final = [column for column in issued_report.c if column.name != "facts"]  # tens of kilobytes each


@dataclass(frozen=True, slots=True)
class Issue:
    """One report: of which site and period, and the digest of all that it says."""

    id: int
    site: str
    kind: str
    from_at: datetime
    to_at: datetime
    made_at: datetime
    language: str
    facts_sha256: str
    code_version: str
    facts: str | None = None  # all that it says, canonical JSON; None: not read


@dataclass(frozen=True, slots=True)
class Mail:
    """One mail of a report."""

    id: int
    report_id: int
    channel: str
    form: str  # pdf or html
    state: str
    attempts: int
    queued_at: datetime
    sent_at: datetime | None
    next_attempt_at: datetime | None
    last_error: str | None
    idempotency_key: str


def find_issue(c: Connection, site: str, kind: str, language: str, to_at: datetime) -> Issue | None:
    """The report of a period that ended at an instant, without its facts; None where none was issued."""
    r = issued_report.c
    query = select(*_SHORT).where(r.site == site, r.kind == kind, r.language == language, r.to_at == to_at)
    return find_record(c, Issue, query)


def load_issue(c: Connection, report_id: int) -> Issue | None:
    """A report by its number."""
    return find_record(c, Issue, select(issued_report).where(issued_report.c.id == report_id))


def load_issues(c: Connection, site: str, limit: int) -> list[Issue]:
    """Reports of a site without their facts, the newest first."""
    r = issued_report.c
    query = select(*_SHORT).where(r.site == site).order_by(r.to_at.desc(), r.id.desc()).limit(limit)
    return load_records(c, Issue, query)


def load_mails(c: Connection, report_ids: Sequence[int]) -> dict[int, list[Mail]]:
    """Mails of reports, by report."""
    query = select(report_mail).where(report_mail.c.report_id.in_(report_ids)).order_by(report_mail.c.id)
    found: dict[int, list[Mail]] = {number: [] for number in report_ids}
    for mail in load_records(c, Mail, query):
        found[mail.report_id].append(mail)
    return found


def list_channels(c: Connection, report_id: int) -> set[tuple[str, str]]:
    """To whom a report goes, and in which form."""
    m = report_mail.c
    return {(row.channel, row.form) for row in c.execute(select(m.channel, m.form).where(m.report_id == report_id))}


def add_issue(c: Connection, issue: Issue, mails: Sequence[tuple[str, str, str]], now: datetime) -> int:
    """Store a report that is not there yet (`issue.id` is 0), and queue those of its mails that are not; its number.

    Args:
        c: a write transaction.
        issue: the report.
        mails: channel, form, key.
        now: when they are queued.
    """
    values = {name: value for name, value in spell_record(issue).items() if name != "id"}
    number = issue.id or add_row(c, issued_report, **values)
    for channel, form, key in mails:
        add_if_absent(c, report_mail, {
            "report_id": number, "channel": channel, "form": form, "state": str(DeliveryState.QUEUED), "attempts": 0,
            "queued_at": now, "next_attempt_at": now, "idempotency_key": key,
        })  # fmt: skip
    return number


def load_due_mails(c: Connection, now: datetime, limit: int) -> list[Mail]:
    """Mails that are to be tried now, the oldest first."""
    m = report_mail.c
    waiting = (str(DeliveryState.QUEUED), str(DeliveryState.FAILED_RETRY))
    query = (
        select(report_mail)
        .where(m.state.in_(waiting), m.next_attempt_at <= now)
        .order_by(m.queued_at, m.id)
        .limit(limit)
    )
    return load_records(c, Mail, query)


def mark_mailed(c: Connection, mail_id: int, now: datetime) -> None:
    """The mail server took it."""
    m = report_mail
    c.execute(
        update(m)
        .where(m.c.id == mail_id)
        .values(
            state=str(DeliveryState.DELIVERED), attempts=m.c.attempts + 1, sent_at=now, next_attempt_at=None,
            last_error=None,
        )
    )  # fmt: skip


def mark_not_mailed(c: Connection, mail_id: int, error: str, next_attempt_at: datetime | None) -> None:
    """It was not taken: once more at an instant, or never. Secrets are taken out."""
    m = report_mail
    state = DeliveryState.FAILED_FINAL if next_attempt_at is None else DeliveryState.FAILED_RETRY
    c.execute(
        update(m)
        .where(m.c.id == mail_id)
        .values(
            state=str(state), attempts=m.c.attempts + 1, next_attempt_at=next_attempt_at,
            last_error=redact(error)[:ERROR_LIMIT],
        )
    )  # fmt: skip
