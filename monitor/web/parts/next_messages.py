"""Who is notified next of an alert that nobody acknowledges, for the page of the alert."""

from collections.abc import Iterable
from datetime import datetime
from typing import Any, Final

from sqlalchemy import Connection

from monitor.alerts.queries.recipients import list_addressees, list_chain
from monitor.alerts.views import AlertRow
from monitor.delivery.limits import DeliveryLimits
from monitor.delivery.queries.outbox import find_notified_alert
from monitor.delivery.stages import Stage, StageRow, list_rows
from monitor.settings.service import ServiceConfig
from monitor.sites.declarations import find_declaration
from monitor.sites.queries.sites import load_sites_summary
from monitor.sites.records import Recipient, gather_recipients
from monitor.web.access.callers import SERVICE_ALERTS

# Digests and the message at the end of the alert do not depend on an acknowledgement.
_SHOWN: Final = (
    Stage.CHANGE,
    Stage.BACK,
    Stage.NOBODY_REACHED,
    Stage.NEXT_RECIPIENT,
    Stage.REPEAT,
    Stage.NOBODY_CONFIRMED,
)
MOST_STEPS: Final = 3


def list_next_messages(c: Connection, config: ServiceConfig, alert: AlertRow, now: datetime) -> list[dict[str, Any]]:
    """Return the next steps of the escalation of an alert, the earliest first; none if nobody else is notified.

    Args:
        c: a read transaction.
        config: service file, for the times of the alarm that nobody confirmed.
        alert: the alert.
        now: the present.

    Returns:
        For each step the `stage`, the time `at` when its messages are queued, the names `recipient` of the people, and
        `held_until`, the end of the quiet hours in which the messages wait, or None.
    """
    notified, is_escalated = find_notified_alert(c, alert["alert_id"])
    if notified is None or not is_escalated or alert["closed_at"] is not None:
        return []
    recipients = _load_recipients(c, alert["site"])
    limits = DeliveryLimits.from_settings(config.duty)
    rows = list_rows(
        notified,
        list_chain(c, recipients, now),
        list_addressees(c, recipients, now),
        now,
        limits,
        is_escalated=is_escalated,
    )
    return _group_steps(row for row in rows if row.state is None and row.stage in _SHOWN)[:MOST_STEPS]


def _load_recipients(c: Connection, site_id: str) -> list[Recipient]:
    sites = [
        find_declaration(c, site.config_sha256)
        for site in load_sites_summary(c)
        if site_id in {site.id, SERVICE_ALERTS}
    ]
    declared = [site for site in sites if site is not None]
    if site_id == SERVICE_ALERTS:
        return list(gather_recipients(declared))
    return [recipient for site in declared for recipient in site.recipients]


def _group_steps(rows: Iterable[StageRow]) -> list[dict[str, Any]]:
    """Return one entry for the messages of the same stage and time."""
    steps: dict[tuple[Stage, datetime | None], dict[str, Any]] = {}
    for row in rows:
        step = steps.setdefault(
            (row.stage, row.due_at),
            {"stage": row.stage.name, "at": row.due_at, "recipient": [], "held_until": row.held_until},
        )
        if row.recipient not in step["recipient"]:
            step["recipient"].append(row.recipient)
    return list(steps.values())
