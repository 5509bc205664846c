"""Load one alert with its events, messages and outcomes."""

from typing import Any, TypedDict

from sqlalchemy import Connection

from monitor.alerts.views import AlertEventRow, AlertRow
from monitor.delivery.views import DeliveryRow, MessageRow
from monitor.storage.views import load_view


class AlertPage(TypedDict):
    """One alert with its events, messages and outcomes."""

    alert: AlertRow
    events: list[AlertEventRow]
    deliveries: list[DeliveryRow]
    notifications: list[MessageRow]
    outcomes: list[Any]


def load_alert_page(c: Connection, alert_id: int) -> AlertPage | None:
    """Load one alert with its events, messages and outcomes; None if it does not exist."""
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
