"""Import the modules of all public views, so that `view_metadata` is complete."""

from monitor.store.schema.metadata import view_metadata
from monitor.store.schema.view_tables import (  # noqa: F401 - importing a module registers its views
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
    points,
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

__all__ = ["view_metadata"]
