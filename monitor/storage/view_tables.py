"""Gather the public views of all subjects."""

from monitor.alerts import event_views as site_events
from monitor.alerts import views as alerts
from monitor.delivery import views as delivery
from monitor.features.anomalies import views as anomalies
from monitor.features.drills import views as drills
from monitor.features.forecasts import season_views as seasons
from monitor.features.forecasts import views as forecasts
from monitor.features.movement import views as movement
from monitor.features.outlines import views as outlines
from monitor.features.photos import views as photos
from monitor.features.profiles import views as profiles
from monitor.features.reports import views as reports
from monitor.features.scenes import views as scenes
from monitor.features.sources import views as sources
from monitor.features.telephony import views as telephony
from monitor.ingest import views as ingest
from monitor.models import views as models
from monitor.people import duty_views as duty
from monitor.readings import instrument_views as instruments
from monitor.readings import views as readings
from monitor.sites import views as sites
from monitor.storage import audit_views as audit
from monitor.storage import backup_views as storage
from monitor.storage import service_views as service
from monitor.storage.dialect import Dialect
from monitor.storage.metadata import view_metadata

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
