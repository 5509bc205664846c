"""Once a week: measure the false alarms of each detector of a site, and correct its threshold by a small step."""

from datetime import datetime, timedelta
from typing import Final

from sqlalchemy import Connection

from detection.anomaly.budget.correction import EVERY_S
from forecasting.message import Figure, Message, Template
from monitor.domain.alert import SERVICE
from monitor.domain.site import Site
from monitor.store.database.engine import Database
from monitor.store.models import anomaly_budget

_STAYS: Final = Template(
    "budget.stays", "{rate} false alarms per sensor-month, {budget} false alarms are allowed: the threshold stays"
)
_STAYS_FOR_LEVEL: Final = Template(
    "budget.stays_for_level",
    "{rate} false alarms per sensor-month, {budget} false alarms are allowed: the threshold stays, for "
    "anomalies count for the warning level here",
)
_CHANGES: Final = Template(
    "budget.changes",
    "{rate} false alarms per sensor-month, {budget} false alarms are allowed: the threshold is {factor} "
    "times the counted one, it was {before} times",
)
EVERY: Final = timedelta(seconds=EVERY_S)


def correct(db: Database, site: Site, now: datetime) -> list[str]:
    """Measure and correct the detectors whose turn it is; returns a line for each factor that changed."""
    due = db.run_read(_list_due, site, now)
    if not due:
        return []
    lines = []
    with db.write() as c:
        for measured in due:
            factor, reason = decide_factor(measured, is_witness=site.anomalies_vote)
            anomaly_budget.add_budget(c, site.id, measured, factor, reason, SERVICE, now, is_fixed=site.anomalies_vote)
            if factor != measured.factor:
                lines.append(f"{measured.detector}: {reason}")
    return lines


def _list_due(c: Connection, site: Site, now: datetime) -> list[anomaly_budget.BudgetMeasurement]:
    newest = anomaly_budget.load_newest(c, site.id)
    due = {d for d in anomaly_budget.list_counted(site) if d not in newest or now - newest[d].at >= EVERY}
    return [m for m in anomaly_budget.measure_detectors(c, site, now) if m.detector in due] if due else []


def decide_factor(measured: anomaly_budget.BudgetMeasurement, *, is_witness: bool) -> tuple[float, Message]:
    """The factor for the week to come, and why."""
    before, rate = measured.factor, measured.rate
    if rate is None:
        return before, measured.describe()
    against = {"rate": Figure(rate.value, ".2g"), "budget": Figure(measured.budget, ".2g")}
    if is_witness:
        return before, _STAYS_FOR_LEVEL(**against)
    factor = anomaly_budget.next_factor(measured.alarms, measured.sensor_months, measured.budget, before)
    if factor == before:
        return before, _STAYS(**against)
    return factor, _CHANGES(**against, factor=Figure(factor, ".3g"), before=Figure(before, ".3g"))
