"""Rows of a period as they were known at its end, and the reports that were issued and mailed."""

from collections.abc import Iterable, Mapping, Sequence
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
from monitor.api.database import (
    add_if_absent,
    add_row,
    find_record,
    has_view,
    load_objects,
    load_records,
    match_given,
    record_to_dict,
)
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

MAX_ROWS: Final = 500  # of one kind; the newest are kept
_SCORED_FORECAST: Final = table(
    "forecast_vs_observed",
    *(column(name, Text) for name in ("site", "station", "quantity", "unit", "model")),
    *(column(name, Instant) for name in ("issued_at", "target_at", "scored_at")),
    *(column(name, Double) for name in ("horizon_s", "error", "baseline_error")),
    *(column(name, Boolean) for name in ("shown", "inside_80")),
)
ReportRow = Mapping[str, object]
"""A row of a report: values by name of the column."""


@dataclass(frozen=True, slots=True)
class AlertAtInstant:
    """The state of an alert at an instant, restored from its events."""

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
    """Return the alerts that were open in a period, without drills, as they were at its end. The newest is first.

    Also return the ledgers with more than `MAX_ROWS` alerts. Of those, the oldest closed alerts are left out.
    """
    a = alert.c
    e = alert_event.c
    o = alert_outcome.c
    heads: list[Any] = []
    shortened_ledgers: list[str] = []
    for ledger in AlertCategory:
        query = (
            select(a.id, a.ledger, a.key, a.raised_at)
            .where(
                a.site == site,
                a.ledger == ledger,
                a.exercise.is_(False),
                a.raised_at <= to_at,
                or_(a.closed_at.is_(None), a.closed_at > from_at),
            )
            .order_by(case((a.closed_at <= to_at, 1), else_=0), a.raised_at.desc(), a.id.desc())
            .limit(MAX_ROWS + 1)
        )
        rows = c.execute(query).all()
        heads += rows[:MAX_ROWS]
        if len(rows) > MAX_ROWS:
            shortened_ledgers.append(str(ledger))
    heads.sort(key=lambda row: (row.raised_at, row.id), reverse=True)
    chains: dict[int, list[AlertEvent]] = {row.id: [] for row in heads}
    events = select(alert_event).where(e.alert_id.in_(list(chains)), e.at <= to_at).order_by(e.alert_id, e.sequence)
    for event in load_records(c, AlertEvent, events):
        chains[event.alert_id].append(event)
    newest = select(func.max(o.id)).where(o.at <= to_at).group_by(o.alert_id)
    outcome_query = select(o.alert_id, o["class"], o.note).where(o.id.in_(newest), o.alert_id.in_(list(chains)))
    outcomes = {row.alert_id: (row[1], row.note) for row in c.execute(outcome_query)}
    alerts = [
        _restore_alert(head, chains[head.id], *outcomes.get(head.id, (None, None))) for head in heads if chains[head.id]
    ]
    return alerts, shortened_ledgers


def _restore_alert(head: Any, chain: Sequence[AlertEvent], outcome: str | None, note: str | None) -> AlertAtInstant:
    last = chain[-1]
    level_changes = [event for event in chain if event.from_level != event.to_level]
    acknowledged: AlertEvent | None = None
    for event in chain:
        if event.to_state == AlertState.UNACKNOWLEDGED and event.from_state != AlertState.SHELVED:
            acknowledged = None
        elif event.to_state == AlertState.ACKNOWLEDGED and event.from_state != AlertState.ACKNOWLEDGED:
            acknowledged = event
    closed = next((event for event in chain if event.to_state == AlertState.CLOSED), None)
    return AlertAtInstant(
        head.id,
        head.ledger,
        head.key,
        head.raised_at,
        last.to_state,
        last.to_level,
        max(event.to_level for event in chain),
        (level_changes or chain)[-1].reason,
        acknowledged.at if acknowledged else None,
        acknowledged.actor if acknowledged else None,
        closed.at if closed else None,
        outcome,
        note,
    )


def load_acts(c: Connection, site: str, from_at: datetime, to_at: datetime) -> Sequence[ReportRow]:
    """Return what people did with alerts of a site in a period, without drills. The oldest act is first."""
    a = alert.c
    e = alert_event.c
    query = (
        select(e.at, e.alert_id, e.actor, e.from_state, e.to_state, e.reason, e.reason_id, e.reason_values)
        .join(alert, a.id == e.alert_id)
        .where(a.site == site, a.exercise.is_(False), e.actor_kind == "person", e.at > from_at, e.at <= to_at)
        .order_by(e.at.desc(), e.id.desc())
        .limit(MAX_ROWS)
    )
    return load_objects(c, dict, query)[::-1]


def load_messages(c: Connection, site: str, from_at: datetime, to_at: datetime) -> ReportRow:
    """Return how many messages of a period were queued and sent by its end, and which were not sent.

    Drills are left out. A superseded message counts as sent if the message that replaced it was sent.
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

    def is_sent(number: int | None) -> bool:
        row = None if number is None else rows.get(number)
        if row is None:
            return False
        return bool(row.sent_at is not None and row.sent_at <= to_at) or is_sent(row.superseded_by)

    unsent = [row for row in rows.values() if not is_sent(row.id)][-MAX_ROWS:]
    names = ("id", "alert_id", "level_name", "ledger", "recipient", "queued_at")
    return {
        "queued": len(rows),
        "sent": sum(is_sent(number) for number in rows),
        "late": [
            {name: getattr(row, name) for name in names} | {"channel": row.channel.partition(":")[0]} for row in unsent
        ],
    }


def load_changes(c: Connection, site: str, from_at: datetime, to_at: datetime) -> Sequence[ReportRow]:
    """Return the site files that came into force in a period, each with the version before it. The oldest is first."""
    k = config_version.c
    before = config_version.alias().c
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
        .limit(MAX_ROWS)
    )
    return load_objects(c, dict, query)


def load_notes(c: Connection, site: str, from_at: datetime, to_at: datetime) -> Sequence[ReportRow]:
    """Return reports of observers, events and maintenance work in a period, as known at its end."""
    r = report.c
    e = site_event.c
    m = maintenance.c
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
    notes = [
        {"what": what, "at": at, "to_at": to_at, "kind": kind, "text": text, "by": by, "station": station}
        for what, query in queries.items()
        for at, to_at, kind, text, by, station in c.execute(query.limit(MAX_ROWS))
    ]
    return sorted(notes, key=lambda row: (str(row["at"]), row["what"]))


def load_forecast_scores(c: Connection, site: str, from_at: datetime, to_at: datetime) -> Sequence[ReportRow]:
    """Return the errors of shown forecasts by series and horizon.

    Forecasts count if their target lies in the period and they were scored by its end.
    """
    if not has_view(_SCORED_FORECAST.name):
        return []
    f = _SCORED_FORECAST.c
    query = (
        select(f.station, f.quantity, f.unit, f.horizon_s, f.error, f.baseline_error, f.inside_80)
        .where(f.site == site, f.shown, f.target_at > from_at, f.target_at <= to_at, f.scored_at <= to_at)
        .order_by(f.station, f.quantity, f.horizon_s, f.target_at, f.issued_at, f.model)
        .limit(200 * MAX_ROWS)
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
            "mae": round(sum(abs(row.error) for row in rows) / len(rows), 6),
            "mae_baseline": round(sum(abs(row.baseline_error) for row in rows) / len(rows), 6),
            "inside_80": sum(bool(row.inside_80) for row in rows),
        }
        for (station, quantity, unit, horizon_s), rows in groups.items()
    ]


def find_last_decision(c: Connection, site: str, at: datetime) -> ReportRow | None:
    """Return time, level, observability and reachable level of the newest evaluation until an instant, or None."""
    e = evaluation.c
    query = (
        select(e.at, e.level, e.observability, e.reachable_level)
        .where(and_(e.site == site, e.at <= at))
        .order_by(e.at.desc(), e.id.desc())
        .limit(1)
    )
    return next(iter(load_objects(c, dict, query)), None)


MAX_ERROR_LENGTH: Final = 400
# The facts of a report have tens of kilobytes.
_COLUMNS_WITHOUT_FACTS: Final = [column for column in issued_report.c if column.name != "facts"]


@dataclass(frozen=True, slots=True)
class IssuedReport:
    """An issued report: its site, period and facts."""

    id: int
    site: str
    kind: str
    from_at: datetime
    to_at: datetime
    made_at: datetime
    language: str
    facts_sha256: str
    code_version: str
    facts: str | None = None  # canonical JSON; None if not loaded


@dataclass(frozen=True, slots=True)
class ReportMail:
    """A mail with a report."""

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
    """Return the issued report of a period that ended at an instant, without its facts, or None."""
    r = issued_report.c
    query = select(*_COLUMNS_WITHOUT_FACTS).where(
        r.site == site, r.kind == kind, r.language == language, r.to_at == to_at
    )
    return find_record(c, IssuedReport, query)


def load_issue(c: Connection, report_id: int) -> IssuedReport | None:
    """Return an issued report with its facts, or None."""
    return find_record(c, IssuedReport, select(issued_report).where(issued_report.c.id == report_id))


def find_site_of_report(c: Connection, report_id: int) -> str | None:
    """Return the site of an issued report, or None."""
    return c.execute(select(issued_report.c.site).where(issued_report.c.id == report_id)).scalar()


def load_issues(c: Connection, site: str | Iterable[str] | None, limit: int) -> list[IssuedReport]:
    """Return the issued reports of a site, of several sites or of all, without their facts. The newest is first."""
    r = issued_report.c
    query = select(*_COLUMNS_WITHOUT_FACTS).where(*match_given(r.site, site)).order_by(r.to_at.desc(), r.id.desc())
    return load_records(c, IssuedReport, query.limit(limit))


def load_mails(c: Connection, report_ids: Sequence[int]) -> dict[int, list[ReportMail]]:
    """Return the mails of reports by number of the report."""
    query = select(report_mail).where(report_mail.c.report_id.in_(report_ids)).order_by(report_mail.c.id)
    mails: dict[int, list[ReportMail]] = {number: [] for number in report_ids}
    for mail in load_records(c, ReportMail, query):
        mails[mail.report_id].append(mail)
    return mails


def list_channels(c: Connection, report_id: int) -> set[tuple[str, str]]:
    """Return the channels and file formats in which a report is mailed."""
    m = report_mail.c
    return {(row.channel, row.form) for row in c.execute(select(m.channel, m.form).where(m.report_id == report_id))}


def add_issue(c: Connection, issue: IssuedReport, mails: Sequence[tuple[str, str, str]], now: datetime) -> int:
    """Store a report and queue its mails. Return the number of the report.

    Args:
        c: Connection in a write transaction.
        issue: The report. It is stored if its `id` is 0; otherwise it exists already.
        mails: Channel, file format and idempotency key of each mail. Mails with an existing key are left as they are.
        now: When the mails are queued.
    """
    values = {name: value for name, value in record_to_dict(issue).items() if name != "id"}
    number = issue.id or add_row(c, issued_report, **values)
    for channel, form, key in mails:
        row = {"report_id": number, "channel": channel, "form": form, "idempotency_key": key}
        row |= {"state": str(DeliveryState.QUEUED), "attempts": 0, "queued_at": now, "next_attempt_at": now}
        add_if_absent(c, report_mail, row)
    return number


def load_due_mails(c: Connection, now: datetime, limit: int) -> list[ReportMail]:
    """Return the mails that are due for an attempt. The oldest is first."""
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
    """Record that the mail server accepted a mail."""
    m = report_mail
    values = {"state": str(DeliveryState.DELIVERED), "sent_at": now, "next_attempt_at": None, "last_error": None}
    c.execute(update(m).where(m.c.id == mail_id).values(values | {"attempts": m.c.attempts + 1}))


def mark_not_mailed(c: Connection, mail_id: int, error: str, next_attempt_at: datetime | None) -> None:
    """Record a failed attempt. Without a next attempt the failure is final. Secrets in the error text are redacted."""
    m = report_mail
    state = DeliveryState.FAILED_FINAL if next_attempt_at is None else DeliveryState.FAILED_RETRY
    values = {"state": str(state), "next_attempt_at": next_attempt_at, "last_error": redact(error)[:MAX_ERROR_LENGTH]}
    c.execute(update(m).where(m.c.id == mail_id).values(values | {"attempts": m.c.attempts + 1}))
