"""What one process says of itself so that the others, the page and `slopeward status` can read it."""

from collections.abc import Mapping
from datetime import datetime
from typing import Any

from sqlalchemy import Connection, delete, select

from forecasting.message import gather
from monitor.store.database.rows import save_rows
from monitor.store.schema.tables import service_state


def stamp(connection: Connection, name: str, detail: Mapping[str, Any], now: datetime) -> None:
    """Write or replace the stamp of this name."""
    save_rows(connection, service_state, [{"name": name, "at": now, "detail": dict(detail)}])


def load_stamps(connection: Connection) -> dict[str, tuple[datetime, dict[str, Any]]]:
    """All stamps by name, each with its instant and detail."""
    rows = connection.execute(select(service_state).order_by(service_state.c.name))
    return {row.name: (row.at, gather(row.detail)) for row in rows}


def find_stamp(connection: Connection, name: str) -> tuple[datetime, dict[str, Any]] | None:
    """One stamp, or None where it was never written."""
    row = connection.execute(select(service_state).where(service_state.c.name == name)).first()
    return None if row is None else (row.at, gather(row.detail))


def remove_stamp(connection: Connection, name: str) -> None:
    """Forget a stamp whose writer no longer exists."""
    connection.execute(delete(service_state).where(service_state.c.name == name))
