"""Types of the rows of public views of the kernel."""

from monitor.alerts.views import (
    AlertRow,  # row of the SQL views `active_alerts` and `alert_history`
)
from monitor.readings.instrument_views import (
    AvailabilityRow,  # row of the SQL view `instrument_availability`
    FindingRow,  # row of the SQL view `instrument_findings`
    InstrumentRow,  # row of the SQL view `instrument_health`
)
from monitor.readings.views import (
    ReadingRow,  # row of the SQL views `latest_observation` and `observation_history`
)
from monitor.sites.views import (
    SiteStatusRow,  # row of the SQL view `site_status`
)

__all__ = [
    "AlertRow",
    "AvailabilityRow",
    "FindingRow",
    "InstrumentRow",
    "ReadingRow",
    "SiteStatusRow",
]
