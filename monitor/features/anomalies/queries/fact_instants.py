"""When scores of readings became known, for replays."""

from datetime import datetime

from sqlalchemy import Connection

from monitor.api.queries.alerts import load_series_instants
from monitor.features.anomalies.tables import anomaly


def load_fact_instants(c: Connection, site: str, from_at: datetime, to_at: datetime) -> set[datetime]:
    """Return the instants in (from_at, to_at] of scored readings, and those at which the scores became known."""
    return load_series_instants(c, site, [anomaly.c.scored_at, anomaly.c.at], from_at, to_at)
