"""Which checkpoint of a detector fits the site file as it is now."""

import math

from sqlalchemy import Connection

from detection.anomaly.registry import list_parts
from monitor.api.queries.models import ModelRow, find_active
from monitor.api.sites import AnomalyPlan, Site
from monitor.api.text import format_about
from monitor.features.anomalies.budgets import find_budget_of_each


def find_fitting(c: Connection, site: Site, detector: str, step_s: float) -> ModelRow | None:
    """Return the active checkpoint of a detector if it matches the site file, else None.

    Args:
        step_s: Interval of the motion series, seconds.
    """
    active = find_active(c, task="anomaly", kind=detector, site=site.id)
    return None if active is None or explain_mismatch(active, site.anomaly, step_s) is not None else active


def explain_mismatch(checkpoint: ModelRow, plan: AnomalyPlan, step_s: float) -> str | None:
    """Return why a checkpoint does not match the site file as it is now; None if it does."""
    trained_s, budget = float(checkpoint.card["step_s"]), float(checkpoint.card["budget_per_sensor_month"])
    budget_now = find_budget_of_each(plan)
    if trained_s != step_s:
        return f"it was trained at {format_about(trained_s)}, the series have an interval of {format_about(step_s)}"
    if not set(checkpoint.card["thresholds"]) <= set(list_parts(checkpoint.kind)):
        return "its parts are those of an earlier version"
    if not math.isclose(budget, budget_now, rel_tol=1e-9):
        return (
            f"its budget was {budget:g} false alarms per sensor-month, now it is {budget_now:g} false alarms per "
            "sensor-month"
        )
    return None
