"""Faults that detectors suspect, for the page of instruments."""

from collections.abc import Collection
from datetime import datetime

from sqlalchemy import Connection

from monitor.api.hooks import SuspectedFault
from monitor.api.queries.readings import load_series
from monitor.api.sites import DISMISSED, Site
from monitor.features.anomalies.queries.labels import AnomalyRun, list_lasting, load_runs


def list_suspicions(
    c: Connection, site: Site, faulty_stations: Collection[str], since: datetime, now: datetime
) -> list[SuspectedFault]:
    """Return anomalies that nobody dismissed.

    First those of faulty stations that began before `since` and continue, then those found at `since` or later.
    """
    series = {(row.station, row.quantity): row.id for row in load_series(c, site.id) if row.station in faulty_stations}
    runs = [*list_lasting(c, site, series, since, now), *load_runs(c, site, since, now)]
    return [_to_fault(run) for run in runs if run.label is None or run.label.verdict != DISMISSED]


def _to_fault(run: AnomalyRun) -> SuspectedFault:
    cause = None if run.label is None else run.label.cause
    return SuspectedFault(run.station, run.quantity, run.kind, run.from_at, cause)
