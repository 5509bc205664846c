"""Compose a message that is about to be sent: it contains the messages that it replaces, and its delay."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any, Final

from sqlalchemy import Connection, Row, select

from monitor.alerts.notification import TAKEN
from monitor.alerts.outbox_tables import notification
from monitor.alerts.tables import alert
from monitor.decision.alert_texts import DRILL, describe_delay, join_lines, list_covered, split_lines, unwrap
from monitor.decision.causes import describe_cause, find_severity, group_by_cause, split_numbers
from monitor.decision.subjects import mark_delayed, replace_essence
from monitor.storage.rows import row_to_record
from monitor.text.message import Template, Value, read_columns

# A message describes at most this many alerts of one cause.
_MAX_DESCRIBED: Final = 8
_DESCRIBED: Final = Template("body.described", "- {text} (alert {n})")
_MORE_ALERTS: Final = Template("body.more_alerts", "- and {n} more; see slopeward alerts list")


def compose(c: Connection, row: Row[Any]) -> tuple[str, str, int]:
    """Return the subject and the body of a message, and how many other alerts it contains.

    The body contains the messages that this message replaces, and its delay. Alerts of one cause are described
    together, the worst first.
    """
    n = notification
    subject, body = read_columns(row, "subject"), read_columns(row, "body")
    parts = [split_lines(body)]
    later = c.execute(
        select(n.c.level_name, n.c.queued_at)
        .where(
            n.c.alert_id == row.alert_id,
            n.c.recipient == row.recipient,
            n.c.channel == row.channel,
            n.c.id > row.id,
            n.c.state.in_(TAKEN),
        )
        .order_by(n.c.id.desc())
    ).first()
    if later is not None:
        subject = mark_delayed(subject)
        parts.append([describe_delay(row.queued_at, later.level_name, later.queued_at)])
    covered = load_covered(c, row.id)
    if covered:
        key = c.execute(select(alert.c.key).where(alert.c.id == row.alert_id)).scalar_one()
        this = row_to_record(SupersededMessage, row, key=key, body=body)
        covered_lines: list[tuple[datetime, str]] = []
        described: list[list[Value]] = []
        for group in group_by_cause([this, *covered], _describe_for_grouping):
            if len(group) == 1:
                if group[0] is not this:
                    covered_lines.append((group[0].queued_at, group[0].subject))
                continue
            newest = group[-1]
            worst_first = _sort_worst_first(group)
            cause = describe_cause([message.key for message in worst_first], is_ordered=True)
            lines = _describe_each(worst_first)
            if this in group:
                subject = replace_essence(subject, cause)
                first = DRILL(text=cause) if row.exercise else cause
                parts[0] = [first, *lines, *parts[0][1:]]
            else:
                covered_lines.append((newest.queued_at, replace_essence(newest.subject, cause)))
                described.append(lines)
        if covered_lines:
            parts.append(list_covered(covered_lines))
        parts += described
    others = {message.alert_id for message in covered} - {row.alert_id}
    first_part, *more = parts
    lines = [*first_part, *(line for part in more for line in ("", *part))]
    return subject, join_lines(lines) if lines != [body] else body, len(others)


def _describe_for_grouping(message: "SupersededMessage") -> tuple[str, str, str, bool]:
    """Return site, ledger, key and whether it is a drill, see `group_by_cause`.

    All messages that are grouped belong to one site, and drills are separate already. The level takes the place of the
    site, so that alerts that are open and alerts that are over form separate groups.
    """
    return str(message.level), message.ledger, message.key, False


def _sort_worst_first(group: Sequence["SupersededMessage"]) -> list["SupersededMessage"]:
    """Return one message for each alert, its newest one, by severity."""
    newest = {message.alert_id: message for message in sorted(group, key=lambda message: message.id)}
    return sorted(newest.values(), key=lambda message: (-find_severity(message.reason), split_numbers(message.key)))


def _describe_each(messages: Sequence["SupersededMessage"]) -> list[Value]:
    """Return a line for each alert with its reason."""
    lines: list[Value] = [_DESCRIBED(text=message.reason, n=message.alert_id) for message in messages[:_MAX_DESCRIBED]]
    if len(messages) > _MAX_DESCRIBED:
        lines.append(_MORE_ALERTS(n=len(messages) - _MAX_DESCRIBED))
    return lines


@dataclass(frozen=True, slots=True)
class SupersededMessage:
    """A message that is not sent, because another message contains it."""

    id: int
    alert_id: int
    queued_at: datetime
    subject: str
    ledger: str
    level: int
    key: str
    body: str

    @property
    def reason(self) -> Value:
        """The reason of the alert: the first line of the body, without the mark of a drill."""
        first = split_lines(self.body)[0]
        return unwrap(DRILL, first) if isinstance(first, str) else first


def load_covered(c: Connection, notification_id: int) -> list[SupersededMessage]:
    """Load the messages that this one replaces, directly or through others, oldest first."""
    n = notification
    replaced: dict[int, SupersededMessage] = {}
    query = select(n, alert.c.key).join(alert, alert.c.id == n.c.alert_id)
    newest = [notification_id]
    while newest:
        rows = c.execute(query.where(n.c.superseded_by.in_(newest))).all()
        newest = [row.id for row in rows if row.id not in replaced]
        replaced |= {row.id: row_to_record(SupersededMessage, row) for row in rows}
    return [replaced[number] for number in sorted(replaced)]
