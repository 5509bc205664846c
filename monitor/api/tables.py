"""Tables of the kernel, for foreign keys and statements of features."""

from monitor.alerts.evaluation_tables import (
    evaluation,  # table of evaluations, one row per evaluation run
    site_state,  # table of the current level and decision memory, one row per site
    station_state,  # table of the current health state, one row per station
)
from monitor.alerts.event_tables import (
    report,  # table of field reports, one row per report
    site_event,  # table of declared events (such as blasting), one row per event
)
from monitor.alerts.outbox_tables import (
    notification,  # table of the outbox, one row per message to a recipient by a channel
)
from monitor.alerts.tables import (
    alert,  # table of alerts, one row per alert
    alert_event,  # table of alert events, one row per state or level change
    alert_outcome,  # table of alert outcomes recorded by people, one row per statement
)
from monitor.ingest.tables import (
    calculation_pending,  # table of calculated series still to be computed, one row per time span
    profile_pending,  # table of depth profiles still to be computed, one row per time span
    rejected_message,  # table of the quarantine, one row per rejected message
)
from monitor.models.tables import (
    # whether a criterion that rests on a model may count for the level of its site; append only, the newest counts
    model_proof,
)
from monitor.people.duty_tables import (
    duty_handover,  # table of duty handovers, one row per handover
    duty_override,  # table of temporary duty replacements, one row per replacement
    duty_rota,  # append-only table of duty plans, one row per plan of a team
    duty_turn,  # table of who is on duty, one row per team and part of a day
)
from monitor.readings.instrument_tables import (
    instrument,  # table of battery and calibration, one row per instrument
    instrument_finding,  # table of findings on instruments, one row per station and state
    instrument_month,  # table of expected and received readings, one row per instrument and month
)
from monitor.readings.point_tables import (
    point,  # table of InSAR points, one row per point
    point_delivery,  # table of imported InSAR files, one row per file and point set
    point_observation,  # table of InSAR values, one row per point, epoch and revision
    point_set,  # table of InSAR point sets, one row per set
)
from monitor.readings.tables import (
    observation,  # table of readings, one row per series, epoch and revision
    observation_flag,  # append-only table of later flags, one row per added or withdrawn flag
    offset_entry,  # table of declared offsets, one row per offset of a series
    series,  # table of series, one row per site, station and quantity
)
from monitor.sites.tables import (
    config_version,  # table of loaded site files, one row per version
    maintenance,  # table of maintenance windows, one row per window
    site,  # table of sites, one row per site
    station,  # table of stations, one row per station of a site
)

__all__ = [
    "alert",
    "alert_event",
    "alert_outcome",
    "calculation_pending",
    "config_version",
    "duty_handover",
    "duty_override",
    "duty_rota",
    "duty_turn",
    "evaluation",
    "instrument",
    "instrument_finding",
    "instrument_month",
    "maintenance",
    "model_proof",
    "notification",
    "observation",
    "observation_flag",
    "offset_entry",
    "point",
    "point_delivery",
    "point_observation",
    "point_set",
    "profile_pending",
    "rejected_message",
    "report",
    "series",
    "site",
    "site_event",
    "site_state",
    "station",
    "station_state",
]
