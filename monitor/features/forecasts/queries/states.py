"""States of the combined forecasts between two issues."""

from collections.abc import Iterable, Mapping
from datetime import datetime

from sqlalchemy import Connection, delete, select

from monitor.api.database import save_rows
from monitor.features.forecasts.tables import forecast_state


def load_states(connection: Connection, site_id: str) -> dict[str, bytes]:
    """Return the states of a site by name of the panel."""
    t = forecast_state.c
    query = select(t.panel, t.content).where(t.site == site_id)
    return {row.panel: row.content for row in connection.execute(query)}


def save_states(
    connection: Connection, site_id: str, states: Mapping[str, bytes], panels: Iterable[str], now: datetime
) -> None:
    """Store the new states of a site. A panel without a new state keeps the state that it has.

    Args:
        connection: Connection with a write transaction.
        site_id: Site.
        states: New state by name of the panel.
        panels: Names of all panels of the site. The states of panels that the site no longer has are deleted.
        now: Time of the issue.
    """
    t = forecast_state.c
    connection.execute(delete(forecast_state).where(t.site == site_id, t.panel.not_in(sorted(panels))))
    rows = [
        {"site": site_id, "panel": panel, "content": content, "updated_at": now} for panel, content in states.items()
    ]
    save_rows(connection, forecast_state, rows)
