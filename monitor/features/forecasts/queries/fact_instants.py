"""When forecasts of a site were issued, for replays."""

from datetime import datetime

from sqlalchemy import Connection

from monitor.api.queries.alerts import load_series_instants
from monitor.features.forecasts.tables import forecast


def load_fact_instants(c: Connection, site: str, from_at: datetime, to_at: datetime) -> set[datetime]:
    """Return the instants in (from_at, to_at] at which forecasts of a site were issued."""
    return load_series_instants(c, site, [forecast.c.issued_at], from_at, to_at)
