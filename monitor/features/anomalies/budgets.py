"""Measure the false alarms of each detector against its budget, and correct its threshold once a week."""

from datetime import datetime, timedelta
from typing import Final

from sqlalchemy import Connection

from detection.anomaly.budget.correction import EVERY_S
from detection.anomaly.registry import CHECKS
from monitor.api.database import SERVICE_ACTOR, Database
from monitor.api.sites import AnomalyPlan, Site
from monitor.api.text import Figure, Message, Template
from monitor.features.anomalies.queries.budget import (
    BudgetMeasurement,
    add_budget,
    choose_next_factor,
    list_detectors_with_threshold,
    load_newest,
    measure_detectors,
)

EVERY: Final = timedelta(seconds=EVERY_S)
_STAYS: Final = Template(
    "budget.stays", "{rate} false alarms per sensor-month, {budget} false alarms are allowed: the threshold stays"
)
_STAYS_FOR_LEVEL: Final = Template(
    "budget.stays_for_level",
    "{rate} false alarms per sensor-month, {budget} false alarms are allowed: the threshold stays, because anomalies "
    "count for the warning level here",
)
_CHANGES: Final = Template(
    "budget.changes",
    "{rate} false alarms per sensor-month, {budget} false alarms are allowed: the threshold is {factor} "
    "times the counted one, it was {before} times",
)


def find_budget_of_each(plan: AnomalyPlan) -> float:
    """Return the false alarms per sensor-month that each detector of a plan may raise. Checks use no budget."""
    return plan.budget_per_sensor_month / max(1, sum(detector not in CHECKS for detector in plan.detectors))


def correct_thresholds(db: Database, site: Site, now: datetime) -> list[str]:
    """Measure the detectors that are due and correct their thresholds; return a line for each factor that changed."""
    due = db.run_read(_measure_due, site, now)
    if not due:
        return []
    lines = []
    with db.write() as c:
        for measured in due:
            factor, reason = decide_factor(measured, is_witness=site.has_voting_anomalies)
            add_budget(c, site.id, measured, factor, reason, SERVICE_ACTOR, now, is_fixed=site.has_voting_anomalies)
            if factor != measured.factor:
                lines.append(f"{measured.detector}: {reason}")
    return lines


def _measure_due(c: Connection, site: Site, now: datetime) -> list[BudgetMeasurement]:
    newest = load_newest(c, site.id)
    due = {
        detector
        for detector in list_detectors_with_threshold(site)
        if detector not in newest or now - newest[detector].at >= EVERY
    }
    if not due:
        return []
    return [measured for measured in measure_detectors(c, site, now) if measured.detector in due]


def decide_factor(measured: BudgetMeasurement, *, is_witness: bool) -> tuple[float, Message]:
    """Return the factor on the counted threshold for the next week, and the reason.

    Args:
        is_witness: Whether anomalies count for the level of the site. Then the threshold never changes.
    """
    before, rate = measured.factor, measured.rate
    if rate is None:
        return before, measured.describe()
    figures = {"rate": Figure(rate.value, ".2g"), "budget": Figure(measured.budget, ".2g")}
    if is_witness:
        return before, _STAYS_FOR_LEVEL(**figures)
    factor = choose_next_factor(measured.alarms, measured.sensor_months, measured.budget, before)
    if factor == before:
        return before, _STAYS(**figures)
    return factor, _CHANGES(**figures, factor=Figure(factor, ".3g"), before=Figure(before, ".3g"))
