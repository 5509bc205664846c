"""Import the modules of all tables, so that `metadata` is complete.

Import `metadata` from here to create, compare, copy or walk all tables. Import a single table from the module of its
subject. Table names are singular; names of the public views (`views.py`) are plural or composed of several words.
"""

from monitor.alerts import evaluation_tables as evaluations  # noqa: F401 - importing a module registers its tables with `metadata`
from monitor.alerts import event_tables as site_events  # noqa: F401 - importing a module registers its tables with `metadata`
from monitor.alerts import outbox_tables as outbox  # noqa: F401 - importing a module registers its tables with `metadata`
from monitor.alerts import tables as alerts  # noqa: F401 - importing a module registers its tables with `metadata`
from monitor.delivery import tables as delivery  # noqa: F401 - importing a module registers its tables with `metadata`
from monitor.features.anomalies import tables as anomalies  # noqa: F401 - importing a module registers its tables with `metadata`
from monitor.features.drills import tables as drills  # noqa: F401 - importing a module registers its tables with `metadata`
from monitor.features.forecasts import tables as forecasts  # noqa: F401 - importing a module registers its tables with `metadata`
from monitor.features.movement import tables as movement  # noqa: F401 - importing a module registers its tables with `metadata`
from monitor.features.outlines import tables as outlines  # noqa: F401 - importing a module registers its tables with `metadata`
from monitor.features.photos import tables as photos  # noqa: F401 - importing a module registers its tables with `metadata`
from monitor.features.reports import tables as reports  # noqa: F401 - importing a module registers its tables with `metadata`
from monitor.features.scenes import tables as scenes  # noqa: F401 - importing a module registers its tables with `metadata`
from monitor.features.sources import tables as sources  # noqa: F401 - importing a module registers its tables with `metadata`
from monitor.features.telephony import tables as telephony  # noqa: F401 - importing a module registers its tables with `metadata`
from monitor.ingest import tables as ingest  # noqa: F401 - importing a module registers its tables with `metadata`
from monitor.models import tables as models  # noqa: F401 - importing a module registers its tables with `metadata`
from monitor.people import duty_tables as duty  # noqa: F401 - importing a module registers its tables with `metadata`
from monitor.people import tables as people  # noqa: F401 - importing a module registers its tables with `metadata`
from monitor.readings import instrument_tables as instruments  # noqa: F401 - importing a module registers its tables with `metadata`
from monitor.readings import point_tables as points  # noqa: F401 - importing a module registers its tables with `metadata`
from monitor.readings import tables as readings  # noqa: F401 - importing a module registers its tables with `metadata`
from monitor.sites import tables as sites  # noqa: F401 - importing a module registers its tables with `metadata`
from monitor.storage import audit_tables as audit  # noqa: F401 - importing a module registers its tables with `metadata`
from monitor.storage import backup_tables as storage  # noqa: F401 - importing a module registers its tables with `metadata`
from monitor.storage import service_tables as service  # noqa: F401 - importing a module registers its tables with `metadata`
from monitor.storage.metadata import metadata

__all__ = ["metadata"]
