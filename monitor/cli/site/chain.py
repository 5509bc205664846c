"""`slopeward alerts chain`: who was notified of an alert, and who is notified next."""

from collections.abc import Callable, Sequence
from datetime import UTC, datetime
from typing import Any, Final

from monitor.alerts.queries.alerts import require_alert
from monitor.alerts.queries.recipients import list_addressees, list_chain
from monitor.cli.identity import require_readable
from monitor.cli.session import (
    Commands,
    UtcOption,
    find_zones,
    format_in_zone,
    open_database,
    print_result,
    read_service,
    read_sites,
    require_any,
)
from monitor.cli.site.explaining import AlertId
from monitor.delivery.limits import DeliveryLimits
from monitor.delivery.queries.outbox import find_notified_alert
from monitor.delivery.stages import Stage, StageRow, list_rows
from monitor.sites.records import Recipient, Site, gather_recipients
from monitor.storage.actor import SERVICE_SITE
from monitor.text.message import Term

app = Commands()
_WIDTH: Final = 26
_NOT_QUEUED: Final = "planned"


@app.command("chain")
def chain(alert_id: AlertId, utc: UtcOption = False) -> None:
    """Show who was notified of an alert and who is notified next, if nobody acknowledges it.

    Each line has the time, the stage (first notice, next recipient, repeat, ...), the recipient, the channel, and what
    became of the message. The times of messages that follow are those of the site file and of the people on duty now.
    Exit 4 if nobody was notified and nobody is.

    Example: slopeward alerts chain 12
    """
    service = read_service()
    sites = {site.id: site for site in read_sites()}
    now = datetime.now(UTC)
    with open_database(service) as db, db.read() as connection:
        alert = require_alert(connection, alert_id)
        require_readable(connection, alert.site)
        site = sites.get(alert.site)
        recipients = _list_recipients(alert.site, sites)
        steps = list_chain(connection, recipients, now)
        addressees = list_addressees(connection, recipients, now)
        notified, is_escalated = find_notified_alert(connection, alert_id)
        zone = find_zones(connection, utc=utc)(alert.site)
    rows: list[StageRow] = []
    if notified is not None:
        rows = list_rows(
            notified,
            steps,
            addressees,
            now,
            DeliveryLimits.from_settings(service.duty),
            is_escalated=is_escalated,
            is_open=alert.closed_at is None,
            zone="" if site is None else site.timezone,
        )
    require_any(rows, f"nobody was notified of alert {alert_id}")
    for row in rows:
        print_result(_list_fields(row), _format_row(row, lambda at: format_in_zone(at, zone)))


def _list_recipients(site_id: str, sites: dict[str, Site]) -> Sequence[Recipient]:
    if site_id == SERVICE_SITE or site_id not in sites:
        return gather_recipients(sites.values())
    return sites[site_id].recipients


def _list_fields(row: StageRow) -> dict[str, Any]:
    return {
        "stage": row.stage.value,
        "recipient": row.recipient,
        "channel": row.channel,
        "due_at": row.due_at,
        "held_until": row.held_until,
        "state": row.state or _NOT_QUEUED,
    }


def _format_row(row: StageRow, format_at: Callable[[datetime], str]) -> str:
    at = "at the end of the alert" if row.due_at is None else format_at(row.due_at)
    state = _NOT_QUEUED if row.state is None else Term(row.state).english()
    line = f"{at:<{_WIDTH}} {row.stage.value:<16} {row.recipient:<{_WIDTH}} {row.channel:<{_WIDTH}} {state}"
    if row.held_until is not None:
        line += f", quiet hours until {format_at(row.held_until)}"
    if row.stage is Stage.REPEAT and row.state is None:
        line += ", and again until somebody acknowledges"
    return line
