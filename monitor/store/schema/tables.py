"""Import the modules of all tables, so that `metadata` is complete.

Import `metadata` from here to create, compare, copy or walk all tables. Import a single table from the module of its
subject. Table names are singular; names of the public views (`views.py`) are plural or composed of several words.
"""

from monitor.store.schema import (  # noqa: F401 - importing a module registers its tables with `metadata`
    alerts,
    anomalies,
    audit,
    delivery,
    drills,
    duty,
    evaluations,
    forecasts,
    ingest,
    instruments,
    models,
    movement,
    outbox,
    outlines,
    people,
    photos,
    points,
    readings,
    reports,
    scenes,
    service,
    site_events,
    sites,
    sources,
    storage,
    telephony,
)
from monitor.store.schema.metadata import metadata

__all__ = ["metadata"]
