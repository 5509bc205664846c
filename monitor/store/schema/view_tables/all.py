"""Gather the public views of all subjects."""

from monitor.store.schema.dialect import Dialect
from monitor.store.schema.metadata import view_metadata
from monitor.store.schema.view_tables import (
    alerts,
    anomalies,
    audit,
    delivery,
    drills,
    duty,
    forecasts,
    ingest,
    instruments,
    models,
    movement,
    outlines,
    photos,
    profiles,
    readings,
    reports,
    scenes,
    seasons,
    service,
    site_events,
    sites,
    sources,
    storage,
    telephony,
)

__all__ = ["select_views", "view_metadata"]

_SUBJECTS = (
    alerts.select_views,
    anomalies.select_views,
    audit.select_views,
    delivery.select_views,
    drills.select_views,
    duty.select_views,
    forecasts.select_views,
    ingest.select_views,
    instruments.select_views,
    models.select_views,
    movement.select_views,
    outlines.select_views,
    photos.select_views,
    profiles.select_views,
    readings.select_views,
    reports.select_views,
    scenes.select_views,
    seasons.select_views,
    service.select_views,
    site_events.select_views,
    sites.select_views,
    sources.select_views,
    storage.select_views,
    telephony.select_views,
)


def select_views(*, sqlite: bool) -> dict[str, str]:
    """Return the SELECT statement of every public view by name, for SQLite or for PostgreSQL."""
    dialect = Dialect(sqlite)
    return {name: statement for select in _SUBJECTS for name, statement in select(dialect).items()}
