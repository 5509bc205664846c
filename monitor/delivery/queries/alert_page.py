"""Query for the page of one alert."""

from typing import Any, Final, TypedDict

from sqlalchemy import Connection

from monitor.alerts.views import AlertEventRow, AlertRow
from monitor.delivery.views import DeliveryRow, MessageRow
from monitor.storage.views import load_view

# Newest messages that the page shows.
MAX_MESSAGES: Final = 200


class AlertPage(TypedDict):
    """Rows of the public views about one alert."""

    alert: AlertRow
    events: list[AlertEventRow]  # oldest first
    deliveries: list[DeliveryRow]  # view `deliveries`: messages with the reason and the receipt, newest first
    notifications: list[MessageRow]  # view `notification_status`: the state of each message, newest first
    outcomes: list[Any]  # view `alert_outcomes`: outcomes that operators recorded, newest first


def load_alert_page(c: Connection, alert_id: int) -> AlertPage | None:
    """Load an alert with its events, its newest `MAX_MESSAGES` messages and its outcomes; None if it does not exist."""
    rows = load_view(c, "alert_history", AlertRow, alert_id=alert_id)
    if not rows:
        return None
    return {
        "alert": rows[0],
        "events": load_view(c, "alert_events", AlertEventRow, order_by=["sequence"], alert_id=alert_id),
        "deliveries": load_view(
            c, "deliveries", DeliveryRow, order_by=["-notification_id"], limit=MAX_MESSAGES, alert_id=alert_id
        ),
        "notifications": load_view(
            c, "notification_status", MessageRow, order_by=["-notification_id"], limit=MAX_MESSAGES, alert_id=alert_id
        ),
        "outcomes": load_view(c, "alert_outcomes", order_by=["-at"], alert_id=alert_id),
    }
