"""Find the site of an alert, an event, a maintenance window or a proposed site file."""

from typing import Final

from sqlalchemy import Connection, select

from monitor.alerts.event_tables import site_event
from monitor.alerts.tables import alert
from monitor.sites.tables import maintenance, site_proposal

_TABLES: Final = {"alert": alert, "event": site_event, "maintenance": maintenance, "proposal": site_proposal}


def find_site_of(kind: str, connection: Connection, number: int) -> str | None:
    """Return the site of an alert, event, maintenance window or proposal; None if the number does not exist."""
    columns = _TABLES[kind].c
    return connection.execute(select(columns.site).where(columns.id == number)).scalar()
