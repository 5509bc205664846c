"""What reports read of a period: rows that were known at its end; and which reports were issued and mailed."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any, Final

from sqlalchemy import (
    Boolean,
    Connection,
    Double,
    Text,
    and_,
    case,
    column,
    func,
    literal,
    null,
    or_,
    select,
    table,
    update,
)

from monitor.api.alerts import AlertState, DeliveryState
from monitor.api.database import add_if_absent, add_row, find_record, has_view, load_plain, load_records, record_to_dict
from monitor.api.decision import AlertCategory
from monitor.api.queries.alerts import AlertEvent
from monitor.api.store import Instant
from monitor.api.tables import (
    alert,
    alert_event,
    alert_outcome,
    config_version,
    evaluation,
    maintenance,
    notification,
    report,
    site_event,
)
from monitor.api.text import redact
from monitor.features.reports.tables import issued_report, report_mail

MOST: Final = 500  # rows of one kind, the newest
_SCORED_FORECAST: Final = table(
    "forecast_vs_observed",
    *(column(name, Text) for name in ("site", "station", "quantity", "unit", "model")),
    *(column(name, Instant) for name in ("issued_at", "target_at", "scored_at")),
    *(column(name, Double) for name in ("horizon_s", "error", "baseline_error")),
    *(column(name, Boolean) for name in ("shown", "inside_80")),
)
ReportRow = Mapping[str, object]
"""A row of a report by the names of its columns."""


@dataclass(frozen=True, slots=True)
class AlertAtInstant:
    """An alert as it stood at an instant, out of its chain."""

    id: int
    ledger: str
    key: str
    raised_at: datetime
    state: str
    level: int
    peak_level: int
    reason: str
    acknowledged_at: datetime | None
    acknowledged_by: str | None
    closed_at: datetime | None
    outcome: str | None
    note: str | None


def load_past_alerts(
    c: Connection, site: str, from_at: datetime, to_at: datetime
) -> tuple[list[AlertAtInstant], list[str]]:
    """Alerts that were open in a period, drills left out, as they stood at its end; the newest first.

    Returns they, and the ledgers of which there were more than `MOST`: those that were closed and are old are left out.
    """
    a, e, o = alert.c, alert_event.c, alert_outcome.c
    heads, cut = list[Any](), list[str]()
    for ledger in AlertCategory:
        wanted = (
            select(a.id, a.ledger, a.key, a.raised_at)
            .where(
                a.site == site,
                a.ledger == ledger,
                a.exercise.is_(False),
                a.raised_at <= to_at,
                or_(a.closed_at.is_(None), a.closed_at > from_at),
            )
            .order_by(case((a.closed_at <= to_at, 1), else_=0), a.raised_at.desc(), a.id.desc())
            .limit(MOST + 1)
        )
        found = c.execute(wanted).all()
        heads += found[:MOST]
        cut += [str(ledger)] if len(found) > MOST else []
    heads.sort(key=lambda row: (row.raised_at, row.id), reverse=True)
    chains: dict[int, list[AlertEvent]] = {row.id: [] for row in heads}
    events = select(alert_event).where(e.alert_id.in_(list(chains)), e.at <= to_at).order_by(e.alert_id, e.sequence)
    for event in load_records(c, AlertEvent, events):
        chains[event.alert_id].append(event)
    newest = select(func.max(o.id)).where(o.at <= to_at).group_by(o.alert_id)
    query = select(o.alert_id, o["class"], o.note).where(o.id.in_(newest), o.alert_id.in_(list(chains)))
    outcomes = {row.alert_id: (row[1], row.note) for row in c.execute(query)}
    return [
        _restore_alert(row, chains[row.id], *outcomes.get(row.id, (None, None))) for row in heads if chains[row.id]
    ], cut


def _restore_alert(head: Any, chain: Sequence[AlertEvent], outcome: str | None, note: str | None) -> AlertAtInstant:
    last = chain[-1]
    changes = [e for e in chain if e.from_level != e.to_level]
    acknowledged: AlertEvent | None = None
    for event in chain:
        if event.to_state == AlertState.UNACKNOWLEDGED and event.from_state != AlertState.SHELVED:
            acknowledged = None
        elif event.to_state == AlertState.ACKNOWLEDGED and event.from_state != AlertState.ACKNOWLEDGED:
            acknowledged = event
    closed = next((e for e in chain if e.to_state == AlertState.CLOSED), None)
    return AlertAtInstant(
        head.id,
        head.ledger,
        head.key,
        head.raised_at,
        last.to_state,
        last.to_level,
        max(e.to_level for e in chain),
        (changes or chain)[-1].reason,
        acknowledged.at if acknowledged else None,
        acknowledged.actor if acknowledged else None,
        closed.at if closed else None,
        outcome,
        note,
    )


def load_acts(c: Connection, site: str, from_at: datetime, to_at: datetime) -> Sequence[ReportRow]:
    """What people did to alerts of a site in a period, oldest first; drills left out."""
    a, e = alert.c, alert_event.c
    query = (
        select(e.at, e.alert_id, e.actor, e.from_state, e.to_state, e.reason, e.reason_id, e.reason_values)
        .join(alert, a.id == e.alert_id)
        .where(a.site == site, a.exercise.is_(False), e.actor_kind == "person", e.at > from_at, e.at <= to_at)
        .order_by(e.at.desc(), e.id.desc())
        .limit(MOST)
    )
    return load_plain(c, dict, query)[::-1]


def load_messages(c: Connection, site: str, from_at: datetime, to_at: datetime) -> ReportRow:
    """Messages of a period, drills left out: how many were queued and sent by its end, and which had not gone out.

    A message that another one stands for counts as that one does; one that went out after the period had not.
    """
    n = notification.c
    query = (
        select(
            n.id, n.alert_id, n.level_name, n.ledger, n.recipient, n.channel, n.queued_at, n.sent_at, n.superseded_by
        )
        .where(n.site == site, n.exercise.is_(False), n.queued_at > from_at, n.queued_at <= to_at)
        .order_by(n.id)
    )
    rows = {row.id: row for row in c.execute(query)}

    def is_out(number: int | None) -> bool:
        row = None if number is None else rows.get(number)
        if row is None:
            return False
        return bool(row.sent_at is not None and row.sent_at <= to_at) or is_out(row.superseded_by)

    late = [row for row in rows.values() if not is_out(row.id)][-MOST:]
    names = ("id", "alert_id", "level_name", "ledger", "recipient", "queued_at")
    return {
        "queued": len(rows),
        "sent": sum(is_out(number) for number in rows),
        "late": [{n: getattr(row, n) for n in names} | {"channel": row.channel.partition(":")[0]} for row in late],
    }


def load_changes(c: Connection, site: str, from_at: datetime, to_at: datetime) -> Sequence[ReportRow]:
    """Site files that came into force in a period, oldest first, each with the version before it."""
    k, before = config_version.c, config_version.alias().c
    previous = (
        select(before.sha256)
        .where(before.site == k.site, before.loaded_at < k.loaded_at)
        .order_by(before.loaded_at.desc())
        .limit(1)
        .scalar_subquery()
    )
    query = (
        select(k.loaded_at.label("at"), k.sha256, previous.label("before_sha256"), k.author, k.reason)
        .where(k.site == site, k.loaded_at > from_at, k.loaded_at <= to_at)
        .order_by(k.loaded_at, k.id)
        .limit(MOST)
    )
    return load_plain(c, dict, query)


def load_notes(c: Connection, site: str, from_at: datetime, to_at: datetime) -> Sequence[ReportRow]:
    """What observers reported in a period, and events and maintenance that fell into it, as known at its end."""
    r, e, m = report.c, site_event.c, maintenance.c
    reports = select(r.at, null(), r.kind, r.text, r.by, r.station).where(
        r.site == site, r.at > from_at, r.at <= to_at, r.received_at <= to_at
    )
    events = select(e.from_at, e.to_at, e.kind, e.text, e.by, null()).where(
        e.site == site,
        e.from_at <= to_at,
        e.to_at > from_at,
        e.received_at <= to_at,
        or_(e.withdrawn_at.is_(None), e.withdrawn_at > to_at),
    )
    work = select(m.from_at, m.to_at, literal("maintenance"), m.reason, m.by, m.station).where(
        m.site == site,
        m.from_at <= to_at,
        m.to_at > from_at,
        m.added_at <= to_at,
        or_(m.ended_at.is_(None), m.ended_at > from_at),
    )
    queries = {
        "report": reports.order_by(r.at, r.id),
        "event": events.order_by(e.from_at, e.id),
        "maintenance": work.order_by(m.from_at, m.id),
    }
    found = [
        {"what": what, "at": at, "to_at": to_at, "kind": kind, "text": text, "by": by, "station": station}
        for what, query in queries.items()
        for at, to_at, kind, text, by, station in c.execute(query.limit(MOST))
    ]
    return sorted(found, key=lambda row: (str(row["at"]), row["what"]))


def load_forecast_scores(c: Connection, site: str, from_at: datetime, to_at: datetime) -> Sequence[ReportRow]:
    """How good shown forecasts of targets in a period were: errors by series and horizon, as scored by its end."""
    if not has_view(_SCORED_FORECAST.name):
        return []
    f = _SCORED_FORECAST.c
    query = (
        select(f.station, f.quantity, f.unit, f.horizon_s, f.error, f.baseline_error, f.inside_80)
        .where(f.site == site, f.shown, f.target_at > from_at, f.target_at <= to_at, f.scored_at <= to_at)
        .order_by(f.station, f.quantity, f.horizon_s, f.target_at, f.issued_at, f.model)
        .limit(200 * MOST)
    )
    groups: dict[tuple[str, str, str, float], list[Any]] = {}
    for row in c.execute(query):
        groups.setdefault((row.station, row.quantity, row.unit, row.horizon_s), []).append(row)
    return [
        {
            "station": station,
            "quantity": quantity,
            "unit": unit,
            "horizon_s": horizon_s,
            "n": len(rows),
            "mae": round(sum(abs(r.error) for r in rows) / len(rows), 6),
            "mae_baseline": round(sum(abs(r.baseline_error) for r in rows) / len(rows), 6),
            "inside_80": sum(bool(r.inside_80) for r in rows),
        }
        for (station, quantity, unit, horizon_s), rows in groups.items()
    ]


def find_sight(c: Connection, site: str, at: datetime) -> ReportRow | None:
    """What the newest evaluation before an instant found: level, observability, reachable level."""
    e = evaluation.c
    query = (
        select(e.at, e.level, e.observability, e.reachable_level)
        .where(and_(e.site == site, e.at <= at))
        .order_by(e.at.desc(), e.id.desc())
        .limit(1)
    )
    return next(iter(load_plain(c, dict, query)), None)


ERROR_LIMIT: Final = 400
_SHORT: Final = [column for column in issued_report.c if column.name != "facts"]  # tens of kilobytes each


@dataclass(frozen=True, slots=True)
class IssuedReport:
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
class ReportMail:
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


def find_issue(c: Connection, site: str, kind: str, language: str, to_at: datetime) -> IssuedReport | None:
    """The report of a period that ended at an instant, without its facts; None where none was issued."""
    r = issued_report.c
    query = select(*_SHORT).where(r.site == site, r.kind == kind, r.language == language, r.to_at == to_at)
    return find_record(c, IssuedReport, query)


def load_issue(c: Connection, report_id: int) -> IssuedReport | None:
    """A report by its number."""
    return find_record(c, IssuedReport, select(issued_report).where(issued_report.c.id == report_id))


def load_issues(c: Connection, site: str, limit: int) -> list[IssuedReport]:
    """Reports of a site without their facts, the newest first."""
    r = issued_report.c
    query = select(*_SHORT).where(r.site == site).order_by(r.to_at.desc(), r.id.desc()).limit(limit)
    return load_records(c, IssuedReport, query)


def load_mails(c: Connection, report_ids: Sequence[int]) -> dict[int, list[ReportMail]]:
    """Mails of reports, by report."""
    query = select(report_mail).where(report_mail.c.report_id.in_(report_ids)).order_by(report_mail.c.id)
    found: dict[int, list[ReportMail]] = {number: [] for number in report_ids}
    for mail in load_records(c, ReportMail, query):
        found[mail.report_id].append(mail)
    return found


def list_channels(c: Connection, report_id: int) -> set[tuple[str, str]]:
    """To whom a report goes, and in which form."""
    m = report_mail.c
    return {(row.channel, row.form) for row in c.execute(select(m.channel, m.form).where(m.report_id == report_id))}


def add_issue(c: Connection, issue: IssuedReport, mails: Sequence[tuple[str, str, str]], now: datetime) -> int:
    """Store a report that is not there yet (`issue.id` is 0), and queue those of its mails that are not; its number.

    `mails`: channel, form, key; `now`: when they are queued.
    """
    values = {name: value for name, value in record_to_dict(issue).items() if name != "id"}
    number = issue.id or add_row(c, issued_report, **values)
    for channel, form, key in mails:
        row = {"report_id": number, "channel": channel, "form": form, "idempotency_key": key}
        row |= {"state": str(DeliveryState.QUEUED), "attempts": 0, "queued_at": now, "next_attempt_at": now}
        add_if_absent(c, report_mail, row)
    return number


def load_due_mails(c: Connection, now: datetime, limit: int) -> list[ReportMail]:
    """Mails that are to be tried now, the oldest first."""
    m = report_mail.c
    waiting = (str(DeliveryState.QUEUED), str(DeliveryState.FAILED_RETRY))
    query = (
        select(report_mail)
        .where(m.state.in_(waiting), m.next_attempt_at <= now)
        .order_by(m.queued_at, m.id)
        .limit(limit)
    )
    return load_records(c, ReportMail, query)


def mark_mailed(c: Connection, mail_id: int, now: datetime) -> None:
    """The mail server took it."""
    m = report_mail
    values = {"state": str(DeliveryState.DELIVERED), "sent_at": now, "next_attempt_at": None, "last_error": None}
    c.execute(update(m).where(m.c.id == mail_id).values(values | {"attempts": m.c.attempts + 1}))


def mark_not_mailed(c: Connection, mail_id: int, error: str, next_attempt_at: datetime | None) -> None:
    """It was not taken: once more at an instant, or never. Secrets are taken out."""
    m = report_mail
    state = DeliveryState.FAILED_FINAL if next_attempt_at is None else DeliveryState.FAILED_RETRY
    values = {"state": str(state), "next_attempt_at": next_attempt_at, "last_error": redact(error)[:ERROR_LIMIT]}
    c.execute(update(m).where(m.c.id == mail_id).values(values | {"attempts": m.c.attempts + 1}))
