"""One alert with everything that happened to it: its events, the messages that were sent, its outcomes."""

from typing import Any, TypedDict

from sqlalchemy import Connection

from monitor.alerts.views import AlertEventRow, AlertRow
from monitor.delivery.views import DeliveryRow, MessageRow
from monitor.storage.views import load_view


class AlertPage(TypedDict):
    """One alert, and rows of what became of it."""

    alert: AlertRow
    events: list[AlertEventRow]
    deliveries: list[DeliveryRow]
    notifications: list[MessageRow]
    outcomes: list[Any]


def load_alert_page(c: Connection, alert_id: int) -> AlertPage | None:
    """One alert with events, notifications and outcomes; None when it does not exist."""
    rows = load_view(c, "alert_history", AlertRow, alert_id=alert_id)
    if not rows:
        return None
    return {
        "alert": rows[0],
        "events": load_view(c, "alert_events", AlertEventRow, order_by=["sequence"], alert_id=alert_id),
        "deliveries": load_view(
            c, "deliveries", DeliveryRow, order_by=["-notification_id"], limit=200, alert_id=alert_id
        ),
        "notifications": load_view(
            c, "notification_status", MessageRow, order_by=["-notification_id"], limit=200, alert_id=alert_id
        ),
        "outcomes": load_view(c, "alert_outcomes", order_by=["-at"], alert_id=alert_id),
    }
